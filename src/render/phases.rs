//! A [`PhaseReport`] as a table, summary lines, JSON and CSV.

use super::roofline_export::{to_csv, to_json};
use super::table::{Column, Table, in_scale, in_wide_scale, or_na, percent, signed_percent, significant};
use super::terminal::{Glyphs, bar};
use crate::llm::Stage;
use crate::profile::CacheState;
use crate::roofline::{Bound, Comparison, PhaseReport, PhaseRow, StageReport};
use crate::units::{Bytes, FlopRate, Scale, Seconds, format_iec};
use serde::Serialize;

/// What was measured, in two lines: model, types and shape; device.
pub fn phase_heading(report: &PhaseReport) -> String {
    let Some(manifest) = &report.manifest else { return "kprof phase".to_string() };
    let device = manifest.device_lines();
    let tool = manifest.profiled.as_ref().and_then(|p| p.tool.as_ref());
    let device = tool.map_or(device.clone(), |tool| format!("{device}\nPROFILED: timed under {tool}"));
    let device = match report.cache {
        CacheState::Hot => device,
        CacheState::Cold => {
            let by = report
                .flushed_bytes
                .map(|bytes| format!(", by {} streamed through them", format_iec(bytes, "B")));
            format!("{device}\ncaches cold: flushed before every step{}", by.unwrap_or_default())
        }
    };
    let Some(c) = &manifest.config else { return format!("kprof phase  {device}") };
    format!(
        "kprof phase  {} on {}  batch {} prompt {} tokens {}\n{device}",
        c.model_and_types(),
        c.implementation_and_instructions(),
        c.batch,
        c.prompt_length,
        c.tokens
    )
}

/// Characters of a bar of shares.
const BAR: usize = 10;

/// The breakdown: a row per version, stage and phase, times per step.
pub fn phase_table(report: &PhaseReport) -> Table {
    table(report, None)
}

/// The same for a terminal: with a bar for each phase's share, where the table has the width for it.
pub fn phase_table_with_bars(report: &PhaseReport, glyphs: Glyphs) -> Table {
    table(report, Some(glyphs))
}

fn table(report: &PhaseReport, bars: Option<Glyphs>) -> Table {
    let rows = || report.stages.iter().flat_map(|s| s.phases.named()).map(|(_, row)| row);
    let time = Scale::for_values(rows().filter_map(|r| r.time_s), Seconds::UNIT);
    let flops = Scale::for_values(rows().filter_map(|r| r.work.achieved_flop_per_s), FlopRate::UNIT);
    let bytes = Scale::for_values(rows().filter_map(|r| r.work.achieved_byte_per_s), "B/s");
    let mut columns = vec![
        Column::text("version"),
        Column::text("stage"),
        Column::text("phase"),
        Column::number("time", &time.unit),
        Column::number("95 % interval", &time.unit).dispensable(3),
        Column::number("share", "%"),
        Column::number("rate", &flops.unit),
        Column::number("traffic", &bytes.unit),
        Column::number("FLOP/B", ""),
        Column::number("of ceiling", "%").dispensable(2),
        Column::text("bound"),
    ];
    let after_share = 6;
    if bars.is_some() {
        columns.insert(after_share, Column::text(" ".repeat(BAR)).dispensable(4));
    }
    let mut table = Table::new(columns);
    for stage in &report.stages {
        table.space();
        for (i, (name, row)) in stage.phases.named().into_iter().enumerate() {
            let first = |text: &str| if i == 0 { text.to_string() } else { String::new() };
            let mut cells = vec![first(&stage.version), first(stage.stage.name()), name.to_string()];
            cells.extend(cells_of(row, &time, &flops, &bytes));
            if let Some(glyphs) = bars {
                // The whole has no bar: it would be the longest, and say nothing.
                let part = row.share.filter(|_| name != "total").unwrap_or(0.0);
                cells.insert(after_share, bar(part, BAR, glyphs));
            }
            table.push(cells);
        }
    }
    table
}

fn cells_of(row: &PhaseRow, time: &Scale, flops: &Scale, bytes: &Scale) -> [String; 8] {
    let interval = row.time.as_ref().and_then(|t| t.interval);
    [
        or_na(row.time_s.map(|t| in_scale(time, t))),
        interval.map_or(String::new(), |i| format!("[{}, {}]", time.format(i.low), time.format(i.high))),
        percent(row.share),
        or_na(row.work.achieved_flop_per_s.map(|r| in_scale(flops, r))),
        or_na(row.work.achieved_byte_per_s.map(|r| in_scale(bytes, r))),
        significant(row.work.intensity),
        percent(row.work.fraction_of_ceiling),
        row.work.bound.map_or("n/a", Bound::name).to_string(),
    ]
}

