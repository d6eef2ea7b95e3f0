//! What lies on the device: activations, weights and caches.

use super::arena::Block;
use super::driver::Gpu;
use super::error::CudaError;
use super::handles::Memory;
use crate::backend::{BackendError, CacheSpec, HostTensor, WeightOrder};
use crate::llm::{DType, KvElement, NormKind};
use half::{bf16, f16};
use rayon::prelude::*;
use std::rc::Rc;

/// Activations: `[rows, width]`, rows one after another.
#[derive(Clone, Debug)]
pub struct CudaTensor {
    pub(super) block: Rc<Block>,
    pub(super) rows: usize,
    pub(super) width: usize,
}

impl CudaTensor {
    pub(super) fn address(&self) -> u64 {
        self.block.address
    }
}

/// A table of embeddings.
#[derive(Clone, Debug)]
pub struct CudaTable {
    pub(super) memory: Rc<Memory>,
    pub(super) entries: usize,
    pub(super) width: usize,
}

/// Weights `[outputs, inputs]`: a prefix of the outputs is the same memory.
#[derive(Clone, Debug)]
pub struct CudaLinear {
    pub(super) weight: Rc<Memory>,
    pub(super) bias: Option<Rc<Memory>>,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

/// Gain and bias in the storage type.
#[derive(Debug)]
pub struct CudaNorm {
    pub(super) kind: NormKind,
    pub(super) gain: Memory,
    pub(super) bias: Option<Memory>,
    pub(super) width: usize,
    pub(super) eps: f32,
}

/// Cosines and sines of every position, in f32.
#[derive(Debug)]
pub struct CudaRope {
    pub(super) cos: Memory,
    pub(super) sin: Memory,
    pub(super) pairs: usize,
}

/// K and V of one layer, `[batch, kv_heads, capacity, head_dim]` each, and their scales where quantised.
#[derive(Debug)]
pub struct CudaCache {
    pub(super) k: Memory,
    pub(super) v: Memory,
    pub(super) scales: Option<[Memory; 2]>,
    pub(super) spec: CacheSpec,
}

impl CudaCache {
    /// # Errors
    /// When the storage is not one that kernels read, or there is no room.
    pub(super) fn new(gpu: &Rc<Gpu>, spec: CacheSpec) -> Result<Self, BackendError> {
        let refuse = |what: String| Err(BackendError::Unsupported { backend: "cuda", what });
        match spec.storage.element {
            KvElement::Fp8 | KvElement::Int4 => {
                return refuse(format!("a KV cache of {}", spec.storage.element.name()));
            }
            KvElement::Int8 if spec.storage.scales_per_head(spec.head_dim) != 1 => {
                return refuse("an INT8 KV cache with other scales than one per token and head".to_string());
            }
            _ => {}
        }
        let tokens = spec.batch * spec.kv_heads * spec.capacity;
        let bytes = tokens * spec.head_dim * spec.storage.element.bits() as usize / 8;
        let half = |bytes| gpu.zeros(bytes, "a KV cache");
        let scales =
            if spec.storage.is_quantised() { Some([half(2 * tokens)?, half(2 * tokens)?]) } else { None };
        Ok(Self { k: half(bytes)?, v: half(bytes)?, scales, spec })
    }

    /// Both halves with their scales, capacity included.
    pub(super) fn allocated_bytes(&self) -> f64 {
        let scales = self.scales.iter().flatten().map(|m| m.bytes).sum::<usize>();
        (self.k.bytes + self.v.bytes + scales) as f64
    }
}

/// Numbers in the storage type.
pub(super) fn encode(data: &[f32], dtype: DType) -> Vec<u8> {
    fn of<const N: usize>(data: &[f32], bytes: impl Fn(f32) -> [u8; N] + Sync) -> Vec<u8> {
        let mut out = vec![0u8; data.len() * N];
        let (chunks, _) = out.as_chunks_mut::<N>();
        chunks.par_chunks_mut(1 << 14).zip(data.par_chunks(1 << 14)).for_each(|(to, from)| {
            for (to, from) in to.iter_mut().zip(from) {
                *to = bytes(*from);
            }
        });
        out
    }
    match dtype {
        DType::F32 => of(data, f32::to_le_bytes),
        DType::Bf16 => of(data, |x| bf16::from_f32(x).to_le_bytes()),
        DType::F16 => of(data, |x| f16::from_f32(x).to_le_bytes()),
    }
}

/// Numbers of the storage type in f32.
pub(super) fn decode(bytes: &[u8], dtype: DType) -> Vec<f32> {
    match dtype {
        DType::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        DType::Bf16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        DType::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
    }
}

/// `[inputs, outputs]` as `[outputs, inputs]`, in tiles that caches hold.
fn transposed(data: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut out = vec![0.0; data.len()];
    out.par_chunks_mut(TILE * inputs).enumerate().for_each(|(tile, rows)| {
        let first = tile * TILE;
        for i in 0..inputs {
            for (o, row) in rows.chunks_exact_mut(inputs).enumerate() {
                row[i] = data[i * outputs + first + o];
            }
        }
    });
    out
}

/// The widths that kernels load in vectors of eight.
pub(super) fn check_eights(what: &str, width: usize) -> Result<(), BackendError> {
    if width.is_multiple_of(8) && width > 0 {
        return Ok(());
    }
    let what = format!("{what} of {width}: its kernels read eight elements at a time");
    Err(BackendError::Unsupported { backend: "cuda", what })
}

/// Takes tensors to a device.
pub(super) struct Loader<'a> {
    pub(super) gpu: &'a Rc<Gpu>,
    pub(super) dtype: DType,
}

