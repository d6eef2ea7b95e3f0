//! The first layers of a model, for machines that the whole does not fit.

use super::ModelSpec;

impl ModelSpec {
    /// The model with its first `layers` blocks only; its name says so, wherever it is shown.
    ///
    /// # Errors
    /// When there are none, or the model has fewer.
    pub fn first_layers(&self, layers: usize) -> Result<Self, String> {
        let all = self.num_hidden_layers;
        if layers == 0 || layers > all {
            return Err(format!("--layers {layers}: {} has {all}; ask for 1 to {all}", self.name));
        }
        if layers == all {
            return Ok(self.clone());
        }
        let mut slice = self.clone();
        slice.name = format!("{} ({layers} of {all} layers)", self.name);
        slice.num_hidden_layers = layers;
        let keep = |list: &mut Vec<usize>| list.retain(|layer| *layer < layers);
        slice.sliding_window.iter_mut().for_each(|window| keep(&mut window.layers));
        slice.moe.iter_mut().for_each(|moe| keep(&mut moe.layers));
        Ok(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SlidingWindow, preset};

    #[test]
    fn a_slice_has_fewer_layers_and_says_so_in_its_name() {
        let full = preset("llama-2-70b").unwrap();
        let slice = full.first_layers(2).unwrap();
        assert_eq!((slice.name.as_str(), slice.num_hidden_layers), ("llama-2-70b (2 of 80 layers)", 2));
        // A block has 855,654,400 parameters: 78 fewer of them.
        assert_eq!(full.parameters() - slice.parameters(), 78 * 855_654_400);
        assert_eq!(full.first_layers(80).unwrap(), full);
        assert!(full.first_layers(81).unwrap_err().contains("ask for 1 to 80"));
        assert!(full.first_layers(0).is_err());
    }

    #[test]
    fn windows_and_experts_of_layers_that_are_left_out_go_too() {
        let mut mixtral = preset("mixtral-8x7b").unwrap();
        mixtral.sliding_window = Some(SlidingWindow { tokens: 9, layers: vec![0, 2, 5] });
        let slice = mixtral.first_layers(3).unwrap();
        assert_eq!(slice.sliding_window.unwrap().layers, [0, 2]);
        assert_eq!(slice.moe.unwrap().layers, [0, 1, 2]);
    }
}
