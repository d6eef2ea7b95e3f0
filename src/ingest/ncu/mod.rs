//! Reads what Nsight Compute exports as CSV, in every dialect that is known to occur.
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
mod complete;
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
mod table;
mod tensor;
mod tensor_estimate;
mod transposed;
mod units;

pub use error::NcuError;

use crate::profile::{Finding, FindingCode, KernelRecord, Run};
use launches::Collected;
use locale::Locale;
use std::collections::HashSet;
use std::path::Path;

/// What binary reports begin with.
const REPORT_MAGIC: &[u8] = b"NVR\0";

/// Reads an export.
///
/// # Errors
/// When the file cannot be read, or is no usable export; see [`read_bytes`].
pub fn read(path: &Path) -> Result<Run, NcuError> {
    let bytes = std::fs::read(path).map_err(|source| NcuError::Read { path: path.to_path_buf(), source })?;
    read_bytes(&path.display().to_string(), &bytes)
}

/// Reads an export that is in memory; `name` is what messages call it, and may tell version and stage.
///
/// # Errors
/// When there is no table with launches in it (the message says what the file is instead), when the table lacks a
/// column, or when a unit is unknown.
pub fn read_bytes(name: &str, bytes: &[u8]) -> Result<Run, NcuError> {
    if bytes.starts_with(REPORT_MAGIC) {
        let stem = Path::new(name).with_extension("").display().to_string();
        return Err(NcuError::BinaryReport { file: name.to_string(), stem });
    }
    let text = decode::decode(bytes);
    if text.trim().is_empty() {
        return Err(NcuError::Empty { file: name.to_string() });
    }
    let collected = table::collect(name, &text)?;
    if collected.launches.is_empty() {
        return Err(explain::explain(name, &text, &collected));
    }
    let locale = collected.votes.decide();
    let mut findings = file_findings(name, &collected, locale);
    let mut assumptions = readings::Assumptions::default();
    let mut kernels = Vec::with_capacity(collected.launches.len());
    for launch in &collected.launches {
        let mut about_cells = Vec::new();
        let readings = readings::read(name, &launch.cells, locale, &mut assumptions, &mut about_cells)?;
        let mut record = record::record(name, launch, &readings);
        record.device = record.device.or_else(|| device_name(launch));
        record.findings.extend(about_cells);
        kernels.push(record);
    }
    findings.extend(assumptions.findings(name));
    findings.extend(without_values(name, &kernels));
    Ok(Run { file: name.to_string(), kernels, findings, complete: true, ..Run::default() })
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

fn file_findings(file: &str, collected: &Collected<'_>, locale: Locale) -> Vec<Finding> {
    let mut findings = message_findings(file, collected);
    if let Some(first) = collected.damaged.first() {
        let message =
            format!("{} lines of the table are cut short and were left out", collected.damaged.len());
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
fn message_findings(file: &str, collected: &Collected<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut said = HashSet::new();
    for message in &collected.messages {
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

/// What no launch of the file has, said once.
fn without_values(file: &str, kernels: &[KernelRecord]) -> Vec<Finding> {
    let valid: Vec<&KernelRecord> = kernels.iter().filter(|k| !k.findings.iter().any(is_invalid)).collect();
    let count = |has: fn(&KernelRecord) -> bool| valid.iter().filter(|k| !has(k)).count();
    let rows: [(usize, &str, &str); 3] = [
        (count(|k| k.time.is_some()), "time", "gpu__time_duration.sum"),
        (count(|k| k.dram_bytes.is_some() || k.rates.is_some()), "DRAM bytes", "dram__bytes.sum"),
        (
            count(|k| k.flops.total().is_some() || k.rates.is_some()),
            "FLOPs",
            "what --explain KERNEL lists as missing",
        ),
    ];
    let absent = rows.into_iter().filter(|(count, ..)| *count > 0);
    absent
        .map(|(count, what, metric)| {
            let message =
                format!("{count} of {} launches have no {what}{}", valid.len(), l2_instead(what, &valid));
            Finding::new(FindingCode::MetricMissing, file, message).with_remedy(format!("collect {metric}"))
        })
        .collect()
}

fn is_invalid(finding: &Finding) -> bool {
    finding.code == FindingCode::LaunchInvalid
}

/// Integrated GPUs have no DRAM counters.
fn l2_instead(what: &str, kernels: &[&KernelRecord]) -> &'static str {
    let l2_only = kernels.iter().any(|k| k.dram_bytes.is_none() && k.l2_bytes.is_some());
    if what == "DRAM bytes" && l2_only {
        " (L2 bytes are there: integrated GPUs count no DRAM traffic)"
    } else {
        ""
    }
}
