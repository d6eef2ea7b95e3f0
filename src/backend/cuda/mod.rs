//! The CUDA backend: kprof's own kernels on an NVIDIA GPU, found at run time; without one, an ordinary error.
//!
//! Weights lie `[outputs, inputs]` on the device, activations in blocks that are used again, caches by head. Every op is
//! one launch, or several fused into one, on one stream; decode steps may go as a captured graph ([`ExecMode`]). Times are
//! device events, resolved when the step is over. What no GPU has confirmed is said in docs/gpu.md.

mod arena;
mod args;
mod attention;
mod blas;
mod call;
mod check;
mod clock;
mod cupti;
mod devices;
mod driver;
mod error;
mod flush;
mod fused;
mod handles;
mod images;
mod launch;
mod library;
mod linear;
mod ops;
mod probe;
mod queue;
mod rowwise;
mod tensor;
#[cfg(test)]
mod tests;

pub use blas::Gemm;
pub use check::{KernelCheck, check_kernels};
pub use cupti::{CounterOffer, Counters, Cupti, CuptiError, OpValues, Trace, TracedKernel};
pub use devices::{CudaDevice, cuda_device, cuda_devices, cuda_visible_devices};
pub use driver::Gpu;
pub use error::CudaError;
pub use probe::{GpuProbe, GpuRate};
pub use queue::ExecMode;

use super::marks::Clock;
use super::{BackendError, Marks};
use crate::llm::DType;
use arena::{Arena, Block};
use blas::Blas;
use clock::DeviceClock;
use flush::Flush;
use handles::{Memory, Pinned};
use queue::Queue;
use std::rc::Rc;
use tensor::CudaTensor;

/// Words before the ids in what a step sends to the device: its first position, its context, and two that align the ids.
const HEADER: usize = 4;

/// Words for a step's ids, as far as nobody asks for more.
const FIRST_WORDS: usize = HEADER + 256;

/// kprof's own CUDA implementation.
#[derive(Debug)]
pub struct CudaBackend {
    gpu: Rc<Gpu>,
    dtype: DType,
    queue: Queue,
    arena: Arena,
    marks: Marks,
    clock: DeviceClock,
    step: StepWords,
    /// Zeros that kernels leave as zeros, where blocks meet: counters, and the best logit of each row.
    meeting: Memory,
    /// Bytes that were allocated when the backend was made: not those of a model.
    before: f64,
    /// What could not be done as asked for, and was done otherwise.
    notes: Vec<String>,
    /// What empties L2, where that was made ready for.
    flush: Option<Flush>,
}

/// What changes from step to step, in memory that kernels read it from.
#[derive(Debug)]
struct StepWords {
    host: Pinned,
    device: Memory,
    words: usize,
    /// Whether a copy from `host` may still be under way.
    sent: bool,
    /// Where chosen ids arrive.
    chosen: Pinned,
    chosen_device: Memory,
}

impl StepWords {
    fn new(gpu: &Rc<Gpu>, words: usize) -> Result<Self, CudaError> {
        Ok(Self {
            host: Pinned::new(gpu, words * 4)?,
            device: gpu.zeros(words * 4, "token ids")?,
            words,
            sent: false,
            chosen: Pinned::new(gpu, words * 4)?,
            chosen_device: gpu.zeros(words * 4, "token ids")?,
        })
    }
}

/// Rows x blocks per row that meet in one launch, at most.
const MEETINGS: usize = 1 << 16;

impl CudaBackend {
    /// The backend on `gpu` with weights and activations of `dtype`.
    ///
    /// # Errors
    /// When the driver refuses memory or events.
    pub fn new(gpu: &Rc<Gpu>, dtype: DType, mode: ExecMode) -> Result<Self, BackendError> {
        Ok(Self {
            gpu: Rc::clone(gpu),
            dtype,
            queue: Queue::new(gpu, mode),
            arena: Arena::new(gpu),
            marks: Marks::new(Clock::Device),
            clock: DeviceClock::new(gpu)?,
            step: StepWords::new(gpu, FIRST_WORDS)?,
            meeting: gpu.zeros(MEETINGS * 16, "counters")?,
            before: gpu.allocated()?[0],
            notes: Vec::new(),
            flush: None,
        })
    }

    /// The same with products of many rows by whom is said; new backends compute them with kprof's own kernel.
    ///
    /// # Errors
    /// When cuBLASLt is insisted on and cannot be used.
    pub fn with_gemm(mut self, gemm: Gemm) -> Result<Self, CudaError> {
        let (blas, note) = Blas::choose(&self.gpu, gemm)?;
        self.queue.blas = blas.map(Rc::new);
        self.notes.extend(note);
        Ok(self)
    }

    /// The device it runs on.
    pub fn device(&self) -> &CudaDevice {
        &self.gpu.device
    }

    fn multiprocessors(&self) -> usize {
        self.gpu.device.multiprocessors
    }

    fn tensor(&self, rows: usize, width: usize) -> Result<CudaTensor, CudaError> {
        Ok(CudaTensor { block: self.bytes(rows * width * self.dtype.bytes() as usize)?, rows, width })
    }

    fn bytes(&self, bytes: usize) -> Result<Rc<Block>, CudaError> {
        self.arena.block(bytes)
    }

    /// `x` to be changed in place: itself where nobody else holds it, otherwise a copy.
    fn own(&mut self, x: CudaTensor) -> Result<CudaTensor, CudaError> {
        if Rc::strong_count(&x.block) == 1 {
            return Ok(x);
        }
        let y = self.tensor(x.rows, x.width)?;
        let launch = rowwise::activation(self.dtype, &x, None, &y);
        self.queue.launch(launch)?;
        Ok(y)
    }

    /// Sends a step's position, context and ids.
    fn send(&mut self, first: usize, context: usize, ids: &[u32]) -> Result<(), CudaError> {
        if self.step.sent {
            self.gpu.wait()?;
        }
        let words = HEADER + ids.len();
        if words > self.step.words {
            // What still reads the old memory was asked for before this frees it.
            self.step = StepWords::new(&self.gpu, words.next_power_of_two())?;
        }
        let host = self.step.host.words();
        host[..HEADER].copy_from_slice(&[first as u32, context as u32, 0, 0]);
        host[HEADER..words].copy_from_slice(ids);
        self.gpu.send(&self.step.device, &self.step.host, words * 4)?;
        self.step.sent = true;
        Ok(())
    }

    /// What was asked for is done, and the spans of its ops are known.
    fn settle(&mut self) -> Result<f64, CudaError> {
        self.queue.run()?;
        let (now_s, spans) = self.clock.settle(&self.gpu, &self.queue)?;
        self.step.sent = false;
        self.queue.forget_events();
        self.marks.resolved(spans);
        Ok(now_s)
    }
}
