//! The structs of arguments that kernels/*.cu take, field by field as they stand there. Addresses are `u64`.

#![allow(unsafe_code)]

use super::launch::KernelArgs;
use crate::llm::{Activation, DType, KvElement, NormKind};

macro_rules! kernel_args {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default)]
        pub(super) struct $name { $(pub(super) $field: $type,)* }

        // No padding: the fields fill the struct, which the assertion below holds.
        const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$type>())*);

        // SAFETY: repr(C) of numbers alone without padding; that it is what the kernel takes is checked against the
        // PTX by this folder's tests.
        unsafe impl KernelArgs for $name {}
    )*};
}

kernel_args! {
    /// embed.cu
    EmbedArgs { step: u64, tokens: u64, positions: u64, y: u64, hidden: i32, new_tokens: i32, }
    /// norm.cu
    NormArgs {
        x: u64, branch: u64, sum: u64, gain: u64, bias: u64, y: u64,
        width: i32, every: i32, kind: i32, eps: f32,
    }
    /// norm.cu
    HeadNormArgs {
        x: u64, gain: u64,
        stride: i32, first_column: i32, heads: i32, head_dim: i32, items: i32, eps: f32,
    }
    /// pointwise.cu
    PointwiseArgs { x: u64, other: u64, y: u64, rows: i32, width: i32, activation: i32, reserved: i32, }
    /// pointwise.cu
    RopeArgs {
        x: u64, cos: u64, sin: u64, step: u64,
        stride: i32, new_tokens: i32, heads: i32, head_dim: i32, pairs: i32, items: i32,
    }
    /// gemv.cu
    GemvArgs {
        x: u64, weight: u64, bias: u64, residual: u64, gain: u64, norm_bias: u64, y: u64,
        rows: i32, inputs: i32, outputs: i32, every: i32, norm: i32, eps: f32,
        activation: i32, gate: i32, split: i32, reserved: i32,
    }
    /// gemm.cu
    GemmArgs {
        x: u64, weight: u64, bias: u64, residual: u64, y: u64, partial: u64, arrived: u64,
        rows: i32, inputs: i32, outputs: i32, activation: i32, gate: i32, splits: i32,
    }
    /// cache.cu
    AppendArgs {
        qkv: u64, k: u64, v: u64, k_scale: u64, v_scale: u64, step: u64,
        stride: i32, first_column: i32, new_tokens: i32, kv_heads: i32, head_dim: i32, capacity: i32,
        items: i32, reserved: i32,
    }
    /// attention.cuh
    AttentionArgs {
        q: u64, k: u64, v: u64, k_scale: u64, v_scale: u64, y: u64, partial: u64, arrived: u64, step: u64,
        batch_stride: u64, head_stride: u64, token_stride: u64, scale_stride: u64,
        q_stride: i32, heads: i32, kv_heads: i32, head_dim: i32, new_tokens: i32, window: i32,
        splits: i32, dtype: i32, storage: i32, scale: f32,
    }
    /// argmax.cu
    ArgmaxArgs { logits: u64, ids: u64, best: u64, arrived: u64, vocab: i32, reserved: i32, }
    /// probes.cu
    ProbeArgs {
        a: u64, b: u64, c: u64, out: u64, vectors: u64,
        passes: i32, rounds: i32, operand: u32, reserved: i32,
    }
}

/// The kind of a norm as kernels number it; 0 is none.
pub(super) fn norm_code(kind: NormKind) -> i32 {
    match kind {
        NormKind::Layer => 1,
        NormKind::Rms => 2,
    }
}

/// An activation as kernels number it; 0 is none.
pub(super) fn activation_code(activation: Option<Activation>) -> i32 {
    match activation {
        None => 0,
        Some(Activation::GeluTanh) => 1,
        Some(Activation::Gelu) => 2,
        Some(Activation::Silu) => 3,
        Some(Activation::Relu) => 4,
    }
}

/// How elements are stored, as kernels number it; `None` for what they do not read.
pub(super) fn stored_code(element: KvElement) -> Option<i32> {
    match element {
        KvElement::F32 => Some(0),
        KvElement::Bf16 => Some(1),
        KvElement::F16 => Some(2),
        KvElement::Int8 => Some(3),
        KvElement::Fp8 | KvElement::Int4 => None,
    }
}

/// One of three names by the storage type.
pub(super) fn by_type(dtype: DType, names: [&'static str; 3]) -> &'static str {
    match dtype {
        DType::F32 => names[0],
        DType::Bf16 => names[1],
        DType::F16 => names[2],
    }
}
