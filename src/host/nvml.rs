//! NVIDIA's management library, loaded when asked for: what the GPUs are, how they are set up, what they are doing.
//!
//! Drivers, devices and MIG instances each leave some questions unanswered, so every figure is optional. MHz, mW, mJ
//! and KB/s become base units here (NVML's KB are 1000 bytes by its own `nvidia-smi`).

use crate::profile::{Gpu, GpuProcess, GpuSample, MigInstance, Nvml as NvmlInfo};
use nvml_wrapper::Device;
use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::{
    Clock, EccCounter, MemoryError, PcieUtilCounter, TemperatureSensor,
};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use std::ffi::OsString;
use std::path::PathBuf;

/// The variable that says where the library is.
const VARIABLE: &str = "KPROF_NVML";

/// Where it is besides the places that the loader searches: in WSL, on NixOS, on Debian.
const PLACES: &[&str] = &[
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
    "/run/opengl-driver/lib/libnvidia-ml.so.1",
    "/usr/lib/x86_64-linux-gnu/nvidia/current/libnvidia-ml.so.1",
];

/// The library, opened.
pub(super) struct Gpus {
    nvml: Nvml,
}

impl Gpus {
    /// Opens it: where `KPROF_NVML` says and nowhere else, or where the loader and installers have it.
    ///
    /// # Errors
    /// Why there is none, or why it does not answer.
    pub(super) fn open() -> Result<Self, String> {
        if let Some(given) = std::env::var_os(VARIABLE).filter(|v| !v.is_empty()) {
            return Self::from(Some(given.clone()))
                .map_err(|e| format!("{}: {}", PathBuf::from(given).display(), said(&e)));
        }
        let first = match Self::from(None) {
            Err(NvmlError::LibloadingError(error)) => NvmlError::LibloadingError(error),
            other => return other.map_err(|e| said(&e)),
        };
        let there = PLACES.iter().find(|path| std::path::Path::new(path).exists());
        there.map_or_else(
            || Err(said(&first)),
            |path| Self::from(Some(path.into())).map_err(|e| format!("{path}: {}", said(&e))),
        )
    }

    fn from(path: Option<OsString>) -> Result<Self, NvmlError> {
        let nvml = match &path {
            Some(path) => Nvml::builder().lib_path(path).init()?,
            None => Nvml::init()?,
        };
        Ok(Self { nvml })
    }

    /// Versions.
    pub(super) fn info(&self) -> NvmlInfo {
        NvmlInfo {
            version: self.nvml.sys_nvml_version().ok(),
            driver: self.nvml.sys_driver_version().ok(),
            // 12040 is 12.4.
            cuda: self.nvml.sys_cuda_driver_version().ok().map(|v| format!("{}.{}", v / 1000, v % 1000 / 10)),
            error: None,
        }
    }

    fn devices(&self) -> impl Iterator<Item = (u32, Device<'_>)> {
        let count = self.nvml.device_count().unwrap_or(0);
        (0..count).filter_map(|index| Some((index, self.nvml.device_by_index(index).ok()?)))
    }

    /// Every GPU with how it is set up.
    pub(super) fn gpus(&self) -> Vec<Gpu> {
        self.devices().map(|(index, device)| gpu(index, &device)).collect()
    }

    /// Every GPU with what it is doing. PCIe traffic takes NVML 20 ms for each direction.
    pub(super) fn sample(&self) -> Vec<GpuSample> {
        self.devices().map(|(index, device)| sample(index, &device)).collect()
    }

    /// Joules since the driver was loaded, by GPU, of those that count them.
    pub(super) fn energy(&self) -> Vec<(String, f64)> {
        let of = |(index, device): (u32, Device<'_>)| Some((format!("gpu-{index}"), energy_j(&device)?));
        self.devices().filter_map(of).collect()
    }
}

/// Errors in the words of a user: the wrapper's name its own calls.
fn said(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(_) => "the library was not found".to_string(),
        NvmlError::DriverNotLoaded => "the NVIDIA driver is not loaded".to_string(),
        NvmlError::LibRmVersionMismatch => "library and driver are of different versions".to_string(),
        NvmlError::NoPermission => "the driver gives this user no access".to_string(),
        other => other.to_string(),
    }
}

const fn mhz(value: u32) -> f64 {
    value as f64 * 1e6
}

const fn milli(value: u32) -> f64 {
    value as f64 * 1e-3
}

fn energy_j(device: &Device<'_>) -> Option<f64> {
    device.total_energy_consumption().ok().map(|mj| mj as f64 * 1e-3)
}

/// The reasons by NVML's names, in lower case: `sw_power_cap`.
fn reasons(device: &Device<'_>) -> Option<Vec<String>> {
    let reasons = device.current_throttle_reasons().ok()?;
    Some(reasons.iter_names().map(|(name, _)| name.to_lowercase()).collect())
}

