//! The shape of the phase report: what its table, its figure and its JSON are made of. The numbers come from
//! [`super::phases`].

use super::attainable::{Bound, Floor};
use super::energy::{Energy, Machine};
use super::point::Origin;
use crate::hw::Ceiling;
use crate::llm::{Op, Phase, Stage, Work};
use crate::profile::{CacheState, Finding, Manifest};
use crate::stats::{Interval, SpeedUp, Summary};
use serde::Serialize;

/// The version of the JSON that a [`PhaseReport`] becomes.
pub const PHASE_SCHEMA_VERSION: u32 = 1;

/// Everything that `kprof phase` reports of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseReport {
    /// The version of this structure.
    pub schema_version: u32,
    /// The run file.
    pub file: String,
    /// Whether the run was closed; false for an interrupted one.
    pub complete: bool,
    /// What was run, where and how.
    pub manifest: Option<Manifest>,
    /// What the processor's caches held before each step.
    pub cache: CacheState,
    /// The bytes that were streamed through the caches before each step to flush them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flushed_bytes: Option<f64>,
    /// What the figures mean.
    pub definitions: Definitions,
    /// Per version and stage.
    pub stages: Vec<StageReport>,
    /// Each later version against the first.
    pub comparisons: Vec<Comparison>,
    /// What the machine did meanwhile.
    pub machine: Machine,
    /// The ceilings that bounds are told by.
    pub ceilings: Vec<Ceiling>,
    /// What a reader should know before believing the numbers.
    pub findings: Vec<Finding>,
}

/// The definitions of the figures, in the file itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Definitions {
    /// Of `time_s`, `flops` and `bytes`.
    pub stage: &'static str,
    /// Of `bytes`.
    pub bytes: &'static str,
    /// Of `ttft_s`.
    pub ttft_s: &'static str,
    /// Of `tpot_s`.
    pub tpot_s: &'static str,
    /// Of `tokens_per_s`.
    pub tokens_per_s: &'static str,
    /// Of `coverage`.
    pub coverage: &'static str,
    /// Of `instrumentation_overhead`.
    pub instrumentation_overhead: &'static str,
    /// Of `other`.
    pub other: &'static str,
    /// Of `energy`.
    pub energy: &'static str,
}

pub(super) const DEFINITIONS: Definitions = Definitions {
    stage: "per step: mean over the stage's steps, median over repetitions; T tokens are 1 prefill and T - 1 decode steps; \
            a part's time_s is its median share of a repetition, scaled so that all add up, of the median step",
    bytes: "analytic floor: every external input and output of an op once; not DRAM traffic",
    ttft_s: "plain twin: median over repetitions of the prefill step's time, which ends with output token 1",
    tpot_s: "plain twin: median over repetitions of the mean decode step time; null under 2 output tokens",
    tokens_per_s: "batch / tpot_s",
    coverage: "union of the recorded op intervals / span of the instrumented steps, median over repetitions",
    instrumentation_overhead: "median over paired repetitions of instrumented / plain time of the stage, minus 1",
    energy: "plain twin: joules of whole devices by their own counters, whoever used them, between the ends of the stage / \
             (batch x prompt tokens in prefill, batch x output tokens in decode), median over repetitions; null where no \
             counter can be read",
    other: "total minus the four phases: time that no op covers",
};

/// One version in one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageReport {
    /// The version.
    pub version: String,
    /// The stage.
    pub stage: Stage,
    /// Whole instrumented repetitions that the breakdown is of.
    pub repetitions: usize,
    /// Steps in each.
    pub steps: usize,
    /// The breakdown, per step.
    pub phases: Phases,
    /// See [`Definitions`].
    pub coverage: Option<f64>,
    /// See [`Definitions`].
    pub instrumentation_overhead: Option<f64>,
    /// A bootstrap interval for it; `None` under two repetitions.
    pub instrumentation_overhead_interval: Option<Interval>,
    /// Plain time per step.
    pub plain_step_s: Option<Summary>,
    /// See [`Definitions`]; of the version, so the same in both stages.
    pub ttft_s: Option<f64>,
    /// See [`Definitions`]; of the version.
    pub tpot_s: Option<f64>,
    /// See [`Definitions`]; of the version.
    pub tokens_per_s: Option<f64>,
    /// The cache's size at the end of a repetition; of the version.
    pub kv_cache_bytes: KvCacheBytes,
    /// See [`Definitions`].
    pub energy: Energy,
    /// The ops, those of all layers summed, in the order they run.
    pub ops: Vec<OpRow>,
}

/// The size of a KV cache in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct KvCacheBytes {
    /// By formula, for the tokens held.
    pub theoretical: Option<f64>,
    /// As allocated, capacity included.
    pub allocated: Option<f64>,
    /// What of it was written.
    pub touched: Option<f64>,
}

