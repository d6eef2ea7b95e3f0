//! The devices of a machine, as `kprof devices` lists them.

use super::{KprofInfo, Nvml, RankInfo};
use serde::Serialize;

/// The version of the JSON that `kprof devices` writes.
pub const DEVICES_SCHEMA_VERSION: u32 = 1;

/// Every device that passes could run on, and the one that would be taken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceList {
    /// The version of this.
    pub schema_version: u32,
    /// Which kprof looked.
    pub kprof: KprofInfo,
    /// The processor.
    pub cpu: Option<String>,
    /// Why there is no GPU to list; `None` where there is one.
    pub no_cuda: Option<String>,
    /// The CUDA version that the driver supports, e.g. `12.4`.
    pub cuda: Option<String>,
    /// `CUDA_VISIBLE_DEVICES`; `None` where it is not set.
    pub visible_devices: Option<String>,
    /// The GPUs that this process sees, by number.
    pub gpus: Vec<GpuDevice>,
    /// GPUs of the machine that it does not see; `None` where NVML does not say what there is.
    pub hidden: Option<Vec<HiddenGpu>>,
    /// NVIDIA's management library.
    pub nvml: Nvml,
    /// The rank of this process; `None` where nothing launched it.
    pub rank: Option<RankInfo>,
    /// What `--device auto` takes, and why; `None` where it would be refused.
    pub auto: Option<String>,
    /// Why `--device auto` would be refused.
    pub auto_refused: Option<String>,
}

/// A GPU that this process sees.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GpuDevice {
    /// What `--device` calls it: `cuda:0`.
    pub device: String,
    /// Its name.
    pub name: String,
    /// Its UUID, `GPU-…`, or `MIG-…` of an instance.
    pub uuid: String,
    /// The profile of a MIG instance; `None` of a whole device.
    pub mig_profile: Option<String>,
    /// Compute capability, e.g. `9.0`.
    pub compute_capability: String,
    /// Multiprocessors.
    pub multiprocessors: usize,
    /// Memory, in bytes.
    pub memory_bytes: f64,
    /// L2, in bytes.
    pub l2_bytes: f64,
    /// NVML's number of it, or of the GPU that the instance is of; `None` where NVML does not know it.
    pub nvml_index: Option<u32>,
    /// Its address on the PCI bus, or that of the GPU that the instance is of.
    pub pci: Option<String>,
    /// Why it cannot run kprof's kernels; `None` where it can.
    pub refused: Option<String>,
}

/// A GPU or MIG instance that this process does not see.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HiddenGpu {
    /// NVML's number of it, or of the GPU that the instance is of.
    pub nvml_index: u32,
    /// Its name.
    pub name: Option<String>,
    /// Its UUID.
    pub uuid: Option<String>,
    /// The profile of a MIG instance; `None` of a whole device.
    pub mig_profile: Option<String>,
}
