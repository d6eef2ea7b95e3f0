//! `kprof history`.

use crate::args::HistoryArgs;
use crate::exit::usage;
use crate::output::{self, Export};
use kprof::compare::{Aspect, Series, history, unlike};
use kprof::profile::{Run, RunFile, read_run_file};
use kprof::render;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) fn run(args: &HistoryArgs) -> anyhow::Result<()> {
    output::check_writable(args.export.paths())?;
    let (mut all, mut notes): (Vec<Series>, Vec<String>) = (Vec::new(), Vec::new());
    for runs in by_rank(read(&args.runs)?, &args.allow) {
        let (series, said) = of_one_rank(runs, args);
        all.extend(series);
        notes.extend(said);
    }
    let notes: String = notes.iter().map(|note| format!("left out: {note}\n")).collect();
    if all.is_empty() {
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

/// The series of the runs that can be compared with the latest, and which are left out, and why.
fn of_one_rank(mut runs: Vec<Run>, args: &HistoryArgs) -> (Vec<Series>, Vec<String>) {
    let started = |run: &Run| run.manifest.as_ref().map(|m| m.started.clone());
    runs.sort_by_key(started);
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
    let Some(latest) = unique.pop() else { return (Vec::new(), left_out) };
    // Only what can be compared with the latest run is its history.
    let refused = |run: &Run| unlike(run, &latest).iter().any(|u| !args.allow.contains(&u.aspect));
    let (unlikes, mut kept): (Vec<Run>, Vec<Run>) = unique.into_iter().partition(refused);
    left_out.extend(unlikes.iter().map(|run| {
        let differs: Vec<String> = unlike(run, &latest).iter().map(ToString::to_string).collect();
        format!("{}, unlike {} in {}", run.file, latest.file, differs.join(", "))
    }));
    let last = latest.file.clone();
    kept.push(latest);
    let series = history(&kept, args.threshold.0);
    if series.is_empty() {
        left_out.push(format!("{last}, without a run before it that is like it and has a version of it"));
    }
    (series, left_out)
}
