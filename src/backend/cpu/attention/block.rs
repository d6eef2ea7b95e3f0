//! A block's products: scores of queries with K, and sums of V by weights, in each of a cache's storage types.

use super::HALVES;
use super::queries::{MOST, Scores};
use crate::backend::cpu::cache::{BLOCK, Layout, Parts};
use crate::backend::cpu::simd::{Element, LANES, Simd, cast};
use crate::llm::KvElement;
use half::{bf16, f16};

/// Queries whose scores are accumulated side by side.
const SIDE: usize = 8;

/// `scores[query][token] = q . k`, unscaled.
#[inline(always)]
pub(super) fn scores<S: Simd, T: Element, const D: usize>(
    s: S,
    layout: Layout,
    parts: Parts<'_>,
    q: &[[f32; D]],
    scores: &mut Scores,
) {
    let channels = layout.channels;
    match layout.storage.element {
        KvElement::F32 => plain_scores(s, cast::<u8, [f32; LANES]>(parts.k), channels, q, scores),
        KvElement::F16 => plain_scores(s, cast::<u8, [f16; LANES]>(parts.k), channels, q, scores),
        KvElement::Bf16 if T::IS_BF16 => {
            pair_scores(s, cast::<u8, [bf16; 2 * LANES]>(parts.k), channels, q, scores);
        }
        _ => {
            let mut k = [[[0f32; LANES]; HALVES]; D];
            widen_k(s, layout, parts, &mut k);
            let mut halves = [[[0f32; LANES]; D]; HALVES];
            for (channel, k) in k.iter().enumerate() {
                for (half, k) in k.iter().enumerate() {
                    halves[half][channel] = *k;
                }
            }
            for (half, k) in halves.iter().enumerate() {
                half_scores(s, &k[..channels], q, scores, half);
            }
        }
    }
}

#[inline(always)]
fn plain_scores<S: Simd, E: Element, const D: usize>(
    s: S,
    k: &[[E; LANES]],
    channels: usize,
    q: &[[f32; D]],
    scores: &mut Scores,
) {
    for (half, k) in k.chunks_exact(channels).enumerate() {
        half_scores(s, k, q, scores, half);
    }
}

/// Scores of 16 tokens, whose K is `[channel][16]`.
#[inline(always)]
fn half_scores<S: Simd, E: Element, const D: usize>(
    s: S,
    k: &[[E; LANES]],
    q: &[[f32; D]],
    scores: &mut Scores,
    half: usize,
) {
    if let [q] = q {
        // One query: chains side by side instead, or each product would wait for the last.
        let mut sums = [s.zero(); 4];
        for (k, q) in k.as_chunks::<4>().0.iter().zip(q.as_chunks::<4>().0) {
            for i in 0..4 {
                sums[i] = s.fma(E::widen(s, &k[i]), s.splat(q[i]), sums[i]);
            }
        }
        s.store(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])), &mut scores[0][half]);
        return;
    }
    for (q, scores) in q.chunks(SIDE).zip(scores.chunks_mut(SIDE)) {
        let mut sums = [s.zero(); SIDE];
        for (channel, k) in k.iter().enumerate() {
            let k = E::widen(s, k);
            for (sum, q) in sums.iter_mut().zip(q) {
                *sum = s.fma(k, s.splat(q[channel]), *sum);
            }
        }
        for (sum, scores) in sums.into_iter().zip(scores) {
            s.store(sum, &mut scores[half]);
        }
    }
}

/// Scores from pairs of channels, as products of bf16 take them.
#[inline(always)]
fn pair_scores<S: Simd, const D: usize>(
    s: S,
    k: &[[bf16; 2 * LANES]],
    channels: usize,
    q: &[[f32; D]],
    scores: &mut Scores,
) {
    for (half, k) in k.chunks_exact(channels / 2).enumerate() {
        for (q, scores) in q.iter().zip(scores.iter_mut()) {
            let mut sums = [s.zero(); 4];
            for (k, q) in k.as_chunks::<4>().0.iter().zip(q.as_chunks::<8>().0) {
                for i in 0..4 {
                    let pair = [q[2 * i], q[2 * i + 1]].map(Element::to_bf16);
                    sums[i] = s.dot_pairs(sums[i], &k[i], pair);
                }
            }
            s.store(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])), &mut scores[half]);
        }
    }
}

