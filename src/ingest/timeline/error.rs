//! What can be wrong with a timeline trace, each with what to do instead.

use std::io;
use std::path::PathBuf;

/// Why a file could not be read as a timeline trace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The compressed data are damaged or cut short.
    #[error(
        "{file}: the gzip data are damaged or cut short after {bytes} bytes of text: copy the file again, or let the \
         profiler finish writing it"
    )]
    Gzip {
        /// The file.
        file: String,
        /// How much could be unpacked.
        bytes: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The JSON ends in the middle.
    #[error(
        "{file}: the JSON ends after {bytes} bytes in the middle of {inside}: copy the file again, or let the \
         profiler finish writing it"
    )]
    Truncated {
        /// The file.
        file: String,
        /// Where it ends.
        bytes: u64,
        /// What was being read.
        inside: &'static str,
    },
    /// What stands there is no JSON, or an event without what every event has.
    #[error("{file}: byte {at}: {why}")]
    Json {
        /// The file.
        file: String,
        /// Where.
        at: u64,
        /// What is wrong.
        why: String,
    },
    /// JSON, but no trace.
    #[error(
        "{file}: this JSON is no trace: it has {found}, and no traceEvents; kprof reads what the PyTorch profiler \
         writes (export_chrome_trace, tensorboard_trace_handler), and the traces of vLLM and others in that form"
    )]
    NoTrace {
        /// The file.
        file: String,
        /// What it has.
        found: String,
    },
    /// A sound trace in which nothing ran on a GPU.
    #[error("{file}: no GPU kernel in this trace: it has {found}; {remedy}")]
    NoKernels {
        /// The file.
        file: String,
        /// What it has.
        found: String,
        /// How to record some.
        remedy: String,
    },
    /// The database is damaged or cut short.
    #[error(
        "{file}: the SQLite file is damaged or cut short: {why}; export it again with `nsys export --type sqlite \
         report.nsys-rep`"
    )]
    Sqlite {
        /// The file.
        file: String,
        /// What is wrong, and where.
        why: String,
    },
    /// The database needs something first.
    #[error("{file}: this SQLite file cannot be read as it is: {why}")]
    OpenDatabase {
        /// The file.
        file: String,
        /// What it needs.
        why: String,
    },
    /// The database is sound, and of another schema than any that is known.
    #[error("{file}: {why}; its tables are: {tables}")]
    Schema {
        /// The file.
        file: String,
        /// What is missing.
        why: String,
        /// The tables there are.
        tables: String,
    },
    /// A table of text with a cell that makes no sense.
    #[error("{file}:{line}: {why}")]
    Csv {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// Another program's file that has to be exported first.
    #[error("{file}: {what}: {remedy}")]
    Unsupported {
        /// The file.
        file: String,
        /// What it is.
        what: &'static str,
        /// What to run.
        remedy: &'static str,
    },
}