/// A row per version: latency of the plain twin, cache, and how far the breakdown is to be trusted. Where a
/// cell has two numbers, they are of prefill and of decode.
pub fn latency_table(report: &PhaseReport) -> Table {
    let versions = || report.stages.chunk_by(|a, b| a.version == b.version);
    let ttft = Scale::for_values(versions().filter_map(|v| v[0].ttft_s), Seconds::UNIT);
    let tpot = Scale::for_values(versions().filter_map(|v| v[0].tpot_s), Seconds::UNIT);
    let caches = versions().filter_map(|v| v[0].kv_cache_bytes.theoretical);
    let bytes = Scale::iec_for_values(caches, Bytes::UNIT);
    let joules = report.stages.iter().filter_map(|s| s.energy.joules_per_token);
    let energy = Scale::for_values(joules, "J/token");
    let mut table = Table::new(vec![
        Column::text("version"),
        Column::number("TTFT", &ttft.unit),
        Column::number("TPOT", &tpot.unit),
        Column::number("tokens/s", ""),
        Column::number("KV cache", &bytes.unit),
        Column::number("allocated", &bytes.unit).dispensable(2),
        Column::number("energy", &energy.unit),
        Column::number("coverage", "%"),
        Column::number("overhead", "%"),
        Column::number("runs", "").dispensable(1),
    ]);
    for stages in versions() {
        table.push(latency_cells(stages, [&ttft, &tpot], &bytes, &energy));
    }
    table
}

fn latency_cells(
    stages: &[StageReport],
    [ttft, tpot]: [&Scale; 2],
    bytes: &Scale,
    energy: &Scale,
) -> Vec<String> {
    let of_each = |cell: &dyn Fn(&StageReport) -> Option<String>| {
        stages.iter().map(|s| or_na(cell(s))).collect::<Vec<_>>().join(" / ")
    };
    let first = &stages[0];
    let cache = &first.kv_cache_bytes;
    vec![
        first.version.clone(),
        or_na(first.ttft_s.map(|t| ttft.format(t))),
        or_na(first.tpot_s.map(|t| tpot.format(t))),
        significant(first.tokens_per_s),
        or_na(cache.theoretical.map(|b| bytes.format(b))),
        or_na(cache.allocated.map(|b| bytes.format(b))),
        of_each(&|s| s.energy.joules_per_token.map(|joules| in_wide_scale(energy, joules))),
        of_each(&|s| s.coverage.map(|c| format!("{:.1}", c * 100.0))),
        of_each(&|s| s.instrumentation_overhead.map(signed_percent)),
        stages.iter().map(|s| s.repetitions).min().unwrap_or(0).to_string(),
    ]
}

/// A line per comparison of a version with the first.
pub fn comparison_lines(report: &PhaseReport) -> Vec<String> {
    report.comparisons.iter().map(comparison_line).collect()
}

fn comparison_line(c: &Comparison) -> String {
    let change = &c.change;
    let head = format!("{} vs {} {}: {}x", c.version, c.baseline, c.stage, significant(Some(change.speedup)));
    let range = change
        .interval
        .map_or(String::new(), |i| format!(" [{}, {}]", significant(Some(i.low)), significant(Some(i.high))));
    let threshold = format!("threshold {} %", significant(Some(c.threshold * 100.0)));
    let why = change.reason.as_ref().map_or(threshold.clone(), |reason| format!("{reason}; {threshold}"));
    format!("{head}{range} {} ({why})", change.verdict)
}

/// The report as JSON: base units, `null` where unknown.
pub fn phase_json(report: &PhaseReport) -> String {
    to_json(report)
}

/// A row of the CSV, in base units; an empty cell is unknown.
#[derive(Debug, Serialize)]
struct CsvRow<'a> {
    version: &'a str,
    stage: Stage,
    phase: &'a str,
    time_s: Option<f64>,
    time_low_s: Option<f64>,
    time_high_s: Option<f64>,
    share: Option<f64>,
    flops: Option<f64>,
    bytes: Option<f64>,
    intensity_flop_per_byte: Option<f64>,
    achieved_flop_per_s: Option<f64>,
    achieved_byte_per_s: Option<f64>,
    fraction_of_ceiling: Option<f64>,
    bound: Option<Bound>,
    coverage: Option<f64>,
    instrumentation_overhead: Option<f64>,
    ttft_s: Option<f64>,
    tpot_s: Option<f64>,
    tokens_per_s: Option<f64>,
    kv_cache_theoretical_bytes: Option<f64>,
    kv_cache_allocated_bytes: Option<f64>,
    joules_per_token: Option<f64>,
    power_w: Option<f64>,
}

