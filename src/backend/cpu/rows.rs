//! Kernels on rows: norms, sums, gates, rotary positions, conversions, quantisation.

use super::simd::{Element, Kernel, LANES, Simd};
use super::weights::{CpuNorm, GROUP};
use crate::llm::{Activation, NormKind};

/// Puts `x` into `to` as another type; both are whole vectors.
pub(super) struct Convert<'a, T, U> {
    pub(super) x: &'a [T],
    pub(super) to: &'a mut [U],
}

impl<T: Element, U: Element> Kernel for Convert<'_, T, U> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, to) in self.x.as_chunks().0.iter().zip(self.to.as_chunks_mut().0) {
            U::narrow(s, T::widen(s, x), to);
        }
    }
}

/// `a + b`.
pub(super) struct Add<'a, T> {
    pub(super) a: &'a [T],
    pub(super) b: &'a [T],
    pub(super) to: &'a mut [T],
}

impl<T: Element> Kernel for Add<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let inputs = self.a.as_chunks().0.iter().zip(self.b.as_chunks().0);
        for ((a, b), to) in inputs.zip(self.to.as_chunks_mut().0) {
            T::narrow(s, s.add(T::widen(s, a), T::widen(s, b)), to);
        }
    }
}

/// The tanh approximation of GELU of each element.
pub(super) struct Gelu<'a, T> {
    pub(super) x: &'a [T],
    pub(super) to: &'a mut [T],
}

impl<T: Element> Kernel for Gelu<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, to) in self.x.as_chunks().0.iter().zip(self.to.as_chunks_mut().0) {
            T::narrow(s, s.gelu(T::widen(s, x)), to);
        }
    }
}

/// An activation of a vector.
#[inline(always)]
pub(super) fn activate<S: Simd>(s: S, x: S::V, activation: Activation) -> S::V {
    match activation {
        Activation::GeluTanh => s.gelu(x),
        Activation::Silu => {
            let e = s.exp(s.sub(s.zero(), x));
            s.mul(x, s.reciprocal(s.add(e, s.splat(1.0))))
        }
        Activation::Relu => s.max(x, s.zero()),
        Activation::Gelu => {
            let mut lanes = [0f32; LANES];
            s.store(x, &mut lanes);
            s.load(&lanes.map(|x| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))))
        }
    }
}

/// The error function to 1.2e-7 (Numerical Recipes, 2nd edition, section 6.2, `erfcc`).
fn erf(x: f32) -> f32 {
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let z = f64::from(x.abs());
    let t = 1.0 / (1.0 + 0.5 * z);
    let polynomial = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let complement = t * (polynomial - z * z).exp();
    (1.0 - complement).copysign(f64::from(x)) as f32
}

/// `activation(a) x b` of the first and the second half of a row; scalar loads where a half is no whole vector.
pub(super) struct Gate<'a, T> {
    /// Both halves, `width` each.
    pub(super) x: &'a [T],
    pub(super) width: usize,
    pub(super) activation: Activation,
    /// `width` elements and their padding.
    pub(super) to: &'a mut [T],
}

impl<T: Element> Kernel for Gate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (a, b) = self.x[..2 * self.width].split_at(self.width);
        for (i, to) in self.to.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let a = activate(s, widen_from(s, a, i * LANES), self.activation);
            T::narrow(s, s.mul(a, widen_from(s, b, i * LANES)), to);
        }
    }
}

/// 16 elements from `at` on; those beyond the last are zero.
#[inline(always)]
fn widen_from<S: Simd, T: Element>(s: S, from: &[T], at: usize) -> S::V {
    let from = from.get(at..).unwrap_or_default();
    if let Some(whole) = from.first_chunk() {
        return T::widen(s, whole);
    }
    let mut lanes = [T::from_f32(0.0); LANES];
    lanes[..from.len()].copy_from_slice(from);
    T::widen(s, &lanes)
}

