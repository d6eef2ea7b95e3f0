//! A block's products: scores of queries with K, and sums of V by weights; of bfloat16 pairs where K, V and
//! activations are stored so, of bytes where they are 8-bit codes, of f32 otherwise, widened first where they are stored as
//! something else.

use super::queries::{Queries, Scores};
#[cfg(target_arch = "x86_64")]
use super::tiles;
use super::{HALVES, bytes, widen};
use crate::backend::cpu::cache::{BLOCK, Layout, Parts, WIDEST};
use crate::backend::cpu::simd::{Element, Isa, LANES, Shape, Simd, cast, each};
#[cfg(target_arch = "x86_64")]
use crate::backend::cpu::simd::{MatrixUnit, amx};
use crate::llm::KvElement;
use half::bf16;

/// How a layout's products are computed, and room to widen a block.
pub(super) struct Products<const ROOM: usize> {
    layout: Layout,
    how: How,
    wide: [f32; ROOM],
    #[cfg(target_arch = "x86_64")]
    tiles: Option<amx::Tiles>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Pairs,
    F32,
    /// Codes as they are, with factors of so many levels.
    Bytes(usize),
    Widened,
}

impl How {
    /// For so many queries of `T`. What one query reads once is multiplied as it is; what many share is widened once for all of
    /// them, unless there are instructions for it.
    fn new<T: Element>(layout: &Layout, isa: Isa, queries: usize) -> Self {
        match layout.storage.element {
            KvElement::Bf16 if T::IS_BF16 && (queries == 1 || isa.multiplies_pairs()) => Self::Pairs,
            KvElement::F32 => Self::F32,
            KvElement::Int8 if bytes::fits(layout) && (queries == 1 || isa.multiplies_bytes()) => {
                Self::Bytes(if size_of::<T>() < 4 { 2 } else { bytes::LEVELS })
            }
            _ => Self::Widened,
        }
    }
}

impl<const ROOM: usize> Products<ROOM> {
    /// Whether blocks are widened, so that there must be room for one.
    pub(super) fn widens<T: Element>(layout: &Layout, isa: Isa, queries: usize) -> bool {
        How::new::<T>(layout, isa, queries) == How::Widened
    }

    /// See [`How::new`].
    pub(super) fn new<T: Element>(layout: Layout, isa: Isa, queries: usize) -> Self {
        Self {
            layout,
            how: How::new::<T>(&layout, isa, queries),
            wide: [0.0; ROOM],
            #[cfg(target_arch = "x86_64")]
            tiles: None,
        }
    }

    /// Takes the matrix unit, where there is one and so many queries are worth it.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn with_tiles(mut self, isa: Isa, queries: usize) -> Self {
        if isa == Isa::Amx && self.how == How::Pairs && queries >= tiles::FEWEST && tiles::fits(&self.layout)
        {
            self.tiles = MatrixUnit::detect().map(MatrixUnit::tiles);
        }
        self
    }

    /// There is no matrix unit.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn with_tiles(self, _isa: Isa, _queries: usize) -> Self {
        self
    }

    /// Makes of the queries what products take.
    #[inline(always)]
    pub(super) fn prepare<S: Simd, const N: usize>(&self, s: S, queries: &mut Queries<N>) {
        let How::Bytes(levels) = self.how else { return };
        for (bytes, q) in queries.q_bytes.iter_mut().zip(&queries.q).take(queries.count) {
            bytes.set(s, &self.layout, q, levels);
        }
    }
}