/// The breakdown as CSV: a row per version, stage and phase.
pub fn phase_csv(report: &PhaseReport) -> String {
    to_csv(report.stages.iter().flat_map(|stage| {
        stage.phases.named().map(|(phase, row)| {
            let interval = row.time.as_ref().and_then(|t| t.interval);
            CsvRow {
                version: &stage.version,
                stage: stage.stage,
                phase,
                time_s: row.time_s,
                time_low_s: interval.map(|i| i.low),
                time_high_s: interval.map(|i| i.high),
                share: row.share,
                flops: row.work.flops,
                bytes: row.work.bytes,
                intensity_flop_per_byte: row.work.intensity,
                achieved_flop_per_s: row.work.achieved_flop_per_s,
                achieved_byte_per_s: row.work.achieved_byte_per_s,
                fraction_of_ceiling: row.work.fraction_of_ceiling,
                bound: row.work.bound,
                coverage: stage.coverage,
                instrumentation_overhead: stage.instrumentation_overhead,
                ttft_s: stage.ttft_s,
                tpot_s: stage.tpot_s,
                tokens_per_s: stage.tokens_per_s,
                kv_cache_theoretical_bytes: stage.kv_cache_bytes.theoretical,
                kv_cache_allocated_bytes: stage.kv_cache_bytes.allocated,
                joules_per_token: stage.energy.joules_per_token,
                power_w: stage.energy.power_w,
            }
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::StepRecord;
    use crate::roofline::samples::phase_run;

    #[test]
    fn the_table_has_six_rows_per_version_and_stage_and_fits_80_columns() {
        let report = PhaseReport::new(&phase_run(), &[]);
        let text = phase_table(&report).to_terminal(80);
        // Two header lines, four times six rows, three empty lines between them.
        assert_eq!(text.lines().count(), 2 + 24 + 3, "{text}");
        assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
        assert!(phase_table(&report).to_terminal(120).contains("95 % interval"));
    }

    #[test]
    fn bars_of_shares_stand_in_the_table_where_it_is_wide_enough() {
        let report = PhaseReport::new(&phase_run(), &[]);
        for (glyphs, block) in [(Glyphs::Unicode, '█'), (Glyphs::Ascii, '#')] {
            let table = phase_table_with_bars(&report, glyphs);
            let wide = table.to_terminal(120);
            let bars = |line: &str| line.chars().filter(|c| *c == block).count();
            let attention = wide.lines().filter(|l| l.contains("attention")).map(bars).max().unwrap();
            assert!((1..=9).contains(&attention), "{wide}");
            assert!(wide.lines().filter(|l| l.contains("total")).all(|l| bars(l) == 0), "{wide}");
            assert!(
                wide.lines().all(|l| l.chars().count() <= 120) && wide.contains("95 % interval"),
                "{wide}"
            );
            assert_eq!(table.to_terminal(80), phase_table(&report).to_terminal(80), "no room at 80 columns");
        }
    }

    #[test]
    fn the_latency_table_has_a_row_per_version_and_fits_80_columns() {
        let text = latency_table(&PhaseReport::new(&phase_run(), &[])).to_terminal(80);
        let row = text.lines().find(|l| l.starts_with("v1")).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells[..5], ["v1", "10.1", "5.05", "198", "3.00"], "{text}");
        assert!(row.contains("90.0 / 9") && row.contains("+2.0 / +"), "{text}");
        assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    }

    #[test]
    fn comparisons_say_which_is_faster() {
        let lines = comparison_lines(&PhaseReport::new(&phase_run(), &[]));
        // Three repetitions bear no verdict, whatever their interval: as `kprof compare` says.
        let why = "unclear (3 repetitions: a verdict needs 5; raise --repetitions; threshold 2.00 %)";
        assert!(lines[0].starts_with("v1 vs v0 prefill: 1.00x [") && lines[0].ends_with(why), "{}", lines[0]);
        let mut run = phase_run();
        let again: Vec<_> =
            run.steps.iter().cloned().map(|s| StepRecord { repetition: s.repetition + 3, ..s }).collect();
        run.steps.extend(again);
        let lines = comparison_lines(&PhaseReport::new(&run, &[]));
        assert!(lines[0].ends_with(" same (threshold 2.00 %)"), "{}", lines[0]);
        assert!(
            lines[1].starts_with("v1 vs v0 decode: 2.00x [")
                && lines[1].ends_with(" faster (threshold 2.00 %)")
        );
    }

    #[test]
    fn the_csv_has_a_row_per_phase() {
        let text = phase_csv(&PhaseReport::new(&phase_run(), &[]));
        assert_eq!(text.lines().count(), 25);
        assert!(text.lines().next().unwrap().starts_with("version,stage,phase,time_s"));
    }
}
