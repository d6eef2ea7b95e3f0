//! AArch64: a vector is four registers. Every AArch64 CPU has these instructions, but for the products of bytes of ARMv8.2
//! (FEAT_DotProd), which are a type of their own.

#![allow(unsafe_code)]

use super::vector::{Shape, Simd};
use half::{bf16, f16};
use std::arch::aarch64::*;
use std::arch::asm;

/// NEON is part of AArch64, so this needs no proof.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neon;

/// The proof of FEAT_DotProd.
#[derive(Clone, Copy, Debug)]
pub(super) struct NeonDot(());

impl NeonDot {
    /// Whether the CPU has what this uses.
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("dotprod").then_some(Self(()))
    }
}

/// An expression for each of the four registers, written out: no closure, see [`super::Kernel`].
macro_rules! quad {
    ($i:ident => $x:expr) => {
        [
            {
                let $i = 0;
                $x
            },
            {
                let $i = 1;
                $x
            },
            {
                let $i = 2;
                $x
            },
            {
                let $i = 3;
                $x
            },
        ]
    };
}

/// Applies an intrinsic of registers to all four.
macro_rules! all {
    ($intrinsic:ident, $($x:expr),+) => {{
        // SAFETY: every AArch64 CPU has NEON; the intrinsic works on registers alone.
        unsafe { quad!(i => $intrinsic($($x[i]),+)) }
    }};
}

