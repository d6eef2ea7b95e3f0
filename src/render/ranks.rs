//! The ranks of a launch as tables, lines and JSON.

use super::roofline_export::to_json;
use super::table::{Column, Table, in_scale, or_na, significant};
use crate::profile::{ClockOffset, OffsetMethod};
use crate::roofline::{PhaseReport, RankRow, RankedLaunch, RanksReport};
use crate::stats::SpeedUp;
use crate::units::{Scale, Seconds, format_si};
use serde::Serialize;

/// The version of the JSON of merged runs.
pub const RANKS_SCHEMA_VERSION: u32 = 1;

/// How many ranks there are and by whom.
pub fn ranks_heading(launch: &RankedLaunch) -> String {
    let size = launch.world_size.map_or("n/a".to_string(), |size| size.to_string());
    let missing = match launch.missing.as_slice() {
        [] => String::new(),
        ranks => format!("; missing: {}", numbers(ranks)),
    };
    format!("{} of {size} ranks by {}{missing}", launch.ranks.len(), launch.launcher)
}

fn numbers(ranks: &[usize]) -> String {
    ranks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A row per rank: where it ran, and where its clock stands.
pub fn ranks_table(launch: &RankedLaunch) -> Table {
    let mut table = Table::new(vec![
        Column::text("rank"),
        Column::text("host"),
        Column::text("device").shrinks_to(16),
        Column::text("UUID").dispensable(2),
        Column::text("clock offset"),
        Column::text("uncertain by"),
        Column::text("by").dispensable(1),
    ]);
    launch.ranks.iter().for_each(|row| table.push(cells(row)));
    table
}

fn cells(row: &RankRow) -> Vec<String> {
    let seconds = |value: Option<f64>| or_na(value.map(|s| format_si(s, "s")));
    let clock = &row.merged.clock;
    vec![
        row.merged.rank.to_string(),
        or_na(row.merged.host.clone()),
        or_na(row.device.clone()),
        or_na(row.uuid.clone()),
        seconds(clock.offset_s),
        seconds(clock.uncertainty_s),
        method(clock).to_string(),
    ]
}

fn method(clock: &ClockOffset) -> &'static str {
    match clock.method {
        OffsetMethod::Reference => "the others are held against it",
        OffsetMethod::MonotonicClock => "one monotonic clock",
        OffsetMethod::WallClock => "wall clocks",
        OffsetMethod::Unknown => "n/a",
    }
}

/// A row per version and stage: every rank's time per step, the slowest, and the imbalance.
pub fn imbalance_table(report: &RanksReport) -> Table {
    let times = report.imbalances.iter().flat_map(|i| i.time_s.iter().flatten().copied());
    let scale = Scale::for_values(times, Seconds::UNIT);
    let mut columns = vec![Column::text("version"), Column::text("stage")];
    columns.extend(rank_columns(report.launch.ranks.iter().map(|row| row.merged.rank), &scale.unit));
    columns.extend([
        Column::text("slowest"),
        Column::number("max/mean", ""),
        Column::text("against the fastest"),
    ]);
    let mut table = Table::new(columns);
    for row in &report.imbalances {
        let mut cells = vec![row.version.clone(), row.stage.name().to_string()];
        cells.extend(row.time_s.iter().map(|t| or_na(t.map(|t| in_scale(&scale, t)))));
        cells.extend(verdict(row.slowest, row.max_over_mean));
        cells.push(against(row.against_fastest.as_ref()));
        table.push(cells);
    }
    table
}

/// A column per rank. Of many ranks the last ones give way in a narrow terminal: the worst is named beside them.
pub(super) fn rank_columns(ranks: impl Iterator<Item = usize>, unit: &str) -> Vec<Column> {
    let column = |(i, rank): (usize, usize)| {
        Column::number(format!("rank {rank}"), unit).dispensable(u8::try_from(i + 1).unwrap_or(u8::MAX))
    };
    ranks.enumerate().map(column).collect()
}

/// The worst rank, and max/mean.
pub(super) fn verdict(worst: Option<usize>, max_over_mean: Option<f64>) -> [String; 2] {
    [or_na(worst.map(|rank| format!("rank {rank}"))), or_na(max_over_mean.map(|ratio| format!("{ratio:.3}")))]
}

/// What the slowest rank is against the fastest: `slower 0.80x [0.78, 0.82]`.
pub(super) fn against(change: Option<&SpeedUp>) -> String {
    let Some(change) = change else { return "n/a".to_string() };
    let range = change
        .interval
        .map_or(String::new(), |i| format!(" [{}, {}]", significant(Some(i.low)), significant(Some(i.high))));
    format!("{} {}x{range}", change.verdict, significant(Some(change.speedup)))
}

