//! Weights as kernels want them: in panels of 16 outputs, packed once at load.
//!
//! A panel holds 16 outputs for all inputs, contiguous, so that one output vector is accumulated without a horizontal
//! sum and a panel is one stream from memory:
//!
//! - f32, f16: `[input][16]`
//! - bf16: `[input / 2][16][2]`, pairs of inputs, as products of pairs and of tiles want them
//! - INT8 with a scale per 32 inputs: blocks of 64 inputs: `[2][16]` f16 scales, then `[input / 4][16][4]` codes + 128
//! - INT8 with a scale per output: `[input / 4][16][4]` codes + 128; the scales, f16, stand apart
//!
//! Inputs are padded with zero weights to a multiple of 32 (INT8: 64), outputs to 16. Codes are offset to be unsigned,
//! as products of bytes are of unsigned with signed ones.

use super::memory::Memory;
use super::simd::{Element, LANES, Pool};
use super::tensor::CpuTensor;
use crate::backend::{BackendError, HostTensor, WeightOrder};
use crate::llm::{DType, NormKind, WeightElement, WeightFormat, WeightScales};
use half::{bf16, f16};
use std::sync::Arc;

/// Inputs of INT8 weights that share a scale.
pub(super) const GROUP: usize = 32;
/// Inputs of a block of INT8 weights: two scales' worth, which keeps codes aligned to cache lines.
pub(super) const INT8_BLOCK: usize = 64;
/// Bytes of such a block of a panel: 2 x 16 f16 scales and 64 x 16 codes.
pub(super) const INT8_BLOCK_BYTES: usize = 64 + INT8_BLOCK * LANES;
/// What is added to INT8 codes.
pub(super) const OFFSET: i32 = 128;

/// What the elements of panels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PanelType {
    F32,
    Bf16,
    F16,
    Int8,
    Int8Channel,
}

impl PanelType {
    fn new(format: Option<WeightFormat>, dtype: DType) -> Self {
        match (format, dtype) {
            (None, DType::F32) => Self::F32,
            (None, DType::Bf16) => Self::Bf16,
            (None, DType::F16) => Self::F16,
            (Some(WeightFormat { scales: WeightScales::Output, .. }), _) => Self::Int8Channel,
            (Some(_), _) => Self::Int8,
        }
    }

    /// # Errors
    /// When there is no kernel for `format`.
    pub(super) fn check(format: Option<WeightFormat>) -> Result<(), BackendError> {
        const KNOWN: [WeightScales; 2] = [WeightScales::Group(GROUP), WeightScales::Output];
        match format {
            Some(WeightFormat { element, scales })
                if element != WeightElement::Int8 || !KNOWN.contains(&scales) =>
            {
                let format = WeightFormat { element, scales };
                let what = format!("{format} weights; it computes with int8:{GROUP} and int8");
                Err(BackendError::Unsupported { backend: "cpu", what })
            }
            _ => Ok(()),
        }
    }

    /// Inputs with their padding.
    pub(super) fn padded_inputs(self, inputs: usize) -> usize {
        inputs.next_multiple_of(if self.is_int8() { INT8_BLOCK } else { 32 })
    }

    pub(super) fn is_int8(self) -> bool {
        matches!(self, Self::Int8 | Self::Int8Channel)
    }

    /// Bytes of a panel.
    fn panel_bytes(self, inputs: usize) -> usize {
        let inputs = self.padded_inputs(inputs);
        match self {
            Self::F32 => inputs * LANES * 4,
            Self::Bf16 | Self::F16 => inputs * LANES * 2,
            Self::Int8 => inputs / INT8_BLOCK * INT8_BLOCK_BYTES,
            Self::Int8Channel => inputs * LANES,
        }
    }
}

/// The weights and the bias of a linear.
#[derive(Clone, Debug)]
pub struct CpuLinear {
    pub(super) panels: Panels,
    /// Bias in f32, padded to whole panels.
    pub(super) bias: Option<Arc<[f32]>>,
    pub(super) format: Option<WeightFormat>,
}

/// Packed weights, shared by linears that are the first outputs of others.
#[derive(Clone, Debug)]
pub(super) struct Panels {
    pub(super) kind: PanelType,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Bytes of a panel.
    pub(super) bytes: usize,
    store: Store,
    /// One per output, where they stand apart.
    pub(super) scales: Option<Arc<[f16]>>,
}

/// Where panels lie.
#[derive(Clone, Debug)]
enum Store {
    Own(Arc<Memory>),
    /// Widened for one product, in memory that goes back to the arena.
    Lent(CpuTensor),
}

