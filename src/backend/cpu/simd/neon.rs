//! AArch64: a vector is four registers. Every AArch64 CPU has these instructions.

#![allow(unsafe_code)]

use super::portable::dot_bytes;
use super::vector::{Shape, Simd};
use half::{bf16, f16};
use std::arch::aarch64::*;
use std::arch::asm;

/// NEON is part of AArch64, so this needs no proof.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neon;

/// Applies an intrinsic of registers to all four.
macro_rules! all {
    ($intrinsic:ident, $($x:expr),+) => {{
        // SAFETY: every AArch64 CPU has NEON; the intrinsic works on registers alone.
        unsafe { std::array::from_fn(|i| $intrinsic($($x[i]),+)) }
    }};
}

impl Simd for Neon {
    type V = [float32x4_t; 4];
    type I = [i32; 16];
    const SHAPE: Shape = Shape::Narrow;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: see `all`.
        unsafe { [vdupq_n_f32(x); 4] }
    }
    #[inline(always)]
    fn load(self, from: &[f32; 16]) -> Self::V {
        // SAFETY: see `all`; 16 floats are readable.
        unsafe { std::array::from_fn(|i| vld1q_f32(from.as_ptr().add(4 * i))) }
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
            std::array::from_fn(|i| {
                let bits = vld1_u16(from.as_ptr().add(4 * i).cast());
                vreinterpretq_f32_u32(vshll_n_u16::<16>(bits))
            })
        }
    }
    #[inline(always)]
    fn store_bf16(self, x: Self::V, to: &mut [bf16; 16]) {
        let mut wide = [0f32; 16];
        self.store(x, &mut wide);
        *to = wide.map(bf16::from_f32);
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16; 16]) -> Self::V {
        // SAFETY: see `all`; FCVTL is part of NEON, and works on registers.
        unsafe {
            std::array::from_fn(|i| {
                let bits = vld1_u16(from.as_ptr().add(4 * i).cast());
                let wide: float32x4_t;
                asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) wide, in(vreg) bits, options(pure, nomem, nostack));
                wide
            })
        }
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
        // SAFETY: see `all`. Two steps keep each factor's exponent a normal number's.
        unsafe {
            std::array::from_fn(|i| {
                let n = vcvtq_s32_f32(n[i]);
                let first = vshrq_n_s32::<1>(n);
                let power = |n| vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(n, vdupq_n_s32(127))));
                vmulq_f32(vmulq_f32(x[i], power(first)), power(vsubq_s32(n, first)))
            })
        }
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
        let bits = |i: usize| -> uint32x4_t {
            // SAFETY: see `all`; 32 elements are readable, and i is below 4.
            unsafe { vld1q_u32(from.as_ptr().add(8 * i).cast()) }
        };
        // SAFETY: see `all`.
        unsafe {
            (
                std::array::from_fn(|i| vreinterpretq_f32_u32(vshlq_n_u32::<16>(bits(i)))),
                std::array::from_fn(|i| vreinterpretq_f32_u32(vandq_u32(bits(i), vdupq_n_u32(0xFFFF_0000)))),
            )
        }
    }
    #[inline(always)]
    fn int_splat(self, x: i32) -> Self::I {
        [x; 16]
    }
    #[inline(always)]
    fn int_to_float(self, x: Self::I) -> Self::V {
        // SAFETY: see `all`; 16 integers are readable.
        unsafe { std::array::from_fn(|i| vcvtq_f32_s32(vld1q_s32(x.as_ptr().add(4 * i)))) }
    }
    #[inline(always)]
    fn dot_bytes(self, sum: Self::I, bytes: &[u8; 64], x: [i8; 4]) -> Self::I {
        dot_bytes(sum, bytes, x)
    }
    #[inline(always)]
    fn prefetch(self, _from: *const u8, _ahead: usize) {}
}
