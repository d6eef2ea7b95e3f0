//! What ran on devices: kernels, copies, fillings, and the calls that launched them.

use super::names::{KERNEL_NAMES, Names};
use super::{KERNELS, ranges};
use crate::ingest::sqlite::{Database, SqliteError, Value};
use crate::ingest::timeline::{Activity, Call, CallKey, Collected, Copy, Interner, Kernel, Resources};
use crate::profile::CopyKind;
use std::collections::{HashMap, HashSet};

/// The columns of everything that ran on a device, in the order that [`Places::activity`] takes them.
const ACTIVITY: [&str; 7] =
    ["start", "end", "deviceId", "contextId", "streamId", "correlationId", "globalPid"];

pub(super) fn read(
    database: &mut Database,
    names: &Names,
    collected: &mut Collected,
) -> Result<(), SqliteError> {
    let places = Places::read(database)?;
    kernels(database, names, &places, collected)?;
    copies(database, &places, collected)?;
    sets(database, &places, collected)?;
    calls(database, collected)
}

/// Which physical device a process means by its number, where the export says: `CUDA_VISIBLE_DEVICES` renumbers them.
#[derive(Debug, Default)]
struct Places {
    gpu: HashMap<(u64, i64), u32>,
}

impl Places {
    fn read(database: &mut Database) -> Result<Self, SqliteError> {
        let mut places = Self::default();
        database.scan("TARGET_INFO_CUDA_DEVICE", &["pid", "cudaId", "gpuId"], &mut |row| {
            if let (Some(pid), Some(cuda), Some(gpu)) = (row[0].integer(), row[1].integer(), row[2].integer())
                && let (Ok(pid), Ok(gpu)) = (u64::try_from(pid), u32::try_from(gpu))
            {
                places.gpu.insert((pid, cuda), gpu);
            }
        })?;
        Ok(places)
    }

