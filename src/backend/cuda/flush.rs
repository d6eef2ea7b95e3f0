//! Emptying L2: memory of four times its size is written and then read.
//!
//! Writing takes the place of every line that L2 held, and what was changed of them goes to memory now; reading takes the place
//! of what was written, so that the step behind it does not pay for writing that back. L1 and the caches of constants and
//! code are not touched: kernels do not find data of other kernels in L1, and code is what a step would find there anyway.

use super::args::ProbeArgs;
use super::driver::Gpu;
use super::error::CudaError;
use super::handles::Memory;
use super::launch::Launch;
use crate::backend::BackendError;
use std::rc::Rc;

/// So many times what L2 holds.
const TIMES: f64 = 4.0;

/// Memory to flush L2 with.
#[derive(Debug)]
pub(super) struct Flush {
    memory: Memory,
    out: Memory,
    read: Launch,
}

impl Flush {
    /// # Errors
    /// When the driver does not say how large L2 is, or has no room for four times as much.
    pub(super) fn new(gpu: &Rc<Gpu>) -> Result<Self, BackendError> {
        let l2_bytes = gpu.device.l2_bytes;
        if l2_bytes <= 0.0 {
            let what = "flushed caches: the driver does not say how large L2 is".to_string();
            return Err(BackendError::Unsupported { backend: "cuda", what });
        }
        let bytes = (TIMES * l2_bytes) as usize;
        let memory = gpu.zeros(bytes.next_multiple_of(4096), "memory to flush caches with")?;
        let out = gpu.zeros(16, "memory to flush caches with")?;
        let args = ProbeArgs {
            b: memory.address,
            out: out.address,
            vectors: memory.bytes as u64 / 16,
            passes: 1,
            ..ProbeArgs::default()
        };
        // Eight blocks of 256 threads fill a multiprocessor's 2048.
        let read = Launch::new("kprof_probe_read", [gpu.device.multiprocessors as u32 * 8, 1, 1], 256, args);
        gpu.load(read.kernel)?;
        Ok(Self { memory, out, read })
    }

    /// Bytes that are written, and then read.
    pub(super) fn bytes(&self) -> f64 {
        self.memory.bytes as f64
    }

    /// Asks for it.
    pub(super) fn run(&self, gpu: &Gpu) -> Result<(), CudaError> {
        debug_assert!(self.out.bytes >= 4, "the kernel may write a word");
        gpu.clear(&self.memory)?;
        gpu.launch(&self.read)
    }
}
