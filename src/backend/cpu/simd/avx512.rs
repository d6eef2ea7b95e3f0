//! AVX-512: a vector is one register. Two types for two generations: the foundation, and
//! with VNNI and BF16.

#![allow(unsafe_code)]

use super::avx2::pair;
use super::vector::{Shape, Simd};
use half::{bf16, f16};
use std::arch::asm;
use std::arch::x86_64::*;

/// The proof of AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());
/// The proof of the same with VNNI and BF16.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512Bf16(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        has.then_some(Self(()))
    }
}

impl Avx512Bf16 {
    pub(super) fn detect() -> Option<Self> {
        let has = Avx512::detect().is_some()
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx512bf16");
        has.then_some(Self(()))
    }
}

#[inline(always)]
fn pairs(from: &[bf16; 32]) -> (__m512, __m512) {
    // SAFETY: called only by the types above, which exist where the CPU has AVX-512; 64 bytes are readable.
    unsafe {
        let bits = _mm512_loadu_si512(from.as_ptr().cast());
        let odd = _mm512_and_si512(bits, _mm512_set1_epi32(0xFFFF_0000_u32 as i32));
        (_mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits)), _mm512_castsi512_ps(odd))
    }
}

#[inline(always)]
fn narrow_plain(x: __m512, to: &mut [bf16; 16]) {
    // SAFETY: see `pairs`; 32 bytes are writable.
    unsafe {
        let narrow = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(round_plain(x)));
        _mm256_storeu_si256(to.as_mut_ptr().cast(), narrow);
    }
}

#[inline(always)]
fn narrow_native(x: __m512, to: &mut [bf16; 16]) {
    // SAFETY: called only by `Avx512Bf16`; 32 bytes are writable. The types are both 16 bf16.
    unsafe {
        let narrow: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(x));
        _mm256_storeu_si256(to.as_mut_ptr().cast(), narrow);
    }
}

/// 16 rounded to the nearest even by integer arithmetic, as the upper halves of 32 bits; a NaN stays one.
#[inline(always)]
fn round_plain(x: __m512) -> __m512i {
    // SAFETY: see `pairs`.
    unsafe {
        let bits = _mm512_castps_si512(x);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
        let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
        _mm512_mask_mov_epi32(rounded, nan, quiet)
    }
}

#[inline(always)]
fn narrow_pairs_plain(even: __m512, odd: __m512, to: &mut [bf16; 32]) {
    let even = round_plain(even);
    // SAFETY: see `pairs`; 64 bytes are writable.
    unsafe {
        let both = _mm512_mask_mov_epi16(_mm512_srli_epi32::<16>(even), 0xAAAA_AAAA, round_plain(odd));
        _mm512_storeu_si512(to.as_mut_ptr().cast(), both);
    }
}

#[inline(always)]
fn narrow_pairs_native(even: __m512, odd: __m512, to: &mut [bf16; 32]) {
    // SAFETY: called only by `Avx512Bf16`; 64 bytes are writable. The types are all 64 bytes of bf16.
    unsafe {
        let even: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(even));
        let odd: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(odd));
        let odd = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(odd));
        let both = _mm512_or_si512(_mm512_cvtepu16_epi32(even), odd);
        _mm512_storeu_si512(to.as_mut_ptr().cast(), both);
    }
}

#[inline(always)]
fn dot_pairs_plain(sum: __m512, from: &[bf16; 32], x: [bf16; 2]) -> __m512 {
    let (even, odd) = pairs(from);
    // SAFETY: see `pairs`.
    unsafe {
        let sum = _mm512_fmadd_ps(even, _mm512_set1_ps(x[0].to_f32()), sum);
        _mm512_fmadd_ps(odd, _mm512_set1_ps(x[1].to_f32()), sum)
    }
}

#[inline(always)]
fn dot_pairs_native(sum: __m512, from: &[bf16; 32], x: [bf16; 2]) -> __m512 {
    let both = u32::from(x[0].to_bits()) | u32::from(x[1].to_bits()) << 16;
    // SAFETY: called only by `Avx512Bf16`; 64 bytes are readable. The types are all 64 bytes of bf16.
    unsafe {
        let pairs: __m512bh = std::mem::transmute(_mm512_loadu_si512(from.as_ptr().cast()));
        let x: __m512bh = std::mem::transmute(_mm512_set1_epi32(both as i32));
        _mm512_dpbf16_ps(sum, pairs, x)
    }
}

