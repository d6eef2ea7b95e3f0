//! The reference backend: plain candle ops, one after another, on the CPU or (feature `candle-cuda`) by candle's own CUDA. It is what faster backends are checked
//! against, and the baseline they are compared with.

mod kv;
mod ops;

use super::marks::Clock;
use super::{
    AttentionSpec, Backend, BackendError, CacheSpec, HostTensor, KeysValues, Marks, Site, WeightOrder,
};
use crate::llm::{Activation, DType, KvStorage, LinearRows, NormKind, Op, StepShape};
use candle_core::{D, DType as CandleDType, Device, Tensor};
use kv::CandleCache;
use std::ops::Range;
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

impl Backend for CandleBackend {
    type Tensor = Tensor;
    type Table = Tensor;
    type Linear = CandleLinear;
    type Norm = CandleNorm;
    type Rope = CandleRope;
    type Cache = CandleCache;

    fn name(&self) -> &'static str {
        "candle"
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn threads(&self) -> Option<usize> {
        if !self.device.is_cpu() {
            return None;
        }
        // candle counts physical cores; this process may be allowed fewer.
        let allowed = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
        Some(candle_core::utils::get_num_threads().min(allowed).min(rayon::current_num_threads()))
    }

    fn load_table(&self, table: HostTensor) -> Result<Tensor, BackendError> {
        self.upload(table)
    }

    fn load_linear(
        &self,
        weight: HostTensor,
        order: WeightOrder,
        bias: Option<HostTensor>,
    ) -> Result<CandleLinear, BackendError> {
        let weight = match order {
            WeightOrder::InputOutput => self.upload(weight)?.t()?.contiguous()?,
            WeightOrder::OutputInput => self.upload(weight)?,
        };
        let bias = bias.map(|b| self.upload(b)).transpose()?;
        Ok(CandleLinear { weight, bias })
    }

    fn load_norm(
        &self,
        kind: NormKind,
        gain: HostTensor,
        bias: Option<HostTensor>,
        eps: f64,
    ) -> Result<CandleNorm, BackendError> {
        // Rounded to the storage type first, as a model stored in it is, then kept in f32 for the arithmetic.
        let widen = |t: HostTensor| self.upload(t)?.to_dtype(CandleDType::F32).map_err(BackendError::from);
        Ok(CandleNorm { kind, gain: widen(gain)?, bias: bias.map(widen).transpose()?, eps })
    }

    fn load_rope(&self, cos: HostTensor, sin: HostTensor) -> Result<CandleRope, BackendError> {
        let table = |t: HostTensor| Tensor::from_vec(t.data, t.shape, &self.device);
        Ok(CandleRope { cos: table(cos)?, sin: table(sin)? })
    }

    fn tied_head(&self, table: &Tensor) -> Result<CandleLinear, BackendError> {
        Ok(CandleLinear { weight: table.clone(), bias: None })
    }

    fn first_outputs(&self, linear: &CandleLinear, outputs: usize) -> Result<CandleLinear, BackendError> {
        let weight = linear.weight.narrow(0, 0, outputs)?;
        let bias = linear.bias.as_ref().map(|b| b.narrow(0, 0, outputs)).transpose()?;
        Ok(CandleLinear { weight, bias })
    }

    fn new_cache(&self, spec: CacheSpec) -> Result<CandleCache, BackendError> {
        CandleCache::new(spec, &self.device)
    }

    fn cache_bytes(&self, cache: &CandleCache) -> f64 {
        cache.allocated_bytes()
    }

    fn cache_places(&self, cache: &CandleCache) -> Vec<Range<usize>> {
        cache.places()
    }

    fn release(&mut self) {
        self.mask = None;
    }

