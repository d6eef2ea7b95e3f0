//! Few rows: every weight is read from memory once, in long contiguous streams, and the rows share what is in cache.

use super::epilogue::{Finish, vector};
use super::{Engine, Epilogue, FEW_ROWS, Operand};
use crate::backend::cpu::simd::{Element, Grid, Kernel, LANES, Simd, cast, dispatch, each};
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
    // Whole groups, as a rest is read panel by panel.
    (bytes / panels.bytes / TOGETHER).max(1) * TOGETHER * LANES
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
            let more = first_column + TOGETHER * LANES < tile.columns;
            dispatch(isa, Task { panels, x: &x, first_panel, count, more, rows: tile.rows, sums: &mut sums });
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

/// Panels that are read side by side: a core has more misses under way with four streams than with one (measured on a
/// Xeon of the fourth generation, where its DRAM bandwidth is read that way).
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
            #[cfg(target_arch = "x86_64")]
            Operand::Pieces(_) => unreachable!("few rows are not cut into pieces"),
        }
    }
}

struct Task<'a> {
    panels: &'a Panels,
    x: &'a Left<'a>,
    first_panel: usize,
    count: usize,
    /// Whether this thread goes on with the panels that follow.
    more: bool,
    rows: usize,
    sums: &'a mut [[f32; TOGETHER * LANES]; FEW_ROWS],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in 0..self.rows {
            if self.count == TOGETHER {
                for (panel, y) in self.panels::<S, TOGETHER>(s, 0, row).into_iter().enumerate() {
                    s.store(y, &mut self.sums[row].as_chunks_mut().0[panel]);
                }
                continue;
            }
            for panel in 0..self.count {
                let [y] = self.panels::<S, 1>(s, panel, row);
                s.store(y, &mut self.sums[row].as_chunks_mut().0[panel]);
            }
        }
    }
}

impl Task<'_> {
    /// The products of a row with `P` panels from `panel` of the task on.
    #[inline(always)]
    fn panels<S: Simd, const P: usize>(&self, s: S, panel: usize, row: usize) -> [S::V; P] {
        let first = self.first_panel + panel;
        let panels: [&[u8]; P] = std::array::from_fn(|i| self.panels.panel(first + i));
        let ahead = Ahead::new(self.panels.bytes, P, self.more);
        match (self.panels.kind, self.x) {
            (PanelType::F32, Left::F32(x, stride)) => {
                plain::<S, f32, P>(s, ahead, panels, &x[row * stride..])
            }
            (PanelType::F16, Left::F32(x, stride)) => {
                plain::<S, f16, P>(s, ahead, panels, &x[row * stride..])
            }
            (PanelType::Bf16, Left::Bf16(x, stride)) => pairs(s, ahead, panels, &x[row * stride..]),
            (PanelType::Int8, Left::Int8 { codes, stride, scales, sums, blocks }) => {
                let at = row * blocks;
                int8(s, ahead, panels, &codes[row * stride..], &scales[at..], &sums[at..])
            }
            (PanelType::Int8Channel, Left::Int8 { codes, stride, scales, sums, blocks }) => {
                let at = row * blocks;
                let y = int8_channel(s, ahead, panels, &codes[row * stride..], &scales[at..], &sums[at..]);
                let scales = self.panels.scales.as_deref().unwrap_or_default();
                each!([s.zero(); P], i => s.mul(y[i], s.load_f16(vector(scales, (first + i) * LANES))))
            }
            _ => unreachable!("the operand was made for these weights"),
        }
    }
}

/// How far ahead streams ask for memory.
#[derive(Clone, Copy)]
struct Ahead {
    /// Bytes of a panel.
    of: usize,
    /// From the last bytes of a panel on: into the panel that the stream takes next, if it takes one.
    at_end: usize,
}

impl Ahead {
    fn new(of: usize, streams: usize, more: bool) -> Self {
        Self { of, at_end: if more { AHEAD + (streams - 1) * of } else { 0 } }
    }

    /// At `at` bytes of a panel.
    #[inline(always)]
    fn from(self, at: usize) -> usize {
        if at + AHEAD < self.of { AHEAD } else { self.at_end }
    }
}

/// Sums over `[input][16]` weights.
#[inline(always)]
fn plain<S: Simd, T: Element, const P: usize>(
    s: S,
    ahead: Ahead,
    panels: [&[u8]; P],
    x: &[f32],
) -> [S::V; P] {
    let streams = panels.map(|panel| cast::<u8, [T; LANES]>(panel).as_chunks::<4>().0);
    let line = size_of::<[T; LANES]>();
    let mut sums = [[s.zero(); 4]; P];
    for (at, x) in x.as_chunks::<4>().0.iter().enumerate().take(streams[0].len()) {
        let ahead = ahead.from(at * 4 * line);
        for p in 0..P {
            let w = &streams[p][at];
            for i in 0..4 {
                if (i * line).is_multiple_of(64) {
                    s.prefetch(w[i].as_ptr().cast(), ahead);
                }
                sums[p][i] = s.fma(T::widen(s, &w[i]), s.splat(x[i]), sums[p][i]);
            }
        }
    }
    each!([s.zero(); P], p => total(s, sums[p]))
}

