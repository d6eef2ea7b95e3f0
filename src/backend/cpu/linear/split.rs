//! Many rows of f32 or f16 on a matrix unit that multiplies bfloat16: both sides as sums of bfloat16 pieces.
//!
//! Of the products of pieces those are summed that matter in the type: six for f32, three for f16. With the second piece at
//! most 2^-8 of a number and the third at most 2^-17, what is left out is 2^-24 of a product for f32 (twice 2^-8 x 2^-17), and
//! 2^-16 for f16, at most. Sums are in f32, as everywhere.
//!
//! What is not finite in an operand makes sums that are not numbers. Pieces too small for a normal bfloat16, under
//! 2^-126, are zero.

use super::epilogue::Finish;
use super::pieces::{Pair, SIDE};
use super::{Engine, Epilogue, Operand};
use crate::backend::BackendError;
use crate::backend::cpu::simd::{
    Element, Grid, Kernel, LANES, MatrixUnit, Simd, Tile, amx, cast_mut, dispatch,
};
use crate::backend::cpu::tensor::CpuTensor;
use crate::backend::cpu::weights::Panels;
use half::bf16;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Bytes of a task's rows that are used again and again: what an L2 cache holds beside a pair of panels.
const ROOM: usize = 5 << 18;
/// Steps of a pass: a depth of 768.
const STEPS: usize = 24;
/// The most rows and columns of a task.
const ROWS: usize = 256;
const COLUMNS: usize = 192;
/// Steps of products after which the vector units have their turn, by the number of pieces.
const AT_ONCE: [usize; 4] = [0, 0, 4, 2];
/// Rows of a block that are finished in a turn.
const ROWS_AT_ONCE: usize = 6;
/// Tasks that a thread should have, so that threads finish together.
const TASKS: usize = 2;

/// Rows and columns of a task.
pub(super) fn task(panels: &Panels, rows: usize, pieces: usize, threads: usize) -> (usize, usize) {
    let steps = steps(panels).min(STEPS);
    let most = (ROOM / (2 * steps * pieces * amx::PIECE) * SIDE).clamp(SIDE, ROWS);
    let bands = rows.div_ceil(most);
    let tile_rows = rows.div_ceil(bands).next_multiple_of(SIDE);
    let across = (threads * TASKS).div_ceil(bands);
    let tile_columns = panels.outputs.div_ceil(across).next_multiple_of(SIDE);
    (tile_rows, tile_columns.min(COLUMNS))
}

fn steps(panels: &Panels) -> usize {
    panels.kind.padded_inputs(panels.inputs) / amx::DEPTH
}

pub(super) fn run<T: Element>(
    engine: &mut Engine<'_>,
    panels: &Panels,
    x: &Operand,
    after: &Epilogue<'_, T>,
    grid: Grid,
    to: &mut [T],
) -> Result<(), BackendError> {
    let (Operand::Pieces(x), Some(unit)) = (x, MatrixUnit::detect()) else {
        unreachable!("chosen only for operands in pieces where there is a matrix unit")
    };
    let bytes = Scratch::bytes(panels, T::PIECES, grid);
    let free: Result<Vec<CpuTensor>, _> =
        (0..engine.pool.threads()).map(|_| engine.arena.bytes(bytes)).collect();
    let free = Mutex::new(free?);
    let lock = || free.lock().unwrap_or_else(PoisonError::into_inner);
    let (isa, x) = (engine.isa, x.data::<bf16>());
    engine.pool.tiles(to, grid, |tile| {
        let mut memory = lock().pop().expect("each thread has one");
        let (tiles, scratch) = (unit.tiles(), memory.data_mut());
        if T::PIECES == 3 {
            dispatch(isa, Task::<T, 3> { panels, x, tiles, after, tile, scratch });
        } else {
            dispatch(isa, Task::<T, 2> { panels, x, tiles, after, tile, scratch });
        }
        lock().push(memory);
    });
    Ok(())
}

/// A task: pass by pass over the depth, pair by pair of panels, block by block of 32 rows. While the matrix unit
/// multiplies a block, the vector units finish the last one and split the next pair.
struct Task<'a, 'b, T, const P: usize> {
    panels: &'a Panels,
    x: &'a [bf16],
    tiles: amx::Tiles,
    after: &'a Epilogue<'a, T>,
    tile: Tile<'b, T>,
    scratch: &'a mut [u8],
}

/// What a task writes and reads again.
struct Scratch<'a> {
    /// A pair of panels in pieces: this pass's, and the next one's.
    columns: [&'a mut [bf16]; 2],
    /// Sums: pair by pair of panels, block by block of rows.
    sums: &'a mut [[f32; SIDE * SIDE]],
}

impl<'a> Scratch<'a> {
    fn column_elements(panels: &Panels, pieces: usize) -> usize {
        steps(panels).min(STEPS) * pieces * amx::PIECE
    }

    /// Bytes for tasks of `grid`.
    fn bytes(panels: &Panels, pieces: usize, grid: Grid) -> usize {
        let blocks = grid.tile_rows.div_ceil(SIDE) * grid.tile_columns.div_ceil(SIDE);
        4 * Self::column_elements(panels, pieces) + blocks * size_of::<[f32; SIDE * SIDE]>()
    }

    fn new(bytes: &'a mut [u8], panels: &Panels, pieces: usize) -> Self {
        let elements = Self::column_elements(panels, pieces);
        let (columns, sums) = bytes.split_at_mut(4 * elements);
        let (this, next) = cast_mut(columns).split_at_mut(elements);
        Self { columns: [this, next], sums: cast_mut(sums) }
    }
}

