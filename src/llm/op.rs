//! The model's operations, what of weights and cache each touches, and in a file below the work that each is.
//!
//! An [`Op`] holds the dimensions that the model fixes; the tokens of a step come from a [`StepShape`],
//! so that one op describes every step of a run.

mod work;

pub(in crate::llm) use work::per_element;

use super::latent::cached_bytes;
use super::{
    Activation, DType, ExpertLinear, KvStorage, LatentAttention, LinearRows, StepShape, WeightFormat,
};
use crate::units::Bytes;
use serde::{Deserialize, Serialize};

/// The kind of a normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NormKind {
    /// Layer norm with gain and bias.
    Layer,
    /// Root-mean-square norm with gain.
    Rms,
}

/// A model operation with the dimensions that the model fixes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Rows of the token table, plus rows of the position table where there is one: `[batch, new, hidden]`.
    Embed {
        /// Width of the model.
        hidden: usize,
        /// Whether learned positions are added.
        positions: bool,
        /// Storage type.
        dtype: DType,
    },
    /// Normalisation of each row of `[rows, hidden]`.
    Norm {
        /// Which one.
        norm: NormKind,
        /// Width of a row.
        hidden: usize,
        /// Which positions.
        rows: LinearRows,
        /// Storage type.
        dtype: DType,
    },
    /// `[rows, input] x [input, output] (+ bias)`.
    Linear {
        /// Inner dimension.
        input: usize,
        /// Output width.
        output: usize,
        /// Whether a bias is added.
        bias: bool,
        /// Which positions.
        rows: LinearRows,
        /// Storage type of activations and bias.
        dtype: DType,
        /// How the weights are stored, where not in the activations' type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weights: Option<WeightFormat>,
    },
    /// GELU by its tanh approximation, on `[batch x new, width]`.
    Gelu {
        /// Width of a row.
        width: usize,
        /// Storage type.
        dtype: DType,
    },
    /// RMS norm of every head of Q or K on its own, on `[batch x new, heads x head_dim]`.
    HeadNorm {
        /// Heads normalised.
        heads: usize,
        /// Width of a head.
        head_dim: usize,
        /// Storage type.
        dtype: DType,
    },
    /// Rotary positions: each pair of channels of every head turned by an angle that grows with the position.
    Rope {
        /// Heads turned: of Q and K together, or of Q alone.
        heads: usize,
        /// Channels of a head that are turned.
        channels: usize,
        /// Storage type.
        dtype: DType,
    },
    /// `activation(a) x b` of the two halves of `[batch x new, 2 width]`: `[batch x new, width]`.
    Gate {
        /// Width of a half.
        width: usize,
        /// The nonlinearity of the first half.
        activation: Activation,
        /// Storage type.
        dtype: DType,
    },
    /// The sum of a branch and the residual stream, on `[batch x new, hidden]`.
    Residual {
        /// Width of a row.
        hidden: usize,
        /// Storage type.
        dtype: DType,
    },
    /// Writing the new tokens' K and V into the cache, quantising where the cache is narrower.
    CacheAppend {
        /// K/V heads.
        kv_heads: usize,
        /// Width of a head.
        head_dim: usize,
        /// Storage type of the activations.
        dtype: DType,
        /// How the cache stores them.
        kv: KvStorage,
    },
    /// Converting what attention sees of the cache to the activations' type, where an implementation does so in a
    /// pass of its own.
    CacheDequantise {
        /// K/V heads.
        kv_heads: usize,
        /// Width of a head.
        head_dim: usize,
        /// Storage type of the result.
        dtype: DType,
        /// How the cache stores them.
        kv: KvStorage,
        /// How many of the latest tokens a token sees; `None` is all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<usize>,
    },
    /// softmax(Q K^T / sqrt(head_dim)) V, causal.
    Attention {
        /// Query heads.
        heads: usize,
        /// K/V heads.
        kv_heads: usize,
        /// Width of a head.
        head_dim: usize,
        /// Storage type of Q and of the result.
        dtype: DType,
        /// How K and V are stored where this op reads them.
        kv: KvStorage,
        /// Whether scores above the diagonal are computed and then masked.
        masked_computed: bool,
        /// How many of the latest tokens a token sees; `None` is all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<usize>,
    },
    /// The experts of each token: softmax over the router's scores, and the largest of them.
    Route {
        /// Experts of the layer.
        experts: usize,
        /// Experts that a token is sent to.
        per_token: usize,
        /// Storage type of the scores.
        dtype: DType,
    },
    /// A linear of a layer's experts.
    ExpertLinear(ExpertLinear),
    /// Writing the new tokens' latents and rotated keys into the cache.
    LatentAppend {
        /// Elements per token.
        elements: usize,
        /// Storage type of the activations.
        dtype: DType,
        /// How the cache stores them.
        kv: KvStorage,
    },
    /// Multi-head latent attention, causal.
    LatentAttention(LatentAttention),
    /// The index of the largest logit of each sequence.
    Argmax {
        /// Size of the vocabulary.
        vocab: usize,
        /// Storage type of the logits.
        dtype: DType,
    },
    /// Ops that an implementation runs as one, in their order: each works on what the one before it gives.
    Fused {
        /// What it is made of; at least one.
        ops: Vec<Op>,
    },
}

