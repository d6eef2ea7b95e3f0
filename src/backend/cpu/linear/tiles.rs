//! Many rows of bfloat16 on a matrix unit: 32 x 32 sums in tiles over the whole depth.

use super::epilogue::Finish;
use super::{Engine, Epilogue, Operand};
use crate::backend::cpu::simd::{Element, Grid, Kernel, LANES, MatrixUnit, Simd, Tile, amx, cast, dispatch};
use crate::backend::cpu::weights::Panels;
use half::bf16;
use std::ops::Range;

/// Bytes of a task's rows: what an L2 cache holds beside panels.
const ROOM: usize = 3 << 19;
/// Rows and columns of sums held in tiles.
const SIDE: usize = 2 * amx::SIDE;
/// Steps of a block after which some rows of the last block are finished.
const STEPS_AT_ONCE: usize = 2;
/// So many rows: all of them within a depth of 768.
const ROWS_AT_ONCE: usize = 3;
/// Columns of a task, where there are tasks enough: while two panels are used, the next two are on their way.
const COLUMNS: usize = 192;
/// Tasks that a thread should have, so that threads finish together.
const TASKS: usize = 4;

/// 32 x 32 sums, from the start of a cache line on.
#[repr(align(64))]
struct Sums([[f32; SIDE]; SIDE]);

/// Rows and columns of a task: as many rows as share panels from the L2 cache, then as many columns as leave
/// tasks for all threads.
pub(super) fn task(panels: &Panels, rows: usize, threads: usize) -> (usize, usize) {
    let most = (ROOM / (2 * panels.inputs) / SIDE * SIDE).max(SIDE);
    let bands = rows.div_ceil(most);
    let tile_rows = rows.div_ceil(bands).next_multiple_of(SIDE);
    let across = (threads * TASKS).div_ceil(bands);
    let tile_columns = (panels.outputs.div_ceil(across)).next_multiple_of(SIDE);
    (tile_rows, tile_columns.min(COLUMNS))
}

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
    let product = Product { panels, x, stride };
    engine.pool.tiles(to, grid, |tile| dispatch(isa, Task { product, tiles: unit.tiles(), after, tile }));
}

/// A task: blocks of sums, down the rows of two panels, then of the next two.
struct Task<'a, 'b, T> {
    product: Product<'a>,
    tiles: amx::Tiles,
    after: &'a Epilogue<'a, T>,
    tile: Tile<'b, T>,
}

impl<T: Element> Kernel for Task<'_, '_, T> {
    type Output = ();

    /// A block's sums are finished some rows at a time between the steps of the next block: so the work of the vector
    /// units runs beside that of the matrix unit.
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let down = self.tile.rows.div_ceil(SIDE);
        let blocks = down * self.tile.columns.div_ceil(SIDE);
        let steps = self.product.steps();
        let mut sums = [const { Sums([[0.0; SIDE]; SIDE]) }; 2];
        let place = |block: usize| (block % down * SIDE, block / down * SIDE);
        for block in 0..blocks {
            let [even, odd] = &mut sums;
            let (new, last) = if block % 2 == 0 { (even, odd) } else { (odd, even) };
            let at = place(block);
            let operands = self.product.block(&self.tile, at);
            let mut finished = if block == 0 { SIDE } else { 0 };
            let mut asked = 0;
            self.tiles.begin_2x2();
            for first in (0..steps).step_by(STEPS_AT_ONCE) {
                let next = first..(first + STEPS_AT_ONCE).min(steps);
                self.tiles.steps_2x2(operands.rows, operands.columns, next, operands.ahead(first));
                if asked < SIDE {
                    let rows = at.0 + asked..at.0 + (asked + ROWS_AT_ONCE).min(SIDE);
                    self.after.prefetch(s, &mut self.tile, rows, at.1..at.1 + SIDE);
                    asked += ROWS_AT_ONCE;
                }
                if finished < SIDE {
                    let rows = finished..(finished + ROWS_AT_ONCE).min(SIDE);
                    finished = rows.end;
                    self.finish(s, last, place(block - 1), rows);
                }
            }
            self.tiles.end_2x2(&mut amx::Sums { data: new.0.as_flattened_mut(), stride: SIDE });
            if finished < SIDE {
                self.finish(s, last, place(block - 1), finished..SIDE);
            }
        }
        self.finish(s, &sums[(blocks - 1) % 2], place(blocks - 1), 0..SIDE);
    }
}

impl<T: Element> Task<'_, '_, T> {
    /// Finishes rows `rows` of the block at `(row, column)` of the tile.
    #[inline(always)]
    fn finish<S: Simd>(&mut self, s: S, sums: &Sums, (row, column): (usize, usize), rows: Range<usize>) {
        if row + rows.start >= self.tile.rows {
            return;
        }
        let finish = Finish {
            after: self.after,
            tile: &mut self.tile,
            first_row: row + rows.start,
            first_column: column,
            sums: sums.0[rows.start..].as_flattened(),
            stride: SIDE,
            shape: (rows.len(), SIDE),
        };
        finish.run(s);
    }
}

#[derive(Clone, Copy)]
struct Product<'a> {
    panels: &'a Panels,
    x: &'a [bf16],
    stride: usize,
}

/// What a block of sums is the product of: up to 32 rows by two panels.
struct Operands<'a> {
    rows: [amx::Rows<'a>; 2],
    columns: [amx::Columns<'a>; 2],
    /// What to ask for while the block is computed.
    ahead: amx::Ahead,
}

impl Operands<'_> {
    /// What to ask for from step `first` on.
    fn ahead(&self, first: usize) -> amx::Ahead {
        let amx::Ahead { from, step } = self.ahead;
        amx::Ahead { from: from.wrapping_add(first * step), step }
    }
}

impl<'a> Product<'a> {
    /// Steps of a block.
    fn steps(&self) -> usize {
        self.panels.kind.padded_inputs(self.panels.inputs).min(self.stride) / amx::DEPTH
    }

    /// The operands of the block at `(row, column)` of a tile. Those beyond the matrix are what stands there in memory;
    /// their sums are not kept.
    fn block<T>(&self, tile: &Tile<'_, T>, (row, column): (usize, usize)) -> Operands<'a> {
        let from = |row: usize| amx::Rows { data: &self.x[row * self.stride..], stride: self.stride };
        let last = self.panels.count() - 1;
        let bytes = |panel: usize| self.panels.panel(panel.min(last));
        let columns = |panel: usize| amx::Columns { data: cast::<u8, bf16>(bytes(panel)), stride: 2 * LANES };
        let first = tile.row + row;
        let second = if tile.rows - row > amx::SIDE { first + amx::SIDE } else { first };
        let panel = (tile.column + column) / LANES;
        // The next two panels are asked for while these are used, a part with each block.
        let lines = (2 * self.panels.bytes).div_ceil(tile.rows.div_ceil(SIDE) * self.steps());
        let step = lines.next_multiple_of(amx::AHEAD);
        let part = row / SIDE * self.steps() * step;
        let ahead = if column + SIDE < tile.columns && part < 2 * self.panels.bytes {
            amx::Ahead { from: bytes(panel + 2).as_ptr().wrapping_add(part), step }
        } else {
            amx::Ahead { from: bytes(panel).as_ptr(), step: 0 }
        };
        Operands { rows: [from(first), from(second)], columns: [columns(panel), columns(panel + 1)], ahead }
    }
}
