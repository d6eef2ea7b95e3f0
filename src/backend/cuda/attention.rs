//! Attention and appending: which kernel, how a cache is cut.

use super::args::{AppendArgs, AttentionArgs, by_type, stored_code};
use super::launch::Launch;
use super::tensor::{CudaCache, CudaTensor};
use crate::backend::AttentionSpec;
use crate::llm::{DType, KvElement, StepShape};

/// Where K and V lie, in elements.
#[derive(Clone, Copy)]
pub(super) struct Source {
    k: u64,
    v: u64,
    k_scale: u64,
    v_scale: u64,
    batch_stride: u64,
    head_stride: u64,
    token_stride: u64,
    scale_stride: u64,
    element: KvElement,
    /// The most keys that a query may ever see there.
    pub(super) most: usize,
}

impl Source {
    /// A cache, `[batch, kv_heads, capacity, head_dim]`.
    pub(super) fn cache(cache: &CudaCache) -> Self {
        let spec = &cache.spec;
        let scale = |half: usize| cache.scales.as_ref().map_or(0, |s| s[half].address);
        let head_stride = (spec.capacity * spec.head_dim) as u64;
        Self {
            k: cache.k.address,
            v: cache.v.address,
            k_scale: scale(0),
            v_scale: scale(1),
            batch_stride: spec.kv_heads as u64 * head_stride,
            head_stride,
            token_stride: spec.head_dim as u64,
            scale_stride: spec.capacity as u64,
            element: spec.storage.element,
            most: spec.capacity,
        }
    }

    /// The K and V columns of activations, behind those of Q.
    pub(super) fn activations(x: &CudaTensor, step: &StepShape, spec: &AttentionSpec, dtype: DType) -> Self {
        let bytes = dtype.bytes() as u64;
        let k = x.address() + (spec.heads * spec.head_dim) as u64 * bytes;
        Self {
            k,
            v: k + (spec.kv_heads * spec.head_dim) as u64 * bytes,
            k_scale: 0,
            v_scale: 0,
            batch_stride: (step.new_tokens * x.width) as u64,
            head_stride: spec.head_dim as u64,
            token_stride: x.width as u64,
            scale_stride: 0,
            element: KvElement::from(dtype),
            most: step.context,
        }
    }
}

/// Tensor cores serve prompts with heads of up to 128; f32 in pieces, on every device, since nothing else holds a tile of keys
/// for many queries.
pub(super) fn uses_tensor_cores(step: &StepShape, spec: &AttentionSpec) -> bool {
    step.new_tokens > 1 && spec.head_dim <= 128
}

/// The shared memory of the kernels for prompts. Of 16-bit types 64 queries, and two tiles of 64 keys and values; of f32 the
/// same bytes: 64 queries of 4, and a tile of 32 keys and values in three pieces of 2.
fn flash_shared(head_dim: usize) -> usize {
    let channels = if head_dim <= 64 { 64 } else { 128 };
    5 * 64 * channels * 2
}

/// The dynamic shared memory that `kernel` must be allowed, where that is more than every kernel has.
pub(super) fn large_shared(kernel: &str) -> Option<usize> {
    kernel.starts_with("kprof_flash128").then(|| flash_shared(128))
}

/// Query heads of one K/V head that a block of the split kernel takes.
fn heads_per_block(group: usize) -> usize {
    match group {
        1 => 1,
        2..=4 => 4,
        _ => 8,
    }
}

/// How the kernel for single queries is cut: blocks in y per row, and parts of the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) heads: usize,
    pub(super) blocks: usize,
    pub(super) splits: usize,
}

impl Cut {
    /// So many parts that the device is full, of at least 64 keys each: fewer keys cost less than joining them.
    pub(super) fn new(
        spec: &AttentionSpec,
        step: &StepShape,
        most_keys: usize,
        multiprocessors: usize,
    ) -> Self {
        let group = spec.heads / spec.kv_heads;
        let heads = heads_per_block(group);
        let blocks = spec.kv_heads * group.div_ceil(heads);
        let rows = step.batch * step.new_tokens;
        let keys = spec.window.map_or(most_keys, |window| window.min(most_keys));
        // What registers let a multiprocessor hold of these blocks.
        let resident = if heads == 8 { 2 } else { 4 };
        let wanted = (resident * multiprocessors).div_ceil(blocks * rows);
        let splits = if step.new_tokens > 1 { 1 } else { wanted.clamp(1, keys.div_ceil(64).max(1)) };
        Self { heads, blocks, splits }
    }

    /// Bytes of partial results: channels, maximum and sum in f32.
    pub(super) fn partial_bytes(&self, rows: usize, spec: &AttentionSpec) -> usize {
        if self.splits == 1 { 0 } else { rows * spec.heads * self.splits * (spec.head_dim + 2) * 4 }
    }
}

/// Where the kernel for single queries keeps what its blocks tell each other.
#[derive(Clone, Copy, Default)]
pub(super) struct Scratch {
    pub(super) partial: u64,
    pub(super) arrived: u64,
}

