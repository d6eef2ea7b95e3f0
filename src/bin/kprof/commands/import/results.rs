//! `kprof import results.jsonl`: the nanoGPT benchmark's results, a run per set of settings.

use super::manifest;
use crate::args::ImportArgs;
use crate::exit::usage;
use crate::output;
use anyhow::Context as _;
use kprof::ingest::{ResultsGroup, is_results, read_results};
use kprof::profile::{DeviceInfo, Manifest, Record, write_atomically};
use kprof::render;
use std::path::{Path, PathBuf};

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<()> {
    if let Some(other) = args.files.iter().find(|file| !is_results(file)) {
        return Err(usage(format!(
            "{}: results of benchmarks and traces are imported apart",
            other.display()
        )));
    }
    let (mut groups, mut skipped) = (Vec::new(), Vec::new());
    for file in &args.files {
        let results = read_results(file)?;
        groups.extend(results.groups);
        skipped.extend(results.skipped);
    }
    let first = args.output.clone().unwrap_or_else(|| super::beside(&args.files[0]));
    let places: Vec<PathBuf> = (0..groups.len()).map(|at| numbered(&first, &groups, at)).collect();
    if let Some(place) = places.iter().find(|p| args.files.contains(p)) {
        return Err(usage(format!("{} is both read and written", place.display())));
    }
    output::check_writable(places.iter().map(PathBuf::as_path))?;
    for (place, group) in places.iter().zip(&groups) {
        let findings = skipped.iter().cloned().map(Record::Finding);
        let ends = [Record::End { wall_s: 0.0 }];
        let begins = [Record::Manifest(Box::new(of_group(group))), Record::Foreign(group.foreign.clone())];
        let all = begins.into_iter().chain(group.records.iter().cloned()).chain(findings).chain(ends);
        let lines = all.map(|record| serde_json::to_string(&record)).collect::<Result<Vec<_>, _>>();
        let text = lines.context("a record is JSON")?.join("\n") + "\n";
        write_atomically(place, text.as_bytes())?;
    }
    if !skipped.is_empty() {
        eprint!("{}", render::findings(&skipped, false, output::stderr_width()));
    }
    for (place, group) in places.iter().zip(&groups) {
        eprintln!("wrote {}: {}, {} results", place.display(), group.name, group.records.len());
    }
    Ok(())
}

/// The first run has the name asked for; further ones have their settings in theirs.
fn numbered(first: &Path, groups: &[ResultsGroup], at: usize) -> PathBuf {
    if at == 0 {
        return first.to_path_buf();
    }
    let plain = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = groups[at].name.chars().map(plain).collect();
    let same = groups[..at].iter().filter(|g| g.name == groups[at].name).count();
    let number = if same > 0 { format!("-{}", same + 1) } else { String::new() };
    let stem = first.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let stem =
        [".run.jsonl", ".jsonl"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(&stem).to_string();
    first.with_file_name(format!("{stem}.{name}{number}.run.jsonl"))
}

fn of_group(group: &ResultsGroup) -> Manifest {
    let name = group.device.clone().unwrap_or_else(|| "n/a".to_string());
    let device = DeviceInfo { kind: "import".to_string(), name, ..DeviceInfo::default() };
    Manifest { config: group.config.clone(), device, ..manifest() }
}
