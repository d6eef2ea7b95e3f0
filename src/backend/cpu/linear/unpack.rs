//! INT8 weights widened for products of blocks: once per linear, as many rows share the cost.

use super::Engine;
use crate::backend::BackendError;
use crate::backend::cpu::simd::{Kernel, LANES, Simd, cast, cast_mut, dispatch, each};
use crate::backend::cpu::weights::{GROUP, INT8_BLOCK, INT8_BLOCK_BYTES, OFFSET, PanelType, Panels};
use half::{bf16, f16};

/// `panels` as f32 or bf16.
pub(super) fn run(engine: &mut Engine<'_>, panels: &Panels, kind: PanelType) -> Result<Panels, BackendError> {
    let (isa, bytes) = (engine.isa, panels.bytes_as(kind));
    let all = bytes * panels.count();
    let mut wide = engine.arena.bytes(all)?;
    engine.pool.chunks(&mut wide.data_mut::<u8>()[..all], bytes, |panel, to| {
        dispatch(isa, Unpack { panels, panel, kind, to });
    });
    Ok(panels.widened(kind, wide))
}

struct Unpack<'a> {
    panels: &'a Panels,
    panel: usize,
    kind: PanelType,
    to: &'a mut [u8],
}

impl Kernel for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let bytes = self.panels.panel(self.panel);
        let scales = self.panels.scales.as_deref();
        match self.panels.kind {
            PanelType::Int8 => {
                for (i, block) in cast::<u8, [u8; INT8_BLOCK_BYTES]>(bytes).iter().enumerate() {
                    let (scales, codes) = block.split_at(64);
                    let scales = cast::<u8, [f16; LANES]>(scales);
                    for (half, codes) in cast::<u8, [u8; 64]>(codes).chunks_exact(GROUP / 4).enumerate() {
                        let input = i * INT8_BLOCK + half * GROUP;
                        widen(s, codes, s.load_f16(&scales[half]), self.kind, input, self.to);
                    }
                }
            }
            _ => {
                let scales = scales.unwrap_or_default();
                let scale = s.load_f16(super::epilogue::vector(scales, self.panel * LANES));
                widen(s, cast(bytes), scale, self.kind, 0, self.to);
            }
        }
    }
}

/// What takes one of a quad's codes.
const ONE: [[i8; 4]; 4] = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]];

/// Widens quads of inputs from `input` on.
#[inline(always)]
fn widen<S: Simd>(s: S, codes: &[[u8; 64]], scale: S::V, kind: PanelType, input: usize, to: &mut [u8]) {
    for (i, quad) in codes.iter().enumerate() {
        let at = input + 4 * i;
        if at * LANES * if kind == PanelType::F32 { 4 } else { 2 } >= to.len() {
            // INT8 pads inputs further than what it is widened to.
            return;
        }
        let codes = each!([s.int_splat(-OFFSET); 4], j => s.dot_bytes(s.int_splat(-OFFSET), quad, ONE[j]));
        let values = each!([s.zero(); 4], j => s.mul(s.int_to_float(codes[j]), scale));
        if kind == PanelType::F32 {
            let to = &mut cast_mut::<u8, [f32; LANES]>(to)[at..at + 4];
            for (to, values) in to.iter_mut().zip(values) {
                s.store(values, to);
            }
        } else {
            let mut narrow = [[bf16::ZERO; LANES]; 4];
            for (to, values) in narrow.iter_mut().zip(values) {
                s.store_bf16(values, to);
            }
            let to = &mut cast_mut::<u8, [[bf16; 2]; LANES]>(to)[at / 2..at / 2 + 2];
            for (pair, to) in to.iter_mut().enumerate() {
                *to = std::array::from_fn(|lane| [narrow[2 * pair][lane], narrow[2 * pair + 1][lane]]);
            }
        }
    }
}
