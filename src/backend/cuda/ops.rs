//! The ops of the backend, each as its launches; those that fuse are marked as one, with their parts.

use super::attention::{self, Cut, Scratch, Source};
use super::flush::Flush;
use super::launch::Launch;
use super::linear::Around;
use super::rowwise;
use super::tensor::{
    CudaCache, CudaLinear, CudaNorm, CudaRope, CudaTable, CudaTensor, Loader, check_eights, decode,
};
use super::{CudaBackend, CudaError, FIRST_WORDS, MEETINGS, StepWords};
use crate::backend::{
    AttentionSpec, Backend, BackendError, CacheSpec, DeviceMemory, HostTensor, KeysValues, Marks, Site,
    WeightOrder,
};
use crate::llm::{Activation, DType, KvStorage, LinearRows, NormKind, Op, StepShape};
use std::rc::Rc;

/// Most rows that a kernel with one row per block in z takes.
const MOST_ROWS: usize = 65_535;

fn most_rows(rows: usize, what: &str) -> Result<(), BackendError> {
    if rows <= MOST_ROWS {
        return Ok(());
    }
    let what =
        format!("{what} of {rows} rows in one step: at most {MOST_ROWS}; lower --batch or --prompt-length");
    Err(BackendError::Unsupported { backend: "cuda", what })
}

/// How many rows of x there are for one that `rows` means.
fn every(step: &StepShape, rows: LinearRows) -> usize {
    if rows == LinearRows::Last { step.new_tokens } else { 1 }
}

/// GELU behind a linear.
const GELU: Around<'_> =
    Around { norm: None, activation: Some(Activation::GeluTanh), gate: false, residual: None };

/// The activation of a linear's first half times its second.
fn gated(activation: Activation) -> Around<'static> {
    Around { activation: Some(activation), gate: true, ..Around::default() }
}

