//! The model's operations and the one place where their analytic work is stated.
//!
//! An [`Op`] holds the dimensions that the model fixes; the tokens of a step come from a [`StepShape`],
//! so that one op describes every step of a run.

use super::{DType, Work, versions::KvStorage};
use crate::units::{Bytes, Flops};
use serde::{Deserialize, Serialize};

/// The token dimensions of one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StepShape {
    /// Sequences side by side.
    pub batch: usize,
    /// Tokens per sequence that this pass computes.
    pub new_tokens: usize,
    /// Tokens per sequence that the last of them attends to, itself included.
    pub context: usize,
}

impl StepShape {
    fn rows(&self, rows: LinearRows) -> f64 {
        match rows {
            LinearRows::All => (self.batch * self.new_tokens) as f64,
            LinearRows::Last => self.batch as f64,
        }
    }

    /// Query-key pairs per sequence and head: all of the rectangle, or only those on and under the diagonal.
    ///
    /// Unmasked: sum over new tokens i = 0..n of (context - n + 1 + i) = n (context - n) + n (n + 1) / 2.
    fn pairs(&self, masked_computed: bool) -> f64 {
        let (n, context) = (self.new_tokens as f64, self.context as f64);
        if masked_computed { n * context } else { n * (context - n) + n * (n + 1.0) / 2.0 }
    }
}

/// Which positions an op works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinearRows {
    /// Every new token.
    All,
    /// Only the last token of each sequence.
    Last,
}

/// The kind of a normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormKind {
    /// Layer norm with gain and bias.
    Layer,
    /// Root-mean-square norm with gain.
    Rms,
}

/// A model operation with the dimensions that the model fixes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
        /// Storage type of weights and activations.
        dtype: DType,
    },
    /// GELU by its tanh approximation, on `[batch x new, width]`.
    Gelu {
        /// Width of a row.
        width: usize,
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
    /// Widening the whole cache to the activations' type, where an implementation does so in a pass of its own.
    CacheDequantise {
        /// K/V heads.
        kv_heads: usize,
        /// Width of a head.
        head_dim: usize,
        /// Storage type of the result.
        dtype: DType,
        /// How the cache stores them.
        kv: KvStorage,
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
    },
    /// The index of the largest logit of each sequence.
    Argmax {
        /// Size of the vocabulary.
        vocab: usize,
        /// Storage type of the logits.
        dtype: DType,
    },
}

