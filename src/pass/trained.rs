//! The small trained models inside kprof: quality can be measured with no download, from an installed binary alone.
//!
//! `examples/train_grammar` made them; profiles/models has their recipes and how they fared.

use super::MemoryWeights;
use super::safetensors::tensors_of;
use super::weights::WeightError;
use crate::llm::{ModelSpec, SpecError, preset};

/// A model, by the name of its preset.
struct Trained {
    name: &'static str,
    weights: &'static [u8],
}

const TRAINED: [Trained; 2] = [
    Trained {
        name: "grammar",
        weights: include_bytes!("../../profiles/models/grammar-bytes/model.safetensors"),
    },
    Trained {
        name: "grammar-shared",
        weights: include_bytes!("../../profiles/models/grammar-bytes-shared/model.safetensors"),
    },
];

/// The names of all trained models, which are presets too.
pub fn trained_names() -> Vec<&'static str> {
    TRAINED.iter().map(|trained| trained.name).collect()
}

/// The shape and the weights of a trained model; `None` where there is none of that name.
///
/// # Errors
/// Never with the models that kprof is built with: a test reads them all.
pub fn trained_model(name: &str) -> Option<Result<(ModelSpec, MemoryWeights), TrainedError>> {
    let trained = TRAINED.iter().find(|trained| trained.name == name)?;
    let read = || Ok((preset(name)?, MemoryWeights { tensors: tensors_of(name, trained.weights)? }));
    Some(read())
}

/// Why a trained model cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainedError {
    /// Its preset.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Its weights.
    #[error(transparent)]
    Weight(#[from] WeightError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::CandleBackend;
    use crate::llm::DType;
    use crate::pass::Model;

    #[test]
    fn every_trained_model_is_read_and_has_the_shape_of_its_preset() {
        for name in trained_names() {
            let (spec, weights) = trained_model(name).unwrap().unwrap();
            let backend = CandleBackend::new(DType::F32);
            Model::load(&backend, &spec, &weights, &mut |_, _| {}).unwrap();
            let parameters: usize = weights.tensors.values().map(|t| t.data.len()).sum();
            assert_eq!(parameters as u64, spec.parameters());
            assert_eq!(spec.vocab_size, 256, "its tokens are bytes");
        }
        assert!(trained_model("gpt2").is_none());
        let all: usize = TRAINED.iter().map(|trained| trained.weights.len()).sum();
        assert!(all < 2_000_000, "{all} bytes in every kprof");
    }

    #[test]
    fn a_trained_model_is_the_one_in_profiles() {
        let folders = [("grammar", "grammar-bytes"), ("grammar-shared", "grammar-bytes-shared")];
        for (name, folder) in folders {
            let path = format!("{}/profiles/models/{folder}", env!("CARGO_MANIFEST_DIR"));
            let (of_folder, _) = crate::pass::read_model_dir(path.as_ref()).unwrap();
            let spec = preset(name).unwrap();
            assert_eq!(ModelSpec { name: spec.name.clone(), ..of_folder }, spec);
        }
    }
}
