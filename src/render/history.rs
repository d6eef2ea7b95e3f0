//! A history of runs as a table with a sparkline, lines on its change points, CSV and JSON.

use super::roofline_export::{to_csv, to_json};
use super::table::{Column, Table, signed_percent};
use crate::compare::Series;
use crate::stats::Verdict;
use crate::units::{Seconds, format_si};
use serde::Serialize;
use std::fmt::Write;

/// The most runs that a sparkline shows: the latest.
const SHOWN: usize = 40;

/// A row per version and duration: first, latest, what the latest run changed, and how it went.
pub fn history_table(all: &[Series]) -> Table {
    let of_ranks = all.iter().any(|series| series.rank.is_some());
    let mut columns: Vec<Column> = of_ranks.then(|| Column::text("rank")).into_iter().collect();
    columns.extend([
        Column::text("version"),
        Column::text("time of"),
        Column::number("runs", ""),
        Column::number("first", ""),
        Column::number("latest", ""),
        Column::number("since first", "%"),
        Column::text("latest run is"),
        Column::text("history"),
    ]);
    let mut table = Table::new(columns);
    for series in all {
        let medians = series.medians();
        let (Some(first), Some(last), Some(latest)) =
            (medians.first(), medians.last(), series.changes.last())
        else {
            continue;
        };
        let rank = series.rank.map_or("none".to_string(), |rank| rank.to_string());
        let mut cells: Vec<String> = of_ranks.then_some(rank).into_iter().collect();
        cells.extend([
            series.version.clone(),
            series.what.to_string(),
            medians.len().to_string(),
            format_si(*first, Seconds::UNIT),
            format_si(*last, Seconds::UNIT),
            signed_percent(last / first - 1.0),
            latest.time.change.verdict.name().to_string(),
            sparkline(&medians[medians.len().saturating_sub(SHOWN)..]),
        ]);
        table.push(cells);
    }
    table
}

/// One bar per value: the height is its place between 0 and the largest, so that noise does not look like a change.
fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let largest = values.iter().copied().fold(f64::MIN, f64::max);
    let bar = |value: &f64| BARS[((value / largest * 8.0).ceil() as usize).clamp(1, 8) - 1];
    values.iter().map(bar).collect()
}

/// A line per change point.
pub fn history_lines(all: &[Series]) -> String {
    let mut text = String::new();
    for series in all {
        for change in series.change_points() {
            let percent = signed_percent(1.0 / change.time.change.speedup - 1.0);
            let (version, what) = (&series.version, series.what);
            let rank = series.rank.map_or(String::new(), |rank| format!("rank {rank} "));
            let started = change.started.as_deref().unwrap_or("no date");
            let verdict = change.time.change.verdict;
            let _ = writeln!(
                text,
                "{verdict} since {}: {rank}{version} {what} {percent} % time ({started})",
                change.file
            );
        }
    }
    text
}

/// The series as JSON: base units, `null` where unknown.
pub fn history_json(all: &[Series]) -> String {
    to_json(&serde_json::json!({ "schema_version": 1, "series": all }))
}

#[derive(Debug, Serialize)]
struct CsvRow<'a> {
    version: &'a str,
    what: &'a str,
    file: &'a str,
    started: Option<&'a str>,
    old_s: f64,
    new_s: f64,
    speedup: f64,
    speedup_low: Option<f64>,
    speedup_high: Option<f64>,
    verdict: Verdict,
    rank: Option<usize>,
}

/// The series as CSV: a row per run and duration, against the run before.
pub fn history_csv(all: &[Series]) -> String {
    to_csv(all.iter().flat_map(|series| {
        series.changes.iter().map(|change| CsvRow {
            version: &series.version,
            what: series.what,
            file: &change.file,
            started: change.started.as_deref(),
            old_s: change.time.old.median,
            new_s: change.time.new.median,
            speedup: change.time.change.speedup,
            speedup_low: change.time.change.interval.map(|i| i.low),
            speedup_high: change.time.change.interval.map(|i| i.high),
            verdict: change.time.change.verdict,
            rank: series.rank,
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_zero() {
        assert_eq!(sparkline(&[1.0, 1.0, 2.0]), "▄▄█");
        assert_eq!(sparkline(&[100.0, 101.0]), "██");
    }
}
