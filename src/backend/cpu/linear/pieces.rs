//! Numbers as sums of bfloat16 pieces, in the order that tiles are read in.
//!
//! A number is its bfloat16 and what is missing from it, again and again: three pieces of 8 bits each hold the 24 of an
//! f32 exactly, two hold the 11 of an f16. (Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence
//! Datatype For Higher-Precision Computations", 2019.)

use super::Engine;
use crate::backend::BackendError;
use crate::backend::cpu::simd::{Element, Kernel, LANES, Simd, amx, cast, dispatch};
use crate::backend::cpu::tensor::CpuTensor;
use crate::backend::cpu::weights::{PanelType, Panels};
use half::{bf16, f16};
use std::ops::Range;

/// Rows of a band, and columns of a pair of panels.
pub(super) const SIDE: usize = 2 * amx::SIDE;
/// Elements of a tile.
const TILE: usize = amx::PIECE / 2;
/// How far ahead of its use memory of weights is asked for, in bytes.
const AHEAD: usize = 4096;

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

/// Steps of the depth of two panels.
pub(super) struct Pair<'a> {
    kind: PanelType,
    panels: [&'a [u8]; 2],
    steps: usize,
}

impl<'a> Pair<'a> {
    /// Steps `steps` of the pair from panel `panel` on; one beyond the last is the last again, and its sums are not kept.
    pub(super) fn new(panels: &'a Panels, panel: usize, steps: Range<usize>) -> Self {
        let row = panels.bytes / panels.kind.padded_inputs(panels.inputs);
        let part = steps.start * amx::DEPTH * row..steps.end * amx::DEPTH * row;
        let half = |half: usize| &panels.panel((panel + half).min(panels.count() - 1))[part.clone()];
        Self { kind: panels.kind, panels: [half(0), half(1)], steps: steps.len() }
    }

    /// Tiles of a piece.
    pub(super) fn tiles(&self) -> usize {
        2 * self.steps
    }

    /// Tiles `tiles` of each of `P` pieces.
    #[inline(always)]
    pub(super) fn split<S: Simd, const P: usize>(&self, s: S, tiles: Range<usize>, to: &mut [bf16]) {
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
        let (mut even, mut odd) = (W::widen(s, &inputs[0]), W::widen(s, &inputs[1]));
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
