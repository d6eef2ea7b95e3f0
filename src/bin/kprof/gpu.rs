//! Which device the flags mean, and the GPU among them.

use crate::args::ModelArgs;
use crate::exit::usage;
use kprof::attach::Presence;
use kprof::backend::{CudaDevice, CudaError, ExecMode, Gpu, cuda_device};
use kprof::llm::nearest_first;
use kprof::probe::GpuDepth;
use std::rc::Rc;

/// The device that passes run on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Device {
    Cpu,
    Fake,
    Cuda(CudaDevice),
}

impl Device {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Fake => "fake",
            Self::Cuda(_) => "cuda",
        }
    }

    pub(crate) fn is_cuda(&self) -> bool {
        matches!(self, Self::Cuda(_))
    }
}

/// The device that `--device` and what else is asked for mean.
pub(crate) fn device(args: &ModelArgs) -> anyhow::Result<Device> {
    match args.device.as_str() {
        "cpu" => Ok(Device::Cpu),
        "fake" => Ok(Device::Fake),
        "auto" => automatic(args),
        other => named(other).map(Device::Cuda),
    }
}

/// `cuda`, `cuda:N`, `cuda:UUID`, or a UUID as nvidia-smi prints it.
pub(crate) fn named(text: &str) -> anyhow::Result<CudaDevice> {
    let which = match text.split_once(':') {
        None if text == "cuda" => None,
        Some(("cuda", which)) => Some(which),
        _ if text.starts_with("GPU-") || text.starts_with("MIG-") => Some(text),
        _ => {
            let names = ["auto", "cpu", "cuda", "cuda:N", "fake"];
            let known = nearest_first(text, names).join(", ");
            return Err(usage(format!("unknown device '{text}'; known: {known}")));
        }
    };
    Ok(cuda_device(which)?)
}

/// The first GPU, unless a flag is for the CPU, or there is none that could be used.
fn automatic(args: &ModelArgs) -> anyhow::Result<Device> {
    let asked = args.implementation.as_deref();
    let for_cpu = asked.is_some_and(|name| name != "cuda")
        || args.weights.is_some()
        || args.threads.is_some()
        || args.pin
        || args.isa.is_some();
    if for_cpu {
        return Ok(Device::Cpu);
    }
    match cuda_device(None) {
        Ok(found) => Ok(Device::Cuda(found)),
        Err(error) if asked == Some("cuda") || args.exec.is_some() || args.gemm.is_some() => {
            Err(error.into())
        }
        Err(CudaError::NoDriver | CudaError::NoDevice { .. }) => Ok(Device::Cpu),
        Err(error) => {
            eprintln!("note: running on the CPU: {error}");
            Ok(Device::Cpu)
        }
    }
}

/// How decode steps reach the device: as asked for, but under a profiler, which names kernels by the ranges that they are
/// launched in, one by one.
pub(crate) fn exec(args: &ModelArgs) -> ExecMode {
    let asked = args.exec.unwrap_or_default();
    match Presence::of_process().tool {
        Some(tool) if asked == ExecMode::Graph => {
            eprintln!("note: {tool} is attached: --exec eager");
            ExecMode::Eager
        }
        _ => asked,
    }
}

/// How thoroughly a GPU is measured: as asked for, but on a device that a test emulates, as little as can be.
pub(crate) fn depth(asked: GpuDepth) -> GpuDepth {
    if std::env::var_os("KPROF_LEAST_PROBES").is_some() { GpuDepth::Least } else { asked }
}

/// Opens a GPU and has it load a kernel, so that one which cannot run them is refused before anything else is done.
pub(crate) fn open(device: &CudaDevice) -> anyhow::Result<Rc<Gpu>> {
    let gpu = Gpu::open(device.clone())?;
    gpu.try_kernels()?;
    Ok(gpu)
}