    fn embed(
        &mut self,
        site: Site,
        step: &StepShape,
        ids: &[u32],
        tokens: &Tensor,
        positions: Option<&Tensor>,
    ) -> Result<Tensor, BackendError> {
        let start = self.begin(&site)?;
        let hidden = tokens.dim(1)?;
        let ids = Tensor::from_slice(ids, ids.len(), &self.device)?;
        let mut x = tokens.index_select(&ids, 0)?;
        if let Some(positions) = positions {
            let rows = x.reshape((step.batch, step.new_tokens, hidden))?;
            let positions = positions.narrow(0, step.context - step.new_tokens, step.new_tokens)?;
            x = rows.broadcast_add(&positions)?.reshape(((), hidden))?;
        }
        let (positions, dtype) = (positions.is_some(), self.dtype);
        self.end(site, || Op::Embed { hidden, positions, dtype }, step, start)?;
        Ok(x)
    }

    fn norm(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &Tensor,
        norm: &CandleNorm,
        rows: LinearRows,
    ) -> Result<Tensor, BackendError> {
        let start = self.begin(&site)?;
        let hidden = x.dim(D::Minus1)?;
        let x = match rows {
            LinearRows::All => x.clone(),
            LinearRows::Last => {
                let sequences = x.reshape((step.batch, step.new_tokens, hidden))?;
                sequences.narrow(1, step.new_tokens - 1, 1)?.reshape((step.batch, hidden))?
            }
        };
        let x = x.to_dtype(CandleDType::F32)?;
        let y = match norm.kind {
            NormKind::Layer => ops::layer_norm(&x, &norm.gain, norm.bias.as_ref(), norm.eps)?,
            NormKind::Rms => ops::rms_norm(&x, &norm.gain, norm.eps)?,
        };
        let y = y.to_dtype(self.candle_dtype())?;
        let (kind, dtype) = (norm.kind, self.dtype);
        self.end(site, || Op::Norm { norm: kind, hidden, rows, dtype }, step, start)?;
        Ok(y)
    }

    fn linear(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &Tensor,
        linear: &CandleLinear,
        rows: LinearRows,
    ) -> Result<Tensor, BackendError> {
        let start = self.begin(&site)?;
        let y = x.matmul(&linear.weight.t()?)?;
        let y = match &linear.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        let (output, input) = linear.weight.dims2()?;
        let (bias, dtype, weights) = (linear.bias.is_some(), self.dtype, None);
        let op = || Op::Linear { input, output, bias, rows, dtype, weights };
        self.end(site, op, step, start)?;
        Ok(y)
    }

    fn gelu(&mut self, site: Site, step: &StepShape, x: &Tensor) -> Result<Tensor, BackendError> {
        let start = self.begin(&site)?;
        let y = x.gelu()?;
        let (width, dtype) = (x.dim(D::Minus1)?, self.dtype);
        self.end(site, || Op::Gelu { width, dtype }, step, start)?;
        Ok(y)
    }

    fn head_norm(
        &mut self,
        site: Site,
        step: &StepShape,
        x: Tensor,
        norm: &CandleNorm,
        first_head: usize,
        heads: usize,
    ) -> Result<Tensor, BackendError> {
        let start = self.begin(&site)?;
        let head_dim = norm.gain.dim(0)?;
        let y = Self::change_heads(&x, step, (first_head * head_dim, heads, head_dim), |part| {
            let normed = ops::rms_norm(&part.to_dtype(CandleDType::F32)?, &norm.gain, norm.eps)?;
            Ok(normed.to_dtype(x.dtype())?)
        })?;
        let dtype = self.dtype;
        self.end(site, || Op::HeadNorm { heads, head_dim, dtype }, step, start)?;
        Ok(y)
    }

