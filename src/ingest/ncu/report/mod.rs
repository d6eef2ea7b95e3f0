//! Reads binary reports (`.ncu-rep`, `.nsight-cuprof-report`) without NVIDIA's software.
//!
//! A report is `NVR\0`, a file header, and blocks: a header with counts, strings and session details, then a payload
//! of sources, launches and ranges, each a protobuf message after its length. The layout is NVIDIA's
//! (Customization Guide, "Report File Format", version 7); every file from 2019 to 2026 has it.
//!
//! The way of the data: headers (`blocks`), which give the one string table over all blocks (`strings`, often after
//! the results that need it) and the session (`session`); then one result after the other (`result`), whose values
//! become the same readings as those of a CSV export, and so the same records.
//!
//! Files are read in pieces, not mapped: a map needs `unsafe` and faults when the file shrinks, and what is read is
//! only headers and one result at a time. Sources, most of a file, are skipped by seeking. Memory is bounded by the
//! largest message; no length in the file is believed beyond the file's end.

mod blocks;
mod input;
mod result;
mod session;
mod strings;
mod value;
mod wire;

pub(super) use blocks::MAGIC;

use super::launches::{Key, Launch};
use super::readings::Readings;
use super::{NcuError, ValueCounts, metrics, record};
use crate::profile::{Finding, FindingCode, KernelRecord, Run};
use blocks::{Entry, Index};
use input::{Input, Stop};
use result::ResultHead;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Seek};
use std::path::PathBuf;
use value::Scalar;
use wire::{Break, Message};

/// More metrics that matter than any section set collects; what goes beyond is left out, so that no file makes
/// reading it slow.
const MOST_READINGS: usize = 2048;

/// Every metric of a launch by its name, in base units: ns, byte, Hz. `null` is one that was not available.
pub type RawMetrics = BTreeMap<String, serde_json::Value>;

/// A report, and all that it holds of each launch.
#[derive(Debug)]
pub struct Report {
    /// The same as for any other export.
    pub run: Run,
    /// For each of the run's kernels, every metric collected; empty unless it was asked for.
    pub metrics: Vec<RawMetrics>,
}

/// Reads a report from its start; `all` keeps every metric.
pub(super) fn read(name: &str, source: impl Read + Seek, all: bool) -> Result<Report, NcuError> {
    let failed = |source: io::Error| NcuError::Read { path: PathBuf::from(name), source };
    let mut input = Input::new(source).map_err(failed)?;
    let index = blocks::index(&mut input).map_err(failed)?;
    let mut reader = Reader::new(name, &index, all);
    for block in &index.blocks {
        reader.process = block.process.or(index.session.process_id);
        match blocks::results(&mut input, block, |entry, message| reader.take(entry, message)) {
            Ok(()) => {}
            Err(Stop::Break(broken)) => reader.breaks.push(broken),
            Err(Stop::Io(error)) => return Err(failed(error)),
        }
    }
    reader.finish()
}

/// What is made of the results.
struct Reader<'i> {
    name: &'i str,
    index: &'i Index,
    all: bool,
    /// For each string, whether a metric of that name matters.
    needed: Vec<bool>,
    /// The process of the block that is being read.
    process: Option<u64>,
    results: usize,
    kernels: Vec<KernelRecord>,
    metrics: Vec<RawMetrics>,
    /// Where results do not make sense: at most one place per block, and the first damaged result.
    breaks: Vec<Break>,
    damaged: usize,
    /// A result names a string that no table has.
    unnamed: Option<Break>,
}

impl<'i> Reader<'i> {
    fn new(name: &'i str, index: &'i Index, all: bool) -> Self {
        let strings = &index.strings;
        let is_needed = |id| strings.get(id as u64).is_some_and(metrics::is_needed);
        Self {
            name,
            index,
            all,
            needed: (0..strings.len()).map(is_needed).collect(),
            process: None,
            results: 0,
            kernels: Vec::new(),
            metrics: Vec::new(),
            breaks: Vec::new(),
            damaged: 0,
            unnamed: None,
        }
    }

    fn take(&mut self, entry: Entry, message: Message<'_>) {
        let id = self.results;
        self.results += 1;
        match result::head(entry, message) {
            Ok(head) => self.launch(id, entry, message, head),
            Err(broken) => {
                self.damaged += 1;
                if self.damaged == 1 {
                    self.breaks.push(broken);
                }
            }
        }
    }

