//! The reference backend: plain candle ops, one after another, on the CPU or (feature `candle-cuda`) by candle's own CUDA. It is what faster backends are checked
//! against, and the baseline they are compared with.

mod backend;
mod kv;
mod ops;

use super::marks::Clock;
use super::{AttentionSpec, BackendError, HostTensor, KeysValues, Marks, Site};
use crate::llm::{DType, KvStorage, NormKind, Op, StepShape};
use candle_core::{D, DType as CandleDType, Device, Tensor};
use std::time::Instant;

/// candle on the CPU, or on a GPU.
#[derive(Clone, Debug)]
pub struct CandleBackend {
    dtype: DType,
    device: Device,
    marks: Marks,
    /// What a step takes outside its ops on a scripted clock.
    gap_s: f64,
    /// The last mask and the shape it was made for: every layer of a step uses the same.
    mask: Option<((StepShape, Option<usize>), Tensor)>,
}

/// Weights `[output, input]`, so that a prefix of the outputs is a view, and the bias.
#[derive(Clone, Debug)]
pub struct CandleLinear {
    weight: Tensor,
    bias: Option<Tensor>,
}

/// Gain and bias in f32.
#[derive(Clone, Debug)]
pub struct CandleNorm {
    kind: NormKind,
    gain: Tensor,
    bias: Option<Tensor>,
    eps: f64,
}

/// Cosines and sines of every position, `[positions, pairs]` in f32.
#[derive(Clone, Debug)]
pub struct CandleRope {
    cos: Tensor,
    sin: Tensor,
}

impl CandleBackend {
    /// candle with weights and activations of `dtype`, timed by the host's clock.
    pub fn new(dtype: DType) -> Self {
        Self::with_marks(dtype, Marks::new(Clock::Host(Instant::now())), 0.0)
    }

    /// The same on `threads` threads: of the pool that candle uses, which is one for the whole process.
    ///
    /// # Errors
    /// When that pool was used before: its size is fixed then.
    pub fn with_threads(self, threads: usize) -> Result<Self, BackendError> {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(|error| {
            BackendError::System {
                what: format!("{threads} threads for candle"),
                source: std::io::Error::other(error),
            }
        })?;
        Ok(self)
    }

    /// candle's own CUDA kernels on the GPU number `ordinal`, timed by the host's clock after the device is done.
    ///
    /// # Errors
    /// When this kprof was built without the feature `candle-cuda`, or candle cannot open the device.
    pub fn on_cuda(dtype: DType, ordinal: usize) -> Result<Self, BackendError> {
        if !Self::HAS_CUDA {
            let what = "the GPU: this kprof was built without the feature candle-cuda".to_string();
            return Err(BackendError::Unsupported { backend: "candle", what });
        }
        Ok(Self { device: Device::new_cuda(ordinal)?, ..Self::new(dtype) })
    }

    /// Whether this kprof was built with candle's CUDA kernels.
    pub const HAS_CUDA: bool = cfg!(feature = "candle-cuda");

    pub(super) fn with_marks(dtype: DType, marks: Marks, gap_s: f64) -> Self {
        Self { dtype, device: Device::Cpu, marks, gap_s, mask: None }
    }

    /// An op begins: where ops are timed, when those before it are done.
    fn begin(&mut self, site: &Site) -> Result<f64, BackendError> {
        self.finish_marked()?;
        Ok(self.marks.begin(site))
    }

    /// An op that began at `start_s` is over: where ops are timed, when the device is done with it.
    fn end(
        &mut self,
        site: Site,
        op: impl FnOnce() -> Op,
        step: &StepShape,
        start_s: f64,
    ) -> Result<(), BackendError> {
        self.finish_marked()?;
        self.marks.end(site, op, step, start_s);
        Ok(())
    }

    /// Waits for the device where ops are timed; the CPU is done when an op returns.
    fn finish_marked(&self) -> Result<(), BackendError> {
        if self.marks.is_on() { Ok(self.device.synchronize()?) } else { Ok(()) }
    }

    fn candle_dtype(&self) -> CandleDType {
        match self.dtype {
            DType::F32 => CandleDType::F32,
            DType::Bf16 => CandleDType::BF16,
            DType::F16 => CandleDType::F16,
        }
    }

