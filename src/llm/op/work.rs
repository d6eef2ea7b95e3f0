//! The one place where the analytic work of ops is stated.

use super::{NormKind, Op};
use crate::llm::{Activation, DType, KvStorage, LinearRows, StepShape, Work};
use crate::units::{Bytes, Flops};

/// Elementwise FLOPs per element; a function such as exp, tanh or a square root counts as one.
pub(in crate::llm) mod per_element {
    /// Layer norm: sum, centre, square, sum, scale, gain, bias.
    pub(in crate::llm) const LAYER_NORM: f64 = 7.0;
    /// RMS norm: square, sum, scale, gain.
    pub(in crate::llm) const RMS_NORM: f64 = 4.0;
    /// 0.5 x (1 + tanh(c (x + 0.044715 x x x))): 2 for the cube, 3 inside tanh, tanh, 3 outside.
    pub(in crate::llm) const GELU: f64 = 9.0;
    /// 0.5 x (1 + erf(x / sqrt(2))): scale, erf, sum, 2 products.
    pub(in crate::llm) const GELU_ERF: f64 = 5.0;
    /// max(x, 0): comparisons count nothing.
    pub(in crate::llm) const RELU: f64 = 0.0;
    /// x / (1 + exp(-x)): exp, sum, divide; a change of sign counts nothing.
    pub(in crate::llm) const SILU: f64 = 3.0;
    /// (a cos - b sin, b cos + a sin) per pair: 4 products and 2 sums for 2 elements (Su et al. 2021, eq. 34).
    pub(in crate::llm) const ROPE: f64 = 3.0;
    /// Softmax per score: scale, maximum, subtract, exp, sum, divide.
    pub(in crate::llm) const SOFTMAX: f64 = 6.0;
    /// Symmetric quantisation: absolute maximum, divide, round.
    pub(in crate::llm) const QUANTISE: f64 = 3.0;
}

impl Op {
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
        let of = InStep::new(self, step);
        match self {
            Self::Embed { hidden, positions, .. } => of.embed(*hidden, *positions),
            Self::Norm { norm, hidden, rows, .. } => of.norm(*norm, step.rows(*rows) * *hidden as f64),
            Self::Linear { input, output, bias, rows, .. } => of.linear(*input, *output, *bias, *rows),
            Self::Gelu { width, .. } => of.in_place(of.tokens * *width as f64, per_element::GELU),
            Self::HeadNorm { heads, head_dim, .. } => {
                of.norm(NormKind::Rms, of.tokens * (heads * head_dim) as f64)
            }
            Self::Rope { heads, channels, .. } => of.rope(*heads, *channels),
            Self::Gate { width, activation, .. } => of.gate(*width, *activation),
            Self::Residual { hidden, .. } => of.two_to_one(of.tokens * *hidden as f64, 1.0),
            Self::CacheAppend { kv_heads, head_dim, kv, .. } => {
                of.append(2.0 * of.tokens * (kv_heads * head_dim) as f64, kv)
            }
            Self::CacheDequantise { kv_heads, head_dim, kv, window, .. } => {
                of.dequantise(kv_heads * head_dim, kv, *window)
            }
            Self::Attention { heads, head_dim, masked_computed, window, .. } => {
                of.attention(*heads, *head_dim, *masked_computed, *window)
            }
            Self::Route { experts, per_token, .. } => of.route(*experts, *per_token),
            Self::ExpertLinear(experts) => experts.work(step),
            Self::LatentAppend { elements, kv, .. } => of.append(of.tokens * *elements as f64, kv),
            Self::LatentAttention(latent) => latent.work(step),
            Self::Argmax { vocab, .. } => of.argmax(*vocab),
            Self::Fused { ops } => fused(ops, step),
        }
    }
}

/// What an op's work depends on besides its own dimensions.
struct InStep<'a> {
    step: &'a StepShape,
    /// Tokens of all sequences.
    tokens: f64,
    /// Bytes of an element of its activations.
    b: f64,
    /// Bytes of its weights.
    weights: f64,
    cache_read: f64,
    cache_written: f64,
}

