//! What ops are told and given: tensors on the host, the dimensions of attention and caches, where K and V are.

use super::Backend;
use crate::llm::KvStorage;

/// A tensor on the host, row-major, in f32 whatever its stored type was.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its elements.
    pub data: Vec<f32>,
}

/// The dimensions of a linear's weights as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightOrder {
    /// `[input, output]`: GPT-2's `Conv1D`.
    InputOutput,
    /// `[output, input]`: PyTorch's `Linear`.
    OutputInput,
}

/// The dimensions of attention that the model fixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionSpec {
    /// Query heads.
    pub heads: usize,
    /// K/V heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// How many of the latest tokens are attended to; `None` is all.
    pub window: Option<usize>,
}

/// The dimensions of one layer's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSpec {
    /// Sequences.
    pub batch: usize,
    /// K/V heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Tokens per sequence that it can hold.
    pub capacity: usize,
    /// How elements are stored.
    pub storage: KvStorage,
}

/// What a device's allocator holds, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeviceMemory {
    /// Now.
    pub live: f64,
    /// At most at any time since the last restart.
    pub peak: f64,
}

/// Where attention reads K and V.
#[derive(Debug)]
pub enum KeysValues<'a, B: Backend> {
    /// From the same activations as Q: no cache.
    Activations,
    /// From a cache that already holds the step's own tokens.
    Cache(&'a B::Cache),
}
