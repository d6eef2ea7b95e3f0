//! Up to 16 queries with their running softmax.

use super::HALVES;
use super::block::{Products, add_values, scores};
use super::bytes::ByteQuery;
use crate::backend::cpu::cache::{BLOCK, Blocks, WIDEST};
use crate::backend::cpu::simd::{Element, Kernel, LANES, Simd};
use half::bf16;
use std::ops::Range;

/// The most queries of a task.
pub(super) const MOST: usize = 16;

/// By how much a score may exceed the one that weights are relative to: weights up to e^8 are as precise as those up to
/// 1, and sums are seldom scaled anew, which costs a branch that cannot be predicted.
pub(super) const SLACK: f32 = 8.0;

/// Scores, then weights, of a block's tokens.
pub(super) type Scores = [[f32; LANES]; HALVES];

/// Queries of one K/V head.
pub(super) struct Queries<const N: usize> {
    pub(super) count: usize,
    scale: f32,
    pub(super) q: [[f32; WIDEST]; N],
    pub(super) q_pairs: [[[bf16; 2]; WIDEST / 2]; N],
    /// Filled in where K's codes are multiplied as they are.
    pub(super) q_bytes: [ByteQuery; N],
    largest: [f32; N],
    sum: [f32; N],
    pub(super) y: [[f32; WIDEST]; N],
}

impl<const N: usize> Queries<N> {
    /// Room for `count` queries of heads of `head_dim`.
    pub(super) fn new(count: usize, head_dim: usize) -> Self {
        debug_assert!(count <= N);
        Self {
            count,
            scale: 1.0 / (head_dim as f32).sqrt(),
            q: [[0.0; WIDEST]; N],
            q_pairs: [[[bf16::ZERO; 2]; WIDEST / 2]; N],
            q_bytes: [ByteQuery::ZERO; N],
            largest: [f32::NEG_INFINITY; N],
            sum: [0.0; N],
            y: [[0.0; WIDEST]; N],
        }
    }

    /// Takes a query.
    pub(super) fn set<T: Element>(&mut self, query: usize, x: &[T]) {
        let (wide, pairs) = (&mut self.q[query], self.q_pairs[query].as_flattened_mut());
        for ((wide, narrow), x) in wide.iter_mut().zip(pairs).zip(x) {
            (*wide, *narrow) = (x.to_f32(), x.to_bf16());
        }
    }

    /// A query's result, with padding.
    pub(super) fn result(&self, query: usize) -> &[f32] {
        &self.y[query]
    }

    /// Turns a query's scores into weights, relative to a score that none so far exceeds by more than [`SLACK`].
    #[inline(always)]
    fn weigh<S: Simd>(
        &mut self,
        s: S,
        query: usize,
        scores: &mut Scores,
        visible: Range<usize>,
        width: usize,
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
        let (a, b) = (s.mul(s.load(&scores[0]), scale), s.mul(s.load(&scores[1]), scale));
        let largest = s.largest(s.max(a, b));
        if largest > self.largest[query] + SLACK {
            let factor = (self.largest[query] - largest).exp();
            self.largest[query] = largest;
            self.sum[query] *= factor;
            let factor = s.splat(factor);
            for y in self.y[query][..width].as_chunks_mut().0 {
                s.store(s.mul(s.load(y), factor), y);
            }
        }
        let largest = s.splat(self.largest[query]);
        let (a, b) = (s.exp(s.sub(a, largest)), s.exp(s.sub(b, largest)));
        self.sum[query] += s.sum(s.add(a, b));
        s.store(a, &mut scores[0]);
        s.store(b, &mut scores[1]);
    }
}

/// Which tokens the queries see.
#[derive(Clone, Copy)]
pub(super) struct Visible {
    /// The position of the first row.
    pub(super) first: usize,
    /// Queries of a row.
    pub(super) together: usize,
    pub(super) window: Option<usize>,
}

impl Visible {
    /// Positions that the queries of a row see.
    pub(super) fn of_row(&self, row: usize) -> Range<usize> {
        let end = self.first + row + 1;
        self.window.map_or(0, |w| end.saturating_sub(w))..end
    }

    /// Tokens of a block that a query sees.
    fn in_block(&self, query: usize, block: usize) -> Range<usize> {
        let visible = self.of_row(query / self.together);
        let inside = |position: usize| position.saturating_sub(block * BLOCK).min(BLOCK);
        inside(visible.start)..inside(visible.end)
    }
}

/// Takes blocks in and finishes the results.
pub(super) struct Take<'a, const N: usize, const ROOM: usize> {
    pub(super) queries: &'a mut Queries<N>,
    pub(super) products: Products<ROOM>,
    pub(super) blocks: Blocks<'a>,
    pub(super) head: usize,
    /// Blocks that some query sees.
    pub(super) seen: Range<usize>,
    pub(super) visible: Visible,
}

impl<const N: usize, const ROOM: usize> Kernel for Take<'_, N, ROOM> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let queries = self.queries;
        let count = queries.count;
        let width = self.blocks.layout.channels;
        let mut products = self.products;
        products.prepare(s, queries);
        let mut all: [Scores; N] = [[[0.0; LANES]; HALVES]; N];
        for block in self.seen {
            let parts = self.blocks.block(self.head, block);
            scores(s, &mut products, parts, queries, &mut all);
            for (query, scores) in all.iter_mut().enumerate().take(count) {
                queries.weigh(s, query, scores, self.visible.in_block(query, block), width);
            }
            add_values(s, &mut products, parts, &all[..count], &mut queries.y);
        }
        for (y, sum) in queries.y.iter_mut().zip(queries.sum).take(count) {
            let inverse = s.splat(1.0 / sum);
            for y in y[..width].as_chunks_mut().0 {
                s.store(s.mul(s.load(y), inverse), y);
            }
        }
    }
}
