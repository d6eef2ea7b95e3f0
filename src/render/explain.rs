//! How the numbers of a point came about: metrics, formulas, values, ceilings, what is missing, what collects it.

use crate::hw::{Ceiling, CeilingSource};
use crate::profile::{Measured, base_name};
use crate::render::table::significant;
use crate::roofline::{Bound, LATENCY_BOUND_BELOW, Level, Origin, Point};
use crate::units::{ByteRate, Bytes, FlopRate, Flops, Seconds, format_si};
use std::fmt::Write;

/// A metric behind a point: its name, its base unit, and its values over the launches that have one.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricRow {
    /// The profiler's name for it.
    pub metric: String,
    /// Its base unit; empty for counts.
    pub unit: String,
    /// How many launches have a value.
    pub launches: u64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Their sum.
    pub sum: f64,
}

/// Explains every point, one after the other, each with the metrics behind it as far as they are known.
pub fn explain(points: &[(&Point, Vec<MetricRow>)]) -> String {
    points.iter().map(|(p, metrics)| point(p, metrics)).collect::<Vec<_>>().join("\n")
}

fn point(point: &Point, metrics: &[MetricRow]) -> String {
    let mut out = format!("{}\n", point.label());
    if point.label() != point.name() {
        row(&mut out, "whole name", &point.name());
    }
    row(&mut out, "from", &origin(point));
    counts(&mut out, point);
    values(&mut out, metrics);
    derived(&mut out, point);
    ceilings(&mut out, point);
    verdict(&mut out, point);
    missing(&mut out, point);
    out
}

fn row(out: &mut String, what: &str, text: &str) {
    let _ = writeln!(out, "  {what:<18}{text}");
}

fn origin(point: &Point) -> String {
    let launch = match (&point.launch, point.launches) {
        (Some(id), 1) => format!("launch {id}"),
        (_, 1) => "1 launch".to_string(),
        (_, n) => format!("{n} launches, summed"),
    };
    let device = point.device.as_ref().map(|d| format!(", {d}")).unwrap_or_default();
    format!("{}, {launch}{device}", point.file)
}

/// Every number with its metric or formula.
fn counts(out: &mut String, point: &Point) {
    let f = &point.flops;
    let bytes = if point.byte_origin == Origin::Counter { "DRAM bytes" } else { "bytes" };
    let rows: [(&str, &Option<Measured>, &str); 10] = [
        ("time", &point.time, Seconds::UNIT),
        (bytes, &point.bytes, Bytes::UNIT),
        ("L2 bytes", &point.l2_bytes, Bytes::UNIT),
        ("L1 bytes", &point.l1_bytes, Bytes::UNIT),
        ("FLOPs fp64", &f.fp64, Flops::UNIT),
        ("FLOPs fp32", &f.fp32, Flops::UNIT),
        ("FLOPs fp16", &f.fp16_packed, Flops::UNIT),
        ("FLOPs matrix", &f.tensor, Flops::UNIT),
        ("FLOPs in all", &f.total, Flops::UNIT),
        ("FLOPs fp16*", &f.fp16, Flops::UNIT),
    ];
    for (what, measured, unit) in &rows[..9] {
        row(out, what, &measured.as_ref().map_or("not collected".to_string(), |m| value(m, unit)));
    }
    for (kind, measured) in &f.tensor_by_type {
        row(out, &format!("  {kind}"), &value(measured, Flops::UNIT));
    }
    if let Some(plain) = &f.fp16 {
        let text =
            format!("{} if half instructions work on one lane, not two", format_si(plain.value, Flops::UNIT));
        row(out, rows[9].0, &text);
    }
    for (what, source) in &point.sources().rates {
        row(out, what, source);
    }
    for (what, percent) in [("memory", point.dram_percent), ("SM", point.sm_percent)] {
        if let Some(percent) = percent {
            row(
                out,
                what,
                &format!("{} % of its peak throughput, as the export says", significant(Some(percent))),
            );
        }
    }
}

/// The metrics in base units: of one launch the value itself, of several their sum and range.
fn values(out: &mut String, metrics: &[MetricRow]) {
    let width = metrics.iter().map(|m| m.metric.len()).max().unwrap_or(0);
    for (i, m) in metrics.iter().enumerate() {
        let many = match m.launches {
            1 => String::new(),
            n => format!("  (sum of {n}, {} to {})", plain(m.min), plain(m.max)),
        };
        let text = format!("{:width$}  {} {}", m.metric, plain(m.sum), m.unit);
        row(out, if i == 0 { "metrics" } else { "" }, &format!("{}{many}", text.trim_end()));
    }
}

