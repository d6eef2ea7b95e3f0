//! KV caches: preallocated, in blocks of 32 tokens laid out for the products that attention makes.
//!
//! A block holds scales, K, V of 32 tokens of one head, one after another, padded to 16 channels:
//!
//! | elements | K | V |
//! |---|---|---|
//! | f32, f16 | `[2][channel][16 tokens]` | `[32 tokens][channel]` |
//! | bf16 | `[2][channel / 2][16 tokens][2]` | `[16 pairs of tokens][channel][2]` |
//! | 8-bit codes + 128 | `[2][channel / 4][16 tokens][4]` | `[8 quads of tokens][channel][4]` |
//! | 4-bit codes + 8, two to a byte | `[32 tokens][channel / 2]` | `[32 tokens][channel / 2]` |
//!
//! Quantised ones have `[group][32 tokens]` f16 scales of K, then of V. So scores of 16 tokens are one vector, and
//! pairs and quads are what products of bf16 pairs, of bytes and of tiles take as they are.

use super::memory::Memory;
use super::simd::{Element, Isa, Kernel, LANES, Pool, Simd, cast, cast_mut, dispatch};
use super::tensor::CpuTensor;
use crate::backend::{BackendError, CacheSpec};
use crate::llm::{DType, KvElement, KvStorage, StepShape};
use half::{bf16, f16};
use std::ops::Range;

/// Tokens of a block.
pub(super) const BLOCK: usize = 32;
/// The widest head.
pub(super) const WIDEST: usize = 256;

/// Where the parts of a block of one head lie, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) storage: KvStorage,
    pub(super) head_dim: usize,
    /// Channels with their padding.
    pub(super) channels: usize,
    /// Scales of K or V of a token.
    pub(super) groups: usize,
}

impl Layout {
    /// # Errors
    /// When heads are too wide, or do not pack.
    pub(super) fn new(storage: KvStorage, head_dim: usize) -> Result<Self, BackendError> {
        let refuse = |what: String| Err(BackendError::Unsupported { backend: "cpu", what });
        if head_dim > WIDEST {
            return refuse(format!("heads of {head_dim} channels: at most {WIDEST}"));
        }
        if storage.element == KvElement::Fp8 {
            return refuse("an FP8 KV cache".to_string());
        }
        if storage.element == KvElement::Int4 && !head_dim.is_multiple_of(2) {
            return refuse(format!("a 4-bit KV cache for heads of {head_dim}: two codes share a byte"));
        }
        let channels = head_dim.next_multiple_of(LANES);
        Ok(Self { storage, head_dim, channels, groups: storage.scales_per_head(head_dim) })
    }

    /// The layout of K and V in the activations' own type.
    pub(super) fn plain(dtype: DType, head_dim: usize) -> Result<Self, BackendError> {
        Self::new(KvStorage::plain(dtype), head_dim)
    }

    /// Bytes of all scales of a block.
    fn scales(&self) -> usize {
        2 * self.groups * BLOCK * size_of::<f16>()
    }

    /// Bytes of K, or of V, of a block.
    fn half(&self) -> usize {
        BLOCK * self.channels * self.storage.element.bits() as usize / 8
    }

    /// Bytes of a block.
    pub(super) fn block(&self) -> usize {
        self.scales() + 2 * self.half()
    }

    /// The scales of K, of V, and K and V of a block.
    pub(super) fn parts<'a>(&self, block: &'a [u8]) -> Parts<'a> {
        let (scales, values) = block.split_at(self.scales());
        let (k_scales, v_scales) = scales.split_at(scales.len() / 2);
        let (k, v) = values.split_at(self.half());
        Parts { k_scales: cast(k_scales), v_scales: cast(v_scales), k, v }
    }
}

/// A block's parts.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    /// `[group][32]`.
    pub(super) k_scales: &'a [[f16; BLOCK]],
    /// `[group][32]`.
    pub(super) v_scales: &'a [[f16; BLOCK]],
    pub(super) k: &'a [u8],
    pub(super) v: &'a [u8],
}

