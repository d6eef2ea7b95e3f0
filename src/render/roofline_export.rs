//! A [`Roofline`] as JSON and CSV: base units, named in the keys.

use crate::hw::{Ceiling, MemoryLevel};
use crate::llm::{Phase, Stage};
use crate::profile::{Finding, Measured};
use crate::roofline::{
    Bound, Change, CounterCheck, JoinReport, LaunchedAs, Level, Origin, Point, PointSources, Roofline,
    Saving, TimelineReport, changes, savings,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the JSON of `kprof roofline`.
pub const ROOFLINE_SCHEMA_VERSION: u32 = 1;

/// The JSON of `kprof roofline`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    schema_version: u32,
    kprof_version: &'static str,
    files: &'a [String],
    points: Vec<PointJson<'a>>,
    timelines: &'a [TimelineReport],
    joins: &'a [JoinReport],
    counter_checks: &'a [CounterCheck],
    changes: Vec<Change>,
    savings: Vec<Saving>,
    findings: &'a [Finding],
}

#[derive(Debug, Serialize)]
struct PointJson<'a> {
    file: &'a str,
    launch: Option<&'a str>,
    kernel: Option<&'a str>,
    launches: u64,
    launched: LaunchedJson<'a>,
    time_s: Option<f64>,
    dram_bytes: Option<f64>,
    flops: FlopsJson,
    flops_complete: bool,
    intensity_dram: Option<f64>,
    achieved_flop_per_s: Option<f64>,
    bound: Bound,
    version: Option<&'a str>,
    stage: Option<Stage>,
    phase: Option<Phase>,
    class: Option<&'a str>,
    sources: PointSources,
    level: Level,
    name: String,
    short_name: String,
    device: Option<&'a str>,
    share: Option<f64>,
    bytes: Option<f64>,
    byte_source: Origin,
    l2_bytes: Option<f64>,
    l1_bytes: Option<f64>,
    intensity_l2: Option<f64>,
    intensity_l1: Option<f64>,
    dram_percent: Option<f64>,
    sm_percent: Option<f64>,
    flop_source: Origin,
    intensity: Option<f64>,
    achieved_byte_per_s: Option<f64>,
    attainable_flop_per_s: Option<f64>,
    fraction_of_ceiling: Option<f64>,
    floor_s: Option<f64>,
    estimated: bool,
    missing: &'a [String],
    ceilings: Vec<CeilingJson<'a>>,
}

/// How launches were launched: `null` is not known, or differs where `varying` names it.
#[derive(Debug, Serialize)]
struct LaunchedJson<'a> {
    grid: Option<&'a str>,
    block: Option<&'a str>,
    registers: Option<u32>,
    static_shared_bytes: Option<u64>,
    dynamic_shared_bytes: Option<u64>,
    shared_bytes: Option<u64>,
    varying: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct FlopsJson {
    fp64: Option<f64>,
    fp32: Option<f64>,
    fp16: Option<f64>,
    fp16_packed: Option<f64>,
    tensor: Option<f64>,
    tensor_by_type: BTreeMap<String, f64>,
    total: Option<f64>,
}

#[derive(Debug, Serialize)]
struct CeilingJson<'a> {
    name: String,
    used: bool,
    #[serde(flatten)]
    ceiling: &'a Ceiling,
}

/// The JSON of `kprof roofline`: base units, `null` where unknown.
pub fn roofline_json(roofline: &Roofline) -> String {
    let document = Document {
        schema_version: ROOFLINE_SCHEMA_VERSION,
        kprof_version: env!("CARGO_PKG_VERSION"),
        files: &roofline.files,
        points: roofline.points.iter().map(point_json).collect(),
        timelines: &roofline.timelines,
        joins: &roofline.joins,
        counter_checks: &roofline.counter_checks,
        changes: changes(roofline),
        savings: savings(roofline),
        findings: &roofline.findings,
    };
    to_json(&document)
}

/// Pretty JSON with a last newline. What is not finite becomes `null`.
pub(super) fn to_json(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value);
    // OK because no map here has keys that are not strings, the only way that this fails.
    text.expect("plain structures become JSON") + "\n"
}

fn launched_json(launched: &LaunchedAs) -> LaunchedJson<'_> {
    LaunchedJson {
        grid: launched.grid.same().map(String::as_str),
        block: launched.block.same().map(String::as_str),
        registers: launched.registers.same().copied(),
        static_shared_bytes: launched.static_shared_bytes.same().copied(),
        dynamic_shared_bytes: launched.dynamic_shared_bytes.same().copied(),
        shared_bytes: launched.shared_bytes.same().copied(),
        varying: launched.varying(),
    }
}

