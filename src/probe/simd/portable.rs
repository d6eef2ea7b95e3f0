//! Loops that any compiler vectorises for its baseline: what CPUs without AVX2 use, and those that are not x86-64.

use super::{BLOCK, Chain, Streams};
use crate::hw::{ComputeUnit, Operation, Precision};
use std::hint::black_box;

pub(super) const STREAMS: Streams =
    Streams { name: "portable", read, read_four: read, triad, triad_streaming: triad };

pub(super) const CHAINS: [Chain; 2] = [
    Chain {
        name: "portable f32 multiply-add",
        unit: ComputeUnit::Vector,
        operation: Operation::Fma,
        precision: Precision::Fp32,
        accumulate: None,
        flop_per_iteration: 2.0 * F32 as f64,
        run: fma_f32,
    },
    Chain {
        name: "portable f64 multiply-add",
        unit: ComputeUnit::Vector,
        operation: Operation::Fma,
        precision: Precision::Fp64,
        accumulate: None,
        flop_per_iteration: 2.0 * F64 as f64,
        run: fma_f64,
    },
];

/// Accumulators: twelve 128-bit registers' worth, which baseline x86-64 and aarch64 both hold.
const F32: usize = 48;
const F64: usize = 24;

fn read(bytes: &[u8]) {
    const WORD: usize = size_of::<u64>();
    let mut seen = [0u64; BLOCK / WORD];
    for block in bytes.chunks_exact(BLOCK) {
        for (seen, word) in seen.iter_mut().zip(block.chunks_exact(WORD)) {
            *seen |= word.try_into().map_or(0, u64::from_ne_bytes);
        }
    }
    black_box(seen);
}

fn triad(a: &mut [u8], b: &[u8], c: &[u8]) {
    let float = |bytes: &[u8]| bytes.try_into().map_or(0.0, f32::from_ne_bytes);
    for ((a, b), c) in a.chunks_exact_mut(4).zip(b.chunks_exact(4)).zip(c.chunks_exact(4)) {
        a.copy_from_slice(&(float(b) + 3.0 * float(c)).to_ne_bytes());
    }
}

/// One instruction where the baseline has it (aarch64), else a multiplication and an addition: without the
/// instruction, `mul_add` is a library call.
macro_rules! chain {
    ($name:ident, $float:ty, $lanes:expr) => {
        fn $name(iterations: u64) {
            let (x, y): ($float, $float) = (black_box(0.999), black_box(1e-3));
            let mut sums: [$float; $lanes] = [1.0; $lanes];
            for _ in 0..iterations {
                for sum in &mut sums {
                    *sum = if cfg!(target_arch = "aarch64") { sum.mul_add(x, y) } else { *sum * x + y };
                }
            }
            black_box(sums);
        }
    };
}

chain!(fma_f32, f32, F32);
chain!(fma_f64, f64, F64);
