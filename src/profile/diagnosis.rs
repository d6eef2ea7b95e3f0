//! What `kprof doctor` finds out about a machine: facts, and advice made from them.
//!
//! A fact that the system does not tell is `None` (`null` in JSON), never a default.

use super::{HostInfo, KprofInfo};
use serde::{Deserialize, Serialize};

/// The version of the JSON that a [`Diagnosis`] becomes.
pub const DIAGNOSIS_SCHEMA_VERSION: u32 = 1;

/// A machine as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The version of this structure.
    pub schema_version: u32,
    /// Which kprof looked.
    pub kprof: KprofInfo,
    /// When, RFC 3339 in UTC.
    pub taken: String,
    /// How long it took, in seconds.
    pub took_s: f64,
    /// Name, system, processor, memory.
    pub host: HostInfo,
    /// How the processor is set up, and what it is doing.
    pub processor: Processor,
    /// Main memory.
    pub memory: Memory,
    /// What a container or service manager allows.
    pub limits: Limits,
    /// NVIDIA's driver, libraries and devices.
    pub nvidia: Nvidia,
    /// The profilers.
    pub tools: Tools,
    /// What to change before measuring.
    pub advice: Vec<Advice>,
}

/// One thing to change, or to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// What it is about, e.g. `governor`.
    pub about: String,
    /// What was found.
    pub found: String,
    /// Why that matters.
    pub cause: String,
    /// What to do.
    pub fix: String,
    /// The command that does or shows it.
    pub command: Option<String>,
}

/// How the processor is set up, and what it is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Processor {
    /// CPUs that are online.
    pub online: Option<usize>,
    /// CPUs that this process may run on.
    pub allowed: Option<usize>,
    /// NUMA nodes.
    pub numa_nodes: Option<usize>,
    /// The frequency governors of the CPUs, each once.
    pub governors: Option<Vec<String>>,
    /// Who sets frequencies, e.g. `intel_pstate`.
    pub scaling_driver: Option<String>,
    /// The lowest frequency that is set, in Hz.
    pub min_clock_hz: Option<f64>,
    /// Whether clocks above the nominal one are allowed.
    pub boost: Option<bool>,
    /// Whether two threads share a core now.
    pub smt_active: Option<bool>,
    /// Whether this is a virtual machine, as the processor says (x86).
    pub virtual_machine: Option<bool>,
    /// Runnable and waiting threads over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// Of the time since boot, the part in which the hypervisor ran somebody else.
    pub steal_share: Option<f64>,
    /// The part of the last 10 s in which some thread waited for a CPU (PSI).
    pub cpu_pressure: Option<f64>,
    /// The energy counters.
    pub energy: EnergyAccess,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i32>,
}

/// Whether the processor's energy counters can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnergyAccess {
    /// The system has none.
    #[default]
    Absent,
    /// They are there, for administrators only.
    Denied,
    /// They can be read.
    Readable,
}

/// Main memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// What can be had without swapping, in bytes.
    pub available_bytes: Option<f64>,
    /// The mode of transparent huge pages: `always`, `madvise` or `never`.
    pub transparent_huge_pages: Option<String>,
    /// Huge pages set aside at boot or later.
    pub huge_pages: Option<u64>,
    /// Swap in use, in bytes.
    pub swap_used_bytes: Option<f64>,
    /// The modules, as the firmware lists them.
    pub modules: Option<MemoryModules>,
}

/// Memory modules as the firmware lists them (SMBIOS, table 17): a datasheet figure, not a measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryModules {
    /// The kind, e.g. `DDR5`; `None` where it is not one of those known here.
    pub kind: Option<String>,
    /// Modules that are plugged in.
    pub count: usize,
    /// Transfers per second of the slowest.
    pub transfers_per_s: f64,
    /// Data width of all modules together, in bits.
    pub width_bits: u64,
    /// Transfers times width: what no stream can exceed; two modules on a channel share it, so it may be half of this.
    pub at_most_byte_per_s: f64,
}

/// A limit that may not be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The system does not say.
    #[default]
    Unknown,
    /// There is none.
    Unlimited,
    /// It is this.
    At(f64),
}

impl Limit {
    /// The limit, where there is one.
    pub fn value(self) -> Option<f64> {
        match self {
            Self::At(value) => Some(value),
            Self::Unknown | Self::Unlimited => None,
        }
    }
}

/// What a container or service manager allows: the tightest of all control groups above this process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// The kind of container.
    pub container: Option<String>,
    /// Whether this is a user namespace of its own.
    pub own_user_namespace: bool,
    /// `v1`, `v2` or `v1+v2`.
    pub cgroups: Option<String>,
    /// CPU time per time: 1.5 is one CPU and a half.
    pub cpus: Limit,
    /// Memory, in bytes.
    pub memory_bytes: Limit,
    /// Memory in use by the tightest group, in bytes.
    pub memory_used_bytes: Option<f64>,
    /// How long this group's threads were kept from running by the CPU limit, in seconds.
    pub throttled_s: Option<f64>,
}

