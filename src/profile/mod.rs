//! The one artefact that passes from measuring to analysis: a [`Run`] and its file format.
//!
//! A run file is append-only JSON Lines: a manifest, then records as they come, closed by an `end` record
//! whose absence means that the run is partial. Raw samples are stored; rates and shares are derived.

mod capacity;
mod devices;
mod diagnosis;
mod finding;
mod foreign;
mod kernel;
mod kernel_name;
mod latency;
mod manifest;
mod memory;
mod merge;
mod processes;
mod profiler;
mod quality;
mod rank;
mod reader;
mod record;
mod schema;
mod telemetry;
mod trace;
mod writer;

pub use capacity::{CapacityMethod, CapacityProbe, CapacityRecord, DeviceBudget};
pub use devices::{DEVICES_SCHEMA_VERSION, DeviceList, GpuDevice, HiddenGpu};
pub use diagnosis::{
    Advice, Counters, DIAGNOSIS_SCHEMA_VERSION, Diagnosis, EnergyAccess, Gpu, GpuProcess, Library, Limit,
    Limits, Memory, MemoryModules, MigInstance, Nvidia, Nvml, Processor, Tool, Tools,
};
pub use finding::{Finding, FindingCode};
pub use foreign::{ForeignRecord, PhaseTotalsRecord};
pub use kernel::{ComputeCapability, KernelFlops, KernelRates, KernelRecord, Measured};
pub use kernel_name::{base_name, short_name, short_names, suggests_matrix_units};
pub use latency::{DecodePointRecord, LatencyRecord, Summarised};
pub use manifest::{
    CpuInfo, DeviceInfo, FORMAT_VERSION, HostInfo, KprofInfo, Manifest, Profiled, RunConfig, WeightSource,
};
pub use memory::{Accounted, MemoryMethod, MemoryRecord};
pub use merge::{
    ClockOffset, MergeError, MergedRank, MergedRecord, OffsetMethod, RankRuns, check_ranks, merged_ranks,
};
pub use processes::findings_of_processes;
pub use profiler::ProfilerInfo;
pub use quality::{QualityRecord, TextRecord, perplexity};
pub use rank::{ClockRecord, RankInfo};
pub use reader::{
    ProfileError, RunFile, looks_like_run, merged_lines, names_of_runs, place_of, read_run, read_run_file,
    text_of_run,
};
pub use record::{
    CacheRecord, CacheState, Ended, PlanRecord, PlannedOp, ProcessRecord, Record, ScheduleRecord, StepRecord,
    TimingMethod, Twin,
};
pub use schema::record_schema;
pub use telemetry::{EnergyReading, GpuSample, PowerReading, TelemetryCost, TelemetryRecord, UsageRecord};
pub use trace::{CopyKind, CopyRecord, MatmulShape, RangeRecord, StepMark, Timeline, TraceDevice, TraceInfo};
pub use writer::{RunWriter, write_atomically};

use crate::hw::Ceiling;

/// Everything known about one run, measured or imported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// What was run, where and how; `None` for an import that has none.
    pub manifest: Option<Manifest>,
    /// The profiler that recorded it, for an import whose file says.
    pub profiler: Option<ProfilerInfo>,
    /// The file it was read from or written to, as given.
    pub file: String,
    /// Ceilings measured beside the run.
    pub ceilings: Vec<Ceiling>,
    /// The ops of each version and stage.
    pub plans: Vec<PlanRecord>,
    /// Timed steps, plain and instrumented, in the order measured.
    pub steps: Vec<StepRecord>,
    /// How it was repeated, once for each process.
    pub schedules: Vec<ScheduleRecord>,
    /// The processes that measured it; empty where there was one.
    pub processes: Vec<ProcessRecord>,
    /// KV cache sizes by version.
    pub caches: Vec<CacheRecord>,
    /// Generations by version, length and repetition.
    pub latencies: Vec<LatencyRecord>,
    /// Decode steps by version, context and batch.
    pub decode_points: Vec<DecodePointRecord>,
    /// Memory by version and length.
    pub memory: Vec<MemoryRecord>,
    /// The largest batch by version.
    pub capacities: Vec<CapacityRecord>,
    /// The texts that quality was measured on.
    pub texts: Vec<TextRecord>,
    /// Quality by version and segment.
    pub qualities: Vec<QualityRecord>,
    /// Times of phases over whole generations, of an import.
    pub phase_totals: Vec<PhaseTotalsRecord>,
    /// What an import says that has no place elsewhere.
    pub foreign: Vec<ForeignRecord>,
    /// Kernel launches of a profiler's export.
    pub kernels: Vec<KernelRecord>,
    /// The timeline traces that launches come from.
    pub traces: Vec<TraceInfo>,
    /// Ranges of a timeline trace, in the order they began.
    pub ranges: Vec<RangeRecord>,
    /// Copies and fillings of memory in a timeline trace.
    pub copies: Vec<CopyRecord>,
    /// The devices of launches that were read and not kept in `kernels`.
    pub devices: Vec<String>,
    /// What the machine did during each stage of each repetition.
    pub usage: Vec<UsageRecord>,
    /// Samples of clocks, power and GPUs.
    pub telemetry: Vec<TelemetryRecord>,
    /// What the sampling cost.
    pub telemetry_cost: Option<TelemetryCost>,
    /// Moments on the run's clock and on the machine's, where it was one rank of several.
    pub clocks: Vec<ClockRecord>,
    /// What a reader should know before believing the numbers.
    pub findings: Vec<Finding>,
    /// Whether the run was closed; false for an interrupted one.
    pub complete: bool,
}