/// The norm of one row.
pub(super) struct Norm<'a, T, U> {
    pub(super) x: &'a [T],
    pub(super) norm: &'a CpuNorm,
    /// The width and its padding, which becomes zero.
    pub(super) to: &'a mut [U],
}

impl<T: Element, U: Element> Kernel for Norm<'_, T, U> {
    type Output = ();

    /// (x - mean) / sqrt(mean((x - mean)^2) + eps) x gain + bias, without the mean for an RMS norm; sums of f32.
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let norm = self.norm;
        let (whole, rest) = self.x[..norm.width].as_chunks::<LANES>();
        let per = 1.0 / norm.width as f32;
        let mean = match norm.kind {
            NormKind::Layer => {
                let mut sum = s.zero();
                for x in whole {
                    sum = s.add(sum, T::widen(s, x));
                }
                (s.sum(sum) + rest.iter().map(|x| x.to_f32()).sum::<f32>()) * per
            }
            NormKind::Rms => 0.0,
        };
        let centre = s.splat(mean);
        let mut squares = s.zero();
        for x in whole {
            let x = s.sub(T::widen(s, x), centre);
            squares = s.fma(x, x, squares);
        }
        let squares = s.sum(squares) + rest.iter().map(|x| (x.to_f32() - mean).powi(2)).sum::<f32>();
        let scale = s.splat(1.0 / (squares * per + norm.eps).sqrt());
        let weights = norm.gain.as_chunks().0.iter().zip(norm.bias.as_chunks().0);
        let vectors = self.x.as_chunks().0.iter().zip(self.to.as_chunks_mut().0);
        for ((x, to), (gain, bias)) in vectors.zip(weights) {
            let x = s.mul(s.sub(T::widen(s, x), centre), scale);
            U::narrow(s, s.fma(x, s.load(gain), s.load(bias)), to);
        }
    }
}

/// Codes, scales and sums of codes of blocks of 32 elements, for products with INT8 weights.
pub(super) struct Quantise<'a> {
    /// Elements and their padding.
    pub(super) x: &'a [f32],
    /// As many codes; padding beyond `x` becomes zero.
    pub(super) codes: &'a mut [i8],
    /// A scale per block.
    pub(super) scales: &'a mut [f32],
    /// The sum of a block's codes, for weights that are offset.
    pub(super) sums: &'a mut [f32],
}

impl Kernel for Quantise<'_> {
    type Output = ();

    /// scale = max |x| / 127, code = round(x / scale): as GGML quantises activations to Q8_0.
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        const BLOCK: usize = GROUP;
        let blocks = self.codes.as_chunks_mut::<BLOCK>().0.iter_mut();
        let outputs = blocks.zip(self.scales).zip(self.sums);
        for (i, ((codes, scale), sum)) in outputs.enumerate() {
            let Some(x) = self.x.get(i * BLOCK..(i + 1) * BLOCK) else {
                (*codes, *scale, *sum) = ([0; BLOCK], 0.0, 0.0);
                continue;
            };
            let vectors = x.as_chunks::<LANES>().0;
            let (a, b) = (s.load(&vectors[0]), s.load(&vectors[1]));
            let largest = s.largest(s.max(s.magnitude(a), s.magnitude(b)));
            *scale = largest / 127.0;
            let inverse = s.splat(if largest > 0.0 { 127.0 / largest } else { 0.0 });
            let mut lanes = [[0f32; LANES]; 2];
            s.store(s.round(s.mul(a, inverse)), &mut lanes[0]);
            s.store(s.round(s.mul(b, inverse)), &mut lanes[1]);
            *sum = s.sum(s.add(s.load(&lanes[0]), s.load(&lanes[1])));
            for (codes, x) in codes.as_chunks_mut::<LANES>().0.iter_mut().zip(&lanes) {
                s.store_i8(s.load(x), codes);
            }
        }
    }
}
