//! The benchmarks over lengths, contexts and batches: one file each, and what they share.

pub(crate) mod capacity;
pub(crate) mod crossover;
pub(crate) mod latency;
pub(crate) mod memory;
pub(crate) mod run;

use crate::args::{BenchArgs, Counts, LogArgs, TableExportArgs};
use crate::exit::{Interrupted, usage};
use crate::log;
use crate::model::{Chosen, choose};
use crate::output::{self, Export};
use crate::versions::named;
use kprof::llm::{ModelSpec, Version, expand_names};
use kprof::profile::Run;
use std::path::PathBuf;

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

/// The ways a report is written.
pub(super) struct Written<'a> {
    pub(super) table: &'a dyn Fn() -> String,
    pub(super) json: &'a dyn Fn() -> String,
    pub(super) csv: &'a dyn Fn() -> String,
    pub(super) markdown: &'a dyn Fn() -> String,
}

/// Where a report goes besides the terminal.
pub(super) struct Out<'a> {
    pub(super) json: bool,
    pub(super) tables: &'a TableExportArgs,
    pub(super) log: &'a LogArgs,
}

impl<'a> Out<'a> {
    pub(super) fn of(args: &'a BenchArgs) -> Self {
        Self { json: args.json, tables: &args.tables, log: &args.log }
    }

    /// Where the JSON goes.
    fn json(&self) -> Option<PathBuf> {
        if self.json { Some(PathBuf::from("-")) } else { self.tables.export_json.clone() }
    }

    /// Says what could not be written, before anything is measured; a log that is to be cleared is.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let json = self.json();
        let others = [&json, &self.tables.export_csv, &self.tables.export_markdown, &self.log.export_jsonl];
        output::check_writable(others.into_iter().filter_map(|p| p.as_deref()))?;
        log::check(self.log)
    }
}

/// Prints the table, unless an export takes stdout, and exports.
pub(super) fn write(out: &Out<'_>, run: &Run, fresh: bool, written: &Written<'_>) -> anyhow::Result<()> {
    let json = out.json();
    let bytes = |text: String| Ok(text.into_bytes());
    let exports = [
        Export { path: &json, make: &|| bytes((written.json)()) },
        Export { path: &out.tables.export_csv, make: &|| bytes((written.csv)()) },
        Export { path: &out.tables.export_markdown, make: &|| bytes((written.markdown)()) },
        Export { path: &out.log.export_jsonl, make: &|| log::jsonl(run) },
    ];
    if !output::takes_stdout(&exports) {
        output::print(&(written.table)())?;
    }
    if fresh {
        eprintln!("wrote {}", run.file);
        log::append(out.log, run)?;
    }
    output::write_exports(&exports)
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

/// What was interrupted has its own exit code, after its report.
pub(super) fn complete(run: &Run) -> anyhow::Result<()> {
    if run.complete {
        return Ok(());
    }
    Err(Interrupted(format!("{} holds what was measured until then", run.file)).into())
}

/// Parts that say something, an empty line between them.
pub(super) fn paragraphs(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

/// Each on a line of its own, after `bullet`.
pub(super) fn lines(all: &[String], bullet: &str) -> String {
    all.iter().map(|line| format!("{bullet}{line}\n")).collect()
}
