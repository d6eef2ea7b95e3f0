//! What follows a product while its sums are at hand: bias, activation, residual sum, rounding to the storage type.

use crate::backend::cpu::rows::activate;
use crate::backend::cpu::simd::{Element, Kernel, LANES, Simd, Tile};
use crate::llm::Activation;
use std::ops::Range;

/// Rows that are finished at a time.
const ROWS: usize = 4;

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
    /// Asks for the memory that finishing rows `rows` of `tile` will write, and for what it adds there: other cores had it
    /// last, and fetching it from them takes longer than finishing. To be said well before, while sums are computed.
    #[inline(always)]
    pub(super) fn prefetch<S: Simd>(
        &self,
        s: S,
        tile: &mut Tile<'_, T>,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        let columns = columns.start..columns.end.min(tile.columns);
        for row in rows.start..rows.end.min(tile.rows) {
            let (first, at) = (tile.row + row, tile.column);
            let to = tile.row_mut(row);
            for column in columns.clone().step_by(64 / size_of::<T>()) {
                s.prefetch_to_write(to[column..].as_ptr().cast());
                if let Some((x, stride)) = self.residual {
                    s.prefetch(x.as_ptr().wrapping_add(first * stride + at + column).cast(), 0);
                }
            }
        }
    }
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

    /// Some rows at a time, so that neighbouring lines are written one after the other, and of these column by column of
    /// 16, so that what does not depend on the row is outside the loop over rows.
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let rows = self.shape.0.min(self.tile.rows - self.first_row);
        let columns = self.shape.1.min(self.tile.columns - self.first_column);
        for first in (0..rows).step_by(ROWS) {
            let rows = first..(first + ROWS).min(rows);
            for at in (0..columns).step_by(LANES) {
                match self.after.activation {
                    None => self.column(s, rows.clone(), at, Linear),
                    Some(Activation::GeluTanh) => self.column(s, rows.clone(), at, Gelu),
                    Some(other) => self.column(s, rows.clone(), at, Other(other)),
                }
            }
        }
    }
}

impl<T: Element> Finish<'_, '_, T> {
    /// Finishes 16 columns from `at` on of rows `rows`.
    #[inline(always)]
    fn column<S: Simd>(&mut self, s: S, rows: Range<usize>, at: usize, activation: impl Apply) {
        let (row, column) = (self.tile.row + self.first_row, self.tile.column + self.first_column + at);
        let Epilogue { bias, residual, outputs, .. } = *self.after;
        let kept = outputs.saturating_sub(column).min(LANES);
        let bias = match bias {
            Some(bias) if kept > 0 => s.load(vector(bias, column)),
            _ => s.zero(),
        };
        for i in rows {
            let mut y = activation.apply(s, s.add(s.load(vector(self.sums, i * self.stride + at)), bias));
            if let Some((x, stride)) = residual {
                y = s.add(y, T::widen(s, vector(x, (row + i) * stride + column)));
            }
            let to = &mut self.tile.row_mut(self.first_row + i)[self.first_column + at..];
            let to = to.first_chunk_mut().expect("a tile's columns are whole vectors");
            T::narrow(s, y, to);
            if kept < LANES {
                to[kept..].fill(T::from_f32(0.0));
            }
        }
    }
}

/// An activation that the loop over rows is compiled for; a closure would be compiled without the instructions of `S`.
trait Apply: Copy {
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V;
}

#[derive(Clone, Copy)]
struct Linear;

impl Apply for Linear {
    #[inline(always)]
    fn apply<S: Simd>(self, _: S, x: S::V) -> S::V {
        x
    }
}

#[derive(Clone, Copy)]
struct Gelu;

impl Apply for Gelu {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        s.gelu(x)
    }
}

#[derive(Clone, Copy)]
struct Other(Activation);

impl Apply for Other {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        activate(s, x, self.0)
    }
}

/// 16 elements from `at` on.
#[inline(always)]
pub(super) fn vector<T>(from: &[T], at: usize) -> &[T; LANES] {
    from[at..at + LANES].first_chunk().expect("a slice of 16 has 16")
}
