//! A [`CompareReport`] as tables, lines, CSV and JSON.

use super::roofline_export::{to_csv, to_json};
use super::table::{Column, Table, in_wide_scale, or_na, signed_percent, significant};
use crate::compare::{
    CompareReport, Contribution, MemoryChange, PairReport, ParetoPoint, SlowestRank, TimeChange,
};
use crate::profile::Ended;
use crate::stats::{Interval, Method, Verdict};
use crate::units::{Bytes, Scale, Seconds, format_si};
use serde::Serialize;

/// Ops under this part of the old step are left out of the table; CSV and JSON have them all.
const LEAST_OP: f64 = 0.001;

/// What is held against what, with the differences that were allowed.
pub fn compare_heading(pair: &PairReport) -> String {
    let how = if pair.paired { "interleaved" } else { "separate runs" };
    let processes = match pair.processes {
        [1, 1] if pair.paired => "one process".to_string(),
        [1, 1] => "one process each".to_string(),
        [old, new] if old == new => format!("{new} processes"),
        [old, new] => format!("{new} against {old} processes"),
    };
    let mut text = format!("{} against {} ({how}, {processes})\n", pair.new, pair.old);
    for unlike in &pair.unlike {
        text += &format!("unlike, allowed: {unlike}\n");
    }
    text
}

/// What was run, where commands were measured: a line each, and how often.
pub fn compare_commands(report: &CompareReport) -> String {
    let Some(commands) = &report.commands else { return String::new() };
    let mut text: String = commands.commands.iter().map(|c| format!("{}: {}\n", c.name, c.command)).collect();
    let schedule = &commands.schedule;
    let why = match schedule.ended {
        Ended::Count => "all that were asked for",
        Ended::Precision => "until medians were known well enough",
        Ended::Time => "until --max-time",
    };
    text += &format!(
        "{} rounds in a seeded order ({why}), after {} of warm-up\n",
        schedule.repetitions, schedule.warmups
    );
    text
}

/// A row per duration: before, after, speed-up with its interval, and the verdict.
pub fn compare_table(pair: &PairReport) -> Table {
    let all = || pair.times.iter().flat_map(|t| [t.old.median, t.new.median]);
    let time = Scale::for_values(all(), Seconds::UNIT);
    let mut table = Table::new(vec![
        Column::text("time of"),
        Column::number("old", &time.unit),
        Column::number("new", &time.unit),
        Column::number("speed-up", "old/new"),
        Column::text("95 % interval"),
        Column::text("verdict"),
        Column::number("runs", "").dispensable(1),
    ]);
    for change in &pair.times {
        table.push(vec![
            label(change.what).to_string(),
            in_wide_scale(&time, change.old.median),
            in_wide_scale(&time, change.new.median),
            format!("{:.3}", change.change.speedup),
            or_na(change.change.interval.map(range)),
            change.change.verdict.name().to_string(),
            format!("{}/{}", change.old.count, change.new.count),
        ]);
    }
    table
}

fn label(what: &str) -> &str {
    match what {
        "prefill" => "prefill (TTFT)",
        "decode" => "decode (TPOT)",
        "wall" => "whole command",
        other => other,
    }
}

fn range(interval: Interval) -> String {
    format!("[{:.3}, {:.3}]", interval.low, interval.high)
}

/// One line on each verdict that needs more than a word, and on the cache.
pub fn compare_notes(pair: &PairReport, threshold: f64) -> String {
    let mut text = String::new();
    for change in &pair.times {
        if let Some(note) = note(change, threshold) {
            text += &format!("{}: {note}\n", label(change.what));
        }
    }
    let is_of_commands = pair.times.iter().any(|t| t.what == "wall");
    if is_of_commands { text } else { text + &memory_line(&pair.memory) + &perplexity_line(pair) }
}

fn perplexity_line(pair: &PairReport) -> String {
    pair.perplexity.map_or(String::new(), |p| {
        let by = |ratio: f64| signed_percent(ratio - 1.0);
        let range = p.interval.map_or(String::new(), |i| format!(" [{}, {}]", by(i.low), by(i.high)));
        format!("perplexity: {:.4} -> {:.4}, {} %{range}\n", p.old, p.new, by(p.ratio))
    })
}