/// What has to be known to read the tables.
pub fn ranks_notes(report: &RanksReport) -> Vec<String> {
    let steps = "times are medians over repetitions of each rank's plain steps; ranks are not pooled. max/mean: the slowest rank's \
                 time over the mean of all (1 is balance)";
    let timed = (!report.imbalances.is_empty()).then(|| steps.to_string());
    let clocks = clock_notes(&report.launch);
    timed.into_iter().chain(clocks).chain(shared_gpu_notes(&report.launch)).collect()
}

/// How far the clocks' offsets may be believed.
fn clock_notes(launch: &RankedLaunch) -> Vec<String> {
    let by = |method| launch.ranks.iter().any(|row| row.merged.clock.method == method);
    let mut notes = Vec::new();
    if by(OffsetMethod::WallClock) {
        notes.push(
            "clock offsets by wall clocks: the machines' wall clocks are set by each machine for itself (NTP), so how far \
             they agree is n/a; times of different machines are not to be compared closer than that"
                .to_string(),
        );
        notes.extend(launch.ranks.iter().filter_map(moved));
    }
    if by(OffsetMethod::MonotonicClock) {
        notes.push(
            "clock offsets by one monotonic clock: the ranks ran on one machine and are uncertain by what reading their \
             clocks took"
                .to_string(),
        );
    }
    if by(OffsetMethod::Unknown) {
        notes.push(
            "clock offsets n/a: a rank's file has no moment of its clock (--no-telemetry, --processes, a command without \
             telemetry, or an older kprof)"
                .to_string(),
        );
    }
    notes
}

/// The ranks that had a GPU to share.
pub(super) fn shared_gpu_notes(launch: &RankedLaunch) -> impl Iterator<Item = String> {
    launch.ranks.iter().filter(|row| !row.shares_with.is_empty()).map(|row| {
        let (rank, others) = (row.merged.rank, numbers(&row.shares_with));
        format!("rank {rank} ran on the same GPU as rank {others}: each had what the others left")
    })
}

fn moved(row: &RankRow) -> Option<String> {
    let moved = row.merged.clock.wall_moved_s?;
    let rank = row.merged.rank;
    Some(format!("rank {rank}: its wall clock moved by {} while it measured", format_si(moved, "s")))
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    #[serde(flatten)]
    report: &'a RanksReport,
    phases: &'a [PhaseReport],
}

/// The ranks and the breakdown of each as JSON: base units, `null` where unknown.
pub fn ranks_json(report: &RanksReport, phases: &[PhaseReport]) -> String {
    to_json(&Document { schema_version: RANKS_SCHEMA_VERSION, report, phases })
}

/// CSVs of single ranks as one, with the rank in its first column.
pub fn csv_by_rank(csvs: &[(usize, String)]) -> String {
    let mut out = String::new();
    for (i, (rank, csv)) in csvs.iter().enumerate() {
        for (at, line) in csv.lines().enumerate() {
            match (i, at) {
                (0, 0) => out.push_str(&format!("rank,{line}\n")),
                (_, 0) => {}
                _ => out.push_str(&format!("{rank},{line}\n")),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{RankInfo, Run};
    use crate::roofline::samples::phase_run;

    fn report() -> RanksReport {
        let rank = |rank: usize, factor: f64| {
            let mut run = Run { file: format!("m.jsonl@{rank}"), ..phase_run() };
            run.manifest.as_mut().unwrap().rank = Some(RankInfo {
                rank,
                world_size: Some(3),
                local_rank: None,
                launcher: "openmpi".into(),
                job: None,
            });
            run.steps.iter_mut().for_each(|step| step.time_s *= factor);
            run
        };
        RanksReport::new(&[rank(0, 1.0), rank(1, 1.5)]).unwrap()
    }

    #[test]
    fn what_is_not_known_is_said_to_be() {
        let report = report();
        assert_eq!(ranks_heading(&report.launch), "2 of 3 ranks by openmpi; missing: 2");
        let table = ranks_table(&report.launch).to_terminal(200);
        let second = table.lines().find(|line| line.trim_start().starts_with('1')).unwrap();
        assert!(second.contains("n/a") && !second.contains("0.0"), "{table}");
        assert!(ranks_notes(&report).iter().any(|note| note.starts_with("clock offsets n/a")));
    }

    #[test]
    fn the_imbalance_table_has_every_rank_and_names_the_slowest() {
        let table = imbalance_table(&report()).to_terminal(200);
        assert!(
            table.contains("rank 0") && table.contains("rank 1") && table.contains("max/mean"),
            "{table}"
        );
        // 1.5 / 1.25.
        assert_eq!(table.matches("1.200").count(), report().imbalances.len(), "{table}");
    }

    #[test]
    fn csvs_are_joined_under_one_header() {
        let csv = |value: &str| format!("version,time_s\nv1,{value}\n");
        assert_eq!(csv_by_rank(&[(0, csv("1")), (2, csv("3"))]), "rank,version,time_s\n0,v1,1\n2,v1,3\n");
    }
}
