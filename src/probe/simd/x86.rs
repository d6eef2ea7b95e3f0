//! AVX2 and AVX-512 loops. Every public item is safe: functions are handed out only after run-time detection.

#![allow(unsafe_code)]

use super::{BLOCK, Chain, Streams};
use crate::hw::{ComputeUnit, Operation, Precision};
use std::arch::x86_64::*;
use std::hint::black_box;

/// The widest streams that this CPU has; `None` without AVX2.
pub(super) fn streams() -> Option<Streams> {
    every_stream().into_iter().next()
}

/// Every set of streams that this CPU has, widest first.
pub(super) fn every_stream() -> Vec<Streams> {
    let mut found = Vec::new();
    if is_x86_feature_detected!("avx512f") {
        found.push(Streams {
            name: "AVX-512",
            read: safe_stream::read_512,
            read_four: safe_stream::read_512_four,
            triad: safe_stream::triad_512,
            triad_streaming: safe_stream::triad_512_streaming,
        });
    }
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        found.push(Streams {
            name: "AVX2",
            read: safe_stream::read_256,
            read_four: safe_stream::read_256_four,
            triad: safe_stream::triad_256,
            triad_streaming: safe_stream::triad_256_streaming,
        });
    }
    found
}

/// The fastest chain per precision that this CPU has; `None` without AVX2 and FMA.
pub(super) fn chains() -> Option<Vec<Chain>> {
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        return None;
    }
    if !is_x86_feature_detected!("avx512f") {
        return Some(vec![chain_256::F32, chain_256::F64]);
    }
    let mut chains = vec![chain_512::F32, chain_512::F64];
    if is_x86_feature_detected!("avx512bf16") {
        chains.push(chain_512::BF16);
    }
    if is_x86_feature_detected!("avx512fp16") {
        chains.push(chain_512::F16);
    }
    if is_x86_feature_detected!("avx512vnni") {
        chains.push(chain_512::INT8);
    }
    Some(chains)
}

/// Safe functions over the loops below.
mod safe_stream {
    use super::{BLOCK, stream};

    macro_rules! safe {
        ($read:ident, $four:ident, $triad:ident, $streaming:ident) => {
            pub(super) fn $read(bytes: &[u8]) {
                // SAFETY: listed by `every_stream` only where the CPU has the feature; whole blocks of the slice
                // are read, so nothing beyond it.
                unsafe { stream::$read(bytes.as_ptr(), bytes.len() / BLOCK) }
            }

            pub(super) fn $four(bytes: &[u8]) {
                // SAFETY: as above; four times the blocks of a quarter are no more than the slice has.
                unsafe { stream::$four(bytes.as_ptr(), bytes.len() / BLOCK / 4) }
            }

            pub(super) fn $triad(a: &mut [u8], b: &[u8], c: &[u8]) {
                let blocks = a.len().min(b.len()).min(c.len()) / BLOCK;
                // SAFETY: as above, with the shortest slice's whole blocks; `a` is borrowed exclusively.
                unsafe { stream::$triad(a.as_mut_ptr(), b.as_ptr(), c.as_ptr(), blocks) }
            }

            pub(super) fn $streaming(a: &mut [u8], b: &[u8], c: &[u8]) {
                if a.as_ptr().align_offset(64) != 0 {
                    return $triad(a, b, c);
                }
                let blocks = a.len().min(b.len()).min(c.len()) / BLOCK;
                // SAFETY: as above; the address that is stored to is aligned to 64 bytes, and so is each step.
                unsafe { stream::$streaming(a.as_mut_ptr(), b.as_ptr(), c.as_ptr(), blocks) }
            }
        };
    }

    safe!(read_512, read_512_four, triad_512, triad_512_streaming);
    safe!(read_256, read_256_four, triad_256, triad_256_streaming);
}

/// The streaming loops. Each takes pointers to `blocks` x [`BLOCK`] valid bytes, of any alignment unless said.
mod stream {
    use super::*;

