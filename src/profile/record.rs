//! The records of a run file.

use super::{
    CapacityRecord, ClockRecord, CopyRecord, DecodePointRecord, Finding, ForeignRecord, KernelRecord,
    LatencyRecord, Manifest, MemoryRecord, MergedRecord, PhaseTotalsRecord, ProfilerInfo, QualityRecord,
    RangeRecord, TelemetryCost, TelemetryRecord, TextRecord, TraceInfo, UsageRecord,
};
use crate::hw::Ceiling;
use crate::llm::{Op, Phase, Stage, StepShape, Work};
use serde::{Deserialize, Serialize};

/// One line of a run file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// The head of a file of several ranks, first; each has its manifest after it.
    Merged(Box<MergedRecord>),
    /// The provenance; first.
    Manifest(Box<Manifest>),
    /// A ceiling measured beside the run.
    Ceiling(Ceiling),
    /// The ops of a version and stage.
    Plan(PlanRecord),
    /// A timed step.
    Step(StepRecord),
    /// How a measurement was repeated, and why it ended.
    Schedule(ScheduleRecord),
    /// Where the repetitions of a process begin.
    Process(ProcessRecord),
    /// The size of a KV cache.
    Cache(CacheRecord),
    /// A generation of some length, timed as a whole.
    Latency(LatencyRecord),
    /// Decode steps at a context and batch.
    DecodePoint(DecodePointRecord),
    /// What a generation held in memory.
    Memory(Box<MemoryRecord>),
    /// The largest batch that fits.
    Capacity(CapacityRecord),
    /// The text that quality was measured on.
    Text(TextRecord),
    /// How well a version predicted a segment of it.
    Quality(QualityRecord),
    /// Times of phases over a whole generation, of an import.
    PhaseTotals(PhaseTotalsRecord),
    /// What an import says that has no place elsewhere.
    Foreign(ForeignRecord),
    /// A kernel launch.
    Kernel(Box<KernelRecord>),
    /// The profiler that recorded an import.
    Profiler(ProfilerInfo),
    /// A timeline trace that kernels, ranges and copies come from.
    Trace(TraceInfo),
    /// A range of a timeline trace.
    Range(RangeRecord),
    /// A copy or a filling of memory in a timeline trace.
    Copy(CopyRecord),
    /// What the machine did during a stage of a repetition.
    Usage(Box<UsageRecord>),
    /// A sample of clocks, power and GPUs.
    Telemetry(TelemetryRecord),
    /// What the sampling cost.
    TelemetryCost(TelemetryCost),
    /// A moment on the run's clock and on the machine's.
    Clock(ClockRecord),
    /// A finding.
    Finding(Finding),
    /// The end: without it the run is partial.
    End {
        /// How long the whole run took.
        wall_s: f64,
    },
}

/// How a duration was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimingMethod {
    /// The host's monotonic clock, after the device was synchronised.
    HostClock,
    /// Device events resolved after the step.
    DeviceEvent,
    /// A profiler's replay of the kernel.
    CounterReplay,
    /// The scripted clock of the fake device.
    Scripted,
}

/// Which of the two runs of a measurement a step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Twin {
    /// Without marks: gives latency.
    Plain,
    /// With a mark around every op: gives the breakdown.
    Instrumented,
}

/// One op of a pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlannedOp {
    /// What it is for, e.g. `attn.qkv`.
    pub label: String,
    /// The phase whose time it is.
    pub phase: Phase,
    /// The block it belongs to, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// The operation and its fixed dimensions.
    #[serde(flatten)]
    pub op: Op,
}

/// The ops of one version and stage in the order they run; the times of an instrumented step follow this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlanRecord {
    /// The version.
    pub version: String,
    /// The stage.
    pub stage: Stage,
    /// The ops.
    pub ops: Vec<PlannedOp>,
}

impl PlanRecord {
    /// The analytic work of all ops, or of one phase's, in a step of shape `shape`.
    pub fn work(&self, phase: Option<Phase>, shape: &StepShape) -> Work {
        self.ops.iter().filter(|op| phase.is_none_or(|p| op.phase == p)).map(|op| op.op.work(shape)).sum()
    }
}

/// One timed step: a prefill, or one decode step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StepRecord {
    /// The version.
    pub version: String,
    /// The stage.
    pub stage: Stage,
    /// Plain or instrumented.
    pub twin: Twin,
    /// Which repetition, from 0.
    pub repetition: usize,
    /// Which output token this step ends with, from 0 (0 = prefill).
    pub step: usize,
    /// Its token dimensions.
    #[serde(flatten)]
    pub shape: StepShape,
    /// The whole step, the choice of the token included.
    pub time_s: f64,
    /// How it was timed.
    pub method: TimingMethod,
    /// When each op began, from the step's start; empty in a plain step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub op_start_s: Vec<f64>,
    /// How long each op took, in the plan's order; empty in a plain step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub op_time_s: Vec<f64>,
}

