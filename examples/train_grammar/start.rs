//! The weights that training begins with.

use crate::gpt::{POSITIONS, Shape};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::f64::consts::PI;

/// The standard deviation of matrices at first, times the root of the width.
const SPREAD: f64 = 0.6;

/// Gives the tensors of a model, one after the other.
pub(crate) struct Start {
    shape: Shape,
    rng: Xoshiro256PlusPlus,
}

impl Start {
    pub(crate) fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, rng: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    /// The first values of a tensor: gains are 1, biases 0, positions waves, and matrices random.
    pub(crate) fn tensor(&mut self, name: &str, dims: &[usize]) -> Vec<f32> {
        let count = dims.iter().product();
        if dims.len() == 1 {
            return vec![if name.ends_with("weight") { 1.0 } else { 0.0 }; count];
        }
        let spread = SPREAD / (self.shape.hidden as f64).sqrt();
        if name == "wpe.weight" {
            return waves(self.shape.hidden, spread);
        }
        // Projections back into the residual stream are divided by the root of their number, as GPT-2 does.
        let back = if name.contains("c_proj") { (2.0 * self.shape.layers as f64).sqrt() } else { 1.0 };
        (0..count).map(|_| (spread / back * self.normal()) as f32).collect()
    }

    /// Normal of mean 0 and standard deviation 1, by Box and Muller (1958).
    fn normal(&mut self) -> f64 {
        let mut unit = || ((self.rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let (u, v) = (unit(), unit());
        (-2.0 * u.ln()).sqrt() * (2.0 * PI * v).cos()
    }
}

/// Positions begin as the waves of Vaswani et al. (2017), as large as tokens: a head finds the token before it far sooner
/// than among random positions, and all copying from earlier in the text is built on that (Olsson et al. 2022). The longest
/// wave is twice as long as all positions.
fn waves(hidden: usize, spread: f64) -> Vec<f32> {
    let longest = 2.0 * POSITIONS as f64 / (2.0 * PI);
    let at = |i: usize| {
        let (position, channel) = ((i / hidden) as f64, i % hidden);
        let length = longest.powf((channel / 2) as f64 / (hidden / 2 - 1) as f64);
        let angle = position / length;
        let wave = if channel.is_multiple_of(2) { angle.sin() } else { angle.cos() };
        (2f64.sqrt() * spread * wave) as f32
    };
    (0..POSITIONS * hidden).map(at).collect()
}
