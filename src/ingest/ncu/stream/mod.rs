//! Large exports, launch by launch and in parallel, in memory that does not grow with the file.
//!
//! The file is cut into chunks of equal size, which threads read and parse side by side. Where the first record of
//! a chunk begins is guessed (a line break, then a number), and the guess is proved: the chunk before it, parsed
//! from a proved beginning, ends exactly there. Where it does not, the chunk is parsed again from where it must
//! begin. A chunk has the launches that begin in it, whole; its records go to the caller in the order of the file,
//! so that sums never vary with the number of threads.
//!
//! This is the same reading as [`super::read_bytes`], for files of the usual shape: one table, rows in the order of
//! launches, in UTF-8. Whatever else occurs makes the whole file be read the other way.

mod chunk;
mod crew;
mod head;
mod program;
mod rows;
mod shape;

use super::launches::Message;
use super::locale::{Locale, Votes};
use super::readings::Assumptions;
use super::{NcuError, ValueCounts, file_findings};
use crate::ingest::Seen;
use crate::profile::{KernelRecord, Run};
use chunk::{Chunk, Stop};
use head::Plan;
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// Files below this are read whole: that takes less than threads take to start.
const WHOLE_BELOW: u64 = 4 << 20;
/// What a thread reads at a time: it should stay in a core's cache, and be large against a launch (tens of KiB).
const CHUNK: u64 = 1 << 20;

/// How to read: the tests try other sizes than those that are fast.
#[derive(Clone, Copy, Debug)]
struct Tuning {
    whole_below: u64,
    chunk: u64,
    threads: usize,
}

/// Reads an export launch by launch: `push` takes each record, in the order of the file, into what `new` makes.
///
/// The run has everything but the launches. `new` is called again when the reading starts over, because the first
/// part of the file suggested another locale than all of it, or because the file is not of the usual shape.
///
/// # Errors
/// As [`super::read`].
pub fn fold<A: Send>(
    path: &Path,
    new: impl FnMut() -> A,
    push: impl FnMut(&mut A, Seen<'_>) + Send,
) -> Result<(Run, A), NcuError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    fold_with(path, Tuning { whole_below: WHOLE_BELOW, chunk: CHUNK, threads }, new, push)
}

fn fold_with<A: Send>(
    path: &Path,
    tuning: Tuning,
    mut new: impl FnMut() -> A,
    mut push: impl FnMut(&mut A, Seen<'_>) + Send,
) -> Result<(Run, A), NcuError> {
    let failed = |source| NcuError::Read { path: path.to_path_buf(), source };
    if let Some(read) = streamed(path, tuning, &mut new, &mut push).map_err(failed)? {
        return Ok(read);
    }
    let mut run = super::read(path)?;
    let mut into = new();
    run.devices = run.device_names().into_iter().map(str::to_string).collect();
    for kernel in std::mem::take(&mut run.kernels) {
        push(&mut into, Seen { record: &kernel, alike: None });
    }
    Ok((run, into))
}

/// Reads in chunks; `None` for a file that must be read whole.
fn streamed<A: Send>(
    path: &Path,
    tuning: Tuning,
    new: &mut impl FnMut() -> A,
    push: &mut (impl FnMut(&mut A, Seen<'_>) + Send),
) -> io::Result<Option<(Run, A)>> {
    let size = std::fs::metadata(path)?.len();
    if size < tuning.whole_below {
        return Ok(None);
    }
    let name = path.display().to_string();
    let head = head::read(path)?;
    let Some(mut plan) = head::plan(path, &name, &head, size) else { return Ok(None) };
    plan.chunk = tuning.chunk;
    let mut decimal = plan.locale.decimal;
    // The first part of a file tells its locale nearly always; all of it decides.
    for _ in 0..2 {
        plan.locale = Locale { decimal, assumed: false };
        let mut merged = Merged::new(&plan, new());
        let parsed = crew::parse(&plan, tuning.threads, plan.start, |chunk| merged.add(chunk, push));
        match parsed {
            Ok(()) if merged.launches == 0 => return Ok(None),
            Ok(()) => {}
            Err(Stop::Irregular) => return Ok(None),
            Err(Stop::Io(error)) => return Err(error),
        }
        decimal = merged.votes.decide().decimal;
        if decimal == plan.locale.decimal {
            return Ok(Some(merged.finish(&name)));
        }
    }
    Ok(None)
}

/// What the chunks so far amount to.
struct Merged<A> {
    into: A,
    votes: Votes,
    assumptions: Assumptions,
    counts: ValueCounts,
    messages: Vec<Message>,
    launches: usize,
    devices: Vec<String>,
    /// On which line the next chunk begins.
    line: usize,
    order: Order,
}

impl<A> Merged<A> {
    fn new(plan: &Plan<'_>, into: A) -> Self {
        Self {
            into,
            votes: Votes::default(),
            assumptions: Assumptions::default(),
            counts: ValueCounts::default(),
            messages: plan.messages.clone(),
            launches: 0,
            devices: Vec::new(),
            line: plan.line,
            order: Order::default(),
        }
    }

    fn add(&mut self, chunk: Chunk, push: &mut impl FnMut(&mut A, Seen<'_>)) -> Result<(), Stop> {
        self.votes.merge(&chunk.votes);
        self.assumptions.merge(chunk.assumptions);
        let line = self.line - 1;
        self.messages.extend(chunk.messages.into_iter().map(|m| Message { line: line + m.line, ..m }));
        Chunk::each(chunk.launches, &chunk.texts, &chunk.results, line, |seen| {
            let record = seen.record;
            self.order.check(record)?;
            self.counts.add(record);
            self.launches += 1;
            if let Some(name) = record.device.as_ref().filter(|name| !self.devices.contains(name)) {
                self.devices.push(name.clone());
            }
            push(&mut self.into, seen);
            Ok(())
        })?;
        self.line += chunk.lines;
        Ok(())
    }

    fn finish(self, name: &str) -> (Run, A) {
        let mut findings = file_findings(name, &self.messages, &[], self.votes.decide());
        findings.extend(self.assumptions.findings(name));
        findings.extend(self.counts.findings(name));
        let (file, devices) = (name.to_string(), self.devices);
        (Run { file, findings, devices, complete: true, ..Run::default() }, self.into)
    }
}

/// IDs that grow within each process: then no launch comes back after others, and none need be remembered.
#[derive(Debug, Default)]
struct Order {
    last: HashMap<Option<String>, u64>,
    /// The process of the last launch with its last ID, which `last` need not have yet.
    current: Option<(Option<String>, u64)>,
}

impl Order {
    fn check(&mut self, kernel: &KernelRecord) -> Result<(), Stop> {
        let id: u64 = kernel.launch.as_deref().and_then(|id| id.parse().ok()).ok_or(Stop::Irregular)?;
        if let Some((process, last)) = &mut self.current
            && *process == kernel.process
        {
            let grows = *last < id;
            *last = id;
            return if grows { Ok(()) } else { Err(Stop::Irregular) };
        }
        if let Some((process, last)) = self.current.take() {
            self.last.insert(process, last);
        }
        let grows = self.last.get(&kernel.process).is_none_or(|last| *last < id);
        self.current = Some((kernel.process.clone(), id));
        if grows { Ok(()) } else { Err(Stop::Irregular) }
    }
}

#[cfg(test)]
mod tests;
