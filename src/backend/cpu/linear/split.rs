//! Many rows of f32 or f16 on a matrix unit that multiplies bfloat16: both sides as sums of bfloat16 pieces.
//!
//! A number is its bfloat16 and what is missing from it, again and again: three pieces of 8 bits each hold the 24 of an
//! f32 exactly, two hold the 11 of an f16. Of the products of pieces those are summed that matter in the type: six for
//! f32 (what is left out is under 2^-24 of a product), three for f16 (2^-16). Sums are in f32, as everywhere.
//! (Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
//! Computations", 2019.)
//!
//! What is not finite in an operand makes sums that are not numbers. Pieces too small for a normal bfloat16, under
//! 2^-126, are zero.

use super::epilogue::Finish;
use super::{Engine, Epilogue, Operand};
use crate::backend::BackendError;
use crate::backend::cpu::simd::{
    Element, Grid, Kernel, LANES, MatrixUnit, Simd, Tile, amx, cast, cast_mut, dispatch,
};
use crate::backend::cpu::tensor::CpuTensor;
use crate::backend::cpu::weights::{PanelType, Panels};
use half::{bf16, f16};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Rows and columns of sums held in tiles.
const SIDE: usize = 2 * amx::SIDE;
/// Bytes of a task's rows that are used again and again: what an L2 cache holds beside a pair of panels.
const ROOM: usize = 5 << 18;
/// Steps of a pass: a depth of 768.
const STEPS: usize = 24;
/// The most rows and columns of a task.
const ROWS: usize = 256;
const COLUMNS: usize = 192;
/// Elements of a tile.
const TILE: usize = amx::PIECE / 2;
/// Steps of products after which the vector units have their turn, by the number of pieces.
const AT_ONCE: [usize; 4] = [0, 0, 4, 2];
/// Rows of a block that are finished in a turn.
const ROWS_AT_ONCE: usize = 6;
/// How far ahead of its use memory of weights is asked for, in bytes.
const AHEAD: usize = 4096;
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

/// The rows of `x` in pieces: bands of 32 rows, each step by step, piece by piece, as two tiles.
pub(super) fn rows<T: Element>(
    engine: &mut Engine<'_>,
    x: &CpuTensor,
    pieces: usize,
) -> Result<CpuTensor, BackendError> {
    let (bands, steps) = (x.rows.div_ceil(SIDE), x.width.div_ceil(amx::DEPTH));
    let step = pieces * amx::PIECE;
    let elements = bands * steps * step;
    let mut to = engine.arena.bytes(2 * elements)?;
    let (isa, data, stride) = (engine.isa, x.data::<T>(), x.stride);
    engine.pool.chunks(&mut to.data_mut::<bf16>()[..elements], step, |i, to| {
        let (band, step) = (i / steps, i % steps);
        for row in 0..SIDE.min(x.rows - band * SIDE) {
            let from = &data[(band * SIDE + row) * stride + step * amx::DEPTH..][..amx::DEPTH];
            dispatch(isa, SplitRow { from, row, to });
        }
    });
    to.rows = x.rows;
    Ok(to)
}

/// 32 elements of a row into the tiles of a step.
struct SplitRow<'a, T> {
    from: &'a [T],
    row: usize,
    to: &'a mut [bf16],
}

