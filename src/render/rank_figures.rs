//! One quantity of each rank beside the others': of which run it is read, as a table, a note and JSON.

use super::ranks::{RANKS_SCHEMA_VERSION, against, rank_columns, ranks_heading, shared_gpu_notes, verdict};
use super::roofline_export::to_json;
use super::table::{Column, Table, in_wide_scale, or_na};
use crate::compare::QualityReport;
use crate::profile::Run;
use crate::roofline::RankedLaunch;
use crate::scaling::{
    RankFigures, RankPlace, RankQuantity, RankValue, batches, generation_times, peaks, step_times,
};
use crate::units::{Bytes, Scale, Seconds, format_iec};
use serde::Serialize;
use serde_json::Value;

/// `quantity` over `runs`, the ranks of one launch; `None` where none of them has it.
pub fn rank_figures(quantity: RankQuantity, runs: &[Run]) -> Option<RankFigures> {
    let of = |(i, run): (usize, &Run)| (run.rank().map_or(i, |rank| rank.rank), values(quantity, run));
    let ranks: Vec<(usize, Vec<RankValue>)> = runs.iter().enumerate().map(of).collect();
    RankFigures::new(quantity, &ranks)
}

fn values(quantity: RankQuantity, run: &Run) -> Vec<RankValue> {
    match quantity {
        RankQuantity::GenerationTime => generation_times(run),
        RankQuantity::StepTime => step_times(run),
        RankQuantity::Peak => peaks(run),
        RankQuantity::Batch => batches(run),
        RankQuantity::Perplexity => {
            let versions = QualityReport::new(run).versions;
            let one = |v: &crate::compare::VersionQuality| {
                RankValue::new(&v.version, RankPlace::default(), Some(v.perplexity))
            };
            versions.iter().map(one).collect()
        }
    }
}

/// What the quantity is called, and the rank that is named.
fn words(quantity: RankQuantity) -> (&'static str, &'static str) {
    match quantity {
        RankQuantity::GenerationTime => ("time of a generation", "slowest"),
        RankQuantity::StepTime => ("time of a decode step", "slowest"),
        RankQuantity::Peak => ("peak of memory", "largest"),
        RankQuantity::Batch => ("largest batch", "smallest"),
        RankQuantity::Perplexity => ("perplexity", "highest"),
    }
}

/// How many ranks there are, by whom, and what is beside each other.
pub fn rank_figures_heading(figures: Option<&RankFigures>, launch: &RankedLaunch) -> String {
    let what = figures.map_or(String::new(), |figures| format!(": {}", words(figures.quantity).0));
    format!("{}{what}", ranks_heading(launch))
}

/// A row per version and place: every rank's value, the rank that limits all, and how far ranks are apart.
pub fn rank_figures_table(figures: &RankFigures) -> Table {
    let all = || figures.rows.iter().flat_map(|row| row.values.iter().flatten().copied());
    let (_, worst) = words(figures.quantity);
    let timed = matches!(figures.quantity, RankQuantity::GenerationTime | RankQuantity::StepTime);
    let scale = match figures.quantity {
        RankQuantity::Peak => Scale::iec_for_values(all(), Bytes::UNIT),
        _ => Scale::for_values(all(), Seconds::UNIT),
    };
    let unit = if timed || figures.quantity == RankQuantity::Peak { scale.unit.as_str() } else { "" };
    let mut columns = vec![Column::text("version"), Column::text("at")];
    columns.extend(rank_columns(figures.ranks.iter().copied(), unit));
    columns.extend([Column::text(worst), Column::number("max/mean", "")]);
    columns.extend(timed.then(|| Column::text("against the fastest")));
    let mut table = Table::new(columns);
    for row in &figures.rows {
        let cell = |(value, at_least): (&Option<f64>, &bool)| {
            let value = or_na(value.map(|v| number(figures.quantity, &scale, v)));
            if *at_least { format!("≥ {value}") } else { value }
        };
        let mut cells = vec![row.version.clone(), place(&row.place)];
        cells.extend(row.values.iter().zip(&row.at_least).map(cell));
        let [worst, max_over_mean] = verdict(row.worst, row.max_over_mean);
        cells.extend([if row.is_alike() { "all alike".to_string() } else { worst }, max_over_mean]);
        cells.extend(timed.then(|| against(row.against_fastest.as_ref())));
        table.push(cells);
    }
    table
}

fn number(quantity: RankQuantity, scale: &Scale, value: f64) -> String {
    match quantity {
        RankQuantity::Batch => value.to_string(),
        RankQuantity::Perplexity => format!("{value:.4}"),
        _ => in_wide_scale(scale, value),
    }
}

