//! The ops of the backend, each as its launches; those that fuse are marked as one, with their parts.

use super::args::{
    ArgmaxArgs, EmbedArgs, HeadNormArgs, NormArgs, PointwiseArgs, RopeArgs, activation_code, by_type,
    norm_code,
};
use super::attention::{self, Cut, Scratch, Source};
use super::blas;
use super::launch::Launch;
use super::linear::{self, Around, SKINNY_ROWS, WideCut};
use super::tensor::{
    CudaCache, CudaLinear, CudaNorm, CudaRope, CudaTable, CudaTensor, Loader, check_eights, decode,
};
use super::{CudaBackend, CudaError, MEETINGS};
use crate::backend::{
    AttentionSpec, Backend, BackendError, CacheSpec, DeviceMemory, HostTensor, KeysValues, Marks, Site,
    WeightOrder,
};
use crate::llm::{Activation, DType, KvStorage, LinearRows, NormKind, Op, StepShape};
use std::rc::Rc;

/// Most rows that a kernel with one row per block in z takes.
const MOST_ROWS: usize = 65_535;

fn pointwise(
    kernel: &'static str,
    x: &CudaTensor,
    other: Option<&CudaTensor>,
    activation: Option<Activation>,
    y: &CudaTensor,
) -> Launch {
    let args = PointwiseArgs {
        x: x.address(),
        other: other.map_or(0, CudaTensor::address),
        y: y.address(),
        rows: y.rows as i32,
        width: y.width as i32,
        activation: activation_code(activation),
        reserved: 0,
    };
    let blocks = (y.rows * y.width).div_ceil(8 * 256);
    Launch::new(kernel, [blocks as u32, 1, 1], 256, args)
}

/// `activation(x)`; without one, a copy.
pub(super) fn activation(
    dtype: DType,
    x: &CudaTensor,
    activation: Option<Activation>,
    y: &CudaTensor,
) -> Launch {
    let kernel = by_type(dtype, ["kprof_activation_f32", "kprof_activation_bf16", "kprof_activation_f16"]);
    pointwise(kernel, x, None, activation, y)
}

pub(super) fn gate(dtype: DType, x: &CudaTensor, activation: Activation, y: &CudaTensor) -> Launch {
    let kernel = by_type(dtype, ["kprof_gate_f32", "kprof_gate_bf16", "kprof_gate_f16"]);
    pointwise(kernel, x, None, Some(activation), y)
}

pub(super) fn residual(dtype: DType, x: &CudaTensor, branch: &CudaTensor, y: &CudaTensor) -> Launch {
    let kernel = by_type(dtype, ["kprof_residual_f32", "kprof_residual_bf16", "kprof_residual_f16"]);
    pointwise(kernel, x, Some(branch), None, y)
}

/// The norm of every `every`th row, or of the sum of x and a branch, which is written too.
pub(super) fn norm(
    dtype: DType,
    x: &CudaTensor,
    added: Option<(&CudaTensor, &CudaTensor)>,
    norm: &CudaNorm,
    every: usize,
    y: &CudaTensor,
) -> Launch {
    let (branch, sum) = added.unzip();
    let args = NormArgs {
        x: x.address(),
        branch: branch.map_or(0, CudaTensor::address),
        sum: sum.map_or(0, CudaTensor::address),
        gain: norm.gain.address,
        bias: norm.bias.as_ref().map_or(0, |b| b.address),
        y: y.address(),
        width: norm.width as i32,
        every: every as i32,
        kind: norm_code(norm.kind),
        eps: norm.eps,
    };
    let kernel = by_type(dtype, ["kprof_norm_f32", "kprof_norm_bf16", "kprof_norm_f16"]);
    Launch::new(kernel, [y.rows as u32, 1, 1], 256, args)
}

