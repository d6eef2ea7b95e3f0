//! Many rows of bfloat16 on a matrix unit: 32 x 32 sums in tiles over the whole depth.

use super::{Engine, Epilogue, Operand};
use crate::backend::cpu::simd::{Element, Grid, Kernel, LANES, MatrixUnit, Simd, Tile, amx, cast, dispatch};
use crate::backend::cpu::weights::Panels;
use half::bf16;

/// Rows of a task: as many as share the panels in an L2 cache.
pub(super) const ROWS: usize = 256;
/// Columns of a task.
pub(super) const COLUMNS: usize = 64;
/// Rows and columns of sums held in tiles.
const SIDE: usize = 2 * amx::SIDE;

pub(super) fn run<T: Element>(
    engine: &mut Engine<'_>,
    panels: &Panels,
    x: &Operand,
    after: &Epilogue<'_, T>,
    grid: Grid,
    to: &mut [T],
) {
    let (Operand::Bf16(x), Some(unit)) = (x, MatrixUnit::detect()) else {
        unreachable!("chosen only for bfloat16 where there is a matrix unit")
    };
    let (isa, x, stride) = (engine.isa, x.data::<bf16>(), x.stride);
    engine.pool.tiles(to, grid, |tile| dispatch(isa, Task { unit, panels, x, stride, after, tile }));
}

struct Task<'a, 'b, T> {
    unit: MatrixUnit,
    panels: &'a Panels,
    x: &'a [bf16],
    stride: usize,
    after: &'a Epilogue<'a, T>,
    tile: Tile<'b, T>,
}

impl<T: Element> Kernel for Task<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let tiles = self.unit.tiles();
        let mut sums = [[0f32; SIDE]; SIDE];
        for column in (0..self.tile.columns).step_by(SIDE) {
            for row in (0..self.tile.rows).step_by(SIDE) {
                self.product(&tiles, row, column, &mut sums);
                self.finish(s, row, column, &sums);
            }
        }
    }
}

impl<T: Element> Task<'_, '_, T> {
    /// The sums of 32 rows and columns; those beyond the matrix are of what stands there in memory, and not kept.
    #[inline(always)]
    fn product(&self, tiles: &amx::Tiles, row: usize, column: usize, sums: &mut [[f32; SIDE]; SIDE]) {
        let depth = self.panels.kind.padded_inputs(self.panels.inputs).min(self.stride) / amx::DEPTH;
        let rows = |from: usize| amx::Rows { data: &self.x[from * self.stride..], stride: self.stride };
        let last = self.panels.count() - 1;
        let panel = |i: usize| amx::Columns {
            data: cast::<u8, bf16>(self.panels.panel(((self.tile.column + column) / LANES + i).min(last))),
            stride: 2 * LANES,
        };
        let first = self.tile.row + row;
        let second = if row + amx::SIDE < self.tile.rows { first + amx::SIDE } else { first };
        let mut to = amx::Sums { data: sums.as_flattened_mut(), stride: SIDE };
        tiles.product_2x2([rows(first), rows(second)], [panel(0), panel(1)], depth, &mut to);
    }

    #[inline(always)]
    fn finish<S: Simd>(&mut self, s: S, row: usize, column: usize, sums: &[[f32; SIDE]; SIDE]) {
        let rows = (self.tile.rows - row).min(SIDE);
        let count = self.panels.count();
        for (i, sums) in sums.iter().enumerate().take(rows) {
            let at = (self.tile.row + row + i, self.tile.column + column);
            let to = &mut self.tile.row_mut(row + i)[column..];
            for (j, to) in to.as_chunks_mut::<LANES>().0.iter_mut().take(SIDE / LANES).enumerate() {
                let at = (at.0, at.1 + j * LANES);
                let y = if at.1 / LANES < count { s.load(&sums.as_chunks().0[j]) } else { s.zero() };
                self.after.finish(s, y, at, to);
            }
        }
    }
}
