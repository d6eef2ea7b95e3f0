//! What follows a product while its sums are at hand: bias, activation, residual sum, rounding to the storage type.

use crate::backend::cpu::rows::activate;
use crate::backend::cpu::simd::{Element, Kernel, LANES, Simd, Tile};
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

/// Finishes a tile's sums: rows `first_row ..` of the tile, columns `first_column ..`, from rows of `stride` sums.
pub(super) struct Finish<'a, 'b, T> {
    pub(super) after: &'a Epilogue<'a, T>,
    pub(super) tile: &'a mut Tile<'b, T>,
    pub(super) first_row: usize,
    pub(super) first_column: usize,
    pub(super) sums: &'a [f32],
    pub(super) stride: usize,
    /// Rows and columns to finish, as far as the tile goes.
    pub(super) shape: (usize, usize),
}

impl<T: Element> Kernel for Finish<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.shape.0.min(self.tile.rows - self.first_row);
        let columns = self.shape.1.min(self.tile.columns - self.first_column);
        let (row, column) = (self.tile.row + self.first_row, self.tile.column + self.first_column);
        for i in 0..rows {
            let sums = self.sums[i * self.stride..].as_chunks().0;
            let to = &mut self.tile.row_mut(self.first_row + i)[self.first_column..][..columns];
            for (j, to) in to.as_chunks_mut().0.iter_mut().enumerate() {
                self.after.finish(s, s.load(&sums[j]), (row + i, column + j * LANES), to);
            }
        }
    }
}

impl<T: Element> Epilogue<'_, T> {
    /// Finishes 16 sums of row `row` from column `column` on.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, sums: S::V, (row, column): (usize, usize), to: &mut [T; LANES]) {
        if column >= self.outputs {
            to.fill(T::from_f32(0.0));
            return;
        }
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
            to[self.outputs - column..].fill(T::from_f32(0.0));
        }
    }
}

/// 16 elements from `at` on.
#[inline(always)]
pub(super) fn vector<T>(from: &[T], at: usize) -> &[T; LANES] {
    from[at..at + LANES].first_chunk().expect("a slice of 16 has 16")
}
