//! What commands that draw have in common: reading runs, and finding figures by name.

use crate::device;
use crate::exit::usage;
use anyhow::Context as _;
use kprof::hw;
use kprof::ingest::read_any;
use kprof::profile::{Run, names_of_runs, place_of};
use kprof::render::plot::{FIGURES, FigureInput, FigureKind};
use kprof::roofline::Ceilings;
use std::path::PathBuf;

/// Reads runs and exports, each called by its label where there are labels.
pub(super) fn read(
    files: &[PathBuf],
    labels: &[String],
    device: Option<&str>,
) -> anyhow::Result<FigureInput> {
    if !labels.is_empty() && labels.len() != files.len() {
        let (labels, files) = (labels.len(), files.len());
        return Err(usage(format!("--label gives {labels} names to {files} files; give one to each")));
    }
    let (files, labels) = expanded(files, labels);
    let chosen = device::chosen(device, None)?.map(|spec| spec.ceilings).unwrap_or_default();
    let mut runs = Vec::new();
    for file in &files {
        let run = read_any(file)?;
        let nothing = run.steps.is_empty() && run.kernels.is_empty() && is_bare(&run);
        anyhow::ensure!(!nothing, "{}: it has no record of a measurement", file.display());
        runs.push(run);
    }
    let mut ceilings = Ceilings { chosen, by_device: Vec::new() };
    for name in runs.iter().flat_map(Run::device_names) {
        if !ceilings.by_device.iter().any(|(known, _)| known == name) {
            let of_device = hw::find_device(name).map(|spec| spec.ceilings.clone());
            ceilings.by_device.push((name.to_string(), of_device.unwrap_or_default()));
        }
    }
    Ok(FigureInput::new(runs, &labels, ceilings))
}

/// The runs that the files hold, the ranks of a merged file each as `FILE@RANK`, and what they are called.
pub(super) fn expanded(files: &[PathBuf], labels: &[String]) -> (Vec<PathBuf>, Vec<String>) {
    let called = if labels.is_empty() { apart(files) } else { labels.to_vec() };
    let (mut runs, mut names) = (Vec::new(), Vec::new());
    for (file, label) in files.iter().zip(called) {
        for run in names_of_runs(file) {
            // One of a file that was named by its rank has it in its label already.
            let rank = place_of(&run).1.filter(|_| run != *file);
            names.push(rank.map_or(label.clone(), |rank| format!("{label} rank {rank}")));
            runs.push(run);
        }
    }
    (runs, names)
}

/// Whether a run holds a manifest at most.
fn is_bare(run: &Run) -> bool {
    let lengths = run.latencies.is_empty() && run.memory.is_empty() && run.capacities.is_empty();
    let others = run.decode_points.is_empty() && run.qualities.is_empty();
    lengths && others && run.caches.is_empty() && run.usage.is_empty() && run.telemetry.is_empty()
}

/// File names; of files with the same name, with the folder that tells them apart.
fn apart(files: &[PathBuf]) -> Vec<String> {
    let name =
        |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let label = |path: &PathBuf| {
        let alike = files.iter().filter(|other| name(other) == name(path)).count() > 1;
        let folder = path.parent().and_then(|p| p.file_name()).filter(|_| alike);
        folder.map_or(name(path), |f| format!("{}/{}", f.to_string_lossy(), name(path)))
    };
    files.iter().map(label).collect()
}

/// The figures of these names; `all` is every one.
pub(super) fn named(names: &[String]) -> anyhow::Result<Vec<&'static FigureKind>> {
    let mut found: Vec<&FigureKind> = Vec::new();
    for name in names {
        let of_name = || FIGURES.iter().filter(|f| name == "all" || f.name == name.as_str());
        if of_name().next().is_none() {
            return Err(unknown(name));
        }
        found.extend(of_name());
    }
    found.dedup_by_key(|f| f.name);
    Ok(found)
}

fn unknown(name: &str) -> anyhow::Error {
    let mut known: Vec<&str> = FIGURES.iter().map(|f| f.name).collect();
    known.sort_by_key(|f| strsim::damerau_levenshtein(f, name));
    let nearest = known[0];
    usage(format!("unknown figure '{name}', did you mean '{nearest}'? there are: all, {}", known.join(", ")))
}

/// The version to compare with, which a run must have.
pub(super) fn against(name: Option<&str>, input: &FigureInput) -> anyhow::Result<Option<String>> {
    let Some(name) = name else { return Ok(None) };
    let known: Vec<&str> = input.runs.iter().flat_map(|run| run.versions()).collect();
    if known.contains(&name) {
        return Ok(Some(name.to_string()));
    }
    Err(usage(format!("--against {name}: no run has this version; there are: {}", known.join(", "))))
}

/// Fails where figures could not be written into `folder`.
pub(super) fn check_folder(folder: &std::path::Path) -> anyhow::Result<()> {
    anyhow::ensure!(!folder.is_file(), "cannot write into {}: it is a file", folder.display());
    std::fs::create_dir_all(folder)
        .and_then(|()| tempfile::Builder::new().prefix(".kprof-").tempfile_in(folder))
        .map(drop)
        .with_context(|| format!("cannot write into {}", folder.display()))
}
