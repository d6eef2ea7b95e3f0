//! A [`CrossoverReport`] as tables, lines, JSON and CSV.

use super::benchmark::{benchmark_heading, bracketed};
use super::roofline_export::{to_csv, to_json};
use super::table::{Column, Table, in_wide_scale, or_na, percent, significant};
use crate::llm::Stage;
use crate::roofline::Bound;
use crate::scaling::{BatchCrossover, CacheDominates, CrossoverReport, Pays};
use crate::units::{Scale, Seconds, format_iec};
use serde::Serialize;

/// What was measured.
pub fn crossover_heading(report: &CrossoverReport) -> String {
    let heading = benchmark_heading("crossover", report.manifest.as_ref());
    // Batch and prompt are what is varied.
    let heading = match heading.split_once("  batch ") {
        Some((before, after)) => format!("{before}{}", after.find('\n').map_or("", |at| &after[at..])),
        None => heading,
    };
    format!("{heading}\n{} against {}: one decode step at each context and batch", report.new, report.old)
}

/// A row per batch and context.
pub fn crossover_table(report: &CrossoverReport) -> Table {
    let points = || report.batches.iter().flat_map(|b| &b.points);
    let time =
        Scale::for_values(points().flat_map(|p| [p.old_step.median, p.new_step.median]), Seconds::UNIT);
    let mut table = Table::new(vec![
        Column::number("batch", ""),
        Column::number("context", "tokens"),
        Column::number(report.old.clone(), &time.unit),
        Column::number("95 % interval", &time.unit).dispensable(2),
        Column::number(report.new.clone(), &time.unit),
        Column::number("95 % interval", &time.unit).dispensable(3),
        Column::number("speed-up", "x"),
        Column::number("95 % interval", "x"),
        Column::text(format!("{} pays", report.new)),
        Column::number("rounds", "").dispensable(4),
    ]);
    for batch in &report.batches {
        table.space();
        for (i, p) in batch.points.iter().enumerate() {
            let interval = |s: &crate::stats::Summary| {
                s.interval.map_or(String::new(), |i| bracketed(i, |v| in_wide_scale(&time, v)))
            };
            table.push(vec![
                if i == 0 { batch.batch.to_string() } else { String::new() },
                p.context.to_string(),
                in_wide_scale(&time, p.old_step.median),
                interval(&p.old_step),
                in_wide_scale(&time, p.new_step.median),
                interval(&p.new_step),
                significant(Some(p.speedup)),
                or_na(p.interval.map(|i| bracketed(i, |v| significant(Some(v))))),
                p.pays.name().to_string(),
                p.old_step.count.to_string(),
            ]);
        }
    }
    table
}

/// A row per stage, version, batch and context: how far it is from its ceiling.
pub fn stage_table(report: &CrossoverReport) -> Table {
    let time = Scale::for_values(report.stages.iter().map(|s| s.time_s), Seconds::UNIT);
    let mut table = Table::new(vec![
        Column::text("version"),
        Column::text("stage"),
        Column::number("batch", ""),
        Column::number("context", "tokens"),
        Column::number("step", &time.unit),
        Column::number("floor", &time.unit),
        Column::number("of ceiling", "%"),
        Column::text("bound"),
    ]);
    let mut last = None;
    for s in &report.stages {
        let group = (s.version.as_str(), s.stage, s.batch);
        if last != Some(group) && (last.map(|l: (&str, Stage, usize)| (l.0, l.1)) != Some((group.0, group.1)))
        {
            table.space();
        }
        last = Some(group);
        table.push(vec![
            s.version.clone(),
            s.stage.name().to_string(),
            s.batch.to_string(),
            s.context.to_string(),
            in_wide_scale(&time, s.time_s),
            or_na(s.floor_s.map(|f| in_wide_scale(&time, f))),
            percent(s.of_ceiling),
            s.bound.map_or("n/a", Bound::name).to_string(),
        ]);
    }
    table
}

/// A sentence per batch, and what follows from the shapes.
pub fn crossover_lines(report: &CrossoverReport) -> Vec<String> {
    let mut lines: Vec<String> = report.batches.iter().map(|b| batch_line(report, b)).collect();
    lines.extend(batch_of_crossover(report));
    lines.extend(report.cache_dominates.iter().filter_map(dominates_line));
    if report.stages.iter().any(|s| s.of_ceiling.is_some_and(|c| c > 1.0)) {
        lines.push(
            "above 100 % of a ceiling: floors are of main memory, and what such a step reads stays in the processor's caches"
                .to_string(),
        );
    }
    lines
}