/// K and V of one layer.
#[derive(Debug)]
pub struct CpuCache {
    memory: Memory,
    pub(super) spec: CacheSpec,
    pub(super) layout: Layout,
}

/// The blocks of every head of a cache.
#[derive(Clone, Copy)]
pub(super) struct Blocks<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) layout: Layout,
    /// Blocks of a head.
    pub(super) per_head: usize,
}

impl<'a> Blocks<'a> {
    /// Block `block` of head `head`, counted over all sequences.
    pub(super) fn block(&self, head: usize, block: usize) -> Parts<'a> {
        let size = self.layout.block();
        let at = (head * self.per_head + block) * size;
        self.layout.parts(&self.bytes[at..at + size])
    }
}

impl CpuCache {
    pub(super) fn new(spec: CacheSpec) -> Result<Self, BackendError> {
        let layout = Layout::new(spec.storage, spec.head_dim)?;
        let heads = spec.batch * spec.kv_heads;
        let bytes = heads * spec.capacity.div_ceil(BLOCK) * layout.block();
        Ok(Self { memory: Memory::zeroed(bytes)?, spec, layout })
    }

    /// Bytes that its blocks take.
    pub(super) fn allocated_bytes(&self) -> f64 {
        let heads = self.spec.batch * self.spec.kv_heads;
        (heads * self.spec.capacity.div_ceil(BLOCK) * self.layout.block()) as f64
    }

    /// Where its blocks stand.
    pub(super) fn place(&self) -> Range<usize> {
        let start = self.memory.of::<u8>().as_ptr().addr();
        start..start + self.allocated_bytes() as usize
    }

    pub(super) fn blocks(&self) -> Blocks<'_> {
        let per_head = self.spec.capacity.div_ceil(BLOCK);
        Blocks { bytes: self.memory.of(), layout: self.layout, per_head }
    }

    /// Writes the K and V columns of `qkv` from the step's first position on.
    pub(super) fn append<T: Element>(
        &mut self,
        (isa, pool): (Isa, &mut Pool),
        step: &StepShape,
        qkv: &CpuTensor,
        first_column: usize,
    ) -> Result<(), BackendError> {
        let CacheSpec { batch, kv_heads, capacity, .. } = self.spec;
        if step.context > capacity {
            return Err(BackendError::CacheFull { capacity, needed: step.context });
        }
        let per_head = capacity.div_ceil(BLOCK) * self.layout.block();
        let bytes = &mut self.memory.of_mut::<u8>()[..batch * kv_heads * per_head];
        write::<T>((isa, pool), bytes, per_head, self.layout, (step, kv_heads), qkv, first_column);
        Ok(())
    }
}

/// Up to so many values, handing out the work costs more than doing it.
const ALONE: usize = 8192;

/// Writes K and V of a step into the blocks of every head, `per_head` bytes each.
pub(super) fn write<T: Element>(
    (isa, pool): (Isa, &mut Pool),
    bytes: &mut [u8],
    per_head: usize,
    layout: Layout,
    (step, kv_heads): (&StepShape, usize),
    qkv: &CpuTensor,
    first_column: usize,
) {
    let data = qkv.data::<T>();
    let width = kv_heads * layout.head_dim;
    let one = |head: usize, to: &mut [u8]| {
        let column = first_column + head % kv_heads * layout.head_dim;
        let first = head / kv_heads * step.new_tokens * qkv.stride + column;
        dispatch(isa, Write { layout, step, k: &data[first..], width, stride: qkv.stride, to });
    };
    if step.batch * step.new_tokens * width <= ALONE {
        bytes.chunks_exact_mut(per_head).enumerate().for_each(|(head, to)| one(head, to));
    } else {
        pool.chunks(bytes, per_head, one);
    }
}