    macro_rules! read {
        ($name:ident, $streams:literal, $feature:literal, $vector:ty, $zero:ident, $load:ident, $or:ident) => {
            /// Reads `$streams` regions of so many blocks each, side by side.
            #[target_feature(enable = $feature)]
            pub(super) unsafe fn $name(bytes: *const u8, blocks: usize) {
                const STEP: usize = size_of::<$vector>();
                const EACH: usize = 8 / $streams;
                let mut seen = [$zero(); 8];
                for round in 0..blocks * (BLOCK / (EACH * STEP)) {
                    for (i, seen) in seen.iter_mut().enumerate() {
                        let region = i / EACH * blocks * BLOCK;
                        // SAFETY: `round` and `i` stay within the blocks that the caller vouches for.
                        let vector =
                            unsafe { $load(bytes.add(region + (EACH * round + i % EACH) * STEP).cast()) };
                        *seen = $or(*seen, vector);
                    }
                }
                black_box(seen);
            }
        };
    }

    read!(read_512, 1, "avx512f", __m512i, _mm512_setzero_si512, _mm512_loadu_si512, _mm512_or_si512);
    read!(read_512_four, 4, "avx512f", __m512i, _mm512_setzero_si512, _mm512_loadu_si512, _mm512_or_si512);
    read!(read_256, 1, "avx2", __m256i, _mm256_setzero_si256, _mm256_loadu_si256, _mm256_or_si256);
    read!(read_256_four, 4, "avx2", __m256i, _mm256_setzero_si256, _mm256_loadu_si256, _mm256_or_si256);

    macro_rules! triad {
        ($name:ident, $feature:literal, $vector:ty, $set:ident, $load:ident, $fma:ident, $store:ident, $fence:expr) => {
            #[target_feature(enable = $feature)]
            pub(super) unsafe fn $name(a: *mut u8, b: *const u8, c: *const u8, blocks: usize) {
                const STEP: usize = size_of::<$vector>();
                let scale = $set(black_box(3.0));
                for i in 0..blocks * (BLOCK / STEP) {
                    // SAFETY: `i` stays within the blocks that the caller vouches for; an aligned store is used
                    // only by the streaming variants, whose callers vouch for that too.
                    unsafe {
                        let sum = $fma(scale, $load(c.add(i * STEP).cast()), $load(b.add(i * STEP).cast()));
                        $store(a.add(i * STEP).cast(), sum);
                    }
                }
                if $fence {
                    _mm_sfence();
                }
            }
        };
    }

    triad!(
        triad_512,
        "avx512f",
        __m512,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_fmadd_ps,
        _mm512_storeu_ps,
        false
    );
    triad!(
        triad_512_streaming,
        "avx512f",
        __m512,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_fmadd_ps,
        _mm512_stream_ps,
        true
    );
    triad!(
        triad_256,
        "avx2,fma",
        __m256,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_fmadd_ps,
        _mm256_storeu_ps,
        false
    );
    triad!(
        triad_256_streaming,
        "avx2,fma",
        __m256,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_fmadd_ps,
        _mm256_stream_ps,
        true
    );
}

/// Defines a loop of independent chains `acc = step(acc, x, y)` and its entry for the list.
///
/// Enough chains hide the latency (4 or 5 cycles on two ports needs 10) and fit the registers with `x` and `y`.
macro_rules! chain {
    (
        $entry:ident, $run:ident, $feature:literal, $title:literal, $operation:ident, $precision:ident, $accumulate:expr,
        $chains:literal x $flop:literal, start $start:expr, operands ($x:expr, $y:expr),
        |$acc:ident, $a:ident, $b:ident| $step:expr
    ) => {
        pub(super) const $entry: Chain = Chain {
            name: $title,
            unit: ComputeUnit::Vector,
            operation: Operation::$operation,
            precision: Precision::$precision,
            accumulate: $accumulate,
            flop_per_iteration: $chains as f64 * $flop as f64,
            run: $run,
        };

        fn $run(iterations: u64) {
            #[target_feature(enable = $feature)]
            fn inner(iterations: u64) {
                let ($a, $b) = ($x, $y);
                let mut sums = [$start; $chains];
                for _ in 0..iterations {
                    for $acc in &mut sums {
                        *$acc = $step;
                    }
                }
                black_box(sums);
            }
            // SAFETY: `chains` lists this function only where the CPU has the features; nothing else is required.
            unsafe { inner(iterations) }
        }
    };
}

