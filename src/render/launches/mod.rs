//! Kernel launches as tidy tables for other programs: one row per launch, base units, names that carry the unit.
//!
//! CSV and Parquet have the columns of [`columns`]; JSON and JSON Lines have the whole records, with where each
//! value came from.

mod columns;
#[cfg(feature = "parquet")]
mod parquet;

use super::roofline_export::to_json;
use crate::profile::{Finding, ProfilerInfo, Run};
use columns::{COLUMNS, Cell};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The version of what this module writes; it changes when a column's meaning does.
pub const LAUNCHES_SCHEMA_VERSION: u32 = 1;

/// The launches of a file.
#[derive(Clone, Copy, Debug)]
pub struct Launches<'a> {
    /// The file.
    pub run: &'a Run,
    /// Every metric of each of the run's kernels by its name; empty where only what kprof needs is known.
    pub metrics: &'a [BTreeMap<String, Value>],
}

/// Why launches could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// This kprof cannot write Parquet.
    #[error("this kprof was built without Parquet: build it with `cargo install kprof --features parquet`")]
    WithoutParquet,
    /// The Parquet writer failed.
    #[cfg(feature = "parquet")]
    #[error("cannot write Parquet")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

/// One row per launch.
pub fn launches_csv(files: &[Launches<'_>]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let kernels = files.iter().flat_map(|f| &f.run.kernels);
    let rows = kernels.map(|k| COLUMNS.iter().map(|c| text((c.get)(k))).collect::<Vec<_>>());
    let header: Vec<String> = COLUMNS.iter().map(|c| c.name.to_string()).collect();
    for row in std::iter::once(header).chain(rows) {
        // OK because memory does not fail, and every row has as many cells as there are columns.
        writer.write_record(row).expect("rows of one width");
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A cell as text: nothing for what is not known, never 0.
fn text(cell: Cell) -> String {
    match cell {
        Cell::Text(text) => text.unwrap_or_default(),
        Cell::Number(number) => number.map(|n| n.to_string()).unwrap_or_default(),
        Cell::Integer(integer) => integer.to_string(),
        Cell::Flag(flag) => flag.to_string(),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    kprof_version: &'static str,
    files: Vec<FileJson<'a>>,
    launches: Vec<Value>,
}

#[derive(Serialize)]
struct FileJson<'a> {
    file: &'a str,
    profiler: Option<&'a ProfilerInfo>,
    complete: bool,
    findings: &'a [Finding],
}

/// One document: the files with their profilers and findings, and every launch.
pub fn launches_json(files: &[Launches<'_>]) -> String {
    to_json(&Document {
        schema_version: LAUNCHES_SCHEMA_VERSION,
        kprof_version: env!("CARGO_PKG_VERSION"),
        files: files.iter().map(|f| about(f.run)).collect(),
        launches: files.iter().flat_map(records).collect(),
    })
}

fn about(run: &Run) -> FileJson<'_> {
    let Run { file, profiler, complete, findings, .. } = run;
    FileJson { file, profiler: profiler.as_ref(), complete: *complete, findings }
}

/// One launch per line.
pub fn launches_jsonl(files: &[Launches<'_>]) -> String {
    files.iter().flat_map(records).map(|launch| format!("{launch}\n")).collect()
}

/// The records of a file's launches, each with its `metrics` where they are known.
fn records<'a>(file: &Launches<'a>) -> impl Iterator<Item = Value> + use<'a> {
    let metrics = file.metrics;
    file.run.kernels.iter().enumerate().map(move |(i, kernel)| {
        // OK because no map of a record has keys that are not strings, the only way that this fails.
        let mut value = serde_json::to_value(kernel).expect("plain structures become JSON");
        if let (Some(all), Some(fields)) = (metrics.get(i), value.as_object_mut()) {
            let all = all.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            fields.insert("metrics".to_string(), Value::Object(all));
        }
        value
    })
}

/// One row per launch, as a Parquet file.
///
/// # Errors
/// When this kprof was built without the feature `parquet`.
#[cfg(feature = "parquet")]
pub fn launches_parquet(files: &[Launches<'_>]) -> Result<Vec<u8>, ConvertError> {
    Ok(parquet::write(files)?)
}

/// One row per launch, as a Parquet file.
///
/// # Errors
/// When this kprof was built without the feature `parquet`, as it was.
#[cfg(not(feature = "parquet"))]
pub fn launches_parquet(_files: &[Launches<'_>]) -> Result<Vec<u8>, ConvertError> {
    Err(ConvertError::WithoutParquet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{KernelRecord, Measured};

    fn run() -> Run {
        let kernel = KernelRecord {
            file: "x.ncu-rep".into(),
            launch: Some("0".into()),
            kernel: "void f<a, b>(\"c\")".into(),
            launches: 1,
            time: Some(Measured::new(1.5e-6, "gpu__time_duration.sum")),
            dram_bytes: Some(Measured::new(4096.0, "dram__bytes.sum")),
            ..KernelRecord::default()
        };
        Run { file: "x.ncu-rep".into(), kernels: vec![kernel], complete: true, ..Run::default() }
    }

    #[test]
    fn csv_has_base_units_and_nothing_for_what_is_not_known() {
        let run = run();
        let csv = launches_csv(&[Launches { run: &run, metrics: &[] }]);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let header = reader.headers().unwrap().clone();
        let row = reader.records().next().unwrap().unwrap();
        let cell = |name: &str| row[header.iter().position(|h| h == name).unwrap()].to_string();
        assert_eq!(cell("kernel"), "void f<a, b>(\"c\")");
        assert_eq!((cell("time_s").as_str(), cell("dram_bytes").as_str()), ("0.0000015", "4096"));
        assert_eq!((cell("flops").as_str(), cell("flops_complete").as_str()), ("", "false"));
    }

    #[test]
    fn json_has_the_records_and_the_metrics() {
        let run = run();
        let metrics = [BTreeMap::from([("sm__x.sum".to_string(), Value::from(5))])];
        let files = [Launches { run: &run, metrics: &metrics }];
        let document: Value = serde_json::from_str(&launches_json(&files)).unwrap();
        assert_eq!(document["files"][0]["file"], "x.ncu-rep");
        assert_eq!(document["launches"][0]["metrics"]["sm__x.sum"], 5);
        assert_eq!(document["launches"][0]["time"]["source"], "gpu__time_duration.sum");
        let lines = launches_jsonl(&files);
        assert_eq!(serde_json::from_str::<Value>(lines.trim_end()).unwrap(), document["launches"][0]);
    }
}
