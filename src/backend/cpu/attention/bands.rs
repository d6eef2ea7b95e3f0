//! Many queries of one K/V head on a matrix unit: bands of 32 queries by up to 128 tokens at a time.
//!
//! For each band and 128 tokens: scores in tiles, a running softmax along rows of 128, weights rounded to bfloat16, and
//! sums of V in tiles. Up to four bands share what is read of K and V, and what INT8 codes are widened to: the codes
//! are integers that bfloat16 holds exactly, and their scales go into scores and weights, so that nothing is rounded
//! that a bfloat16 cache would not round too.
//!
//! In f16, queries, weights, K and V are sums of `P` bfloat16 pieces, as in products with weights (see
//! `linear/pieces.rs`), and the products of pieces whose ranks add up to less than `P` are summed.

use super::queries::{SLACK, Visible};
use crate::backend::cpu::cache::{BLOCK, Blocks, Layout, Parts};
use crate::backend::cpu::simd::amx::{self, Ahead, Columns, Rows, Sums, Tiles};
use crate::backend::cpu::simd::{Element, Isa, Kernel, LANES, MatrixUnit, Simd, cast, cast_mut};
use crate::llm::KvElement;
use half::{bf16, f16};
use std::ops::Range;

/// Queries of a band.
pub(super) const BAND: usize = 2 * amx::SIDE;
/// Fewer queries than that are not worth a band's 32 rows.
pub(super) const FEWEST: usize = 12;
/// The most bands of a task.
pub(super) const BANDS: usize = 4;
/// The most pieces: with the three of f32 the matrix unit has six products to make for each, and is no faster than the
/// vector units.
const MOST: usize = 2;
/// Blocks of a round.
const ROUND: usize = 4;
/// Tokens of a round.
pub(super) const TOKENS: usize = ROUND * BLOCK;
/// Vectors of a row of scores.
const VECTORS: usize = TOKENS / LANES;
/// The widest head.
pub(super) const WIDE: usize = 128;
/// Heads up to this width take half the room.
pub(super) const NARROW: usize = 64;

/// Whether the bands of a layout's heads can be computed, in activations of type `T`.
pub(super) fn fit<T: Element>(isa: Isa, layout: &Layout) -> bool {
    let stored = match layout.storage.element {
        KvElement::Bf16 => true,
        KvElement::F16 | KvElement::F32 => T::PIECES > 1,
        KvElement::Int8 => layout.groups == 1,
        _ => false,
    };
    isa == Isa::Amx
        && T::PIECES <= MOST
        && stored
        && layout.channels.is_multiple_of(2 * LANES)
        && layout.channels <= WIDE
}

/// Bytes that start on a cache line, as tiles are read in whole ones.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line<T>(T);

/// Queries of one K/V head and their running softmax, with room for heads of `W` channels.
pub(super) struct Band<const W: usize, const P: usize> {
    count: usize,
    /// `[piece][query][channel]`.
    q: [Line<[[bf16; W]; BAND]>; P],
    largest: [f32; BAND],
    sum: [f32; BAND],
    /// `[query][channel]`.
    y: Line<[[f32; W]; BAND]>,
}

impl<const W: usize, const P: usize> Band<W, P> {
    pub(super) const EMPTY: Self = Self {
        count: 0,
        q: [Line([[bf16::ZERO; W]; BAND]); P],
        largest: [f32::NEG_INFINITY; BAND],
        sum: [0.0; BAND],
        y: Line([[0.0; W]; BAND]),
    };

    /// Makes the weights of a query so far relative to `largest`.
    #[inline(always)]
    fn rescale<S: Simd>(&mut self, s: S, query: usize, largest: f32) {
        let factor = (self.largest[query] - largest).exp();
        self.largest[query] = largest;
        self.sum[query] *= factor;
        let factor = s.splat(factor);
        for y in self.y.0[query].as_chunks_mut().0 {
            s.store(s.mul(s.load(y), factor), y);
        }
    }

