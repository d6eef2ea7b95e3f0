//! Many rows on vector units: blocks of sums in registers, over a depth that stays in cache.

use super::epilogue::vector;
use super::{Engine, Epilogue, Operand};
use crate::backend::cpu::simd::{Element, Grid, Isa, Kernel, LANES, Simd, Tile, cast, dispatch};
use crate::backend::cpu::weights::{PanelType, Panels};
use half::{bf16, f16};

/// Rows of a task.
const ROWS: usize = 128;
/// Inputs of a pass: three panels' worth of f32 fill an L1 cache of 48 KiB.
const DEPTH: usize = 256;
/// The most columns of a task.
const COLUMNS: usize = 3 * LANES;

/// Rows and columns of a task.
pub(super) fn tile(isa: Isa) -> (usize, usize) {
    (ROWS, if isa >= Isa::Avx512 { COLUMNS } else { LANES })
}

pub(super) fn run<T: Element>(
    engine: &mut Engine<'_>,
    panels: &Panels,
    x: &Operand,
    after: &Epilogue<'_, T>,
    grid: Grid,
    to: &mut [T],
) {
    let isa = engine.isa;
    match x {
        Operand::F32(x) => {
            let (x, stride) = (x.data::<f32>(), x.stride);
            engine.pool.tiles(to, grid, |tile| dispatch(isa, Task { panels, x, stride, after, tile }));
        }
        Operand::Bf16(x) => {
            let (x, stride) = (x.data::<bf16>(), x.stride);
            engine.pool.tiles(to, grid, |tile| dispatch(isa, Task { panels, x, stride, after, tile }));
        }
        Operand::Int8 { .. } => unreachable!("products of blocks take unpacked weights"),
    }
}

struct Task<'a, 'b, A, T> {
    panels: &'a Panels,
    x: &'a [A],
    stride: usize,
    after: &'a Epilogue<'a, T>,
    tile: Tile<'b, T>,
}

/// Sums of a task, row by row.
type Sums = [[f32; COLUMNS]; ROWS];

impl<A: Element, T: Element> Kernel for Task<'_, '_, A, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // As many accumulators as registers hold: 8 rows of 3 vectors, or 6 of 1 where a vector is several registers.
        if S::WIDE { self.blocks::<S, 8, 3>(s) } else { self.blocks::<S, 6, 1>(s) }
    }
}

impl<A: Element, T: Element> Task<'_, '_, A, T> {
    #[inline(always)]
    fn blocks<S: Simd, const R: usize, const P: usize>(mut self, s: S) {
        let mut sums: Sums = [[0.0; COLUMNS]; ROWS];
        let first = self.tile.column / LANES;
        let last = self.panels.count().saturating_sub(1);
        // A panel beyond the last is the last again: its sums are not kept.
        let panels: [&[u8]; P] = std::array::from_fn(|i| self.panels.panel((first + i).min(last)));
        let inputs = self.panels.kind.padded_inputs(self.panels.inputs);
        for from in (0..inputs).step_by(DEPTH) {
            let depth = from..(from + DEPTH).min(inputs);
            for row in (0..self.tile.rows).step_by(R) {
                self.block::<S, R, P>(s, &panels, row, depth.clone(), &mut sums);
            }
        }
        for (row, sums) in sums.iter().enumerate().take(self.tile.rows) {
            for column in (0..self.tile.columns).step_by(LANES) {
                let at = (self.tile.row + row, self.tile.column + column);
                let y = if at.1 / LANES <= last { s.load(vector(sums, column)) } else { s.zero() };
                if let Some(to) = self.tile.row_mut(row)[column..].first_chunk_mut() {
                    self.after.finish(s, y, at, to);
                }
            }
        }
    }

    /// Adds the products of R rows and P panels over `depth` to their sums.
    #[inline(always)]
    fn block<S: Simd, const R: usize, const P: usize>(
        &self,
        s: S,
        panels: &[&[u8]; P],
        row: usize,
        depth: std::ops::Range<usize>,
        sums: &mut Sums,
    ) {
        // Rows beyond the tile's are read again from its last: their sums are not kept.
        let rows: [&[A]; R] = std::array::from_fn(|i| {
            let at = (self.tile.row + (row + i).min(self.tile.rows - 1)) * self.stride;
            &self.x[at + depth.start..at + depth.end]
        });
        let products = match self.panels.kind {
            PanelType::F32 => plain::<S, A, f32, R, P>(s, &rows, panels.map(|p| &cast(p)[depth.clone()])),
            PanelType::F16 => plain::<S, A, f16, R, P>(s, &rows, panels.map(|p| &cast(p)[depth.clone()])),
            PanelType::Bf16 => {
                pairs::<S, A, R, P>(s, &rows, panels.map(|p| &cast(p)[depth.start / 2..depth.end / 2]))
            }
            PanelType::Int8 | PanelType::Int8Channel => unreachable!("unpacked before"),
        };
        for (i, products) in products.into_iter().enumerate() {
            let Some(sums) = sums.get_mut(row + i) else { break };
            for (sums, products) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(products) {
                s.store(s.add(s.load(sums), products), sums);
            }
        }
    }
}

#[inline(always)]
fn plain<S: Simd, A: Element, B: Element, const R: usize, const P: usize>(
    s: S,
    rows: &[&[A]; R],
    panels: [&[[B; LANES]]; P],
) -> [[S::V; P]; R] {
    let depth = panels[0].len();
    let rows: [&[A]; R] = rows.map(|row| &row[..depth]);
    let panels = panels.map(|panel| &panel[..depth]);
    let mut sums = [[s.zero(); P]; R];
    for k in 0..depth {
        let b: [S::V; P] = std::array::from_fn(|p| B::widen(s, &panels[p][k]));
        for r in 0..R {
            let a = s.splat(rows[r][k].to_f32());
            for p in 0..P {
                sums[r][p] = s.fma(a, b[p], sums[r][p]);
            }
        }
    }
    sums
}

#[inline(always)]
fn pairs<S: Simd, A: Element, const R: usize, const P: usize>(
    s: S,
    rows: &[&[A]; R],
    panels: [&[[bf16; 2 * LANES]]; P],
) -> [[S::V; P]; R] {
    let depth = panels[0].len();
    let rows: [&[[A; 2]]; R] = rows.map(|row| &row.as_chunks::<2>().0[..depth]);
    let panels = panels.map(|panel| &panel[..depth]);
    let mut sums = [[s.zero(); P]; R];
    for k in 0..depth {
        if A::IS_BF16 {
            for r in 0..R {
                let a = rows[r][k].map(|a| a.to_bf16());
                for p in 0..P {
                    sums[r][p] = s.dot_pairs(sums[r][p], &panels[p][k], a);
                }
            }
        } else {
            let b: [(S::V, S::V); P] = std::array::from_fn(|p| s.pairs(&panels[p][k]));
            for r in 0..R {
                let a = rows[r][k].map(|a| s.splat(a.to_f32()));
                for p in 0..P {
                    sums[r][p] = s.fma(a[1], b[p].1, s.fma(a[0], b[p].0, sums[r][p]));
                }
            }
        }
    }
    sums
}
