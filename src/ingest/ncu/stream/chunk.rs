//! One chunk of a large export: read, cut into whole launches, parsed.

use super::super::launches::Message;
use super::super::locale::Votes;
use super::super::readings::Assumptions;
use super::head::Plan;
use super::rows::{Rows, Templates};
use super::shape::{Own, Shape};
use crate::ingest::Seen;
use crate::profile::KernelRecord;
use memchr::memchr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

/// How far past its end a chunk is read at first, for the launch that lies across it.
const BEYOND: u64 = 64 << 10;
/// A launch that is longer than this makes the file be read whole.
const FARTHEST: u64 = 32 << 20;

/// Why a chunk could not be parsed.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something else than a row of the table, or a row that cannot be understood by itself.
    Irregular,
    /// The file cannot be read.
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The launches that begin in one chunk.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Where the first of them begins in the file, and where the last ends.
    pub(super) start: u64,
    pub(super) end: u64,
    /// How many lines they have.
    pub(super) lines: usize,
    pub(super) launches: Vec<Launched>,
    /// What the launches have of their own, one text after the other.
    pub(super) texts: String,
    /// The numbers of launches that are like others.
    pub(super) results: Vec<f64>,
    pub(super) votes: Votes,
    pub(super) assumptions: Assumptions,
    /// The profiler's messages; lines count from 1 at the chunk's start.
    pub(super) messages: Vec<Message>,
}

/// One launch.
#[derive(Debug)]
pub(super) enum Launched {
    /// Read in full.
    Full {
        record: Box<KernelRecord>,
        /// How many of its last findings are about a line, counted from 1 at the chunk's start.
        about_lines: usize,
    },
    /// Like others but for its numbers.
    Shaped {
        shape: Arc<Shape>,
        /// Where its ID, process, grid, block, context, stream and rule are in the chunk's texts.
        own: [Range<usize>; 7],
        /// Where its numbers are in the chunk's results.
        results: Range<usize>,
    },
}

impl Chunk {
    /// Gives the records one by one, given the line before the chunk.
    pub(super) fn each(
        launches: Vec<Launched>,
        texts: &str,
        numbers: &[f64],
        before: usize,
        mut then: impl FnMut(Seen<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        for launch in launches {
            match launch {
                Launched::Full { mut record, about_lines } => {
                    place_findings(&mut record, about_lines, before);
                    then(Seen { record: &record, alike: None })?;
                }
                Launched::Shaped { shape, own, results } => {
                    let [id, process, grid, block, context, stream, rule] = own.map(|range| &texts[range]);
                    shape.with(
                        &Own { id, process, grid, block, context, stream, rule },
                        &numbers[results],
                        &mut then,
                    )?;
                }
            }
        }
        Ok(())
    }
}

/// Makes lines count from the file's beginning.
fn place_findings(record: &mut KernelRecord, about_lines: usize, before: usize) {
    let first = record.findings.len() - about_lines;
    for finding in &mut record.findings[first..] {
        if let Some((file, line)) = finding.about.rsplit_once(':') {
            let line = line.parse::<usize>().unwrap_or(0) + before;
            finding.about = format!("{file}:{line}");
        }
    }
}

/// A thread's means to parse chunks.
#[derive(Debug)]
pub(super) struct Worker<'p> {
    plan: &'p Plan<'p>,
    file: Option<File>,
    buffer: Vec<u8>,
    beyond: u64,
    templates: Templates,
}

impl<'p> Worker<'p> {
    pub(super) fn new(plan: &'p Plan<'p>) -> Self {
        Self { plan, file: None, buffer: Vec::new(), beyond: BEYOND, templates: Templates::default() }
    }

    /// Parses a chunk from where its first record seems to begin.
    pub(super) fn chunk(&mut self, index: u64) -> Result<Chunk, Stop> {
        let begin = self.plan.start + index * self.plan.chunk;
        self.parse(begin, index == 0, self.end(index))
    }

    /// Parses a chunk from a known beginning of a launch.
    pub(super) fn exactly(&mut self, start: u64, index: u64) -> Result<Chunk, Stop> {
        let end = self.end(index);
        // The launch before may have reached over the whole chunk.
        if start >= end {
            return Ok(Chunk { start, end: start, ..Chunk::default() });
        }
        self.parse(start, true, end)
    }

    fn end(&self, index: u64) -> u64 {
        (self.plan.start + (index + 1).saturating_mul(self.plan.chunk)).min(self.plan.size)
    }

    fn parse(&mut self, begin: u64, exact: bool, end: u64) -> Result<Chunk, Stop> {
        // The line break before a guessed beginning is looked for, so it has to be there.
        let from = if exact { begin } else { begin - 1 };
        while self.beyond <= FARTHEST {
            let to = (end + self.beyond).min(self.plan.size);
            self.fill(from, to)?;
            let whole = to == self.plan.size;
            let first = if exact { Some(0) } else { first_record(&self.buffer) };
            if let Some(first) = first {
                let text = valid(&self.buffer, first, whole)?;
                let rows = Rows::new(self.plan, &mut self.templates, text, whole);
                if let Some(chunk) = rows.parse(from + first as u64, exact, end)? {
                    return Ok(chunk);
                }
            } else if whole {
                return Ok(Chunk { start: self.plan.size, end: self.plan.size, ..Chunk::default() });
            }
            self.beyond *= 4;
        }
        Err(Stop::Irregular)
    }

    /// Reads a part of the file.
    fn fill(&mut self, from: u64, to: u64) -> Result<(), Stop> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(self.plan.path)?),
        };
        file.seek(SeekFrom::Start(from))?;
        let length = usize::try_from(to - from).map_err(|_| Stop::Irregular)?;
        self.buffer.resize(length, 0);
        // A file that became shorter meanwhile.
        file.read_exact(&mut self.buffer).map_err(Stop::Io)
    }
}

/// The first line after the first line break that begins as a row does: with a number, mostly in quotes.
fn first_record(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr(b'\n', &bytes[at..])? + 1;
        match &bytes[at..] {
            [b'"', b'0'..=b'9', ..] | [b'0'..=b'9', ..] => return Some(at),
            _ => {}
        }
    }
}

/// The text from `first` on, without a character that is cut off by the end of what was read.
fn valid(bytes: &[u8], first: usize, whole: bool) -> Result<&str, Stop> {
    let bytes = &bytes[first..];
    match simdutf8::compat::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) if error.error_len().is_none() && !whole => {
            simdutf8::compat::from_utf8(&bytes[..error.valid_up_to()]).map_err(|_| Stop::Irregular)
        }
        Err(_) => Err(Stop::Irregular),
    }
}