/// A row per version: latency, cache and perplexity, and which other version beats it, if any does.
pub fn pareto_table(points: &[ParetoPoint]) -> Table {
    let time = Scale::for_values(points.iter().filter_map(|p| p.tpot_s), Seconds::UNIT);
    let bytes = Scale::iec_for_values(points.iter().filter_map(|p| p.cache_bytes), Bytes::UNIT);
    let mut table = Table::new(vec![
        Column::text("trade-off of").shrinks_to(16),
        Column::number("TPOT", &time.unit),
        Column::text("95 % interval").dispensable(2),
        Column::number("KV cache", &bytes.unit),
        Column::number("perplexity", ""),
        Column::text("interval").dispensable(3),
        Column::text("beaten by").shrinks_to(12),
    ]);
    for p in points {
        let interval =
            |i: Interval, text: &dyn Fn(f64) -> String| format!("[{}, {}]", text(i.low), text(i.high));
        table.push(vec![
            p.name.clone(),
            or_na(p.tpot_s.map(|t| in_wide_scale(&time, t))),
            or_na(p.tpot_interval.map(|i| interval(i, &|t| in_wide_scale(&time, t)))),
            or_na(p.cache_bytes.map(|b| bytes.format(b))),
            or_na(p.perplexity.map(|q| format!("{:.4}", q.value))),
            or_na(p.perplexity.and_then(|q| q.interval).map(|i| interval(i, &|v| format!("{v:.3}")))),
            p.beaten_by.clone().unwrap_or_else(|| "none".to_string()),
        ]);
    }
    table
}

fn note(change: &TimeChange, threshold: f64) -> Option<String> {
    if change.change.verdict != Verdict::Unclear {
        return None;
    }
    let more = match change.change.method {
        Some(Method::PairedBootstrap) | None => "more repetitions narrow it",
        Some(Method::AssumedSpread) => {
            "each side is one process, and 2 % between processes are assumed: --processes measures it"
        }
        Some(Method::ProcessRanks | Method::ProcessStudent) => "more processes narrow it",
    };
    let crosses = |i: Interval| {
        let (low, high) = (range(i), significant(Some(threshold * 100.0)));
        format!(
            "unclear: {low} crosses the threshold of {high} %; {more}, a larger --threshold asks for less"
        )
    };
    Some(match (&change.change.reason, change.change.interval) {
        (Some(reason), _) => format!("unclear: {reason}"),
        (None, Some(interval)) => crosses(interval),
        (None, None) => "unclear: no interval can be had".to_string(),
    })
}

fn memory_line(memory: &MemoryChange) -> String {
    let (Some(old), Some(new)) = (memory.old_allocated_bytes, memory.new_allocated_bytes) else {
        return "KV cache: n/a\n".to_string();
    };
    if old == 0.0 && new == 0.0 {
        return "KV cache: none on either side\n".to_string();
    }
    let scale = Scale::iec_for_values([old, new], Bytes::UNIT);
    let ratio = if new > 0.0 && old > 0.0 { format!(", {:.2}x smaller", old / new) } else { String::new() };
    let ratio = if old == new { ", the same".to_string() } else { ratio };
    format!("KV cache: {} -> {} {} allocated{ratio}\n", scale.format(old), scale.format(new), scale.unit)
}

/// Where the change comes from: per stage the phases, which add up to the total, and under each its ops.
pub fn contributions_table(pair: &PairReport) -> Table {
    let all = || pair.stages.iter().flat_map(|s| &s.phases);
    let time = Scale::for_values(all().flat_map(|p| [p.old_s, p.new_s]).flatten(), Seconds::UNIT);
    let mut table = Table::new(vec![
        Column::text("stage"),
        Column::text("phase or op").shrinks_to(16),
        Column::number("old", &time.unit).dispensable(3),
        Column::number("new", &time.unit).dispensable(2),
        Column::number("change", &time.unit),
        Column::number("of old step", "%"),
        Column::number("FLOPs", "new/old").dispensable(1),
        Column::number("bytes", "new/old").dispensable(1),
    ]);
    for stage in &pair.stages {
        table.space();
        for (i, phase) in stage.phases.iter().enumerate() {
            let first = if i == 0 { stage.stage.name() } else { "" };
            table.push(cells(first, &phase.name, phase, &time));
            let of_phase = stage.ops.iter().filter(|op| op.phase.is_some_and(|p| p.name() == phase.name));
            for op in of_phase.filter(|op| op.change_of_step.is_some_and(|c| c.abs() >= LEAST_OP)) {
                table.push(cells("", &format!("  {}", op.name), op, &time));
            }
        }
    }
    table
}

fn cells(stage: &str, name: &str, row: &Contribution, time: &Scale) -> Vec<String> {
    let ratio = |old: Option<f64>, new: Option<f64>| match (old, new) {
        (Some(old), Some(new)) if old > 0.0 => format!("{:.3}", new / old),
        (None, Some(_)) | (Some(_), None) => "-".to_string(),
        _ => "n/a".to_string(),
    };
    let signed = |value: f64| {
        let text = in_wide_scale(time, value);
        if value > 0.0 { format!("+{text}") } else { text }
    };
    // A change without a time on one side: that side lacks the part. It does not take 0 there.
    let side = |value: Option<f64>| match (value, row.change_s) {
        (None, Some(_)) => "-".to_string(),
        (value, _) => or_na(value.map(|t| in_wide_scale(time, t))),
    };
    vec![
        stage.to_string(),
        name.to_string(),
        side(row.old_s),
        side(row.new_s),
        or_na(row.change_s.map(signed)),
        or_na(row.change_of_step.map(signed_percent)),
        ratio(row.old_flops, row.new_flops),
        ratio(row.old_bytes, row.new_bytes),
    ]
}

