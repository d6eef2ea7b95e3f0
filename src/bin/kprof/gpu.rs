//! Which device the flags mean, and the GPU among them.

use crate::args::ModelArgs;
use crate::exit::usage;
use crate::rank;
use kprof::attach::Presence;
use kprof::backend::{CudaDevice, CudaError, ExecMode, Gpu, cuda_device, cuda_devices};
use kprof::llm::nearest_first;
use kprof::probe::GpuDepth;
use kprof::profile::RankInfo;
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

/// A device, and why it was taken where kprof chose it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picked {
    pub(crate) device: Device,
    pub(crate) why: Option<String>,
}

impl From<Device> for Picked {
    fn from(device: Device) -> Self {
        Self { device, why: None }
    }
}

/// The device that `--device` and what else is asked for mean.
pub(crate) fn device(args: &ModelArgs) -> anyhow::Result<Picked> {
    match args.device.as_str() {
        "cpu" => Ok(Device::Cpu.into()),
        "fake" => Ok(Device::Fake.into()),
        "auto" => automatic(args),
        other => named(other).map(|device| Device::Cuda(device).into()),
    }
}

/// `cuda`, `cuda:N`, `cuda:UUID`, or a UUID as nvidia-smi prints it.
pub(crate) fn named(text: &str) -> anyhow::Result<CudaDevice> {
    let which = match text.split_once(':') {
        None if text == "cuda" => return unnamed().map(|(device, _)| device),
        Some(("cuda", which)) => which,
        _ if text.starts_with("GPU-") || text.starts_with("MIG-") => text,
        _ => {
            let names = ["auto", "cpu", "cuda", "cuda:N", "fake"];
            let known = nearest_first(text, names).join(", ");
            return Err(usage(format!("unknown device '{text}'; known: {known}")));
        }
    };
    Ok(cuda_device(Some(which))?)
}

/// The GPU of a process that names none, and why that one: the first, or as one rank of several that of its local rank.
fn unnamed() -> anyhow::Result<(CudaDevice, &'static str)> {
    let devices = cuda_devices()?;
    let (ordinal, why) = ordinal(rank::rank()?, devices.len())?;
    Ok((devices[ordinal].clone(), why))
}

fn ordinal(rank: Option<&RankInfo>, visible: usize) -> anyhow::Result<(usize, &'static str)> {
    let Some(rank) = rank.filter(|r| !r.is_alone() && visible > 1) else { return Ok((0, "")) };
    match rank.local_rank {
        Some(local) if local < visible => Ok((local, ", by its local rank")),
        Some(local) => {
            Ok((local % visible, ", by its local rank, shared: there are fewer GPUs than ranks here"))
        }
        None => Err(usage(format!(
            "{} sees {visible} GPUs, and {} does not say which rank of its machine it is: give each its own \
             (CUDA_VISIBLE_DEVICES), or name one with --device cuda:N",
            rank.name(),
            rank.launcher
        ))),
    }
}

/// What `--device auto` takes, where no other flag speaks for one.
pub(crate) fn best() -> anyhow::Result<Picked> {
    let (device, by) = unnamed()?;
    // A device that cannot load a kernel is none to be taken without being asked for.
    open(&device)?;
    let CudaDevice { ordinal, visible, name, uuid, driver, .. } = &device;
    let cuda = format!("{}.{}", driver / 1000, driver % 1000 / 10);
    let why = format!(
        "cuda:{ordinal} of {visible}{by}: {name} ({uuid}) runs kprof's kernels, on a driver for CUDA {cuda}"
    );
    Ok(Picked { device: Device::Cuda(device), why: Some(why) })
}

/// The GPU where one can run the kernels and no flag is for the CPU, else the CPU.
fn automatic(args: &ModelArgs) -> anyhow::Result<Picked> {
    let asked = args.implementation.as_deref();
    let cpu = |why: String| Picked { device: Device::Cpu, why: Some(format!("cpu: {why}")) };
    let for_cpu = [
        asked.filter(|name| *name != "cuda").map(|name| format!("--implementation {name}")),
        args.weights.map(|weights| format!("--weights {weights}")),
        args.threads.map(|_| "--threads".to_string()),
        args.pin.then(|| "--pin".to_string()),
        args.isa.map(|isa| format!("--isa {isa}")),
    ];
    if let Some(flag) = for_cpu.into_iter().flatten().next() {
        return Ok(cpu(format!("{flag} is for it")));
    }
    let must = asked == Some("cuda") || args.exec.is_some() || args.gemm.is_some();
    let picked = match best() {
        Err(error) if !must => match error.downcast_ref::<CudaError>() {
            // What most machines are like needs no note.
            Some(CudaError::NoDriver) => return Ok(cpu("there is no CUDA driver".to_string())),
            Some(reason) => cpu(reason.to_string()),
            None => return Err(error),
        },
        other => other?,
    };
    picked.why.iter().for_each(|why| eprintln!("note: --device auto takes {why}"));
    Ok(picked)
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