/// The two differ in the products of bytes.
macro_rules! implement {
    ($type:ty, $dot_bytes:ident) => {
        impl Simd for $type {
            type V = [float32x4_t; 4];
            type I = [int32x4_t; 4];
            const SHAPE: Shape = Shape::Narrow;

            #[inline(always)]
            fn splat(self, x: f32) -> Self::V {
                // SAFETY: see `all`.
                unsafe { [vdupq_n_f32(x); 4] }
            }
            #[inline(always)]
            fn load(self, from: &[f32; 16]) -> Self::V {
                // SAFETY: see `all`; 16 floats are readable.
                unsafe { quad!(i => vld1q_f32(from.as_ptr().add(4 * i))) }
            }
            #[inline(always)]
            fn store(self, x: Self::V, to: &mut [f32; 16]) {
                for (x, to) in x.into_iter().zip(to.as_chunks_mut::<4>().0) {
                    // SAFETY: see `all`; 4 floats are writable.
                    unsafe { vst1q_f32(to.as_mut_ptr(), x) }
                }
            }
            #[inline(always)]
            fn load_bf16(self, from: &[bf16; 16]) -> Self::V {
                // SAFETY: see `all`; 16 elements are readable.
                unsafe {
                    quad!(i => vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.as_ptr().add(4 * i).cast()))))
                }
            }
            #[inline(always)]
            fn store_bf16(self, x: Self::V, to: &mut [bf16; 16]) {
                for (x, to) in x.into_iter().zip(to.as_chunks_mut::<4>().0) {
                    // SAFETY: see `all`; 8 bytes are writable.
                    unsafe { vst1_u16(to.as_mut_ptr().cast(), rounded_to_bf16(x)) }
                }
            }
            #[inline(always)]
            fn load_f16(self, from: &[f16; 16]) -> Self::V {
                // SAFETY: see `all`; 16 elements are readable.
                unsafe { quad!(i => widened_f16(vld1_u16(from.as_ptr().add(4 * i).cast()))) }
            }
            #[inline(always)]
            fn store_f16(self, x: Self::V, to: &mut [f16; 16]) {
                for (x, to) in x.into_iter().zip(to.as_chunks_mut::<4>().0) {
                    // SAFETY: see `all`; FCVTN is part of NEON, and 8 bytes are writable.
                    unsafe {
                        let bits: uint16x4_t;
                        asm!("fcvtn {0:v}.4h, {1:v}.4s", out(vreg) bits, in(vreg) x, options(pure, nomem, nostack));
                        vst1_u16(to.as_mut_ptr().cast(), bits);
                    }
                }
            }
            #[inline(always)]
            fn add(self, a: Self::V, b: Self::V) -> Self::V {
                all!(vaddq_f32, a, b)
            }
            #[inline(always)]
            fn sub(self, a: Self::V, b: Self::V) -> Self::V {
                all!(vsubq_f32, a, b)
            }
            #[inline(always)]
            fn mul(self, a: Self::V, b: Self::V) -> Self::V {
                all!(vmulq_f32, a, b)
            }
            #[inline(always)]
            fn div(self, a: Self::V, b: Self::V) -> Self::V {
                all!(vdivq_f32, a, b)
            }
            #[inline(always)]
            fn max(self, a: Self::V, b: Self::V) -> Self::V {
                all!(vmaxq_f32, a, b)
            }
            #[inline(always)]
            fn min(self, a: Self::V, b: Self::V) -> Self::V {
                all!(vminq_f32, a, b)
            }
            #[inline(always)]
            fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                all!(vfmaq_f32, c, a, b)
            }
            #[inline(always)]
            fn round(self, x: Self::V) -> Self::V {
                all!(vrndnq_f32, x)
            }
            #[inline(always)]
            fn scale2(self, x: Self::V, n: Self::V) -> Self::V {
                quad!(i => scaled(x[i], n[i]))
            }
            #[inline(always)]
            fn sum(self, x: Self::V) -> f32 {
                // SAFETY: see `all`.
                unsafe { vaddvq_f32(vaddq_f32(vaddq_f32(x[0], x[1]), vaddq_f32(x[2], x[3]))) }
            }
            #[inline(always)]
            fn largest(self, x: Self::V) -> f32 {
                // SAFETY: see `all`.
                unsafe { vmaxvq_f32(vmaxq_f32(vmaxq_f32(x[0], x[1]), vmaxq_f32(x[2], x[3]))) }
            }
            #[inline(always)]
            fn pairs(self, from: &[bf16; 32]) -> (Self::V, Self::V) {
                // SAFETY: see `all`; 32 elements are readable.
                unsafe {
                    let bits = quad!(i => vld1q_u32(from.as_ptr().add(8 * i).cast()));
                    let odd = vdupq_n_u32(0xFFFF_0000);
                    (
                        quad!(i => vreinterpretq_f32_u32(vshlq_n_u32::<16>(bits[i]))),
                        quad!(i => vreinterpretq_f32_u32(vandq_u32(bits[i], odd))),
                    )
                }
            }
            #[inline(always)]
            fn int_splat(self, x: i32) -> Self::I {
                // SAFETY: see `all`.
                unsafe { [vdupq_n_s32(x); 4] }
            }
            #[inline(always)]
            fn int_to_float(self, x: Self::I) -> Self::V {
                all!(vcvtq_f32_s32, x)
            }
            #[inline(always)]
            fn store_i8(self, x: Self::V, to: &mut [i8; 16]) {
                // SAFETY: see `all`; 16 bytes are writable.
                unsafe {
                    let words = quad!(i => vmovn_s32(vcvtq_s32_f32(x[i])));
                    let low = vmovn_s16(vcombine_s16(words[0], words[1]));
                    let high = vmovn_s16(vcombine_s16(words[2], words[3]));
                    vst1q_s8(to.as_mut_ptr(), vcombine_s8(low, high));
                }
            }
            #[inline(always)]
            fn dot_bytes(self, sum: Self::I, bytes: &[u8; 64], x: [i8; 4]) -> Self::I {
                $dot_bytes(sum, bytes, x)
            }
            #[inline(always)]
            fn prefetch(self, _from: *const u8, _ahead: usize) {}
        }
    };
}

implement!(Neon, dot_bytes_widened);
implement!(NeonDot, dot_bytes_native);

