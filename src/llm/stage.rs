//! The stages of generating text and the phases of one pass.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A stage of generation: T output tokens are one prefill step and T - 1 decode steps.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The prompt's pass, which ends with output token 1.
    Prefill,
    /// One later token (a v0 decode step reruns the whole sequence).
    Decode,
}

impl Stage {
    /// Both, in the order they run.
    pub const ALL: [Self; 2] = [Self::Prefill, Self::Decode];

    /// The name used in files, tables and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A part of a pass.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Token and position embeddings.
    Embedding,
    /// From a block's first norm to its first residual sum: projections, cache, attention.
    Attention,
    /// From a block's second norm to its second residual sum.
    Mlp,
    /// The final norm, the projection to the vocabulary, and the choice of the token.
    Head,
}

impl Phase {
    /// All four, in the order they run.
    pub const ALL: [Self; 4] = [Self::Embedding, Self::Attention, Self::Mlp, Self::Head];

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Attention => "attention",
            Self::Mlp => "mlp",
            Self::Head => "head",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