impl<T: Element> Kernel for SplitRow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (half, from) in self.from.as_chunks().0.iter().enumerate() {
            let mut rest = T::widen(s, from);
            for piece in self.to.chunks_exact_mut(amx::PIECE) {
                let at = self.row * amx::DEPTH + half * LANES;
                let to = piece[at..].first_chunk_mut().expect("a tile's row has 32 elements");
                s.store_bf16(rest, to);
                rest = s.sub(rest, s.load_bf16(to));
            }
        }
    }
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
#[derive(Clone, Copy, PartialEq, Eq)]
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
        let Self { panels, x, tiles, after, mut tile, scratch } = self;
        let Scratch { columns: [mut this, mut next], sums } = Scratch::new(scratch, panels, P);
        let (steps, blocks) = (steps(panels), tile.rows.div_ceil(SIDE));
        let pairs = tile.columns.div_ceil(SIDE);
        let unit = |index: usize| {
            let first = index / pairs * STEPS;
            Unit { pair: index % pairs, first, count: STEPS.min(steps - first) }
        };
        let first_panel = tile.column / LANES;
        let pair_of = |unit: Unit| Pair::new(panels, first_panel + 2 * unit.pair, unit);
        let units = steps.div_ceil(STEPS) * pairs;
        let pair = pair_of(unit(0));
        pair.split::<S, P>(s, 0..pair.tiles(), this);
        let mut last = None;
        for index in 0..units {
            let now = unit(index);
            let ends = now.first + now.count == steps;
            let ahead = (index + 1 < units).then(|| pair_of(unit(index + 1)));
            let mut split = 0;
            for block in 0..blocks {
                let band = tile.row / SIDE + block;
                let rows = &x[(band * steps + now.first) * P * amx::PIECE..];
                let at = now.pair * blocks + block;
                let mut finished = if last.is_some() { 0 } else { SIDE };
                let mut asked = if ends { 0 } else { SIDE };
                if now.first == 0 {
                    tiles.begin_2x2();
                } else {
                    tiles.resume_2x2(&amx::Sums { data: &mut sums[at], stride: SIDE });
                }
                for step in (0..now.count).step_by(AT_ONCE[P]) {
                    let skip = step * P * amx::PIECE;
                    let count = AT_ONCE[P].min(now.count - step);
                    tiles.steps_of_pieces::<P>(&rows[skip..], &this[skip..], count);
                    if let Some(ahead) = &ahead {
                        let until = ahead.tiles() * (block * now.count + step + count) / (blocks * now.count);
                        ahead.split::<S, P>(s, split..until, next);
                        split = until;
                    }
                    if asked < SIDE {
                        let rows = block * SIDE + asked..block * SIDE + (asked + ROWS_AT_ONCE).min(SIDE);
                        after.prefetch(s, &mut tile, rows, now.pair * SIDE..(now.pair + 1) * SIDE);
                        asked += ROWS_AT_ONCE;
                    }
                    if let (Some(done), true) = (last, finished < SIDE) {
                        let rows = finished..(finished + ROWS_AT_ONCE).min(SIDE);
                        finished = rows.end;
                        finish(s, after, &mut tile, (done, blocks), &sums[done], rows);
                    }
                }
                tiles.end_2x2(&mut amx::Sums { data: &mut sums[at], stride: SIDE });
                if let (Some(done), true) = (last, finished < SIDE) {
                    finish(s, after, &mut tile, (done, blocks), &sums[done], finished..SIDE);
                }
                last = ends.then_some(at);
            }
            std::mem::swap(&mut this, &mut next);
        }
        if let Some(done) = last {
            finish(s, after, &mut tile, (done, blocks), &sums[done], 0..SIDE);
        }
    }
}

/// Finishes rows `rows` of block `at` of a task, of `blocks` blocks per pair of panels.
#[inline(always)]
fn finish<S: Simd, T: Element>(
    s: S,
    after: &Epilogue<'_, T>,
    tile: &mut Tile<'_, T>,
    (at, blocks): (usize, usize),
    sums: &[f32; SIDE * SIDE],
    rows: Range<usize>,
) {
    let first_row = at % blocks * SIDE + rows.start;
    if first_row >= tile.rows {
        return;
    }
    let finish = Finish {
        after,
        tile,
        first_row,
        first_column: at / blocks * SIDE,
        sums: &sums[rows.start * SIDE..],
        stride: SIDE,
        shape: (rows.len(), SIDE),
    };
    finish.run(s);
}

/// A part of the depth of two panels.
struct Pair<'a> {
    kind: PanelType,
    panels: [&'a [u8]; 2],
    steps: usize,
}

impl<'a> Pair<'a> {
    /// The pair from panel `panel` on; one beyond the last is the last again, and its sums are not kept.
    fn new(panels: &'a Panels, panel: usize, unit: Unit) -> Self {
        let row = panels.bytes / panels.kind.padded_inputs(panels.inputs);
        let part = unit.first * amx::DEPTH * row..(unit.first + unit.count) * amx::DEPTH * row;
        let half = |half: usize| &panels.panel((panel + half).min(panels.count() - 1))[part.clone()];
        Self { kind: panels.kind, panels: [half(0), half(1)], steps: unit.count }
    }

    /// Tiles of a piece.
    fn tiles(&self) -> usize {
        2 * self.steps
    }

