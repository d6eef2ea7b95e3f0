//! Baselines: runs kept under a name, as profiles/baselines/NAME.jsonl.

use crate::exit::usage;
use anyhow::Context as _;
use kprof::compare::unlike;
use kprof::profile::{RankRuns, Record, Run, RunFile, read_run_file, text_of_run, write_atomically};
use std::path::{Path, PathBuf};

/// Where the baseline `name` is kept.
///
/// # Errors
/// When the name would be no plain file name.
pub(crate) fn path(name: &str) -> anyhow::Result<PathBuf> {
    let plain = |c: char| c.is_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(usage(format!(
            "'{name}' is no name for a baseline: letters, digits, dots, dashes and underscores are"
        )));
    }
    Ok(Path::new("profiles").join("baselines").join(format!("{name}.jsonl")))
}

/// Where the baseline `name` is, if it exists.
pub(crate) fn existing(name: &str) -> anyhow::Result<PathBuf> {
    let path = path(name)?;
    if path.is_file() {
        return Ok(path);
    }
    Err(usage(format!(
        "there is no baseline '{name}' ({}); make it: kprof phase … --save-baseline {name}",
        path.display()
    )))
}

/// Keeps the file of `run` as the baseline `name`, in the place of an earlier one; of one rank of a merged file, what is its.
pub(crate) fn save(name: &str, run: &Run) -> anyhow::Result<()> {
    check_complete(run)?;
    write(name, &text_of_run(Path::new(&run.file))?)
}

/// Keeps a merged file as the baseline `name`: every rank is held against its own.
pub(crate) fn save_ranks(name: &str, ranks: &RankRuns) -> anyhow::Result<()> {
    ranks.runs.iter().try_for_each(check_complete)?;
    write(name, &text_of_run(Path::new(&ranks.file))?)
}

fn write(name: &str, text: &str) -> anyhow::Result<()> {
    let path = path(name)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot write {}", path.display()))?;
    }
    write_atomically(&path, text.as_bytes()).context("the baseline is not saved")?;
    eprintln!("saved baseline '{name}' ({})", path.display());
    Ok(())
}

fn check_complete(run: &Run) -> anyhow::Result<()> {
    if run.complete {
        return Ok(());
    }
    anyhow::bail!("{} ended before it was complete and is no baseline", run.file)
}

/// Adds `run` to the baseline `name` as further processes.
pub(crate) fn add(name: &str, run: &Run) -> anyhow::Result<()> {
    let path = existing(name)?;
    check_complete(run)?;
    let RunFile::One(mut baseline) = read_run_file(&path)? else {
        return Err(usage(format!(
            "the baseline '{name}' is of several ranks, and processes are added to one run: save it again with kprof phase \
             --load MERGED --save-baseline {name}"
        )));
    };
    let differing = unlike(&baseline, run);
    if !differing.is_empty() || baseline.versions() != run.versions() {
        let differing: Vec<String> = differing.iter().map(ToString::to_string).collect();
        let what = if differing.is_empty() { "versions".to_string() } else { differing.join(", ") };
        return Err(usage(format!(
            "the baseline '{name}' and {} are unlike in {what}: they are no processes of one run",
            run.file
        )));
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let is_end = |line: &&str| matches!(serde_json::from_str(line), Ok(Record::End { .. }));
    // A complete run's last line is its end, and stays that.
    let (ends, others): (Vec<&str>, Vec<&str>) = text.lines().partition(is_end);
    let mut lines: Vec<String> = others.into_iter().map(str::to_string).collect();
    let records = baseline.records_of(run.clone());
    for record in records.into_iter().filter(|r| !matches!(r, Record::Finding(_))) {
        lines.push(serde_json::to_string(&record)?);
        baseline.push(record);
    }
    lines.extend(ends.into_iter().map(str::to_string));
    write_atomically(&path, (lines.join("\n") + "\n").as_bytes()).context("the baseline is not saved")?;
    eprintln!("added to baseline '{name}' ({}): {} processes", path.display(), baseline.processes.len());
    Ok(())
}