/// Bytes of each lane, widened, times those of `x`: without VNNI.
#[inline(always)]
fn dot_bytes_plain(sum: __m512i, bytes: &[u8; 64], x: [i8; 4]) -> __m512i {
    // SAFETY: see `pairs`; 64 bytes are readable. Products of 16-bit numbers under 2^8 cannot saturate in 32 bits.
    unsafe {
        let bytes = _mm512_loadu_si512(bytes.as_ptr().cast());
        let even = _mm512_and_si512(bytes, _mm512_set1_epi16(0x00FF));
        let odd = _mm512_srli_epi16::<8>(bytes);
        let sum = _mm512_add_epi32(sum, _mm512_madd_epi16(even, _mm512_set1_epi32(pair(x[0], x[2]))));
        _mm512_add_epi32(sum, _mm512_madd_epi16(odd, _mm512_set1_epi32(pair(x[1], x[3]))))
    }
}

#[inline(always)]
fn dot_bytes_native(sum: __m512i, bytes: &[u8; 64], x: [i8; 4]) -> __m512i {
    let quad = i32::from_le_bytes(x.map(|x| x as u8));
    // SAFETY: called only where the CPU has VNNI; 64 bytes are readable.
    unsafe {
        let bytes = _mm512_loadu_si512(bytes.as_ptr().cast());
        _mm512_dpbusd_epi32(sum, bytes, _mm512_set1_epi32(quad))
    }
}

/// Codes from 0 to 255, less 128, as f32: 2^23 + code, less 2^23 + 128; the upper half of the result is it in bfloat16.
///
/// # Safety
///
/// The CPU has AVX-512.
#[inline(always)]
unsafe fn float_of_code(code: __m512i) -> __m512i {
    // SAFETY: of registers alone, on such a CPU.
    unsafe {
        let x = _mm512_castsi512_ps(_mm512_or_si512(code, _mm512_set1_epi32(0x4B00_0000)));
        _mm512_castps_si512(_mm512_sub_ps(x, _mm512_set1_ps(8_388_736.0)))
    }
}

