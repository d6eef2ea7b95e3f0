//! What stands beside the events of a trace: devices, rank, versions.

use crate::ingest::timeline::Collected;
use crate::profile::TraceDevice;
use serde_json::Value;

/// Whether a key beside the events is worth keeping.
pub(super) fn wanted(key: &str) -> bool {
    matches!(
        key,
        "deviceProperties"
            | "distributedInfo"
            | "schemaVersion"
            | "cuda_runtime_version"
            | "cuda_driver_version"
            | "hip_runtime_version"
            | "baseTimeNanoseconds"
            | "otherData"
    )
}

/// Takes what is known about a key; what has another shape than expected says nothing.
pub(super) fn take(collected: &mut Collected, key: &str, value: &Value) {
    let number = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
    match key {
        "deviceProperties" => {
            let devices = value.as_array().into_iter().flatten();
            collected.info.devices = devices.filter_map(device).collect();
        }
        "distributedInfo" => {
            collected.info.rank = value.get("rank").and_then(number);
            collected.info.world_size = value.get("world_size").and_then(number);
        }
        "schemaVersion" => collected.info.format_version = Some(value.to_string()),
        "cuda_driver_version" => collected.profiler.cuda = value.as_u64().map(cuda_version),
        _ => {}
    }
}

fn device(value: &Value) -> Option<TraceDevice> {
    let number = u32::try_from(value.get("id")?.as_u64()?).ok()?;
    let name = value.get("name").and_then(Value::as_str).map(ToString::to_string);
    Some(TraceDevice { number, name })
}

/// CUDA writes 12.4 as 12040.
fn cuda_version(number: u64) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}