pub(super) fn head_norm(
    dtype: DType,
    x: &CudaTensor,
    norm: &CudaNorm,
    (first, heads): (usize, usize),
) -> Launch {
    let items = x.rows * heads;
    let args = HeadNormArgs {
        x: x.address(),
        gain: norm.gain.address,
        stride: x.width as i32,
        first_column: (first * norm.width) as i32,
        heads: heads as i32,
        head_dim: norm.width as i32,
        items: items as i32,
        eps: norm.eps,
    };
    let kernel = by_type(dtype, ["kprof_head_norm_f32", "kprof_head_norm_bf16", "kprof_head_norm_f16"]);
    Launch::new(kernel, [items.div_ceil(4) as u32, 1, 1], 128, args)
}

pub(super) fn rope(
    dtype: DType,
    x: &CudaTensor,
    rope: &CudaRope,
    (heads, head_dim): (usize, usize),
    (new_tokens, step): (usize, u64),
) -> Launch {
    let items = x.rows * heads * rope.pairs;
    let args = RopeArgs {
        x: x.address(),
        cos: rope.cos.address,
        sin: rope.sin.address,
        step,
        stride: x.width as i32,
        new_tokens: new_tokens as i32,
        heads: heads as i32,
        head_dim: head_dim as i32,
        pairs: rope.pairs as i32,
        items: items as i32,
    };
    let kernel = by_type(dtype, ["kprof_rope_f32", "kprof_rope_bf16", "kprof_rope_f16"]);
    Launch::new(kernel, [items.div_ceil(256) as u32, 1, 1], 256, args)
}

pub(super) fn embed(
    dtype: DType,
    tokens: &CudaTable,
    positions: Option<&CudaTable>,
    (new_tokens, step): (usize, u64),
    y: &CudaTensor,
) -> Launch {
    let args = EmbedArgs {
        step,
        tokens: tokens.memory.address,
        positions: positions.map_or(0, |p| p.memory.address),
        y: y.address(),
        hidden: tokens.width as i32,
        new_tokens: new_tokens as i32,
    };
    let kernel = by_type(dtype, ["kprof_embed_f32", "kprof_embed_bf16", "kprof_embed_f16"]);
    Launch::new(kernel, [y.rows as u32, 1, 1], 256, args)
}

/// `meeting` holds, of each row, its best logit and its counter: 8 and 4 bytes, apart.
pub(super) fn argmax(
    dtype: DType,
    multiprocessors: usize,
    logits: &CudaTensor,
    ids: u64,
    meeting: u64,
) -> Launch {
    let wanted = logits.width.div_ceil(256 * 8);
    let blocks = wanted.clamp(1, (2 * multiprocessors).div_ceil(logits.rows));
    let args = ArgmaxArgs {
        logits: logits.address(),
        ids,
        best: meeting,
        arrived: meeting + MEETINGS as u64 * 8,
        vocab: logits.width as i32,
        reserved: 0,
    };
    let kernel = by_type(dtype, ["kprof_argmax_f32", "kprof_argmax_bf16", "kprof_argmax_f16"]);
    Launch::new(kernel, [blocks as u32, logits.rows as u32, 1], 256, args)
}

fn most_rows(rows: usize, what: &str) -> Result<(), BackendError> {
    if rows <= MOST_ROWS {
        return Ok(());
    }
    let what =
        format!("{what} of {rows} rows in one step: at most {MOST_ROWS}; lower --batch or --prompt-length");
    Err(BackendError::Unsupported { backend: "cuda", what })
}

impl CudaBackend {
    /// Runs `work` between two events where ops are marked, and marks it as `op` at `site`.
    fn marked<T>(
        &mut self,
        site: Site,
        op: impl FnOnce(&Self) -> Op,
        work: impl FnOnce(&mut Self) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        self.marks.begin(&site);
        let from = if self.marks.is_on() { Some(self.queue.record()?) } else { None };
        let result = work(self);
        if let Some(from) = from {
            let to = self.queue.record()?;
            let op = op(self);
            self.clock.push(site, op, (from, to));
        }
        self.marks.close();
        result
    }

    /// Whether a product of `rows` is one of a few rows, for which norm and product are one launch. It follows from what a
    /// step is and not from how long its context has become, so that all steps of a stage run the same ops.
    fn is_skinny(step: &StepShape, rows: LinearRows) -> bool {
        (rows == LinearRows::Last || step.new_tokens == 1) && step.batch <= SKINNY_ROWS
    }

