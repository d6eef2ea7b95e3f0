//! Linears: which kernel, how many blocks.

use super::args::{GemmArgs, GemvArgs, activation_code, by_type, norm_code};
use super::launch::Launch;
use super::tensor::{CudaLinear, CudaNorm, CudaTensor};
use crate::llm::{Activation, DType};

/// Most rows that go through the kernel for decode: weights cross the memory once either way, and from here on tensor
/// cores have work.
pub(super) const SKINNY_ROWS: usize = 8;

/// Shared memory that a block has without asking for more.
const SHARED: usize = 48 << 10;

/// What stands before and after a product.
#[derive(Clone, Copy, Default)]
pub(super) struct Around<'a> {
    /// A norm of the inputs, and how many rows of x there are for one of the result.
    pub(super) norm: Option<(&'a CudaNorm, usize)>,
    /// A function of the results.
    pub(super) activation: Option<Activation>,
    /// Whether the activation of the first half multiplies the second.
    pub(super) gate: bool,
    /// What is added last.
    pub(super) residual: Option<&'a CudaTensor>,
}

/// Whether the normed rows of a skinny product fit into a block's shared memory.
pub(super) fn norm_fits(dtype: DType, rows: usize, width: usize) -> bool {
    // Eight warps leave 2 x 8 partial sums of 8 rows beside it.
    rows * width * dtype.bytes() as usize + 8 * 16 * 4 <= SHARED
}

/// A product of up to [`SKINNY_ROWS`] rows.
pub(super) fn skinny(
    dtype: DType,
    multiprocessors: usize,
    x: &CudaTensor,
    rows: usize,
    linear: &CudaLinear,
    around: Around<'_>,
    y: &CudaTensor,
) -> Launch {
    const WARPS: usize = 8;
    let kernel = match rows.next_power_of_two() {
        1 => by_type(dtype, ["kprof_gemv1_f32", "kprof_gemv1_bf16", "kprof_gemv1_f16"]),
        2 => by_type(dtype, ["kprof_gemv2_f32", "kprof_gemv2_bf16", "kprof_gemv2_f16"]),
        4 => by_type(dtype, ["kprof_gemv4_f32", "kprof_gemv4_bf16", "kprof_gemv4_f16"]),
        _ => by_type(dtype, ["kprof_gemv8_f32", "kprof_gemv8_bf16", "kprof_gemv8_f16"]),
    };
    let pairs = linear.outputs.div_ceil(2);
    // Warps share a pair of outputs until there are 32 warps per multiprocessor, or nothing left to share: a warp takes
    // 256 inputs at a time.
    let most = (linear.inputs / 256).next_power_of_two().clamp(1, WARPS);
    let enough = |split: &usize| pairs * split >= 32 * multiprocessors;
    let split = [1, 2, 4, WARPS].into_iter().find(enough).unwrap_or(WARPS).min(most);
    let blocks = pairs.div_ceil(WARPS / split);
    // Four blocks run on a multiprocessor at once, by their registers. Where there are more, each takes several pairs in
    // turn, all as many, so that a norm is computed once per block and the last round is as full as the first.
    let rounds = blocks.div_ceil(multiprocessors * 4);
    let grid = blocks.div_ceil(rounds);
    let (norm, every) = around.norm.unzip();
    let args = GemvArgs {
        x: x.address(),
        weight: linear.weight.address,
        bias: linear.bias.as_ref().map_or(0, |b| b.address),
        residual: around.residual.map_or(0, CudaTensor::address),
        gain: norm.map_or(0, |n| n.gain.address),
        norm_bias: norm.and_then(|n| n.bias.as_ref()).map_or(0, |b| b.address),
        y: y.address(),
        rows: rows as i32,
        inputs: linear.inputs as i32,
        outputs: linear.outputs as i32,
        every: every.unwrap_or(1) as i32,
        norm: norm.map_or(0, |n| norm_code(n.kind)),
        eps: norm.map_or(0.0, |n| n.eps),
        activation: activation_code(around.activation),
        gate: i32::from(around.gate),
        split: split as i32,
        reserved: 0,
    };
    let staged = if norm.is_some() { rows * linear.inputs * dtype.bytes() as usize } else { 0 };
    Launch::new(kernel, [grid as u32, 1, 1], 256, args).shared(staged)
}

