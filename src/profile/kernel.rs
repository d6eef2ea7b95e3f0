//! One kernel launch of a profiler's export: what was counted, from which metric, and what is missing.

use super::{Finding, Timeline};
use crate::hw::Ceiling;
use crate::llm::{Phase, Stage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A value with the metric or formula that gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Measured {
    /// The value in base units.
    pub value: f64,
    /// The metric, or the formula over metrics.
    pub source: String,
    /// Whether part of the quantity was not collected, so that the true value is at least this.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lower_bound: bool,
    /// Whether the value is an estimate rather than a count.
    #[serde(default, skip_serializing_if = "is_false")]
    pub estimated: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl Measured {
    /// A counted value.
    pub fn new(value: f64, source: impl Into<String>) -> Self {
        Self { value, source: source.into(), lower_bound: false, estimated: false }
    }

    /// The same, marked as a lower bound.
    #[must_use]
    pub fn as_lower_bound(mut self) -> Self {
        self.lower_bound = true;
        self
    }

    /// The same, marked as an estimate.
    #[must_use]
    pub fn as_estimate(mut self) -> Self {
        self.estimated = true;
        self
    }
}

/// FLOPs of one launch by precision; `None` where the export cannot say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct KernelFlops {
    /// Double precision on vector units.
    pub fp64: Option<Measured>,
    /// Single precision on vector units.
    pub fp32: Option<Measured>,
    /// Half precision on vector units, each instruction counted as one lane.
    pub fp16: Option<Measured>,
    /// Half precision on vector units, each instruction counted as two packed lanes (HFMA2).
    pub fp16_packed: Option<Measured>,
    /// Matrix units, all types.
    pub tensor: Option<Measured>,
    /// Matrix units by operand type, e.g. `fp16_dst_fp32`.
    pub tensor_by_type: BTreeMap<String, Measured>,
}

impl KernelFlops {
    /// fp64 + fp32 + fp16_packed + tensor, of those collected; `None` when none was.
    pub fn total(&self) -> Option<f64> {
        let parts = [&self.fp64, &self.fp32, &self.fp16_packed, &self.tensor];
        let known: Vec<f64> = parts.into_iter().flatten().map(|m| m.value).collect();
        (!known.is_empty()).then(|| known.iter().sum())
    }
}

/// Per-second values of one launch whose export has rates but no time: enough for a point on a roofline,
/// not for a share of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct KernelRates {
    /// FLOP/s by precision.
    pub flops: KernelFlops,
    /// B/s between DRAM and the chip.
    pub dram_bytes: Option<Measured>,
}

/// A CUDA compute capability.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct ComputeCapability {
    /// Before the dot.
    pub major: u32,
    /// After the dot.
    pub minor: u32,
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// One launch, or the sum of several of one kernel in a summary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct KernelRecord {
    /// The export.
    pub file: String,
    /// The export's own ID of the launch.
    pub launch: Option<String>,
    /// The kernel's name, byte for byte as exported.
    pub kernel: String,
    /// How many launches the record sums (1, except in a summary).
    pub launches: u64,
    /// The process's ID.
    #[serde(default)]
    pub process: Option<String>,
    /// The device's name, where the export has it.
    #[serde(default)]
    pub device: Option<String>,
    /// The device's compute capability.
    #[serde(default)]
    pub compute_capability: Option<ComputeCapability>,
    /// The grid as exported, e.g. `(64, 64, 1)`.
    #[serde(default)]
    pub grid: Option<String>,
    /// The block as exported.
    #[serde(default)]
    pub block: Option<String>,
    /// Registers of a thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registers: Option<u32>,
    /// Bytes of shared memory of a block that the kernel itself has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub static_shared_bytes: Option<u64>,
    /// Bytes of shared memory of a block that were asked for with the launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_shared_bytes: Option<u64>,
    /// Both together, where a trace says no more than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_bytes: Option<u64>,
    /// The context's ID.
    #[serde(default)]
    pub context: Option<String>,
    /// The stream's ID.
    #[serde(default)]
    pub stream: Option<String>,
    /// NVTX ranges around the launch, outermost first.
    #[serde(default)]
    pub nvtx: Vec<String>,
    /// The KV-cache version that launched it, where that is known.
    #[serde(default)]
    pub version: Option<String>,
    /// The stage.
    #[serde(default)]
    pub stage: Option<Stage>,
    /// The phase.
    #[serde(default)]
    pub phase: Option<Phase>,
    /// The kind of work, as rules name it: gemm, attention, norm, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// When it ran and who launched it, for a launch of a timeline trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
    /// Device time in seconds, summed over `launches`.
    pub time: Option<Measured>,
    /// Bytes moved between DRAM and the chip.
    pub dram_bytes: Option<Measured>,
    /// Bytes through the L2 cache.
    #[serde(default)]
    pub l2_bytes: Option<Measured>,
    /// Bytes through the L1 caches.
    #[serde(default)]
    pub l1_bytes: Option<Measured>,
    /// FLOPs by precision.
    pub flops: KernelFlops,
    /// Rates, only where the export has no time to make counts of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<KernelRates>,
    /// Whether every precision that the chip has was collected.
    pub flops_complete: bool,
    /// What to collect, as metric names, for what is missing.
    #[serde(default)]
    pub missing: Vec<String>,
    /// DRAM throughput as a percentage of peak, where only that is known.
    #[serde(default)]
    pub dram_percent: Option<Measured>,
    /// SM throughput as a percentage of peak: the busiest pipe, not a FLOP rate.
    #[serde(default)]
    pub sm_percent: Option<Measured>,
    /// Ceilings that the report itself has for this launch.
    #[serde(default)]
    pub ceilings: Vec<Ceiling>,
    /// What is odd about this launch.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

impl KernelRecord {
    /// Bytes of shared memory of a block: what the kernel itself has and what was asked for with the launch; `None` unless
    /// both are known, or their sum.
    pub fn shared_total(&self) -> Option<u64> {
        let parts = self.static_shared_bytes.zip(self.dynamic_shared_bytes).map(|(own, asked)| own + asked);
        parts.or(self.shared_bytes)
    }
}
