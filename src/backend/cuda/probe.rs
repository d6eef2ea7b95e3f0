//! Rates of a GPU by kprof's own probes: bandwidth of memory and L2, FMAs and tensor cores by type, and what a launch takes.

use super::args::ProbeArgs;
use super::driver::Gpu;
use super::error::CudaError;
use super::handles::Memory;
use super::launch::Launch;
use crate::backend::BackendError;
use crate::llm::DType;
use std::rc::Rc;
use std::time::Instant;

/// What a probe measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuRate {
    /// Reading, in B/s.
    Read,
    /// Copying: bytes read and written, in B/s.
    Copy,
    /// `a = b + 3 c`: bytes read and written, in B/s.
    Triad,
    /// Reading what L2 holds, in B/s.
    L2Read,
    /// Multiply-adds of CUDA cores, in FLOP/s; 16-bit types two at a time.
    Fma(DType),
    /// mma.sync with sums in f32, in FLOP/s; of f32 a sixth of bfloat16's: what products of three pieces each can reach.
    Tensor(DType),
}

/// Probes of one GPU.
#[derive(Debug)]
pub struct GpuProbe {
    gpu: Rc<Gpu>,
    buffers: [Memory; 3],
    out: Memory,
    /// Bytes of each buffer.
    bytes: usize,
}

impl GpuProbe {
    /// Probes with three buffers of up to `most` bytes, of a quarter of the free memory where that is less.
    ///
    /// # Errors
    /// When the device has no room for them.
    pub fn new(gpu: &Rc<Gpu>, most: usize) -> Result<Self, BackendError> {
        let (free, _) = gpu.memory()?;
        let bytes = most.min(free / 4) / 4096 * 4096;
        let buffer = || gpu.zeros(bytes.max(4096), "a probe's buffer");
        let buffers = [buffer()?, buffer()?, buffer()?];
        Ok(Self {
            gpu: Rc::clone(gpu),
            buffers,
            out: gpu.zeros(4096, "a probe's result")?,
            bytes: bytes.max(4096),
        })
    }

    /// Bytes of the buffers that memory is read from.
    pub fn buffer_bytes(&self) -> f64 {
        self.bytes as f64
    }

    /// The rate of one run of about `seconds`, by device events around it; the caller repeats, and takes the best.
    ///
    /// # Errors
    /// When the device fails.
    pub fn rate(&self, what: GpuRate, seconds: f64) -> Result<f64, BackendError> {
        // So much work that a run takes about as long as asked, by a first run of little.
        let (launch, amount) = self.launch(what, 1);
        let first_s = self.time(&launch)?.max(1e-7);
        let times = (seconds / first_s).clamp(1.0, 1e6) as i32;
        let (launch, amount) = if times > 1 { self.launch(what, times) } else { (launch, amount) };
        Ok(amount / self.time(&launch)?)
    }

    /// The launch that does `times` the least work, and its bytes or FLOPs.
    fn launch(&self, what: GpuRate, times: i32) -> (Launch, f64) {
        let multiprocessors = self.gpu.device.multiprocessors;
        // Eight blocks of 256 threads fill a multiprocessor's 2048.
        let blocks = multiprocessors * 8;
        // A quarter of L2, which the whole chip can hold beside what else lies there.
        let l2 = ((self.gpu.device.l2_bytes / 4.0) as usize).clamp(4096, self.bytes) / 16;
        let vectors = if what == GpuRate::L2Read { l2 } else { self.bytes / 16 };
        let rounds = 8 * times;
        let args = ProbeArgs {
            a: self.buffers[0].address,
            b: self.buffers[1].address,
            c: self.buffers[2].address,
            out: self.out.address,
            vectors: vectors as u64,
            passes: times,
            rounds,
            operand: 0,
            reserved: 0,
        };
        let (kernel, amount) = match what {
            GpuRate::Read | GpuRate::L2Read => ("kprof_probe_read", 16.0 * vectors as f64 * f64::from(times)),
            GpuRate::Copy => ("kprof_probe_copy", 32.0 * vectors as f64 * f64::from(times)),
            GpuRate::Triad => ("kprof_probe_triad", 48.0 * vectors as f64 * f64::from(times)),
            GpuRate::Fma(dtype) => {
                let (kernel, flops) = match dtype {
                    DType::F32 => ("kprof_probe_fma_f32", 2.0),
                    DType::Bf16 => ("kprof_probe_fma_bf16", 4.0),
                    DType::F16 => ("kprof_probe_fma_f16", 4.0),
                };
                (kernel, flops * 8.0 * f64::from(rounds) * (blocks * 256) as f64)
            }
            GpuRate::Tensor(dtype) => {
                let kernel =
                    if dtype == DType::F16 { "kprof_probe_tensor_f16" } else { "kprof_probe_tensor_bf16" };
                let products = if dtype == DType::F32 { 6.0 } else { 1.0 };
                // 16 x 8 x 16 multiply-adds.
                (kernel, 4096.0 / products * 8.0 * f64::from(rounds) * (blocks * 8) as f64)
            }
        };
        (Launch::new(kernel, [blocks as u32, 1, 1], 256, args), amount)
    }

    fn time(&self, launch: &Launch) -> Result<f64, CudaError> {
        let (from, to) = (self.gpu.event()?, self.gpu.event()?);
        self.gpu.record(&from, false)?;
        self.gpu.launch(launch)?;
        self.gpu.record(&to, false)?;
        self.gpu.wait_for(&to)?;
        self.gpu.between(&from, &to)
    }

    /// Seconds per launch of a kernel that does nothing: those that the host needs to ask for one, and those from one to the
    /// next on the device when many wait.
    ///
    /// # Errors
    /// When the device fails.
    pub fn launch_seconds(&self) -> Result<[f64; 2], BackendError> {
        const MANY: usize = 200;
        let launch = Launch::new("kprof_probe_nothing", [1, 1, 1], 32, ProbeArgs::default());
        self.time(&launch)?;
        let (from, to) = (self.gpu.event()?, self.gpu.event()?);
        self.gpu.record(&from, false)?;
        let began = Instant::now();
        for _ in 0..MANY {
            self.gpu.launch(&launch)?;
        }
        let host_s = began.elapsed().as_secs_f64() / MANY as f64;
        self.gpu.record(&to, false)?;
        self.gpu.wait_for(&to)?;
        Ok([host_s, self.gpu.between(&from, &to)? / MANY as f64])
    }

    /// Seconds per kernel of a graph of many that do nothing: what remains of a launch in a graph.
    ///
    /// # Errors
    /// When the device fails.
    pub fn graph_seconds(&self) -> Result<f64, BackendError> {
        const MANY: usize = 200;
        let launch = Launch::new("kprof_probe_nothing", [1, 1, 1], 32, ProbeArgs::default());
        self.time(&launch)?;
        let graph = self.gpu.capture(|| (0..MANY).try_for_each(|_| self.gpu.launch(&launch)))?;
        self.gpu.launch_graph(&graph)?;
        let (from, to) = (self.gpu.event()?, self.gpu.event()?);
        self.gpu.record(&from, false)?;
        self.gpu.launch_graph(&graph)?;
        self.gpu.record(&to, false)?;
        self.gpu.wait_for(&to)?;
        Ok(self.gpu.between(&from, &to)? / MANY as f64)
    }
}
