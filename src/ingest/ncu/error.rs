//! What can be wrong with a file, each with what it is, why, and what to run instead.

use std::io;
use std::path::PathBuf;

/// How to make an export that has everything.
const EXPORT: &str = "profile with `ncu -o report ...` and read report.ncu-rep itself, or with \
     `ncu --csv --page raw --print-units base ...` and read what it prints";

/// Why a file could not be read as an export of Nsight Compute.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NcuError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file has no text.
    #[error(
        "{file}: the file is empty: the profiler wrote nothing, or its output went elsewhere (--log-file)"
    )]
    Empty {
        /// The file.
        file: String,
    },
    /// A binary report without one usable result.
    #[error(
        "{file}: the report makes no sense from {damage}, and nothing before it can be used (the names of metrics \
         often come last): copy the file again, or profile again and let ncu finish"
    )]
    DamagedReport {
        /// The file.
        file: String,
        /// The byte, what should stand there and what does.
        damage: String,
    },
    /// A sound binary report in which nothing was profiled.
    #[error(
        "{file}: the report has no results: the filters (-k, --launch-skip, --nvtx-include, --profile-from-start) \
         matched no launch, or the program launched none"
    )]
    EmptyReport {
        /// The file.
        file: String,
    },
    /// A compressed report.
    #[error(
        "{file}: this is a compressed report: run `zstd -d {file} -o {stem}.plain.ncu-rep` and read that"
    )]
    CompressedReport {
        /// The file.
        file: String,
        /// Its name without the extension.
        stem: String,
    },
    /// Binary, but no report.
    #[error(
        "{file}: byte 0: no text, and no report either: it begins with {beginning}, a report with 4E 56 52 00; \
         a report whose writing was interrupted looks like this: profile again"
    )]
    NotAReport {
        /// The file.
        file: String,
        /// Its first bytes.
        beginning: String,
    },
    /// The driver refused access to the counters.
    #[error(
        "{file}:{row}: the profiler was refused access to the GPU's performance counters (ERR_NVGPUCTRPERM): \
         by default the driver allows them to administrators only. Run ncu as root, or on the host load the \
         driver with the module option `NVreg_RestrictProfilingToAdminUsers=0` (options nvidia \
         NVreg_RestrictProfilingToAdminUsers=0 in /etc/modprobe.d, then reboot). It cannot be fixed from inside \
         a container: the option belongs to the host, and the container needs CAP_SYS_ADMIN otherwise"
    )]
    Permission {
        /// The file.
        file: String,
        /// The line of the message.
        row: usize,
    },
    /// The profiler's filter matched nothing.
    #[error(
        "{file}: no kernels were profiled: the filters (-k, --launch-skip, --nvtx-include, --profile-from-start) \
         matched no launch{}",
        available_text(available)
    )]
    NoKernels {
        /// The file.
        file: String,
        /// The kernels that the profiler saw.
        available: Vec<String>,
    },
    /// The profiler reported an error and no table.
    #[error("{file}:{row}: the profiler failed and wrote no table: {message}; mend that and profile again")]
    Profiler {
        /// The file.
        file: String,
        /// The line of the message.
        row: usize,
        /// What it said.
        message: String,
    },
    /// Only the profiler's log.
    #[error(
        "{file}: only the profiler's log, without a table: it was interrupted, or wrote its table elsewhere; {EXPORT}"
    )]
    OnlyLog {
        /// The file.
        file: String,
    },
    /// A header without rows.
    #[error(
        "{file}: the table has a header and no launches: the filters matched none, or the file was cut off"
    )]
    NoLaunches {
        /// The file.
        file: String,
    },
    /// The details page as text.
    #[error("{file}:{row}: this is a text page of Nsight Compute, made to be read, not a table; {EXPORT}")]
    TextPage {
        /// The file.
        file: String,
        /// Its first section.
        row: usize,
    },
    /// The source page.
    #[error("{file}:{row}: this is a source page (one row per instruction), which has no totals; {EXPORT}")]
    SourcePage {
        /// The file.
        file: String,
        /// Its header.
        row: usize,
    },
    /// Output of Nsight Systems.
    #[error(
        "{file}:{row}: this is output of Nsight Systems (nsys), which has times and no counters: profile with \
         Nsight Compute; {EXPORT}"
    )]
    Nsys {
        /// The file.
        file: String,
        /// Its header.
        row: usize,
    },
    /// A table without a column that it must have.
    #[error("{file}:{row}: the table has no column '{column}'; its header is: {header}; {EXPORT}")]
    MissingColumn {
        /// The file.
        file: String,
        /// The header's line.
        row: usize,
        /// The column.
        column: &'static str,
        /// The header as seen.
        header: String,
    },
    /// A unit that is unknown, or does not measure what the metric does.
    #[error("{file}:{row}:{column}: metric '{metric}' has unit '{unit}', which is none of: {known}")]
    UnknownUnit {
        /// The file.
        file: String,
        /// The physical line, from 1.
        row: usize,
        /// The field, from 1.
        column: usize,
        /// The metric.
        metric: String,
        /// Its unit as written.
        unit: String,
        /// The units it may have.
        known: &'static str,
    },
    /// Nothing that is known.
    #[error("{file}:1: no table of Nsight Compute; it begins with: {beginning}; {EXPORT}")]
    Unknown {
        /// The file.
        file: String,
        /// Its first line.
        beginning: String,
    },
}

fn available_text(available: &[String]) -> String {
    match available {
        [] => String::new(),
        names => format!("; kernels that ran: {}", names.join(", ")),
    }
}