fn gpu(index: u32, device: &Device<'_>) -> Gpu {
    let throttle_reasons = reasons(device);
    let ecc = device.is_ecc_enabled().ok();
    let memory = device.memory_info().ok();
    let mig = device.mig_mode().ok().map(|mode| mode.current == 1);
    let instances = mig.filter(|on| *on).and_then(|_| instances(device));
    let capability = device.cuda_compute_capability().ok();
    Gpu {
        index,
        name: device.name().ok(),
        uuid: device.uuid().ok(),
        pci: device.pci_info().ok().map(|pci| pci.bus_id),
        compute_capability: capability.map(|c| format!("{}.{}", c.major, c.minor)),
        mig,
        mig_instances: instances.as_ref().map(|all| all.len() as u32),
        instances,
        persistence: device.is_in_persistent_mode().ok(),
        sm_clock_hz: device.clock_info(Clock::SM).ok().map(mhz),
        memory_clock_hz: device.clock_info(Clock::Memory).ok().map(mhz),
        max_sm_clock_hz: device.max_clock_info(Clock::SM).ok().map(mhz),
        max_memory_clock_hz: device.max_clock_info(Clock::Memory).ok().map(mhz),
        application_clock_hz: device.applications_clock(Clock::Graphics).ok().map(mhz),
        default_application_clock_hz: device.default_applications_clock(Clock::Graphics).ok().map(mhz),
        clocks_locked: throttle_reasons
            .as_ref()
            .filter(|r| r.iter().any(|r| r == HELD_BY_A_SETTING))
            .map(|_| true),
        throttle_reasons,
        temperature_c: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
        ecc: ecc.as_ref().map(|ecc| ecc.currently_enabled),
        ecc_pending: ecc.as_ref().map(|ecc| ecc.pending_enabled),
        ecc_uncorrected: device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile).ok(),
        power_w: device.power_usage().ok().map(milli),
        power_cap_w: device.enforced_power_limit().ok().map(milli),
        default_power_cap_w: device.power_management_limit_default().ok().map(milli),
        memory_bytes: memory.as_ref().map(|m| m.total as f64),
        memory_free_bytes: memory.as_ref().map(|m| m.free as f64),
        pcie_width: device.current_pcie_link_width().ok(),
        max_pcie_width: device.max_pcie_link_width().ok(),
        pcie_generation: device.current_pcie_link_gen().ok(),
        max_pcie_generation: device.max_pcie_link_gen().ok(),
        processes: processes(device),
    }
}

/// NVML's only word on locked clocks: `nvmlClocksThrottleReasonApplicationsClocksSetting`.
const HELD_BY_A_SETTING: &str = "applications_clocks_setting";

/// The instances there are: NVML counts the places for them, of which some are empty.
fn instances(device: &Device<'_>) -> Option<Vec<MigInstance>> {
    let places = device.mig_device_count().ok()?;
    let at = |place: u32| Some(instance(place, &device.mig_device_by_index(place).ok()?));
    Some((0..places).filter_map(at).collect())
}

/// An instance has its profile in its name: `NVIDIA H100 80GB HBM3 MIG 1g.10gb`.
fn instance(index: u32, device: &Device<'_>) -> MigInstance {
    let name = device.name().ok();
    MigInstance {
        index,
        profile: name.and_then(|n| n.rsplit_once("MIG ").map(|(_, profile)| profile.trim().to_string())),
        uuid: device.uuid().ok(),
        memory_bytes: device.memory_info().ok().map(|m| m.total as f64),
    }
}

fn processes(device: &Device<'_>) -> Option<Vec<GpuProcess>> {
    let all = device.running_compute_processes().ok()?;
    let one = |process: nvml_wrapper::struct_wrappers::device::ProcessInfo| GpuProcess {
        pid: process.pid,
        memory_bytes: match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes as f64),
            UsedGpuMemory::Unavailable => None,
        },
    };
    Some(all.into_iter().map(one).collect())
}

fn sample(index: u32, device: &Device<'_>) -> GpuSample {
    let pcie = |counter| device.pcie_throughput(counter).ok().map(|kb_per_s| f64::from(kb_per_s) * 1e3);
    GpuSample {
        index,
        sm_clock_hz: device.clock_info(Clock::SM).ok().map(mhz),
        memory_clock_hz: device.clock_info(Clock::Memory).ok().map(mhz),
        power_w: device.power_usage().ok().map(milli),
        temperature_c: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
        throttle_reasons: reasons(device),
        memory_used_bytes: device.memory_info().ok().map(|m| m.used as f64),
        pcie_sent_byte_per_s: pcie(PcieUtilCounter::Send),
        pcie_received_byte_per_s: pcie(PcieUtilCounter::Receive),
    }
}