impl CudaBackend {
    /// Runs `work` between two events where ops are marked, and marks it as `op` at `site`.
    pub(super) fn marked<T>(
        &mut self,
        site: Site,
        op: impl FnOnce(&Self) -> Op,
        work: impl FnOnce(&mut Self) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        if self.queue.rehearsing {
            return work(self);
        }
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

    /// An op of one launch that makes a new tensor of `rows` x `width`.
    fn made(
        &mut self,
        site: Site,
        op: Op,
        (rows, width): (usize, usize),
        launch: impl FnOnce(&CudaTensor) -> Launch,
    ) -> Result<CudaTensor, BackendError> {
        self.marked(
            site,
            |_| op,
            |b| {
                let y = b.tensor(rows, width)?;
                b.queue.launch(launch(&y))?;
                Ok(y)
            },
        )
    }

    /// An op of one launch that changes `x` where it lies.
    fn changed(
        &mut self,
        site: Site,
        op: Op,
        x: CudaTensor,
        launch: impl FnOnce(&CudaTensor) -> Launch,
    ) -> Result<CudaTensor, BackendError> {
        self.marked(
            site,
            |_| op,
            |b| {
                let x = b.own(x)?;
                b.queue.launch(launch(&x))?;
                Ok(x)
            },
        )
    }

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

    fn launch_singly(&mut self, singly: bool) {
        self.queue.singly = singly;
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
        // A large step's ids are in the way of none that is smaller; a device that fails says so at the next op.
        if self.step.words > FIRST_WORDS
            && let Ok(step) = StepWords::new(&self.gpu, FIRST_WORDS)
        {
            self.step = step;
        }
        let _ = self.gpu.trim();
    }

    fn prepare_flush(&mut self) -> Result<Option<f64>, BackendError> {
        let flush = Flush::new(&self.gpu)?;
        Ok(Some(self.flush.insert(flush).bytes()))
    }

    fn flush(&mut self) -> Result<(), BackendError> {
        self.queue.run()?;
        self.flush.as_ref().map_or(Ok(()), |flush| Ok(flush.run(&self.gpu)?))
    }

    fn prepare(&mut self, step: &StepShape) -> Result<(), BackendError> {
        if let Some(blas) = self.queue.blas.as_ref().filter(|_| !Self::is_skinny(step, LinearRows::All)) {
            blas.prepare(step.batch * step.new_tokens);
        }
        Ok(())
    }

    /// Where a library multiplies, the first step of its kind would ask its heuristics while it is timed; later ones are
    /// prepared.
    fn wants_rehearsal(&self, step: &StepShape) -> bool {
        self.queue.blas.is_some() && !Self::is_skinny(step, LinearRows::All)
    }

    fn rehearse(&mut self, on: bool) {
        self.queue.rehearsing = on;
    }

    fn most_rows(&self) -> Option<usize> {
        Some(MOST_ROWS)
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
        if !self.queue.rehearsing {
            self.queue.run()?;
            self.send(step.context - step.new_tokens, step.context, ids)?;
            self.queue.begin(step.new_tokens == 1)?;
        }
        let (hidden, dtype, at) = (tokens.width, self.dtype, (step.new_tokens, self.step.device.address));
        let op = Op::Embed { hidden, positions: positions.is_some(), dtype };
        self.made(site, op, (ids.len(), hidden), |y| rowwise::embed(dtype, tokens, positions, at, y))
    }

    fn norm(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &CudaTensor,
        norm: &CudaNorm,
        rows: LinearRows,
    ) -> Result<CudaTensor, BackendError> {
        let (op, dtype, every) = (self.norm_op(norm, rows), self.dtype, every(step, rows));
        self.made(site, op, (x.rows / every, x.width), |y| rowwise::norm(dtype, x, None, norm, every, y))
    }

    fn linear(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &CudaTensor,
        linear: &CudaLinear,
        rows: LinearRows,
    ) -> Result<CudaTensor, BackendError> {
        self.product_op(site, step, x, linear, rows, Around::default())
    }

    fn gelu(&mut self, site: Site, _step: &StepShape, x: &CudaTensor) -> Result<CudaTensor, BackendError> {
        let (width, dtype, gelu) = (x.width, self.dtype, Some(Activation::GeluTanh));
        check_eights("rows", width)?;
        let op = Op::Gelu { width, dtype };
        self.made(site, op, (x.rows, width), |y| rowwise::activation(dtype, x, gelu, y))
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
        let op = Op::HeadNorm { heads, head_dim, dtype };
        self.changed(site, op, x, |x| rowwise::head_norm(dtype, x, norm, (first_head, heads)))
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
        let (dtype, at) = (self.dtype, (step.new_tokens, self.step.device.address));
        let op = Op::Rope { heads, channels: 2 * by.pairs, dtype };
        self.changed(site, op, x, |x| rowwise::rope(dtype, x, by, (heads, head_dim), at))
    }

    fn gate(
        &mut self,
        site: Site,
        _step: &StepShape,
        x: &CudaTensor,
        activation: Activation,
    ) -> Result<CudaTensor, BackendError> {
        let (width, dtype) = (x.width / 2, self.dtype);
        check_eights("gated MLPs", width)?;
        let op = Op::Gate { width, activation, dtype };
        self.made(site, op, (x.rows, width), |y| rowwise::gate(dtype, x, activation, y))
    }

    fn residual(
        &mut self,
        site: Site,
        _step: &StepShape,
        x: &CudaTensor,
        branch: &CudaTensor,
    ) -> Result<CudaTensor, BackendError> {
        let (hidden, dtype) = (x.width, self.dtype);
        let op = Op::Residual { hidden, dtype };
        self.made(site, op, (x.rows, hidden), |y| rowwise::residual(dtype, x, branch, y))
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
                let launch = rowwise::argmax(dtype, b.multiprocessors(), logits, ids, meeting);
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
        let around = Around { norm: Some((norm, every(step, rows))), ..Around::default() };
        self.product_op(sites[1], step, x, linear, rows, around)
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
        let around = Around { norm: Some((norm, 1)), ..GELU };
        self.product_op(sites[1], step, x, linear, rows, around)
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
        let around = Around { norm: Some((norm, 1)), ..gated(activation) };
        self.product_op(sites[1], step, x, linear, rows, around)
    }

    fn linear_gelu(
        &mut self,
        sites: [Site; 2],
        step: &StepShape,
        x: &CudaTensor,
        linear: &CudaLinear,
    ) -> Result<CudaTensor, BackendError> {
        self.product_op(sites[0], step, x, linear, LinearRows::All, GELU)
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
        // The kernel of FMAs for many rows has no gate.
        if !self.tensor_cores() && !Self::is_skinny(step, rows) {
            let y = self.linear(sites[0], step, x, linear, rows)?;
            return self.gate(sites[1], step, &y, activation);
        }
        self.product_op(sites[0], step, x, linear, rows, gated(activation))
    }

    fn linear_residual(
        &mut self,
        sites: [Site; 2],
        step: &StepShape,
        y: &CudaTensor,
        linear: &CudaLinear,
        x: &CudaTensor,
    ) -> Result<CudaTensor, BackendError> {
        let around = Around { residual: Some(x), ..Around::default() };
        self.product_op(sites[0], step, y, linear, LinearRows::All, around)
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
