//! Products of up to 16 queries with a block of bfloat16 on a matrix unit: the layout of a block is that of its tiles.

use super::queries::{Queries, Scores};
use super::{BLOCK, HALVES};
use crate::backend::cpu::cache::{Layout, Parts, WIDEST};
use crate::backend::cpu::simd::amx::{Columns, DEPTH, Rows, SIDE, Sums, Tiles};
use crate::backend::cpu::simd::{LANES, Simd, cast};
use half::bf16;

/// Fewer queries than that are multiplied as vectors: a tile takes as long for one as for 16.
pub(super) const FEWEST: usize = 3;

/// Whether heads of `layout` are whole tiles.
pub(super) fn fits(layout: &Layout) -> bool {
    layout.channels.is_multiple_of(DEPTH)
}

/// `scores[query][token] = q . k`, unscaled; those beyond the last query are zero.
#[inline(always)]
pub(super) fn scores<const N: usize>(
    tiles: &Tiles,
    layout: &Layout,
    parts: Parts<'_>,
    queries: &Queries<N>,
    scores: &mut [Scores; N],
) {
    let k = cast::<u8, bf16>(parts.k);
    let half = |half: usize| Columns { data: &k[half * layout.channels * LANES..], stride: 2 * LANES };
    let q = Rows { data: queries.q_pairs.as_flattened().as_flattened(), stride: WIDEST };
    let mut to = Sums { data: scores.as_flattened_mut().as_flattened_mut(), stride: BLOCK };
    tiles.product_1x2(q, [half(0), half(1)], layout.channels / DEPTH, &mut to, false);
}

/// `y[query] += weights[query] . v`.
#[inline(always)]
pub(super) fn add_values<S: Simd>(
    s: S,
    tiles: &Tiles,
    layout: &Layout,
    parts: Parts<'_>,
    weights: &[Scores],
    y: &mut [[f32; WIDEST]],
) {
    let mut narrow = [[[bf16::ZERO; LANES]; HALVES]; SIDE];
    for (to, weights) in narrow.as_flattened_mut().iter_mut().zip(weights.as_flattened()) {
        s.store_bf16(s.load(weights), to);
    }
    let weights = Rows { data: narrow.as_flattened().as_flattened(), stride: BLOCK };
    let (v, y) = (cast::<u8, bf16>(parts.v), y.as_flattened_mut());
    for column in (0..layout.channels).step_by(2 * LANES) {
        let columns = |at: usize| Columns { data: &v[2 * at..], stride: 2 * layout.channels };
        let mut to = Sums { data: &mut y[column..], stride: WIDEST };
        tiles.product_1x2(weights, [columns(column), columns(column + LANES)], 1, &mut to, true);
    }
}
