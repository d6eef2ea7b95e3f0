//! Many rows on vector units: blocks of sums in registers, over a depth that stays in cache.

use super::epilogue::Finish;
use super::{Engine, Epilogue, Operand};
use crate::backend::cpu::simd::{Element, Grid, Isa, Kernel, LANES, Shape, Simd, Tile, cast, dispatch, each};
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
    let x = match x {
        Operand::F32(x) => Left::F32(x.data(), x.stride),
        Operand::Bf16(x) => Left::Bf16(x.data(), x.stride),
        _ => unreachable!("products of blocks take unpacked weights and whole numbers"),
    };
    engine.pool.tiles(to, grid, |mut tile| {
        let mut sums: Sums = [[0.0; COLUMNS]; ROWS];
        match x {
            Left::F32(x, stride) => {
                dispatch(isa, Task { panels, x, stride, after, tile: &mut tile, sums: &mut sums });
            }
            Left::Bf16(x, stride) => {
                dispatch(isa, Task { panels, x, stride, after, tile: &mut tile, sums: &mut sums });
            }
        }
        let finish = Finish {
            after,
            tile: &mut tile,
            first_row: 0,
            first_column: 0,
            sums: sums.as_flattened(),
            stride: COLUMNS,
            shape: (ROWS, COLUMNS),
        };
        dispatch(isa, finish);
    });
}

/// The operand's rows.
#[derive(Clone, Copy)]
enum Left<'a> {
    F32(&'a [f32], usize),
    Bf16(&'a [bf16], usize),
}

struct Task<'a, 'b, A, T> {
    panels: &'a Panels,
    x: &'a [A],
    stride: usize,
    /// What the sums are for, so that its memory is there once they are.
    after: &'a Epilogue<'a, T>,
    tile: &'a mut Tile<'b, T>,
    sums: &'a mut Sums,
}

/// Sums of a task, row by row.
type Sums = [[f32; COLUMNS]; ROWS];

impl<A: Element, T: Element> Kernel for Task<'_, '_, A, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match S::SHAPE {
            Shape::Wide => self.blocks::<S, 8, 3>(s),
            Shape::Narrow => self.blocks::<S, 6, 1>(s),
            Shape::Plain => self.blocks::<S, 2, 1>(s),
        }
    }
}

impl<A: Element, T: Element> Task<'_, '_, A, T> {
    #[inline(always)]
    fn blocks<S: Simd, const R: usize, const P: usize>(self, s: S) {
        let last = self.panels.count() - 1;
        // A panel beyond the last is the last again: its sums are not kept.
        let first_panel = self.tile.column / LANES;
        let panels: [&[u8]; P] = std::array::from_fn(|i| self.panels.panel((first_panel + i).min(last)));
        let inputs = self.panels.kind.padded_inputs(self.panels.inputs);
        for from in (0..inputs).step_by(DEPTH) {
            let depth = from..(from + DEPTH).min(inputs);
            for row in (0..self.tile.rows).step_by(R) {
                if depth.end == inputs {
                    self.after.prefetch(s, self.tile, row..row + R, 0..P * LANES);
                }
                // Rows beyond the tile's are read again from its last: their sums are not kept.
                let rows: [&[A]; R] = std::array::from_fn(|i| {
                    let at = (self.tile.row + (row + i).min(self.tile.rows - 1)) * self.stride;
                    &self.x[at + depth.start..at + depth.end]
                });
                let products = match self.panels.kind {
                    PanelType::F32 => {
                        plain::<S, A, f32, R, P>(s, &rows, panels.map(|p| &cast(p)[depth.clone()]))
                    }
                    PanelType::F16 => {
                        plain::<S, A, f16, R, P>(s, &rows, panels.map(|p| &cast(p)[depth.clone()]))
                    }
                    PanelType::Bf16 => pairs::<S, A, R, P>(
                        s,
                        &rows,
                        panels.map(|p| &cast(p)[depth.start / 2..depth.end / 2]),
                    ),
                    PanelType::Int8 | PanelType::Int8Channel => unreachable!("unpacked before"),
                };
                for (sums, products) in self.sums[row..].iter_mut().zip(products) {
                    for (sums, products) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(products) {
                        s.store(s.add(s.load(sums), products), sums);
                    }
                }
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
        let b = each!([s.zero(); P], p => B::widen(s, &panels[p][k]));
        add_products(s, each!([0.0; R], r => rows[r][k].to_f32()), b, &mut sums);
    }
    sums
}

/// `sums[r][p] += a[r] b[p]`.
#[inline(always)]
fn add_products<S: Simd, const R: usize, const P: usize>(
    s: S,
    a: [f32; R],
    b: [S::V; P],
    sums: &mut [[S::V; P]; R],
) {
    for r in 0..R {
        let a = s.splat(a[r]);
        for p in 0..P {
            sums[r][p] = s.fma(a, b[p], sums[r][p]);
        }
    }
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
            // All even elements, then all odd ones: half as many registers as both at once, which 16 do not hold.
            let both = each!([(s.zero(), s.zero()); P], p => s.pairs(&panels[p][k]));
            let (even, odd) = (each!([s.zero(); P], p => both[p].0), each!([s.zero(); P], p => both[p].1));
            add_products(s, each!([0.0; R], r => rows[r][k][0].to_f32()), even, &mut sums);
            add_products(s, each!([0.0; R], r => rows[r][k][1].to_f32()), odd, &mut sums);
        }
    }
    sums
}
