//! A [`CapacityReport`] as a table, lines, JSON and CSV.

use super::benchmark::benchmark_heading;
use super::roofline_export::{to_csv, to_json};
use super::table::{Column, Table, in_wide_scale, or_na, percent, significant};
use crate::profile::CapacityMethod;
use crate::scaling::CapacityReport;
use crate::units::{Bytes, Scale, format_iec};
use serde::Serialize;

/// What was searched for.
pub fn capacity_heading(report: &CapacityReport) -> String {
    let heading = benchmark_heading("capacity", report.manifest.as_ref());
    // The batch is what is looked for.
    let heading = match heading.split_once("  batch ") {
        Some((before, after)) => format!("{before}{}", after.find('\n').map_or("", |at| &after[at..])),
        None => heading,
    };
    let Some(first) = report.versions.first().map(|v| &v.record) else { return heading };
    let budget = format_iec(first.budget_bytes, "B");
    let budget = match first.device_budget {
        Some(device) => format!(
            "{budget} (the {} that the GPU has free, less a reserve of {})",
            format_iec(device.free_bytes, "B"),
            format_iec(device.reserve_bytes, "B")
        ),
        None => budget,
    };
    format!(
        "{heading}\nbudget {budget} for weights, caches and a decode step at a context of {} tokens",
        first.context
    )
}

/// A row per version.
pub fn capacity_table(report: &CapacityReport) -> Table {
    let peak = Scale::iec_for_values(report.versions.iter().filter_map(|v| v.peak_bytes), Bytes::UNIT);
    let mut table = Table::new(vec![
        Column::text("version"),
        Column::number("largest batch", ""),
        Column::number("theory", ""),
        Column::number("of theory", "%"),
        Column::number("of v1", "x"),
        Column::number("it takes", &peak.unit),
        Column::number("tries", "").dispensable(1),
        Column::text("found by"),
    ]);
    for v in &report.versions {
        let r = &v.record;
        table.push(vec![
            r.version.clone(),
            if r.at_least { format!("≥ {}", r.batch) } else { r.batch.to_string() },
            or_na(r.theoretical_batch.map(|b| b.to_string())),
            percent(v.of_theory),
            v.more.map_or(String::new(), |m| significant(Some(m))),
            or_na(v.peak_bytes.map(|b| in_wide_scale(&peak, b))),
            r.probes.len().to_string(),
            found_by(r.method).to_string(),
        ]);
    }
    table
}

fn found_by(method: CapacityMethod) -> &'static str {
    match method {
        CapacityMethod::Ran => "running",
        CapacityMethod::Extrapolated => "running small, extrapolated",
        CapacityMethod::Accounted => "accounting (formulas)",
    }
}

/// What the figures leave out.
pub fn capacity_lines(report: &CapacityReport) -> Vec<String> {
    let methods = || report.versions.iter().map(|v| v.record.method);
    let mut lines = vec![
        "theory is (budget - weights) / a sequence's cache by the formula; what is missing to it are activations, \
         padding and packed weights"
            .to_string(),
    ];
    if methods().any(|m| m == CapacityMethod::Extrapolated) {
        lines.push(
            "extrapolated: memory is linear in the batch; a pass over so many tokens would take minutes"
                .into(),
        );
    }
    let ran_out = report.versions.iter().filter(|v| v.record.probes.iter().any(|p| p.out_of_memory));
    let ran_out: Vec<&str> = ran_out.map(|v| v.record.version.as_str()).collect();
    if !ran_out.is_empty() {
        lines.push(format!(
            "out of memory: the driver refused larger batches of {}; what it refuses does not fit",
            ran_out.join(", ")
        ));
    }
    if report.versions.iter().any(|v| v.record.batch == 0) {
        lines.push("a batch of 0: not even one sequence fits".to_string());
    }
    lines
}

/// The report as JSON.
pub fn capacity_json(report: &CapacityReport) -> String {
    to_json(report)
}

/// A row of the CSV.
#[derive(Debug, Serialize)]
struct CsvRow<'a> {
    version: &'a str,
    context: usize,
    budget_bytes: f64,
    batch: usize,
    at_least: bool,
    method: CapacityMethod,
    theoretical_batch: Option<usize>,
    of_theory: Option<f64>,
    more: Option<f64>,
    peak_bytes: Option<f64>,
}

/// The versions as CSV.
pub fn capacity_csv(report: &CapacityReport) -> String {
    to_csv(report.versions.iter().map(|v| CsvRow {
        version: &v.record.version,
        context: v.record.context,
        budget_bytes: v.record.budget_bytes,
        batch: v.record.batch,
        at_least: v.record.at_least,
        method: v.record.method,
        theoretical_batch: v.record.theoretical_batch,
        of_theory: v.of_theory,
        more: v.more,
        peak_bytes: v.peak_bytes,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::tests::capacity_run;

    #[test]
    fn the_table_says_how_it_was_found_and_fits_80_columns() {
        let report = CapacityReport::new(&capacity_run()).unwrap();
        let text = capacity_table(&report).to_terminal(80);
        assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
        let v2 = text.lines().find(|l| l.starts_with("v2")).unwrap();
        let cells: Vec<&str> = v2.split_whitespace().collect();
        assert_eq!(cells[..6], ["v2", "94", "100", "94.0", "2.00", "944"], "{text}");
        assert!(v2.ends_with("running"));
        assert!(
            capacity_heading(&report).ends_with(
                "budget 954 MiB for weights, caches and a decode step at a context of 1024 tokens"
            )
        );
        assert_eq!(capacity_csv(&report).lines().count(), 4);
    }
}
