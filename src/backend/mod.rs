//! The vocabulary of ops that a pass is written in, and who computes them.
//!
//! [`Backend`] is deliberately small: about ten ops, loading, caches, and marks. Every op marks itself
//! when instrumentation is on, because only the backend knows what it really ran. Coarser ops are default
//! methods made of finer ones: a backend that can fuse overrides them.

mod candle;
mod cpu;
mod cuda;
mod error;
mod fake;
mod marks;
mod ranges;
mod values;

pub use candle::CandleBackend;
#[cfg(target_arch = "x86_64")]
pub(crate) use cpu::tiles_are_usable;
pub use cpu::{CpuBackend, CpuOptions, Isa};
pub use cuda::{
    CounterOffer, Counters, CudaBackend, CudaDevice, CudaError, Cupti, CuptiError, ExecMode, Gemm, Gpu,
    GpuProbe, GpuRate, KernelCheck, OpValues, Trace, TracedKernel, check_kernels, cuda_device, cuda_devices,
    cuda_visible_devices,
};
pub use error::BackendError;
pub use fake::{FAKE_BANDWIDTH, FAKE_FLOP_RATE, FAKE_GAP_S, FAKE_OP_S, fake_backend, fake_ceilings};
pub use marks::{Marks, OpSpan, Site};
pub use ranges::RangeObserver;
pub use values::{AttentionSpec, CacheSpec, DeviceMemory, HostTensor, KeysValues, WeightOrder};

use crate::llm::{Activation, DType, LinearRows, NormKind, StepShape};
use std::ops::Range;

/// Computes the ops of a pass and marks them.
///
/// Activations are `[rows, width]`, rows being batch x new tokens, sequence by sequence. Every op takes its
/// [`Site`] (phase, layer, label) and the step's shape, and adds an [`OpSpan`] when instrumentation is on.
pub trait Backend: Sized {
    /// Activations.
    type Tensor: Clone;
    /// A table of embeddings.
    type Table;
    /// The weights of a linear, laid out as the backend likes.
    type Linear;
    /// The gain and bias of a norm.
    type Norm;
    /// The angles of rotary positions.
    type Rope;
    /// K and V of one layer.
    type Cache;

    /// The implementation's name, as `--implementation` takes it.
    fn name(&self) -> &'static str;

    /// The storage type of weights and activations.
    fn dtype(&self) -> DType;

    /// How many threads compute; `None` off the CPU.
    fn threads(&self) -> Option<usize>;

