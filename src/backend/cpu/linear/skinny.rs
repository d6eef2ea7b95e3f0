//! Few rows: every weight is read from memory once, in long contiguous streams, and the rows share what is in cache.

use super::epilogue::{Finish, vector};
use super::{Engine, Epilogue, FEW_ROWS, Operand};
use crate::backend::cpu::simd::{Element, Grid, Kernel, LANES, Simd, cast, dispatch};
use crate::backend::cpu::weights::{GROUP, INT8_BLOCK_BYTES, OFFSET, PanelType, Panels};
use half::{bf16, f16};

/// How far ahead of its use memory is asked for, in bytes (measured: 25 to 40 % more bandwidth than without).
const AHEAD: usize = 4096;

/// The bytes of weights that a task streams: a sixteenth of a linear's, so that threads finish together, but long
/// enough to be worth claiming and short enough to balance.
const TASK_BYTES: std::ops::RangeInclusive<usize> = 64 << 10..=1 << 20;

/// Columns of a task.
pub(super) fn columns_per_task(panels: &Panels) -> usize {
    let bytes = (panels.count() * panels.bytes / 16).clamp(*TASK_BYTES.start(), *TASK_BYTES.end());
    (bytes / panels.bytes).max(1) * LANES
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
    let x = Left::new(x);
    engine.pool.tiles(to, grid, |mut tile| {
        let mut sums = [[0f32; TOGETHER * LANES]; FEW_ROWS];
        for first_column in (0..tile.columns).step_by(TOGETHER * LANES) {
            let first_panel = (tile.column + first_column) / LANES;
            let count = TOGETHER.min(panels.count() - first_panel.min(panels.count()));
            dispatch(isa, Task { panels, x: &x, first_panel, count, rows: tile.rows, sums: &mut sums });
            let finish = Finish {
                after,
                tile: &mut tile,
                first_row: 0,
                first_column,
                sums: sums.as_flattened(),
                stride: TOGETHER * LANES,
                shape: (FEW_ROWS, TOGETHER * LANES),
            };
            dispatch(isa, finish);
        }
    });
}

/// Panels whose sums are kept until they are finished together.
const TOGETHER: usize = 4;

