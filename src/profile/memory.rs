//! Bytes against length: what a generation of `kprof memory` held, by what held it, and how each figure was come by.

use serde::{Deserialize, Serialize};

/// How a number of bytes was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryMethod {
    /// A formula over the shapes: nothing was allocated.
    Formula,
    /// Everything that this process allocated, counted as it was asked for: the heap by the counting allocator, mappings
    /// by the backend that made them.
    Counted,
    /// What an implementation says of its own buffers.
    Reported,
    /// Pages that the system had given memory to.
    ResidentPages,
    /// The system's own figure for the process: program, heap and mappings, of those pages that were touched.
    ResidentSet,
    /// On the line through figures of smaller sizes.
    Extrapolated,
    /// The device's allocator or driver.
    Device,
    /// Another program's figure, as imported.
    Imported,
}

impl MemoryMethod {
    /// A few words for a table or a note.
    pub fn name(self) -> &'static str {
        match self {
            Self::Formula => "formula",
            Self::Counted => "counted allocations",
            Self::Reported => "reported by the implementation",
            Self::ResidentPages => "resident pages",
            Self::ResidentSet => "resident set",
            Self::Extrapolated => "extrapolated",
            Self::Device => "device",
            Self::Imported => "imported",
        }
    }
}

/// Bytes, and how they were come by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accounted {
    /// How many.
    pub bytes: f64,
    /// By which method.
    pub method: MemoryMethod,
}

impl Accounted {
    /// `bytes` by `method`.
    pub fn new(bytes: f64, method: MemoryMethod) -> Self {
        Self { bytes, method }
    }
}

/// What one generation of a version held in memory; a figure that was not to be had is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryRecord {
    /// The version.
    pub version: String,
    /// Output tokens per sequence: T.
    pub tokens: usize,
    /// Prompt tokens per sequence.
    pub prompt_length: usize,
    /// Sequences side by side.
    pub batch: usize,
    /// Which repetition of this version and T, from 0.
    #[serde(default)]
    pub repetition: usize,
    /// Tokens per sequence that the caches were made for; `None` without a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<usize>,
    /// The most at any time of the generation: weights, caches, activations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<Accounted>,
    /// The model, from its loading on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Accounted>,
    /// The caches by the formula of [`crate::llm::Version::cache_bytes`], for the tokens cached at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_theoretical: Option<Accounted>,
    /// The caches as allocated, capacity and padding included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_allocated: Option<Accounted>,
    /// What of the caches was touched by the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_touched: Option<Accounted>,
    /// The peak without weights and caches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activations: Option<Accounted>,
    /// The peak without weights, caches included: what the reference benchmark calls `peak_activation_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_weights: Option<Accounted>,
    /// The most that the process had resident at any time of the generation, the program itself included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident_peak: Option<Accounted>,
}