/// NVIDIA's driver, libraries and devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Nvidia {
    /// Display and compute devices of NVIDIA on the PCI bus, by address; `None` where the bus cannot be seen.
    pub on_bus: Option<Vec<String>>,
    /// Whether the kernel driver is loaded.
    pub driver_loaded: bool,
    /// Its version.
    pub driver: Option<String>,
    /// The device files.
    pub device_files: Vec<String>,
    /// Libraries found, and where.
    pub libraries: Vec<Library>,
    /// NVIDIA's management library.
    pub nvml: Nvml,
    /// The devices as NVML sees them; `None` without NVML.
    pub gpus: Option<Vec<Gpu>>,
    /// Who may read performance counters.
    pub counters: Counters,
}

/// A library.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// What it is, e.g. `cuBLAS`.
    pub what: String,
    /// Where.
    pub path: String,
    /// Its version, from the name of the file itself.
    pub version: Option<String>,
}

/// NVIDIA's management library.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nvml {
    /// Its version.
    pub version: Option<String>,
    /// The driver's version as it says.
    pub driver: Option<String>,
    /// The newest CUDA that the driver runs, e.g. `12.4`.
    pub cuda: Option<String>,
    /// Why it does not answer.
    pub error: Option<String>,
}

/// Who may read performance counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// `RmProfilingAdminOnly`.
    pub admin_only: Option<bool>,
    /// Whether this process has CAP_SYS_ADMIN.
    pub cap_sys_admin: Option<bool>,
    /// Whether this process can read them; `None` where that cannot be told.
    pub allowed: Option<bool>,
}

/// One GPU as NVML sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// NVML's number of it.
    pub index: u32,
    /// Its name.
    pub name: Option<String>,
    /// Its UUID.
    pub uuid: Option<String>,
    /// Its address on the PCI bus.
    pub pci: Option<String>,
    /// Compute capability, e.g. `9.0`.
    pub compute_capability: Option<String>,
    /// Whether it is split into instances.
    pub mig: Option<bool>,
    /// How many instances it has.
    pub mig_instances: Option<u32>,
    /// They themselves; `None` where it is not split, or NVML does not say.
    #[serde(default)]
    pub instances: Option<Vec<MigInstance>>,
    /// Whether the driver keeps it initialised.
    pub persistence: Option<bool>,
    /// Clock of the SMs now, in Hz.
    pub sm_clock_hz: Option<f64>,
    /// Clock of the memory now, in Hz.
    pub memory_clock_hz: Option<f64>,
    /// The highest clock of the SMs, in Hz.
    pub max_sm_clock_hz: Option<f64>,
    /// The highest clock of the memory, in Hz.
    pub max_memory_clock_hz: Option<f64>,
    /// Application clock of the SMs, in Hz.
    pub application_clock_hz: Option<f64>,
    /// Its default, in Hz.
    pub default_application_clock_hz: Option<f64>,
    /// Whether clocks are locked: NVML can set this and not tell it, so it is known only where application clocks differ
    /// from their defaults.
    pub clocks_locked: Option<bool>,
    /// What holds clocks back now.
    pub throttle_reasons: Option<Vec<String>>,
    /// Temperature, in degrees Celsius.
    pub temperature_c: Option<f64>,
    /// Whether memory is checked for errors.
    pub ecc: Option<bool>,
    /// The same after the next reboot.
    pub ecc_pending: Option<bool>,
    /// Errors since the driver was loaded that could not be corrected.
    pub ecc_uncorrected: Option<u64>,
    /// Power now, in watts.
    pub power_w: Option<f64>,
    /// The cap in force, in watts.
    pub power_cap_w: Option<f64>,
    /// The cap that it came with, in watts.
    pub default_power_cap_w: Option<f64>,
    /// Memory, in bytes.
    pub memory_bytes: Option<f64>,
    /// Memory that is free, in bytes.
    pub memory_free_bytes: Option<f64>,
    /// PCIe lanes in use.
    pub pcie_width: Option<u32>,
    /// PCIe lanes that device and slot can use.
    pub max_pcie_width: Option<u32>,
    /// PCIe generation now; lower while idle.
    pub pcie_generation: Option<u32>,
    /// The highest that device and slot can use.
    pub max_pcie_generation: Option<u32>,
    /// Programs on it; `None` where NVML does not say.
    pub processes: Option<Vec<GpuProcess>>,
}

/// One MIG instance as NVML sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MigInstance {
    /// NVML's number of it on its GPU.
    pub index: u32,
    /// Its profile, e.g. `1g.10gb`.
    pub profile: Option<String>,
    /// Its UUID, `MIG-…`.
    pub uuid: Option<String>,
    /// Its memory, in bytes.
    pub memory_bytes: Option<f64>,
}

/// A program on a GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuProcess {
    /// Its number, in the driver's namespace: inside a container it may name nobody.
    pub pid: u32,
    /// Its memory on the GPU, in bytes.
    pub memory_bytes: Option<f64>,
}

/// The profilers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    /// Nsight Compute.
    pub ncu: Tool,
    /// Nsight Systems.
    pub nsys: Tool,
    /// The profiler that this very process runs under.
    pub attached: Option<String>,
}

/// A program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Where it is.
    pub path: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Why it cannot be used.
    pub error: Option<String>,
}
