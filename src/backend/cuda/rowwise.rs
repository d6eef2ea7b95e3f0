//! What works row by row: embedding, norms, rotary embedding, activations and argmax, each as its launch.

use super::MEETINGS;
use super::args::{
    ArgmaxArgs, EmbedArgs, HeadNormArgs, NormArgs, PointwiseArgs, RopeArgs, activation_code, by_type,
    norm_code,
};
use super::launch::Launch;
use super::tensor::{CudaNorm, CudaRope, CudaTable, CudaTensor};
use crate::llm::{Activation, DType};

fn pointwise(
    kernel: &'static str,
    x: &CudaTensor,
    other: Option<&CudaTensor>,
    activation: Option<Activation>,
    y: &CudaTensor,
) -> Launch {
    let args = PointwiseArgs {
        x: x.address(),
        other: other.map_or(0, CudaTensor::address),
        y: y.address(),
        rows: y.rows as i32,
        width: y.width as i32,
        activation: activation_code(activation),
        reserved: 0,
    };
    let blocks = (y.rows * y.width).div_ceil(8 * 256);
    Launch::new(kernel, [blocks as u32, 1, 1], 256, args)
}

/// `activation(x)`; without one, a copy.
pub(super) fn activation(
    dtype: DType,
    x: &CudaTensor,
    activation: Option<Activation>,
    y: &CudaTensor,
) -> Launch {
    let kernel = by_type(dtype, ["kprof_activation_f32", "kprof_activation_bf16", "kprof_activation_f16"]);
    pointwise(kernel, x, None, activation, y)
}

pub(super) fn gate(dtype: DType, x: &CudaTensor, activation: Activation, y: &CudaTensor) -> Launch {
    let kernel = by_type(dtype, ["kprof_gate_f32", "kprof_gate_bf16", "kprof_gate_f16"]);
    pointwise(kernel, x, None, Some(activation), y)
}

pub(super) fn residual(dtype: DType, x: &CudaTensor, branch: &CudaTensor, y: &CudaTensor) -> Launch {
    let kernel = by_type(dtype, ["kprof_residual_f32", "kprof_residual_bf16", "kprof_residual_f16"]);
    pointwise(kernel, x, Some(branch), None, y)
}

/// The norm of every `every`th row, or of the sum of x and a branch, which is written too.
pub(super) fn norm(
    dtype: DType,
    x: &CudaTensor,
    added: Option<(&CudaTensor, &CudaTensor)>,
    norm: &CudaNorm,
    every: usize,
    y: &CudaTensor,
) -> Launch {
    let (branch, sum) = added.unzip();
    let args = NormArgs {
        x: x.address(),
        branch: branch.map_or(0, CudaTensor::address),
        sum: sum.map_or(0, CudaTensor::address),
        gain: norm.gain.address,
        bias: norm.bias.as_ref().map_or(0, |b| b.address),
        y: y.address(),
        width: norm.width as i32,
        every: every as i32,
        kind: norm_code(norm.kind),
        eps: norm.eps,
    };
    let kernel = by_type(dtype, ["kprof_norm_f32", "kprof_norm_bf16", "kprof_norm_f16"]);
    Launch::new(kernel, [y.rows as u32, 1, 1], 256, args)
}

pub(super) fn head_norm(
    dtype: DType,
    x: &CudaTensor,
    norm: &CudaNorm,
    (first, heads): (usize, usize),
) -> Launch {
    let items = x.rows * heads;
    let args = HeadNormArgs {
        x: x.address(),
        gain: norm.gain.address,
        stride: x.width as i32,
        first_column: (first * norm.width) as i32,
        heads: heads as i32,
        head_dim: norm.width as i32,
        items: items as i32,
        eps: norm.eps,
    };
    let kernel = by_type(dtype, ["kprof_head_norm_f32", "kprof_head_norm_bf16", "kprof_head_norm_f16"]);
    Launch::new(kernel, [items.div_ceil(4) as u32, 1, 1], 128, args)
}

pub(super) fn rope(
    dtype: DType,
    x: &CudaTensor,
    rope: &CudaRope,
    (heads, head_dim): (usize, usize),
    (new_tokens, step): (usize, u64),
) -> Launch {
    let items = x.rows * heads * rope.pairs;
    let args = RopeArgs {
        x: x.address(),
        cos: rope.cos.address,
        sin: rope.sin.address,
        step,
        stride: x.width as i32,
        new_tokens: new_tokens as i32,
        heads: heads as i32,
        head_dim: head_dim as i32,
        pairs: rope.pairs as i32,
        items: items as i32,
    };
    let kernel = by_type(dtype, ["kprof_rope_f32", "kprof_rope_bf16", "kprof_rope_f16"]);
    Launch::new(kernel, [items.div_ceil(256) as u32, 1, 1], 256, args)
}

pub(super) fn embed(
    dtype: DType,
    tokens: &CudaTable,
    positions: Option<&CudaTable>,
    (new_tokens, step): (usize, u64),
    y: &CudaTensor,
) -> Launch {
    let args = EmbedArgs {
        step,
        tokens: tokens.memory.address,
        positions: positions.map_or(0, |p| p.memory.address),
        y: y.address(),
        hidden: tokens.width as i32,
        new_tokens: new_tokens as i32,
    };
    let kernel = by_type(dtype, ["kprof_embed_f32", "kprof_embed_bf16", "kprof_embed_f16"]);
    Launch::new(kernel, [y.rows as u32, 1, 1], 256, args)
}

/// `meeting` holds, of each row, its best logit and its counter: 8 and 4 bytes, apart.
pub(super) fn argmax(
    dtype: DType,
    multiprocessors: usize,
    logits: &CudaTensor,
    ids: u64,
    meeting: u64,
) -> Launch {
    let wanted = logits.width.div_ceil(256 * 8);
    let blocks = wanted.clamp(1, (2 * multiprocessors).div_ceil(logits.rows));
    let args = ArgmaxArgs {
        logits: logits.address(),
        ids,
        best: meeting,
        arrived: meeting + MEETINGS as u64 * 8,
        vocab: logits.width as i32,
        reserved: 0,
    };
    let kernel = by_type(dtype, ["kprof_argmax_f32", "kprof_argmax_bf16", "kprof_argmax_f16"]);
    Launch::new(kernel, [blocks as u32, logits.rows as u32, 1], 256, args)
}
