//! Products with 8-bit codes as they are stored: what they are multiplied by becomes bytes too, in several levels.
//!
//! A factor x of a vector whose largest magnitude is m is m / 127 x (c0 + c1 / 254 + c2 / 254^2 ...): c0 is x in units
//! of m / 127 rounded, each further code the rest of the one before in units 254 times smaller. So two levels err by at
//! most m / 64,516 / 2 (less than a bfloat16 or an f16 query does already), three by m x 6e-8, as f32 does. Products of
//! bytes are exact, and a level costs one instruction per 64 products where the CPU has one.

use super::HALVES;
use super::queries::Scores;
use crate::backend::cpu::cache::{BLOCK, Layout, Parts, WIDEST};
use crate::backend::cpu::simd::{LANES, Simd, cast, each};
use crate::backend::cpu::weights::OFFSET;
use half::f16;

/// The most levels.
pub(super) const LEVELS: usize = 3;

/// Quads of channels of the widest head.
const QUADS: usize = WIDEST / 4;

/// The most groups of channels: of a vector each.
const GROUPS: usize = WIDEST / LANES;

/// Units of a level in those of the next.
const FINER: f32 = 254.0;

/// Whether codes of `layout` share scales in groups that vectors do not straddle.
pub(super) fn fits(layout: &Layout) -> bool {
    let group = layout.storage.channels_per_scale(layout.head_dim);
    group >= layout.head_dim || group.is_multiple_of(LANES)
}

/// A query as codes of levels.
#[derive(Clone, Copy)]
pub(super) struct ByteQuery {
    codes: [[[i8; 4]; QUADS]; LEVELS],
    /// What takes the offset of K's codes off again, for each group of channels.
    offsets: [[i32; GROUPS]; LEVELS],
    /// What the first level's unit is.
    unit: f32,
}

impl ByteQuery {
    pub(super) const ZERO: Self =
        Self { codes: [[[0; 4]; QUADS]; LEVELS], offsets: [[0; GROUPS]; LEVELS], unit: 0.0 };

    /// Takes a query whose channels beyond the head's are zero.
    #[inline(always)]
    pub(super) fn set<S: Simd>(&mut self, s: S, layout: &Layout, q: &[f32; WIDEST], levels: usize) {
        let q = &q.as_chunks::<LANES>().0[..layout.channels / LANES];
        let mut largest = s.zero();
        for q in q {
            largest = s.max(largest, s.magnitude(s.load(q)));
        }
        let largest = s.largest(largest);
        self.unit = largest / 127.0;
        let inverse = s.splat(if largest > 0.0 { 127.0 / largest } else { 0.0 });
        for (i, q) in q.iter().enumerate() {
            let mut rest = s.mul(s.load(q), inverse);
            for codes in &mut self.codes[..levels] {
                let code = s.round(rest);
                s.store_i8(code, &mut codes.as_flattened_mut().as_chunks_mut::<LANES>().0[i]);
                rest = s.mul(s.sub(rest, code), s.splat(FINER));
            }
        }
        let quads = group_channels(layout) / 4;
        for (codes, offsets) in self.codes.iter().zip(&mut self.offsets).take(levels) {
            for (codes, offset) in codes[..layout.channels / 4].chunks(quads).zip(offsets) {
                *offset = -OFFSET * codes.as_flattened().iter().map(|x| i32::from(*x)).sum::<i32>();
            }
        }
    }
}

/// Channels that share a scale, with the padding where they are all of the head.
fn group_channels(layout: &Layout) -> usize {
    let group = layout.storage.channels_per_scale(layout.head_dim);
    if group >= layout.head_dim { layout.channels } else { group }
}

/// The sum of levels, in units of the first.
#[inline(always)]
fn levels_sum<S: Simd, const L: usize>(s: S, sums: [S::V; L]) -> S::V {
    let mut sum = s.zero();
    for level in sums.into_iter().rev() {
        sum = s.fma(sum, s.splat(1.0 / FINER), level);
    }
    sum
}

/// `scores[query][token] = q . k`, unscaled.
#[inline(always)]
pub(super) fn scores<S: Simd, const L: usize>(
    s: S,
    layout: &Layout,
    parts: Parts<'_>,
    queries: &[ByteQuery],
    scores: &mut [Scores],
) {
    let group_quads = group_channels(layout) / 4;
    let k = cast::<u8, [u8; 4 * LANES]>(parts.k);
    for (half, k) in k.chunks_exact(layout.channels / 4).enumerate() {
        for (query, scores) in queries.iter().zip(scores.iter_mut()) {
            let mut all = s.zero();
            // Channels of the padding are zero in the query: groups of nothing else are left out.
            for (g, k) in k.chunks(group_quads).enumerate().take(layout.groups) {
                let codes: [&[[i8; 4]]; L] =
                    std::array::from_fn(|l| &query.codes[l][g * group_quads..][..k.len()]);
                let sum = levels_sum(s, products(s, k, codes, query.offsets.map(|o| o[g])));
                let scales: &[f16; LANES] = &parts.k_scales[g].as_chunks().0[half];
                all = s.fma(sum, s.load_f16(scales), all);
            }
            s.store(s.mul(all, s.splat(query.unit)), &mut scores[half]);
        }
    }
}