/// A line per duration of the slowest rank, before and after, where ranks were compared one by one.
pub fn slowest_lines(slowest: &[SlowestRank]) -> String {
    slowest.iter().map(slowest_line).collect()
}

fn slowest_line(row: &SlowestRank) -> String {
    let time = |seconds: f64, rank: usize| format!("{} (rank {rank})", format_si(seconds, Seconds::UNIT));
    let verdict = row.change.as_ref().map_or("no verdict: they are two ranks", |c| c.verdict.name());
    let version = |name: &str| name.rsplit(':').next().unwrap_or(name).to_string();
    let (old, new) = (version(&row.old), version(&row.new));
    let versions = if old == new { new } else { format!("{new} against {old}") };
    format!(
        "slowest rank: {versions} {}: {} -> {}, {} % time, {verdict}\n",
        row.what,
        time(row.old_s, row.old_rank),
        time(row.new_s, row.new_rank),
        signed_percent(row.new_s / row.old_s - 1.0)
    )
}

/// The report as JSON: base units, `null` where unknown.
pub fn compare_json(report: &CompareReport) -> String {
    to_json(report)
}

/// The report as Markdown.
pub fn compare_markdown(report: &CompareReport) -> String {
    let pair = |pair: &PairReport| {
        let notes: String =
            compare_notes(pair, report.threshold).lines().map(|l| format!("- {l}\n")).collect();
        format!(
            "### {}\n{}\n{notes}\n{}",
            compare_heading(pair),
            compare_table(pair).to_markdown(),
            if pair.stages.is_empty() { String::new() } else { contributions_table(pair).to_markdown() }
        )
    };
    let commands: String = compare_commands(report).lines().map(|l| format!("- {l}\n")).collect();
    let mut pairs = report.pairs.iter().map(pair).collect::<Vec<_>>().join("\n");
    let slowest: String =
        slowest_lines(&report.slowest_ranks).lines().map(|line| format!("- {line}\n")).collect();
    if !slowest.is_empty() {
        pairs += &format!("\n### Slowest ranks\n\n{slowest}");
    }
    if !report.pareto.is_empty() {
        pairs += &format!("\n### Trade-off\n\n{}", pareto_table(&report.pareto).to_markdown());
    }
    if commands.is_empty() { pairs } else { format!("{commands}\n{pairs}") }
}

/// A row of the CSV, in base units; an empty cell is unknown or does not apply.
#[derive(Debug, Default, Serialize)]
struct CsvRow<'a> {
    old: &'a str,
    new: &'a str,
    stage: &'a str,
    level: &'a str,
    name: &'a str,
    old_s: Option<f64>,
    new_s: Option<f64>,
    change_s: Option<f64>,
    speedup: Option<f64>,
    speedup_low: Option<f64>,
    speedup_high: Option<f64>,
    verdict: Option<Verdict>,
    change_of_step: Option<f64>,
    old_flops: Option<f64>,
    new_flops: Option<f64>,
    old_bytes: Option<f64>,
    new_bytes: Option<f64>,
}

/// The report as CSV: a row per duration, phase and op, told apart by `level`.
pub fn compare_csv(report: &CompareReport) -> String {
    to_csv(report.pairs.iter().flat_map(csv_rows))
}

fn csv_rows(pair: &PairReport) -> Vec<CsvRow<'_>> {
    let row = || CsvRow { old: &pair.old, new: &pair.new, ..CsvRow::default() };
    let times = pair.times.iter().map(|time| CsvRow {
        stage: time.what,
        level: "time",
        name: time.what,
        old_s: Some(time.old.median),
        new_s: Some(time.new.median),
        change_s: Some(time.new.median - time.old.median),
        speedup: Some(time.change.speedup),
        speedup_low: time.change.interval.map(|i| i.low),
        speedup_high: time.change.interval.map(|i| i.high),
        verdict: Some(time.change.verdict),
        ..row()
    });
    let parts = pair.stages.iter().flat_map(|stage| {
        let level = |level| move |part| (level, stage.stage.name(), part);
        stage.phases.iter().map(level("phase")).chain(stage.ops.iter().map(level("op")))
    });
    let parts = parts.map(|(level, stage, part)| CsvRow {
        stage,
        level,
        name: &part.name,
        old_s: part.old_s,
        new_s: part.new_s,
        change_s: part.change_s,
        change_of_step: part.change_of_step,
        old_flops: part.old_flops,
        new_flops: part.new_flops,
        old_bytes: part.old_bytes,
        new_bytes: part.new_bytes,
        ..row()
    });
    times.chain(parts).collect()
}
