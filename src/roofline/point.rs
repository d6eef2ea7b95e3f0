//! A point: FLOPs, bytes and time of one kernel, op, phase or stage, and what follows from them.

use super::attainable::{Bound, Floor};
use super::ceilings::CeilingSet;
use super::launched::LaunchedAs;
use crate::hw::MemoryLevel;
use crate::llm::{Phase, Stage};
use crate::profile::{KernelRates, Measured};
use crate::units::{ByteRate, Bytes, FlopRate, Flops, Seconds};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a point stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// One launch of a kernel.
    Launch,
    /// All launches of one kernel.
    Kernel,
    /// Launches with something else in common: a range, a phase, a file.
    Group,
    /// A phase of a stage.
    Phase,
    /// A whole stage: one step of it.
    Stage,
}

/// Whether a number was counted by hardware or follows from an op's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// From the formulas of [`crate::llm::Op::work`]; bytes are the floor, not DRAM traffic.
    Analytic,
    /// From hardware counters.
    Counter,
}

/// FLOPs by precision; `None` where unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlopCounts {
    /// Double precision on vector units.
    pub fp64: Option<Measured>,
    /// Single precision on vector units.
    pub fp32: Option<Measured>,
    /// Half precision on vector units, one lane per instruction.
    pub fp16: Option<Measured>,
    /// Half precision on vector units, two lanes per instruction.
    pub fp16_packed: Option<Measured>,
    /// Matrix units.
    pub tensor: Option<Measured>,
    /// Matrix units by operand type.
    pub tensor_by_type: BTreeMap<String, Measured>,
    /// fp64 + fp32 + fp16_packed + tensor of those known; a lower bound where one of them is not.
    pub total: Option<Measured>,
}

/// The metric or formula behind each number; `None` where there is no number.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PointSources {
    /// Behind `time_s`.
    pub time_s: Option<String>,
    /// Behind `dram_bytes`.
    pub dram_bytes: Option<String>,
    /// Behind `bytes`, where those are not DRAM bytes.
    pub bytes: Option<String>,
    /// Behind `flops.fp64`.
    pub fp64: Option<String>,
    /// Behind `flops.fp32`.
    pub fp32: Option<String>,
    /// Behind `flops.fp16`.
    pub fp16: Option<String>,
    /// Behind `flops.fp16_packed`.
    pub fp16_packed: Option<String>,
    /// Behind `flops.tensor`.
    pub tensor: Option<String>,
    /// Behind `flops.tensor_by_type`.
    pub tensor_by_type: BTreeMap<String, String>,
    /// Behind `flops.total`.
    pub total: Option<String>,
    /// Behind each rate, where there are only rates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, String>,
}