    fn upload(&self, tensor: HostTensor) -> Result<Tensor, BackendError> {
        let HostTensor { shape, data } = tensor;
        Ok(Tensor::from_vec(data, shape, &self.device)?.to_dtype(self.candle_dtype())?)
    }

    /// The mask of a step, made once for all its layers; a single token sees all that is visible.
    fn mask(&mut self, step: &StepShape, window: Option<usize>) -> Result<Option<Tensor>, BackendError> {
        if step.new_tokens == 1 {
            return Ok(None);
        }
        if let Some((key, mask)) = &self.mask
            && *key == (*step, window)
        {
            return Ok(Some(mask.clone()));
        }
        let mask = ops::mask(step, window, &self.device)?;
        self.mask = Some(((*step, window), mask.clone()));
        Ok(Some(mask))
    }

    /// Columns `from .. from + heads x head_dim` of `[rows, width]` as `[batch, heads, new, head_dim]`.
    fn heads(
        x: &Tensor,
        step: &StepShape,
        from: usize,
        heads: usize,
        head_dim: usize,
    ) -> Result<Tensor, BackendError> {
        let columns = x.narrow(D::Minus1, from, heads * head_dim)?;
        let split = columns.reshape((step.batch, step.new_tokens, heads, head_dim))?;
        Ok(split.transpose(1, 2)?.contiguous()?)
    }

    /// K and V of activations `[rows, (heads + 2 kv_heads) x head_dim]`.
    fn split_keys_values(
        qkv: &Tensor,
        step: &StepShape,
        spec: &AttentionSpec,
    ) -> Result<(Tensor, Tensor), BackendError> {
        let k_at = spec.heads * spec.head_dim;
        let v_at = k_at + spec.kv_heads * spec.head_dim;
        Ok((
            Self::heads(qkv, step, k_at, spec.kv_heads, spec.head_dim)?,
            Self::heads(qkv, step, v_at, spec.kv_heads, spec.head_dim)?,
        ))
    }

    /// The K and V that attention sees; converting a cache of another type is marked as an op of its own.
    fn keys_values(
        &mut self,
        site: Site,
        step: &StepShape,
        q: &Tensor,
        spec: &AttentionSpec,
        source: &KeysValues<'_, Self>,
    ) -> Result<(Tensor, Tensor), BackendError> {
        let visible = step.visible(spec.window);
        let from = step.context - visible;
        let KeysValues::Cache(cache) = source else {
            let (k, v) = Self::split_keys_values(q, step, spec)?;
            return Ok((k.narrow(2, from, visible)?, v.narrow(2, from, visible)?));
        };
        let kv = cache.spec.storage;
        if kv == KvStorage::plain(self.dtype) {
            return cache.read(from, visible, self.candle_dtype());
        }
        let start = self.begin(&site.labelled("cache_dequantise"))?;
        let read = cache.read(from, visible, self.candle_dtype())?;
        let (kv_heads, head_dim, dtype, window) = (spec.kv_heads, spec.head_dim, self.dtype, spec.window);
        let op = || Op::CacheDequantise { kv_heads, head_dim, dtype, kv, window };
        self.end(site.labelled("cache_dequantise"), op, step, start)?;
        Ok(read)
    }

    /// Columns `from .. from + heads x head_dim` of `x` as `[batch, new, heads, head_dim]`, put through `change`, and
    /// the other columns as they are.
    fn change_heads(
        x: &Tensor,
        step: &StepShape,
        (from, heads, head_dim): (usize, usize, usize),
        change: impl FnOnce(&Tensor) -> Result<Tensor, BackendError>,
    ) -> Result<Tensor, BackendError> {
        let (columns, width) = (heads * head_dim, x.dim(D::Minus1)?);
        let chosen = x.narrow(D::Minus1, from, columns)?;
        let chosen = chosen.reshape((step.batch, step.new_tokens, heads, head_dim))?;
        let changed = change(&chosen)?.reshape(((), columns))?;
        let before = x.narrow(D::Minus1, 0, from)?;
        let after = x.narrow(D::Minus1, from + columns, width - from - columns)?;
        let parts: Vec<&Tensor> =
            [&before, &changed, &after].into_iter().filter(|part| part.elem_count() > 0).collect();
        Ok(Tensor::cat(&parts, D::Minus1)?)
    }
}