    fn launch(&mut self, id: usize, entry: Entry, message: Message<'_>, head: ResultHead) {
        let values = self.values(entry, message);
        let mut findings = Vec::new();
        let launch = self.as_launch(id, head);
        let about = format!("{}: launch {id}", self.name);
        let readings = Readings::from_values(&about, values, &mut findings);
        let mut record = record::record(self.name, &launch, &readings);
        record.findings.extend(findings);
        self.kernels.push(record);
        if self.all {
            self.metrics.push(self.every_metric(entry, message));
        }
    }

    /// The values of the metrics that matter: of one that occurs twice the last, which is what ncu prints.
    fn values(&mut self, entry: Entry, message: Message<'_>) -> Vec<(&'i str, Option<f64>)> {
        let mut values: Vec<(&'i str, Option<f64>)> = Vec::new();
        let mut place: HashMap<u64, usize> = HashMap::new();
        for (id, value) in result::metrics(entry, message) {
            let Some(name) = self.index.strings.get(id) else {
                let found = format!("{id} of {}", self.index.strings.len());
                self.unnamed
                    .get_or_insert_with(|| Break::new(message.at(), "metrics that have names", found));
                continue;
            };
            if !usize::try_from(id).ok().and_then(|id| self.needed.get(id)).is_some_and(|needed| *needed) {
                continue;
            }
            let value = value.as_ref().and_then(Scalar::number);
            match place.get(&id) {
                Some(at) => values[*at].1 = value,
                None if values.len() < MOST_READINGS => {
                    place.insert(id, values.len());
                    values.push((name, value));
                }
                None => {}
            }
        }
        values
    }

    fn every_metric(&self, entry: Entry, message: Message<'_>) -> RawMetrics {
        let known = result::metrics(entry, message)
            .filter_map(|(id, value)| Some((self.index.strings.get(id)?.to_string(), value)));
        known
            .map(|(name, value)| {
                let value = match value {
                    Some(Scalar::Number(number)) => number_json(number),
                    Some(Scalar::Text(text)) => text.into(),
                    None => serde_json::Value::Null,
                };
                (name, value)
            })
            .collect()
    }

    fn as_launch(&self, id: usize, head: ResultHead) -> Launch<'static> {
        let number = |value: Option<u64>| value.map(|v| v.to_string()).unwrap_or_default().into();
        let device = self.index.session.device_of(head.device);
        let capability = device.and_then(session::Device::capability);
        Launch {
            key: Key {
                id: id.to_string().into(),
                process: number(self.process.or(head.thread)),
                kernel: head.name.into(),
                ..Key::default()
            },
            block: head.block.unwrap_or_default().into(),
            grid: head.grid.unwrap_or_default().into(),
            context: number(head.context),
            stream: number(head.stream),
            capability: capability.map(|c| c.to_string()).unwrap_or_default().into(),
            device_name: device.and_then(|d| d.name.clone()).unwrap_or_default().into(),
            ranges: head.ranges,
            rule: head.rule.map(Into::into),
            ..Launch::default()
        }
    }

    fn finish(self) -> Result<Report, NcuError> {
        // A result that is cut says more than the header of its block, and either more than names that lack.
        let first = self.breaks.iter().min_by_key(|b| b.at);
        let first = first.or(self.index.broken.as_ref()).or(self.unnamed.as_ref()).cloned();
        let complete = first.is_none();
        let file = self.name.to_string();
        let mut findings = Vec::new();
        match first {
            Some(broken) if self.kernels.is_empty() || self.index.strings.len() == 0 => {
                return Err(NcuError::DamagedReport { file, damage: broken.to_string() });
            }
            None if self.kernels.is_empty() => return Err(NcuError::EmptyReport { file }),
            Some(broken) => findings.push(self.partial(&broken)),
            None => {}
        }
        let mut counts = ValueCounts::default();
        self.kernels.iter().for_each(|kernel| counts.add(kernel));
        findings.extend(counts.findings(self.name));
        let profiler = Some(self.index.session.info());
        let run = Run { file, kernels: self.kernels, findings, complete, profiler, ..Run::default() };
        Ok(Report { run, metrics: self.metrics })
    }

    fn partial(&self, broken: &Break) -> Finding {
        let damaged = match self.damaged {
            0 => String::new(),
            n => format!(", {n} of them too damaged to use"),
        };
        let message = format!(
            "the report makes no sense from {broken}; {} results were found{damaged}, and more may be missing",
            self.results
        );
        Finding::new(FindingCode::Partial, self.name, message)
            .with_remedy("copy the file again, or profile again and let ncu finish")
    }
}

/// Whole numbers without a fraction, as the report has them; NaN and infinities, which JSON lacks, as text.
fn number_json(number: f64) -> serde_json::Value {
    if number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number) {
        return (number as u64).into();
    }
    serde_json::Number::from_f64(number).map_or_else(|| number.to_string().into(), Into::into)
}
