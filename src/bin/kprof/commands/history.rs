//! `kprof history`.

use crate::args::HistoryArgs;
use crate::exit::usage;
use crate::output::{self, Export};
use kprof::compare::{Aspect, Launch, history, slowest_history, unlike};
use kprof::profile::{Run, RunFile, read_run_file};
use kprof::render::{self, History};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) fn run(args: &HistoryArgs) -> anyhow::Result<()> {
    output::check_writable(args.export.paths())?;
    let (mut all, mut kept, mut notes) = (History::default(), Vec::new(), Vec::new());
    for runs in by_rank(read(&args.runs)?, &args.allow) {
        let (runs, said) = of_one_rank(runs, args);
        notes.extend(said);
        let series = history(&runs, args.threshold.0);
        if let Some(last) = runs.last().filter(|_| series.is_empty()) {
            let lacks = "without a run before it that is like it and has a version of it";
            notes.push(format!("{}, {lacks}", last.file));
        }
        all.series.extend(series);
        kept.extend(runs);
    }
    let (launches, said) = launches(&kept);
    notes.extend(said);
    all.slowest = slowest_history(&launches, args.threshold.0);
    let notes: String = notes.iter().map(|note| format!("left out: {note}\n")).collect();
    if all.series.is_empty() {
        return Err(usage(format!("{notes}a history needs two runs that have a version in common")));
    }
    let exports = [
        Export { path: &args.export.export_json, make: &|| Ok(render::history_json(&all).into_bytes()) },
        Export { path: &args.export.export_csv, make: &|| Ok(render::history_csv(&all).into_bytes()) },
        Export {
            path: &args.export.export_markdown,
            make: &|| Ok(render::history_table(&all).to_markdown().into_bytes()),
        },
    ];
    if !output::takes_stdout(&exports) {
        let table = render::history_table(&all).to_terminal(output::width());
        output::print(&format!("{table}\n{}{notes}", render::history_lines(&all)))?;
    }
    output::write_exports(&exports)
}

/// The runs of all files, those of a merged file rank by rank.
fn read(files: &[PathBuf]) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for file in files {
        match read_run_file(file)? {
            RunFile::One(run) => runs.push(*run),
            RunFile::Ranks(ranks) => runs.extend(ranks.runs),
        }
    }
    Ok(runs)
}

/// The runs of each rank of several by themselves, and first those of none: a history is of one of them. With `--allow
/// rank` it is of all.
fn by_rank(runs: Vec<Run>, allowed: &[Aspect]) -> impl Iterator<Item = Vec<Run>> {
    let mut groups: BTreeMap<Option<usize>, Vec<Run>> = BTreeMap::new();
    for run in runs {
        let rank = run.rank_of_several().filter(|_| !allowed.contains(&Aspect::Rank));
        groups.entry(rank).or_default().push(run);
    }
    groups.into_values()
}

/// The runs that can be compared with the latest, in the order of time, and which are left out, and why.
fn of_one_rank(mut runs: Vec<Run>, args: &HistoryArgs) -> (Vec<Run>, Vec<String>) {
    runs.sort_by_key(|run| started(run).map(ToString::to_string));
    let mut left_out = Vec::new();
    // A rank's own file often lies beside the merged one.
    let is_same = |a: &Run, b: &Run| a.rank().is_some() && a.manifest == b.manifest && a.steps == b.steps;
    let mut unique: Vec<Run> = Vec::new();
    for run in runs {
        match unique.iter().find(|other| is_same(other, &run)) {
            Some(other) => left_out.push(format!("{}, the same run as {}", run.file, other.file)),
            None => unique.push(run),
        }
    }
    let Some(latest) = unique.pop() else { return (unique, left_out) };
    // Only what can be compared with the latest run is its history.
    let refused = |run: &Run| unlike(run, &latest).iter().any(|u| !args.allow.contains(&u.aspect));
    let (unlikes, mut kept): (Vec<Run>, Vec<Run>) = unique.into_iter().partition(refused);
    left_out.extend(unlikes.iter().map(|run| {
        let differs: Vec<String> = unlike(run, &latest).iter().map(ToString::to_string).collect();
        format!("{}, unlike {} in {}", run.file, latest.file, differs.join(", "))
    }));
    kept.push(latest);
    (kept, left_out)
}

fn started(run: &Run) -> Option<&str> {
    run.manifest.as_ref().map(|m| m.started.as_str())
}

/// The launches of several ranks among the runs, in the order of time, and which are left out because a rank is missing, which
/// may be the slowest, or for having other ranks than the latest.
fn launches(runs: &[Run]) -> (Vec<Launch<'_>>, Vec<String>) {
    let rank = |run: &Run| run.rank().map(|info| info.rank);
    let mut by_file: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        let merged = rank(run).and_then(|rank| run.file.strip_suffix(&format!("@{rank}")));
        if let Some(file) = merged {
            by_file.entry(file).or_default().push(run);
        }
    }
    let mut all: Vec<Launch<'_>> = Vec::new();
    for (file, mut runs) in by_file {
        runs.sort_by_key(|run| rank(run));
        all.push(Launch { file, started: runs.iter().filter_map(|run| started(run)).min(), runs });
    }
    all.sort_by_key(|launch| launch.started);
    let ranks = |launch: &Launch<'_>| launch.runs.iter().map(|run| rank(run)).collect::<Vec<_>>();
    let Some(latest) = all.iter().rfind(|launch| is_whole(launch)).map(ranks) else {
        return (Vec::new(), Vec::new());
    };
    let (all, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|launch| is_whole(launch) && ranks(launch) == latest);
    let note = |launch: &Launch<'_>| {
        let why = if is_whole(launch) { "has other ranks than the latest" } else { "lacks a rank" };
        format!("{} from the history of the slowest rank: it {why}", launch.file)
    };
    let notes = others.iter().map(note).collect();
    (all, notes)
}

/// Whether a launch has several ranks, and all of them.
fn is_whole(launch: &Launch<'_>) -> bool {
    let size = launch.runs.iter().find_map(|run| run.rank()?.world_size);
    launch.runs.len() > 1 && size.is_none_or(|size| size == launch.runs.len())
}