    /// The columns [`ACTIVITY`] of a row; `None` without times.
    fn activity(&self, row: &[Value<'_>], interner: &mut Interner) -> Option<Activity> {
        let [start, end, device, context, stream, correlation, process] = &row[..7] else { return None };
        let (start_ns, end_ns) = (start.integer()?, end.integer()?);
        let process = process.integer().map_or(0, |p| p as u64);
        let pid = process >> 24 & 0xff_ffff;
        let device = device
            .integer()
            .and_then(|number| self.gpu.get(&(pid, number)).copied().or_else(|| u32::try_from(number).ok()));
        let mut named = |v: &Value<'_>| v.integer().map(|n| interner.name(&n.to_string()));
        let call = correlation.integer().filter(|id| *id > 0).map(|id| (process, id as u64));
        Some(Activity {
            start_ns,
            time_ns: end_ns.saturating_sub(start_ns),
            call,
            device,
            stream: named(stream),
            context: named(context),
            process: (process > 0).then(|| interner.name(&pid.to_string())),
            lane: None,
        })
    }
}

fn kernels(
    database: &mut Database,
    names: &Names,
    places: &Places,
    collected: &mut Collected,
) -> Result<(), SqliteError> {
    let extents = ["gridX", "gridY", "gridZ", "blockX", "blockY", "blockZ"];
    let resources = ["registersPerThread", "staticSharedMemory", "dynamicSharedMemory"];
    let columns = [&ACTIVITY[..], &KERNEL_NAMES, &extents, &resources].concat();
    let Collected { names: interner, kernels, .. } = collected;
    database.scan(KERNELS, &columns, &mut |row| {
        let Some(at) = places.activity(row, interner) else { return };
        let id = row[7..10].iter().find_map(Value::integer);
        let name = names.get(id).unwrap_or_else(|| interner.name("(no name in StringIds)"));
        let mut extent = |sides: &[Value<'_>]| {
            let sides: Option<Vec<String>> = sides.iter().map(|s| Some(s.integer()?.to_string())).collect();
            sides.map(|s| interner.name(&format!("({})", s.join(", "))))
        };
        let (grid, block) = (extent(&row[10..13]), extent(&row[13..16]));
        let count = |value: &Value<'_>| value.integer().and_then(|n| u32::try_from(n).ok());
        let resources = Resources {
            registers: count(&row[16]),
            static_shared: count(&row[17]),
            dynamic_shared: count(&row[18]),
            shared: None,
        };
        kernels.push(Kernel { at, name, grid, block, resources });
    })
}

fn copies(database: &mut Database, places: &Places, collected: &mut Collected) -> Result<(), SqliteError> {
    let columns = [&ACTIVITY[..], &["bytes", "copyKind", "srcKind", "dstKind"]].concat();
    let Collected { names: interner, copies, .. } = collected;
    database.scan("CUPTI_ACTIVITY_KIND_MEMCPY", &columns, &mut |row| {
        let Some(at) = places.activity(row, interner) else { return };
        let memory = match (memory(&row[9]), memory(&row[10])) {
            (Some(from), Some(to)) => Some(interner.name(&format!("{from} -> {to}"))),
            _ => None,
        };
        let bytes = row[7].integer().map(|b| b as f64);
        copies.push(Copy { at, kind: direction(&row[8]), memory, bytes });
    })
}

fn sets(database: &mut Database, places: &Places, collected: &mut Collected) -> Result<(), SqliteError> {
    let columns = [&ACTIVITY[..], &["bytes", "memKind"]].concat();
    let Collected { names: interner, copies, .. } = collected;
    database.scan("CUPTI_ACTIVITY_KIND_MEMSET", &columns, &mut |row| {
        let Some(at) = places.activity(row, interner) else { return };
        let memory = memory(&row[8]).map(|m| interner.name(m));
        let bytes = row[7].integer().map(|b| b as f64);
        copies.push(Copy { at, kind: CopyKind::Set, memory, bytes });
    })
}

/// CUPTI's `CUpti_ActivityMemcpyKind`, as nsys writes it in all schemas (its own `ENUM_CUDA_MEMCPY_OPER`).
fn direction(kind: &Value<'_>) -> CopyKind {
    match kind.integer() {
        Some(1 | 3 | 11) => CopyKind::HostToDevice,
        Some(2 | 4 | 12) => CopyKind::DeviceToHost,
        Some(5..=8 | 13) => CopyKind::DeviceToDevice,
        Some(9) => CopyKind::HostToHost,
        Some(10) => CopyKind::PeerToPeer,
        _ => CopyKind::Unknown,
    }
}

/// nsys's `ENUM_CUDA_MEM_KIND`.
fn memory(kind: &Value<'_>) -> Option<&'static str> {
    let names =
        ["Pageable", "Pinned", "Device", "Array", "Managed", "Device Static", "Managed Static", "Unknown"];
    names.get(usize::try_from(kind.integer()?).ok()?).copied()
}

/// The calls that something on a device refers to; the rest of the runtime's calls need not be kept.
fn calls(database: &mut Database, collected: &mut Collected) -> Result<(), SqliteError> {
    let of_kernels = collected.kernels.iter().filter_map(|k| k.at.call);
    let wanted: HashSet<CallKey> =
        of_kernels.chain(collected.copies.iter().filter_map(|c| c.at.call)).collect();
    // Exports without globalPid have one process.
    let has_process = wanted.iter().any(|(process, _)| *process > 0);
    let columns = ["start", "end", "correlationId", "globalTid"];
    let mut found = Vec::new();
    database.scan("CUPTI_ACTIVITY_KIND_RUNTIME", &columns, &mut |row| {
        let (Some(start_ns), Some(end_ns), Some(id)) = (row[0].integer(), row[1].integer(), row[2].integer())
        else {
            return;
        };
        let thread = row[3].integer().unwrap_or(0);
        let process = if has_process { ranges::process_of(thread) as u64 } else { 0 };
        let key = (process, id as u64);
        if wanted.contains(&key) {
            found.push((key, start_ns, end_ns.saturating_sub(start_ns), thread));
        }
    })?;
    for (key, start_ns, time_ns, thread) in found {
        let lane = ranges::thread_lane(thread, &mut collected.names);
        let process = Some(ranges::process_lane(thread, &mut collected.names));
        collected.call(key, Call { start_ns, time_ns, lane, process, bytes: None });
    }
    Ok(())
}
