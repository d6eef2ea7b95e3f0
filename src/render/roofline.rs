//! A [`Roofline`] as a table, JSON and CSV.

use super::table::{Column, Table, in_scale, or_na, percent, significant};
use crate::hw::{Ceiling, MemoryLevel};
use crate::llm::{Phase, Stage};
use crate::profile::{Finding, Measured};
use crate::roofline::{
    Bound, Change, Level, Origin, Point, PointSources, Roofline, Saving, changes, savings,
};
use crate::units::{Bytes, FlopRate, Flops, Scale, Seconds};
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the JSON of `kprof roofline`.
pub const ROOFLINE_SCHEMA_VERSION: u32 = 1;

/// Before names get shorter than this, narrow terminals lose columns.
const NAME_WIDTH: usize = 36;

/// The first `top` points as a table, the longest first; `#` is the number that the chart labels a point with.
pub fn roofline_table(roofline: &Roofline, top: usize) -> Table {
    let points = &roofline.points[..top.min(roofline.points.len())];
    let scale =
        |value: fn(&Point) -> Option<f64>, unit| Scale::for_values(points.iter().filter_map(value), unit);
    // The longest come first and matter most, so the first decides the unit of time.
    let time = Scale::for_values(points.iter().find_map(|p| Some(p.time.as_ref()?.value)), Seconds::UNIT);
    let flops = scale(Point::total_flops, Flops::UNIT);
    let bytes = scale(|p| p.bytes.as_ref().map(|b| b.value), Bytes::UNIT);
    let rate = scale(Point::achieved_flop_rate, FlopRate::UNIT);
    let several = roofline.files.len() > 1;
    let placed = points.iter().any(|p| p.kernel.is_some() && !place(p).is_empty());
    let mut table = Table::new(columns(several, placed, [&time, &flops, &bytes, &rate]));
    for (i, point) in points.iter().enumerate() {
        let floor_mark = if point.is_lower_bound() { "≥" } else { "" };
        let at_least = |text: Option<String>| or_na(text.map(|t| format!("{floor_mark}{t}")));
        let measured = |m: &Option<Measured>, scale: &Scale| {
            or_na(
                m.as_ref()
                    .map(|m| format!("{}{}", if m.lower_bound { "≥" } else { "" }, in_scale(scale, m.value))),
            )
        };
        let mut row = vec![(i + 1).to_string(), point.label()];
        if several {
            row.push(roofline.label_of(&point.file));
        }
        if placed {
            row.push(if point.kernel.is_some() { place(point) } else { String::new() });
        }
        row.extend([
            point.launches.to_string(),
            measured(&point.time, &time),
            percent(point.share),
            at_least(point.total_flops().map(|f| in_scale(&flops, f))),
            measured(&point.bytes, &bytes),
            at_least(point.intensity().map(|i| significant(Some(i)))),
            at_least(point.achieved_flop_rate().map(|r| in_scale(&rate, r))),
            or_na(point.attainable_flop_rate().map(|r| in_scale(&rate, r))),
            percent(point.fraction_of_ceiling()),
            bound(point),
        ]);
        table.push(row);
    }
    table
}

