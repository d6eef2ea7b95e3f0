//! Causal attention over a cache's blocks, with a running softmax: no score leaves the core that computed it.
//!
//! A task is one K/V head of one sequence with up to 16 queries: some rows of the step, and the query heads that share
//! the K/V head. It goes over the blocks that any of its queries sees, and keeps for each query about the largest
//! score so far, the sum of the exponentials, and the weighted sum of V (Milakov and Gimelshein 2018; Dao et al. 2022).

#[cfg(target_arch = "x86_64")]
mod bands;
mod block;
mod bytes;
mod queries;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod widen;

use super::cache::{BLOCK, Blocks, WIDEST};
use super::rows::Convert;
use super::simd::{Element, Grid, Isa, LANES, Pool, Tile, dispatch};
use crate::backend::AttentionSpec;
use crate::llm::StepShape;
use block::Products;
use queries::{MOST, Queries, Take, Visible};

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
        #[cfg(target_arch = "x86_64")]
        if bands::fit::<T>(isa, &self.blocks.layout) && self.step.new_tokens * together >= bands::FEWEST {
            return self.run_bands(isa, pool, together, to, stride);
        }
        let grid = Grid {
            rows: self.step.batch * self.step.new_tokens,
            group: self.step.new_tokens,
            tile_rows: (MOST / together).clamp(1, self.step.new_tokens),
            columns: heads * head_dim,
            tile_columns: together * head_dim,
            stride,
        };
        pool.tiles(to, grid, |mut tile| self.attend(isa, together, &mut tile));
    }

    /// Tasks of up to [`bands::BANDS`] bands, where that leaves tasks for all threads.
    #[cfg(target_arch = "x86_64")]
    fn run_bands(&self, isa: Isa, pool: &mut Pool, together: usize, to: &mut [T], stride: usize) {
        let AttentionSpec { heads, head_dim, .. } = self.spec;
        let StepShape { batch, new_tokens, .. } = self.step;
        let rows = bands::BAND / together;
        let all = batch * new_tokens.div_ceil(rows) * (heads / together);
        // Causal tasks differ in length, so that a thread should have several.
        let bands = (all / (6 * pool.threads())).clamp(1, bands::BANDS);
        let grid = Grid {
            rows: batch * new_tokens,
            group: new_tokens,
            tile_rows: (bands * rows).min(new_tokens),
            columns: heads * head_dim,
            tile_columns: together * head_dim,
            stride,
        };
        pool.tiles(to, grid, |mut tile| match T::PIECES {
            1 => self.attend_pieces::<1>(isa, together, &mut tile),
            _ => self.attend_pieces::<2>(isa, together, &mut tile),
        });
    }

    /// A task in `P` pieces, with no more room than it needs, as room is cleared for every task.
    #[cfg(target_arch = "x86_64")]
    fn attend_pieces<const P: usize>(&self, isa: Isa, together: usize, tile: &mut Tile<'_, T>) {
        use bands::{NARROW, TOKENS, WIDE};
        let layout = self.blocks.layout;
        match (layout.channels, layout.storage.element == crate::llm::KvElement::Bf16) {
            (..=NARROW, true) => self.attend_bands::<NARROW, 0, P>(isa, together, tile),
            (..=NARROW, false) => self.attend_bands::<NARROW, { TOKENS * NARROW }, P>(isa, together, tile),
            (_, true) => self.attend_bands::<WIDE, 0, P>(isa, together, tile),
            (_, false) => self.attend_bands::<WIDE, { TOKENS * WIDE }, P>(isa, together, tile),
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn attend_bands<const W: usize, const ROOM: usize, const P: usize>(
        &self,
        isa: Isa,
        together: usize,
        tile: &mut Tile<'_, T>,
    ) {
        let Self { spec, blocks, .. } = self;
        let head_dim = spec.head_dim;
        let (visible, head) = self.place(together, tile);
        let per_band = bands::BAND / together;
        let mut room = [const { bands::Band::<W, P>::EMPTY }; bands::BANDS];
        let count = tile.rows.div_ceil(per_band);
        for i in 0..tile.rows * together {
            let at = (tile.row + i / together) * self.q_stride + tile.column + i % together * head_dim;
            let band = &mut room[i / together / per_band];
            dispatch(isa, bands::Push { band, x: &self.q[at..at + head_dim] });
        }
        let seen = visible.of_row(0).start..visible.first + tile.rows;
        let take = bands::Take::<W, ROOM, P> {
            context: bands::Context { blocks: *blocks, head, visible, scale: 1.0 / (head_dim as f32).sqrt() },
            bands: &mut room[..count],
            seen: seen.start / BLOCK..seen.end.div_ceil(BLOCK),
        };
        dispatch(isa, take);
        for i in 0..tile.rows * together {
            let row = i / together;
            let y = room[row / per_band].result(row % per_band * together + i % together);
            write(isa, y, &mut tile.row_mut(row)[i % together * head_dim..][..head_dim]);
        }
    }

    /// What the queries of a tile see, and which of the cache's heads they belong to.
    fn place(&self, together: usize, tile: &Tile<'_, T>) -> (Visible, usize) {
        let Self { step, spec, .. } = self;
        let first = step.context - step.new_tokens + tile.row % step.new_tokens;
        let kv_head = tile.column / spec.head_dim / (spec.heads / spec.kv_heads);
        let head = tile.row / step.new_tokens * spec.kv_heads + kv_head;
        (Visible { first, together, window: spec.window }, head)
    }

    /// A task, with room for no more queries and widened values than it has: room is cleared for every task.
    fn attend(&self, isa: Isa, together: usize, tile: &mut Tile<'_, T>) {
        let queries = tile.rows * together;
        match (queries, Products::<0>::widens::<T>(&self.blocks.layout, isa, queries)) {
            (1, false) => self.attend_in::<1, 0>(isa, together, tile),
            (1, true) => self.attend_in::<1, { BLOCK * WIDEST }>(isa, together, tile),
            (_, false) => self.attend_in::<MOST, 0>(isa, together, tile),
            (_, true) => self.attend_in::<MOST, { BLOCK * WIDEST }>(isa, together, tile),
        }
    }

    fn attend_in<const N: usize, const ROOM: usize>(
        &self,
        isa: Isa,
        together: usize,
        tile: &mut Tile<'_, T>,
    ) {
        let Self { spec, blocks, .. } = self;
        let (visible, head) = self.place(together, tile);
        let count = tile.rows * together;
        let mut queries = Queries::<N>::new(count, spec.head_dim);
        for i in 0..count {
            let at = (tile.row + i / together) * self.q_stride + tile.column + i % together * spec.head_dim;
            queries.set(i, &self.q[at..at + spec.head_dim]);
        }
        let seen = visible.of_row(0).start..visible.first + tile.rows;
        let take = Take {
            queries: &mut queries,
            products: Products::<ROOM>::new::<T>(blocks.layout, isa, count).with_tiles(isa, count),
            blocks: *blocks,
            head,
            seen: seen.start / BLOCK..seen.end.div_ceil(BLOCK),
            visible,
        };
        dispatch(isa, take);
        for i in 0..count {
            let to = &mut tile.row_mut(i / together)[i % together * spec.head_dim..][..spec.head_dim];
            write(isa, queries.result(i), to);
        }
    }
}

/// Writes a query's result.
fn write<T: Element>(isa: Isa, y: &[f32], to: &mut [T]) {
    let whole = to.len() / LANES * LANES;
    dispatch(isa, Convert { x: &y[..whole], to: &mut to[..whole] });
    for (to, y) in to.iter_mut().zip(y).skip(whole) {
        *to = T::from_f32(*y);
    }
}

/// Vectors of a block's tokens.
const HALVES: usize = BLOCK / LANES;