fn batch_line(report: &CrossoverReport, b: &BatchCrossover) -> String {
    let (old, new) = (&report.old, &report.new);
    // Where lines meet is nothing to go by without an interval: some of the resampled ones do not.
    let known = b.crossing.and_then(|c| Some((c.value, c.interval?)));
    let fit = known.map_or(String::new(), |(at, interval)| {
        let beyond = if at > b.up_to as f64 { ", beyond what was measured" } else { "" };
        let range = bracketed(interval, |v| format!("{v:.0}"));
        format!("; lines fitted to both meet at {at:.0} {range} tokens{beyond}")
    });
    match b.pays_from {
        Some(context) => {
            let below = b
                .points
                .iter()
                .rev()
                .find(|p| p.context < context)
                .map_or(" (the smallest measured)".to_string(), |p| {
                    format!(" (at {}: {})", p.context, said(p.pays))
                });
            format!("batch {}: {new} pays from a context of {context} tokens on{below}{fit}", b.batch)
        }
        None => format!(
            "batch {}: no crossover up to {} tokens: {new} is not faster than {old} there{fit}",
            b.batch, b.up_to
        ),
    }
}

fn said(pays: Pays) -> &'static str {
    match pays {
        Pays::Yes => "it pays",
        Pays::No => "it does not",
        Pays::Unclear => "it cannot be told",
    }
}

/// The smallest batch at which the new version pays at some context.
fn batch_of_crossover(report: &CrossoverReport) -> Option<String> {
    if report.batches.len() < 2 {
        return None;
    }
    let (old, new) = (&report.old, &report.new);
    let most = report.batches.last().map_or(0, |b| b.batch);
    Some(match report.batches.iter().find(|b| b.pays_from.is_some()) {
        Some(b) => format!("{new} pays against {old} from a batch of {} on, of those measured", b.batch),
        None => format!("no crossover up to a batch of {most}"),
    })
}

fn dominates_line(of: &CacheDominates) -> Option<String> {
    let weights = format_iec(of.weight_bytes, "B");
    let at: Vec<String> = of
        .context_by_batch
        .iter()
        .filter_map(|(batch, context)| {
            let context = (*context)?;
            let beyond = if context > of.positions as f64 { " (beyond the model's positions)" } else { "" };
            Some(format!("{context:.0} tokens{beyond} at batch {batch}"))
        })
        .collect();
    if at.is_empty() {
        return None;
    }
    Some(format!(
        "ANALYTIC: {}'s cache outweighs the {weights} of weights that a step reads from {}",
        of.version,
        at.join(", ")
    ))
}

/// The report as JSON.
pub fn crossover_json(report: &CrossoverReport) -> String {
    to_json(report)
}

/// A row of the CSV, in base units.
#[derive(Debug, Serialize)]
struct CsvRow {
    batch: usize,
    context: usize,
    old_step_s: f64,
    new_step_s: f64,
    speedup: f64,
    speedup_low: Option<f64>,
    speedup_high: Option<f64>,
    pays: Pays,
    rounds: usize,
}

/// The points as CSV.
pub fn crossover_csv(report: &CrossoverReport) -> String {
    to_csv(report.batches.iter().flat_map(|b| {
        b.points.iter().map(|p| CsvRow {
            batch: b.batch,
            context: p.context,
            old_step_s: p.old_step.median,
            new_step_s: p.new_step.median,
            speedup: p.speedup,
            speedup_low: p.interval.map(|i| i.low),
            speedup_high: p.interval.map(|i| i.high),
            pays: p.pays,
            rounds: p.old_step.count,
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::tests::crossover_run;

    #[test]
    fn the_table_and_the_sentence_say_where_the_new_version_pays() {
        let report = CrossoverReport::new(&crossover_run(), &[]).unwrap();
        let text = crossover_table(&report).to_terminal(80);
        assert!(text.lines().all(|l| l.chars().count() <= 80) && text.contains("v2 pays"), "{text}");
        let line = &crossover_lines(&report)[0];
        assert!(
            line.starts_with(
                "batch 1: v2 pays from a context of 500 tokens on (at 200: it does not); lines fitted"
            ),
            "{line}"
        );
        assert_eq!(crossover_csv(&report).lines().count(), 5);
    }

    #[test]
    fn where_nothing_pays_the_largest_context_is_said() {
        let mut run = crossover_run();
        run.decode_points.retain(|p| p.context < 300);
        let line = &crossover_lines(&CrossoverReport::new(&run, &[]).unwrap())[0];
        assert!(
            line.starts_with("batch 1: no crossover up to 200 tokens: v2 is not faster than v1 there"),
            "{line}"
        );
    }
}
