//! A block's products: scores of queries with K, and sums of V by weights; of bfloat16 pairs where K, V and
//! activations are stored so, of f32 otherwise, widened first where they are stored as something else.

use super::queries::{MOST, Queries, Scores};
use super::{HALVES, widen};
use crate::backend::cpu::cache::{BLOCK, Layout, Parts, WIDEST};
use crate::backend::cpu::simd::{LANES, Simd, cast};
use crate::llm::KvElement;
use half::bf16;

/// Queries whose scores are accumulated side by side.
const SIDE: usize = 8;

/// How a layout's products are computed, and room to widen a block.
pub(super) struct Products {
    layout: Layout,
    how: How,
    wide: [f32; BLOCK * WIDEST],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Pairs,
    F32,
    Widened,
}

impl Products {
    pub(super) fn new(layout: Layout, pairs: bool) -> Self {
        let how = match layout.storage.element {
            KvElement::Bf16 if pairs => How::Pairs,
            KvElement::F32 => How::F32,
            _ => How::Widened,
        };
        Self { layout, how, wide: [0.0; BLOCK * WIDEST] }
    }
}

/// `scores[query][token] = q . k`, unscaled.
#[inline(always)]
pub(super) fn scores<S: Simd>(
    s: S,
    products: &mut Products,
    parts: Parts<'_>,
    queries: &Queries,
    scores: &mut [Scores; MOST],
) {
    let channels = products.layout.channels;
    if products.how == How::Pairs {
        pair_scores(s, cast(parts.k), channels, &queries.q_pairs[..queries.count], scores);
        return;
    }
    let k = if products.how == How::F32 {
        cast::<u8, f32>(parts.k)
    } else {
        widen::k(s, &products.layout, parts, &mut products.wide);
        &products.wide[..BLOCK * channels]
    };
    let k = k.as_chunks::<LANES>().0;
    for (half, k) in k.chunks_exact(channels).enumerate() {
        if queries.count == 1 {
            single_scores(s, k, &queries.q[0], &mut scores[0][half]);
        } else {
            half_scores(s, k, &queries.q[..queries.count], scores, half);
        }
    }
}

/// Scores of 16 tokens with one query: chains side by side, or each product would wait for the last.
#[inline(always)]
fn single_scores<S: Simd>(s: S, k: &[[f32; LANES]], q: &[f32], scores: &mut [f32; LANES]) {
    let mut sums = [s.zero(); 4];
    for (k, q) in k.as_chunks::<4>().0.iter().zip(q.as_chunks::<4>().0) {
        for i in 0..4 {
            sums[i] = s.fma(s.load(&k[i]), s.splat(q[i]), sums[i]);
        }
    }
    s.store(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])), scores);
}

/// Scores of 16 tokens, whose K is `[channel][16]`.
#[inline(always)]
fn half_scores<S: Simd>(
    s: S,
    k: &[[f32; LANES]],
    q: &[[f32; WIDEST]],
    scores: &mut [Scores; MOST],
    half: usize,
) {
    for first in (0..q.len()).step_by(SIDE) {
        // Queries beyond the last are read again as the last: their scores are not kept.
        let q: [&[f32; WIDEST]; SIDE] = std::array::from_fn(|i| &q[(first + i).min(q.len() - 1)]);
        let mut sums = [s.zero(); SIDE];
        for (channel, k) in k.iter().enumerate() {
            let k = s.load(k);
            for i in 0..SIDE {
                sums[i] = s.fma(k, s.splat(q[i][channel]), sums[i]);
            }
        }
        for (sum, scores) in sums.into_iter().zip(&mut scores[first..]) {
            s.store(sum, &mut scores[half]);
        }
    }
}

/// Scores from pairs of channels.
#[inline(always)]
fn pair_scores<S: Simd>(
    s: S,
    k: &[[bf16; 2 * LANES]],
    channels: usize,
    q: &[[[bf16; 2]; WIDEST / 2]],
    scores: &mut [Scores; MOST],
) {
    for (half, k) in k.chunks_exact(channels / 2).enumerate() {
        for (q, scores) in q.iter().zip(scores.iter_mut()) {
            let mut sums = [s.zero(); 4];
            for (k, q) in k.as_chunks::<4>().0.iter().zip(q.as_chunks::<4>().0) {
                for i in 0..4 {
                    sums[i] = s.dot_pairs(sums[i], &k[i], q[i]);
                }
            }
            s.store(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])), &mut scores[half]);
        }
    }
}

/// `y[query] += weights[query] . v`.
#[inline(always)]
pub(super) fn add_values<S: Simd>(
    s: S,
    products: &mut Products,
    parts: Parts<'_>,
    weights: &[Scores],
    y: &mut [[f32; WIDEST]; MOST],
) {
    let channels = products.layout.channels;
    if products.how == How::Pairs {
        pair_values(s, cast(parts.v), channels / LANES, weights, y);
        return;
    }
    let v = if products.how == How::F32 {
        cast::<u8, f32>(parts.v)
    } else {
        widen::v(s, &products.layout, parts, &mut products.wide);
        &products.wide[..BLOCK * channels]
    };
    plain_values(s, v.as_chunks().0, channels / LANES, weights, y);
}

/// V as `[token][channel]`, `across` vectors wide.
#[inline(always)]
fn plain_values<S: Simd>(
    s: S,
    v: &[[f32; LANES]],
    across: usize,
    weights: &[Scores],
    y: &mut [[f32; WIDEST]; MOST],
) {
    for (weights, y) in weights.iter().zip(y) {
        let weights = weights.as_flattened();
        for (column, y) in y.as_chunks_mut().0.iter_mut().enumerate().take(across) {
            let mut sums = [s.zero(); 4];
            for (quad, weights) in weights.as_chunks::<4>().0.iter().enumerate() {
                for i in 0..4 {
                    let v = s.load(&v[(4 * quad + i) * across + column]);
                    sums[i] = s.fma(v, s.splat(weights[i]), sums[i]);
                }
            }
            let sum = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
            s.store(s.add(s.load(y), sum), y);
        }
    }
}

/// V as pairs of tokens, `across` vectors wide.
#[inline(always)]
fn pair_values<S: Simd>(
    s: S,
    v: &[[bf16; 2 * LANES]],
    across: usize,
    weights: &[Scores],
    y: &mut [[f32; WIDEST]; MOST],
) {
    for (weights, y) in weights.iter().zip(y) {
        let mut narrow = [[bf16::ZERO; LANES]; HALVES];
        for (to, weights) in narrow.iter_mut().zip(weights) {
            s.store_bf16(s.load(weights), to);
        }
        let weights = narrow.as_flattened().as_chunks::<2>().0.as_chunks::<4>().0;
        for (column, y) in y.as_chunks_mut().0.iter_mut().enumerate().take(across) {
            let mut sums = [s.zero(); 4];
            for (quad, weights) in weights.iter().enumerate() {
                for i in 0..4 {
                    sums[i] = s.dot_pairs(sums[i], &v[(4 * quad + i) * across + column], weights[i]);
                }
            }
            let sum = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
            s.store(s.add(s.load(y), sum), y);
        }
    }
}