impl Run {
    /// Adds a record.
    pub fn push(&mut self, record: Record) {
        match record {
            Record::Manifest(manifest) => self.manifest = Some(*manifest),
            Record::Ceiling(ceiling) => self.ceilings.push(ceiling),
            Record::Plan(plan) => self.plans.push(plan),
            Record::Step(step) => self.steps.push(step),
            Record::Schedule(schedule) => self.schedules.push(schedule),
            Record::Process(process) => self.processes.push(process),
            Record::Cache(cache) => self.caches.push(cache),
            Record::Latency(latency) => self.latencies.push(latency),
            Record::DecodePoint(point) => self.decode_points.push(point),
            Record::Memory(memory) => self.memory.push(*memory),
            Record::Capacity(capacity) => self.capacities.push(capacity),
            Record::Text(text) => self.texts.push(text),
            Record::Quality(quality) => self.qualities.push(quality),
            Record::PhaseTotals(phases) => self.phase_totals.push(phases),
            Record::Foreign(foreign) => self.foreign.push(foreign),
            Record::Kernel(kernel) => self.kernels.push(*kernel),
            Record::Profiler(profiler) => self.profiler = Some(profiler),
            Record::Trace(trace) => self.traces.push(trace),
            Record::Range(range) => self.ranges.push(range),
            Record::Copy(copy) => self.copies.push(copy),
            Record::Usage(usage) => self.usage.push(*usage),
            Record::Telemetry(sample) => self.telemetry.push(sample),
            Record::TelemetryCost(cost) => {
                self.telemetry_cost = Some(self.telemetry_cost.map_or(cost, |c| c + cost))
            }
            Record::Clock(clock) => self.clocks.push(clock),
            Record::Finding(finding) => self.findings.push(finding),
            // The head of a file of several runs is no part of one of them.
            Record::Merged(_) => {}
            Record::End { .. } => self.complete = true,
        }
    }

    /// What caches held before each timed step.
    pub fn cache_state(&self) -> CacheState {
        self.schedules.first().map(|s| s.cache).unwrap_or_default()
    }

    /// The bytes that were streamed through the caches before each step, where they were flushed.
    pub fn flushed_bytes(&self) -> Option<f64> {
        self.schedules.first().and_then(|s| s.flushed_bytes)
    }

    /// The names of the devices that kernels ran on, each once, as first seen.
    pub fn device_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        let kept = self.kernels.iter().filter_map(|k| k.device.as_deref());
        for name in self.devices.iter().map(String::as_str).chain(kept) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The versions that have steps: in the order asked for, then any other as first measured.
    pub fn versions(&self) -> Vec<&str> {
        let measured = |name: &str| self.steps.iter().any(|step| step.version == name);
        let asked = self.manifest.iter().filter_map(|m| m.config.as_ref()).flat_map(|c| &c.versions);
        let mut names: Vec<&str> = asked.map(|v| v.name.as_str()).filter(|name| measured(name)).collect();
        for step in &self.steps {
            if !names.contains(&step.version.as_str()) {
                names.push(&step.version);
            }
        }
        names
    }

    /// The ops of `version` in `stage`.
    pub fn plan(&self, version: &str, stage: crate::llm::Stage) -> Option<&PlanRecord> {
        self.plans.iter().find(|p| p.version == version && p.stage == stage)
    }
}