impl Panels {
    /// A panel's bytes.
    pub(super) fn panel(&self, panel: usize) -> &[u8] {
        let all = match &self.store {
            Store::Own(memory) => memory.of::<u8>(),
            Store::Lent(tensor) => tensor.data::<u8>(),
        };
        &all[panel * self.bytes..(panel + 1) * self.bytes]
    }

    /// Bytes of a panel of these weights as `kind`.
    pub(super) fn bytes_as(&self, kind: PanelType) -> usize {
        kind.panel_bytes(self.inputs)
    }

    /// These weights as `kind`, whose panels are in `memory`.
    pub(super) fn widened(&self, kind: PanelType, memory: CpuTensor) -> Self {
        let bytes = self.bytes_as(kind);
        let (inputs, outputs) = (self.inputs, self.outputs);
        Self { kind, inputs, outputs, bytes, store: Store::Lent(memory), scales: None }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }
}

impl CpuLinear {
    /// Packs `weight`, `[inputs, outputs]` or the other way round.
    pub(super) fn pack(
        pool: &mut Pool,
        weight: &HostTensor,
        order: WeightOrder,
        bias: Option<&HostTensor>,
        (format, dtype): (Option<WeightFormat>, DType),
    ) -> Result<Self, BackendError> {
        let (inputs, outputs) = match order {
            WeightOrder::InputOutput => (weight.shape[0], weight.shape[1]),
            WeightOrder::OutputInput => (weight.shape[1], weight.shape[0]),
        };
        let source = Source { data: &weight.data, order, inputs, outputs };
        let kind = PanelType::new(format, dtype);
        let bytes = kind.panel_bytes(inputs);
        let count = outputs.div_ceil(LANES);
        let mut memory = Memory::zeroed(bytes * count)?;
        let mut scales = vec![f16::ZERO; if kind == PanelType::Int8Channel { count * LANES } else { 0 }];
        for (output, scale) in scales.iter_mut().enumerate().take(outputs) {
            *scale = stored_scale((0..inputs).map(|input| source.at(input, output)));
        }
        pool.chunks(&mut memory.of_mut::<u8>()[..bytes * count], bytes, |panel, to| {
            source.fill(panel, kind, &scales, to);
        });
        let round = |x: f32| match dtype {
            DType::F32 => x,
            DType::Bf16 => bf16::from_f32(x).to_f32(),
            DType::F16 => f16::from_f32(x).to_f32(),
        };
        let bias = bias.map(|bias| {
            let padding = std::iter::repeat_n(0.0, count * LANES - outputs);
            bias.data.iter().map(|x| round(*x)).chain(padding).collect()
        });
        let scales = (!scales.is_empty()).then(|| scales.into());
        let panels = Panels { kind, inputs, outputs, bytes, store: Store::Own(Arc::new(memory)), scales };
        Ok(Self { panels, bias, format })
    }

    /// The same weights, as far as the first `outputs`.
    pub(super) fn first_outputs(&self, outputs: usize) -> Self {
        Self { panels: Panels { outputs, ..self.panels.clone() }, ..self.clone() }
    }
}

/// max |w| / 127, so that the largest weight has the largest code; rounded to what is stored, never to zero.
fn stored_scale(weights: impl Iterator<Item = f32>) -> f16 {
    let largest = weights.fold(0f32, |m, w| m.max(w.abs()));
    f16::from_f32(largest / 127.0).max(f16::MIN_POSITIVE_SUBNORMAL)
}

fn code(weight: f32, scale: f32) -> u8 {
    ((weight / scale).round_ties_even().clamp(-127.0, 127.0) as i32 + OFFSET) as u8
}

/// Weights as they came.
struct Source<'a> {
    data: &'a [f32],
    order: WeightOrder,
    inputs: usize,
    outputs: usize,
}

