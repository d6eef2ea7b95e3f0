//! AVX2 with FMA and F16C: a vector is two registers.

#![allow(unsafe_code)]

use super::portable::dot_bytes;
use super::vector::{Shape, Simd};
use half::{bf16, f16};
use std::arch::x86_64::*;

/// The proof of AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

impl Avx2 {
    /// Whether the CPU has what this uses.
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }
}

/// Applies an intrinsic of registers to both halves.
macro_rules! both {
    ($intrinsic:ident, $($x:expr),+) => {{
        // SAFETY: `Avx2` exists only where the CPU has AVX2, FMA and F16C; the intrinsic works on registers alone.
        unsafe { [$intrinsic($($x[0]),+), $intrinsic($($x[1]),+)] }
    }};
}

impl Simd for Avx2 {
    type V = [__m256; 2];
    type I = [i32; 16];
    const SHAPE: Shape = Shape::Narrow;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: see `both`.
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    fn load(self, from: &[f32; 16]) -> Self::V {
        // SAFETY: see `both`; 16 floats are readable.
        unsafe { [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))] }
    }
    #[inline(always)]
    fn store(self, x: Self::V, to: &mut [f32; 16]) {
        // SAFETY: see `both`; 16 floats are writable.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), x[1]);
        }
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16; 16]) -> Self::V {
        let half = |at: usize| {
            // SAFETY: see `both`; at is 0 or 8, so eight elements are readable.
            unsafe {
                let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().add(at).cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
            }
        };
        [half(0), half(8)]
    }
    #[inline(always)]
    fn store_bf16(self, x: Self::V, to: &mut [bf16; 16]) {
        let mut wide = [0f32; 16];
        self.store(x, &mut wide);
        *to = wide.map(bf16::from_f32);
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16; 16]) -> Self::V {
        // SAFETY: see `both`; 16 elements are readable.
        unsafe {
            let p = from.as_ptr();
            [_mm256_cvtph_ps(_mm_loadu_si128(p.cast())), _mm256_cvtph_ps(_mm_loadu_si128(p.add(8).cast()))]
        }
    }
    #[inline(always)]
    fn store_f16(self, x: Self::V, to: &mut [f16; 16]) {
        // SAFETY: see `both`; 16 elements are writable. 0 is rounding to the nearest even.
        unsafe {
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm256_cvtps_ph::<0>(x[0]));
            _mm_storeu_si128(to.as_mut_ptr().add(8).cast(), _mm256_cvtps_ph::<0>(x[1]));
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_add_ps, a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_sub_ps, a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_mul_ps, a, b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_div_ps, a, b)
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_max_ps, a, b)
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_min_ps, a, b)
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        both!(_mm256_fmadd_ps, a, b, c)
    }
    #[inline(always)]
    fn round(self, x: Self::V) -> Self::V {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: see `both`.
        unsafe { [_mm256_round_ps::<NEAREST>(x[0]), _mm256_round_ps::<NEAREST>(x[1])] }
    }
    #[inline(always)]
    fn scale2(self, x: Self::V, n: Self::V) -> Self::V {
        let scale = |x: __m256, n: __m256| {
            // SAFETY: see `both`. Two steps keep each factor's exponent a normal number's.
            unsafe {
                let n = _mm256_cvtps_epi32(n);
                let first = _mm256_srai_epi32::<1>(n);
                let second = _mm256_sub_epi32(n, first);
                let power = |n| {
                    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127))))
                };
                _mm256_mul_ps(_mm256_mul_ps(x, power(first)), power(second))
            }
        };
        [scale(x[0], n[0]), scale(x[1], n[1])]
    }
    #[inline(always)]
    fn sum(self, x: Self::V) -> f32 {
        // SAFETY: see `both`.
        unsafe {
            let x = _mm256_add_ps(x[0], x[1]);
            let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
        }
    }
    #[inline(always)]
    fn largest(self, x: Self::V) -> f32 {
        // SAFETY: see `both`.
        unsafe {
            let x = _mm256_max_ps(x[0], x[1]);
            let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps::<1>(x, x)))
        }
    }
    #[inline(always)]
    fn pairs(self, from: &[bf16; 32]) -> (Self::V, Self::V) {
        let half = |at: usize| {
            // SAFETY: see `both`; at is 0 or 16, so 16 elements are readable.
            unsafe {
                let bits = _mm256_loadu_si256(from.as_ptr().add(at).cast());
                let odd = _mm256_and_si256(bits, _mm256_set1_epi32(0xFFFF_0000_u32 as i32));
                let even = _mm256_slli_epi32::<16>(bits);
                (_mm256_castsi256_ps(even), _mm256_castsi256_ps(odd))
            }
        };
        let (low, high) = (half(0), half(16));
        ([low.0, high.0], [low.1, high.1])
    }
    #[inline(always)]
    fn int_splat(self, x: i32) -> Self::I {
        [x; 16]
    }
    #[inline(always)]
    fn int_to_float(self, x: Self::I) -> Self::V {
        // SAFETY: see `both`; 16 integers are readable.
        unsafe {
            let p = x.as_ptr();
            [
                _mm256_cvtepi32_ps(_mm256_loadu_si256(p.cast())),
                _mm256_cvtepi32_ps(_mm256_loadu_si256(p.add(8).cast())),
            ]
        }
    }
    #[inline(always)]
    fn dot_bytes(self, sum: Self::I, bytes: &[u8; 64], x: [i8; 4]) -> Self::I {
        // `maddubs` saturates with bytes over 127: plain code, which the compiler vectorises.
        dot_bytes(sum, bytes, x)
    }
    #[inline(always)]
    fn prefetch(self, from: *const u8, ahead: usize) {
        // SAFETY: a prefetch of any address is only a hint.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(ahead).cast()) }
    }
}

/// Runs a kernel compiled for these instructions.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn run<K: super::Kernel>(s: Avx2, kernel: K) -> K::Output {
    kernel.run(s)
}