/// K of quantised blocks and of other types than the activations', as `[channel][2][16 tokens]` in f32.
#[inline(always)]
fn widen_k<S: Simd, const D: usize>(
    s: S,
    layout: Layout,
    parts: Parts<'_>,
    k: &mut [[[f32; LANES]; HALVES]; D],
) {
    let (channels, group) = (layout.channels, layout.storage.channels_per_scale(layout.head_dim));
    for (channel, k) in k.iter_mut().enumerate().take(layout.head_dim) {
        for (half, k) in k.iter_mut().enumerate() {
            match layout.storage.element {
                KvElement::Bf16 => {
                    let pairs = &cast::<u8, [[bf16; 2]; LANES]>(parts.k)[(half * channels + channel) / 2];
                    *k = pairs.map(|pair| pair[channel % 2].to_f32());
                }
                KvElement::Int8 => {
                    let quads = &cast::<u8, [[u8; 4]; LANES]>(parts.k)[(half * channels + channel) / 4];
                    *k = quads.map(|quad| f32::from(quad[channel % 4]) - 128.0);
                }
                _ => {
                    let token = |lane| (half * LANES + lane) * channels / 2 + channel / 2;
                    *k = std::array::from_fn(|lane| nibble(parts.k[token(lane)], channel));
                }
            }
            if layout.groups > 0 {
                let scales = parts.k_scales[channel / group].as_chunks::<LANES>().0;
                s.store(s.mul(s.load(k), s.load_f16(&scales[half])), k);
            }
        }
    }
}

/// The 4-bit code of a channel.
#[inline(always)]
fn nibble(byte: u8, channel: usize) -> f32 {
    f32::from(byte >> (channel % 2 * 4) & 15) - 8.0
}

/// `y[query] += weights[query] . v`.
#[inline(always)]
pub(super) fn add_values<S: Simd, T: Element, const D: usize>(
    s: S,
    layout: Layout,
    parts: Parts<'_>,
    weights: &mut [[[f32; LANES]; HALVES]],
    y: &mut [[f32; D]; MOST],
) {
    let channels = layout.channels;
    match layout.storage.element {
        KvElement::F32 => plain_values(s, cast::<u8, f32>(parts.v), channels, weights, y),
        KvElement::F16 => plain_values(s, cast::<u8, f16>(parts.v), channels, weights, y),
        KvElement::Bf16 if T::IS_BF16 => {
            pair_values(s, cast::<u8, [bf16; 2 * LANES]>(parts.v), channels, weights, y);
        }
        _ => {
            let mut v = [[0f32; D]; BLOCK];
            widen_v(layout, parts, &mut v);
            // Rows are D apart here, and the channels beyond the head's are zero.
            plain_values(s, v.as_flattened(), D, weights, y);
        }
    }
}

/// V as `[token][channels]`.
#[inline(always)]
fn plain_values<S: Simd, E: Element, const D: usize>(
    s: S,
    v: &[E],
    channels: usize,
    weights: &[[[f32; LANES]; HALVES]],
    y: &mut [[f32; D]; MOST],
) {
    let v = v.as_chunks::<LANES>().0;
    let across = channels / LANES;
    for (weights, y) in weights.iter().zip(y) {
        let weights = weights.as_flattened();
        for (column, y) in y.as_chunks_mut().0.iter_mut().enumerate().take(across) {
            let mut sums = [s.zero(); 4];
            for (quad, weights) in weights.as_chunks::<4>().0.iter().enumerate() {
                for i in 0..4 {
                    let v = E::widen(s, &v[(4 * quad + i) * across + column]);
                    sums[i] = s.fma(v, s.splat(weights[i]), sums[i]);
                }
            }
            let sum = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
            s.store(s.add(s.load(y), sum), y);
        }
    }
}

/// V as pairs of tokens.
#[inline(always)]
fn pair_values<S: Simd, const D: usize>(
    s: S,
    v: &[[bf16; 2 * LANES]],
    channels: usize,
    weights: &[[[f32; LANES]; HALVES]],
    y: &mut [[f32; D]; MOST],
) {
    let across = channels / LANES;
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

/// V of quantised blocks and of other types than the activations', as `[token][channel]` in f32.
#[inline(always)]
fn widen_v<const D: usize>(layout: Layout, parts: Parts<'_>, v: &mut [[f32; D]; BLOCK]) {
    let (channels, group) = (layout.channels, layout.storage.channels_per_scale(layout.head_dim));
    for (token, v) in v.iter_mut().enumerate() {
        for (channel, v) in v.iter_mut().enumerate().take(layout.head_dim) {
            *v = match layout.storage.element {
                KvElement::Bf16 => {
                    cast::<u8, [bf16; 2]>(parts.v)[token / 2 * channels + channel][token % 2].to_f32()
                }
                KvElement::Int8 => {
                    f32::from(cast::<u8, [u8; 4]>(parts.v)[token / 4 * channels + channel][token % 4]) - 128.0
                }
                _ => nibble(parts.v[token * channels / 2 + channel / 2], channel),
            };
            if layout.groups > 0 {
                *v *= parts.v_scales[channel / group][token].to_f32();
            }
        }
    }
}
