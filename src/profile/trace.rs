//! What a timeline trace has besides kernels: where it comes from, ranges, copies, and when things happened.
//!
//! Times are seconds since the trace's first event, so that a double keeps nanoseconds.

use crate::llm::Stage;
use serde::{Deserialize, Serialize};

/// A device that a trace describes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TraceDevice {
    /// Its number in the trace.
    pub number: u32,
    /// Its name as the trace has it.
    pub name: Option<String>,
}

/// Calls of one matrix product `[rows, inner] x [inner, columns]`, where the trace recorded the shapes of operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MatmulShape {
    /// Rows of the left operand: tokens.
    pub rows: u64,
    /// The inner dimension.
    pub inner: u64,
    /// Columns of the result.
    pub columns: u64,
    /// How often.
    pub calls: u64,
}

/// A timeline trace as a whole: one per file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TraceInfo {
    /// The export.
    pub file: String,
    /// The kind of file: `kineto`, `nsys`, `nsys-csv` or `rocprofv3`.
    pub format: String,
    /// The version of the file's own format or schema, where it says.
    #[serde(default)]
    pub format_version: Option<String>,
    /// The rank of the process in its group, where known.
    #[serde(default)]
    pub rank: Option<u32>,
    /// How many ranks the group has, where known.
    #[serde(default)]
    pub world_size: Option<u32>,
    /// The devices that it describes, whether or not anything ran on them.
    #[serde(default)]
    pub devices: Vec<TraceDevice>,
    /// From the first to the end of the last event on a device; `None` where the file has sums only.
    #[serde(default)]
    pub span_s: Option<f64>,
    /// Matrix products by shape, the most frequent first; empty where shapes were not recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matmuls: Vec<MatmulShape>,
}

/// Where a launch stands on the timeline of its trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Timeline {
    /// When it began on the device; `None` for a sum over launches.
    #[serde(default)]
    pub start_s: Option<f64>,
    /// The device's number.
    #[serde(default)]
    pub device: Option<u32>,
    /// The rank whose trace it is from.
    #[serde(default)]
    pub rank: Option<u32>,
    /// What ties it to the call that launched it.
    #[serde(default)]
    pub correlation: Option<u64>,
    /// When the host called for it; `None` where the trace lacks the call.
    #[serde(default)]
    pub launch_start_s: Option<f64>,
    /// How long that call took.
    #[serde(default)]
    pub launch_time_s: Option<f64>,
}

/// What a range's name says of the step it encloses; a field is `None` where it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StepMark {
    /// The stage; `None` for a step that mixes prefill and decode.
    pub stage: Option<Stage>,
    /// Sequences whose prompt it computes.
    pub prefill_sequences: Option<u64>,
    /// Prompt tokens that it computes.
    pub prefill_tokens: Option<u64>,
    /// Sequences that it gives a further token to.
    pub decode_sequences: Option<u64>,
}

/// A range that the program or its framework put on the host's timeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RangeRecord {
    /// The export.
    pub file: String,
    /// Its name.
    pub name: String,
    /// When it began.
    pub start_s: f64,
    /// How long it lasted; `None` for one that the trace does not end.
    pub time_s: Option<f64>,
    /// The thread, as the export names it.
    #[serde(default)]
    pub thread: Option<String>,
    /// The rank whose trace it is from.
    #[serde(default)]
    pub rank: Option<u32>,
    /// The step it encloses, where its name says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepMark>,
}

/// What a memory operation did.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CopyKind {
    /// From host memory to the device.
    HostToDevice,
    /// From the device to host memory.
    DeviceToHost,
    /// Within a device.
    DeviceToDevice,
    /// Between devices.
    PeerToPeer,
    /// Within host memory.
    HostToHost,
    /// Filling memory with a value.
    Set,
    /// A copy whose direction the trace does not say.
    Unknown,
}

impl CopyKind {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::HostToDevice => "host to device",
            Self::DeviceToHost => "device to host",
            Self::DeviceToDevice => "device to device",
            Self::PeerToPeer => "peer to peer",
            Self::HostToHost => "host to host",
            Self::Set => "set",
            Self::Unknown => "unknown direction",
        }
    }
}

/// A copy or a filling of memory, or the sum of several in a summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CopyRecord {
    /// The export.
    pub file: String,
    /// What it did.
    pub kind: CopyKind,
    /// The memory as the export names it, e.g. `Pageable -> Device`.
    #[serde(default)]
    pub memory: Option<String>,
    /// How many operations the record sums.
    pub count: u64,
    /// Bytes moved or filled, in all.
    pub bytes: Option<f64>,
    /// Seconds, in all.
    pub time_s: f64,
    /// The stream's ID.
    #[serde(default)]
    pub stream: Option<String>,
    /// When, on which device, launched by what.
    #[serde(default)]
    pub timeline: Timeline,
}
