//! The fast CPU backend: fused ops on packed weights, vector and matrix instructions chosen at run time, and a thread
//! pool of its own.
//!
//! Activations are in the model's storage type between ops, arithmetic is in f32 (products of bfloat16 pairs and tiles
//! add up in f32). Ops that run as one are marked as one, with their parts.

mod attention;
mod cache;
mod linear;
mod memory;
mod ops;
mod options;
mod rows;
mod simd;
mod tensor;
mod weights;

pub use options::CpuOptions;
pub use simd::Isa;

#[cfg(target_arch = "x86_64")]
pub(crate) use simd::tiles_are_usable;

use super::marks::Clock;
use super::{
    AttentionSpec, Backend, BackendError, CacheSpec, HostTensor, KeysValues, Marks, Site, WeightOrder,
};
use crate::llm::{Activation, DType, KvStorage, LinearRows, NormKind, Op, StepShape, WeightFormat};
use cache::CpuCache;
use half::{bf16, f16};
use linear::{Engine, Epilogue, Input};
use simd::{Element, Pool};
use std::cell::RefCell;
use std::ops::Range;
use std::time::Instant;
use tensor::{Arena, CpuTensor};
use weights::{CpuLinear, CpuNorm, CpuRope, CpuTable};

/// kprof's own CPU implementation.
#[derive(Debug)]
pub struct CpuBackend {
    dtype: DType,
    weights: Option<WeightFormat>,
    isa: Isa,
    pool: RefCell<Pool>,
    arena: Arena,
    marks: Marks,
}

/// Runs `$body` with `$T` as the Rust type of a storage type.
macro_rules! by_dtype {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::Bf16 => {
                type $T = bf16;
                $body
            }
            DType::F16 => {
                type $T = f16;
                $body
            }
        }
    };
}

impl CpuBackend {
    /// The backend as `options` say, timed by the host's clock.
    ///
    /// # Errors
    /// When the CPU lacks the instructions asked for, or the system refuses threads.
    pub fn new(options: CpuOptions) -> Result<Self, BackendError> {
        let isa = options.choose_isa()?;
        weights::PanelType::check(options.weights)?;
        let threads = options.choose_threads();
        let cpus = if options.pin { options::allowed_cpus() } else { Vec::new() };
        if let Some(first) = cpus.first() {
            options::pin_to(*first);
        }
        let start = move |thread: usize| {
            if !cpus.is_empty() {
                options::pin_to(cpus[thread % cpus.len()]);
            }
        };
        let pool = Pool::new(threads, start)
            .map_err(|source| BackendError::System { what: format!("{threads} threads"), source })?;
        Ok(Self {
            dtype: options.dtype,
            weights: options.weights,
            isa,
            pool: RefCell::new(pool),
            arena: Arena::default(),
            marks: Marks::new(Clock::Host(Instant::now())),
        })
    }

    /// The instructions it computes with.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    fn engine(&mut self) -> Engine<'_> {
        Engine { isa: self.isa, pool: self.pool.get_mut(), arena: &self.arena }
    }

    /// A linear with what stands before and after it; `residual` is added to its result.
    fn fused(
        &mut self,
        step: &StepShape,
        x: &CpuTensor,
        (norm, rows): (Option<&CpuNorm>, LinearRows),
        linear: &CpuLinear,
        activation: Option<Activation>,
        residual: Option<&CpuTensor>,
    ) -> Result<CpuTensor, BackendError> {
        // A linear's own rows are those asked for already; a norm picks them.
        let every = if norm.is_some() && rows == LinearRows::Last { step.new_tokens } else { 1 };
        let input = Input { x, norm, every };
        by_dtype!(self.dtype, T => {
            let residual = residual.map(|r| (r.data::<T>(), r.stride));
            let outputs = linear.panels.outputs;
            let after = Epilogue { bias: linear.bias.as_deref(), activation, residual, outputs };
            self.engine().linear::<T>(&input, linear, &after)
        })
    }

    fn linear_op(&self, linear: &CpuLinear, rows: LinearRows) -> Op {
        Op::Linear {
            input: linear.panels.inputs,
            output: linear.panels.outputs,
            bias: linear.bias.is_some(),
            rows,
            dtype: self.dtype,
            weights: linear.format,
        }
    }

    fn norm_op(&self, norm: &CpuNorm, rows: LinearRows) -> Op {
        Op::Norm { norm: norm.kind, hidden: norm.width, rows, dtype: self.dtype }
    }

    /// K and V of a step that has no cache, in blocks.
    fn keys_values(
        &mut self,
        step: &StepShape,
        qkv: &CpuTensor,
        spec: &AttentionSpec,
    ) -> Result<(CpuTensor, cache::Layout, usize), BackendError> {
        let layout = cache::Layout::plain(self.dtype, spec.head_dim)?;
        let per_head = step.context.div_ceil(cache::BLOCK);
        let size = per_head * layout.block();
        let all = step.batch * spec.kv_heads * size;
        let mut memory = self.arena.bytes(all)?;
        memory.data_mut::<u8>()[..all].fill(0);
        let first_column = spec.heads * spec.head_dim;
        by_dtype!(self.dtype, T => cache::write::<T>(
            (self.isa, self.pool.get_mut()),
            &mut memory.data_mut::<u8>()[..all],
            size,
            layout,
            (step, spec.kv_heads),
            qkv,
            first_column,
        ));
        Ok((memory, layout, per_head))
    }
}

