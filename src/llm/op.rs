//! The model's operations and the one place where their analytic work is stated.
//!
//! An [`Op`] holds the dimensions that the model fixes; the tokens of a step come from a [`StepShape`],
//! so that one op describes every step of a run.

use super::{Activation, DType, KvStorage, WeightFormat, Work};
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

    /// Tokens per sequence whose K and V the new tokens see: all, or those inside a window of the oldest of them.
    pub fn visible(&self, window: Option<usize>) -> usize {
        let reach = |window: usize| (window + self.new_tokens).saturating_sub(1);
        window.map_or(self.context, |w| self.context.min(reach(w)))
    }

    /// Query-key pairs per sequence and head: all of the rectangle, or only those on and under the diagonal.
    ///
    /// Unmasked: the sum over positions p = context - n + 1 ..= context of min(p, window), in two arithmetic
    /// series: positions up to the window count p, later ones the window.
    fn pairs(&self, masked_computed: bool, window: Option<usize>) -> f64 {
        let (n, context) = (self.new_tokens, self.context);
        if masked_computed {
            return n as f64 * self.visible(window) as f64;
        }
        let window = window.unwrap_or(context).min(context);
        let growing = window.saturating_sub(context - n);
        let first = (context - n + 1) as f64;
        let last = window as f64;
        growing as f64 * (first + last) / 2.0 + (n - growing) as f64 * last
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
        /// Storage type of activations and bias.
        dtype: DType,
        /// How the weights are stored.
        #[serde(default, skip_serializing_if = "WeightFormat::is_model")]
        weights: WeightFormat,
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
mod per_element {
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
            Self::HeadNorm { .. } => "head_norm",
            Self::Rope { .. } => "rope",
            Self::Gate { .. } => "gate",
            Self::Residual { .. } => "residual",
            Self::CacheAppend { .. } => "cache_append",
            Self::CacheDequantise { .. } => "cache_dequantise",
            Self::Attention { .. } => "attention",
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
            | Self::Argmax { dtype, .. } => *dtype,
            Self::Fused { ops } => ops.first().map_or(DType::F32, Self::dtype),
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
            Self::Linear { input, output, bias, rows, dtype, weights } => {
                let stored = weights.bytes(*dtype, *input, *output);
                let (rows, input, output) = (step.rows(*rows), *input as f64, *output as f64);
                let bias = if *bias { 1.0 } else { 0.0 };
                Work {
                    matmul_flops: Flops(2.0 * rows * input * output),
                    elementwise_flops: Flops(bias * rows * output),
                    bytes_read: Bytes((rows * input + bias * output) * b + stored),
                    bytes_written: Bytes(rows * output * b),
                }
            }
            Self::Gelu { width, .. } => {
                let elements = tokens * *width as f64;
                elementwise(per_element::GELU * elements, elements * b, elements * b)
            }
            Self::HeadNorm { heads, head_dim, .. } => {
                let elements = tokens * (heads * head_dim) as f64;
                let read = (elements + *head_dim as f64) * b;
                elementwise(per_element::RMS_NORM * elements, read, elements * b)
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
                let written = tokens * kv.bytes_per_token(*kv_heads, *head_dim);
                elementwise(flops * elements, elements * b, written)
            }
            Self::CacheDequantise { kv_heads, head_dim, kv, window, .. } => {
                let keys = (step.batch * step.visible(*window)) as f64;
                let elements = 2.0 * keys * (kv_heads * head_dim) as f64;
                let read = keys * kv.bytes_per_token(*kv_heads, *head_dim);
                // One product with the scale; a conversion between floating-point types counts nothing.
                let flops = if kv.is_quantised() { elements } else { 0.0 };
                elementwise(flops, read, elements * b)
            }
            Self::Attention { heads, kv_heads, head_dim, kv, masked_computed, window, .. } => {
                let scores = (step.batch * heads) as f64 * step.pairs(*masked_computed, *window);
                let queries = tokens * (heads * head_dim) as f64 * b;
                let keys = (step.batch * step.visible(*window)) as f64;
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
mod tests {
    use super::*;

    const F32: KvStorage = KvStorage::plain(DType::F32);

    fn attention(masked_computed: bool) -> Op {
        windowed(masked_computed, None)
    }

    fn windowed(masked_computed: bool, window: Option<usize>) -> Op {
        let dtype = DType::F32;
        Op::Attention { heads: 2, kv_heads: 2, head_dim: 8, dtype, kv: F32, masked_computed, window }
    }

    fn step(batch: usize, new_tokens: usize, context: usize) -> StepShape {
        StepShape { batch, new_tokens, context }
    }

    #[test]
    fn a_linear_counts_two_flops_per_multiply_add_and_each_operand_once() {
        let op = Op::Linear {
            input: 3,
            output: 5,
            bias: true,
            rows: LinearRows::All,
            dtype: DType::F32,
            weights: WeightFormat::Model,
        };
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
        let int8 = KvStorage::int8(None);
        let op = Op::Attention {
            heads: 2,
            kv_heads: 2,
            head_dim: 8,
            dtype: DType::F32,
            kv: int8,
            masked_computed: false,
            window: None,
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
        let op = Op::Linear {
            input: 4,
            output: 10,
            bias: false,
            rows: LinearRows::Last,
            dtype: DType::Bf16,
            weights: WeightFormat::Model,
        };
        assert_eq!(op.work(&step(2, 100, 100)).matmul_flops, Flops(160.0));
    }

    #[test]
    fn a_fused_op_sums_flops_and_counts_no_bytes_between_its_parts() {
        let (dtype, rows, weights) = (DType::F32, LinearRows::All, WeightFormat::Model);
        let shape = step(1, 2, 2);
        let norm = Op::Norm { norm: NormKind::Layer, hidden: 3, rows, dtype };
        let linear = Op::Linear { input: 3, output: 5, bias: true, rows, dtype, weights };
        let gelu = Op::Gelu { width: 5, dtype };
        let work = Op::Fused { ops: vec![norm.clone(), linear.clone(), gelu.clone()] }.work(&shape);
        let parts: Work = [&norm, &linear, &gelu].into_iter().map(|op| op.work(&shape)).sum();
        assert_eq!(
            (work.matmul_flops, work.elementwise_flops),
            (parts.matmul_flops, parts.elementwise_flops)
        );
        // Read: x 2 * 3, gain and bias 2 * 3, W 15, b 5; written: 2 * 5; 4 B each.
        assert_eq!((work.bytes_read, work.bytes_written), (Bytes(32.0 * 4.0), Bytes(40.0)));
        // A residual reads x beside the branch: (2 * 3 + 15 + 5 + 2 * 5) * 4 B.
        let residual = Op::Residual { hidden: 5, dtype };
        assert_eq!(Op::Fused { ops: vec![linear, residual] }.work(&shape).bytes_read, Bytes(36.0 * 4.0));
    }

    #[test]
    fn int8_weights_count_their_codes_and_scales() {
        let of = |weights| {
            let (dtype, rows) = (DType::Bf16, LinearRows::All);
            Op::Linear { input: 100, output: 10, bias: false, rows, dtype, weights }.work(&step(1, 1, 1))
        };
        // Activations in and out are 100 and 10 bf16. 100 inputs are 4 blocks of 32: 1000 codes and 40 f16 scales.
        assert_eq!(of(WeightFormat::Model).bytes_read, Bytes(200.0 + 2000.0));
        assert_eq!(of(WeightFormat::Int8).bytes_read, Bytes(200.0 + 1000.0 + 80.0));
        assert_eq!(of(WeightFormat::Int8Channel).bytes_read, Bytes(200.0 + 1000.0 + 40.0));
    }

    #[test]
    fn a_window_limits_the_pairs_and_the_bytes_of_keys_and_values() {
        // 3 new tokens after 2, window 4: the last three positions see 3, 4 and 4 of 5 keys, all 5 between them.
        let shape = step(1, 3, 5);
        assert_eq!(windowed(false, Some(4)).work(&shape).matmul_flops, Flops(4.0 * 2.0 * 8.0 * 11.0));
        assert_eq!(
            windowed(false, Some(4)).work(&shape).bytes_read,
            attention(false).work(&shape).bytes_read
        );
        // Decode at 100 with a window of 10: 10 keys, K and V of 2 heads of 8 in f32, and Q.
        let work = windowed(true, Some(10)).work(&step(1, 1, 100));
        assert_eq!(work.bytes_read, Bytes(10.0 * 2.0 * 16.0 * 4.0 + 16.0 * 4.0));
        assert_eq!(work.matmul_flops, Flops(4.0 * 2.0 * 8.0 * 10.0));
        // A prefill of 6 with a window of 2: 1 + 2 + 2 + 2 + 2 + 2 pairs; a window as long as the context is none.
        let prefill = step(1, 6, 6);
        assert_eq!(prefill.pairs(false, Some(2)), 11.0);
        assert_eq!(prefill.pairs(false, Some(6)), prefill.pairs(false, None));
        assert_eq!(prefill.pairs(false, None), 21.0);
    }

    #[test]
    fn grouped_queries_read_the_cache_once_per_kv_head() {
        let of = |kv_heads: usize| {
            let (dtype, masked_computed, window) = (DType::Bf16, false, None);
            let kv = KvStorage::plain(dtype);
            Op::Attention { heads: 8, kv_heads, head_dim: 4, dtype, kv, masked_computed, window }
                .work(&step(1, 1, 10))
        };
        // Q is 8 * 4 elements; K and V 2 * 10 * 2 * 4 for 2 heads and four times that for 8. The products do not change.
        assert_eq!(of(2).bytes_read, Bytes((32.0 + 160.0) * 2.0));
        assert_eq!(of(8).bytes_read, Bytes((32.0 + 640.0) * 2.0));
        assert_eq!(of(2).matmul_flops, of(8).matmul_flops);
    }

    #[test]
    fn the_ops_of_a_llama_block_follow_their_formulas() {
        let (shape, dtype) = (step(2, 3, 5), DType::Bf16);
        let rope = Op::Rope { heads: 6, channels: 8, dtype }.work(&shape);
        // 6 tokens x 48 channels = 288: 3 FLOPs each; angles 3 positions x 4 pairs x 2 x 4 B.
        assert_eq!(rope.elementwise_flops, Flops(864.0));
        assert_eq!((rope.bytes_read, rope.bytes_written), (Bytes(576.0 + 96.0), Bytes(576.0)));
        let gate = Op::Gate { width: 10, activation: Activation::Silu, dtype }.work(&shape);
        assert_eq!(gate.elementwise_flops, Flops(60.0 * 4.0));
        assert_eq!((gate.bytes_read, gate.bytes_written), (Bytes(240.0), Bytes(120.0)));
        let norm = Op::HeadNorm { heads: 4, head_dim: 8, dtype }.work(&shape);
        assert_eq!(norm.elementwise_flops, Flops(4.0 * 192.0));
        assert_eq!((norm.bytes_read, norm.bytes_written), (Bytes(384.0 + 16.0), Bytes(384.0)));
        let rms = Op::Norm { norm: NormKind::Rms, hidden: 32, rows: LinearRows::Last, dtype }.work(&shape);
        assert_eq!(rms.elementwise_flops, Flops(4.0 * 64.0));
        assert_eq!(rms.bytes_read, Bytes((64.0 + 32.0) * 2.0));
    }
}