    fn fuses_norm(&self, step: &StepShape, rows: LinearRows, norm: &CudaNorm) -> bool {
        Self::is_skinny(step, rows) && linear::norm_fits(self.dtype, step.batch, norm.width)
    }

    /// A product with what stands around it, as one launch.
    fn product(
        &mut self,
        step: &StepShape,
        rows: LinearRows,
        x: &CudaTensor,
        linear: &CudaLinear,
        around: Around<'_>,
    ) -> Result<CudaTensor, BackendError> {
        let count = around.norm.map_or(x.rows, |(_, every)| x.rows / every);
        let width = if around.gate { linear.outputs / 2 } else { linear.outputs };
        if around.gate {
            check_eights("gated MLPs", width)?;
        }
        let y = self.tensor(count, width)?;
        let (dtype, multiprocessors) = (self.dtype, self.multiprocessors());
        let skinny = Self::is_skinny(step, rows);
        if !skinny && self.by_library(x, linear, around, &y)? {
            return Ok(y);
        }
        let launch = if skinny {
            linear::skinny(dtype, multiprocessors, x, count, linear, around, &y)
        } else {
            let cut = WideCut::new(dtype, multiprocessors, count, linear);
            let partial = match cut.partial_bytes() {
                0 => None,
                bytes => Some(self.bytes(bytes)?),
            };
            let partial = partial.as_ref().map_or(0, |block| block.address);
            linear::wide(dtype, (cut, partial, self.counters()), x, linear, around, &y)
        };
        self.queue.launch(launch)?;
        Ok(y)
    }

    /// Asks the library for a product, where there is one that knows a way.
    fn by_library(
        &mut self,
        x: &CudaTensor,
        linear: &CudaLinear,
        around: Around<'_>,
        y: &CudaTensor,
    ) -> Result<bool, CudaError> {
        let Some(blas) = self.queue.blas.clone() else { return Ok(false) };
        let Some(steps) = blas::steps(&blas, (&self.arena, self.dtype), x, linear, around, y)? else {
            return Ok(false);
        };
        for step in steps {
            match step {
                blas::Step::Product(product) => self.queue.product(product)?,
                blas::Step::Launch(launch) => self.queue.launch(launch)?,
            }
        }
        Ok(true)
    }

    /// Where blocks of a launch count their arrivals.
    fn counters(&self) -> u64 {
        self.meeting.address + MEETINGS as u64 * 8
    }

    fn linear_op(&self, linear: &CudaLinear, rows: LinearRows) -> Op {
        Op::Linear {
            input: linear.inputs,
            output: linear.outputs,
            bias: linear.bias.is_some(),
            rows,
            dtype: self.dtype,
            weights: None,
        }
    }

    fn norm_op(&self, norm: &CudaNorm, rows: LinearRows) -> Op {
        Op::Norm { norm: norm.kind, hidden: norm.width, rows, dtype: self.dtype }
    }

    fn run_norm(
        &mut self,
        step: &StepShape,
        x: &CudaTensor,
        of: &CudaNorm,
        rows: LinearRows,
    ) -> Result<CudaTensor, BackendError> {
        let every = if rows == LinearRows::Last { step.new_tokens } else { 1 };
        let y = self.tensor(x.rows / every, x.width)?;
        self.queue.launch(norm(self.dtype, x, None, of, every, &y))?;
        Ok(y)
    }
}

impl Backend for CudaBackend {
    type Tensor = CudaTensor;
    type Table = CudaTable;
    type Linear = CudaLinear;
    type Norm = CudaNorm;
    type Rope = CudaRope;
    type Cache = CudaCache;

    fn name(&self) -> &'static str {
        "cuda"
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn threads(&self) -> Option<usize> {
        None
    }

    fn gemm(&self) -> Option<String> {
        Some(self.queue.blas.as_ref().map_or("own".to_string(), |blas| blas.name()))
    }