/// Writes a step's tokens of one head; compiled for every instruction set, as rounding is otherwise a call.
struct Write<'a, T> {
    layout: Layout,
    step: &'a StepShape,
    /// The first token's K, and everything after it.
    k: &'a [T],
    /// Elements from K to V.
    width: usize,
    /// Elements from a token to the next.
    stride: usize,
    to: &'a mut [u8],
}

impl<T: Element> Kernel for Write<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { layout, step, k, width, stride, to } = self;
        let row = |token: usize| &k[token * stride..][..layout.head_dim];
        let value = |token: usize| &k[token * stride + width..][..layout.head_dim];
        let together = layout.together();
        let mut token = 0;
        while token < step.new_tokens {
            let position = step.context - step.new_tokens + token;
            let block = position / BLOCK * layout.block();
            let (block, at) = (&mut to[block..block + layout.block()], position % BLOCK);
            let written =
                if at.is_multiple_of(together) && token + together <= step.new_tokens { together } else { 1 };
            match written {
                QUAD => {
                    let all = std::array::from_fn(|i| token + i);
                    layout.write_quad(s, block, at, all.map(row), all.map(value));
                }
                LANES => {
                    let all = std::array::from_fn(|i| token + i);
                    layout.write_lanes(block, at, all.map(row), all.map(value));
                }
                _ => layout.write(s, block, at, row(token), value(token)),
            }
            token += written;
        }
    }
}

/// Tokens of 8-bit codes that share a quad of V.
const QUAD: usize = 4;

/// A number as another type, unchanged where it is one already.
#[inline(always)]
fn converted<T: Element, U: Element>(x: T) -> U {
    (&x as &dyn std::any::Any).downcast_ref::<U>().copied().unwrap_or_else(|| U::from_f32(x.to_f32()))
}

/// `x.round()` of |x| up to 2^17, halves away from zero, in steps that vectors have: 0.5 less a bit, as 0.5 would round 0.49999997 up.
#[inline(always)]
fn rounded(x: f32) -> f32 {
    (x + 0.499_999_97_f32.copysign(x)).trunc()
}

impl Layout {
    /// Tokens that are written together where they start at a multiple of as many: then what is beside each other in a
    /// block is written at once.
    fn together(&self) -> usize {
        match self.storage.element {
            KvElement::Int8 => QUAD,
            KvElement::Bf16 if self.head_dim.is_multiple_of(2) => LANES,
            _ => 1,
        }
    }

    /// Writes 16 tokens of bfloat16 from token `token` on.
    #[inline(always)]
    fn write_lanes<T: Element>(&self, block: &mut [u8], token: usize, k: [&[T]; LANES], v: [&[T]; LANES]) {
        let (k_to, v_to) = block.split_at_mut(self.half());
        let k_to = &mut cast_mut::<u8, [[bf16; 2]; LANES]>(k_to)[token / LANES * self.channels / 2..];
        let k = k.map(|k| k[..self.head_dim].as_chunks::<2>().0);
        for (pair, to) in k_to.iter_mut().enumerate().take(self.head_dim / 2) {
            *to = std::array::from_fn(|lane| k[lane][pair].map(Element::to_bf16));
        }
        let v_to = &mut cast_mut::<u8, [bf16; 2]>(v_to)[token / 2 * self.channels..];
        for (v, to) in v.as_chunks::<2>().0.iter().zip(v_to.chunks_mut(self.channels)) {
            for ((to, a), b) in to.iter_mut().zip(v[0]).zip(v[1]) {
                *to = [a.to_bf16(), b.to_bf16()];
            }
        }
    }