    /// The result of query `i`.
    pub(super) fn result(&self, i: usize) -> &[f32] {
        &self.y.0[i]
    }
}

/// Takes a query into a band.
pub(super) struct Push<'a, T, const W: usize, const P: usize> {
    pub(super) band: &'a mut Band<W, P>,
    pub(super) x: &'a [T],
}

impl<T: Element, const W: usize, const P: usize> Kernel for Push<'_, T, W, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Band { count, q, .. } = self.band;
        let (whole, last) = self.x.as_chunks::<LANES>();
        for (i, x) in whole.iter().enumerate() {
            let mut rest = T::widen(s, x);
            for q in &mut *q {
                let to = &mut q.0[*count].as_chunks_mut().0[i];
                s.store_bf16(rest, to);
                rest = s.sub(rest, s.load_bf16(to));
            }
        }
        for (i, x) in last.iter().enumerate() {
            let mut rest = x.to_f32();
            for q in &mut *q {
                let piece = bf16::from_f32(rest);
                q.0[*count][whole.len() * LANES + i] = piece;
                rest -= Element::to_f32(piece);
            }
        }
        *count += 1;
    }
}

/// What the bands of a task attend to.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) blocks: Blocks<'a>,
    pub(super) head: usize,
    pub(super) visible: Visible,
    /// What scores are multiplied by.
    pub(super) scale: f32,
}

/// A task: bands of consecutive queries of one K/V head.
pub(super) struct Take<'a, const W: usize, const ROOM: usize, const P: usize> {
    pub(super) context: Context<'a>,
    pub(super) bands: &'a mut [Band<W, P>],
    /// Blocks that some query sees.
    pub(super) seen: Range<usize>,
}

/// What a round works with; `ROOM` for a round of widened K, and as much for V.
struct Room<const ROOM: usize, const P: usize> {
    scores: Line<[[f32; TOKENS]; BAND]>,
    weights: [Line<[[bf16; TOKENS]; BAND]>; P],
    /// Pieces of K, then of V, of a round's blocks, where they are not used as they are stored.
    wide: [[Line<[bf16; ROOM]>; P]; 2],
    /// Scales of K, then of V, of a round's tokens, where they have any.
    scales: [[f16; TOKENS]; 2],
}

impl<const W: usize, const ROOM: usize, const P: usize> Kernel for Take<'_, W, ROOM, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { context, bands, seen } = self;
        let tiles = MatrixUnit::detect().expect("chosen only where there is a matrix unit").tiles();
        let mut room = Room::<ROOM, P> {
            scores: Line([[0.0; TOKENS]; BAND]),
            weights: [Line([[bf16::ZERO; TOKENS]; BAND]); P],
            wide: [[Line([bf16::ZERO; ROOM]); P]; 2],
            scales: [[f16::ZERO; TOKENS]; 2],
        };
        for first in seen.clone().step_by(ROUND) {
            let round = first..(first + ROUND).min(seen.end);
            match context.element() {
                KvElement::Int8 => context.widen(s, round.clone(), &mut room),
                KvElement::F16 => context.split::<S, f16, ROOM, P>(s, round.clone(), &mut room),
                KvElement::F32 => context.split::<S, f32, ROOM, P>(s, round.clone(), &mut room),
                _ => {}
            }
            for (index, band) in bands.iter_mut().enumerate() {
                context.round(s, &tiles, (index, band), &round, &mut room);
            }
        }
        for band in bands {
            for (y, sum) in band.y.0.iter_mut().zip(band.sum).take(band.count) {
                let inverse = s.splat(1.0 / sum);
                for y in y.as_chunks_mut().0 {
                    s.store(s.mul(s.load(y), inverse), y);
                }
            }
        }
    }
}

impl<'a> Context<'a> {
    fn element(&self) -> KvElement {
        self.blocks.layout.storage.element
    }