    fn take_notes(&mut self) -> Vec<String> {
        let of_library = self.queue.blas.as_ref().map(|blas| blas.take_notes()).unwrap_or_default();
        self.notes.drain(..).chain(of_library).collect()
    }

    fn load_table(&self, table: HostTensor) -> Result<CudaTable, BackendError> {
        Loader { gpu: &self.gpu, dtype: self.dtype }.table(&table)
    }

    fn load_linear(
        &self,
        weight: HostTensor,
        order: WeightOrder,
        bias: Option<HostTensor>,
    ) -> Result<CudaLinear, BackendError> {
        Loader { gpu: &self.gpu, dtype: self.dtype }.linear(&weight, order, bias.as_ref())
    }

    fn load_norm(
        &self,
        kind: NormKind,
        gain: HostTensor,
        bias: Option<HostTensor>,
        eps: f64,
    ) -> Result<CudaNorm, BackendError> {
        Loader { gpu: &self.gpu, dtype: self.dtype }.norm(kind, &gain, bias.as_ref(), eps)
    }

    fn load_rope(&self, cos: HostTensor, sin: HostTensor) -> Result<CudaRope, BackendError> {
        Loader { gpu: &self.gpu, dtype: self.dtype }.rope(&cos, &sin)
    }

    fn tied_head(&self, table: &CudaTable) -> Result<CudaLinear, BackendError> {
        let weight = Rc::clone(&table.memory);
        Ok(CudaLinear { weight, bias: None, inputs: table.width, outputs: table.entries })
    }

    fn first_outputs(&self, linear: &CudaLinear, outputs: usize) -> Result<CudaLinear, BackendError> {
        Ok(CudaLinear { outputs, ..linear.clone() })
    }

    fn new_cache(&self, spec: CacheSpec) -> Result<CudaCache, BackendError> {
        check_eights("heads", spec.head_dim)?;
        CudaCache::new(&self.gpu, spec)
    }

    fn cache_bytes(&self, cache: &CudaCache) -> f64 {
        cache.allocated_bytes()
    }

    fn release(&mut self) {
        self.queue.forget_graphs();
        self.arena.release();
    }

    fn device_memory(&self) -> Option<DeviceMemory> {
        let [live, peak] = self.gpu.allocated().ok()?;
        Some(DeviceMemory { live: live - self.before, peak: peak - self.before })
    }

    fn restart_device_peak(&self) {
        // A device that fails says so at the next op.
        let _ = self.gpu.wait().and_then(|()| self.gpu.reset_most_allocated());
    }

    fn embed(
        &mut self,
        site: Site,
        step: &StepShape,
        ids: &[u32],
        tokens: &CudaTable,
        positions: Option<&CudaTable>,
    ) -> Result<CudaTensor, BackendError> {
        let first = step.context - step.new_tokens;
        self.queue.run()?;
        self.send(first, step.context, ids)?;
        self.queue.begin(step.new_tokens == 1)?;
        let (hidden, dtype) = (tokens.width, self.dtype);
        let op = |_: &Self| Op::Embed { hidden, positions: positions.is_some(), dtype };
        self.marked(site, op, |b| {
            let y = b.tensor(ids.len(), hidden)?;
            let at = (step.new_tokens, b.step.device.address);
            b.queue.launch(embed(dtype, tokens, positions, at, &y))?;
            Ok(y)
        })
    }

    fn norm(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &CudaTensor,
        norm: &CudaNorm,
        rows: LinearRows,
    ) -> Result<CudaTensor, BackendError> {
        self.marked(site, |b| b.norm_op(norm, rows), |b| b.run_norm(step, x, norm, rows))
    }

    fn linear(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &CudaTensor,
        linear: &CudaLinear,
        rows: LinearRows,
    ) -> Result<CudaTensor, BackendError> {
        let op = |b: &Self| b.linear_op(linear, rows);
        self.marked(site, op, |b| b.product(step, rows, x, linear, Around::default()))
    }