impl StepRecord {
    /// The union of the recorded op intervals: overlapping ops count once. `None` in a plain step.
    pub fn covered_s(&self) -> Option<f64> {
        if self.op_time_s.is_empty() {
            return None;
        }
        let mut spans: Vec<(f64, f64)> =
            self.op_start_s.iter().zip(&self.op_time_s).map(|(start, time)| (*start, start + time)).collect();
        spans.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut covered = 0.0;
        let mut end = f64::NEG_INFINITY;
        for (from, to) in spans {
            covered += (to - from.max(end)).max(0.0);
            end = end.max(to);
        }
        Some(covered)
    }

    /// Covered time over the step's span; `None` in a plain step.
    pub fn coverage(&self) -> Option<f64> {
        self.covered_s().map(|covered| covered / self.time_s)
    }
}

/// How a measurement was repeated, and why it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ScheduleRecord {
    /// Unrecorded rounds before the first repetition.
    pub warmups: usize,
    /// Repetitions made.
    pub repetitions: usize,
    /// The least asked for.
    pub least: usize,
    /// The most asked for.
    pub most: usize,
    /// The half-width of every 95 % interval, as a part of its median, at which it was to end before the most; `None` where
    /// a number of repetitions was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// The widest half-width when it ended, as a part of its median; `None` where nothing was timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<f64>,
    /// What ended it.
    pub ended: Ended,
    /// The seed of the order.
    pub seed: u64,
    /// What caches held before each step.
    #[serde(default, skip_serializing_if = "CacheState::is_hot")]
    pub cache: CacheState,
    /// How many bytes were streamed through the caches before each step to flush them; `None` where they were not, and in older
    /// files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flushed_bytes: Option<f64>,
}

/// What the processor's caches, or a GPU's L2, held before each timed step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CacheState {
    /// What the step before left there, as when a model generates.
    #[default]
    Hot,
    /// Nothing of the model: they were flushed.
    Cold,
}

impl CacheState {
    fn is_hot(&self) -> bool {
        *self == Self::Hot
    }

    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Cold => "cold",
        }
    }
}

/// What ended a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All repetitions were made.
    Count,
    /// The intervals were narrow enough.
    Precision,
    /// Another repetition would have taken too long.
    Time,
}

/// One of the processes that measured a run, where there is more than one: its repetitions are those from
/// `first_repetition` up to the next process's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProcessRecord {
    /// The number of its first repetition in the run.
    pub first_repetition: usize,
    /// When it started, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
}

/// The size of a version's KV cache at the end of a repetition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CacheRecord {
    /// The version.
    pub version: String,
    /// Tokens per sequence that it holds.
    pub tokens: usize,
    /// Sequences.
    pub batch: usize,
    /// By the formula of [`crate::llm::Version::cache_bytes`] for `tokens`.
    pub theoretical_bytes: f64,
    /// What the implementation allocated, capacity included.
    pub allocated_bytes: f64,
    /// What of it was written; `None` where the implementation cannot say.
    #[serde(default)]
    pub touched_bytes: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(spans: &[(f64, f64)]) -> StepRecord {
        StepRecord {
            version: "v1".into(),
            stage: Stage::Decode,
            twin: Twin::Instrumented,
            repetition: 0,
            step: 1,
            shape: StepShape { batch: 1, new_tokens: 1, context: 2 },
            time_s: 10.0,
            method: TimingMethod::Scripted,
            op_start_s: spans.iter().map(|s| s.0).collect(),
            op_time_s: spans.iter().map(|s| s.1).collect(),
        }
    }

    #[test]
    fn coverage_is_the_union_of_intervals_so_overlap_counts_once() {
        // [1, 3), [2, 5), [7, 8): 2 + 2 + 1 = 5 of 10.
        assert_eq!(step(&[(2.0, 3.0), (1.0, 2.0), (7.0, 1.0)]).coverage(), Some(0.5));
        assert_eq!(step(&[]).coverage(), None);
    }

    #[test]
    fn a_record_survives_its_json() {
        let record = Record::Step(step(&[(0.1, 0.2)]));
        let json = serde_json::to_string(&record).unwrap();
        assert!(json.starts_with(r#"{"type":"step","version":"v1","stage":"decode""#), "{json}");
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
    }
}
