//! Windows of text to train on, and the text that is held out.

use crate::gpt::{Gpt, POSITIONS};
use candle_core::{Device, Result, Tensor};
use kprof::pass::{GrammarText, LINE_BYTES, STORY_BYTES, grammar_text};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// The seed of the held-out text: none that a window is made with.
const HELD_OUT_SEED: u64 = 42;
/// Its stories.
pub(crate) const HELD_OUT_STORIES: usize = 64;

/// Windows of fresh text, without end.
pub(crate) struct Batches {
    rng: Xoshiro256PlusPlus,
    anywhere: usize,
    made: usize,
}

impl Batches {
    pub(crate) fn new(seed: u64, anywhere: usize) -> Self {
        Self { rng: Xoshiro256PlusPlus::seed_from_u64(!seed), anywhere, made: 0 }
    }

    /// Inputs and targets of `windows` windows.
    pub(crate) fn next(&mut self, windows: usize) -> Result<(Tensor, Tensor)> {
        let texts: Vec<Vec<u8>> = (0..windows).map(|_| self.window()).collect();
        tensors(&texts)
    }

    /// One byte more than there are positions: each but the first is a target.
    fn window(&mut self) -> Vec<u8> {
        self.made += 1;
        let begins_anywhere = self.anywhere > 0 && self.made.is_multiple_of(self.anywhere);
        let offset = if begins_anywhere { self.rng.next_u64() as usize % STORY_BYTES } else { 0 };
        // The seed's top bit is set: no text of a seed that people type.
        let text = grammar_text(self.rng.next_u64() | 1 << 63, 3).bytes;
        text[offset..=offset + POSITIONS].to_vec()
    }
}

fn tensors(windows: &[Vec<u8>]) -> Result<(Tensor, Tensor)> {
    let shape = (windows.len(), windows[0].len() - 1);
    let ids = |part: &dyn Fn(&[u8]) -> Vec<u8>| {
        let ids: Vec<u32> = windows.iter().flat_map(|w| part(w)).map(u32::from).collect();
        Tensor::from_vec(ids, shape, &Device::Cpu)
    };
    Ok((ids(&|w| w[..w.len() - 1].to_vec())?, ids(&|w| w[1..].to_vec())?))
}

/// The held-out text.
pub(crate) fn held_out() -> GrammarText {
    grammar_text(HELD_OUT_SEED, HELD_OUT_STORIES)
}

/// Bits per byte over the stories of the held-out text, each after a rule.
pub(crate) fn evaluate(model: &Gpt, share: usize) -> Result<f64> {
    let text = held_out();
    let windows: Vec<Vec<u8>> = (0..HELD_OUT_STORIES)
        .map(|story| text.bytes[story * STORY_BYTES..][..LINE_BYTES + STORY_BYTES].to_vec())
        .collect();
    let mut nats = 0.0;
    for windows in windows.chunks(8) {
        let (inputs, targets) = tensors(windows)?;
        let log_p = model.log_probabilities(&inputs.detach(), share)?;
        let of_targets = log_p.gather(&targets.flatten_all()?.unsqueeze(1)?, 1)?;
        let rows: Vec<f32> = of_targets.flatten_all()?.to_vec1()?;
        let per_window = rows.len() / windows.len();
        nats -= rows
            .chunks(per_window)
            .flat_map(|window| &window[LINE_BYTES - 1..])
            .map(|x| f64::from(*x))
            .sum::<f64>();
    }
    Ok(nats / std::f64::consts::LN_2 / (HELD_OUT_STORIES * STORY_BYTES) as f64)
}