/// One kernel, launch, phase or stage against its ceilings.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// What it stands for.
    pub level: Level,
    /// The file it comes from.
    pub file: String,
    /// The export's own ID of the launch, for a single launch.
    pub launch: Option<String>,
    /// The kernel's name as exported; `None` for phases and stages.
    pub kernel: Option<String>,
    /// The kernel's name shortened, different for different kernels.
    pub short_name: Option<String>,
    /// What the launches have in common besides a name, e.g. a grid or a range.
    pub group: Option<String>,
    /// How many launches, or steps, `time` and the rest sum over; a stage's numbers are per step.
    pub launches: u64,
    /// How they were launched; of nothing but kernels.
    pub launched: LaunchedAs,
    /// The device, where known.
    pub device: Option<String>,
    /// The KV-cache version.
    pub version: Option<String>,
    /// The stage.
    pub stage: Option<Stage>,
    /// The phase.
    pub phase: Option<Phase>,
    /// The kind of work, as rules name it.
    pub class: Option<String>,
    /// Seconds.
    pub time: Option<Measured>,
    /// This point's part of its file's time (kernels) or of its stage's (phases).
    pub share: Option<f64>,
    /// Bytes: of DRAM where counted, the analytic floor otherwise.
    pub bytes: Option<Measured>,
    /// What `bytes` are.
    pub byte_origin: Origin,
    /// Bytes through the L2 cache.
    pub l2_bytes: Option<Measured>,
    /// Bytes through the L1 caches.
    pub l1_bytes: Option<Measured>,
    /// DRAM throughput in per cent of its peak, where the export says so itself.
    pub dram_percent: Option<f64>,
    /// SM throughput in per cent of its peak: the busiest pipe, not a FLOP rate.
    pub sm_percent: Option<f64>,
    /// FLOP/s and B/s of a launch whose export has no time; then `time`, `bytes` and `flops` are unknown and
    /// `floor` is that of a second.
    pub rates: Option<KernelRates>,
    /// FLOPs by precision.
    pub flops: FlopCounts,
    /// What `flops` are.
    pub flop_origin: Origin,
    /// Whether every precision that the hardware has was counted.
    pub flops_complete: bool,
    /// Whether it comes from a timeline trace, which has times and no counters.
    pub traced: bool,
    /// What to collect for what is missing.
    pub missing: Vec<String>,
    /// The shortest time that its ceilings allow; `None` where one is missing.
    pub floor: Option<Floor>,
    /// What bounds it.
    pub bound: Bound,
    /// The ceilings that it is held against.
    pub ceilings: CeilingSet,
    /// The names of the ceilings that its floor used.
    pub used_ceilings: Vec<String>,
}

impl Point {
    /// Bytes between DRAM and the chip; `None` for analytic bytes, which are not DRAM traffic.
    pub fn dram_bytes(&self) -> Option<&Measured> {
        self.bytes.as_ref().filter(|_| self.byte_origin == Origin::Counter)
    }

    /// FLOPs in all; a lower bound where `flops_complete` is false.
    pub fn total_flops(&self) -> Option<f64> {
        self.flops.total.as_ref().map(|t| t.value)
    }

    /// Whether FLOPs, and with them intensity and rate, are only a lower bound.
    pub fn is_lower_bound(&self) -> bool {
        !self.flops_complete || self.flops.total.as_ref().is_some_and(|t| t.lower_bound)
    }

    /// FLOPs / bytes; `None` where either is unknown or no byte moved.
    pub fn intensity(&self) -> Option<f64> {
        if let Some(rates) = &self.rates {
            let bytes = rates.dram_bytes.as_ref().filter(|b| b.value > 0.0)?;
            return Some((FlopRate(rates.flops.total()?) / ByteRate(bytes.value)).0);
        }
        let bytes = self.bytes.as_ref().filter(|b| b.value > 0.0)?;
        Some((Flops(self.total_flops()?) / Bytes(bytes.value)).0)
    }

    /// FLOPs / bytes of DRAM.
    pub fn intensity_dram(&self) -> Option<f64> {
        if self.rates.is_some() { self.intensity() } else { self.dram_bytes().and(self.intensity()) }
    }

    /// FLOPs / bytes through a level of memory; `None` where either is unknown.
    pub fn intensity_at(&self, level: MemoryLevel) -> Option<f64> {
        let bytes = match level {
            MemoryLevel::Dram => return self.intensity(),
            MemoryLevel::L2 => self.l2_bytes.as_ref(),
            MemoryLevel::L1 => self.l1_bytes.as_ref(),
            MemoryLevel::L3 => None,
        };
        let bytes = bytes.filter(|b| b.value > 0.0)?;
        Some((Flops(self.total_flops()?) / Bytes(bytes.value)).0)
    }

    /// What the export says about memory and SM throughput where nothing better is known: the busier of the two
    /// and its percentage of peak.
    pub fn busiest(&self) -> Option<(Bound, f64)> {
        if self.bound != Bound::Unknown || self.achieved_flop_rate().is_some() {
            return None;
        }
        let (memory, sm) = (self.dram_percent?, self.sm_percent?);
        Some(if memory >= sm { (Bound::Memory, memory) } else { (Bound::Compute, sm) })
    }

