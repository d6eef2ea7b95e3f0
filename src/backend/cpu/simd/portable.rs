//! Vectors as plain arrays: what runs where no instruction set is known, and what the others fall back to.

use super::vector::{Shape, Simd};
use half::{bf16, f16};

/// Plain arrays; needs nothing of the CPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

#[inline(always)]
fn map2(a: [f32; 16], b: [f32; 16], f: impl Fn(f32, f32) -> f32) -> [f32; 16] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// 2^n for n from -126 to 127.
#[inline(always)]
pub(super) fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

impl Simd for Portable {
    type V = [f32; 16];
    type I = [i32; 16];
    const SHAPE: Shape = Shape::Plain;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; 16]
    }
    #[inline(always)]
    fn load(self, from: &[f32; 16]) -> Self::V {
        *from
    }
    #[inline(always)]
    fn store(self, x: Self::V, to: &mut [f32; 16]) {
        *to = x;
    }
    #[inline(always)]
    fn load_bf16(self, from: &[bf16; 16]) -> Self::V {
        std::array::from_fn(|i| f32::from_bits(u32::from(from[i].to_bits()) << 16))
    }
    #[inline(always)]
    fn store_bf16(self, x: Self::V, to: &mut [bf16; 16]) {
        *to = x.map(bf16::from_f32);
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16; 16]) -> Self::V {
        from.map(f16::to_f32)
    }
    #[inline(always)]
    fn store_f16(self, x: Self::V, to: &mut [f16; 16]) {
        *to = x.map(f16::from_f32);
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Not mul_add: without the instruction that is a call per lane.
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn round(self, x: Self::V) -> Self::V {
        x.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn scale2(self, x: Self::V, n: Self::V) -> Self::V {
        // In two steps, so that the exponent of each stays a normal number's.
        std::array::from_fn(|i| {
            let (n, half) = (n[i] as i32, n[i] as i32 / 2);
            x[i] * power_of_two(half) * power_of_two(n - half)
        })
    }
    #[inline(always)]
    fn sum(self, x: Self::V) -> f32 {
        x.iter().sum()
    }
    #[inline(always)]
    fn largest(self, x: Self::V) -> f32 {
        x.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    fn pairs(self, from: &[bf16; 32]) -> (Self::V, Self::V) {
        let bits = |i: usize| f32::from_bits(u32::from(from[i].to_bits()) << 16);
        (std::array::from_fn(|i| bits(2 * i)), std::array::from_fn(|i| bits(2 * i + 1)))
    }
    #[inline(always)]
    fn int_splat(self, x: i32) -> Self::I {
        [x; 16]
    }
    #[inline(always)]
    fn int_to_float(self, x: Self::I) -> Self::V {
        x.map(|x| x as f32)
    }
    #[inline(always)]
    fn dot_bytes(self, sum: Self::I, bytes: &[u8; 64], x: [i8; 4]) -> Self::I {
        dot_bytes(sum, bytes, x)
    }
    #[inline(always)]
    fn prefetch(self, _from: *const u8, _ahead: usize) {}
}

/// The products of four unsigned and four signed bytes, added to each of 16 lanes.
#[inline(always)]
pub(super) fn dot_bytes(sum: [i32; 16], bytes: &[u8; 64], x: [i8; 4]) -> [i32; 16] {
    std::array::from_fn(|i| {
        let product = |j: usize| i32::from(bytes[4 * i + j]) * i32::from(x[j]);
        sum[i] + product(0) + product(1) + product(2) + product(3)
    })
}