impl<'a> InStep<'a> {
    fn new(op: &Op, step: &'a StepShape) -> Self {
        let (Bytes(cache_read), Bytes(cache_written)) = op.cache_bytes(step);
        let Bytes(weights) = op.weight_bytes(step);
        Self {
            step,
            tokens: step.rows(LinearRows::All),
            b: op.dtype().bytes(),
            weights,
            cache_read,
            cache_written,
        }
    }

    /// Each of `elements` read and written once.
    fn in_place(&self, elements: f64, flops: f64) -> Work {
        elementwise(flops * elements, elements * self.b, elements * self.b)
    }

    /// Each of `elements` made of two.
    fn two_to_one(&self, elements: f64, flops: f64) -> Work {
        elementwise(flops * elements, 2.0 * elements * self.b, elements * self.b)
    }

    fn embed(&self, hidden: usize, positions: bool) -> Work {
        let elements = self.tokens * hidden as f64;
        let added = if positions { elements } else { 0.0 };
        elementwise(added, self.tokens * 4.0 + self.weights, elements * self.b)
    }

    fn norm(&self, kind: NormKind, elements: f64) -> Work {
        let flops = match kind {
            NormKind::Layer => per_element::LAYER_NORM,
            NormKind::Rms => per_element::RMS_NORM,
        };
        elementwise(flops * elements, elements * self.b + self.weights, elements * self.b)
    }

    fn linear(&self, input: usize, output: usize, bias: bool, rows: LinearRows) -> Work {
        let (rows, input, output) = (self.step.rows(rows), input as f64, output as f64);
        let bias = if bias { 1.0 } else { 0.0 };
        Work {
            matmul_flops: Flops(2.0 * rows * input * output),
            elementwise_flops: Flops(bias * rows * output),
            bytes_read: Bytes(rows * input * self.b + self.weights),
            bytes_written: Bytes(rows * output * self.b),
        }
    }

    fn rope(&self, heads: usize, channels: usize) -> Work {
        let elements = self.tokens * (heads * channels) as f64;
        // Half as many angles as channels, each with a cosine and a sine.
        let angles = (self.step.new_tokens * channels) as f64 * DType::F32.bytes();
        elementwise(per_element::ROPE * elements, elements * self.b + angles, elements * self.b)
    }

    fn gate(&self, width: usize, activation: Activation) -> Work {
        let nonlinearity = match activation {
            Activation::GeluTanh => per_element::GELU,
            Activation::Gelu => per_element::GELU_ERF,
            Activation::Silu => per_element::SILU,
            Activation::Relu => per_element::RELU,
        };
        self.two_to_one(self.tokens * width as f64, nonlinearity + 1.0)
    }

    fn append(&self, elements: f64, kv: &KvStorage) -> Work {
        let flops = if kv.is_quantised() { per_element::QUANTISE } else { 0.0 };
        elementwise(flops * elements, elements * self.b, self.cache_written)
    }

    fn dequantise(&self, width: usize, kv: &KvStorage, window: Option<usize>) -> Work {
        let keys = (self.step.batch * self.step.visible(window)) as f64;
        let elements = 2.0 * keys * width as f64;
        // One product with the scale; a conversion between floating-point types counts nothing.
        let flops = if kv.is_quantised() { elements } else { 0.0 };
        elementwise(flops, self.cache_read, elements * self.b)
    }

    fn attention(&self, heads: usize, head_dim: usize, masked_computed: bool, window: Option<usize>) -> Work {
        let scores = (self.step.batch * heads) as f64 * self.step.pairs(masked_computed, window);
        let queries = self.tokens * (heads * head_dim) as f64 * self.b;
        Work {
            matmul_flops: Flops(4.0 * scores * head_dim as f64),
            elementwise_flops: Flops(per_element::SOFTMAX * scores),
            bytes_read: Bytes(queries + self.cache_read),
            bytes_written: Bytes(queries),
        }
    }

    fn route(&self, experts: usize, per_token: usize) -> Work {
        let scores = self.tokens * experts as f64;
        // An index of 4 bytes beside each weight.
        let written = self.tokens * per_token as f64 * (4.0 + self.b);
        elementwise(per_element::SOFTMAX * scores, scores * self.b, written)
    }

    fn argmax(&self, vocab: usize) -> Work {
        let sequences = self.step.batch as f64;
        elementwise(0.0, sequences * vocab as f64 * self.b, sequences * 4.0)
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
