//! Runs as they are named on the command line, and which of them are held against each other: those of the same rank.

use crate::exit::usage;
use kprof::compare::Named;
use kprof::profile::{Run, RunFile, read_run_file};
use std::path::Path;

/// A run as named: all of it, or one version.
pub(super) struct Side {
    pub(super) run: Run,
    version: Option<String>,
}

impl Side {
    /// A run that holds perplexities and no times: it says how good versions are, and is none of those compared.
    pub(super) fn is_scored_only(&self) -> bool {
        self.run.steps.is_empty() && !self.run.qualities.is_empty() && self.version.is_none()
    }

    /// Checks that it has times, of the version named.
    pub(super) fn named(self) -> anyhow::Result<Named> {
        Named::new(self.run, self.version).map_err(usage)
    }

    /// The rank that measured it.
    pub(super) fn rank(&self) -> Option<usize> {
        self.run.rank().map(|rank| rank.rank)
    }
}

/// The runs of a file as named: one, or those of its ranks.
pub(super) fn sides(text: &str) -> anyhow::Result<Vec<Side>> {
    let (file, version) = named_version(text);
    let runs = match read_run_file(Path::new(file))? {
        RunFile::One(run) => vec![*run],
        RunFile::Ranks(ranks) => ranks.runs,
    };
    Ok(runs.into_iter().map(|run| Side { run, version: version.clone() }).collect())
}

/// `run.jsonl` or `run.jsonl:v1`; a file of the whole name comes first, for names with a colon in them.
fn named_version(text: &str) -> (&str, Option<String>) {
    match text.rsplit_once(':') {
        Some((file, version)) if !Path::new(text).exists() && !version.contains(['/', '\\']) => {
            (file, Some(version.to_string()))
        }
        _ => (text, None),
    }
}

/// The files' runs in groups to compare: each rank of one with the same rank of the others, never with another.
///
/// # Errors
/// When files have not the same ranks, or a run has no times.
pub(super) fn by_rank(files: Vec<Vec<Side>>) -> anyhow::Result<Vec<Vec<Named>>> {
    let ranks: Vec<Option<usize>> = files[0].iter().map(Side::rank).collect();
    // Of files of one run, what differs is said with all else that does.
    if files.iter().any(|file| file.len() > 1) {
        files[1..].iter().try_for_each(|other| same_ranks(&files[0], other))?;
    }
    let mut groups: Vec<Vec<Named>> = ranks.iter().map(|_| Vec::new()).collect();
    for file in files {
        for (group, side) in groups.iter_mut().zip(file) {
            group.push(side.named()?);
        }
    }
    Ok(groups)
}

fn same_ranks(first: &[Side], other: &[Side]) -> anyhow::Result<()> {
    let name = |file: &[Side]| {
        let name = file[0].run.file.as_str();
        name.rsplit_once('@').filter(|_| file.len() > 1).map_or(name, |(file, _)| file).to_string()
    };
    let list = |file: &[Side]| {
        let one = |side: &Side| side.rank().map_or("none".to_string(), |rank| rank.to_string());
        file.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    if first.iter().map(Side::rank).eq(other.iter().map(Side::rank)) {
        return Ok(());
    }
    Err(usage(format!(
        "{} has the ranks {} and {} the ranks {}: rank is compared with rank, so both need the same; one is named FILE@RANK",
        name(first),
        list(first),
        name(other),
        list(other)
    )))
}
