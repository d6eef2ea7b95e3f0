//! A block's K or V in f32, from every storage type.

use super::HALVES;
use crate::backend::cpu::cache::{BLOCK, Layout, Parts};
use crate::backend::cpu::simd::{LANES, Simd, cast};
use crate::llm::KvElement;
use half::{bf16, f16};

/// K as `[half][channel][16 tokens]`.
#[inline(always)]
pub(super) fn k<S: Simd>(s: S, layout: &Layout, parts: Parts<'_>, to: &mut [f32]) {
    let to = to.as_chunks_mut::<LANES>().0;
    match layout.storage.element {
        KvElement::Int8 => k_of_codes(s, layout, parts, to),
        KvElement::Bf16 => {
            let pairs = cast::<u8, [bf16; 2 * LANES]>(parts.k);
            for (to, pairs) in to.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
                let (even, odd) = s.pairs(pairs);
                s.store(even, &mut to[0]);
                s.store(odd, &mut to[1]);
            }
        }
        KvElement::F16 => {
            for (to, k) in to.iter_mut().zip(cast::<u8, [f16; LANES]>(parts.k)) {
                s.store(s.load_f16(k), to);
            }
        }
        _ => k_of_nibbles(layout, parts, to),
    }
}

#[inline(always)]
fn k_of_codes<S: Simd>(s: S, layout: &Layout, parts: Parts<'_>, to: &mut [[f32; LANES]]) {
    let group = layout.storage.channels_per_scale(layout.head_dim);
    let quads = cast::<u8, [u8; 4 * LANES]>(parts.k).chunks_exact(layout.channels / 4);
    for (half, quads) in quads.enumerate() {
        for channel in 0..layout.head_dim {
            let scales = s.load_f16(&parts.k_scales[channel / group].as_chunks().0[half]);
            let codes = bytes(s, &quads[channel / 4], channel % 4);
            s.store(s.mul(codes, scales), &mut to[half * layout.channels + channel]);
        }
    }
}

/// Byte `at` of each lane, without its offset.
#[inline(always)]
fn bytes<S: Simd>(s: S, quads: &[u8; 4 * LANES], at: usize) -> S::V {
    const ONE: [[i8; 4]; 4] = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]];
    s.int_to_float(s.dot_bytes(s.int_splat(-128), quads, ONE[at]))
}

fn k_of_nibbles(layout: &Layout, parts: Parts<'_>, to: &mut [[f32; LANES]]) {
    let (channels, group) = (layout.channels, layout.storage.channels_per_scale(layout.head_dim));
    for half in 0..HALVES {
        for channel in 0..layout.head_dim {
            to[half * channels + channel] = std::array::from_fn(|lane| {
                let token = half * LANES + lane;
                let byte = parts.k[(token * channels + channel) / 2];
                nibble(byte, channel) * parts.k_scales[channel / group][token].to_f32()
            });
        }
    }
}

/// The 4-bit code of a channel, without its offset.
fn nibble(byte: u8, channel: usize) -> f32 {
    f32::from(byte >> (channel % 2 * 4) & 15) - 8.0
}

/// V as `[token][channel]`; channels of the padding are zero.
#[inline(always)]
pub(super) fn v<S: Simd>(s: S, layout: &Layout, parts: Parts<'_>, to: &mut [f32]) {
    let across = layout.channels / LANES;
    let vectors = to.as_chunks_mut::<LANES>().0;
    match layout.storage.element {
        KvElement::Int8 => v_of_codes(s, layout, parts, vectors),
        // Channels of the padding are never written: zero.
        KvElement::Bf16 => {
            let pairs = cast::<u8, [bf16; 2 * LANES]>(parts.v);
            for (tokens, pairs) in vectors.chunks_exact_mut(2 * across).zip(pairs.chunks_exact(across)) {
                for (column, pairs) in pairs.iter().enumerate() {
                    let (even, odd) = s.pairs(pairs);
                    s.store(even, &mut tokens[column]);
                    s.store(odd, &mut tokens[across + column]);
                }
            }
        }
        KvElement::F16 => {
            for (to, v) in vectors.iter_mut().zip(cast::<u8, [f16; LANES]>(parts.v)) {
                s.store(s.load_f16(v), to);
            }
        }
        _ => v_of_nibbles(layout, parts, to),
    }
}

#[inline(always)]
fn v_of_codes<S: Simd>(s: S, layout: &Layout, parts: Parts<'_>, to: &mut [[f32; LANES]]) {
    let across = layout.channels / LANES;
    let quads = cast::<u8, [u8; 4 * LANES]>(parts.v);
    let group = layout.storage.channels_per_scale(layout.head_dim);
    for (quad, quads) in quads.chunks_exact(across).enumerate() {
        for (column, quads) in quads.iter().enumerate() {
            for i in 0..4 {
                let token = 4 * quad + i;
                let scales = scales(layout, parts, group, token, column);
                s.store(s.mul(bytes(s, quads, i), s.load(&scales)), &mut to[token * across + column]);
            }
        }
    }
}

/// The scales of 16 channels of a token; 0 beyond the head's channels, whose codes mean nothing.
#[inline(always)]
fn scales(layout: &Layout, parts: Parts<'_>, group: usize, token: usize, column: usize) -> [f32; LANES] {
    let first = column * LANES;
    if group >= layout.head_dim && first + LANES <= layout.head_dim {
        return [parts.v_scales[0][token].to_f32(); LANES];
    }
    std::array::from_fn(|lane| {
        let channel = first + lane;
        if channel < layout.head_dim { parts.v_scales[channel / group][token].to_f32() } else { 0.0 }
    })
}

fn v_of_nibbles(layout: &Layout, parts: Parts<'_>, to: &mut [f32]) {
    let (channels, group) = (layout.channels, layout.storage.channels_per_scale(layout.head_dim));
    for (token, to) in to.chunks_exact_mut(channels).enumerate().take(BLOCK) {
        for (channel, to) in to.iter_mut().enumerate() {
            let byte = parts.v[(token * channels + channel) / 2];
            *to = match channel < layout.head_dim {
                true => nibble(byte, channel) * parts.v_scales[channel / group][token].to_f32(),
                false => 0.0,
            };
        }
    }
}