/// The upper halves of lanes rounded to the nearest bfloat16, ties to even; what is not a number stays none.
#[inline(always)]
fn rounded_to_bf16(x: float32x4_t) -> uint16x4_t {
    // SAFETY: see `all`.
    unsafe {
        let bits = vreinterpretq_u32_f32(x);
        let even = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
        let rounded = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7FFF)), even);
        let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
        vshrn_n_u32::<16>(vbslq_u32(vceqq_f32(x, x), rounded, quiet))
    }
}

#[inline(always)]
fn widened_f16(bits: uint16x4_t) -> float32x4_t {
    let wide: float32x4_t;
    // SAFETY: see `all`; FCVTL is part of NEON.
    unsafe {
        asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) wide, in(vreg) bits, options(pure, nomem, nostack));
    }
    wide
}

/// `x 2^n`: two steps keep each factor's exponent a normal number's.
#[inline(always)]
fn scaled(x: float32x4_t, n: float32x4_t) -> float32x4_t {
    // SAFETY: see `all`.
    unsafe {
        let n = vcvtq_s32_f32(n);
        let first = vshrq_n_s32::<1>(n);
        vmulq_f32(vmulq_f32(x, power(first)), power(vsubq_s32(n, first)))
    }
}

/// 2^n.
#[inline(always)]
fn power(n: int32x4_t) -> float32x4_t {
    // SAFETY: see `all`.
    unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(n, vdupq_n_s32(127)))) }
}

/// Four products to a lane, of numbers of 16 bits.
#[inline(always)]
fn dot_bytes_widened(sum: [int32x4_t; 4], bytes: &[u8; 64], x: [i8; 4]) -> [int32x4_t; 4] {
    // SAFETY: see `all`; 64 bytes are readable.
    unsafe {
        let x = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(u32::from_le_bytes(x.map(|x| x as u8)))));
        let x = vget_low_s16(x);
        quad!(i => vaddq_s32(sum[i], products(vld1q_u8(bytes.as_ptr().add(16 * i)), x)))
    }
}

/// The sums of four products of unsigned bytes with the same four numbers.
#[inline(always)]
fn products(bytes: uint8x16_t, x: int16x4_t) -> int32x4_t {
    // SAFETY: see `all`.
    unsafe {
        let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
        let high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(bytes)));
        let low = vpaddq_s32(vmull_s16(vget_low_s16(low), x), vmull_s16(vget_high_s16(low), x));
        let high = vpaddq_s32(vmull_s16(vget_low_s16(high), x), vmull_s16(vget_high_s16(high), x));
        vpaddq_s32(low, high)
    }
}

/// Four products to a lane by an instruction of signed bytes: with 128 taken off the others, and 128 times the sum of `x` added.
#[inline(always)]
fn dot_bytes_native(sum: [int32x4_t; 4], bytes: &[u8; 64], x: [i8; 4]) -> [int32x4_t; 4] {
    let offset = 128 * (i32::from(x[0]) + i32::from(x[1]) + i32::from(x[2]) + i32::from(x[3]));
    // SAFETY: called only where the CPU has FEAT_DotProd; 64 bytes are readable.
    unsafe {
        let x = vdupq_n_u32(u32::from_le_bytes(x.map(|x| x as u8)));
        let sum = quad!(i => vaddq_s32(sum[i], vdupq_n_s32(offset)));
        quad!(i => {
            let bytes = veorq_u8(vld1q_u8(bytes.as_ptr().add(16 * i)), vdupq_n_u8(128));
            dot_signed(sum[i], bytes, x)
        })
    }
}

/// SDOT.
///
/// # Safety
///
/// The CPU has FEAT_DotProd.
#[inline(always)]
unsafe fn dot_signed(mut sum: int32x4_t, bytes: uint8x16_t, x: uint32x4_t) -> int32x4_t {
    // SAFETY: of registers alone, on such a CPU.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sum, in(vreg) bytes, in(vreg) x,
            options(pure, nomem, nostack)
        );
    }
    sum
}