/// Each level's sums over `[quad][16][4]` codes, without their offset.
#[inline(always)]
fn products<S: Simd, const L: usize>(
    s: S,
    codes: &[[u8; 4 * LANES]],
    x: [&[[i8; 4]]; L],
    offsets: [i32; LEVELS],
) -> [S::V; L] {
    let mut even = each!([s.int_splat(0); L], l => s.int_splat(offsets[l]));
    let mut odd = [s.int_splat(0); L];
    for (i, [a, b]) in codes.as_chunks::<2>().0.iter().enumerate() {
        for l in 0..L {
            even[l] = s.dot_bytes(even[l], a, x[l][2 * i]);
            odd[l] = s.dot_bytes(odd[l], b, x[l][2 * i + 1]);
        }
    }
    // At most 256 x 255 x 127 each: exact in f32.
    each!([s.zero(); L], l => s.add(s.int_to_float(even[l]), s.int_to_float(odd[l])))
}

/// `y[query] += weights[query] . v`.
#[inline(always)]
pub(super) fn add_values<S: Simd, const L: usize>(
    s: S,
    layout: &Layout,
    parts: Parts<'_>,
    weights: &[Scores],
    y: &mut [[f32; WIDEST]],
) {
    let across = layout.channels / LANES;
    let columns = group_channels(layout) / LANES;
    let v = cast::<u8, [u8; 4 * LANES]>(parts.v);
    for (weights, y) in weights.iter().zip(y) {
        for (g, y) in y[..layout.channels].chunks_mut(columns * LANES).enumerate().take(layout.groups) {
            let factors = Factors::<L>::new(s, weights, &parts.v_scales[g]);
            if factors.unit == 0.0 {
                continue;
            }
            for (column, y) in y.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                let mut sums = each!([s.int_splat(0); L], l => s.int_splat(factors.offsets[l]));
                for quad in 0..BLOCK / 4 {
                    let v = &v[quad * across + g * columns + column];
                    for (sum, codes) in sums.iter_mut().zip(&factors.codes) {
                        *sum = s.dot_bytes(*sum, v, codes[quad]);
                    }
                }
                let sums = each!([s.zero(); L], l => s.int_to_float(sums[l]));
                s.store(s.fma(levels_sum(s, sums), s.splat(factors.unit), s.load(y)), y);
            }
        }
    }
}

/// Weights x scales of a block's tokens as codes of levels.
struct Factors<const L: usize> {
    codes: [[[i8; 4]; BLOCK / 4]; L],
    /// What takes the offset of the codes that they multiply off again.
    offsets: [i32; L],
    unit: f32,
}

impl<const L: usize> Factors<L> {
    #[inline(always)]
    fn new<S: Simd>(s: S, weights: &Scores, scales: &[f16; BLOCK]) -> Self {
        let scales = scales.as_chunks::<LANES>().0;
        let mut rest =
            each!([s.zero(); HALVES], half => s.mul(s.load(&weights[half]), s.load_f16(&scales[half])));
        // Weights and scales are not negative.
        let largest = s.largest(s.max(rest[0], rest[1]));
        let mut codes = [[[0; 4]; BLOCK / 4]; L];
        // Below that, 127 / largest is infinite; such weights are of tokens that add nothing.
        let unit = if largest > 1e-36 { largest / 127.0 } else { 0.0 };
        // A scale that is not a number shows in the result; codes could not hold it.
        let sum = s.sum(s.add(rest[0], rest[1]));
        let unit = if sum.is_nan() { sum } else { unit };
        let mut offsets = [0; L];
        if unit > 0.0 {
            let inverse = s.splat(127.0 / largest);
            rest = each!([s.zero(); HALVES], half => s.mul(rest[half], inverse));
            for (codes, offset) in codes.iter_mut().zip(&mut offsets) {
                let code = each!([s.zero(); HALVES], half => s.round(rest[half]));
                for (code, to) in code.iter().zip(codes.as_flattened_mut().as_chunks_mut::<LANES>().0) {
                    s.store_i8(*code, to);
                }
                *offset = -OFFSET * s.sum(s.add(code[0], code[1])) as i32;
                rest =
                    each!([s.zero(); HALVES], half => s.mul(s.sub(rest[half], code[half]), s.splat(FINER)));
            }
        }
        Self { codes, offsets, unit }
    }
}
