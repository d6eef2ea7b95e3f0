//! What follows a product while its sums are at hand: bias, activation, residual sum, rounding to the storage type.

use crate::backend::cpu::rows::activate;
use crate::backend::cpu::simd::{Element, LANES, Simd};
use crate::llm::Activation;

/// The work on a linear's sums.
#[derive(Clone, Copy)]
pub(in crate::backend::cpu) struct Epilogue<'a, T> {
    /// One f32 per output, padded to whole panels.
    pub(in crate::backend::cpu) bias: Option<&'a [f32]>,
    pub(in crate::backend::cpu) activation: Option<Activation>,
    /// Rows to add, as `(elements, stride)`.
    pub(in crate::backend::cpu) residual: Option<(&'a [T], usize)>,
    /// Outputs: columns from here on become zero.
    pub(in crate::backend::cpu) outputs: usize,
}

impl<T: Element> Epilogue<'_, T> {
    /// Finishes 16 sums of row `row` from column `column` on.
    #[inline(always)]
    pub(super) fn finish<S: Simd>(
        &self,
        s: S,
        sums: S::V,
        (row, column): (usize, usize),
        to: &mut [T; LANES],
    ) {
        let mut y = sums;
        if let Some(bias) = self.bias {
            y = s.add(y, s.load(vector(bias, column)));
        }
        if let Some(activation) = self.activation {
            y = activate(s, y, activation);
        }
        if let Some((x, stride)) = self.residual {
            y = s.add(y, T::widen(s, vector(x, row * stride + column)));
        }
        T::narrow(s, y, to);
        if column + LANES > self.outputs {
            let first = self.outputs.saturating_sub(column);
            to[first..].fill(T::from_f32(0.0));
        }
    }
}

/// 16 elements from `at` on.
#[inline(always)]
pub(super) fn vector<T>(from: &[T], at: usize) -> &[T; LANES] {
    from[at..at + LANES].first_chunk().expect("a slice of 16 has 16")
}