    /// Writes token `token` of a block.
    #[inline(always)]
    fn write<S: Simd, T: Element>(&self, s: S, block: &mut [u8], token: usize, k: &[T], v: &[T]) {
        let (scales, values) = block.split_at_mut(self.scales());
        let scales = cast_mut::<u8, [f16; BLOCK]>(scales);
        let (k_scales, v_scales) = scales.split_at_mut(self.groups);
        let (k_to, v_to) = values.split_at_mut(self.half());
        match self.storage.element {
            KvElement::F32 => self.write_plain::<T, f32>(k_to, v_to, token, k, v),
            KvElement::F16 => self.write_plain::<T, f16>(k_to, v_to, token, k, v),
            KvElement::Bf16 => {
                let (half, lane) = (token / LANES, token % LANES);
                let k_to = cast_mut::<u8, [[bf16; 2]; LANES]>(k_to);
                let pairs = &mut k_to[half * self.channels / 2..];
                let (whole, rest) = k.as_chunks::<2>();
                for (to, pair) in pairs.iter_mut().zip(whole) {
                    to[lane] = [pair[0].to_bf16(), pair[1].to_bf16()];
                }
                if let [last] = rest {
                    pairs[whole.len()][lane][0] = last.to_bf16();
                }
                let v_to = &mut cast_mut::<u8, [bf16; 2]>(v_to)[token / 2 * self.channels..];
                for (to, v) in v_to.iter_mut().zip(v) {
                    to[token % 2] = v.to_bf16();
                }
            }
            KvElement::Int8 => {
                self.write_k_codes(s, k_to, token, k, k_scales);
                let codes = self.quantise(s, v, token, v_scales);
                let v_to = &mut cast_mut::<u8, [u8; 4]>(v_to)[token / 4 * self.channels..];
                for (to, code) in v_to.iter_mut().zip(&codes[..v.len()]) {
                    to[token % 4] = offset(*code);
                }
            }
            KvElement::Fp8 => unreachable!("refused by Layout::new"),
            KvElement::Int4 => {
                for (x, to, scales) in [(k, k_to, k_scales), (v, v_to, v_scales)] {
                    let to = &mut to[token * self.channels / 2..];
                    let codes = self.quantise(s, x, token, scales);
                    for (to, pair) in to.iter_mut().zip(codes[..x.len()].as_chunks::<2>().0) {
                        let nibble = |code: i8| (code + 8) as u8 & 15;
                        *to = nibble(pair[0]) | nibble(pair[1]) << 4;
                    }
                }
            }
        }
    }

    /// Writes four tokens of a block from a multiple of four on, where codes of four tokens share a quad of V.
    #[inline(always)]
    fn write_quad<S: Simd, T: Element>(
        &self,
        s: S,
        block: &mut [u8],
        token: usize,
        k: [&[T]; QUAD],
        v: [&[T]; QUAD],
    ) {
        let (scales, values) = block.split_at_mut(self.scales());
        let scales = cast_mut::<u8, [f16; BLOCK]>(scales);
        let (k_scales, v_scales) = scales.split_at_mut(self.groups);
        let (k_to, v_to) = values.split_at_mut(self.half());
        for (i, k) in k.into_iter().enumerate() {
            self.write_k_codes(s, k_to, token + i, k, k_scales);
        }
        let mut codes = [[0; WIDEST]; QUAD];
        for (i, (codes, v)) in codes.iter_mut().zip(v).enumerate() {
            *codes = self.quantise(s, v, token + i, v_scales);
        }
        let v_to = &mut cast_mut::<u8, [u8; 4]>(v_to)[token / 4 * self.channels..][..self.head_dim];
        for (c, to) in v_to.iter_mut().enumerate() {
            *to = [codes[0][c], codes[1][c], codes[2][c], codes[3][c]].map(offset);
        }
    }