/// Whether products of many rows in this type go to tensor cores on a device of this compute capability. f32 does where six
/// products of bfloat16 pieces take less time than an FMA, by NVIDIA's tables and data sheets (kernels/gemm_f32.cu): the
/// chips of data centres, and not those whose tensor cores are at most four times as fast as their FMAs (8.6, 8.9, 12.0);
/// 8.7 and others that nobody has looked at keep FMAs.
pub(super) fn on_tensor_cores(dtype: DType, capability: (i32, i32)) -> bool {
    dtype != DType::F32 || matches!(capability, (8, 0) | (9 | 10, _))
}

/// How a product of many rows is cut: tiles of so many rows and outputs, and parts of the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WideCut {
    tensor_cores: bool,
    tile: usize,
    tiles: [usize; 2],
    splits: usize,
}

impl WideCut {
    /// Large tiles where they give every multiprocessor one. Else small ones, and where there are fewer than
    /// multiprocessors also parts of the inputs, 128 inputs each at least: fewer cost less than joining them.
    pub(super) fn new(tensor_cores: bool, multiprocessors: usize, rows: usize, linear: &CudaLinear) -> Self {
        let tiles = |tile: usize| [rows.div_ceil(tile), linear.outputs.div_ceil(tile)];
        let fills = |[m, n]: [usize; 2]| m * n >= multiprocessors;
        let tile = if tensor_cores && fills(tiles(128)) { 128 } else { 64 };
        let tiles = tiles(tile);
        let mut splits = 1;
        if tensor_cores && !fills(tiles) {
            let steps = linear.inputs.div_ceil(32);
            let wanted = (2 * multiprocessors / (tiles[0] * tiles[1])).clamp(1, (steps / 4).clamp(1, 8));
            // No part is empty.
            splits = steps.div_ceil(steps.div_ceil(wanted));
        }
        Self { tensor_cores, tile, tiles, splits }
    }

    /// Bytes of what the parts leave for the last of them.
    pub(super) fn partial_bytes(&self) -> usize {
        if self.splits == 1 {
            0
        } else {
            self.tiles[0] * self.tiles[1] * self.splits * self.tile * self.tile * 4
        }
    }

    /// Counters that parts meet at.
    pub(super) fn meetings(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }
}

/// A product of many rows, without a norm. `partial` and `arrived` are where its parts meet.
pub(super) fn wide(
    dtype: DType,
    (cut, partial, arrived): (WideCut, u64, u64),
    x: &CudaTensor,
    linear: &CudaLinear,
    around: Around<'_>,
    y: &CudaTensor,
) -> Launch {
    let (kernel, threads) = match (cut.tensor_cores, cut.tile) {
        (false, _) => ("kprof_gemm_fma_f32", 256),
        (true, 128) => {
            (by_type(dtype, ["kprof_gemm128_f32", "kprof_gemm128_bf16", "kprof_gemm128_f16"]), 256)
        }
        (true, _) => (by_type(dtype, ["kprof_gemm64_f32", "kprof_gemm64_bf16", "kprof_gemm64_f16"]), 128),
    };
    let args = GemmArgs {
        x: x.address(),
        weight: linear.weight.address,
        bias: linear.bias.as_ref().map_or(0, |b| b.address),
        residual: around.residual.map_or(0, CudaTensor::address),
        y: y.address(),
        partial,
        arrived,
        rows: x.rows as i32,
        inputs: linear.inputs as i32,
        outputs: linear.outputs as i32,
        activation: activation_code(around.activation),
        gate: i32::from(around.gate),
        splits: cut.splits as i32,
    };
    let [m, n] = cut.tiles;
    Launch::new(kernel, [m as u32, n as u32, cut.splits as u32], threads, args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_goes_to_tensor_cores_where_six_products_take_less_time_than_an_fma() {
        // TFLOP/s of bfloat16 with f32 sums and of FMAs in f32, by the data sheets that src/hw/devices.toml names.
        for (capability, bf16, fma) in [
            ((8, 0), 312.0, 19.5), // A100
            ((8, 6), 125.0, 31.2), // A10
            ((8, 6), 71.0, 35.6),  // RTX 3090
            ((8, 9), 121.0, 30.3), // L4
            ((8, 9), 165.2, 82.6), // RTX 4090
            ((9, 0), 989.4, 66.9), // H100 SXM
        ] {
            assert_eq!(on_tensor_cores(DType::F32, capability), bf16 / 6.0 > fma, "{capability:?}");
            assert!(on_tensor_cores(DType::Bf16, capability));
        }
    }
}
