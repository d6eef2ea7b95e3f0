//! Where weights come from: seeded random numbers of the true shape, or tensors by their Hugging Face names.

use crate::backend::HostTensor;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::collections::HashMap;
use std::path::PathBuf;

/// The standard deviation of GPT-2's initialisation (Radford et al. 2019; `initializer_range`).
const STDDEV: f32 = 0.02;

/// Elements that one seed fills: a tensor of billions is made of thousands of these, on every thread.
const PIECE: usize = 1 << 20;

/// Why a weight cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightError {
    /// No tensor of that name.
    #[error("{place}: tensor '{name}' is missing; expected shape {expected:?}")]
    Missing {
        /// The directory or source.
        place: String,
        /// The tensor.
        name: String,
        /// The shape the model asks for.
        expected: Vec<usize>,
    },
    /// A tensor of another shape.
    #[error("{place}: tensor '{name}' has shape {found:?}; expected {expected:?}")]
    Shape {
        /// The directory or source.
        place: String,
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape the model asks for.
        expected: Vec<usize>,
    },
    /// A tensor of a type that is not read.
    #[error("{place}: tensor '{name}' is stored as {found}; kprof reads F64, F32, BF16 and F16")]
    Type {
        /// The directory or source.
        place: String,
        /// The tensor.
        name: String,
        /// Its type in the file.
        found: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is no safetensors file.
    #[error("{}: no safetensors file", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// The directory is not one of a model.
    #[error("{}: {reason}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
}

/// A source of named tensors.
pub trait Weights {
    /// The tensor called `name`, of exactly `shape`.
    ///
    /// # Errors
    /// When it is missing, misshapen or unreadable.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor, WeightError>;
}

/// Seeded random weights: the same seed and name give the same tensor, whatever the order of reading.
///
/// Uniform with GPT-2's standard deviation; gains are around 1. Timing and memory are those of true weights,
/// quality is not.
#[derive(Clone, Copy, Debug)]
pub struct RandomWeights {
    seed: u64,
}

impl RandomWeights {
    /// Weights of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }
}

impl Weights for RandomWeights {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor, WeightError> {
        // The only vectors called so are the gains of norms; other vectors are biases.
        let is_gain = shape.len() == 1 && name.ends_with("weight");
        let centre = if is_gain { 1.0 } else { 0.0 };
        let mut data = vec![0.0; shape.iter().product()];
        fill_in_parallel(&mut data, self.seed ^ fnv1a(name), centre);
        Ok(HostTensor { shape: shape.to_vec(), data })
    }
}

/// Fills whole pieces on all threads: what a piece holds depends on its place and not on who fills it.
fn fill_in_parallel(data: &mut [f32], seed: u64, centre: f32) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let pieces = data.len().div_ceil(PIECE);
    let share = pieces.div_ceil(threads).max(1) * PIECE;
    let fill_share = |first: usize, share: &mut [f32]| {
        for (i, piece) in share.chunks_mut(PIECE).enumerate() {
            fill(piece, seed.wrapping_add((first + i) as u64), centre);
        }
    };
    std::thread::scope(|scope| {
        for (i, part) in data.chunks_mut(share).enumerate() {
            let first = i * share / PIECE;
            // A small tensor is not worth a thread.
            if pieces > 1 {
                scope.spawn(move || fill_share(first, part));
            } else {
                fill_share(first, part);
            }
        }
    });
}

fn fill(piece: &mut [f32], seed: u64, centre: f32) {
    // A uniform on [-a, a) has standard deviation a / sqrt(3).
    let amplitude = STDDEV * 3f32.sqrt();
    // Neighbouring seeds give unrelated streams: the generator spreads them by SplitMix64.
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    for x in piece {
        // The top 24 bits fill an f32's mantissa exactly.
        let unit = (rng.next_u64() >> 40) as f32 / (1u32 << 24) as f32;
        *x = centre + amplitude * (2.0 * unit - 1.0);
    }
}

/// FNV-1a, 64 bit (draft-eastlake-fnv): spreads tensor names over seeds.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Tensors held in memory, by name.
#[derive(Clone, Debug, Default)]
pub struct MemoryWeights {
    /// The tensors.
    pub tensors: HashMap<String, HostTensor>,
}

impl Weights for MemoryWeights {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor, WeightError> {
        let (place, name) = ("memory".to_string(), name.to_string());
        match self.tensors.get(&name) {
            None => Err(WeightError::Missing { place, name, expected: shape.to_vec() }),
            Some(tensor) if tensor.shape != shape => {
                Err(WeightError::Shape { place, name, found: tensor.shape.clone(), expected: shape.to_vec() })
            }
            Some(tensor) => Ok(tensor.clone()),
        }
    }
}

/// A seeded prompt: `batch x length` token ids under `vocab`, sequence by sequence.
pub fn prompt_ids(seed: u64, batch: usize, length: usize, vocab: usize) -> Vec<u32> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ fnv1a("prompt"));
    (0..batch * length).map(|_| ((u128::from(rng.next_u64()) * vocab as u128) >> 64) as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_weights_repeat_with_seed_and_name_and_have_the_spread_they_say() {
        let a = RandomWeights::new(1).tensor("h.0.attn.c_attn.weight", &[100, 300]).unwrap();
        assert_eq!(a, RandomWeights::new(1).tensor("h.0.attn.c_attn.weight", &[100, 300]).unwrap());
        assert_ne!(a, RandomWeights::new(2).tensor("h.0.attn.c_attn.weight", &[100, 300]).unwrap());
        assert_ne!(a.data, RandomWeights::new(1).tensor("h.1.attn.c_attn.weight", &[100, 300]).unwrap().data);
        let variance = a.data.iter().map(|x| f64::from(x * x)).sum::<f64>() / a.data.len() as f64;
        assert!((variance.sqrt() - 0.02).abs() < 5e-4, "{}", variance.sqrt());
        let gain = RandomWeights::new(1).tensor("ln_f.weight", &[1000]).unwrap();
        let mean = gain.data.iter().sum::<f32>() / 1000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn a_large_tensor_is_the_same_on_any_number_of_threads_and_its_pieces_differ() {
        let length = 2 * PIECE + 5;
        let large = RandomWeights::new(1).tensor("x.weight", &[length, 1]).unwrap();
        let mut alone = vec![0.0; length];
        for (i, piece) in alone.chunks_mut(PIECE).enumerate() {
            fill(piece, (1 ^ fnv1a("x.weight")).wrapping_add(i as u64), 0.0);
        }
        assert_eq!(large.data, alone);
        assert_ne!(large.data[..5], large.data[PIECE..PIECE + 5]);
        // What is small is what the first piece of it is.
        let small = RandomWeights::new(1).tensor("x.weight", &[5, 1]).unwrap();
        assert_eq!(small.data, large.data[..5]);
    }

    #[test]
    fn prompts_stay_in_the_vocabulary() {
        let ids = prompt_ids(3, 4, 100, 7);
        assert_eq!(ids.len(), 400);
        assert!(ids.iter().all(|id| *id < 7) && (0..7).all(|id| ids.contains(&id)));
    }
}