    /// Pieces of K and V that `P` pieces of queries and weights are multiplied with.
    fn pieces(&self, most: usize) -> usize {
        match self.element() {
            KvElement::F32 => f32::PIECES.min(most),
            KvElement::F16 => f16::PIECES.min(most),
            _ => 1,
        }
    }

    fn channels(&self) -> usize {
        self.blocks.layout.channels
    }

    fn parts(&self, block: usize) -> Parts<'a> {
        self.blocks.block(self.head, block)
    }

    /// Tokens that query `query` of band `band` sees, from the round's first on.
    #[inline(always)]
    fn seen_by(&self, band: usize, query: usize, round: &Range<usize>) -> Range<usize> {
        let visible =
            self.visible.of_row(band * (BAND / self.visible.together) + query / self.visible.together);
        let inside = |position: usize| position.saturating_sub(round.start * BLOCK).min(TOKENS);
        inside(visible.start)..inside(visible.end)
    }

    /// Widens a round's codes, which quads hold, to pairs: exact in bfloat16, as they are integers up to 128.
    #[inline(always)]
    fn widen<S: Simd, const ROOM: usize, const P: usize>(
        &self,
        s: S,
        round: Range<usize>,
        room: &mut Room<ROOM, P>,
    ) {
        let (channels, across) = (self.channels(), self.channels() / LANES);
        let size = BLOCK * channels;
        for (i, block) in round.enumerate() {
            let parts = self.parts(block);
            let [k, v] = room.wide.each_mut().map(|pieces| &mut pieces[0]);
            let k = cast_mut::<bf16, [bf16; 2 * LANES]>(&mut k.0[i * size..(i + 1) * size]);
            for (quad, to) in cast::<u8, [u8; 4 * LANES]>(parts.k).iter().zip(k.as_chunks_mut().0) {
                s.widen_codes(quad, to);
            }
            let v = cast_mut::<bf16, [bf16; 2 * LANES]>(&mut v.0[i * size..(i + 1) * size]);
            let quads = cast::<u8, [u8; 4 * LANES]>(parts.v).chunks_exact(across);
            for (quads, to) in quads.zip(v.chunks_exact_mut(2 * across)) {
                for (column, quad) in quads.iter().enumerate() {
                    let mut pairs = [[bf16::ZERO; 2 * LANES]; 2];
                    s.widen_codes(quad, &mut pairs);
                    (to[column], to[across + column]) = (pairs[0], pairs[1]);
                }
            }
            room.scales[0][i * BLOCK..(i + 1) * BLOCK].copy_from_slice(&parts.k_scales[0]);
            room.scales[1][i * BLOCK..(i + 1) * BLOCK].copy_from_slice(&parts.v_scales[0]);
        }
    }

    /// Splits a round's K and V into pairs of pieces.
    #[inline(always)]
    fn split<S: Simd, E: Element, const ROOM: usize, const P: usize>(
        &self,
        s: S,
        round: Range<usize>,
        room: &mut Room<ROOM, P>,
    ) {
        let (channels, across) = (self.channels(), self.channels() / LANES);
        let (size, pieces) = (BLOCK * channels, self.pieces(P));
        for (i, block) in round.enumerate() {
            let parts = self.parts(block);
            let [k, v] = &mut room.wide;
            for (at, pair) in cast::<u8, [[E; LANES]; 2]>(parts.k).iter().enumerate() {
                split_pair(s, [&pair[0], &pair[1]], &mut k[..pieces], i * size + at * 2 * LANES);
            }
            for (pair, tokens) in cast::<u8, [E; LANES]>(parts.v).chunks_exact(2 * across).enumerate() {
                for column in 0..across {
                    let at = i * size + (pair * across + column) * 2 * LANES;
                    split_pair(s, [&tokens[column], &tokens[across + column]], &mut v[..pieces], at);
                }
            }
        }
    }

    /// Piece `piece` of K (0) or V (1) of block `block`, which is the `i`th of its round.
    #[inline(always)]
    fn piece<'r, const ROOM: usize, const P: usize>(
        &self,
        (which, piece): (usize, usize),
        (block, i): (usize, usize),
        room: &'r Room<ROOM, P>,
    ) -> &'r [bf16]
    where
        'a: 'r,
    {
        if self.element() == KvElement::Bf16 {
            let parts = self.parts(block);
            return cast(if which == 0 { parts.k } else { parts.v });
        }
        let size = BLOCK * self.channels();
        &room.wide[which][piece].0[i * size..][..size]
    }

    /// Takes a round's tokens into one band.
    #[inline(always)]
    fn round<S: Simd, const W: usize, const ROOM: usize, const P: usize>(
        &self,
        s: S,
        tiles: &Tiles,
        (index, band): (usize, &mut Band<W, P>),
        round: &Range<usize>,
        room: &mut Room<ROOM, P>,
    ) {
        let seen = self.seen_by(index, 0, round).start..self.seen_by(index, band.count - 1, round).end;
        if seen.is_empty() {
            return;
        }
        let blocks = seen.end.div_ceil(BLOCK);
        for i in 0..blocks {
            self.scores(tiles, band, (round.start + i, i), room);
        }
        self.weigh(s, (index, band), round, room);
        self.add_values(tiles, band, (round.start, blocks), room);
    }

    /// Scores of block `i` of the round, unscaled.
    #[inline(always)]
    fn scores<const W: usize, const ROOM: usize, const P: usize>(
        &self,
        tiles: &Tiles,
        band: &Band<W, P>,
        place: (usize, usize),
        room: &mut Room<ROOM, P>,
    ) {
        let channels = self.channels();
        tiles.begin_2x2();
        for piece in 0..self.pieces(P) {
            let k = self.piece((0, piece), place, room);
            let half = |half: usize| Columns { data: &k[half * channels * LANES..], stride: 2 * LANES };
            for q in &band.q[..P - piece] {
                let rows = |first: usize| Rows { data: q.0[first..].as_flattened(), stride: W };
                let (rows, columns) = ([rows(0), rows(amx::SIDE)], [half(0), half(1)]);
                tiles.steps_2x2(rows, columns, 0..channels / amx::DEPTH, Ahead::nothing(k));
            }
        }
        let i = place.1;
        let to = &mut room.scores.0.as_flattened_mut()[i * BLOCK..];
        tiles.end_2x2(&mut Sums { data: to, stride: TOKENS });
    }

    /// Turns a round's scores into weights.
    #[inline(always)]
    fn weigh<S: Simd, const W: usize, const ROOM: usize, const P: usize>(
        &self,
        s: S,
        (index, band): (usize, &mut Band<W, P>),
        round: &Range<usize>,
        room: &mut Room<ROOM, P>,
    ) {
        for query in 0..band.count {
            let seen = self.seen_by(index, query, round);
            if seen.is_empty() {
                room.weights.iter_mut().for_each(|piece| piece.0[query].fill(bf16::ZERO));
            } else if seen.end <= TOKENS / 2 {
                room.weights.iter_mut().for_each(|piece| piece.0[query][TOKENS / 2..].fill(bf16::ZERO));
                self.weigh_row::<S, W, ROOM, P, { VECTORS / 2 }>(s, (query, band), seen, room);
            } else {
                self.weigh_row::<S, W, ROOM, P, VECTORS>(s, (query, band), seen, room);
            }
        }
    }

    /// Turns the first `N` vectors of a query's scores into weights, relative to a score that none so far exceeds by
    /// more than [`SLACK`].
    #[inline(always)]
    fn weigh_row<S: Simd, const W: usize, const ROOM: usize, const P: usize, const N: usize>(
        &self,
        s: S,
        (query, band): (usize, &mut Band<W, P>),
        seen: Range<usize>,
        room: &mut Room<ROOM, P>,
    ) {
        let scaled = ROOM > 0 && self.element() == KvElement::Int8;
        let (row, scale) =
            (room.scores.0[query][..N * LANES].as_chunks_mut::<LANES>().0, s.splat(self.scale));
        let [k_scales, v_scales] = [0, 1].map(|i| room.scales[i].as_chunks::<LANES>().0);
        let mut x = [s.zero(); N];
        for i in 0..N {
            x[i] = s.mul(s.load(&row[i]), scale);
            if scaled {
                x[i] = s.mul(x[i], s.load_f16(&k_scales[i]));
            }
        }
        if seen != (0..N * LANES) {
            // Only now, as the scales of tokens that were never written are zero.
            for (x, to) in x.iter().zip(&mut *row) {
                s.store(*x, to);
            }
            row.as_flattened_mut()[..seen.start].fill(f32::NEG_INFINITY);
            row.as_flattened_mut()[seen.end..].fill(f32::NEG_INFINITY);
            for (x, from) in x.iter_mut().zip(row) {
                *x = s.load(from);
            }
        }
        let mut most = x[0];
        for x in &x[1..] {
            most = s.max(most, *x);
        }
        let largest = s.largest(most);
        if largest > band.largest[query] + SLACK {
            band.rescale(s, query, largest);
        }
        let largest = s.splat(band.largest[query]);
        let mut sum = s.zero();
        for x in &mut x {
            *x = s.exp(s.sub(*x, largest));
            sum = s.add(sum, *x);
        }
        band.sum[query] += s.sum(sum);
        for (piece, weights) in room.weights.iter_mut().enumerate() {
            let weights = &mut weights.0[query];
            for (i, to) in weights.as_chunks_mut().0.iter_mut().enumerate().take(N) {
                if scaled && piece == 0 {
                    x[i] = s.mul(x[i], s.load_f16(&v_scales[i]));
                }
                s.store_bf16(x[i], to);
                if piece + 1 < P {
                    x[i] = s.sub(x[i], s.load_bf16(to));
                }
            }
            // Those that are not seen came out as the smallest weight there is.
            weights[..seen.start].fill(bf16::ZERO);
            weights[seen.end..N * LANES].fill(bf16::ZERO);
        }
    }

    /// Adds the weighted sums of V.
    #[inline(always)]
    fn add_values<const W: usize, const ROOM: usize, const P: usize>(
        &self,
        tiles: &Tiles,
        band: &mut Band<W, P>,
        (first, blocks): (usize, usize),
        room: &Room<ROOM, P>,
    ) {
        let channels = self.channels();
        for column in (0..channels).step_by(2 * LANES) {
            let mut sums = Sums { data: &mut band.y.0.as_flattened_mut()[column..], stride: W };
            tiles.resume_2x2(&sums);
            for i in 0..blocks {
                for piece in 0..self.pieces(P) {
                    let v = self.piece((1, piece), (first + i, i), room);
                    let columns = |at: usize| Columns { data: &v[2 * at..], stride: 2 * channels };
                    let columns = [columns(column), columns(column + LANES)];
                    for weights in &room.weights[..P - piece] {
                        let data = weights.0.as_flattened();
                        let rows =
                            |first: usize| Rows { data: &data[first * TOKENS + i * BLOCK..], stride: TOKENS };
                        let rows = [rows(0), rows(amx::SIDE)];
                        tiles.steps_2x2(rows, columns, 0..1, Ahead::nothing(v));
                    }
                }
            }
            tiles.end_2x2(&mut sums);
        }
    }
}

/// Two rows of 16 as pairs at `at` of each piece.
#[inline(always)]
fn split_pair<S: Simd, E: Element, const ROOM: usize>(
    s: S,
    [even, odd]: [&[E; LANES]; 2],
    to: &mut [Line<[bf16; ROOM]>],
    at: usize,
) {
    let (mut even, mut odd) = (E::widen(s, even), E::widen(s, odd));
    for piece in to {
        let to = piece.0[at..].first_chunk_mut().expect("a round has room for its blocks");
        s.store_pairs(even, odd, to);
        let (a, b) = s.pairs(to);
        (even, odd) = (s.sub(even, a), s.sub(odd, b));
    }
}
