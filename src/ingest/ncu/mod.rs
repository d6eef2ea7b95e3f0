//! Reads what Nsight Compute writes: binary reports ([`Report`]), and CSV in every dialect that is known to occur.
//!
//! | dialect | made by |
//! |---|---|
//! | long: one metric per row, labels or `--metrics` names, with or without rules, body items, NVTX columns | `--csv`, `--page details` |
//! | wide: one launch per row, a row of units | `--csv --page raw` |
//! | summary: minimum, maximum, mean over the launches of a kernel | `--print-summary` |
//! | transposed and wide with `[unit]` in the header | the graphical program |
//!
//! The way of the data: bytes -> text (`decode`) -> records among log lines and program output (`records`) ->
//! tables and launches with raw cells (`layout`, `table`, `transposed`) -> one locale per file (`locale`) ->
//! base units (`units`, `readings`) -> meaning (`metrics`, `evaluate`, `tensor`) -> one
//! [`KernelRecord`] per launch. Nothing here panics on any input, and what cannot be
//! read with certainty is an error, a finding, or absent: never a number.

mod attribution;
mod ceilings;
mod checks;
mod chips;
mod complete;
mod counted;
mod decode;
mod error;
mod evaluate;
mod explain;
mod labels;
mod launches;
mod layout;
mod locale;
mod metrics;
mod readings;
mod record;
mod records;
mod report;
mod resources;
mod short;
mod stream;
mod table;
mod tensor;
mod tensor_estimate;
mod transposed;
mod units;
mod values;

pub use chips::{Chip, chip_named, chip_of, chips, parse_capability};
pub use complete::tensor_metric;
pub use counted::counted;
pub use error::NcuError;
pub use report::{RawMetrics, Report};
pub use stream::fold;
pub use values::{MetricValues, metric_values};

use crate::profile::{Finding, FindingCode, KernelRecord, Run};
use launches::Message;
use locale::Locale;
use std::collections::HashSet;
use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::Path;

/// What a compressed report begins with: it is one zstd frame.
const ZSTD_MAGIC: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD];
/// How far to look for what tells a binary file from text.
const BINARY_HEAD: usize = 64;

/// Reads an export, or a binary report.
///
/// # Errors
/// When the file cannot be read, or is no usable export; see [`read_bytes`].
pub fn read(path: &Path) -> Result<Run, NcuError> {
    let name = path.display().to_string();
    let (mut file, mut bytes) = open(path)?;
    if bytes == report::MAGIC {
        return Ok(report::read(&name, file, false)?.run);
    }
    file.read_to_end(&mut bytes).map_err(|source| NcuError::Read { path: path.to_path_buf(), source })?;
    read_bytes(&name, &bytes)
}

/// Reads a binary report with every metric of each launch; `None` when the file is something else.
///
/// # Errors
/// When the file cannot be read, or is a report without one usable result.
pub fn read_report(path: &Path) -> Result<Option<Report>, NcuError> {
    let (file, magic) = open(path)?;
    if magic != report::MAGIC {
        return Ok(None);
    }
    report::read(&path.display().to_string(), file, true).map(Some)
}