    /// Tiles `tiles` of each of `P` pieces.
    #[inline(always)]
    fn split<S: Simd, const P: usize>(&self, s: S, tiles: Range<usize>, to: &mut [bf16]) {
        for tile in tiles {
            let (step, half) = (tile / 2, tile % 2);
            let to = &mut to[step * P * amx::PIECE + half * TILE..];
            match self.kind {
                PanelType::F16 => split::<S, f16, P>(s, self.panels[half], step, to),
                _ => split::<S, f32, P>(s, self.panels[half], step, to),
            }
        }
    }
}

/// The inputs of step `step` of a panel: a tile of each piece.
#[inline(always)]
fn split<S: Simd, W: Element, const P: usize>(s: S, panel: &[u8], step: usize, to: &mut [bf16]) {
    let inputs: &[[[W; LANES]; 2]; amx::DEPTH / 2] = &cast(panel)[step];
    let mut pieces = to.chunks_mut(amx::PIECE);
    let mut pieces: [_; P] = std::array::from_fn(|_| {
        let piece: &mut [bf16; TILE] =
            pieces.next().and_then(<[_]>::first_chunk_mut).expect("a tile per piece");
        piece.as_chunks_mut::<{ 2 * LANES }>().0
    });
    for (row, inputs) in inputs.iter().enumerate() {
        s.prefetch(inputs.as_ptr().cast(), AHEAD);
        let [mut even, mut odd] = [0, 1].map(|i| W::widen(s, &inputs[i]));
        for piece in &mut pieces {
            s.store_pairs(even, odd, &mut piece[row]);
            let (a, b) = s.pairs(&piece[row]);
            (even, odd) = (s.sub(even, a), s.sub(odd, b));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::simd::Isa;

    /// The pieces of `x`, each widened.
    fn pieces<T: Element>(isa: Isa, x: &[T; 2 * LANES]) -> Vec<Vec<f32>> {
        let mut to = vec![bf16::ZERO; T::PIECES * amx::PIECE];
        dispatch(isa, SplitRow { from: x, row: 3, to: &mut to });
        let row = |piece: &[bf16]| piece[3 * amx::DEPTH..][..amx::DEPTH].iter().map(|x| x.to_f32()).collect();
        to.chunks(amx::PIECE).map(row).collect()
    }

    #[test]
    fn three_pieces_are_an_f32_and_two_an_f16() {
        let odd = |i: usize| (i as f32 + 0.1).powi(5) * if i.is_multiple_of(2) { -1e-3 } else { 1e9 };
        let x: [f32; 2 * LANES] = std::array::from_fn(odd);
        let half: [f16; 2 * LANES] = std::array::from_fn(|i| f16::from_f32(odd(i) * 1e-12));
        for isa in Isa::available() {
            let (whole, halves) = (pieces(isa, &x), pieces(isa, &half));
            for i in 0..2 * LANES {
                // From the smallest on, no sum is rounded.
                assert_eq!(whole[2][i] + whole[1][i] + whole[0][i], x[i], "{isa}");
                assert_eq!(halves[1][i] + halves[0][i], half[i].to_f32(), "{isa}");
                assert!(whole[1][i].abs() <= whole[0][i].abs() / 256.0, "{isa}");
            }
        }
    }

    #[test]
    fn a_panel_in_pieces_is_what_its_rows_of_pairs_are() {
        let panel: Vec<[f32; LANES]> =
            (0..amx::DEPTH).map(|i| std::array::from_fn(|j| (i * 31 + j) as f32 * 0.377)).collect();
        let mut to = vec![bf16::ZERO; 3 * amx::PIECE];
        for isa in Isa::available() {
            dispatch(isa, SplitPanel { panel: cast(&panel), to: &mut to });
            for (input, row) in panel.iter().enumerate() {
                for (output, x) in row.iter().enumerate() {
                    let at = input / 2 * amx::DEPTH + 2 * output + input % 2;
                    let sum: f32 = (0..3).rev().map(|piece| to[piece * amx::PIECE + at].to_f32()).sum();
                    assert_eq!(sum, *x, "{isa} {input} {output}");
                }
            }
        }
    }

    struct SplitPanel<'a> {
        panel: &'a [u8],
        to: &'a mut [bf16],
    }

    impl Kernel for SplitPanel<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            split::<S, f32, 3>(s, self.panel, 0, self.to);
        }
    }
}
