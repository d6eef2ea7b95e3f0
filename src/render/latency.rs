//! A [`LatencyReport`] as a table, lines, JSON, CSV and Markdown.

use super::benchmark::{benchmark_heading, bracketed};
use super::roofline_export::{to_csv, to_json};
use super::table::{Column, Table, in_wide_scale, or_na, percent, significant};
use crate::scaling::{LatencyReport, VersionLatency};
use crate::stats::{Estimate, Growth, Order};
use crate::units::{Scale, Seconds};
use serde::Serialize;

/// What was measured.
pub fn latency_heading(report: &LatencyReport) -> String {
    benchmark_heading("latency", report.manifest.as_ref())
}

/// A row per version and T.
pub fn latency_by_length_table(report: &LatencyReport) -> Table {
    let points = || report.versions.iter().flat_map(|v| &v.points);
    let time = Scale::for_values(points().map(|p| p.time.median), Seconds::UNIT);
    let token = Scale::for_values(points().map(|p| p.time_per_token_s), Seconds::UNIT);
    let step = Scale::for_values(points().filter_map(|p| p.tpot_s.or(p.ttft_s)), Seconds::UNIT);
    let mut table = Table::new(vec![
        Column::text("version"),
        Column::number("T", "tokens"),
        Column::number("time", &time.unit),
        Column::number("95 % interval", &time.unit).dispensable(2),
        Column::number("per token", &token.unit),
        Column::number("TTFT", &step.unit).dispensable(4),
        Column::number("TPOT", &step.unit).dispensable(3),
        Column::number("tokens/s", ""),
        Column::number("speed-up", "x"),
        Column::number("95 % interval", "x").dispensable(1),
        Column::number("runs", "").dispensable(5),
    ]);
    for version in &report.versions {
        table.space();
        for (i, p) in version.points.iter().enumerate() {
            let name = if i == 0 { version.version.clone() } else { String::new() };
            table.push(vec![
                name,
                p.tokens.to_string(),
                in_wide_scale(&time, p.time.median),
                p.time.interval.map_or(String::new(), |i| bracketed(i, |v| in_wide_scale(&time, v))),
                in_wide_scale(&token, p.time_per_token_s),
                or_na(p.ttft_s.map(|t| in_wide_scale(&step, t))),
                or_na(p.tpot_s.map(|t| in_wide_scale(&step, t))),
                significant(Some(p.tokens_per_s)),
                p.speedup.map_or(String::new(), |s| significant(Some(s))),
                p.speedup_interval.map_or(String::new(), |i| bracketed(i, |v| significant(Some(v)))),
                p.time.count.to_string(),
            ]);
        }
    }
    table
}

/// How the time of each version grows.
pub fn growth_table(report: &LatencyReport) -> Table {
    let slope = |v: &VersionLatency| v.growth.linear.as_ref().map(|l| l.coefficients[1]);
    let curve = |v: &VersionLatency| v.growth.quadratic.as_ref().map(|q| q.coefficients[2]);
    let values = |of: &dyn Fn(&VersionLatency) -> Option<Estimate>| -> Vec<f64> {
        report.versions.iter().filter_map(of).map(|e| e.value).collect()
    };
    let b = Scale::for_values(values(&slope), "s/token");
    let c = Scale::for_values(values(&curve), "s/token²");
    let mut table = Table::new(vec![
        Column::text("version"),
        Column::text("growth"),
        Column::number("exponent", "of T"),
        Column::number("95 % interval", "").dispensable(2),
        Column::number("R² line", ""),
        Column::number("R² parab.", ""),
        Column::number("ΔAICc", ""),
        Column::number("slope", &b.unit).dispensable(4),
        Column::number("95 % interval", &b.unit).dispensable(5),
        Column::number("T² term", &c.unit).dispensable(3),
        Column::number("95 % interval", &c.unit).dispensable(4),
        Column::number("T² share", "%").dispensable(1),
    ]);
    for version in &report.versions {
        let in_scale = |scale: &Scale, e: Option<Estimate>| or_na(e.map(|e| in_wide_scale(scale, e.value)));
        let interval = |scale: &Scale, e: Option<Estimate>| {
            e.and_then(|e| e.interval).map_or(String::new(), |i| bracketed(i, |v| in_wide_scale(scale, v)))
        };
        let growth = &version.growth;
        let r = |fit: &Option<crate::stats::Polynomial>| {
            or_na(fit.as_ref().and_then(|f| f.r_squared).map(|r| format!("{r:.4}")))
        };
        let e = version.decode_exponent;
        table.push(vec![
            version.version.clone(),
            growth.better.name().to_string(),
            or_na(e.map(|e| format!("{:.2}", e.value))),
            e.and_then(|e| e.interval).map_or(String::new(), |i| bracketed(i, |v| format!("{v:.2}"))),
            r(&growth.linear),
            r(&growth.quadratic),
            or_na(growth.aicc_difference.map(|d| format!("{d:+.1}"))),
            in_scale(&b, slope(version)),
            interval(&b, slope(version)),
            in_scale(&c, curve(version)),
            interval(&c, curve(version)),
            percent(growth.quadratic_share),
        ]);
    }
    table
}