/// `batch 4, context 512`.
fn place(place: &RankPlace) -> String {
    let parts = [
        place.tokens.map(|tokens| format!("T = {tokens}")),
        place.batch.map(|batch| format!("batch {batch}")),
        place.context.map(|context| format!("context {context}")),
        place.budget_bytes.map(|bytes| format!("in {}", format_iec(bytes, Bytes::UNIT))),
    ];
    match parts.into_iter().flatten().collect::<Vec<_>>() {
        none if none.is_empty() => "the whole text".to_string(),
        some => some.join(", "),
    }
}

/// What has to be known to read the table.
pub fn rank_figures_notes(figures: &RankFigures, launch: &RankedLaunch) -> Vec<String> {
    let how = match figures.quantity {
        RankQuantity::GenerationTime => "times are medians over repetitions of each rank",
        RankQuantity::StepTime => "times are medians over rounds of each rank",
        RankQuantity::Peak => "peaks are each rank's own, of its repetitions the largest",
        RankQuantity::Batch => "what fits on every rank is the smallest batch of all",
        RankQuantity::Perplexity => "every rank scored the text by itself",
    };
    let note =
        format!("{how}; ranks are not pooled. max/mean: the largest over the mean of all (1 is balance)");
    std::iter::once(note).chain(shared_gpu_notes(launch)).collect()
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    #[serde(flatten)]
    launch: &'a RankedLaunch,
    /// `null` where no rank has the quantity.
    figures: Option<&'a RankFigures>,
    /// Each rank's own report, in the order of `ranks`; `null` of a rank that has nothing to report.
    reports: Vec<Value>,
}

/// The ranks, the quantity over them, and each rank's own report, which is given as JSON.
pub fn rank_figures_json(
    launch: &RankedLaunch,
    figures: Option<&RankFigures>,
    reports: &[Option<String>],
) -> String {
    // OK because a report's JSON comes from the functions of this module.
    let value =
        |json: &String| serde_json::from_str::<Value>(json).expect("a report's JSON can be read again");
    let reports = reports.iter().map(|json| json.as_ref().map_or(Value::Null, value)).collect();
    to_json(&Document { schema_version: RANKS_SCHEMA_VERSION, launch, figures, reports })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::RankInfo;
    use crate::scaling::tests::{capacity_run, latency_run};

    fn launched(run: &Run, world_size: usize) -> Vec<Run> {
        let of = |rank| {
            let mut run = Run { file: format!("m.jsonl@{rank}"), ..run.clone() };
            let mut manifest = crate::roofline::samples::phase_run().manifest.unwrap();
            manifest.rank = Some(RankInfo {
                rank,
                world_size: Some(world_size),
                local_rank: None,
                launcher: "slurm".into(),
                job: None,
            });
            run.manifest = Some(manifest);
            run
        };
        (0..world_size).map(of).collect()
    }

    #[test]
    fn many_ranks_fit_80_columns_with_the_slowest_named() {
        let mut runs = launched(&latency_run(), 12);
        runs[11].latencies.iter_mut().for_each(|l| l.time_s *= 2.0);
        let figures = rank_figures(RankQuantity::GenerationTime, &runs).unwrap();
        let table = rank_figures_table(&figures).to_terminal(80);
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        // 2 / (13 / 12).
        assert_eq!(table.matches("rank 11").count(), 10, "{table}");
        assert_eq!(table.matches("1.846").count(), 10, "{table}");
    }

    #[test]
    fn batches_have_no_unit_and_bounds_say_that_they_are() {
        let mut runs = launched(&capacity_run(), 2);
        runs[1].capacities.iter_mut().for_each(|c| c.at_least = true);
        let figures = rank_figures(RankQuantity::Batch, &runs).unwrap();
        let table = rank_figures_table(&figures).to_terminal(120);
        let v1 = table.lines().find(|line| line.starts_with("v1")).unwrap();
        assert!(v1.contains("context 1024, in 954 MiB") && v1.contains(" 47  "), "{table}");
        assert!(v1.contains("≥ 47") && v1.ends_with("n/a") && !table.contains('['), "{table}");
        assert_eq!(rank_figures(RankQuantity::StepTime, &runs), None);
    }

    #[test]
    fn a_rank_without_a_report_is_null() {
        let runs = launched(&latency_run(), 2);
        let launch = RankedLaunch::new(&runs).unwrap();
        let json = rank_figures_json(&launch, None, &[Some("{\"x\":0.1}".to_string()), None]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["reports"][0]["x"], &json["reports"][1]), (&Value::from(0.1), &Value::Null));
        assert_eq!((json["ranks"][1]["rank"].as_u64(), json["launcher"].as_str()), (Some(1), Some("slurm")));
    }
}