impl Source<'_> {
    /// A weight; zero in the padding.
    fn at(&self, input: usize, output: usize) -> f32 {
        if input >= self.inputs || output >= self.outputs {
            return 0.0;
        }
        match self.order {
            WeightOrder::InputOutput => self.data[input * self.outputs + output],
            WeightOrder::OutputInput => self.data[output * self.inputs + input],
        }
    }

    fn fill(&self, panel: usize, kind: PanelType, scales: &[f16], to: &mut [u8]) {
        let first = panel * LANES;
        let padded = kind.padded_inputs(self.inputs);
        match kind {
            PanelType::F32 => self.fill_plain::<f32>(first, to),
            PanelType::F16 => self.fill_plain::<f16>(first, to),
            PanelType::Bf16 => {
                let to = super::simd::cast_mut::<u8, [[bf16; 2]; LANES]>(to);
                for (pair, to) in to.iter_mut().enumerate() {
                    for (lane, to) in to.iter_mut().enumerate() {
                        *to = [0, 1].map(|i| bf16::from_f32(self.at(2 * pair + i, first + lane)));
                    }
                }
            }
            PanelType::Int8Channel => {
                let quads = super::simd::cast_mut::<u8, [[u8; 4]; LANES]>(to);
                for (quad, to) in quads[..padded / 4].iter_mut().enumerate() {
                    self.fill_quad(4 * quad, first, |lane| scales[first + lane].to_f32(), to);
                }
            }
            PanelType::Int8 => {
                for (block, to) in to.chunks_exact_mut(INT8_BLOCK_BYTES).enumerate() {
                    self.fill_block(block * INT8_BLOCK, first, to);
                }
            }
        }
    }

    fn fill_plain<T: Element>(&self, first: usize, to: &mut [u8]) {
        for (input, to) in super::simd::cast_mut::<u8, [T; LANES]>(to).iter_mut().enumerate() {
            for (lane, to) in to.iter_mut().enumerate() {
                *to = T::from_f32(self.at(input, first + lane));
            }
        }
    }

    fn fill_quad(&self, input: usize, first: usize, scale: impl Fn(usize) -> f32, to: &mut [[u8; 4]; LANES]) {
        for (lane, to) in to.iter_mut().enumerate() {
            *to = std::array::from_fn(|i| code(self.at(input + i, first + lane), scale(lane)));
        }
    }

    fn fill_block(&self, input: usize, first: usize, to: &mut [u8]) {
        let (scales, codes) = to.split_at_mut(64);
        let scales = super::simd::cast_mut::<u8, [f16; LANES]>(scales);
        let codes = super::simd::cast_mut::<u8, [[u8; 4]; LANES]>(codes);
        for (group, scales) in scales.iter_mut().enumerate() {
            let from = input + group * GROUP;
            for (lane, scale) in scales.iter_mut().enumerate() {
                let weights = (from..from + GROUP).map(|input| self.at(input, first + lane));
                *scale = stored_scale(weights);
            }
            for (quad, to) in codes[group * GROUP / 4..(group + 1) * GROUP / 4].iter_mut().enumerate() {
                self.fill_quad(from + 4 * quad, first, |lane| scales[lane].to_f32(), to);
            }
        }
    }
}

/// A table of embeddings, `[entries, width]` with padded rows in the storage type.
#[derive(Debug)]
pub struct CpuTable {
    pub(super) memory: Memory,
    pub(super) entries: usize,
    pub(super) width: usize,
}

impl CpuTable {
    pub(super) fn pack<T: Element>(pool: &mut Pool, table: &HostTensor) -> Result<Self, BackendError> {
        let (entries, width) = (table.shape[0], table.shape[1]);
        let stride = super::tensor::padded(width);
        let mut memory = Memory::zeroed(entries * stride * size_of::<T>())?;
        pool.chunks(&mut memory.of_mut::<T>()[..entries * stride], stride, |entry, to| {
            for (to, from) in to.iter_mut().zip(&table.data[entry * width..(entry + 1) * width]) {
                *to = T::from_f32(*from);
            }
        });
        Ok(Self { memory, entries, width })
    }

    /// The table as weights of a linear.
    pub(super) fn to_host<T: Element>(&self) -> HostTensor {
        let stride = super::tensor::padded(self.width);
        let rows = self.memory.of::<T>().chunks_exact(stride).take(self.entries);
        let data = rows.flat_map(|row| row[..self.width].iter().map(|x| x.to_f32())).collect();
        HostTensor { shape: vec![self.entries, self.width], data }
    }
}

/// The gain and bias of a norm in f32, rounded to the storage type first, with zeros as padding.
#[derive(Clone, Debug)]
pub struct CpuNorm {
    pub(super) kind: NormKind,
    pub(super) gain: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) width: usize,
    pub(super) eps: f32,
}

/// Cosines and sines of rotary positions, `[positions, pairs]`.
#[derive(Clone, Debug)]
pub struct CpuRope {
    pub(super) cos: Vec<f32>,
    pub(super) sin: Vec<f32>,
    pub(super) pairs: usize,
}