pub(super) fn attend(
    dtype: DType,
    (step, spec): (&StepShape, &AttentionSpec),
    q: &CudaTensor,
    source: Source,
    (cut, scratch): (Cut, Scratch),
    step_address: u64,
    y: &CudaTensor,
) -> Launch {
    let args = AttentionArgs {
        q: q.address(),
        k: source.k,
        v: source.v,
        k_scale: source.k_scale,
        v_scale: source.v_scale,
        y: y.address(),
        partial: scratch.partial,
        arrived: scratch.arrived,
        step: step_address,
        batch_stride: source.batch_stride,
        head_stride: source.head_stride,
        token_stride: source.token_stride,
        scale_stride: source.scale_stride,
        q_stride: q.width as i32,
        heads: spec.heads as i32,
        kv_heads: spec.kv_heads as i32,
        head_dim: spec.head_dim as i32,
        new_tokens: step.new_tokens as i32,
        window: spec.window.unwrap_or(0) as i32,
        splits: cut.splits as i32,
        dtype: stored_code(KvElement::from(dtype)).unwrap_or(0),
        storage: stored_code(source.element).unwrap_or(0),
        scale: (1.0 / (spec.head_dim as f64).sqrt()) as f32,
    };
    if uses_tensor_cores(step, spec) {
        let narrow = spec.head_dim <= 64;
        let kernel = if narrow {
            by_type(dtype, ["kprof_flash64_f32", "kprof_flash64_bf16", "kprof_flash64_f16"])
        } else {
            by_type(dtype, ["kprof_flash128_f32", "kprof_flash128_bf16", "kprof_flash128_f16"])
        };
        let grid = [step.new_tokens.div_ceil(64) as u32, spec.heads as u32, step.batch as u32];
        return Launch::new(kernel, grid, 128, args).shared(flash_shared(spec.head_dim));
    }
    let kernel = split_kernel(cut.heads, source.element);
    let grid = [cut.splits as u32, cut.blocks as u32, (step.batch * step.new_tokens) as u32];
    Launch::new(kernel, grid, 128, args).shared(4 * cut.heads * (spec.head_dim + 2) * 4)
}

fn split_kernel(heads: usize, element: KvElement) -> &'static str {
    let of = |one, four, eight| match heads {
        1 => one,
        4 => four,
        _ => eight,
    };
    match element {
        KvElement::F32 => of("kprof_attend1_f32", "kprof_attend4_f32", "kprof_attend8_f32"),
        KvElement::Bf16 => of("kprof_attend1_bf16", "kprof_attend4_bf16", "kprof_attend8_bf16"),
        KvElement::F16 => of("kprof_attend1_f16", "kprof_attend4_f16", "kprof_attend8_f16"),
        _ => of("kprof_attend1_int8", "kprof_attend4_int8", "kprof_attend8_int8"),
    }
}

pub(super) fn append(
    dtype: DType,
    step: &StepShape,
    qkv: &CudaTensor,
    spec: &AttentionSpec,
    cache: &CudaCache,
    step_address: u64,
) -> Launch {
    let scale = |half: usize| cache.scales.as_ref().map_or(0, |s| s[half].address);
    let items = 2 * qkv.rows * spec.kv_heads;
    let args = AppendArgs {
        qkv: qkv.address(),
        k: cache.k.address,
        v: cache.v.address,
        k_scale: scale(0),
        v_scale: scale(1),
        step: step_address,
        stride: qkv.width as i32,
        first_column: (spec.heads * spec.head_dim) as i32,
        new_tokens: step.new_tokens as i32,
        kv_heads: spec.kv_heads as i32,
        head_dim: spec.head_dim as i32,
        capacity: cache.spec.capacity as i32,
        items: items as i32,
        reserved: 0,
    };
    let kernel = match cache.spec.storage.element {
        KvElement::F32 => {
            by_type(dtype, ["kprof_append_f32_f32", "kprof_append_bf16_f32", "kprof_append_f16_f32"])
        }
        KvElement::Bf16 => {
            by_type(dtype, ["kprof_append_f32_bf16", "kprof_append_bf16_bf16", "kprof_append_f16_bf16"])
        }
        KvElement::F16 => {
            by_type(dtype, ["kprof_append_f32_f16", "kprof_append_bf16_f16", "kprof_append_f16_f16"])
        }
        _ => by_type(dtype, ["kprof_append_f32_int8", "kprof_append_bf16_int8", "kprof_append_f16_int8"]),
    };
    Launch::new(kernel, [items.div_ceil(4) as u32, 1, 1], 128, args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(heads: usize, kv_heads: usize, batch: usize, keys: usize) -> Cut {
        let spec = AttentionSpec { heads, kv_heads, head_dim: 64, window: None };
        let step = StepShape { batch, new_tokens: 1, context: 1 };
        Cut::new(&spec, &step, keys, 132)
    }

    #[test]
    fn a_sequence_is_cut_until_the_device_is_full_or_the_parts_are_small() {
        // gpt2: 12 blocks of one head; 4 x 132 / 12 = 44 parts, of 1024 keys at most 16.
        assert_eq!(cut(12, 12, 1, 1024), Cut { heads: 1, blocks: 12, splits: 16 });
        assert_eq!(cut(12, 12, 1, 65536).splits, 44);
        // qwen2.5-1.5b: six heads share, so blocks of eight; 2 x 132 / 2.
        assert_eq!(cut(12, 2, 1, 65536), Cut { heads: 8, blocks: 2, splits: 132 });
        assert_eq!(cut(64, 64, 32, 4096).splits, 1);
        assert_eq!(cut(12, 12, 1, 10).splits, 1);
    }
}