/// A number that can be calculated with: whole ones in full, others with nine digits.
fn plain(value: f64) -> String {
    match value {
        v if v.fract() == 0.0 && v.abs() < 1e15 => format!("{v:.0}"),
        v if (1e-3..1e9).contains(&v.abs()) => {
            let text = format!("{v:.9}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
        v => format!("{v:.8e}"),
    }
}

fn value(measured: &Measured, unit: &str) -> String {
    let least = if measured.lower_bound { "≥ " } else { "" };
    let estimate = if measured.estimated { " (estimated)" } else { "" };
    format!("{least}{}{estimate} = {}", format_si(measured.value, unit), measured.source)
}

fn derived(out: &mut String, point: &Point) {
    let least = if point.is_lower_bound() { "≥ " } else { "" };
    let flops = point.total_flops().map(|f| format_si(f, Flops::UNIT));
    let bytes = point.bytes.as_ref().map(|b| format_si(b.value, Bytes::UNIT));
    let time = point.time.as_ref().map(|t| format_si(t.value, Seconds::UNIT));
    if let Some(intensity) = point.intensity() {
        let from = match (&flops, &bytes) {
            (Some(f), Some(b)) => format!("FLOPs / bytes = {f} / {b} = "),
            _ => String::new(),
        };
        row(out, "intensity", &format!("{from}{least}{} FLOP/B", significant(Some(intensity))));
    }
    let over = |what: &str, count: &Option<String>| match (count, &time) {
        (Some(count), Some(time)) => format!("{what} / time = {count} / {time} = "),
        _ => String::new(),
    };
    if let Some(rate) = point.achieved_flop_rate() {
        row(out, "achieved", &format!("{}{least}{}", over("FLOPs", &flops), format_si(rate, FlopRate::UNIT)));
    }
    if let Some(rate) = point.achieved_byte_rate() {
        row(out, "", &format!("{}{}", over("bytes", &bytes), format_si(rate, ByteRate::UNIT)));
    }
}

fn ceilings(out: &mut String, point: &Point) {
    let all = point.ceilings.distinct();
    let used = all.iter().filter(|c| point.used_ceilings.contains(&c.name()));
    for ceiling in used {
        let text = format!("{} {} ({})", ceiling.name(), ceiling.value_text(), source(ceiling));
        row(out, "ceiling", &text);
    }
}

fn source(ceiling: &Ceiling) -> String {
    match &ceiling.source {
        CeilingSource::Datasheet { url } => format!("datasheet {url}"),
        CeilingSource::Probe { method } => format!("probe: {method}"),
        CeilingSource::Report { metric } => format!("the report's own: {metric}"),
        CeilingSource::User { file } => format!("from {file}"),
        CeilingSource::Simulated { device } => format!("SIMULATED: that of {device}"),
    }
}

fn verdict(out: &mut String, point: &Point) {
    let Some(floor) = &point.floor else {
        return row(out, "bound", &format!("{}: {}", point.bound, why_unknown(point)));
    };
    let seconds = |s: f64| format_si(s, Seconds::UNIT);
    let text = format!(
        "max(bytes / bandwidth, FLOPs / peak), summed over launches = {} ({} of it bound by memory, {} by arithmetic)",
        seconds(floor.time_s),
        seconds(floor.memory_bound_s),
        seconds(floor.compute_bound_s)
    );
    row(out, "time floor", &text);
    if let Some(fraction) = point.fraction_of_ceiling() {
        row(out, "of ceiling", &format!("floor / time = {:.1} %", fraction * 100.0));
    }
    let why = match point.bound {
        Bound::Memory => "moving its bytes takes longer than its arithmetic".to_string(),
        Bound::Compute => "its arithmetic takes longer than moving its bytes".to_string(),
        Bound::Latency => {
            format!("the floor is under {} % of the time: neither explains it", LATENCY_BOUND_BELOW * 100.0)
        }
        Bound::Unknown => why_unknown(point).to_string(),
    };
    row(out, "bound", &format!("{}: {why}", point.bound));
}

fn why_unknown(point: &Point) -> &'static str {
    if point.is_lower_bound() {
        "not all FLOPs were counted"
    } else if point.bytes.is_none() && point.rates.is_none() {
        "bytes were not collected"
    } else {
        "a ceiling is not known: name the device with --device"
    }
}

fn missing(out: &mut String, point: &Point) {
    let mut metrics = Vec::new();
    let counters = matches!(point.level, Level::Launch | Level::Kernel | Level::Group);
    if counters && point.time.is_none() {
        metrics.push("gpu__time_duration.sum");
    }
    if counters && point.bytes.is_none() {
        metrics.push("dram__bytes.sum");
    }
    metrics.extend(point.missing.iter().map(String::as_str));
    for (i, metric) in metrics.iter().enumerate() {
        row(out, if i == 0 { "missing" } else { "" }, metric);
    }
    if !metrics.is_empty() {
        row(out, "collect with", &command(point, &metrics));
    }
}

/// What the profiler is to be run with for a whole picture of this kernel.
fn command(point: &Point, missing: &[&str]) -> String {
    let kernel =
        point.kernel.as_deref().map(base_name).filter(|k| k.chars().all(|c| c.is_alphanumeric() || c == '_'));
    let only = kernel.map(|k| format!("-k {k} ")).unwrap_or_default();
    let mut metrics = vec!["gpu__time_duration.sum", "dram__bytes.sum"];
    metrics.extend(missing.iter().filter(|m| !["gpu__time_duration.sum", "dram__bytes.sum"].contains(m)));
    format!(
        "ncu {only}--csv --page raw --print-units base --metrics {} ./app > ncu.csv (with the metrics collected so far)",
        metrics.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::Precision;
    use crate::profile::Run;
    use crate::roofline::samples::{bandwidth, kernel, reference_prefill, vector};
    use crate::roofline::{By, Ceilings, analyse};

    fn rows() -> Vec<MetricRow> {
        let row = |metric: &str, unit: &str, launches, min, max, sum| MetricRow {
            metric: metric.into(),
            unit: unit.into(),
            launches,
            min,
            max,
            sum,
        };
        vec![
            row("gpu__time_duration.sum", "s", 1, 2e-6, 2e-6, 2e-6),
            row("dram__bytes.sum", "byte", 3, 1.0, 123456789012.0, 123456789014.5),
        ]
    }

    fn text(record: crate::profile::KernelRecord) -> String {
        let run = Run { kernels: vec![record], file: "x.csv".into(), ..Run::default() };
        let chosen = vec![bandwidth(100e9), vector(Precision::Fp32, 1e12)];
        let roofline = analyse(&[run], By::Kernel, &Ceilings { chosen, by_device: vec![] });
        explain(&roofline.points.iter().map(|p| (p, rows())).collect::<Vec<_>>())
    }

    #[test]
    fn a_whole_point_shows_metrics_formulas_numbers_and_ceilings() {
        let text = text(kernel("void n::gemm<(int)4>(int)", 0.02, 1e9, 10e9));
        for part in [
            "gemm<4>\n  whole name        void n::gemm<(int)4>(int)",
            "20.0 ms = gpu__time_duration.sum",
            "metrics           gpu__time_duration.sum  2.00000000e-6 s\n",
            "dram__bytes.sum         1.23456789e11 byte  (sum of 3, 1 to 123456789012)",
            "1.00 GB = dram__bytes.sum",
            "FLOPs / bytes = 10.0 GFLOP / 1.00 GB = 10.0 FLOP/B",
            "FLOPs / time = 10.0 GFLOP / 20.0 ms = 500 GFLOP/s",
            "DRAM bandwidth 100 GB/s (datasheet https://example.org/sheet)",
            "= 10.0 ms (10.0 ms of it bound by memory",
            "floor / time = 50.0 %",
            "memory: moving its bytes takes longer",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("missing"), "{text}");
    }

    #[test]
    fn what_is_missing_comes_with_the_command_that_collects_it() {
        let text = text(reference_prefill());
        assert!(text.contains("not collected") && text.contains("unknown: not all FLOPs"), "{text}");
        let command = "ncu -k v0_prefill --csv --page raw --print-units base --metrics gpu__time_duration.sum,dram__bytes.sum,sm__ops";
        assert!(text.contains(command), "{text}");
    }
}