/// Sums over `[input / 2][16][2]` weights.
#[inline(always)]
fn pairs<S: Simd, const P: usize>(s: S, ahead: Ahead, panels: [&[u8]; P], x: &[bf16]) -> [S::V; P] {
    let streams = panels.map(|panel| cast::<u8, [bf16; 2 * LANES]>(panel).as_chunks::<4>().0);
    let mut sums = [[s.zero(); 4]; P];
    let x = x.as_chunks::<2>().0.as_chunks::<4>().0;
    for (at, x) in x.iter().enumerate().take(streams[0].len()) {
        let ahead = ahead.from(at * 256);
        for p in 0..P {
            let w = &streams[p][at];
            for i in 0..4 {
                s.prefetch(w[i].as_ptr().cast(), ahead);
                sums[p][i] = s.dot_pairs(sums[p][i], &w[i], x[i]);
            }
        }
    }
    each!([s.zero(); P], p => total(s, sums[p]))
}

#[inline(always)]
fn total<S: Simd>(s: S, x: [S::V; 4]) -> S::V {
    s.add(s.add(x[0], x[1]), s.add(x[2], x[3]))
}

/// The products of 32 inputs with codes, whose offset is taken off again by the sum of `x`.
#[inline(always)]
fn block<S: Simd>(s: S, codes: &[[u8; 64]], x: &[[i8; 4]], sum: f32, ahead: usize) -> S::V {
    let mut products = [s.int_splat(0); 2];
    for (i, (codes, x)) in codes.iter().zip(x).enumerate() {
        s.prefetch(codes.as_ptr(), ahead);
        products[i % 2] = s.dot_bytes(products[i % 2], codes, *x);
    }
    // Each at most 32 x 255 x 127: exact in f32.
    let products = s.add(s.int_to_float(products[0]), s.int_to_float(products[1]));
    s.sub(products, s.splat(sum * OFFSET as f32))
}

const QUADS: usize = GROUP / 4;

/// Sums over blocks of INT8 weights with a scale per 32 inputs.
#[inline(always)]
fn int8<S: Simd, const P: usize>(
    s: S,
    ahead: Ahead,
    panels: [&[u8]; P],
    codes: &[i8],
    scales: &[f32],
    sums: &[f32],
) -> [S::V; P] {
    let x = cast::<i8, [i8; 4]>(codes).as_chunks::<QUADS>().0.as_chunks::<2>().0;
    let (scales, sums) = (scales.as_chunks::<2>().0, sums.as_chunks::<2>().0);
    let streams = panels.map(cast::<u8, [u8; INT8_BLOCK_BYTES]>);
    let mut y = [[s.zero(); 2]; P];
    for i in 0..streams[0].len() {
        let ahead = ahead.from(i * INT8_BLOCK_BYTES);
        for p in 0..P {
            let bytes = &streams[p][i];
            let (weight_scales, weights) = bytes.split_at(64);
            s.prefetch(bytes.as_ptr(), ahead);
            let weight_scales = cast::<u8, [f16; LANES]>(weight_scales);
            let weights = cast::<u8, [u8; 64]>(weights).as_chunks::<QUADS>().0;
            for half in 0..2 {
                let products = block(s, &weights[half], &x[i][half], sums[i][half], ahead);
                let scale = s.mul(s.load_f16(&weight_scales[half]), s.splat(scales[i][half]));
                y[p][half] = s.fma(products, scale, y[p][half]);
            }
        }
    }
    each!([s.zero(); P], p => s.add(y[p][0], y[p][1]))
}

/// Sums over `[input / 4][16][4]` INT8 weights, before the scale of their output.
#[inline(always)]
fn int8_channel<S: Simd, const P: usize>(
    s: S,
    ahead: Ahead,
    panels: [&[u8]; P],
    codes: &[i8],
    scales: &[f32],
    sums: &[f32],
) -> [S::V; P] {
    let x = cast::<i8, [i8; 4]>(codes).as_chunks::<QUADS>().0;
    let streams = panels.map(|panel| cast::<u8, [u8; 64]>(panel).as_chunks::<QUADS>().0);
    let mut y = [s.zero(); P];
    for i in 0..streams[0].len() {
        let ahead = ahead.from(i * 64 * QUADS);
        for p in 0..P {
            let products = block(s, &streams[p][i], &x[i], sums[i], ahead);
            y[p] = s.fma(products, s.splat(scales[i]), y[p]);
        }
    }
    y
}
