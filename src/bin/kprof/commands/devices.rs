//! `kprof devices`.

use crate::args::DevicesArgs;
use crate::gpu;
use crate::output;
use crate::rank;
use kprof::backend::{CudaDevice, CudaError, cuda_devices, cuda_visible_devices};
use kprof::host;
use kprof::profile::{DEVICES_SCHEMA_VERSION, DeviceList, Gpu, GpuDevice, HiddenGpu};
use kprof::render;

pub(crate) fn run(args: &DevicesArgs) -> anyhow::Result<()> {
    let list = list()?;
    if args.json {
        return output::print_as_is(&render::devices_json(&list)?);
    }
    let lines: String = render::devices_lines(&list).iter().map(|line| format!("{line}\n")).collect();
    output::print(&format!("{}\n{lines}", render::devices_table(&list).to_terminal(output::width())))
}

fn list() -> anyhow::Result<DeviceList> {
    let (nvml, known) = host::doctor::gpus();
    let (seen, no_cuda) = match cuda_devices() {
        Ok(devices) => (devices, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let (auto, auto_refused) = match gpu::best() {
        Ok(picked) => (picked.why, None),
        Err(error) if error.downcast_ref::<CudaError>().is_some() => (Some(format!("cpu: {error:#}")), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    Ok(DeviceList {
        schema_version: DEVICES_SCHEMA_VERSION,
        kprof: host::kprof_info(),
        cpu: host::environment().cpu.name,
        no_cuda,
        cuda: seen.first().map(|d| format!("{}.{}", d.driver / 1000, d.driver % 1000 / 10)),
        visible_devices: cuda_visible_devices(),
        gpus: seen.iter().map(|device| described(device, known.as_deref().unwrap_or_default())).collect(),
        hidden: known.map(|known| hidden(&known, &seen)),
        nvml,
        rank: rank::rank()?.cloned(),
        auto,
        auto_refused,
    })
}

fn described(device: &CudaDevice, known: &[Gpu]) -> GpuDevice {
    let of_nvml = known.iter().find(|gpu| uuids(gpu).any(|uuid| is_same(uuid, device)));
    GpuDevice {
        device: format!("cuda:{}", device.ordinal),
        name: device.name.clone(),
        uuid: device.uuid.clone(),
        mig_profile: device.mig_profile.clone(),
        compute_capability: format!("{}.{}", device.capability.0, device.capability.1),
        multiprocessors: device.multiprocessors,
        memory_bytes: device.memory_bytes,
        l2_bytes: device.l2_bytes,
        nvml_index: of_nvml.map(|gpu| gpu.index),
        pci: of_nvml.and_then(|gpu| gpu.pci.clone()),
        refused: gpu::open(device).err().map(|error| format!("{error:#}")),
    }
}

fn is_same(uuid: &str, device: &CudaDevice) -> bool {
    uuid.eq_ignore_ascii_case(&device.uuid)
}

/// The UUIDs that NVML has for a GPU and its instances.
fn uuids(gpu: &Gpu) -> impl Iterator<Item = &str> {
    let instances = gpu.instances.iter().flatten().filter_map(|i| i.uuid.as_deref());
    gpu.uuid.as_deref().into_iter().chain(instances)
}

/// What NVML knows and the process does not see: whole GPUs, and the instances of those that are split.
fn hidden(known: &[Gpu], seen: &[CudaDevice]) -> Vec<HiddenGpu> {
    let is_seen = |uuid: &Option<String>| {
        uuid.as_deref().is_some_and(|uuid| seen.iter().any(|device| is_same(uuid, device)))
    };
    let mut all = Vec::new();
    for gpu in known {
        let entry = |uuid: &Option<String>, mig_profile: Option<String>| HiddenGpu {
            nvml_index: gpu.index,
            name: gpu.name.clone(),
            uuid: uuid.clone(),
            mig_profile,
        };
        match &gpu.instances {
            Some(instances) => all.extend(
                instances
                    .iter()
                    .filter(|i| !is_seen(&i.uuid))
                    .map(|i| entry(&i.uuid, Some(i.profile.clone().unwrap_or_else(|| "n/a".to_string())))),
            ),
            None => all.extend((!is_seen(&gpu.uuid)).then(|| entry(&gpu.uuid, None))),
        }
    }
    all
}