/// `scores[query][token] = q . k`, unscaled.
#[inline(always)]
pub(super) fn scores<S: Simd, const N: usize, const ROOM: usize>(
    s: S,
    products: &mut Products<ROOM>,
    parts: Parts<'_>,
    queries: &Queries<N>,
    scores: &mut [Scores; N],
) {
    let (layout, count) = (&products.layout, queries.count);
    #[cfg(target_arch = "x86_64")]
    if let Some(tiles) = &products.tiles {
        return tiles::scores(tiles, layout, parts, queries, scores);
    }
    let channels = layout.channels;
    let k = match products.how {
        How::Pairs => return pair_scores(s, cast(parts.k), channels, &queries.q_pairs[..count], scores),
        How::Bytes(2) => return bytes::scores::<S, 2>(s, layout, parts, &queries.q_bytes[..count], scores),
        How::Bytes(_) => return bytes::scores::<S, 3>(s, layout, parts, &queries.q_bytes[..count], scores),
        How::F32 => cast::<u8, f32>(parts.k),
        How::Widened => {
            widen::k(s, layout, parts, &mut products.wide);
            &products.wide[..BLOCK * channels]
        }
    };
    let k = k.as_chunks::<LANES>().0;
    if N == 1 {
        for (k, scores) in k.chunks_exact(channels).zip(&mut scores[0]) {
            single_scores(s, k, &queries.q[0], scores);
        }
        return;
    }
    let q = &queries.q[..count];
    match S::SHAPE {
        Shape::Wide => block_scores::<S, 8, 2>(s, k, channels, q, scores),
        Shape::Narrow => block_scores::<S, 4, 1>(s, k, channels, q, scores),
        Shape::Plain => block_scores::<S, 2, 1>(s, k, channels, q, scores),
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

/// Scores of a block whose K is `[half][channel][16]`: blocks of `Q` queries by `H` halves in registers.
#[inline(always)]
fn block_scores<S: Simd, const Q: usize, const H: usize>(
    s: S,
    k: &[[f32; LANES]],
    channels: usize,
    q: &[[f32; WIDEST]],
    scores: &mut [Scores],
) {
    for first in (0..q.len()).step_by(Q) {
        // Queries beyond the last are read again as the last: their scores are not kept.
        let rows: [&[f32]; Q] = std::array::from_fn(|i| &q[(first + i).min(q.len() - 1)][..channels]);
        for half in (0..HALVES).step_by(H) {
            let k: [&[[f32; LANES]]; H] = std::array::from_fn(|h| &k[(half + h) * channels..][..channels]);
            let mut sums = [[s.zero(); H]; Q];
            for channel in 0..channels {
                let k = each!([s.zero(); H], h => s.load(&k[h][channel]));
                for i in 0..Q {
                    let q = s.splat(rows[i][channel]);
                    for h in 0..H {
                        sums[i][h] = s.fma(k[h], q, sums[i][h]);
                    }
                }
            }
            for (sums, scores) in sums.into_iter().zip(&mut scores[first..]) {
                for (sum, scores) in sums.into_iter().zip(&mut scores[half..]) {
                    s.store(sum, scores);
                }
            }
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
    scores: &mut [Scores],
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
pub(super) fn add_values<S: Simd, const ROOM: usize>(
    s: S,
    products: &mut Products<ROOM>,
    parts: Parts<'_>,
    weights: &[Scores],
    y: &mut [[f32; WIDEST]],
) {
    let layout = &products.layout;
    #[cfg(target_arch = "x86_64")]
    if let Some(tiles) = &products.tiles {
        return tiles::add_values(s, tiles, layout, parts, weights, y);
    }
    let channels = layout.channels;
    let v = match products.how {
        How::Pairs => return pair_values(s, cast(parts.v), channels / LANES, weights, y),
        How::Bytes(2) => return bytes::add_values::<S, 2>(s, layout, parts, weights, y),
        How::Bytes(_) => return bytes::add_values::<S, 3>(s, layout, parts, weights, y),
        How::F32 => cast::<u8, f32>(parts.v),
        How::Widened => {
            widen::v(s, layout, parts, &mut products.wide);
            &products.wide[..BLOCK * channels]
        }
    };
    let (v, across) = (v.as_chunks().0, channels / LANES);
    match (weights.len(), S::SHAPE) {
        (1, _) => plain_values(s, v, across, weights, y),
        (_, Shape::Wide) if across.is_multiple_of(4) => block_values::<S, 4, 4>(s, v, across, weights, y),
        (_, Shape::Wide) => block_values::<S, 8, 1>(s, v, across, weights, y),
        (_, Shape::Narrow) => block_values::<S, 4, 1>(s, v, across, weights, y),
        (_, Shape::Plain) => block_values::<S, 2, 1>(s, v, across, weights, y),
    }
}

/// V as `[token][channel]`, `across` vectors wide, query by query: chains side by side, or each product would wait for the
/// last.
#[inline(always)]
fn plain_values<S: Simd>(
    s: S,
    v: &[[f32; LANES]],
    across: usize,
    weights: &[Scores],
    y: &mut [[f32; WIDEST]],
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

/// V as `[token][channel]`, `across` vectors wide: blocks of `Q` queries by `C` vectors in registers.
#[inline(always)]
fn block_values<S: Simd, const Q: usize, const C: usize>(
    s: S,
    v: &[[f32; LANES]],
    across: usize,
    weights: &[Scores],
    y: &mut [[f32; WIDEST]],
) {
    for first in (0..weights.len()).step_by(Q) {
        // Queries beyond the last are read again as the last: their sums are not kept.
        let rows: [&Scores; Q] = std::array::from_fn(|i| &weights[(first + i).min(weights.len() - 1)]);
        for column in (0..across).step_by(C) {
            let mut sums = [[s.zero(); C]; Q];
            for token in 0..BLOCK {
                let v = &v[token * across + column..][..C];
                let v = each!([s.zero(); C], c => s.load(&v[c]));
                for i in 0..Q {
                    let weight = s.splat(rows[i][token / LANES][token % LANES]);
                    for c in 0..C {
                        sums[i][c] = s.fma(v[c], weight, sums[i][c]);
                    }
                }
            }
            for (sums, y) in sums.into_iter().zip(&mut y[first..weights.len()]) {
                for (sum, y) in sums.into_iter().zip(&mut y.as_chunks_mut().0[column..]) {
                    s.store(s.add(s.load(y), sum), y);
                }
            }
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
    y: &mut [[f32; WIDEST]],
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
