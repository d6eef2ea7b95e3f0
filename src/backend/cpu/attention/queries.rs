//! Up to 16 queries with their running softmax.

use super::{Attention, HALVES, block};
use crate::backend::cpu::cache::{BLOCK, Layout, Parts};
use crate::backend::cpu::simd::{Element, LANES, Simd, Tile};
use std::ops::Range;

/// The most queries of a task.
pub(super) const MOST: usize = 16;

/// Scores, then weights, of a block's tokens for each query.
pub(super) type Scores = [[[f32; LANES]; HALVES]; MOST];

pub(super) struct Queries<const D: usize> {
    count: usize,
    /// Queries of one row: heads.
    per_row: usize,
    scale: f32,
    q: [[f32; D]; MOST],
    largest: [f32; MOST],
    sum: [f32; MOST],
    y: [[f32; D]; MOST],
}

impl<const D: usize> Queries<D> {
    /// The queries of a tile: rows by heads.
    #[inline(always)]
    pub(super) fn new<T: Element>(attention: &Attention<'_, T>, tile: &Tile<'_, T>, heads: usize) -> Self {
        let head_dim = attention.spec.head_dim;
        let mut q = [[0f32; D]; MOST];
        for (i, q) in q.iter_mut().enumerate().take(tile.rows * heads) {
            let at = (tile.row + i / heads) * attention.q_stride + tile.column + i % heads * head_dim;
            for (q, x) in q.iter_mut().zip(&attention.q[at..at + head_dim]) {
                *q = x.to_f32();
            }
        }
        Self {
            count: tile.rows * heads,
            per_row: heads,
            scale: 1.0 / (head_dim as f32).sqrt(),
            q,
            largest: [f32::NEG_INFINITY; MOST],
            sum: [0.0; MOST],
            y: [[0.0; D]; MOST],
        }
    }

    /// Takes a block in, of which each row sees the tokens that `visible` says.
    #[inline(always)]
    pub(super) fn take<S: Simd, T: Element>(
        &mut self,
        s: S,
        layout: Layout,
        parts: Parts<'_>,
        visible: impl Fn(usize) -> Range<usize>,
    ) {
        let mut scores: Scores = [[[0.0; LANES]; HALVES]; MOST];
        block::scores::<S, T, D>(s, layout, parts, &self.q[..self.count], &mut scores);
        for query in 0..self.count {
            self.weigh(s, query, &mut scores[query], visible(query / self.per_row));
        }
        block::add_values::<S, T, D>(s, layout, parts, &mut scores[..self.count], &mut self.y);
    }

    /// Turns a query's scores into weights, relative to the largest score so far.
    #[inline(always)]
    fn weigh<S: Simd>(
        &mut self,
        s: S,
        query: usize,
        scores: &mut [[f32; LANES]; HALVES],
        visible: Range<usize>,
    ) {
        if visible.is_empty() {
            *scores = [[0.0; LANES]; HALVES];
            return;
        }
        if visible.len() < BLOCK {
            let flat = scores.as_flattened_mut();
            flat[..visible.start].fill(f32::NEG_INFINITY);
            flat[visible.end..].fill(f32::NEG_INFINITY);
        }
        let scale = s.splat(self.scale);
        let vectors = scores.map(|x| s.mul(s.load(&x), scale));
        let block = vectors[1..].iter().fold(vectors[0], |m, x| s.max(m, *x));
        let largest = s.largest(block).max(self.largest[query]);
        if largest > self.largest[query] {
            let factor = (self.largest[query] - largest).exp();
            self.largest[query] = largest;
            self.sum[query] *= factor;
            let factor = s.splat(factor);
            for y in self.y[query].as_chunks_mut().0 {
                s.store(s.mul(s.load(y), factor), y);
            }
        }
        let mut sum = s.zero();
        for (x, to) in vectors.into_iter().zip(scores) {
            let weight = s.exp(s.sub(x, s.splat(largest)));
            sum = s.add(sum, weight);
            s.store(weight, to);
        }
        self.sum[query] += s.sum(sum);
    }

    /// Writes the results.
    #[inline(always)]
    pub(super) fn finish<S: Simd, T: Element>(
        &mut self,
        s: S,
        head_dim: usize,
        tile: &mut Tile<'_, T>,
        heads: usize,
    ) {
        for (i, y) in self.y.iter_mut().enumerate().take(self.count) {
            let inverse = s.splat(1.0 / self.sum[i]);
            let to = &mut tile.row_mut(i / heads)[i % heads * head_dim..][..head_dim];
            let (whole, rest) = to.as_chunks_mut::<LANES>();
            for (y, to) in y.as_chunks_mut().0.iter_mut().zip(whole.iter_mut()) {
                T::narrow(s, s.mul(s.load(y), inverse), to);
            }
            let done = whole.len() * LANES;
            for (to, y) in rest.iter_mut().zip(&y[done..]) {
                *to = T::from_f32(y / self.sum[i]);
            }
        }
    }
}
