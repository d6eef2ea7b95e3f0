//! AVX2 with FMA and F16C: a vector is two registers.

#![allow(unsafe_code)]

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
    type I = [__m256i; 2];
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
        // SAFETY: see `both`; 16 elements are readable.
        unsafe {
            let p: *const __m128i = from.as_ptr().cast();
            let bits =
                [_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), _mm256_cvtepu16_epi32(_mm_loadu_si128(p.add(1)))];
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits[0])),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits[1])),
            ]
        }
    }
    #[inline(always)]
    fn store_bf16(self, x: Self::V, to: &mut [bf16; 16]) {
        // SAFETY: see `both`; 16 elements are writable. Numbers of 16 bits are packed as they are.
        unsafe {
            let packed = _mm256_packus_epi32(rounded_to_bf16(x[0]), rounded_to_bf16(x[1]));
            // Packing interleaves quarters of the registers.
            _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(packed));
        }
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
        both!(scaled, x, n)
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
        // SAFETY: see `both`; 32 elements are readable.
        unsafe {
            let p: *const __m256i = from.as_ptr().cast();
            let bits = [_mm256_loadu_si256(p), _mm256_loadu_si256(p.add(1))];
            let odd = _mm256_set1_epi32(0xFFFF_0000_u32 as i32);
            (
                [
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits[0])),
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits[1])),
                ],
                [
                    _mm256_castsi256_ps(_mm256_and_si256(bits[0], odd)),
                    _mm256_castsi256_ps(_mm256_and_si256(bits[1], odd)),
                ],
            )
        }
    }
    #[inline(always)]
    fn int_splat(self, x: i32) -> Self::I {
        // SAFETY: see `both`.
        unsafe { [_mm256_set1_epi32(x); 2] }
    }
    #[inline(always)]
    fn int_to_float(self, x: Self::I) -> Self::V {
        both!(_mm256_cvtepi32_ps, x)
    }
    #[inline(always)]
    fn store_i8(self, x: Self::V, to: &mut [i8; 16]) {
        // SAFETY: see `both`; 16 bytes are writable.
        unsafe {
            let words = _mm256_packs_epi32(_mm256_cvtps_epi32(x[0]), _mm256_cvtps_epi32(x[1]));
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
        }
    }
    #[inline(always)]
    fn dot_bytes(self, sum: Self::I, bytes: &[u8; 64], x: [i8; 4]) -> Self::I {
        let even = pair(x[0], x[2]);
        let odd = pair(x[1], x[3]);
        // SAFETY: see `both`; 64 bytes are readable.
        unsafe {
            let p: *const __m256i = bytes.as_ptr().cast();
            let (even, odd) = (_mm256_set1_epi32(even), _mm256_set1_epi32(odd));
            [
                dot_half(sum[0], _mm256_loadu_si256(p), even, odd),
                dot_half(sum[1], _mm256_loadu_si256(p.add(1)), even, odd),
            ]
        }
    }
    #[inline(always)]
    fn prefetch(self, from: *const u8, ahead: usize) {
        // SAFETY: a prefetch of any address is only a hint.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(ahead).cast()) }
    }
}

/// `x 2^n`: two steps keep each factor's exponent a normal number's.
///
/// # Safety
///
/// The CPU has AVX2.
#[inline(always)]
unsafe fn scaled(x: __m256, n: __m256) -> __m256 {
    // SAFETY: of registers alone, on such a CPU.
    unsafe {
        let n = _mm256_cvtps_epi32(n);
        let first = _mm256_srai_epi32::<1>(n);
        let second = _mm256_sub_epi32(n, first);
        _mm256_mul_ps(_mm256_mul_ps(x, power(first)), power(second))
    }
}

/// 2^n.
///
/// # Safety
///
/// The CPU has AVX2.
#[inline(always)]
unsafe fn power(n: __m256i) -> __m256 {
    // SAFETY: of registers alone, on such a CPU.
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127)))) }
}

/// Two bytes as numbers of 16 bits.
#[inline(always)]
pub(super) fn pair(a: i8, b: i8) -> i32 {
    i32::from(i16::from(a) as u16) | i32::from(i16::from(b)) << 16
}

/// Four products to a lane. Not by `maddubs`, which saturates with bytes over 127: even and odd bytes as numbers of 16 bits,
/// whose products cannot.
///
/// # Safety
///
/// The CPU has AVX2.
#[inline(always)]
unsafe fn dot_half(sum: __m256i, bytes: __m256i, x_even: __m256i, x_odd: __m256i) -> __m256i {
    // SAFETY: of registers alone, on such a CPU.
    unsafe {
        let even = _mm256_and_si256(bytes, _mm256_set1_epi16(0x00FF));
        let odd = _mm256_srli_epi16::<8>(bytes);
        let sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even, x_even));
        _mm256_add_epi32(sum, _mm256_madd_epi16(odd, x_odd))
    }
}

/// The upper halves of lanes rounded to the nearest bfloat16, ties to even; what is not a number stays none.
///
/// # Safety
///
/// The CPU has AVX2.
#[inline(always)]
unsafe fn rounded_to_bf16(x: __m256) -> __m256i {
    // SAFETY: of registers alone, on such a CPU.
    unsafe {
        let bits = _mm256_castps_si256(x);
        let upper = _mm256_srli_epi32::<16>(bits);
        let even = _mm256_and_si256(upper, _mm256_set1_epi32(1));
        let up = _mm256_add_epi32(_mm256_set1_epi32(0x7FFF), even);
        let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, up));
        let quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
        let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
        _mm256_blendv_epi8(rounded, quiet, is_nan)
    }
}

/// Runs a kernel compiled for these instructions.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn run<K: super::Kernel>(s: Avx2, kernel: K) -> K::Output {
    kernel.run(s)
}