fn point_json(point: &Point) -> PointJson<'_> {
    let value = |m: &Option<Measured>| m.as_ref().map(|m| m.value);
    let ceilings = point.ceilings.distinct().into_iter();
    PointJson {
        file: &point.file,
        launch: point.launch.as_deref(),
        kernel: point.kernel.as_deref(),
        launches: point.launches,
        launched: launched_json(&point.launched),
        time_s: value(&point.time),
        dram_bytes: point.dram_bytes().map(|b| b.value),
        flops: FlopsJson {
            fp64: value(&point.flops.fp64),
            fp32: value(&point.flops.fp32),
            fp16: value(&point.flops.fp16),
            fp16_packed: value(&point.flops.fp16_packed),
            tensor: value(&point.flops.tensor),
            tensor_by_type: point.flops.tensor_by_type.iter().map(|(k, m)| (k.clone(), m.value)).collect(),
            total: value(&point.flops.total),
        },
        flops_complete: point.flops_complete,
        intensity_dram: point.intensity_dram(),
        achieved_flop_per_s: point.achieved_flop_rate(),
        bound: point.bound,
        version: point.version.as_deref(),
        stage: point.stage,
        phase: point.phase,
        class: point.class.as_deref(),
        sources: point.sources(),
        level: point.level,
        name: point.name(),
        short_name: point.label(),
        device: point.device.as_deref(),
        share: point.share,
        bytes: value(&point.bytes),
        byte_source: point.byte_origin,
        l2_bytes: value(&point.l2_bytes),
        l1_bytes: value(&point.l1_bytes),
        intensity_l2: point.intensity_at(MemoryLevel::L2),
        intensity_l1: point.intensity_at(MemoryLevel::L1),
        dram_percent: point.dram_percent,
        sm_percent: point.sm_percent,
        flop_source: point.flop_origin,
        intensity: point.intensity(),
        achieved_byte_per_s: point.achieved_byte_rate(),
        attainable_flop_per_s: point.attainable_flop_rate(),
        fraction_of_ceiling: point.fraction_of_ceiling(),
        floor_s: point.floor.map(|f| f.time_s),
        estimated: point.flops.total.as_ref().is_some_and(|t| t.estimated),
        missing: &point.missing,
        ceilings: ceilings
            .map(|c| CeilingJson {
                name: c.name(),
                used: point.used_ceilings.contains(&c.name()),
                ceiling: c,
            })
            .collect(),
    }
}

/// One row per point, in base units that the header names; an empty cell is unknown.
#[derive(Debug, Serialize)]
struct CsvRow<'a> {
    file: &'a str,
    level: Level,
    launch: Option<&'a str>,
    name: String,
    version: Option<&'a str>,
    stage: Option<Stage>,
    phase: Option<Phase>,
    launches: u64,
    time_s: Option<f64>,
    share: Option<f64>,
    dram_bytes: Option<f64>,
    bytes: Option<f64>,
    byte_source: Origin,
    flops_fp64: Option<f64>,
    flops_fp32: Option<f64>,
    flops_fp16: Option<f64>,
    flops_fp16_packed: Option<f64>,
    flops_tensor: Option<f64>,
    flops_total: Option<f64>,
    flops_complete: bool,
    intensity_flop_per_byte: Option<f64>,
    achieved_flop_per_s: Option<f64>,
    achieved_byte_per_s: Option<f64>,
    attainable_flop_per_s: Option<f64>,
    fraction_of_ceiling: Option<f64>,
    bound: Bound,
    l2_bytes: Option<f64>,
    l1_bytes: Option<f64>,
    class: Option<&'a str>,
    grid: Option<&'a str>,
    block: Option<&'a str>,
    registers: Option<u32>,
    static_shared_bytes: Option<u64>,
    dynamic_shared_bytes: Option<u64>,
    shared_bytes: Option<u64>,
    /// What of those differs between launches, and is empty for that.
    varying: String,
}

/// The points as CSV.
pub fn roofline_csv(roofline: &Roofline) -> String {
    to_csv(roofline.points.iter().map(|point| {
        let json = point_json(point);
        CsvRow {
            file: json.file,
            level: json.level,
            launch: json.launch,
            name: json.name,
            version: json.version,
            stage: json.stage,
            phase: json.phase,
            launches: json.launches,
            time_s: json.time_s,
            share: json.share,
            dram_bytes: json.dram_bytes,
            bytes: json.bytes,
            byte_source: json.byte_source,
            flops_fp64: json.flops.fp64,
            flops_fp32: json.flops.fp32,
            flops_fp16: json.flops.fp16,
            flops_fp16_packed: json.flops.fp16_packed,
            flops_tensor: json.flops.tensor,
            flops_total: json.flops.total,
            flops_complete: json.flops_complete,
            intensity_flop_per_byte: json.intensity,
            achieved_flop_per_s: json.achieved_flop_per_s,
            achieved_byte_per_s: json.achieved_byte_per_s,
            attainable_flop_per_s: json.attainable_flop_per_s,
            fraction_of_ceiling: json.fraction_of_ceiling,
            bound: json.bound,
            l2_bytes: json.l2_bytes,
            l1_bytes: json.l1_bytes,
            class: json.class,
            grid: json.launched.grid,
            block: json.launched.block,
            registers: json.launched.registers,
            static_shared_bytes: json.launched.static_shared_bytes,
            dynamic_shared_bytes: json.launched.dynamic_shared_bytes,
            shared_bytes: json.launched.shared_bytes,
            varying: json.launched.varying.join("; "),
        }
    }))
}

/// Rows with a header as CSV.
pub(super) fn to_csv(rows: impl Iterator<Item = impl Serialize>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        // OK because a flat structure into memory cannot fail.
        writer.serialize(row).expect("flat rows become CSV");
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