    fn gelu(&mut self, site: Site, _step: &StepShape, x: &CudaTensor) -> Result<CudaTensor, BackendError> {
        let (width, dtype) = (x.width, self.dtype);
        self.marked(
            site,
            |_| Op::Gelu { width, dtype },
            |b| {
                check_eights("rows", width)?;
                let y = b.tensor(x.rows, width)?;
                b.queue.launch(activation(dtype, x, Some(Activation::GeluTanh), &y))?;
                Ok(y)
            },
        )
    }

    fn head_norm(
        &mut self,
        site: Site,
        _step: &StepShape,
        x: CudaTensor,
        norm: &CudaNorm,
        first_head: usize,
        heads: usize,
    ) -> Result<CudaTensor, BackendError> {
        let (head_dim, dtype) = (norm.width, self.dtype);
        self.marked(
            site,
            |_| Op::HeadNorm { heads, head_dim, dtype },
            |b| {
                let x = b.own(x)?;
                b.queue.launch(head_norm(dtype, &x, norm, (first_head, heads)))?;
                Ok(x)
            },
        )
    }

    fn rope(
        &mut self,
        site: Site,
        step: &StepShape,
        x: CudaTensor,
        by: &CudaRope,
        heads: usize,
        head_dim: usize,
    ) -> Result<CudaTensor, BackendError> {
        let (channels, dtype) = (2 * by.pairs, self.dtype);
        self.marked(
            site,
            |_| Op::Rope { heads, channels, dtype },
            |b| {
                let x = b.own(x)?;
                let at = (step.new_tokens, b.step.device.address);
                b.queue.launch(rope(dtype, &x, by, (heads, head_dim), at))?;
                Ok(x)
            },
        )
    }

    fn gate(
        &mut self,
        site: Site,
        _step: &StepShape,
        x: &CudaTensor,
        activation: Activation,
    ) -> Result<CudaTensor, BackendError> {
        let (width, dtype) = (x.width / 2, self.dtype);
        self.marked(
            site,
            |_| Op::Gate { width, activation, dtype },
            |b| {
                check_eights("gated MLPs", width)?;
                let y = b.tensor(x.rows, width)?;
                b.queue.launch(gate(dtype, x, activation, &y))?;
                Ok(y)
            },
        )
    }

    fn residual(
        &mut self,
        site: Site,
        _step: &StepShape,
        x: &CudaTensor,
        branch: &CudaTensor,
    ) -> Result<CudaTensor, BackendError> {
        let (hidden, dtype) = (x.width, self.dtype);
        self.marked(
            site,
            |_| Op::Residual { hidden, dtype },
            |b| {
                let y = b.tensor(x.rows, hidden)?;
                b.queue.launch(residual(dtype, x, branch, &y))?;
                Ok(y)
            },
        )
    }

    fn cache_append(
        &mut self,
        site: Site,
        step: &StepShape,
        qkv: &CudaTensor,
        spec: &AttentionSpec,
        cache: &mut CudaCache,
    ) -> Result<(), BackendError> {
        if step.context > cache.spec.capacity {
            return Err(BackendError::CacheFull { capacity: cache.spec.capacity, needed: step.context });
        }
        let (kv_heads, head_dim, dtype, kv) = (spec.kv_heads, spec.head_dim, self.dtype, cache.spec.storage);
        self.marked(
            site,
            |_| Op::CacheAppend { kv_heads, head_dim, dtype, kv },
            |b| {
                let launch = attention::append(dtype, step, qkv, spec, cache, b.step.device.address);
                Ok(b.queue.launch(launch)?)
            },
        )
    }

