//! The ops of the reference backend: each a few of candle's, between a beginning and an end where ops are timed.

use super::kv::CandleCache;
use super::{CandleBackend, CandleLinear, CandleNorm, CandleRope, ops};
use crate::backend::{
    AttentionSpec, Backend, BackendError, CacheSpec, HostTensor, KeysValues, Marks, Site, WeightOrder,
};
use crate::llm::{Activation, DType, KvStorage, LinearRows, NormKind, Op, StepShape};
use candle_core::{D, DType as CandleDType, Tensor};
use std::ops::Range;

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
