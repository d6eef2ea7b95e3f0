//! The benchmarks over lengths, contexts and batches: one file each, and what they share.

pub(crate) mod capacity;
pub(crate) mod crossover;
mod drive;
pub(crate) mod latency;
pub(crate) mod memory;
pub(crate) mod perplexity;
mod ranks;
pub(crate) mod run;

use crate::args::{BenchArgs, Counts};
use crate::exit::usage;
use crate::model::{Chosen, choose};
use crate::versions::named;
use kprof::llm::{ModelSpec, Version, expand_names};

/// The lengths that are measured where none are named.
pub(super) const LENGTHS: [usize; 4] = [16, 32, 64, 128];

/// The versions asked for and the model; every mistake in their flags is found here.
pub(super) fn chosen(args: &BenchArgs) -> anyhow::Result<(Chosen, Vec<Version>)> {
    let names = expand_names(&args.versions).map_err(usage)?;
    let versions = named(&args.versions_file, &names)?;
    positive(&[("--batch", args.batch)])?;
    let chosen = choose(&args.model)?;
    versions.iter().try_for_each(|version| version.check_model(&chosen.spec)).map_err(usage)?;
    Ok((chosen, versions))
}

/// Says which of the counts is 0.
pub(super) fn positive(counts: &[(&str, usize)]) -> anyhow::Result<()> {
    match counts.iter().find(|(_, value)| *value == 0) {
        Some((flag, _)) => Err(usage(format!("{flag} is at least 1"))),
        None => Ok(()),
    }
}

/// Says that the model has no positions for what `flags` ask for.
pub(super) fn check_positions(needed: usize, spec: &ModelSpec, flags: &str) -> anyhow::Result<()> {
    let limit = spec.max_position_embeddings;
    if needed <= limit {
        return Ok(());
    }
    Err(usage(format!("{flags} need {needed} positions; {} has {limit}", spec.name)))
}

/// The lengths of `fitting` that are asked for: those given, or of the defaults what the model has positions for.
pub(super) fn lengths(
    given: Option<&Counts>,
    defaults: &[usize],
    fits: impl Fn(usize) -> bool,
) -> Vec<usize> {
    match given {
        Some(given) => given.0.clone(),
        None => {
            let fitting: Vec<usize> = defaults.iter().copied().filter(|n| fits(*n)).collect();
            // Where nothing fits, the error is the model's.
            if fitting.is_empty() { defaults[..1].to_vec() } else { fitting }
        }
    }
}

/// Parts that say something, an empty line between them.
pub(super) fn paragraphs(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

/// Each on a line of its own, after `bullet`.
pub(super) fn lines(all: &[String], bullet: &str) -> String {
    all.iter().map(|line| format!("{bullet}{line}\n")).collect()
}