impl Loader<'_> {
    fn upload(&self, data: &[f32]) -> Result<Memory, CudaError> {
        let memory = self.gpu.upload(&encode(data, self.dtype), "weights")?;
        // The bytes are dropped now.
        self.gpu.wait()?;
        Ok(memory)
    }

    pub(super) fn table(&self, table: &HostTensor) -> Result<CudaTable, BackendError> {
        let (entries, width) = (table.shape[0], table.shape[1]);
        check_eights("embeddings", width)?;
        Ok(CudaTable { memory: Rc::new(self.upload(&table.data)?), entries, width })
    }

    pub(super) fn linear(
        &self,
        weight: &HostTensor,
        order: WeightOrder,
        bias: Option<&HostTensor>,
    ) -> Result<CudaLinear, BackendError> {
        let (first, second) = (weight.shape[0], weight.shape[1]);
        let (inputs, outputs, memory) = match order {
            WeightOrder::OutputInput => (second, first, self.upload(&weight.data)?),
            WeightOrder::InputOutput => {
                (first, second, self.upload(&transposed(&weight.data, first, second))?)
            }
        };
        check_eights("linears with inputs", inputs)?;
        let bias = bias.map(|b| self.upload(&b.data)).transpose()?.map(Rc::new);
        Ok(CudaLinear { weight: Rc::new(memory), bias, inputs, outputs })
    }

    pub(super) fn norm(
        &self,
        kind: NormKind,
        gain: &HostTensor,
        bias: Option<&HostTensor>,
        eps: f64,
    ) -> Result<CudaNorm, BackendError> {
        let width = gain.data.len();
        check_eights("norms", width)?;
        let bias = bias.map(|b| self.upload(&b.data)).transpose()?;
        Ok(CudaNorm { kind, gain: self.upload(&gain.data)?, bias, width, eps: eps as f32 })
    }

    pub(super) fn rope(&self, cos: &HostTensor, sin: &HostTensor) -> Result<CudaRope, BackendError> {
        let pairs = cos.shape.get(1).copied().unwrap_or(0);
        let f32s = Loader { gpu: self.gpu, dtype: DType::F32 };
        Ok(CudaRope { cos: f32s.upload(&cos.data)?, sin: f32s.upload(&sin.data)?, pairs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_turn_so_that_an_outputs_inputs_stand_side_by_side() {
        let (inputs, outputs) = (5, 70);
        let data: Vec<f32> = (0..inputs * outputs).map(|x| x as f32).collect();
        let turned = transposed(&data, inputs, outputs);
        for o in 0..outputs {
            for i in 0..inputs {
                assert_eq!(turned[o * inputs + i], data[i * outputs + o]);
            }
        }
    }

    #[test]
    fn numbers_come_back_rounded_once() {
        let data = [0.0, -1.5, 1.0e-3, 65504.0, 2.75e-3];
        assert_eq!(decode(&encode(&data, DType::F32), DType::F32), data);
        let rounded = data.map(|x| f16::from_f32(x).to_f32());
        assert_eq!(decode(&encode(&data, DType::F16), DType::F16), rounded);
        let rounded = data.map(|x| bf16::from_f32(x).to_f32());
        assert_eq!(decode(&encode(&data, DType::Bf16), DType::Bf16), rounded);
    }
}
