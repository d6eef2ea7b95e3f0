//! A [`DeviceList`] as text and JSON.

use super::table::{Column, Table, or_na};
use crate::profile::{DeviceList, GpuDevice, HiddenGpu};
use crate::units::format_iec;

/// A row per device.
pub fn devices_table(list: &DeviceList) -> Table {
    let mut table = Table::new(vec![
        Column::text("device"),
        Column::text("name").shrinks_to(20),
        Column::text("UUID"),
        Column::text("MIG").dispensable(3),
        Column::text("compute"),
        Column::number("SMs", "").dispensable(4),
        Column::number("memory", ""),
        Column::number("L2", "").dispensable(5),
        Column::text("NVML").dispensable(2),
        Column::text("kernels"),
    ]);
    let cpu = or_na(list.cpu.clone());
    let mut row = vec!["cpu".to_string(), cpu];
    row.extend(std::iter::repeat_n(String::new(), 8));
    table.push(row);
    list.gpus.iter().for_each(|gpu| table.push(cells(gpu)));
    table
}

fn cells(gpu: &GpuDevice) -> Vec<String> {
    let place = match (gpu.nvml_index, &gpu.pci) {
        (Some(index), Some(pci)) => format!("{index} at {pci}"),
        (Some(index), None) => index.to_string(),
        (None, _) => "n/a".to_string(),
    };
    vec![
        gpu.device.clone(),
        gpu.name.clone(),
        gpu.uuid.clone(),
        gpu.mig_profile.clone().unwrap_or_else(|| "no".to_string()),
        gpu.compute_capability.clone(),
        gpu.multiprocessors.to_string(),
        format_iec(gpu.memory_bytes, "B"),
        format_iec(gpu.l2_bytes, "B"),
        place,
        if gpu.refused.is_none() { "run" } else { "refused" }.to_string(),
    ]
}

/// What stands under the table, each on a line: driver, visibility, NVML, rank, and what `auto` takes.
pub fn devices_lines(list: &DeviceList) -> Vec<String> {
    let refused = list.gpus.iter().filter_map(|g| Some(format!("{}: {}", g.device, g.refused.as_ref()?)));
    let mut lines: Vec<String> = refused.collect();
    lines.push(match (&list.no_cuda, &list.cuda) {
        (Some(why), _) => format!("no GPU: {why}"),
        (None, cuda) => format!("driver: CUDA up to {}", or_na(cuda.clone())),
    });
    lines.push(visibility(list));
    lines.extend(list.hidden.iter().flatten().map(hidden));
    lines.push(match &list.nvml.error {
        Some(error) => format!("NVML: n/a ({error})"),
        None => format!("NVML: driver {}", or_na(list.nvml.driver.clone())),
    });
    lines.extend(list.rank.iter().map(|r| {
        let local = r.local_rank.map_or("n/a".to_string(), |local| local.to_string());
        format!("rank: {} by {}, local rank {local}", r.name(), r.launcher)
    }));
    lines.push(match (&list.auto, &list.auto_refused) {
        (Some(what), _) => format!("--device auto takes {what}"),
        (None, why) => format!("--device auto is refused: {}", or_na(why.clone())),
    });
    lines
}

fn visibility(list: &DeviceList) -> String {
    let Some(set) = &list.visible_devices else {
        return "CUDA_VISIBLE_DEVICES is not set: every GPU is visible (of MIG instances, the first)"
            .to_string();
    };
    let of = list.hidden.as_ref().map_or("n/a".to_string(), |h| (h.len() + list.gpus.len()).to_string());
    format!("CUDA_VISIBLE_DEVICES={set} leaves {} of {of} devices, numbered from 0", list.gpus.len())
}

fn hidden(gpu: &HiddenGpu) -> String {
    let mig = gpu.mig_profile.as_ref().map(|p| format!(", MIG {p}")).unwrap_or_default();
    let (name, uuid) = (or_na(gpu.name.clone()), or_na(gpu.uuid.clone()));
    format!("not visible: NVML's {} {name}{mig} ({uuid})", gpu.nvml_index)
}

/// The list as JSON: base units, `null` where the system does not say.
///
/// # Errors
/// When it cannot be written as JSON, which no list is known to do.
pub fn devices_json(list: &DeviceList) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(list).map(|text| text + "\n")
}