/// The operand's slices.
enum Left<'a> {
    F32(&'a [f32], usize),
    Bf16(&'a [bf16], usize),
    Int8 { codes: &'a [i8], stride: usize, scales: &'a [f32], sums: &'a [f32], blocks: usize },
}

impl<'a> Left<'a> {
    fn new(x: &'a Operand) -> Self {
        match x {
            Operand::F32(x) => Self::F32(x.data(), x.stride),
            Operand::Bf16(x) => Self::Bf16(x.data(), x.stride),
            Operand::Int8 { codes, scales, sums } => Self::Int8 {
                codes: codes.data(),
                stride: codes.stride,
                scales: scales.data(),
                sums: sums.data(),
                blocks: scales.stride,
            },
        }
    }
}

struct Task<'a> {
    panels: &'a Panels,
    x: &'a Left<'a>,
    first_panel: usize,
    count: usize,
    rows: usize,
    sums: &'a mut [[f32; TOGETHER * LANES]; FEW_ROWS],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for panel in 0..self.count {
            for row in 0..self.rows {
                let y = self.product(s, self.first_panel + panel, row);
                s.store(y, &mut self.sums[row].as_chunks_mut().0[panel]);
            }
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    fn product<S: Simd>(&self, s: S, panel: usize, row: usize) -> S::V {
        let bytes = self.panels.panel(panel);
        match (self.panels.kind, self.x) {
            (PanelType::F32, Left::F32(x, stride)) => plain::<S, f32>(s, bytes, &x[row * stride..]),
            (PanelType::F16, Left::F32(x, stride)) => plain::<S, f16>(s, bytes, &x[row * stride..]),
            (PanelType::Bf16, Left::Bf16(x, stride)) => pairs(s, bytes, &x[row * stride..]),
            (PanelType::Int8, Left::Int8 { codes, stride, scales, sums, blocks }) => {
                let at = row * blocks;
                int8(s, bytes, &codes[row * stride..], &scales[at..], &sums[at..])
            }
            (PanelType::Int8Channel, Left::Int8 { codes, stride, scales, sums, blocks }) => {
                let at = row * blocks;
                let y = int8_channel(s, bytes, &codes[row * stride..], &scales[at..], &sums[at..]);
                let scales = self.panels.scales.as_deref().unwrap_or_default();
                s.mul(y, s.load_f16(vector(scales, panel * LANES)))
            }
            _ => unreachable!("the operand was made for these weights"),
        }
    }
}

/// Sums over `[input][16]` weights.
#[inline(always)]
fn plain<S: Simd, T: Element>(s: S, panel: &[u8], x: &[f32]) -> S::V {
    let panel = cast::<u8, [T; LANES]>(panel);
    let lines = 64 / size_of::<[T; LANES]>();
    let mut sums = [s.zero(); 8];
    for (w, x) in panel.as_chunks::<8>().0.iter().zip(x.as_chunks::<8>().0) {
        for i in 0..8 {
            if i % lines == 0 {
                s.prefetch(w[i].as_ptr().cast(), AHEAD);
            }
            sums[i] = s.fma(T::widen(s, &w[i]), s.splat(x[i]), sums[i]);
        }
    }
    total(s, sums)
}

/// Sums over `[input / 2][16][2]` weights.
#[inline(always)]
fn pairs<S: Simd>(s: S, panel: &[u8], x: &[bf16]) -> S::V {
    let panel = cast::<u8, [bf16; 2 * LANES]>(panel);
    let mut sums = [s.zero(); 8];
    let (x, _) = x.as_chunks::<2>();
    for (w, x) in panel.as_chunks::<8>().0.iter().zip(x.as_chunks::<8>().0) {
        for i in 0..8 {
            s.prefetch(w[i].as_ptr().cast(), AHEAD);
            sums[i] = s.dot_pairs(sums[i], &w[i], x[i]);
        }
    }
    total(s, sums)
}

#[inline(always)]
fn total<S: Simd>(s: S, x: [S::V; 8]) -> S::V {
    let four: [S::V; 4] = std::array::from_fn(|i| s.add(x[i], x[i + 4]));
    s.add(s.add(four[0], four[1]), s.add(four[2], four[3]))
}

/// The products of 32 inputs with codes, whose offset is taken off again by the sum of `x`.
#[inline(always)]
fn block<S: Simd>(s: S, codes: &[[u8; 64]], x: &[[i8; 4]], sum: f32) -> S::V {
    let mut products = [s.int_splat(0); 2];
    for (i, (codes, x)) in codes.iter().zip(x).enumerate() {
        s.prefetch(codes.as_ptr(), AHEAD);
        products[i % 2] = s.dot_bytes(products[i % 2], codes, *x);
    }
    // Each at most 32 x 255 x 127: exact in f32.
    let products = s.add(s.int_to_float(products[0]), s.int_to_float(products[1]));
    s.sub(products, s.splat(sum * OFFSET as f32))
}

const QUADS: usize = GROUP / 4;

/// Sums over blocks of INT8 weights with a scale per 32 inputs.
#[inline(always)]
fn int8<S: Simd>(s: S, panel: &[u8], codes: &[i8], scales: &[f32], sums: &[f32]) -> S::V {
    let x = cast::<i8, [i8; 4]>(codes).as_chunks::<QUADS>().0.as_chunks::<2>().0;
    let (scales, sums) = (scales.as_chunks::<2>().0, sums.as_chunks::<2>().0);
    let mut y = [s.zero(); 2];
    for (i, bytes) in cast::<u8, [u8; INT8_BLOCK_BYTES]>(panel).iter().enumerate() {
        let (weight_scales, weights) = bytes.split_at(64);
        s.prefetch(bytes.as_ptr(), AHEAD);
        let weight_scales = cast::<u8, [f16; LANES]>(weight_scales);
        let weights = cast::<u8, [u8; 64]>(weights).as_chunks::<QUADS>().0;
        for half in 0..2 {
            let products = block(s, &weights[half], &x[i][half], sums[i][half]);
            let scale = s.mul(s.load_f16(&weight_scales[half]), s.splat(scales[i][half]));
            y[half] = s.fma(products, scale, y[half]);
        }
    }
    s.add(y[0], y[1])
}

/// Sums over `[input / 4][16][4]` INT8 weights, before the scale of their output.
#[inline(always)]
fn int8_channel<S: Simd>(s: S, panel: &[u8], codes: &[i8], scales: &[f32], sums: &[f32]) -> S::V {
    let x = cast::<i8, [i8; 4]>(codes).as_chunks::<QUADS>().0;
    let weights = cast::<u8, [u8; 64]>(panel).as_chunks::<QUADS>().0;
    let mut y = s.zero();
    for (i, weights) in weights.iter().enumerate() {
        let products = block(s, weights, &x[i], sums[i]);
        y = s.fma(products, s.splat(scales[i]), y);
    }
    y
}
