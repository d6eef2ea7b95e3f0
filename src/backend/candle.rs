//! The reference backend: plain candle ops on the CPU, one after another. It is what faster backends are checked
//! against, and the baseline they are compared with.

use super::kv::CandleCache;
use super::marks::Clock;
use super::{AttentionSpec, Backend, BackendError, CacheSpec, HostTensor, KeysValues, Marks, Site};
use crate::llm::{DType, KvStorage, LinearRows, NormKind, Op, StepShape};
use candle_core::{D, DType as CandleDType, Device, Tensor};
use std::time::Instant;

/// candle on the CPU.
#[derive(Clone, Debug)]
pub struct CandleBackend {
    dtype: DType,
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
    gain: Tensor,
    bias: Tensor,
    eps: f64,
}

impl CandleBackend {
    /// candle with weights and activations of `dtype`, timed by the host's clock.
    pub fn new(dtype: DType) -> Self {
        Self::with_marks(dtype, Marks::new(Clock::Host(Instant::now())), 0.0)
    }

    pub(super) fn with_marks(dtype: DType, marks: Marks, gap_s: f64) -> Self {
        Self { dtype, marks, gap_s, mask: None }
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
        Ok(Tensor::from_vec(data, shape, &Device::Cpu)?.to_dtype(self.candle_dtype())?)
    }

    /// 0 where a query may look and -inf where not: `[new, context]` in f32.
    fn mask(&mut self, step: &StepShape, window: Option<usize>) -> Result<Option<Tensor>, BackendError> {
        if step.new_tokens == 1 && window.is_none_or(|w| w >= step.context) {
            return Ok(None);
        }
        if let Some((key, mask)) = &self.mask
            && *key == (*step, window)
        {
            return Ok(Some(mask.clone()));
        }
        let first = step.context - step.new_tokens;
        let data: Vec<f32> = (0..step.new_tokens)
            .flat_map(|row| {
                let query = first + row;
                let oldest = window.map_or(0, |w| (query + 1).saturating_sub(w));
                let visible = move |key: usize| (oldest..=query).contains(&key);
                (0..step.context).map(move |key| if visible(key) { 0.0 } else { f32::NEG_INFINITY })
            })
            .collect();
        let mask = Tensor::from_vec(data, (step.new_tokens, step.context), &Device::Cpu)?;
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

    /// K and V for attention; widening a quantised cache is marked as an op of its own.
    fn keys_values(
        &mut self,
        site: Site,
        step: &StepShape,
        q: &Tensor,
        spec: &AttentionSpec,
        source: &KeysValues<'_, Self>,
    ) -> Result<(Tensor, Tensor), BackendError> {
        let KeysValues::Cache(cache) = source else {
            return Self::split_keys_values(q, step, spec);
        };
        if !cache.spec.storage.is_quantised() {
            return cache.read(step.context, self.candle_dtype());
        }
        let start = self.marks.begin();
        let read = cache.read(step.context, self.candle_dtype())?;
        let (dtype, kv) = (self.dtype, cache.spec.storage);
        let (kv_heads, head_dim) = (spec.kv_heads, spec.head_dim);
        let op = || Op::CacheDequantise { kv_heads, head_dim, dtype, kv };
        self.marks.end(site.labelled("cache_dequantise"), op, step, start);
        Ok(read)
    }
}

/// softmax over the last dimension of f32 scores.
fn softmax(scores: &Tensor) -> Result<Tensor, BackendError> {
    let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?;
    let exp = shifted.exp()?;
    let sum = exp.sum_keepdim(D::Minus1)?;
    Ok(exp.broadcast_div(&sum)?)
}

/// softmax(Q K^T / sqrt(head_dim) + mask) V as `[rows, heads x head_dim]`; the softmax is in f32.
fn attend(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
    head_dim: usize,
) -> Result<Tensor, BackendError> {
    let (batch, heads, new_tokens, _) = q.dims4()?;
    let scores = q.matmul(&k.transpose(2, 3)?)?.to_dtype(CandleDType::F32)?;
    let mut scores = (scores / (head_dim as f64).sqrt())?;
    if let Some(mask) = mask {
        scores = scores.broadcast_add(mask)?;
    }
    let y = softmax(&scores)?.to_dtype(q.dtype())?.matmul(v)?;
    Ok(y.transpose(1, 2)?.reshape((batch * new_tokens, heads * head_dim))?)
}

impl Backend for CandleBackend {
    type Tensor = Tensor;
    type Table = Tensor;
    type Linear = CandleLinear;
    type Norm = CandleNorm;
    type Cache = CandleCache;

    fn name(&self) -> &'static str {
        "candle"
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn threads(&self) -> Option<usize> {
        // candle counts physical cores; this process may be allowed fewer.
        let allowed = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
        Some(candle_core::utils::get_num_threads().min(allowed))
    }

    fn load_table(&self, table: HostTensor) -> Result<Tensor, BackendError> {
        self.upload(table)
    }

    fn load_linear(
        &self,
        weight: HostTensor,
        bias: Option<HostTensor>,
    ) -> Result<CandleLinear, BackendError> {
        let weight = self.upload(weight)?.t()?.contiguous()?;
        let bias = bias.map(|b| self.upload(b)).transpose()?;
        Ok(CandleLinear { weight, bias })
    }

