//! A [`Roofline`] as a table.

use super::table::{Column, Table, in_scale, or_na, percent, significant};
use crate::llm::{Phase, Stage};
use crate::profile::Measured;
use crate::roofline::{Origin, Point, Roofline};
use crate::units::{Bytes, FlopRate, Flops, Scale, Seconds};

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
    if roofline.joins.is_empty() && roofline.points.iter().any(|p| p.traced && p.total_flops().is_none()) {
        notes.push(
            "a trace has times and no counters: for FLOPs, bytes and bounds add --model config.json --batch B --prompt P"
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::Precision;
    use crate::profile::Run;
    use crate::render::roofline_export::{roofline_csv, roofline_json};
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
