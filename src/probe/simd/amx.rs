//! AMX: the matrix unit of recent x86-64 server cores, by assembly, as its intrinsics are not stable.
//!
//! Where the CPU has no tiles, or the kernel does not grant their state, nothing is listed.

#![allow(unsafe_code)]

use super::Chain;
use crate::backend::tiles_are_usable;
use crate::hw::{ComputeUnit, Operation, Precision};
use std::arch::asm;

/// The chains of the matrix unit, if it can be used.
pub(super) fn chains() -> Vec<Chain> {
    if tiles_are_usable() { vec![BF16, INT8, FP16, FP32] } else { Vec::new() }
}

/// Accumulator tiles: with 6 of the 8 the latency (52 cycles, one product every 16) is hidden, and 2 are operands.
const TILES: f64 = 6.0;

const BF16: Chain = Chain {
    name: "AMX tdpbf16ps, 6 tiles",
    unit: ComputeUnit::Matrix,
    operation: Operation::Dot,
    precision: Precision::Bf16,
    accumulate: Some(Precision::Fp32),
    // A tile is 16 x 16 sums of 32 products.
    flop_per_iteration: TILES * 16.0 * 16.0 * 32.0 * 2.0,
    run: dot_bf16,
};

const INT8: Chain = Chain {
    name: "AMX tdpbssd, 6 tiles",
    unit: ComputeUnit::Matrix,
    operation: Operation::Dot,
    precision: Precision::Int8,
    accumulate: Some(Precision::Int32),
    // A tile is 16 x 16 sums of 64 products.
    flop_per_iteration: TILES * 16.0 * 16.0 * 64.0 * 2.0,
    run: dot_int8,
};

/// What a matrix unit of bfloat16 gives for products of f16: each is three, of bfloat16 pieces.
const FP16: Chain = Chain {
    name: "AMX tdpbf16ps, 6 tiles, 3 products of bf16 pieces for one",
    precision: Precision::Fp16,
    flop_per_iteration: BF16.flop_per_iteration / 3.0,
    ..BF16
};

/// And for products of f32: six.
const FP32: Chain = Chain {
    name: "AMX tdpbf16ps, 6 tiles, 6 products of bf16 pieces for one",
    precision: Precision::Fp32,
    flop_per_iteration: BF16.flop_per_iteration / 6.0,
    ..BF16
};

/// The 64 bytes that LDTILECFG reads: palette 1, then bytes per row and rows of each of the eight tiles.
#[repr(C, align(64))]
struct TileConfig([u8; 64]);

impl TileConfig {
    /// Eight tiles of 16 rows of 64 bytes.
    fn full() -> Self {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        for tile in 0..8 {
            bytes[16 + 2 * tile] = 64;
            bytes[48 + tile] = 16;
        }
        Self(bytes)
    }
}

macro_rules! chain {
    ($name:ident, $product:literal, $word:literal) => {
        fn $name(iterations: u64) {
            if iterations == 0 {
                return;
            }
            let config = TileConfig::full();
            let operand = [$word as u32; 256];
            // SAFETY: listed only when tiles are usable. The configuration and the operand are 64 and 1024 readable bytes;
            // tiles are the only other state and are released at the end; the count is above zero.
            unsafe {
                asm!(
                    "ldtilecfg [{config}]",
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2",
                    "tilezero tmm3", "tilezero tmm4", "tilezero tmm5",
                    "tileloadd tmm6, [{operand} + {stride}*1]",
                    "tileloadd tmm7, [{operand} + {stride}*1]",
                    "2:",
                    concat!($product, " tmm0, tmm6, tmm7"),
                    concat!($product, " tmm1, tmm6, tmm7"),
                    concat!($product, " tmm2, tmm6, tmm7"),
                    concat!($product, " tmm3, tmm6, tmm7"),
                    concat!($product, " tmm4, tmm6, tmm7"),
                    concat!($product, " tmm5, tmm6, tmm7"),
                    "dec {count}",
                    "jnz 2b",
                    "tilerelease",
                    config = in(reg) &config,
                    operand = in(reg) operand.as_ptr(),
                    stride = in(reg) 64u64,
                    count = inout(reg) iterations => _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack, readonly)
                );
            }
        }
    };
}

// Pairs of 0.5 in bf16, and ones in int8: numbers, as zeros draw less power and so would run faster than work does.
chain!(dot_bf16, "tdpbf16ps", 0x3f00_3f00);
chain!(dot_int8, "tdpbssd", 0x0101_0101);