/// A file, and the first of its bytes, which were read.
fn open(path: &Path) -> Result<(File, Vec<u8>), NcuError> {
    let failed = |source| NcuError::Read { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut start = Vec::new();
    file.by_ref().take(report::MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
    Ok((file, start))
}

/// Reads an export that is in memory; `name` is what messages call it, and may tell version and stage.
///
/// # Errors
/// When there is no table with launches in it (the message says what the file is instead), when the table lacks a
/// column, or when a unit is unknown.
pub fn read_bytes(name: &str, bytes: &[u8]) -> Result<Run, NcuError> {
    if bytes.starts_with(report::MAGIC) {
        return Ok(report::read(name, Cursor::new(bytes), false)?.run);
    }
    if bytes.starts_with(ZSTD_MAGIC) {
        let stem = Path::new(name).with_extension("").display().to_string();
        return Err(NcuError::CompressedReport { file: name.to_string(), stem });
    }
    let text = decode::decode(bytes);
    if text.trim().is_empty() {
        return Err(NcuError::Empty { file: name.to_string() });
    }
    let collected = table::collect(name, &text)?;
    if collected.launches.is_empty() {
        return Err(binary(name, bytes).unwrap_or_else(|| explain::explain(name, &text, &collected)));
    }
    let locale = collected.votes.decide();
    let mut findings = file_findings(name, &collected.messages, &collected.damaged, locale);
    let mut assumptions = readings::Assumptions::default();
    let mut kernels = Vec::with_capacity(collected.launches.len());
    let mut counts = ValueCounts::default();
    for launch in &collected.launches {
        let (record, _) = kernel_record(name, launch, locale, &mut assumptions)?;
        counts.add(&record);
        kernels.push(record);
    }
    findings.extend(assumptions.findings(name));
    findings.extend(counts.findings(name));
    Ok(Run { file: name.to_string(), kernels, findings, complete: true, ..Run::default() })
}

/// The error for bytes that are no text: text has no zeros, unless it is UTF-16, which has a mark.
fn binary(name: &str, bytes: &[u8]) -> Option<NcuError> {
    let head = &bytes[..bytes.len().min(BINARY_HEAD)];
    let utf16 = head.starts_with(&[0xFF, 0xFE]) || head.starts_with(&[0xFE, 0xFF]);
    (head.contains(&0) && !utf16).then(|| {
        let first: Vec<String> = head.iter().take(4).map(|b| format!("{b:02X}")).collect();
        NcuError::NotAReport { file: name.to_string(), beginning: first.join(" ") }
    })
}

/// The record of a launch, and how many findings about its cells stand at the end of its findings.
///
/// # Errors
/// When a unit is unknown.
fn kernel_record(
    name: &str,
    launch: &launches::Launch<'_>,
    locale: Locale,
    assumptions: &mut readings::Assumptions,
) -> Result<(KernelRecord, usize), NcuError> {
    let mut about_cells = Vec::new();
    let readings = readings::read(name, &launch.cells, locale, assumptions, &mut about_cells)?;
    let mut record = record::record(name, launch, &readings);
    record.device = record.device.or_else(|| device_name(launch));
    let count = about_cells.len();
    record.findings.extend(about_cells);
    Ok((record, count))
}

/// The device's name is the one attribute that is text.
fn device_name(launch: &launches::Launch<'_>) -> Option<String> {
    let cell = launch.cells.iter().find(|c| c.metric == "device__attribute_display_name")?;
    // Instances follow in parentheses: `A100 (A100; A100)`.
    let is_instances = |name: &str, rest: &str| rest.starts_with(name) || rest.contains(';');
    let split = cell.raw.split_once(" (").filter(|(name, rest)| is_instances(name, rest));
    let name = split.map_or(&*cell.raw, |(name, _)| name).trim();
    (!name.is_empty() && name != "n/a").then(|| name.to_string())
}

fn file_findings(file: &str, messages: &[Message], damaged: &[usize], locale: Locale) -> Vec<Finding> {
    let mut findings = message_findings(file, messages);
    if let Some(first) = damaged.first() {
        let message = format!("{} lines of the table are cut short and were left out", damaged.len());
        findings.push(Finding::new(FindingCode::Partial, format!("{file}:{first}"), message));
    }
    if locale.assumed {
        let message = "numbers such as 149.152 do not say whether the dot groups digits; it was read as a decimal point";
        findings.push(
            Finding::new(FindingCode::ReadingAssumption, file, message)
                .with_remedy("export with LC_ALL=C, or with --print-units base --print-fp"),
        );
    }
    findings
}

/// The profiler's own messages, each once however often it was printed.
fn message_findings(file: &str, messages: &[Message]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut said = HashSet::new();
    for message in messages {
        let kind = if message.error { "an error" } else { "a warning" };
        let text = format!("the profiler reported {kind}: {}", message.text);
        if said.insert(text.clone()) {
            findings.push(Finding::new(
                FindingCode::ProfilerMessage,
                format!("{file}:{}", message.line),
                text,
            ));
        }
    }
    findings
}

/// How many launches lack what, said once.
#[derive(Debug, Default)]
struct ValueCounts {
    valid: usize,
    without_time: usize,
    without_bytes: usize,
    without_flops: usize,
    l2_instead: bool,
}

impl ValueCounts {
    fn add(&mut self, kernel: &KernelRecord) {
        if kernel.findings.iter().any(is_invalid) {
            return;
        }
        self.valid += 1;
        self.without_time += usize::from(kernel.time.is_none());
        self.without_bytes += usize::from(kernel.dram_bytes.is_none() && kernel.rates.is_none());
        self.without_flops += usize::from(kernel.flops.total().is_none() && kernel.rates.is_none());
        // Integrated GPUs have no DRAM counters.
        self.l2_instead |= kernel.dram_bytes.is_none() && kernel.l2_bytes.is_some();
    }

    fn findings(&self, file: &str) -> Vec<Finding> {
        let rows = [
            (self.without_time, "time", "gpu__time_duration.sum"),
            (self.without_bytes, "DRAM bytes", "dram__bytes.sum"),
            (self.without_flops, "FLOPs", "what --explain KERNEL lists as missing"),
        ];
        let absent = rows.into_iter().filter(|(count, ..)| *count > 0);
        absent
            .map(|(count, what, metric)| {
                let instead = if what == "DRAM bytes" && self.l2_instead {
                    " (L2 bytes are there: integrated GPUs count no DRAM traffic)"
                } else {
                    ""
                };
                let message = format!("{count} of {} launches have no {what}{instead}", self.valid);
                Finding::new(FindingCode::MetricMissing, file, message)
                    .with_remedy(format!("collect {metric}"))
            })
            .collect()
    }
}

fn is_invalid(finding: &Finding) -> bool {
    finding.code == FindingCode::LaunchInvalid
}
