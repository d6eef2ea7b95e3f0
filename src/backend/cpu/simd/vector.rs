//! The vocabulary of vector operations that kernels are written in, once for all instruction sets.
//!
//! A vector has 16 f32 lanes everywhere: one register of AVX-512, two of AVX2, four of NEON. A value of a type that
//! implements [`Simd`] is the proof that the CPU has the instructions: only [`super::dispatch`] makes one.

use half::{bf16, f16};

/// Lanes of a vector.
pub(in crate::backend::cpu) const LANES: usize = 16;

/// Rows and vectors of a product's sums that are held in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend::cpu) enum Shape {
    /// 8 rows of 3 vectors: 32 registers of 16 lanes.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only AVX-512 has such registers"))]
    Wide,
    /// 6 rows of 1 vector: a vector is several registers.
    Narrow,
    /// 2 rows of 1 vector: plain code.
    Plain,
}

/// Operations on 16 f32 lanes.
pub(in crate::backend::cpu) trait Simd: Copy {
    /// 16 f32.
    type V: Copy;
    /// 16 i32.
    type I: Copy;

    /// The block of sums that fits into registers.
    const SHAPE: Shape;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, from: &[f32; 16]) -> Self::V;
    fn store(self, x: Self::V, to: &mut [f32; 16]);
    fn load_bf16(self, from: &[bf16; 16]) -> Self::V;
    /// Rounds to the nearest, ties to even.
    fn store_bf16(self, x: Self::V, to: &mut [bf16; 16]);
    fn load_f16(self, from: &[f16; 16]) -> Self::V;
    /// Rounds to the nearest, ties to even.
    fn store_f16(self, x: Self::V, to: &mut [f16; 16]);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger; `b` where that is not a number.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; `b` where that is not a number.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a b + c`.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// To the nearest integer, ties to even.
    fn round(self, x: Self::V) -> Self::V;
    /// `x 2^n` for integral n from -160 to 127.
    fn scale2(self, x: Self::V, n: Self::V) -> Self::V;
    fn sum(self, x: Self::V) -> f32;
    fn largest(self, x: Self::V) -> f32;
    /// The even and the odd elements.
    fn pairs(self, from: &[bf16; 32]) -> (Self::V, Self::V);
    /// Stores even and odd elements in turn, each rounded to the nearest, ties to even.
    #[inline(always)]
    #[cfg_attr(
        all(not(target_arch = "x86_64"), not(test)),
        expect(dead_code, reason = "only a matrix unit multiplies pairs")
    )]
    fn store_pairs(self, even: Self::V, odd: Self::V, to: &mut [bf16; 32]) {
        let mut halves = [[bf16::ZERO; 16]; 2];
        self.store_bf16(even, &mut halves[0]);
        self.store_bf16(odd, &mut halves[1]);
        for (lane, to) in to.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            *to = [halves[0][lane], halves[1][lane]];
        }
    }
    fn int_splat(self, x: i32) -> Self::I;
    fn int_to_float(self, x: Self::I) -> Self::V;
    /// Stores integral lanes from -128 to 127 as bytes.
    #[inline(always)]
    fn store_i8(self, x: Self::V, to: &mut [i8; 16]) {
        let mut lanes = [0f32; 16];
        self.store(x, &mut lanes);
        *to = lanes.map(|x| x as i8);
    }
    /// Adds to each lane the four products of its unsigned bytes with the signed ones of `x`.
    fn dot_bytes(self, sum: Self::I, bytes: &[u8; 64], x: [i8; 4]) -> Self::I;
    /// Codes of lanes of four bytes, without the 128 that they are offset by, as two vectors of pairs: exact.
    #[inline(always)]
    #[cfg_attr(
        all(not(target_arch = "x86_64"), not(test)),
        expect(dead_code, reason = "only a matrix unit multiplies pairs")
    )]
    fn widen_codes(self, codes: &[u8; 64], to: &mut [[bf16; 32]; 2]) {
        for (lane, codes) in codes.as_chunks::<4>().0.iter().enumerate() {
            for (i, code) in codes.iter().enumerate() {
                to[i / 2][2 * lane + i % 2] = bf16::from_f32(f32::from(*code) - 128.0);
            }
        }
    }
    /// Asks for the cache line `ahead` bytes after `from`; never faults.
    fn prefetch(self, from: *const u8, ahead: usize);
    /// Asks for the cache line of `at` to write to it, which takes it from the core that has it; never faults.
    #[inline(always)]
    fn prefetch_to_write(self, at: *const u8) {
        let _ = at;
    }

    /// Adds to each lane the two products of its pair with those of `x`.
    #[inline(always)]
    fn dot_pairs(self, sum: Self::V, pairs: &[bf16; 32], x: [bf16; 2]) -> Self::V {
        let (even, odd) = self.pairs(pairs);
        let sum = self.fma(even, self.splat(x[0].to_f32()), sum);
        self.fma(odd, self.splat(x[1].to_f32()), sum)
    }

    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }

    /// |x|; not a number where x is none.
    #[inline(always)]
    fn magnitude(self, x: Self::V) -> Self::V {
        self.max(x, self.sub(self.zero(), x))
    }

    /// e^x to about 2 units in the last place; 1.2e-38 below -87.3, as results that are not normal take a hundred times
    /// as long; not a number where x is none.
    ///
    /// x = n ln 2 + r with |r| <= ln 2 / 2 in two parts (Cody and Waite), then a polynomial in r of degree 6.
    #[inline(always)]
    fn exp(self, x: Self::V) -> Self::V {
        let x = self.min(self.splat(88.0), self.max(self.splat(-87.33), x));
        let n = self.round(self.mul(x, self.splat(std::f32::consts::LOG2_E)));
        let r = self.fma(n, self.splat(-0.693_145_75), x);
        let r = self.fma(n, self.splat(-1.428_606_8e-6), r);
        let mut p = self.splat(1.0 / 720.0);
        for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = self.fma(p, r, self.splat(c));
        }
        self.scale2(p, n)
    }

    /// GELU by its tanh approximation: x / (1 + e^(-2u)) with u = sqrt(2 / pi) (x + 0.044715 x^3), as
    /// (1 + tanh u) / 2 = 1 / (1 + e^(-2u)).
    #[inline(always)]
    fn gelu(self, x: Self::V) -> Self::V {
        const C: f32 = 0.797_884_6;
        let u = self.mul(x, self.fma(self.mul(x, x), self.splat(C * 0.044_715), self.splat(C)));
        let e = self.exp(self.mul(u, self.splat(-2.0)));
        self.mul(x, self.reciprocal(self.add(e, self.splat(1.0))))
    }

    /// 1 / x to about 2 units in the last place, for x from 1 to 2^126; beyond, up to 2^127, it may be 0 as well.
    #[inline(always)]
    fn reciprocal(self, x: Self::V) -> Self::V {
        self.div(self.splat(1.0), x)
    }
}

/// What activations, weights and caches are stored as.
pub(in crate::backend::cpu) trait Element: super::Plain + Sync + Send {
    fn widen<S: Simd>(s: S, from: &[Self; 16]) -> S::V;
    fn narrow<S: Simd>(s: S, x: S::V, to: &mut [Self; 16]);
    /// Whether pairs of these are what [`Simd::dot_pairs`] takes.
    const IS_BF16: bool = false;
    /// Of how many bfloat16 it is the sum, for a matrix unit that multiplies these: each has 8 bits of it.
    const PIECES: usize;
    fn to_f32(self) -> f32;
    fn from_f32(x: f32) -> Self;
    fn to_bf16(self) -> bf16 {
        bf16::from_f32(self.to_f32())
    }
}

impl Element for f32 {
    const PIECES: usize = 3;
    #[inline(always)]
    fn widen<S: Simd>(s: S, from: &[Self; 16]) -> S::V {
        s.load(from)
    }
    #[inline(always)]
    fn narrow<S: Simd>(s: S, x: S::V, to: &mut [Self; 16]) {
        s.store(x, to);
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    fn from_f32(x: f32) -> Self {
        x
    }
}

impl Element for bf16 {
    const IS_BF16: bool = true;
    const PIECES: usize = 1;
    #[inline(always)]
    fn widen<S: Simd>(s: S, from: &[Self; 16]) -> S::V {
        s.load_bf16(from)
    }
    #[inline(always)]
    fn narrow<S: Simd>(s: S, x: S::V, to: &mut [Self; 16]) {
        s.store_bf16(x, to);
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    fn from_f32(x: f32) -> Self {
        Self::from_f32(x)
    }
    #[inline(always)]
    fn to_bf16(self) -> bf16 {
        self
    }
}

impl Element for f16 {
    const PIECES: usize = 2;
    #[inline(always)]
    fn widen<S: Simd>(s: S, from: &[Self; 16]) -> S::V {
        s.load_f16(from)
    }
    #[inline(always)]
    fn narrow<S: Simd>(s: S, x: S::V, to: &mut [Self; 16]) {
        s.store_f16(x, to);
    }
    fn to_f32(self) -> f32 {
        Self::to_f32(self)
    }
    fn from_f32(x: f32) -> Self {
        Self::from_f32(x)
    }
}