/// Elementwise FLOPs per element; a function such as exp, tanh or a square root counts as one.
mod per_element {
    /// Layer norm: sum, centre, square, sum, scale, gain, bias.
    pub(super) const LAYER_NORM: f64 = 7.0;
    /// RMS norm: square, sum, scale, gain.
    pub(super) const RMS_NORM: f64 = 4.0;
    /// 0.5 x (1 + tanh(c (x + 0.044715 x x x))): 2 for the cube, 3 inside tanh, tanh, 3 outside.
    pub(super) const GELU: f64 = 9.0;
    /// Softmax per score: scale, maximum, subtract, exp, sum, divide.
    pub(super) const SOFTMAX: f64 = 6.0;
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
            Self::Residual { .. } => "residual",
            Self::CacheAppend { .. } => "cache_append",
            Self::CacheDequantise { .. } => "cache_dequantise",
            Self::Attention { .. } => "attention",
            Self::Argmax { .. } => "argmax",
        }
    }

    /// The storage type of the op's activations.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Embed { dtype, .. }
            | Self::Norm { dtype, .. }
            | Self::Linear { dtype, .. }
            | Self::Gelu { dtype, .. }
            | Self::Residual { dtype, .. }
            | Self::CacheAppend { dtype, .. }
            | Self::CacheDequantise { dtype, .. }
            | Self::Attention { dtype, .. }
            | Self::Argmax { dtype, .. } => *dtype,
        }
    }

    /// The analytic work of this op in a step of shape `step`.
    ///
    /// Matrix products count 2 FLOPs per multiply-add (Kaplan et al. 2020, table 1; nanoGPT's
    /// transformer_sizing): a linear is 2 x rows x input x output, attention is
    /// 4 x batch x heads x head_dim x query-key pairs. Elementwise FLOPs are estimates with the constants
    /// of this file; comparisons, index arithmetic and conversions count nothing. Bytes are every
    /// external input and output once: weights, activations (4-byte token ids), cache with scales.
    pub fn work(&self, step: &StepShape) -> Work {
        let tokens = step.rows(LinearRows::All);
        let b = self.dtype().bytes();
        match self {
            Self::Embed { hidden, positions, .. } => {
                let width = *hidden as f64;
                let added = if *positions { step.new_tokens as f64 * width } else { 0.0 };
                elementwise(
                    if *positions { tokens * width } else { 0.0 },
                    tokens * (4.0 + width * b) + added * b,
                    tokens * width * b,
                )
            }
            Self::Norm { norm, hidden, rows, .. } => {
                let elements = step.rows(*rows) * *hidden as f64;
                let (flops, vectors) = match norm {
                    NormKind::Layer => (per_element::LAYER_NORM, 2.0),
                    NormKind::Rms => (per_element::RMS_NORM, 1.0),
                };
                let read = (elements + vectors * *hidden as f64) * b;
                elementwise(flops * elements, read, elements * b)
            }
            Self::Linear { input, output, bias, rows, .. } => {
                let (rows, input, output) = (step.rows(*rows), *input as f64, *output as f64);
                let bias = if *bias { 1.0 } else { 0.0 };
                Work {
                    matmul_flops: Flops(2.0 * rows * input * output),
                    elementwise_flops: Flops(bias * rows * output),
                    bytes_read: Bytes((rows * input + input * output + bias * output) * b),
                    bytes_written: Bytes(rows * output * b),
                }
            }
            Self::Gelu { width, .. } => {
                let elements = tokens * *width as f64;
                elementwise(per_element::GELU * elements, elements * b, elements * b)
            }
            Self::Residual { hidden, .. } => {
                let elements = tokens * *hidden as f64;
                elementwise(elements, 2.0 * elements * b, elements * b)
            }
            Self::CacheAppend { kv_heads, head_dim, kv, .. } => {
                let elements = 2.0 * tokens * (kv_heads * head_dim) as f64;
                let flops = if kv.is_quantised() { per_element::QUANTISE } else { 0.0 };
                let written = tokens * kv.bytes_per_token(*kv_heads, *head_dim);
                elementwise(flops * elements, elements * b, written)
            }
            Self::CacheDequantise { kv_heads, head_dim, kv, .. } => {
                let keys = (step.batch * step.context) as f64;
                let elements = 2.0 * keys * (kv_heads * head_dim) as f64;
                let read = keys * kv.bytes_per_token(*kv_heads, *head_dim);
                elementwise(elements, read, elements * b)
            }
            Self::Attention { heads, kv_heads, head_dim, kv, masked_computed, .. } => {
                let scores = (step.batch * heads) as f64 * step.pairs(*masked_computed);
                let queries = tokens * (heads * head_dim) as f64 * b;
                let keys = (step.batch * step.context) as f64;
                Work {
                    matmul_flops: Flops(4.0 * scores * *head_dim as f64),
                    elementwise_flops: Flops(per_element::SOFTMAX * scores),
                    bytes_read: Bytes(queries + keys * kv.bytes_per_token(*kv_heads, *head_dim)),
                    bytes_written: Bytes(queries),
                }
            }
            Self::Argmax { vocab, .. } => {
                let sequences = step.batch as f64;
                elementwise(0.0, sequences * *vocab as f64 * b, sequences * 4.0)
            }
        }
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
mod tests {
    use super::*;

    const F32: KvStorage = KvStorage::plain(32);

    fn attention(masked_computed: bool) -> Op {
        Op::Attention { heads: 2, kv_heads: 2, head_dim: 8, dtype: DType::F32, kv: F32, masked_computed }
    }

    fn step(batch: usize, new_tokens: usize, context: usize) -> StepShape {
        StepShape { batch, new_tokens, context }
    }

    #[test]
    fn a_linear_counts_two_flops_per_multiply_add_and_each_operand_once() {
        let op = Op::Linear { input: 3, output: 5, bias: true, rows: LinearRows::All, dtype: DType::F32 };
        let work = op.work(&step(2, 4, 4));
        // 8 rows: 2 * 8 * 3 * 5 = 240; bias 8 * 5; read (24 + 15 + 5) * 4 B; written 40 * 4 B.
        assert_eq!(work.matmul_flops, Flops(240.0));
        assert_eq!(work.elementwise_flops, Flops(40.0));
        assert_eq!(work.bytes_read, Bytes(176.0));
        assert_eq!(work.bytes_written, Bytes(160.0));
    }

    #[test]
    fn causal_attention_counts_the_pairs_it_computes() {
        // 3 new tokens after 2: visible 3 + 4 + 5 = 12 of 15 pairs; 4 * 2 heads * 8 * 12 = 768.
        let shape = step(1, 3, 5);
        assert_eq!(attention(false).work(&shape).matmul_flops, Flops(768.0));
        assert_eq!(attention(true).work(&shape).matmul_flops, Flops(960.0));
        // One token sees all of its context either way.
        let decode = step(1, 1, 5);
        assert_eq!(attention(false).work(&decode), attention(true).work(&decode));
    }

    #[test]
    fn attention_reads_the_cache_in_its_storage_type() {
        let int8 = KvStorage { element_bits: 8, scale_bits: 16 };
        let op = Op::Attention {
            heads: 2,
            kv_heads: 2,
            head_dim: 8,
            dtype: DType::F32,
            kv: int8,
            masked_computed: false,
        };
        // Per token: K and V, 2 heads, 8 bytes + a 2-byte scale = 40 B; context 10 -> 400 B; Q 16 * 4 B.
        assert_eq!(op.work(&step(1, 1, 10)).bytes_read, Bytes(464.0));
    }

    #[test]
    fn a_prefill_of_one_token_is_a_decode_step_at_position_zero() {
        let prefill = step(3, 1, 1);
        let decode = StepShape { batch: 3, new_tokens: 1, context: 1 };
        assert_eq!(attention(true).work(&prefill), attention(true).work(&decode));
    }

    #[test]
    fn the_head_works_on_the_last_position_only() {
        let op = Op::Linear { input: 4, output: 10, bias: false, rows: LinearRows::Last, dtype: DType::Bf16 };
        assert_eq!(op.work(&step(2, 100, 100)).matmul_flops, Flops(160.0));
    }
}
