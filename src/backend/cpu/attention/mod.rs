//! Causal attention over a cache's blocks, with a running softmax: no score leaves the core that computed it.
//!
//! A task is one K/V head of one sequence with up to 16 queries: some rows of the step, and the query heads that share
//! the K/V head. It goes over the blocks that any of its queries sees, and keeps for each query the largest score so
//! far, the sum of the exponentials, and the weighted sum of V (Milakov and Gimelshein 2018; Dao et al. 2022).

mod block;
mod queries;

use super::cache::{BLOCK, Blocks};
use super::simd::{Element, Grid, Isa, Kernel, LANES, Pool, Simd, Tile, dispatch};
use crate::backend::AttentionSpec;
use crate::llm::StepShape;
use queries::{MOST, Queries};

/// What attention reads, and the rows it belongs to.
pub(super) struct Attention<'a, T> {
    pub(super) step: StepShape,
    pub(super) spec: AttentionSpec,
    /// Rows whose first columns are Q.
    pub(super) q: &'a [T],
    pub(super) q_stride: usize,
    pub(super) blocks: Blocks<'a>,
}

impl<T: Element> Attention<'_, T> {
    /// Writes the result for all rows and heads; columns beyond the heads' are left alone.
    pub(super) fn run(&self, isa: Isa, pool: &mut Pool, to: &mut [T], stride: usize) {
        let AttentionSpec { heads, kv_heads, head_dim, .. } = self.spec;
        let shared = heads / kv_heads;
        // More than 16 query heads to a K/V head are taken in parts.
        let together = (1..=shared.min(MOST)).rev().find(|n| shared.is_multiple_of(*n)).unwrap_or(1);
        let grid = Grid {
            rows: self.step.batch * self.step.new_tokens,
            group: self.step.new_tokens,
            tile_rows: (MOST / together).clamp(1, self.step.new_tokens),
            columns: heads * head_dim,
            tile_columns: together * head_dim,
            stride,
        };
        pool.tiles(to, grid, |tile| dispatch(isa, Task { attention: self, together, tile }));
    }

    /// The positions that the query at `position` sees.
    fn visible(&self, position: usize) -> std::ops::Range<usize> {
        let oldest = self.spec.window.map_or(0, |w| (position + 1).saturating_sub(w));
        oldest..position + 1
    }
}

struct Task<'a, 'b, T> {
    attention: &'a Attention<'a, T>,
    /// Query heads of a tile.
    together: usize,
    tile: Tile<'b, T>,
}

impl<T: Element> Kernel for Task<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Arrays as wide as the head asks for: clearing the widest for every task would take longer than a short one.
        match self.attention.blocks.layout.channels {
            ..=64 => self.attend::<S, 64>(s),
            65..=128 => self.attend::<S, 128>(s),
            _ => self.attend::<S, 256>(s),
        }
    }
}

impl<T: Element> Task<'_, '_, T> {
    #[inline(always)]
    fn attend<S: Simd, const D: usize>(mut self, s: S) {
        let Attention { step, spec, blocks, .. } = self.attention;
        let first = step.context - step.new_tokens + self.tile.row % step.new_tokens;
        let positions = first..first + self.tile.rows;
        let head = self.tile.column / spec.head_dim / (spec.heads / spec.kv_heads);
        let head = self.tile.row / step.new_tokens * spec.kv_heads + head;
        let mut queries = Queries::<D>::new(self.attention, &self.tile, self.together);
        let seen = self.attention.visible(positions.start).start..positions.end;
        for block in seen.start / BLOCK..seen.end.div_ceil(BLOCK) {
            let parts = blocks.block(head, block);
            queries.take::<S, T>(s, blocks.layout, parts, |row| {
                let visible = self.attention.visible(first + row);
                let from = visible.start.saturating_sub(block * BLOCK).min(BLOCK);
                from..visible.end.saturating_sub(block * BLOCK).min(BLOCK)
            });
        }
        queries.finish::<S, T>(s, spec.head_dim, &mut self.tile, self.together);
    }
}

/// Vectors of a block's tokens.
const HALVES: usize = BLOCK / LANES;