/// 512-bit chains; 2 FLOPs per lane for a multiply-add, 4 and 8 for two- and four-way dot products.
mod chain_512 {
    use super::*;

    chain!(
        F32, fma_f32, "avx512f", "AVX-512 fmadd f32, 16 chains", Fma, Fp32, None,
        16 x 32, start _mm512_set1_ps(1.0), operands (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(1e-3))),
        |acc, x, y| _mm512_fmadd_ps(*acc, x, y)
    );
    chain!(
        F64, fma_f64, "avx512f", "AVX-512 fmadd f64, 16 chains", Fma, Fp64, None,
        16 x 16, start _mm512_set1_pd(1.0), operands (_mm512_set1_pd(black_box(0.999)), _mm512_set1_pd(black_box(1e-3))),
        |acc, x, y| _mm512_fmadd_pd(*acc, x, y)
    );
    chain!(
        BF16, dot_bf16, "avx512f,avx512bf16", "AVX-512 BF16 dpbf16, 16 chains", Dot, Bf16, Some(Precision::Fp32),
        16 x 64, start _mm512_set1_ps(1.0), operands (bf16_pairs(black_box(0x3f00_3f00)), bf16_pairs(black_box(0x3c00_3c00))),
        |acc, x, y| _mm512_dpbf16_ps(*acc, x, y)
    );
    chain!(
        F16, fma_f16, "avx512f,avx512fp16", "AVX-512 FP16 fmadd, 16 chains", Fma, Fp16, None,
        16 x 64, start f16_pairs(0x3c00_3c00), operands (f16_pairs(black_box(0x3bfe_3bfe)), f16_pairs(black_box(0x1400_1400))),
        |acc, x, y| _mm512_fmadd_ph(*acc, x, y)
    );
    chain!(
        INT8, dot_int8, "avx512f,avx512vnni", "AVX-512 VNNI dpbusd, 16 chains", Dot, Int8, Some(Precision::Int32),
        16 x 128, start _mm512_set1_epi32(1), operands (_mm512_set1_epi8(black_box(1)), _mm512_set1_epi8(black_box(2))),
        |acc, x, y| _mm512_dpbusd_epi32(*acc, x, y)
    );

    /// 32 bf16 from the bits of two: 0x3f00 is 0.5, 0x3c00 is 2^-7, neither denormal nor growing to infinity.
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn bf16_pairs(bits: i32) -> __m512bh {
        // SAFETY: both types are 512 bits without invalid values.
        unsafe { std::mem::transmute(_mm512_set1_epi32(bits)) }
    }

    /// 32 f16 from the bits of two: 0x3c00 is 1, 0x3bfe 0.999, 0x1400 0.001.
    #[target_feature(enable = "avx512f,avx512fp16")]
    fn f16_pairs(bits: i32) -> __m512h {
        _mm512_castsi512_ph(_mm512_set1_epi32(bits))
    }
}

/// 256-bit chains: 12 of them and two operands fit the 16 registers.
mod chain_256 {
    use super::*;

    chain!(
        F32, fma_f32, "avx2,fma", "AVX2 fmadd f32, 12 chains", Fma, Fp32, None,
        12 x 16, start _mm256_set1_ps(1.0), operands (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(1e-3))),
        |acc, x, y| _mm256_fmadd_ps(*acc, x, y)
    );
    chain!(
        F64, fma_f64, "avx2,fma", "AVX2 fmadd f64, 12 chains", Fma, Fp64, None,
        12 x 8, start _mm256_set1_pd(1.0), operands (_mm256_set1_pd(black_box(0.999)), _mm256_set1_pd(black_box(1e-3))),
        |acc, x, y| _mm256_fmadd_pd(*acc, x, y)
    );
}
