//! A history of runs as a table with a sparkline, lines on its change points, CSV and JSON.

use super::roofline_export::{to_csv, to_json};
use super::table::{Column, Table, signed_percent};
use crate::compare::{Series, SlowestChange, SlowestSeries};
use crate::stats::Verdict;
use crate::units::{Seconds, format_si};
use serde::Serialize;
use std::fmt::Write;

/// The most runs that a sparkline shows: the latest.
const SHOWN: usize = 40;

/// Every series of a history.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct History {
    /// Of each rank by itself, and of what is of none.
    pub series: Vec<Series>,
    /// Of the slowest rank of each launch; empty where no launches of several ranks follow each other.
    pub slowest: Vec<SlowestSeries>,
}

/// A row per version and duration: first, latest, what the latest run changed, and how it went.
pub fn history_table(all: &History) -> Table {
    let of_ranks = all.series.iter().any(|series| series.rank.is_some());
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
    for series in &all.series {
        let Some(latest) = series.changes.last() else { continue };
        let rank = series.rank.map_or("none".to_string(), |rank| rank.to_string());
        let verdict = latest.time.change.verdict.name();
        let rank = of_ranks.then_some(rank);
        row(&mut table, rank, &series.version, series.what, &series.medians(), verdict);
    }
    for series in &all.slowest {
        let Some(latest) = series.changes.last() else { continue };
        let rank = format!("slowest ({})", latest.slowest.new_rank);
        let verdict = latest.slowest.change.as_ref().map_or(ANOTHER_RANK, |change| change.verdict.name());
        row(&mut table, Some(rank), &series.version, series.what, &series.medians(), verdict);
    }
    table
}

/// What stands for a verdict where the slowest rank is not the one that was it before.
const ANOTHER_RANK: &str = "another rank";

fn row(table: &mut Table, rank: Option<String>, version: &str, what: &str, medians: &[f64], verdict: &str) {
    let (Some(first), Some(last)) = (medians.first(), medians.last()) else { return };
    let mut cells: Vec<String> = rank.into_iter().collect();
    cells.extend([
        version.to_string(),
        what.to_string(),
        medians.len().to_string(),
        format_si(*first, Seconds::UNIT),
        format_si(*last, Seconds::UNIT),
        signed_percent(last / first - 1.0),
        verdict.to_string(),
        sparkline(&medians[medians.len().saturating_sub(SHOWN)..]),
    ]);
    table.push(cells);
}

/// One bar per value: the height is its place between 0 and the largest, so that noise does not look like a change.
fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let largest = values.iter().copied().fold(f64::MIN, f64::max);
    let bar = |value: &f64| BARS[((value / largest * 8.0).ceil() as usize).clamp(1, 8) - 1];
    values.iter().map(bar).collect()
}

/// A line per change point.
pub fn history_lines(all: &History) -> String {
    let mut text = String::new();
    for series in &all.series {
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
    for series in &all.slowest {
        for change in series.change_points() {
            let _ = writeln!(text, "{}", slowest_line(series, change));
        }
    }
    text
}

fn slowest_line(series: &SlowestSeries, change: &SlowestChange) -> String {
    let row = &change.slowest;
    let percent = signed_percent(row.new_s / row.old_s - 1.0);
    let verdict = row.change.as_ref().map_or(ANOTHER_RANK, |change| change.verdict.name());
    let ranks = match row.old_rank == row.new_rank {
        true => format!("rank {}", row.new_rank),
        false => format!("rank {} after rank {}", row.new_rank, row.old_rank),
    };
    format!(
        "{verdict} since {}: slowest rank {} {} {percent} % time, {ranks} ({})",
        change.file,
        series.version,
        series.what,
        change.started.as_deref().unwrap_or("no date")
    )
}

/// The series as JSON: base units, `null` where unknown.
pub fn history_json(all: &History) -> String {
    to_json(&serde_json::json!({ "schema_version": 1, "series": all.series, "slowest": all.slowest }))
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

/// The series of ranks as CSV: a row per run and duration, against the run before.
pub fn history_csv(all: &History) -> String {
    to_csv(all.series.iter().flat_map(|series| {
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