impl Backend for CpuBackend {
    type Tensor = CpuTensor;
    type Table = CpuTable;
    type Linear = CpuLinear;
    type Norm = CpuNorm;
    type Rope = CpuRope;
    type Cache = CpuCache;

    fn name(&self) -> &'static str {
        "cpu"
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn threads(&self) -> Option<usize> {
        Some(self.pool.borrow().threads())
    }

    fn instructions(&self) -> Option<&'static str> {
        // The matrix unit multiplies every type, in pieces of bf16; the dot products of bf16 are for that type alone.
        let used = match (self.isa, self.dtype) {
            (Isa::Avx512Bf16, DType::F32 | DType::F16) => Isa::Avx512,
            (isa, _) => isa,
        };
        Some(used.name())
    }

    fn load_table(&self, table: HostTensor) -> Result<CpuTable, BackendError> {
        let mut pool = self.pool.borrow_mut();
        by_dtype!(self.dtype, T => CpuTable::pack::<T>(&mut pool, &table))
    }

    fn load_linear(
        &self,
        weight: HostTensor,
        order: WeightOrder,
        bias: Option<HostTensor>,
    ) -> Result<CpuLinear, BackendError> {
        let kind = (self.weights, self.dtype);
        CpuLinear::pack(&mut self.pool.borrow_mut(), &weight, order, bias.as_ref(), kind)
    }

    fn load_norm(
        &self,
        kind: NormKind,
        gain: HostTensor,
        bias: Option<HostTensor>,
        eps: f64,
    ) -> Result<CpuNorm, BackendError> {
        let width = gain.data.len();
        let round = |x: f32| by_dtype!(self.dtype, T => Element::to_f32(<T as Element>::from_f32(x)));
        let fill = |data: &[f32]| {
            let mut filled: Vec<f32> = data.iter().map(|x| round(*x)).collect();
            filled.resize(tensor::padded(width), 0.0);
            filled
        };
        let bias = fill(bias.as_ref().map_or(&[], |b| &b.data));
        Ok(CpuNorm { kind, gain: fill(&gain.data), bias, width, eps: eps as f32 })
    }

    fn load_rope(&self, cos: HostTensor, sin: HostTensor) -> Result<CpuRope, BackendError> {
        let pairs = cos.shape.get(1).copied().unwrap_or(0);
        Ok(CpuRope { cos: cos.data, sin: sin.data, pairs })
    }

    fn tied_head(&self, table: &CpuTable) -> Result<CpuLinear, BackendError> {
        let weight = by_dtype!(self.dtype, T => table.to_host::<T>());
        self.load_linear(weight, WeightOrder::OutputInput, None)
    }

    fn first_outputs(&self, linear: &CpuLinear, outputs: usize) -> Result<CpuLinear, BackendError> {
        Ok(linear.first_outputs(outputs))
    }

    fn new_cache(&self, spec: CacheSpec) -> Result<CpuCache, BackendError> {
        CpuCache::new(spec)
    }

    fn cache_bytes(&self, cache: &CpuCache) -> f64 {
        cache.allocated_bytes()
    }

    fn cache_places(&self, cache: &CpuCache) -> Vec<Range<usize>> {
        vec![cache.place()]
    }

    fn release(&mut self) {
        self.arena.clear();
    }

    fn embed(
        &mut self,
        site: Site,
        step: &StepShape,
        ids: &[u32],
        tokens: &CpuTable,
        positions: Option<&CpuTable>,
    ) -> Result<CpuTensor, BackendError> {
        let start = self.marks.begin(&site);
        let first = step.context - step.new_tokens;
        let x = by_dtype!(self.dtype, T => ops::embed::<T>(
            &mut self.engine(), (step.new_tokens, first), ids, tokens, positions));
        let (hidden, positions, dtype) = (tokens.width, positions.is_some(), self.dtype);
        self.marks.end(site, || Op::Embed { hidden, positions, dtype }, step, start);
        x
    }

    fn norm(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &CpuTensor,
        norm: &CpuNorm,
        rows: LinearRows,
    ) -> Result<CpuTensor, BackendError> {
        let start = self.marks.begin(&site);
        let every = if rows == LinearRows::Last { step.new_tokens } else { 1 };
        let input = Input { x, norm: Some(norm), every };
        let y = by_dtype!(self.dtype, T => self.engine().prepared::<T, T>(&input));
        let op = self.norm_op(norm, rows);
        self.marks.end(site, || op, step, start);
        y
    }

    fn linear(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &CpuTensor,
        linear: &CpuLinear,
        rows: LinearRows,
    ) -> Result<CpuTensor, BackendError> {
        let start = self.marks.begin(&site);
        let y = self.fused(step, x, (None, rows), linear, None, None);
        let op = self.linear_op(linear, rows);
        self.marks.end(site, || op, step, start);
        y
    }

    fn gelu(&mut self, site: Site, step: &StepShape, x: &CpuTensor) -> Result<CpuTensor, BackendError> {
        let start = self.marks.begin(&site);
        let y = by_dtype!(self.dtype, T => ops::gelu::<T>(&mut self.engine(), x));
        let (width, dtype) = (x.width, self.dtype);
        self.marks.end(site, || Op::Gelu { width, dtype }, step, start);
        y
    }

    fn head_norm(
        &mut self,
        site: Site,
        step: &StepShape,
        x: CpuTensor,
        norm: &CpuNorm,
        first_head: usize,
        heads: usize,
    ) -> Result<CpuTensor, BackendError> {
        let start = self.marks.begin(&site);
        let y =
            by_dtype!(self.dtype, T => ops::head_norm::<T>(&mut self.engine(), x, norm, first_head, heads));
        let (head_dim, dtype) = (norm.width, self.dtype);
        self.marks.end(site, || Op::HeadNorm { heads, head_dim, dtype }, step, start);
        y
    }

    fn rope(
        &mut self,
        site: Site,
        step: &StepShape,
        x: CpuTensor,
        rope: &CpuRope,
        heads: usize,
        head_dim: usize,
    ) -> Result<CpuTensor, BackendError> {
        let start = self.marks.begin(&site);
        let shape = (heads, head_dim);
        let y = by_dtype!(self.dtype, T => ops::rope::<T>(&mut self.engine(), step, x, rope, shape));
        let (channels, dtype) = (2 * rope.pairs, self.dtype);
        self.marks.end(site, || Op::Rope { heads, channels, dtype }, step, start);
        y
    }

    fn gate(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &CpuTensor,
        activation: Activation,
    ) -> Result<CpuTensor, BackendError> {
        let start = self.marks.begin(&site);
        let y = by_dtype!(self.dtype, T => ops::gate::<T>(&mut self.engine(), x, activation));
        let (width, dtype) = (x.width / 2, self.dtype);
        self.marks.end(site, || Op::Gate { width, activation, dtype }, step, start);
        y
    }

    fn residual(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &CpuTensor,
        branch: &CpuTensor,
    ) -> Result<CpuTensor, BackendError> {
        let start = self.marks.begin(&site);
        let y = by_dtype!(self.dtype, T => ops::add::<T>(&mut self.engine(), x, branch));
        let (hidden, dtype) = (x.width, self.dtype);
        self.marks.end(site, || Op::Residual { hidden, dtype }, step, start);
        y
    }

    fn cache_append(
        &mut self,
        site: Site,
        step: &StepShape,
        qkv: &CpuTensor,
        spec: &AttentionSpec,
        cache: &mut CpuCache,
    ) -> Result<(), BackendError> {
        let start = self.marks.begin(&site);
        let (pool, first_column) = ((self.isa, self.pool.get_mut()), spec.heads * spec.head_dim);
        by_dtype!(self.dtype, T => cache.append::<T>(pool, step, qkv, first_column))?;
        let (dtype, kv) = (self.dtype, cache.spec.storage);
        let (kv_heads, head_dim) = (spec.kv_heads, spec.head_dim);
        self.marks.end(site, || Op::CacheAppend { kv_heads, head_dim, dtype, kv }, step, start);
        Ok(())
    }

    fn attention(
        &mut self,
        site: Site,
        step: &StepShape,
        q: &CpuTensor,
        spec: &AttentionSpec,
        keys_values: KeysValues<'_, Self>,
    ) -> Result<CpuTensor, BackendError> {
        let start = self.marks.begin(&site);
        let (y, kv) = match keys_values {
            KeysValues::Cache(cache) => (self.attend(step, q, spec, cache.blocks()), cache.spec.storage),
            KeysValues::Activations => {
                let (memory, layout, per_head) = self.keys_values(step, q, spec)?;
                let blocks = cache::Blocks { bytes: memory.data(), layout, per_head };
                (self.attend(step, q, spec, blocks), KvStorage::plain(self.dtype))
            }
        };
        let op = Op::Attention {
            heads: spec.heads,
            kv_heads: spec.kv_heads,
            head_dim: spec.head_dim,
            dtype: self.dtype,
            kv,
            masked_computed: false,
            window: spec.window,
        };
        self.marks.end(site, || op, step, start);
        y
    }

    fn argmax(
        &mut self,
        site: Site,
        step: &StepShape,
        logits: &CpuTensor,
        ids: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        let start = self.marks.begin(&site);
        by_dtype!(self.dtype, T => ops::argmax::<T>(&mut self.engine(), logits, ids))?;
        let (vocab, dtype) = (logits.width, self.dtype);
        self.marks.end(site, || Op::Argmax { vocab, dtype }, step, start);
        Ok(())
    }

    fn norm_linear(
        &mut self,
        sites: [Site; 2],
        step: &StepShape,
        x: &CpuTensor,
        norm: &CpuNorm,
        linear: &CpuLinear,
        rows: LinearRows,
    ) -> Result<CpuTensor, BackendError> {
        let start = self.marks.begin(&sites[1]);
        let y = self.fused(step, x, (Some(norm), rows), linear, None, None);
        let ops = || vec![self.norm_op(norm, rows), self.linear_op(linear, rows)];
        let op = self.marks.is_on().then(ops);
        self.marks.end(sites[1], || Op::Fused { ops: op.unwrap_or_default() }, step, start);
        y
    }

    fn norm_linear_gelu(
        &mut self,
        sites: [Site; 3],
        step: &StepShape,
        x: &CpuTensor,
        norm: &CpuNorm,
        linear: &CpuLinear,
    ) -> Result<CpuTensor, BackendError> {
        let start = self.marks.begin(&sites[1]);
        let rows = LinearRows::All;
        let activation = Some(Activation::GeluTanh);
        let y = self.fused(step, x, (Some(norm), rows), linear, activation, None);
        let gelu = Op::Gelu { width: linear.panels.outputs, dtype: self.dtype };
        let ops = || vec![self.norm_op(norm, rows), self.linear_op(linear, rows), gelu];
        let op = self.marks.is_on().then(ops);
        self.marks.end(sites[1], || Op::Fused { ops: op.unwrap_or_default() }, step, start);
        y
    }

    fn linear_residual(
        &mut self,
        sites: [Site; 2],
        step: &StepShape,
        y: &CpuTensor,
        linear: &CpuLinear,
        x: &CpuTensor,
    ) -> Result<CpuTensor, BackendError> {
        let start = self.marks.begin(&sites[0]);
        let sum = self.fused(step, y, (None, LinearRows::All), linear, None, Some(x));
        let residual = Op::Residual { hidden: x.width, dtype: self.dtype };
        let ops = || vec![self.linear_op(linear, LinearRows::All), residual];
        let op = self.marks.is_on().then(ops);
        self.marks.end(sites[0], || Op::Fused { ops: op.unwrap_or_default() }, step, start);
        sum
    }

    fn to_host(&mut self, x: &CpuTensor) -> Result<HostTensor, BackendError> {
        let data = by_dtype!(self.dtype, T => ops::to_host::<T>(x));
        Ok(HostTensor { shape: vec![x.rows, x.width], data })
    }

    fn now(&mut self) -> f64 {
        self.marks.now()
    }

    fn marks(&mut self) -> &mut Marks {
        &mut self.marks
    }
}

impl CpuBackend {
    fn attend(
        &mut self,
        step: &StepShape,
        q: &CpuTensor,
        spec: &AttentionSpec,
        blocks: cache::Blocks<'_>,
    ) -> Result<CpuTensor, BackendError> {
        by_dtype!(self.dtype, T => {
            let rows = step.batch * step.new_tokens;
            let mut y = self.arena.tensor::<T>(rows, spec.heads * spec.head_dim)?;
            let attention = attention::Attention {
                step: *step,
                spec: *spec,
                q: q.data::<T>(),
                q_stride: q.stride,
                blocks,
            };
            let stride = y.stride;
            attention.run(self.isa, self.pool.get_mut(), y.data_mut(), stride);
            ops::clear_padding::<T>(&mut y);
            Ok(y)
        })
    }
}