impl Op {
    /// The op's name in records and tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embed { .. } => "embed",
            Self::Norm { .. } => "norm",
            Self::Linear { .. } => "linear",
            Self::Gelu { .. } => "gelu",
            Self::HeadNorm { .. } => "head_norm",
            Self::Rope { .. } => "rope",
            Self::Gate { .. } => "gate",
            Self::Residual { .. } => "residual",
            Self::CacheAppend { .. } => "cache_append",
            Self::CacheDequantise { .. } => "cache_dequantise",
            Self::Attention { .. } => "attention",
            Self::Route { .. } => "route",
            Self::ExpertLinear(_) => "expert_linear",
            Self::LatentAppend { .. } => "latent_append",
            Self::LatentAttention(_) => "latent_attention",
            Self::Argmax { .. } => "argmax",
            Self::Fused { .. } => "fused",
        }
    }

    /// The storage type of the op's activations.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Embed { dtype, .. }
            | Self::Norm { dtype, .. }
            | Self::Linear { dtype, .. }
            | Self::Gelu { dtype, .. }
            | Self::HeadNorm { dtype, .. }
            | Self::Rope { dtype, .. }
            | Self::Gate { dtype, .. }
            | Self::Residual { dtype, .. }
            | Self::CacheAppend { dtype, .. }
            | Self::CacheDequantise { dtype, .. }
            | Self::Attention { dtype, .. }
            | Self::Route { dtype, .. }
            | Self::ExpertLinear(ExpertLinear { dtype, .. })
            | Self::LatentAppend { dtype, .. }
            | Self::LatentAttention(LatentAttention { dtype, .. })
            | Self::Argmax { dtype, .. } => *dtype,
            Self::Fused { ops } => ops.first().map_or(DType::F32, Self::dtype),
        }
    }

    /// How many weights a step of shape `step` reads: rows of tables, gains and biases, matrices.
    pub fn weight_elements(&self, step: &StepShape) -> f64 {
        match self {
            Self::Embed { hidden, positions, .. } => {
                let positions = if *positions { step.new_tokens as f64 } else { 0.0 };
                (step.rows(LinearRows::All) + positions) * *hidden as f64
            }
            Self::Norm { norm, hidden, .. } => match norm {
                NormKind::Layer => 2.0 * *hidden as f64,
                NormKind::Rms => *hidden as f64,
            },
            Self::HeadNorm { head_dim, .. } => *head_dim as f64,
            Self::Linear { input, output, bias, .. } => {
                let bias = if *bias { *output as f64 } else { 0.0 };
                *input as f64 * *output as f64 + bias
            }
            Self::ExpertLinear(experts) => {
                experts.touched(step) * experts.input as f64 * experts.output as f64
            }
            Self::Gelu { .. }
            | Self::Rope { .. }
            | Self::Gate { .. }
            | Self::Residual { .. }
            | Self::CacheAppend { .. }
            | Self::CacheDequantise { .. }
            | Self::Attention { .. }
            | Self::Route { .. }
            | Self::LatentAppend { .. }
            | Self::LatentAttention(_)
            | Self::Argmax { .. } => 0.0,
            Self::Fused { ops } => ops.iter().map(|op| op.weight_elements(step)).sum(),
        }
    }

    /// The bytes of those weights as they are stored.
    pub fn weight_bytes(&self, step: &StepShape) -> Bytes {
        let b = self.dtype().bytes();
        Bytes(match self {
            Self::Linear { input, output, bias, dtype, weights, .. } => {
                let bias = if *bias { *output as f64 * b } else { 0.0 };
                weights.unwrap_or(WeightFormat::plain(*dtype)).bytes(*input, *output) + bias
            }
            Self::Fused { ops } => ops.iter().map(|op| op.weight_bytes(step).0).sum(),
            _ => self.weight_elements(step) * b,
        })
    }

    /// Bytes of the KV cache that a step of shape `step` reads and writes.
    pub fn cache_bytes(&self, step: &StepShape) -> (Bytes, Bytes) {
        let tokens = step.rows(LinearRows::All);
        match self {
            Self::CacheAppend { kv_heads, head_dim, kv, .. } => {
                (Bytes(0.0), Bytes(tokens * kv.bytes_per_token(*kv_heads, *head_dim)))
            }
            Self::CacheDequantise { kv_heads, head_dim, kv, window, .. }
            | Self::Attention { kv_heads, head_dim, kv, window, .. } => {
                let keys = (step.batch * step.visible(*window)) as f64;
                (Bytes(keys * kv.bytes_per_token(*kv_heads, *head_dim)), Bytes(0.0))
            }
            Self::LatentAppend { elements, kv, .. } => {
                (Bytes(0.0), Bytes(tokens * cached_bytes(kv, *elements)))
            }
            Self::LatentAttention(latent) => (Bytes(latent.cache_read(step)), Bytes(0.0)),
            Self::Fused { ops } => {
                let all = ops.iter().map(|op| op.cache_bytes(step));
                all.fold((Bytes(0.0), Bytes(0.0)), |sum, (r, w)| (sum.0 + r, sum.1 + w))
            }
            _ => (Bytes(0.0), Bytes(0.0)),
        }
    }
}

#[cfg(test)]
mod tests;