    fn load_norm(&self, gain: HostTensor, bias: HostTensor, eps: f64) -> Result<CandleNorm, BackendError> {
        // Rounded to the storage type first, as a model stored in it is, then kept in f32 for the arithmetic.
        let widen = |t: HostTensor| self.upload(t)?.to_dtype(CandleDType::F32).map_err(BackendError::from);
        Ok(CandleNorm { gain: widen(gain)?, bias: widen(bias)?, eps })
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
        let plain = match (spec.storage.element_bits, self.dtype) {
            (8, _) if spec.storage.is_quantised() => CandleDType::U8,
            (bits, dtype) if bits == dtype.bits() => self.candle_dtype(),
            (bits, dtype) => {
                let what = format!("a KV cache of {bits} bits per element beside {dtype} activations");
                return Err(BackendError::Unsupported { backend: "candle", what });
            }
        };
        CandleCache::new(spec, plain)
    }

    fn cache_bytes(&self, cache: &CandleCache) -> f64 {
        cache.allocated_bytes()
    }

    fn embed(
        &mut self,
        site: Site,
        step: &StepShape,
        ids: &[u32],
        tokens: &Tensor,
        positions: &Tensor,
    ) -> Result<Tensor, BackendError> {
        let start = self.marks.begin();
        let hidden = tokens.dim(1)?;
        let ids = Tensor::from_slice(ids, ids.len(), &Device::Cpu)?;
        let rows = tokens.index_select(&ids, 0)?.reshape((step.batch, step.new_tokens, hidden))?;
        let positions = positions.narrow(0, step.context - step.new_tokens, step.new_tokens)?;
        let x = rows.broadcast_add(&positions)?.reshape(((), hidden))?;
        let dtype = self.dtype;
        self.marks.end(site, || Op::Embed { hidden, positions: true, dtype }, step, start);
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
        let start = self.marks.begin();
        let hidden = x.dim(D::Minus1)?;
        let x = match rows {
            LinearRows::All => x.clone(),
            LinearRows::Last => {
                let sequences = x.reshape((step.batch, step.new_tokens, hidden))?;
                sequences.narrow(1, step.new_tokens - 1, 1)?.reshape((step.batch, hidden))?
            }
        };
        let x = x.to_dtype(CandleDType::F32)?;
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + norm.eps)?.sqrt()?;
        let y = centred.broadcast_div(&deviation)?.broadcast_mul(&norm.gain)?.broadcast_add(&norm.bias)?;
        let y = y.to_dtype(self.candle_dtype())?;
        let dtype = self.dtype;
        self.marks.end(site, || Op::Norm { norm: NormKind::Layer, hidden, rows, dtype }, step, start);
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
        let start = self.marks.begin();
        let y = x.matmul(&linear.weight.t()?)?;
        let y = match &linear.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        let (output, input) = linear.weight.dims2()?;
        let (bias, dtype) = (linear.bias.is_some(), self.dtype);
        self.marks.end(site, || Op::Linear { input, output, bias, rows, dtype }, step, start);
        Ok(y)
    }

    fn gelu(&mut self, site: Site, step: &StepShape, x: &Tensor) -> Result<Tensor, BackendError> {
        let start = self.marks.begin();
        let y = x.gelu()?;
        let (width, dtype) = (x.dim(D::Minus1)?, self.dtype);
        self.marks.end(site, || Op::Gelu { width, dtype }, step, start);
        Ok(y)
    }

    fn residual(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &Tensor,
        branch: &Tensor,
    ) -> Result<Tensor, BackendError> {
        let start = self.marks.begin();
        let y = (x + branch)?;
        let (hidden, dtype) = (x.dim(D::Minus1)?, self.dtype);
        self.marks.end(site, || Op::Residual { hidden, dtype }, step, start);
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
        let start = self.marks.begin();
        let (k, v) = Self::split_keys_values(qkv, step, spec)?;
        cache.append(&k, &v, step.context - step.new_tokens)?;
        let (dtype, kv) = (self.dtype, cache.spec.storage);
        let (kv_heads, head_dim) = (spec.kv_heads, spec.head_dim);
        self.marks.end(site, || Op::CacheAppend { kv_heads, head_dim, dtype, kv }, step, start);
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
        if spec.kv_heads != spec.heads {
            let what = "fewer K/V heads than query heads".to_string();
            return Err(BackendError::Unsupported { backend: "candle", what });
        }
        let (k, v) = self.keys_values(site, step, q, spec, &keys_values)?;
        let start = self.marks.begin();
        let mask = self.mask(step, spec.window)?;
        let q = Self::heads(q, step, 0, spec.heads, spec.head_dim)?;
        let y = attend(&q, &k, &v, mask.as_ref(), spec.head_dim)?;
        // K and V were widened before: what this op reads is in the activations' type.
        let op = Op::Attention {
            heads: spec.heads,
            kv_heads: spec.kv_heads,
            head_dim: spec.head_dim,
            dtype: self.dtype,
            kv: KvStorage::plain(self.dtype.bits()),
            masked_computed: true,
        };
        self.marks.end(site, || op, step, start);
        Ok(y)
    }

    fn argmax(&mut self, site: Site, step: &StepShape, logits: &Tensor) -> Result<Vec<u32>, BackendError> {
        let start = self.marks.begin();
        let ids = logits.argmax(D::Minus1)?.to_vec1()?;
        let (vocab, dtype) = (logits.dim(D::Minus1)?, self.dtype);
        self.marks.end(site, || Op::Argmax { vocab, dtype }, step, start);
        self.marks.advance(self.gap_s);
        Ok(ids)
    }

    fn to_host(&mut self, x: &Tensor) -> Result<HostTensor, BackendError> {
        let data = x.to_dtype(CandleDType::F32)?.flatten_all()?.to_vec1()?;
        Ok(HostTensor { shape: x.dims().to_vec(), data })
    }

    fn now(&mut self) -> f64 {
        self.marks.now()
    }

    fn marks(&mut self) -> &mut Marks {
        &mut self.marks
    }
}