/// What one pair of panels is multiplied in: a pass over a part of the depth.
#[derive(Clone, Copy)]
struct Unit {
    pair: usize,
    /// The first step, and how many.
    first: usize,
    count: usize,
}

impl<T: Element, const P: usize> Kernel for Task<'_, '_, T, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { panels, x, tiles, after, tile, scratch } = self;
        let Scratch { columns: [mut this, mut next], sums } = Scratch::new(scratch, panels, P);
        let (steps, pairs) = (steps(panels), tile.columns.div_ceil(SIDE));
        let unit = |index: usize| {
            let first = index / pairs * STEPS;
            Unit { pair: index % pairs, first, count: STEPS.min(steps - first) }
        };
        let first_panel = tile.column / LANES;
        let pair =
            |unit: Unit| Pair::new(panels, first_panel + 2 * unit.pair, unit.first..unit.first + unit.count);
        let units = steps.div_ceil(STEPS) * pairs;
        Ahead { pair: pair(unit(0)), to: &mut *this, done: 0 }.split::<S, P>(s, (1, 1));
        let blocks = tile.rows.div_ceil(SIDE);
        let mut run = Run::<T, P> { x, tiles, after, tile, sums, steps, blocks, last: None };
        for index in 0..units {
            let mut ahead =
                (index + 1 < units).then(|| Ahead { pair: pair(unit(index + 1)), to: &mut *next, done: 0 });
            for block in 0..blocks {
                run.block(s, unit(index), block, this, &mut ahead);
            }
            std::mem::swap(&mut this, &mut next);
        }
        run.finish_last(s, 0..SIDE);
    }
}

/// A task under way.
struct Run<'a, 'b, T, const P: usize> {
    x: &'a [bf16],
    tiles: amx::Tiles,
    after: &'a Epilogue<'a, T>,
    tile: Tile<'b, T>,
    sums: &'a mut [[f32; SIDE * SIDE]],
    /// Steps of the whole depth.
    steps: usize,
    /// Blocks of rows.
    blocks: usize,
    /// The block whose sums are whole and not finished.
    last: Option<usize>,
}

impl<T: Element, const P: usize> Run<'_, '_, T, P> {
    /// Multiplies a block of rows with the pair of panels `columns`; between steps, a part of the pair ahead is split
    /// and some rows of the last block are finished.
    #[inline(always)]
    fn block<S: Simd>(
        &mut self,
        s: S,
        unit: Unit,
        block: usize,
        columns: &[bf16],
        ahead: &mut Option<Ahead<'_>>,
    ) {
        let band = self.tile.row / SIDE + block;
        let rows = &self.x[(band * self.steps + unit.first) * P * amx::PIECE..];
        let at = unit.pair * self.blocks + block;
        let ends = unit.first + unit.count == self.steps;
        if unit.first == 0 {
            self.tiles.begin_2x2();
        } else {
            self.tiles.resume_2x2(&amx::Sums { data: &mut self.sums[at], stride: SIDE });
        }
        let mut row = 0;
        for step in (0..unit.count).step_by(AT_ONCE[P]) {
            let skip = step * P * amx::PIECE;
            let count = AT_ONCE[P].min(unit.count - step);
            self.tiles.steps_of_pieces::<P>(&rows[skip..], &columns[skip..], count);
            if let Some(ahead) = ahead {
                let done = block * unit.count + step + count;
                ahead.split::<S, P>(s, (done, self.blocks * unit.count));
            }
            if row < SIDE {
                let some = row..(row + ROWS_AT_ONCE).min(SIDE);
                row = some.end;
                if ends {
                    let rows = block * SIDE + some.start..block * SIDE + some.end;
                    self.after.prefetch(s, &mut self.tile, rows, unit.pair * SIDE..(unit.pair + 1) * SIDE);
                }
                self.finish_last(s, some);
            }
        }
        self.tiles.end_2x2(&mut amx::Sums { data: &mut self.sums[at], stride: SIDE });
        if row < SIDE {
            self.finish_last(s, row..SIDE);
        }
        self.last = ends.then_some(at);
    }

    /// Finishes rows `rows` of the last block.
    #[inline(always)]
    fn finish_last<S: Simd>(&mut self, s: S, rows: Range<usize>) {
        let Some(last) = self.last else { return };
        let first_row = last % self.blocks * SIDE + rows.start;
        if first_row >= self.tile.rows {
            return;
        }
        let finish = Finish {
            after: self.after,
            tile: &mut self.tile,
            first_row,
            first_column: last / self.blocks * SIDE,
            sums: &self.sums[last][rows.start * SIDE..],
            stride: SIDE,
            shape: (rows.len(), SIDE),
        };
        finish.run(s);
    }
}

/// The pair of panels that is multiplied next, being split.
struct Ahead<'a> {
    pair: Pair<'a>,
    to: &'a mut [bf16],
    /// Tiles that are split.
    done: usize,
}

impl Ahead<'_> {
    /// Splits as far as `of.0 / of.1` of the pair.
    #[inline(always)]
    fn split<S: Simd, const P: usize>(&mut self, s: S, of: (usize, usize)) {
        let until = self.pair.tiles() * of.0 / of.1;
        self.pair.split::<S, P>(s, self.done..until, self.to);
        self.done = until;
    }
}