    fn attention(
        &mut self,
        site: Site,
        step: &StepShape,
        q: &CudaTensor,
        spec: &AttentionSpec,
        keys_values: KeysValues<'_, Self>,
    ) -> Result<CudaTensor, BackendError> {
        check_eights("heads", spec.head_dim)?;
        most_rows(q.rows, "attention")?;
        if spec.head_dim > 256 {
            let what = format!("heads of {} channels: at most 256", spec.head_dim);
            return Err(BackendError::Unsupported { backend: "cuda", what });
        }
        let dtype = self.dtype;
        let (source, kv) = match keys_values {
            KeysValues::Cache(cache) => (Source::cache(cache), cache.spec.storage),
            KeysValues::Activations => (Source::activations(q, step, spec, dtype), KvStorage::plain(dtype)),
        };
        let op = Op::Attention {
            heads: spec.heads,
            kv_heads: spec.kv_heads,
            head_dim: spec.head_dim,
            dtype,
            kv,
            masked_computed: false,
            window: spec.window,
        };
        self.marked(site, |_| op, |b| Ok(b.attend(step, q, spec, source)?))
    }

    fn argmax(
        &mut self,
        site: Site,
        _step: &StepShape,
        logits: &CudaTensor,
        ids: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        most_rows(logits.rows, "logits")?;
        let (vocab, dtype, rows) = (logits.width, self.dtype, logits.rows);
        self.marked(
            site,
            |_| Op::Argmax { vocab, dtype },
            |b| {
                let (ids, meeting) = (b.step.chosen_device.address, b.meeting.address);
                let launch = argmax(dtype, b.multiprocessors(), logits, ids, meeting);
                Ok(b.queue.launch(launch)?)
            },
        )?;
        self.queue.run()?;
        self.gpu.receive(&self.step.chosen, &self.step.chosen_device, rows * 4)?;
        self.clock.end(&self.gpu)?;
        self.gpu.wait()?;
        self.step.sent = false;
        ids.clear();
        ids.extend_from_slice(&self.step.chosen.words()[..rows]);
        Ok(())
    }

    fn norm_linear(
        &mut self,
        sites: [Site; 2],
        step: &StepShape,
        x: &CudaTensor,
        norm: &CudaNorm,
        linear: &CudaLinear,
        rows: LinearRows,
    ) -> Result<CudaTensor, BackendError> {
        if !self.fuses_norm(step, rows, norm) {
            let normed = self.norm(sites[0], step, x, norm, rows)?;
            return self.linear(sites[1], step, &normed, linear, rows);
        }
        let every = if rows == LinearRows::Last { step.new_tokens } else { 1 };
        let op = |b: &Self| Op::Fused { ops: vec![b.norm_op(norm, rows), b.linear_op(linear, rows)] };
        let around = Around { norm: Some((norm, every)), ..Around::default() };
        self.marked(sites[1], op, |b| b.product(step, rows, x, linear, around))
    }

    fn norm_linear_gelu(
        &mut self,
        sites: [Site; 3],
        step: &StepShape,
        x: &CudaTensor,
        norm: &CudaNorm,
        linear: &CudaLinear,
    ) -> Result<CudaTensor, BackendError> {
        let rows = LinearRows::All;
        if !self.fuses_norm(step, rows, norm) {
            let normed = self.norm(sites[0], step, x, norm, rows)?;
            return self.linear_gelu([sites[1], sites[2]], step, &normed, linear);
        }
        let gelu = Op::Gelu { width: linear.outputs, dtype: self.dtype };
        let op = |b: &Self| Op::Fused { ops: vec![b.norm_op(norm, rows), b.linear_op(linear, rows), gelu] };
        let activation = Some(Activation::GeluTanh);
        let around = Around { norm: Some((norm, 1)), activation, ..Around::default() };
        self.marked(sites[1], op, |b| b.product(step, rows, x, linear, around))
    }

    fn norm_linear_gate(
        &mut self,
        sites: [Site; 3],
        step: &StepShape,
        x: &CudaTensor,
        norm: &CudaNorm,
        linear: &CudaLinear,
        activation: Activation,
    ) -> Result<CudaTensor, BackendError> {
        let rows = LinearRows::All;
        if !self.fuses_norm(step, rows, norm) {
            let normed = self.norm(sites[0], step, x, norm, rows)?;
            return self.linear_gate([sites[1], sites[2]], step, &normed, linear, activation);
        }
        let gate = Op::Gate { width: linear.outputs / 2, activation, dtype: self.dtype };
        let op = |b: &Self| Op::Fused { ops: vec![b.norm_op(norm, rows), b.linear_op(linear, rows), gate] };
        let around =
            Around { norm: Some((norm, 1)), activation: Some(activation), gate: true, ..Around::default() };
        self.marked(sites[1], op, |b| b.product(step, rows, x, linear, around))
    }