    /// Writes the codes of a token's K, in quads of channels.
    #[inline(always)]
    fn write_k_codes<S: Simd, T: Element>(
        &self,
        s: S,
        to: &mut [u8],
        token: usize,
        k: &[T],
        scales: &mut [[f16; BLOCK]],
    ) {
        let codes = self.quantise(s, k, token, scales);
        let quads = &mut cast_mut::<u8, [[u8; 4]; LANES]>(to)[token / LANES * self.channels / 4..];
        let (whole, rest) = codes[..k.len()].as_chunks::<4>();
        for (to, quad) in quads.iter_mut().zip(whole) {
            to[token % LANES] = quad.map(offset);
        }
        for (i, code) in rest.iter().enumerate() {
            quads[whole.len()][token % LANES][i] = offset(*code);
        }
    }

    #[inline(always)]
    fn write_plain<T: Element, U: Element>(
        &self,
        k_to: &mut [u8],
        v_to: &mut [u8],
        token: usize,
        k: &[T],
        v: &[T],
    ) {
        let (half, lane) = (token / LANES, token % LANES);
        let k_to = &mut cast_mut::<u8, [U; LANES]>(k_to)[half * self.channels..];
        for (to, k) in k_to.iter_mut().zip(k) {
            to[lane] = converted(*k);
        }
        let v_to = &mut cast_mut::<u8, U>(v_to)[token * self.channels..];
        for (to, v) in v_to.iter_mut().zip(v) {
            *to = converted(*v);
        }
    }

    /// Symmetric quantisation per group: scale = max |x| / largest code rounded to f16, code = round(x / scale), with
    /// the rounded scale, which is what reading multiplies by. Gives the codes of the channels, then zeros. The scale
    /// of a group that holds anything infinite or not a number is not a number: what is read shows it.
    #[inline(always)]
    fn quantise<S: Simd, T: Element>(
        &self,
        s: S,
        x: &[T],
        token: usize,
        scales: &mut [[f16; BLOCK]],
    ) -> [i8; WIDEST] {
        let most = f32::from(self.storage.element.largest_code().unwrap_or(127));
        let group = self.storage.channels_per_scale(self.head_dim);
        let mut codes = [0i8; WIDEST];
        for ((x, scales), to) in x.chunks(group).zip(scales).zip(codes.chunks_mut(group)) {
            let mut wide = [0f32; WIDEST];
            for (wide, x) in wide.iter_mut().zip(x) {
                *wide = x.to_f32();
            }
            let vectors = &wide.as_chunks::<LANES>().0[..x.len().div_ceil(LANES)];
            // 0 where all are finite, as 0 x infinity is not a number.
            let (mut largest, mut nothing) = (s.zero(), s.zero());
            for x in vectors {
                largest = s.max(largest, s.magnitude(s.load(x)));
                nothing = s.fma(s.load(x), s.zero(), nothing);
            }
            let largest = s.largest(largest);
            // The smallest positive f16, so that a group of zeros has a scale to divide by.
            // Times the reciprocal, not divided: as candle does it, or one scale in thousands would differ in its last bit.
            let scale = f16::from_f32((largest * (1.0 / most)).max(f16::MIN_POSITIVE_SUBNORMAL.to_f32()));
            let scale = if s.sum(nothing) == 0.0 { scale } else { f16::NAN };
            scales[token] = scale;
            let scale = scale.to_f32();
            let mut narrow = [0i8; WIDEST];
            for (narrow, x) in narrow.as_chunks_mut::<LANES>().0.iter_mut().zip(vectors) {
                s.store_i8(s.load(&x.map(|x| rounded(x / scale).max(-most).min(most))), narrow);
            }
            to[..x.len()].copy_from_slice(&narrow[..x.len()]);
        }
        codes
    }
}

/// A code as it is stored: plus 128.
#[inline(always)]
fn offset(code: i8) -> u8 {
    code as u8 ^ 128
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn rounding_is_that_of_the_standard_library() {
        for bits in (0..0x4800_0000u32).step_by(997).chain([0x3eff_ffff, 0x3f00_0000, 0x3f00_0001]) {
            let x = f32::from_bits(bits);
            assert_eq!((rounded(x), rounded(-x)), (x.round(), (-x).round()), "{x}");
        }
    }
}