    /// FLOPs / time.
    pub fn achieved_flop_rate(&self) -> Option<f64> {
        if let Some(rates) = &self.rates {
            return rates.flops.total();
        }
        let time = self.time.as_ref().filter(|t| t.value > 0.0)?;
        Some((Flops(self.total_flops()?) / Seconds(time.value)).0)
    }

    /// Bytes / time.
    pub fn achieved_byte_rate(&self) -> Option<f64> {
        if let Some(rates) = &self.rates {
            return rates.dram_bytes.as_ref().map(|b| b.value);
        }
        let time = self.time.as_ref().filter(|t| t.value > 0.0)?;
        Some((Bytes(self.bytes.as_ref()?.value) / Seconds(time.value)).0)
    }

    /// FLOPs / time floor: the rate that the ceilings allow at this mix and intensity. `None` where FLOPs
    /// are incomplete, because it would mean nothing.
    pub fn attainable_flop_rate(&self) -> Option<f64> {
        let floor = self.floor.as_ref().filter(|f| f.time_s > 0.0)?;
        if self.is_lower_bound() {
            return None;
        }
        let flops = self.rates.as_ref().map_or_else(|| self.total_flops(), |r| r.flops.total())?;
        Some(FlopRate(flops / floor.time_s).0)
    }

    /// Time floor / time: 1 is at a ceiling; above 1 a number or a ceiling is wrong. Not clamped.
    pub fn fraction_of_ceiling(&self) -> Option<f64> {
        if self.is_lower_bound() {
            return None;
        }
        let time_s = if self.rates.is_some() { 1.0 } else { self.time.as_ref()?.value };
        (time_s > 0.0).then_some(self.floor.as_ref()?.time_s / time_s)
    }

    /// Its whole name: the kernel's as exported, or `v1 decode attention`.
    pub fn name(&self) -> String {
        self.named(self.kernel.as_deref())
    }

    /// What it is called in tables and charts: the name, shortened.
    pub fn label(&self) -> String {
        self.named(self.short_name.as_deref().or(self.kernel.as_deref()))
    }

    fn named(&self, kernel: Option<&str>) -> String {
        match (kernel, &self.group) {
            (Some(kernel), Some(group)) => return format!("{kernel} {group}"),
            (Some(kernel), None) => return kernel.to_string(),
            (None, Some(group)) => return group.clone(),
            (None, None) => {}
        }
        let phase = self.phase.map_or("total", Phase::name);
        let parts = [self.version.as_deref(), self.stage.map(Stage::name), Some(phase)];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// The metric or formula behind each number.
    pub fn sources(&self) -> PointSources {
        let of = |m: &Option<Measured>| m.as_ref().map(|m| m.source.clone());
        let dram = self.dram_bytes().map(|m| m.source.clone());
        PointSources {
            time_s: of(&self.time),
            bytes: if dram.is_some() { None } else { of(&self.bytes) },
            dram_bytes: dram,
            fp64: of(&self.flops.fp64),
            fp32: of(&self.flops.fp32),
            fp16: of(&self.flops.fp16),
            fp16_packed: of(&self.flops.fp16_packed),
            tensor: of(&self.flops.tensor),
            tensor_by_type: self
                .flops
                .tensor_by_type
                .iter()
                .map(|(k, m)| (k.clone(), m.source.clone()))
                .collect(),
            total: of(&self.flops.total),
            rates: self.rates.as_ref().map(rate_sources).unwrap_or_default(),
        }
    }
}

fn rate_sources(rates: &KernelRates) -> BTreeMap<String, String> {
    let named = [
        ("fp64", &rates.flops.fp64),
        ("fp32", &rates.flops.fp32),
        ("fp16", &rates.flops.fp16),
        ("fp16_packed", &rates.flops.fp16_packed),
        ("tensor", &rates.flops.tensor),
        ("dram_bytes", &rates.dram_bytes),
    ];
    named
        .into_iter()
        .filter_map(|(name, m)| Some((format!("{name}_per_s"), m.as_ref()?.source.clone())))
        .collect()
}
