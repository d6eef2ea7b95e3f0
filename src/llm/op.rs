//! The model's operations and the one place where their analytic work is stated.
//!
//! An [`Op`] holds the dimensions that the model fixes; the tokens of a step come from a [`StepShape`],
//! so that one op describes every step of a run.

use super::latent::cached_bytes;
use super::{
    Activation, DType, ExpertLinear, KvStorage, LatentAttention, LinearRows, StepShape, WeightFormat, Work,
};
use crate::units::{Bytes, Flops};
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

/// Elementwise FLOPs per element; a function such as exp, tanh or a square root counts as one.
pub(super) mod per_element {
    /// Layer norm: sum, centre, square, sum, scale, gain, bias.
    pub(super) const LAYER_NORM: f64 = 7.0;
    /// RMS norm: square, sum, scale, gain.
    pub(super) const RMS_NORM: f64 = 4.0;
    /// 0.5 x (1 + tanh(c (x + 0.044715 x x x))): 2 for the cube, 3 inside tanh, tanh, 3 outside.
    pub(super) const GELU: f64 = 9.0;
    /// 0.5 x (1 + erf(x / sqrt(2))): scale, erf, sum, 2 products.
    pub(super) const GELU_ERF: f64 = 5.0;
    /// max(x, 0): comparisons count nothing.
    pub(super) const RELU: f64 = 0.0;
    /// x / (1 + exp(-x)): exp, sum, divide; a change of sign counts nothing.
    pub(super) const SILU: f64 = 3.0;
    /// (a cos - b sin, b cos + a sin) per pair: 4 products and 2 sums for 2 elements (Su et al. 2021, eq. 34).
    pub(super) const ROPE: f64 = 3.0;
    /// Softmax per score: scale, maximum, subtract, exp, sum, divide.
    pub(in crate::llm) const SOFTMAX: f64 = 6.0;
    /// Symmetric quantisation: absolute maximum, divide, round.
    pub(super) const QUANTISE: f64 = 3.0;
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