/// The parts of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Phases {
    /// Token and position embeddings.
    pub embedding: PhaseRow,
    /// Projections, cache, attention.
    pub attention: PhaseRow,
    /// The MLP.
    pub mlp: PhaseRow,
    /// The final norm, the projection to the vocabulary, the choice of the token.
    pub head: PhaseRow,
    /// What no op covers.
    pub other: PhaseRow,
    /// The whole step.
    pub total: PhaseRow,
}

impl Phases {
    /// One of the four phases.
    pub fn get(&self, phase: Phase) -> &PhaseRow {
        match phase {
            Phase::Embedding => &self.embedding,
            Phase::Attention => &self.attention,
            Phase::Mlp => &self.mlp,
            Phase::Head => &self.head,
        }
    }

    /// All six with their names, in the order of tables and bars.
    pub fn named(&self) -> [(&'static str, &PhaseRow); 6] {
        [
            ("embedding", &self.embedding),
            ("attention", &self.attention),
            ("mlp", &self.mlp),
            ("head", &self.head),
            ("other", &self.other),
            ("total", &self.total),
        ]
    }
}

/// One part of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PhaseRow {
    /// Seconds per step, of the instrumented twin.
    pub time_s: Option<f64>,
    /// The repetitions behind it; of `other` there is none, it is a difference.
    pub time: Option<Summary>,
    /// Part of the total.
    pub share: Option<f64>,
    /// The work done.
    #[serde(flatten)]
    pub work: WorkRow,
}

/// Work and what it says with a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkRow {
    /// FLOPs per step.
    pub flops: Option<f64>,
    /// Those of matrix products.
    pub matmul_flops: Option<f64>,
    /// Bytes per step.
    pub bytes: Option<f64>,
    /// Bytes read of those.
    pub bytes_read: Option<f64>,
    /// Bytes written of those.
    pub bytes_written: Option<f64>,
    /// What `bytes` are.
    pub byte_source: Option<Origin>,
    /// What `flops` are.
    pub flop_source: Option<Origin>,
    /// FLOPs per byte.
    pub intensity: Option<f64>,
    /// FLOPs per second.
    pub achieved_flop_per_s: Option<f64>,
    /// Bytes per second.
    pub achieved_byte_per_s: Option<f64>,
    /// FLOPs per second that the ceilings allow.
    pub attainable_flop_per_s: Option<f64>,
    /// The shortest time that the ceilings allow / the time; not clamped.
    pub fraction_of_ceiling: Option<f64>,
    /// That shortest time, with what bounds it.
    pub floor: Option<Floor>,
    /// What bounds it; `None` where there is no work.
    pub bound: Option<Bound>,
}

impl WorkRow {
    pub(super) fn new(work: Work, floor: Option<Floor>, time_s: Option<f64>) -> Self {
        let (flops, bytes) = (work.flops().0, work.bytes().0);
        let time = time_s.filter(|t| *t > 0.0);
        Self {
            flops: Some(flops),
            matmul_flops: Some(work.matmul_flops.0),
            bytes: Some(bytes),
            bytes_read: Some(work.bytes_read.0),
            bytes_written: Some(work.bytes_written.0),
            byte_source: Some(Origin::Analytic),
            flop_source: Some(Origin::Analytic),
            intensity: work.intensity().map(|i| i.0),
            achieved_flop_per_s: time.map(|t| flops / t),
            achieved_byte_per_s: time.map(|t| bytes / t),
            attainable_flop_per_s: floor.filter(|f| f.time_s > 0.0).map(|f| flops / f.time_s),
            fraction_of_ceiling: floor.and_then(|f| Some(f.time_s / time?)),
            floor,
            bound: Some(floor.map_or(Bound::Unknown, |f| f.bound(time_s))),
        }
    }
}

/// One op of a stage, of all layers together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpRow {
    /// What it is for.
    pub label: String,
    /// The phase whose time it is.
    pub phase: Phase,
    /// How many of it a step has.
    pub count: usize,
    /// The operation and its fixed dimensions.
    #[serde(flatten)]
    pub op: Op,
    /// Seconds per step.
    pub time_s: Option<f64>,
    /// Part of the total.
    pub share: Option<f64>,
    /// The work done.
    #[serde(flatten)]
    pub work: WorkRow,
}

/// A version against the first one measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The version.
    pub version: String,
    /// What it is compared with.
    pub baseline: String,
    /// The stage whose plain time per step is compared.
    pub stage: Stage,
    /// Baseline time / this version's, and what may be said of it: as `kprof compare` says it.
    #[serde(flatten)]
    pub change: SpeedUp,
    /// The least change that counts, as a fraction.
    pub threshold: f64,
}