    /// The instructions it computes with, where it chose among several, e.g. `avx512`.
    fn instructions(&self) -> Option<&'static str> {
        None
    }

    /// Who computes products of many rows, where there is a choice, e.g. `cuBLASLt 12.8.4`.
    fn gemm(&self) -> Option<String> {
        None
    }

    /// What could not be done as asked for and was done otherwise, since the last call.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Steps go to the device launch by launch from now on, whatever the mode, or as the mode says again.
    fn launch_singly(&mut self, singly: bool) {
        let _ = singly;
    }

    /// Takes a table of `[entries, width]`.
    ///
    /// # Errors
    /// When the device has no room.
    fn load_table(&self, table: HostTensor) -> Result<Self::Table, BackendError>;

    /// Takes the weights of a linear, in either order, and its bias `[output]`.
    ///
    /// # Errors
    /// When the device has no room.
    fn load_linear(
        &self,
        weight: HostTensor,
        order: WeightOrder,
        bias: Option<HostTensor>,
    ) -> Result<Self::Linear, BackendError>;

    /// Takes the gain of a norm, and for a layer norm its bias where it has one.
    ///
    /// # Errors
    /// When the device has no room.
    fn load_norm(
        &self,
        kind: NormKind,
        gain: HostTensor,
        bias: Option<HostTensor>,
        eps: f64,
    ) -> Result<Self::Norm, BackendError>;

    /// Takes the cosines and sines of rotary positions, each `[positions, pairs]`; they stay in f32.
    ///
    /// # Errors
    /// When the device has no room.
    fn load_rope(&self, cos: HostTensor, sin: HostTensor) -> Result<Self::Rope, BackendError>;

    /// The head that shares the token table's numbers: `[width, entries]` without a bias.
    ///
    /// # Errors
    /// When the device has no room.
    fn tied_head(&self, table: &Self::Table) -> Result<Self::Linear, BackendError>;

    /// The first `outputs` columns of a linear, without a copy where that is possible.
    ///
    /// # Errors
    /// When the device has no room.
    fn first_outputs(&self, linear: &Self::Linear, outputs: usize) -> Result<Self::Linear, BackendError>;

    /// Allocates a cache.
    ///
    /// # Errors
    /// When the device has no room, or the storage is not supported.
    fn new_cache(&self, spec: CacheSpec) -> Result<Self::Cache, BackendError>;

    /// The bytes that a cache allocated.
    fn cache_bytes(&self, cache: &Self::Cache) -> f64;

    /// The addresses of a cache in this process's memory; none where it stands elsewhere.
    fn cache_places(&self, cache: &Self::Cache) -> Vec<Range<usize>> {
        let _ = cache;
        Vec::new()
    }

    /// Gives back the memory that is kept for later steps and that no tensor uses.
    fn release(&mut self) {}

    /// The most rows (batch x new tokens) of a step; `None` without a limit.
    fn most_rows(&self) -> Option<usize> {
        None
    }

    /// Makes ready to flush the device's caches: the bytes that [`Self::flush`] streams through them; `None` where they are
    /// the CPU's.
    ///
    /// # Errors
    /// When the device has no room, or does not say how large its caches are.
    fn prepare_flush(&mut self) -> Result<Option<f64>, BackendError> {
        Ok(None)
    }

    /// Flushes the device's caches, as made ready for: behind all that was asked for, before what will be.
    ///
    /// # Errors
    /// When the device fails.
    fn flush(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Does what a step of this shape needs and can be done before it, where its time does not count.
    ///
    /// # Errors
    /// When the device fails.
    fn prepare(&mut self, step: &StepShape) -> Result<(), BackendError> {
        let _ = step;
        Ok(())
    }

    /// Whether a first step of this shape asks for what steps behind it know, in its own time: it should be rehearsed then.
    fn wants_rehearsal(&self, step: &StepShape) -> bool {
        let _ = step;
        false
    }

    /// While a pass is rehearsed, ops ask for all that a step needs to know, and nothing is computed or marked.
    fn rehearse(&mut self, on: bool) {
        let _ = on;
    }

    /// What the device's own allocator holds for this backend; `None` where the memory is this process's.
    fn device_memory(&self) -> Option<DeviceMemory> {
        None
    }

    /// What a device holds now becomes the most it has held.
    fn restart_device_peak(&self) {}

    /// Token rows, plus the rows of positions `context - new_tokens ..` where the model learned some: `[rows, width]`.
    ///
    /// # Errors
    /// When an id is out of range.
    fn embed(
        &mut self,
        site: Site,
        step: &StepShape,
        ids: &[u32],
        tokens: &Self::Table,
        positions: Option<&Self::Table>,
    ) -> Result<Self::Tensor, BackendError>;

    /// The norm of every row, or of each sequence's last.
    ///
    /// # Errors
    /// When the backend fails.
    fn norm(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &Self::Tensor,
        norm: &Self::Norm,
        rows: LinearRows,
    ) -> Result<Self::Tensor, BackendError>;

    /// `x W + b`; `rows` says which positions `x` holds.
    ///
    /// # Errors
    /// When the backend fails.
    fn linear(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &Self::Tensor,
        linear: &Self::Linear,
        rows: LinearRows,
    ) -> Result<Self::Tensor, BackendError>;

    /// GELU by its tanh approximation.
    ///
    /// # Errors
    /// When the backend fails.
    fn gelu(&mut self, site: Site, step: &StepShape, x: &Self::Tensor) -> Result<Self::Tensor, BackendError>;

    /// RMS norm of each of `heads` heads from `first_head` on, as wide as the norm's gain; other columns pass through.
    ///
    /// # Errors
    /// When the backend fails.
    fn head_norm(
        &mut self,
        site: Site,
        step: &StepShape,
        x: Self::Tensor,
        norm: &Self::Norm,
        first_head: usize,
        heads: usize,
    ) -> Result<Self::Tensor, BackendError>;

    /// Turns the first `heads` heads of every row by the angles of its position (`context - new_tokens ..`); other
    /// columns pass through.
    ///
    /// Channel i of a head is paired with channel i + pairs, as Hugging Face's `rotate_half` does (not i with i + 1);
    /// channels from 2 pairs on stay as they are.
    ///
    /// # Errors
    /// When the backend fails.
    fn rope(
        &mut self,
        site: Site,
        step: &StepShape,
        x: Self::Tensor,
        rope: &Self::Rope,
        heads: usize,
        head_dim: usize,
    ) -> Result<Self::Tensor, BackendError>;

    /// `activation(a) x b` of the first and the second half of every row: half as wide.
    ///
    /// # Errors
    /// When the backend fails.
    fn gate(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &Self::Tensor,
        activation: Activation,
    ) -> Result<Self::Tensor, BackendError>;

    /// `x + branch`.
    ///
    /// # Errors
    /// When the backend fails.
    fn residual(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &Self::Tensor,
        branch: &Self::Tensor,
    ) -> Result<Self::Tensor, BackendError>;

    /// Appends the K and V columns of `qkv` at position `context - new_tokens`, in the cache's storage type.
    ///
    /// # Errors
    /// When the cache is full.
    fn cache_append(
        &mut self,
        site: Site,
        step: &StepShape,
        qkv: &Self::Tensor,
        spec: &AttentionSpec,
        cache: &mut Self::Cache,
    ) -> Result<(), BackendError>;

    /// Causal attention of the Q columns of `q` (its first `heads x head_dim`): `[rows, heads x head_dim]`. Query head
    /// h reads K/V head h / (heads / kv_heads). With a window, a token sees itself and the `window - 1` before it.
    ///
    /// # Errors
    /// When the backend fails.
    fn attention(
        &mut self,
        site: Site,
        step: &StepShape,
        q: &Self::Tensor,
        spec: &AttentionSpec,
        keys_values: KeysValues<'_, Self>,
    ) -> Result<Self::Tensor, BackendError>;

    /// Puts the index of the largest logit of each row into `ids`, in place of what was there.
    ///
    /// # Errors
    /// When the backend fails.
    fn argmax(
        &mut self,
        site: Site,
        step: &StepShape,
        logits: &Self::Tensor,
        ids: &mut Vec<u32>,
    ) -> Result<(), BackendError>;

    /// `norm(x) W + b`, of every row or of each sequence's last.
    ///
    /// # Errors
    /// When the backend fails.
    fn norm_linear(
        &mut self,
        sites: [Site; 2],
        step: &StepShape,
        x: &Self::Tensor,
        norm: &Self::Norm,
        linear: &Self::Linear,
        rows: LinearRows,
    ) -> Result<Self::Tensor, BackendError> {
        let normed = self.norm(sites[0], step, x, norm, rows)?;
        self.linear(sites[1], step, &normed, linear, rows)
    }

    /// `gelu(norm(x) W + b)`.
    ///
    /// # Errors
    /// When the backend fails.
    fn norm_linear_gelu(
        &mut self,
        sites: [Site; 3],
        step: &StepShape,
        x: &Self::Tensor,
        norm: &Self::Norm,
        linear: &Self::Linear,
    ) -> Result<Self::Tensor, BackendError> {
        let normed = self.norm(sites[0], step, x, norm, LinearRows::All)?;
        self.linear_gelu([sites[1], sites[2]], step, &normed, linear)
    }

    /// The gate of `norm(x) W + b`, whose outputs are both halves.
    ///
    /// # Errors
    /// When the backend fails.
    fn norm_linear_gate(
        &mut self,
        sites: [Site; 3],
        step: &StepShape,
        x: &Self::Tensor,
        norm: &Self::Norm,
        linear: &Self::Linear,
        activation: Activation,
    ) -> Result<Self::Tensor, BackendError> {
        let normed = self.norm(sites[0], step, x, norm, LinearRows::All)?;
        self.linear_gate([sites[1], sites[2]], step, &normed, linear, activation)
    }

    /// `gelu(x W + b)`.
    ///
    /// # Errors
    /// When the backend fails.
    fn linear_gelu(
        &mut self,
        sites: [Site; 2],
        step: &StepShape,
        x: &Self::Tensor,
        linear: &Self::Linear,
    ) -> Result<Self::Tensor, BackendError> {
        let y = self.linear(sites[0], step, x, linear, LinearRows::All)?;
        self.gelu(sites[1], step, &y)
    }

    /// The gate of `x W + b`, whose outputs are both halves.
    ///
    /// # Errors
    /// When the backend fails.
    fn linear_gate(
        &mut self,
        sites: [Site; 2],
        step: &StepShape,
        x: &Self::Tensor,
        linear: &Self::Linear,
        activation: Activation,
    ) -> Result<Self::Tensor, BackendError> {
        let y = self.linear(sites[0], step, x, linear, LinearRows::All)?;
        self.gate(sites[1], step, &y, activation)
    }

    /// `x + (y W + b)`.
    ///
    /// # Errors
    /// When the backend fails.
    fn linear_residual(
        &mut self,
        sites: [Site; 2],
        step: &StepShape,
        y: &Self::Tensor,
        linear: &Self::Linear,
        x: &Self::Tensor,
    ) -> Result<Self::Tensor, BackendError> {
        let branch = self.linear(sites[0], step, y, linear, LinearRows::All)?;
        self.residual(sites[1], step, x, &branch)
    }

    /// A tensor's rows on the host, in f32.
    ///
    /// # Errors
    /// When the backend fails.
    fn to_host(&mut self, x: &Self::Tensor) -> Result<HostTensor, BackendError>;

    /// Waits for the device and reads the clock that steps are timed with, in seconds from any fixed point.
    fn now(&mut self) -> f64;

    /// The marks.
    fn marks(&mut self) -> &mut Marks;
}