/// A sentence per version: which growth describes it better, and by what.
pub fn growth_lines(report: &LatencyReport) -> Vec<String> {
    report.versions.iter().map(growth_line).collect()
}

fn growth_line(version: &VersionLatency) -> String {
    let growth = &version.growth;
    let name = &version.version;
    let largest = version.points.last().map_or(0, |p| p.tokens);
    let share = growth.quadratic_share.map_or(String::new(), |share| {
        format!("; the T² term makes {} % of the time at T = {largest}", percent(Some(share)))
    });
    let by = evidence(growth);
    let exponent = version.decode_exponent.map_or(String::new(), |e| {
        let interval =
            e.interval.map_or(String::new(), |i| format!(" {}", bracketed(i, |v| format!("{v:.2}"))));
        format!("; decode time grows as T^{:.2}{interval}", e.value)
    });
    match growth.better {
        Order::Linear => {
            format!("{name}: linear growth describes it ({by}){share}{exponent}")
        }
        Order::Quadratic => format!("{name}: quadratic growth describes it better ({by}){share}{exponent}"),
        Order::Unclear => format!("{name}: linear or quadratic cannot be told ({by}){exponent}"),
    }
}

fn evidence(growth: &Growth) -> String {
    let Some(difference) = growth.aicc_difference else {
        return if growth.quadratic.is_none() {
            "under three lengths".to_string()
        } else {
            "no AICc: too few values, or values without noise".to_string()
        };
    };
    let lower = if difference >= 0.0 { "the parabola" } else { "the line" };
    let c = growth.quadratic.as_ref().and_then(|q| q.coefficients[2].interval);
    let zero = match c {
        Some(i) if i.low > 0.0 => ", its T² coefficient is above 0",
        Some(i) if i.high < 0.0 => ", its T² coefficient is below 0",
        Some(_) => ", a T² coefficient of 0 is possible",
        None => "",
    };
    format!("AICc of {lower} lower by {:.1}{zero}", difference.abs())
}

/// The report as JSON: base units, `null` where unknown.
pub fn latency_json(report: &LatencyReport) -> String {
    to_json(report)
}

/// A row of the CSV, in base units; an empty cell is unknown.
#[derive(Debug, Serialize)]
struct CsvRow<'a> {
    version: &'a str,
    tokens: usize,
    time_s: f64,
    time_low_s: Option<f64>,
    time_high_s: Option<f64>,
    time_stddev_s: Option<f64>,
    time_per_token_s: f64,
    ttft_s: Option<f64>,
    tpot_s: Option<f64>,
    tokens_per_s: f64,
    speedup: Option<f64>,
    speedup_low: Option<f64>,
    speedup_high: Option<f64>,
    repetitions: usize,
}

/// The points as CSV.
pub fn latency_csv(report: &LatencyReport) -> String {
    to_csv(report.versions.iter().flat_map(|version| {
        version.points.iter().map(|p| CsvRow {
            version: &version.version,
            tokens: p.tokens,
            time_s: p.time.median,
            time_low_s: p.time.interval.map(|i| i.low),
            time_high_s: p.time.interval.map(|i| i.high),
            time_stddev_s: p.time.stddev,
            time_per_token_s: p.time_per_token_s,
            ttft_s: p.ttft_s,
            tpot_s: p.tpot_s,
            tokens_per_s: p.tokens_per_s,
            speedup: p.speedup,
            speedup_low: p.speedup_interval.map(|i| i.low),
            speedup_high: p.speedup_interval.map(|i| i.high),
            repetitions: p.time.count,
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::tests::latency_run;

    #[test]
    fn the_tables_fit_80_columns_and_say_which_growth_is_which() {
        let report = LatencyReport::new(&latency_run()).unwrap();
        for table in [latency_by_length_table(&report), growth_table(&report)] {
            let text = table.to_terminal(80);
            assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
        }
        let wide = latency_by_length_table(&report).to_terminal(120);
        assert!(wide.contains("95 % interval") && wide.lines().count() == 2 + 10 + 1, "{wide}");
        let lines = growth_lines(&report);
        assert!(
            lines[0].starts_with("v0: quadratic growth describes it better (AICc of the parabola lower by")
        );
        assert!(lines[1].starts_with("v1: linear growth describes it ("), "{}", lines[1]);
        assert!(lines[0].contains("decode time grows as T^1.9"), "{}", lines[0]);
    }

    #[test]
    fn the_csv_has_a_row_per_point_and_leaves_unknown_cells_empty() {
        let csv = latency_csv(&LatencyReport::new(&latency_run()).unwrap());
        assert_eq!(csv.lines().count(), 11);
        assert!(
            csv.lines().nth(1).unwrap().contains(",,,,5") || csv.lines().nth(1).unwrap().ends_with(",,,5")
        );
    }
}