    /// The analytic work of this op in a step of shape `step`.
    ///
    /// Matrix products count 2 FLOPs per multiply-add (Kaplan et al. 2020, table 1; nanoGPT's
    /// transformer_sizing): a linear is 2 x rows x input x output, attention is
    /// 4 x batch x heads x head_dim x query-key pairs. Elementwise FLOPs are estimates with the constants
    /// of this file; comparisons, index arithmetic and conversions count nothing. Bytes are every
    /// external input and output once: weights, activations (4-byte token ids), cache with scales.
    ///
    /// The ops of Llama-style models, per element of what they work on: RMS norm 4 (Zhang and Sennrich 2019,
    /// eq. 4: square, sum, scale, gain; the root and the mean are one per row), rotary positions 3 (Su et al.
    /// 2021, eq. 34; a cosine and a sine in f32 are read per position and pair), a gated MLP's gate 1 beside its
    /// nonlinearity (Shazeer 2020, eq. 6: swish(x W) x V). Attention reads K and V of the tokens that some new
    /// token sees, once for each of its K/V heads however many query heads share them.
    pub fn work(&self, step: &StepShape) -> Work {
        let tokens = step.rows(LinearRows::All);
        let b = self.dtype().bytes();
        let Bytes(weights) = self.weight_bytes(step);
        let (Bytes(cache_read), Bytes(cache_written)) = self.cache_bytes(step);
        match self {
            Self::Embed { hidden, positions, .. } => {
                let width = *hidden as f64;
                let added = if *positions { tokens * width } else { 0.0 };
                elementwise(added, tokens * 4.0 + weights, tokens * width * b)
            }
            Self::Norm { norm, hidden, rows, .. } => {
                let elements = step.rows(*rows) * *hidden as f64;
                let flops = match norm {
                    NormKind::Layer => per_element::LAYER_NORM,
                    NormKind::Rms => per_element::RMS_NORM,
                };
                elementwise(flops * elements, elements * b + weights, elements * b)
            }
            Self::Linear { input, output, bias, rows, .. } => {
                let (rows, input, output) = (step.rows(*rows), *input as f64, *output as f64);
                let bias = if *bias { 1.0 } else { 0.0 };
                Work {
                    matmul_flops: Flops(2.0 * rows * input * output),
                    elementwise_flops: Flops(bias * rows * output),
                    bytes_read: Bytes(rows * input * b + weights),
                    bytes_written: Bytes(rows * output * b),
                }
            }
            Self::Gelu { width, .. } => {
                let elements = tokens * *width as f64;
                elementwise(per_element::GELU * elements, elements * b, elements * b)
            }
            Self::HeadNorm { heads, head_dim, .. } => {
                let elements = tokens * (heads * head_dim) as f64;
                elementwise(per_element::RMS_NORM * elements, elements * b + weights, elements * b)
            }
            Self::Rope { heads, channels, .. } => {
                let elements = tokens * (heads * channels) as f64;
                // Half as many angles as channels, each with a cosine and a sine.
                let angles = (step.new_tokens * channels) as f64 * DType::F32.bytes();
                elementwise(per_element::ROPE * elements, elements * b + angles, elements * b)
            }
            Self::Gate { width, activation, .. } => {
                let elements = tokens * *width as f64;
                let nonlinearity = match activation {
                    Activation::GeluTanh => per_element::GELU,
                    Activation::Gelu => per_element::GELU_ERF,
                    Activation::Silu => per_element::SILU,
                    Activation::Relu => per_element::RELU,
                };
                elementwise((nonlinearity + 1.0) * elements, 2.0 * elements * b, elements * b)
            }
            Self::Residual { hidden, .. } => {
                let elements = tokens * *hidden as f64;
                elementwise(elements, 2.0 * elements * b, elements * b)
            }
            Self::CacheAppend { kv_heads, head_dim, kv, .. } => {
                let elements = 2.0 * tokens * (kv_heads * head_dim) as f64;
                let flops = if kv.is_quantised() { per_element::QUANTISE } else { 0.0 };
                elementwise(flops * elements, elements * b, cache_written)
            }
            Self::CacheDequantise { kv_heads, head_dim, kv, window, .. } => {
                let keys = (step.batch * step.visible(*window)) as f64;
                let elements = 2.0 * keys * (kv_heads * head_dim) as f64;
                // One product with the scale; a conversion between floating-point types counts nothing.
                let flops = if kv.is_quantised() { elements } else { 0.0 };
                elementwise(flops, cache_read, elements * b)
            }
            Self::Attention { heads, head_dim, masked_computed, window, .. } => {
                let scores = (step.batch * heads) as f64 * step.pairs(*masked_computed, *window);
                let queries = tokens * (heads * head_dim) as f64 * b;
                Work {
                    matmul_flops: Flops(4.0 * scores * *head_dim as f64),
                    elementwise_flops: Flops(per_element::SOFTMAX * scores),
                    bytes_read: Bytes(queries + cache_read),
                    bytes_written: Bytes(queries),
                }
            }
            Self::Route { experts, per_token, .. } => {
                let scores = tokens * *experts as f64;
                // An index of 4 bytes beside each weight.
                let written = tokens * *per_token as f64 * (4.0 + b);
                elementwise(per_element::SOFTMAX * scores, scores * b, written)
            }
            Self::ExpertLinear(experts) => experts.work(step),
            Self::LatentAppend { elements, kv, .. } => {
                let elements = tokens * *elements as f64;
                let flops = if kv.is_quantised() { per_element::QUANTISE } else { 0.0 };
                elementwise(flops * elements, elements * b, cache_written)
            }
            Self::LatentAttention(latent) => latent.work(step),
            Self::Argmax { vocab, .. } => {
                let sequences = step.batch as f64;
                elementwise(0.0, sequences * *vocab as f64 * b, sequences * 4.0)
            }
            Self::Fused { ops } => fused(ops, step),
        }
    }
}

/// FLOPs are the sum; bytes are what crosses the border: all that is read and written but each op's result, which
/// the next one reads where it was left.
fn fused(ops: &[Op], step: &StepShape) -> Work {
    let works: Vec<Work> = ops.iter().map(|op| op.work(step)).collect();
    let inner: f64 = works.iter().rev().skip(1).map(|w| w.bytes_written.0).sum();
    let sum: Work = works.into_iter().sum();
    Work {
        bytes_read: Bytes(sum.bytes_read.0 - inner),
        bytes_written: Bytes(sum.bytes_written.0 - inner),
        ..sum
    }
}

fn elementwise(flops: f64, read: f64, written: f64) -> Work {
    Work {
        matmul_flops: Flops(0.0),
        elementwise_flops: Flops(flops),
        bytes_read: Bytes(read),
        bytes_written: Bytes(written),
    }
}

#[cfg(test)]
mod tests;