    fn rope(
        &mut self,
        site: Site,
        step: &StepShape,
        x: Tensor,
        rope: &CandleRope,
        heads: usize,
        head_dim: usize,
    ) -> Result<Tensor, BackendError> {
        let start = self.begin(&site)?;
        let rows = |table: &Tensor| table.narrow(0, step.context - step.new_tokens, step.new_tokens);
        let (cos, sin) = (rows(&rope.cos)?, rows(&rope.sin)?);
        let y = Self::change_heads(&x, step, (0, heads, head_dim), |part| ops::rotate(part, &cos, &sin))?;
        let (channels, dtype) = (2 * cos.dim(1)?, self.dtype);
        self.end(site, || Op::Rope { heads, channels, dtype }, step, start)?;
        Ok(y)
    }

    fn gate(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &Tensor,
        activation: Activation,
    ) -> Result<Tensor, BackendError> {
        let start = self.begin(&site)?;
        let y = ops::gate(x, activation)?;
        let (width, dtype) = (y.dim(D::Minus1)?, self.dtype);
        self.end(site, || Op::Gate { width, activation, dtype }, step, start)?;
        Ok(y)
    }

    fn residual(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &Tensor,
        branch: &Tensor,
    ) -> Result<Tensor, BackendError> {
        let start = self.begin(&site)?;
        let y = (x + branch)?;
        let (hidden, dtype) = (x.dim(D::Minus1)?, self.dtype);
        self.end(site, || Op::Residual { hidden, dtype }, step, start)?;
        Ok(y)
    }

    fn cache_append(
        &mut self,
        site: Site,
        step: &StepShape,
        qkv: &Tensor,
        spec: &AttentionSpec,
        cache: &mut CandleCache,
    ) -> Result<(), BackendError> {
        let start = self.begin(&site)?;
        let (k, v) = Self::split_keys_values(qkv, step, spec)?;
        cache.append(&k, &v, step.context - step.new_tokens)?;
        let (dtype, kv) = (self.dtype, cache.spec.storage);
        let (kv_heads, head_dim) = (spec.kv_heads, spec.head_dim);
        self.end(site, || Op::CacheAppend { kv_heads, head_dim, dtype, kv }, step, start)?;
        Ok(())
    }

    fn attention(
        &mut self,
        site: Site,
        step: &StepShape,
        q: &Tensor,
        spec: &AttentionSpec,
        keys_values: KeysValues<'_, Self>,
    ) -> Result<Tensor, BackendError> {
        let (k, v) = self.keys_values(site, step, q, spec, &keys_values)?;
        let start = self.begin(&site)?;
        let mask = self.mask(step, spec.window)?;
        let q = Self::heads(q, step, 0, spec.heads, spec.head_dim)?;
        let y = ops::attend(&q, &k, &v, mask.as_ref())?;
        // K and V were converted before: what this op reads is in the activations' type.
        let op = Op::Attention {
            heads: spec.heads,
            kv_heads: spec.kv_heads,
            head_dim: spec.head_dim,
            dtype: self.dtype,
            kv: KvStorage::plain(self.dtype),
            masked_computed: true,
            window: spec.window,
        };
        self.end(site, || op, step, start)?;
        Ok(y)
    }

    fn argmax(
        &mut self,
        site: Site,
        step: &StepShape,
        logits: &Tensor,
        ids: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        let start = self.begin(&site)?;
        *ids = logits.argmax(D::Minus1)?.to_vec1()?;
        let (vocab, dtype) = (logits.dim(D::Minus1)?, self.dtype);
        self.end(site, || Op::Argmax { vocab, dtype }, step, start)?;
        self.marks.advance(self.gap_s);
        Ok(())
    }

    fn to_host(&mut self, x: &Tensor) -> Result<HostTensor, BackendError> {
        let data = x.to_dtype(CandleDType::F32)?.flatten_all()?.to_vec1()?;
        Ok(HostTensor { shape: x.dims().to_vec(), data })
    }

    fn now(&mut self) -> f64 {
        // A device that fails says so at the next op.
        let _ = self.device.synchronize();
        self.marks.now()
    }

    fn marks(&mut self) -> &mut Marks {
        &mut self.marks
    }
}