/// `v1 decode attention`, as far as it is known of a kernel: one name may have a row for each.
fn place(point: &Point) -> String {
    let parts = [point.version.as_deref(), point.stage.map(Stage::name), point.phase.map(Phase::name)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// What bounds a point; where only percentages of peaks are known, the larger of them.
fn bound(point: &Point) -> String {
    match point.busiest() {
        Some((bound, percent)) => format!("{bound} {percent:.0} %"),
        None => point.bound.to_string(),
    }
}

fn columns(several: bool, placed: bool, [time, flops, bytes, rate]: [&Scale; 4]) -> Vec<Column> {
    let mut columns = vec![Column::number("#", ""), Column::text("kernel or phase").shrinks_to(NAME_WIDTH)];
    if several {
        columns.push(Column::text("file").shrinks_to(16).dispensable(4));
    }
    if placed {
        columns.push(Column::text("part of").shrinks_to(12).dispensable(3));
    }
    columns.extend([
        Column::number("launches", "").dispensable(6),
        Column::number("time", &time.unit),
        Column::number("share", "%").dispensable(1),
        Column::number("FLOPs", &flops.unit).dispensable(5),
        Column::number("bytes", &bytes.unit).dispensable(4),
        Column::number("intensity", "FLOP/B"),
        Column::number("achieved", &rate.unit),
        Column::number("attainable", &rate.unit).dispensable(3),
        Column::number("of ceiling", "%").dispensable(2),
        Column::text("bound"),
    ]);
    columns
}

/// Lines that say how much the table leaves out and what its bytes are.
pub fn roofline_notes(roofline: &Roofline, top: usize) -> Vec<String> {
    let mut notes = Vec::new();
    let left_out = roofline.points.len().saturating_sub(top);
    if left_out > 0 {
        notes.push(format!("{left_out} more points are in the exports (--top {})", roofline.points.len()));
    }
    if roofline.too_small > 0 {
        notes.push(format!("{} points have a smaller share than --min-share", roofline.too_small));
    }
    if roofline.points.iter().any(|p| p.byte_origin == Origin::Analytic) {
        notes.push(
            "bytes of measured phases are the analytic floor, not DRAM traffic; their times are per step"
                .into(),
        );
    }
    if roofline.points.iter().any(|p| p.busiest().is_some()) {
        notes.push(
            "a percentage is of peak throughput, as the export has it (memory, or the SM's busiest pipe): no point".into(),
        );
    }
    let counted = |p: &Point| p.total_flops().or(p.achieved_flop_rate()).is_some();
    if roofline.points.iter().any(|p| p.is_lower_bound() && counted(p)) {
        notes.push("≥ marks a lower bound: not every precision was counted".into());
    }
    notes
}

/// The JSON of `kprof roofline`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    schema_version: u32,
    kprof_version: &'static str,
    files: &'a [String],
    points: Vec<PointJson<'a>>,
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

fn point_json(point: &Point) -> PointJson<'_> {
    let value = |m: &Option<Measured>| m.as_ref().map(|m| m.value);
    let ceilings = point.ceilings.distinct().into_iter();
    PointJson {
        file: &point.file,
        launch: point.launch.as_deref(),
        kernel: point.kernel.as_deref(),
        launches: point.launches,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::Precision;
    use crate::profile::Run;
    use crate::roofline::samples::{bandwidth, kernel, phase_run, reference_prefill, vector};
    use crate::roofline::{By, Ceilings, analyse};

    fn example() -> Roofline {
        let kernels = vec![kernel("gemm", 0.02, 1e9, 10e9), reference_prefill()];
        let run = Run { kernels, file: "x.csv".into(), ..Run::default() };
        let chosen = vec![bandwidth(100e9), vector(Precision::Fp32, 1e12)];
        analyse(&[run], By::Kernel, &Ceilings { chosen, by_device: vec![] })
    }

    #[test]
    fn the_json_keeps_the_contract() {
        let json: serde_json::Value = serde_json::from_str(&roofline_json(&example())).unwrap();
        assert_eq!(json["schema_version"], 1);
        let gemm = &json["points"][0];
        assert_eq!(gemm["kernel"], "gemm");
        assert_eq!((gemm["launch"].as_str(), gemm["launches"].as_u64()), (Some("0"), Some(1)));
        assert_eq!((gemm["time_s"].as_f64(), gemm["dram_bytes"].as_f64()), (Some(0.02), Some(1e9)));
        assert_eq!(
            (gemm["intensity_dram"].as_f64(), gemm["achieved_flop_per_s"].as_f64()),
            (Some(10.0), Some(5e11))
        );
        assert_eq!(
            (gemm["bound"].as_str(), gemm["fraction_of_ceiling"].as_f64()),
            (Some("memory"), Some(0.5))
        );
        assert_eq!(gemm["sources"]["time_s"], "gpu__time_duration.sum");
        let prefill = &json["points"][1];
        assert_eq!(
            (prefill["flops_complete"].as_bool(), prefill["bound"].as_str()),
            (Some(false), Some("unknown"))
        );
        assert!(prefill["flops"]["tensor"].is_null() && prefill["attainable_flop_per_s"].is_null());
        assert_eq!(prefill["flops"]["total"], 2_321_619_757.0);
        for key in ["version", "stage", "phase"] {
            assert!(prefill[key].is_null() && prefill.get(key).is_some());
        }
    }

    #[test]
    fn the_table_marks_lower_bounds_and_fits_its_width() {
        let roofline = example();
        let text = roofline_table(&roofline, 10).to_terminal(120);
        assert!(text.contains("≥2.32") && text.contains("unknown") && text.contains("n/a"), "{text}");
        for width in [80, 120] {
            let text = roofline_table(&roofline, 10).to_terminal(width);
            assert!(text.lines().all(|l| l.chars().count() <= width), "{text}");
        }
    }

    #[test]
    fn phase_points_have_analytic_bytes_and_no_dram_bytes() {
        let roofline = analyse(&[phase_run()], By::Kernel, &Ceilings::default());
        let json: serde_json::Value = serde_json::from_str(&roofline_json(&roofline)).unwrap();
        let point = &json["points"][0];
        assert!(point["dram_bytes"].is_null() && point["bytes"].is_f64() && point["kernel"].is_null());
        assert_eq!(point["byte_source"], "analytic");
    }

    #[test]
    fn the_csv_has_a_row_per_point() {
        let text = roofline_csv(&example());
        assert_eq!(text.lines().count(), 3);
        assert!(text.starts_with("file,level,launch,name,"), "{text}");
    }
}