macro_rules! implement {
    ($type:ty, $features:literal, $run:ident, $narrow:ident, $narrow_pairs:ident, $dot_pairs:ident, $dot_bytes:ident) => {
        impl Simd for $type {
            type V = __m512;
            type I = __m512i;
            const SHAPE: Shape = Shape::Wide;

            #[inline(always)]
            fn splat(self, x: f32) -> Self::V {
                // SAFETY: a value of this type exists only where the CPU has AVX-512; as for all below.
                unsafe { _mm512_set1_ps(x) }
            }
            #[inline(always)]
            fn load(self, from: &[f32; 16]) -> Self::V {
                // SAFETY: as above; 64 bytes are readable.
                unsafe { _mm512_loadu_ps(from.as_ptr()) }
            }
            #[inline(always)]
            fn store(self, x: Self::V, to: &mut [f32; 16]) {
                // SAFETY: as above; 64 bytes are writable.
                unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x) }
            }
            #[inline(always)]
            fn load_bf16(self, from: &[bf16; 16]) -> Self::V {
                // SAFETY: as above; 32 bytes are readable.
                unsafe {
                    let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast()));
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
                }
            }
            #[inline(always)]
            fn store_bf16(self, x: Self::V, to: &mut [bf16; 16]) {
                $narrow(x, to);
            }
            #[inline(always)]
            fn load_f16(self, from: &[f16; 16]) -> Self::V {
                // SAFETY: as above; 32 bytes are readable.
                unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())) }
            }
            #[inline(always)]
            fn store_f16(self, x: Self::V, to: &mut [f16; 16]) {
                // SAFETY: as above; 32 bytes are writable. 0 is rounding to the nearest even.
                unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm512_cvtps_ph::<0>(x)) }
            }
            #[inline(always)]
            fn add(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { _mm512_add_ps(a, b) }
            }
            #[inline(always)]
            fn sub(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { _mm512_sub_ps(a, b) }
            }
            #[inline(always)]
            fn mul(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { _mm512_mul_ps(a, b) }
            }
            #[inline(always)]
            fn div(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { _mm512_div_ps(a, b) }
            }
            /// From an estimate to 2^-14, and a step of Newton's.
            #[inline(always)]
            fn reciprocal(self, x: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe {
                    let r = _mm512_rcp14_ps(x);
                    _mm512_mul_ps(r, _mm512_fnmadd_ps(x, r, _mm512_set1_ps(2.0)))
                }
            }
            #[inline(always)]
            fn max(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { _mm512_max_ps(a, b) }
            }
            #[inline(always)]
            fn min(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { _mm512_min_ps(a, b) }
            }
            #[inline(always)]
            fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { _mm512_fmadd_ps(a, b, c) }
            }
            #[inline(always)]
            fn round(self, x: Self::V) -> Self::V {
                // SAFETY: as above; 0 is to the nearest even, no fraction bits.
                unsafe { _mm512_roundscale_ps::<0>(x) }
            }
            #[inline(always)]
            fn scale2(self, x: Self::V, n: Self::V) -> Self::V {
                // SAFETY: as above.
                unsafe { _mm512_scalef_ps(x, n) }
            }
            #[inline(always)]
            fn sum(self, x: Self::V) -> f32 {
                // SAFETY: as above.
                unsafe { _mm512_reduce_add_ps(x) }
            }
            #[inline(always)]
            fn largest(self, x: Self::V) -> f32 {
                // SAFETY: as above.
                unsafe { _mm512_reduce_max_ps(x) }
            }
            #[inline(always)]
            fn pairs(self, from: &[bf16; 32]) -> (Self::V, Self::V) {
                pairs(from)
            }
            #[inline(always)]
            fn store_pairs(self, even: Self::V, odd: Self::V, to: &mut [bf16; 32]) {
                $narrow_pairs(even, odd, to);
            }
            #[inline(always)]
            fn int_splat(self, x: i32) -> Self::I {
                // SAFETY: as above.
                unsafe { _mm512_set1_epi32(x) }
            }
            #[inline(always)]
            fn int_to_float(self, x: Self::I) -> Self::V {
                // SAFETY: as above.
                unsafe { _mm512_cvtepi32_ps(x) }
            }
            #[inline(always)]
            fn store_i8(self, x: Self::V, to: &mut [i8; 16]) {
                // SAFETY: as above; 16 bytes are writable.
                unsafe {
                    let bytes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x));
                    _mm_storeu_si128(to.as_mut_ptr().cast(), bytes)
                }
            }
            #[inline(always)]
            fn dot_bytes(self, sum: Self::I, bytes: &[u8; 64], x: [i8; 4]) -> Self::I {
                $dot_bytes(sum, bytes, x)
            }
            #[inline(always)]
            fn dot_pairs(self, sum: Self::V, pairs: &[bf16; 32], x: [bf16; 2]) -> Self::V {
                $dot_pairs(sum, pairs, x)
            }
            #[inline(always)]
            fn widen_codes(self, codes: &[u8; 64], to: &mut [[bf16; 32]; 2]) {
                // SAFETY: as above; 64 bytes are readable, and as many writable twice.
                unsafe {
                    let codes = _mm512_loadu_si512(codes.as_ptr().cast());
                    let low = _mm512_set1_epi32(0xFF);
                    let quad = [
                        float_of_code(_mm512_and_si512(codes, low)),
                        float_of_code(_mm512_and_si512(_mm512_srli_epi32::<8>(codes), low)),
                        float_of_code(_mm512_and_si512(_mm512_srli_epi32::<16>(codes), low)),
                        float_of_code(_mm512_srli_epi32::<24>(codes)),
                    ];
                    for (i, to) in to.iter_mut().enumerate() {
                        // The upper halves of the odd ones beside those of the even ones.
                        let even = _mm512_srli_epi32::<16>(quad[2 * i]);
                        let both = _mm512_mask_mov_epi16(even, 0xAAAA_AAAA, quad[2 * i + 1]);
                        _mm512_storeu_si512(to.as_mut_ptr().cast(), both);
                    }
                }
            }
            #[inline(always)]
            fn prefetch(self, from: *const u8, ahead: usize) {
                // SAFETY: a prefetch of any address is only a hint.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(ahead).cast()) }
            }
            #[inline(always)]
            fn prefetch_to_write(self, at: *const u8) {
                // SAFETY: as above; what has AVX-512 has PREFETCHW, which the compiler would need to be told.
                unsafe { asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags)) }
            }
        }

        /// Runs a kernel compiled for these instructions.
        #[target_feature(enable = $features)]
        #[inline]
        pub(super) fn $run<K: super::Kernel>(s: $type, kernel: K) -> K::Output {
            kernel.run(s)
        }
    };
}

implement!(
    Avx512,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c",
    run,
    narrow_plain,
    narrow_pairs_plain,
    dot_pairs_plain,
    dot_bytes_plain
);
implement!(
    Avx512Bf16,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma,f16c",
    run_bf16,
    narrow_native,
    narrow_pairs_native,
    dot_pairs_native,
    dot_bytes_native
);