    fn linear_gelu(
        &mut self,
        sites: [Site; 2],
        step: &StepShape,
        x: &CudaTensor,
        linear: &CudaLinear,
    ) -> Result<CudaTensor, BackendError> {
        let rows = LinearRows::All;
        let gelu = Op::Gelu { width: linear.outputs, dtype: self.dtype };
        let op = |b: &Self| Op::Fused { ops: vec![b.linear_op(linear, rows), gelu] };
        let around = Around { activation: Some(Activation::GeluTanh), ..Around::default() };
        self.marked(sites[0], op, |b| b.product(step, rows, x, linear, around))
    }

    fn linear_gate(
        &mut self,
        sites: [Site; 2],
        step: &StepShape,
        x: &CudaTensor,
        linear: &CudaLinear,
        activation: Activation,
    ) -> Result<CudaTensor, BackendError> {
        let rows = LinearRows::All;
        // The f32 kernel for many rows has no gate.
        if self.dtype == DType::F32 && !Self::is_skinny(step, rows) {
            let y = self.linear(sites[0], step, x, linear, rows)?;
            return self.gate(sites[1], step, &y, activation);
        }
        let gate = Op::Gate { width: linear.outputs / 2, activation, dtype: self.dtype };
        let op = |b: &Self| Op::Fused { ops: vec![b.linear_op(linear, rows), gate] };
        let around = Around { activation: Some(activation), gate: true, ..Around::default() };
        self.marked(sites[0], op, |b| b.product(step, rows, x, linear, around))
    }

    fn linear_residual(
        &mut self,
        sites: [Site; 2],
        step: &StepShape,
        y: &CudaTensor,
        linear: &CudaLinear,
        x: &CudaTensor,
    ) -> Result<CudaTensor, BackendError> {
        let rows = LinearRows::All;
        let added = Op::Residual { hidden: x.width, dtype: self.dtype };
        let op = |b: &Self| Op::Fused { ops: vec![b.linear_op(linear, rows), added] };
        let around = Around { residual: Some(x), ..Around::default() };
        self.marked(sites[0], op, |b| b.product(step, rows, y, linear, around))
    }

    fn to_host(&mut self, x: &CudaTensor) -> Result<HostTensor, BackendError> {
        self.queue.run()?;
        let mut bytes = vec![0u8; x.rows * x.width * self.dtype.bytes() as usize];
        x.block.download(&self.gpu, &mut bytes)?;
        self.step.sent = false;
        Ok(HostTensor { shape: vec![x.rows, x.width], data: decode(&bytes, self.dtype) })
    }

    /// The device's clock; after a fault, which the op that met it reports, no time at all.
    fn now(&mut self) -> f64 {
        self.settle().unwrap_or(f64::NAN)
    }

    fn marks(&mut self) -> &mut Marks {
        &mut self.marks
    }
}

impl CudaBackend {
    fn attend(
        &mut self,
        step: &StepShape,
        q: &CudaTensor,
        spec: &AttentionSpec,
        source: Source,
    ) -> Result<CudaTensor, CudaError> {
        let rows = q.rows;
        let y = self.tensor(rows, spec.heads * spec.head_dim)?;
        let mut cut = Cut::new(spec, step, source.most, self.multiprocessors());
        if rows * cut.blocks > MEETINGS {
            cut.splits = 1;
        }
        let partial = match cut.partial_bytes(rows, spec) {
            0 => None,
            bytes => Some(self.bytes(bytes)?),
        };
        let scratch =
            Scratch { partial: partial.as_ref().map_or(0, |block| block.address), arrived: self.counters() };
        let at = self.step.device.address;
        self.queue.launch(attention::attend(self.dtype, (step, spec), q, source, (cut, scratch), at, &y))?;
        Ok(y)
    }
}
