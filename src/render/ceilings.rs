//! Measured ceilings as a terminal table, Markdown, CSV and JSON.

use crate::hw::{CeilingKind, CeilingSource, LaunchCost, MeasuredCeiling};
use crate::profile::{HostInfo, KprofInfo};
use crate::stats::Sample;
use crate::units::{ByteRate, FlopRate, Scale};
use serde::Serialize;

/// What the numbers mean, printed under the tables.
const NOTE: &str = "best: the highest of all repetitions (the ceiling); spread: (best - lowest) / best.\n\
                    int8 counts integer operations. triad counts 12 B per f32 element and is no ceiling of a roofline.";

/// A measurement whose repetitions vary by more than this fraction of the best was disturbed. On a quiet machine most
/// vary by 5 to 25 %; with as many other busy threads as cores, by 40 to 90 %.
const DISTURBED: f64 = 0.35;

/// The tables for a terminal: bandwidths, then arithmetic, and a warning if the machine was busy.
pub fn text(measured: &[MeasuredCeiling]) -> String {
    let tables = tables(measured);
    let each = tables.iter().map(Table::text);
    let warning = warning(measured).map(|text| format!("{text}\n"));
    each.chain([format!("{NOTE}\n")]).chain(warning).collect::<Vec<_>>().join("\n")
}

/// What a launch takes, in one line.
pub fn launch_text(cost: &LaunchCost) -> String {
    let micro = |seconds: f64| format!("{:.2} us", seconds * 1e6);
    format!(
        "launch: {} of the host's per kernel, {} from kernel to kernel, {} inside a graph\n",
        micro(cost.host_s),
        micro(cost.device_s),
        micro(cost.graph_s)
    )
}

/// What to know before believing the numbers, if more than half of the measurements were disturbed.
pub fn warning(measured: &[MeasuredCeiling]) -> Option<String> {
    let rows: Vec<Row> = measured.iter().filter_map(Row::new).collect();
    let disturbed = rows.iter().filter(|row| row.spread() > DISTURBED).count();
    (2 * disturbed > rows.len()).then(|| {
        format!(
            "warning: {disturbed} of {} measurements vary by more than {:.0} %: the machine was busy, and these \
             ceilings may be too low. Run it again on a quiet machine.",
            rows.len(),
            100.0 * DISTURBED
        )
    })
}

/// The tables as Markdown.
pub fn markdown(measured: &[MeasuredCeiling]) -> String {
    let tables = tables(measured);
    let each = tables.iter().map(Table::markdown);
    each.chain([format!("{}\n", NOTE.replace('\n', " "))]).collect::<Vec<_>>().join("\n")
}

/// One row per measurement, in base units (B/s, FLOP/s).
///
/// # Errors
/// When a field cannot be encoded, which no text can cause.
pub fn csv(measured: &[MeasuredCeiling]) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "ceiling",
        "operation",
        "threads",
        "unit",
        "best",
        "median",
        "lowest",
        "repetitions",
        "method",
    ])?;
    for row in measured.iter().filter_map(Row::new) {
        writer.write_record([
            row.name,
            row.operation.to_string(),
            row.threads.map(|threads| threads.to_string()).unwrap_or_default(),
            row.unit.to_string(),
            row.best.to_string(),
            row.median.to_string(),
            row.lowest.to_string(),
            row.repetitions.to_string(),
            row.method,
        ])?;
    }
    let bytes = writer.into_inner().map_err(|e| csv::Error::from(std::io::Error::other(e.to_string())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Everything, with each repetition's rate and the machine.
///
/// # Errors
/// When a value cannot be encoded, which finite rates never cause.
pub fn json(
    measured: &[MeasuredCeiling],
    gpu: Option<(&str, &LaunchCost)>,
    host: &HostInfo,
    kprof: &KprofInfo,
) -> Result<String, serde_json::Error> {
    let ceilings = measured.iter().filter_map(|m| {
        let row = Row::new(m)?;
        Some(JsonCeiling { unit: row.unit, median: row.median, measured: m })
    });
    let (device, launch) = gpu.unzip();
    let document =
        JsonDocument { schema_version: 1, kprof, host, device, launch, ceilings: ceilings.collect() };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

#[derive(Serialize)]
struct JsonDocument<'a> {
    schema_version: u32,
    kprof: &'a KprofInfo,
    host: &'a HostInfo,
    /// The GPU's name; absent for a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    launch: Option<&'a LaunchCost>,
    ceilings: Vec<JsonCeiling<'a>>,
}

#[derive(Serialize)]
struct JsonCeiling<'a> {
    #[serde(flatten)]
    measured: &'a MeasuredCeiling,
    unit: &'static str,
    median: f64,
}

/// One measurement, in base units.
struct Row {
    bandwidth: bool,
    name: String,
    operation: &'static str,
    /// `None` of a whole device.
    threads: Option<usize>,
    unit: &'static str,
    best: f64,
    median: f64,
    lowest: f64,
    repetitions: usize,
    method: String,
}

impl Row {
    /// `None` for a measurement without a finite repetition.
    fn new(measured: &MeasuredCeiling) -> Option<Self> {
        let sample = Sample::new(measured.samples.clone()).ok()?;
        let method = match &measured.ceiling.source {
            CeilingSource::Probe { method } => method.clone(),
            other => other.label().to_string(),
        };
        Some(Self {
            bandwidth: matches!(measured.ceiling.kind, CeilingKind::Bandwidth { .. }),
            name: measured.ceiling.name(),
            operation: measured.operation.name(),
            threads: measured.ceiling.threads,
            unit: measured.unit(),
            best: sample.max(),
            median: sample.median(),
            lowest: sample.min(),
            repetitions: sample.count(),
            method,
        })
    }

    /// (best - lowest) / best.
    fn spread(&self) -> f64 {
        (self.best - self.lowest) / self.best
    }

    fn cells(&self, scale: &Scale) -> Vec<String> {
        let spread = format!("{:.0} %", 100.0 * self.spread());
        vec![
            self.name.clone(),
            self.operation.to_string(),
            self.threads.map_or_else(|| "n/a".to_string(), |threads| threads.to_string()),
            scale.format(self.best),
            scale.format(self.median),
            spread,
            self.method.clone(),
        ]
    }
}

struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Which columns hold numbers, and so are aligned to the right.
const NUMERIC: [bool; 7] = [false, false, true, true, true, true, false];

fn tables(measured: &[MeasuredCeiling]) -> Vec<Table> {
    let rows: Vec<Row> = measured.iter().filter_map(Row::new).collect();
    let (bandwidths, rates): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row.bandwidth);
    let tables = [(bandwidths, ByteRate::UNIT), (rates, FlopRate::UNIT)].into_iter();
    tables.filter(|(rows, _)| !rows.is_empty()).map(|(rows, unit)| Table::new(&rows, unit)).collect()
}

impl Table {
    fn new(rows: &[Row], unit: &str) -> Self {
        let scale = Scale::for_values(rows.iter().map(|row| row.best), unit);
        let header = ["ceiling", "op", "threads", &format!("best [{scale}]"), "median", "spread", "method"];
        Self {
            header: header.iter().map(ToString::to_string).collect(),
            rows: rows.iter().map(|row| row.cells(&scale)).collect(),
        }
    }

    fn text(&self) -> String {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let width = |i: usize| lines().map(|cells| cells[i].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let pad = |(i, cell): (usize, &String)| {
            if NUMERIC[i] {
                format!("{cell:>w$}", w = widths[i])
            } else {
                format!("{cell:<w$}", w = widths[i])
            }
        };
        let line = |cells: &Vec<String>| {
            let padded: Vec<String> = cells.iter().enumerate().map(pad).collect();
            padded.join("  ").trim_end().to_string() + "\n"
        };
        lines().map(line).collect()
    }

    fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rules: Vec<String> = NUMERIC.iter().map(|n| if *n { "--:" } else { "---" }.to_string()).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.header) + &line(&rules) + &rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::{Ceiling, ComputeUnit, MemoryLevel, Operation, Precision};

    fn measured() -> Vec<MeasuredCeiling> {
        let entry = |kind, operation, samples: &[f64]| MeasuredCeiling {
            ceiling: Ceiling {
                kind,
                value: samples.iter().copied().fold(0.0, f64::max),
                source: CeilingSource::Probe { method: "as, tested".into() },
                threads: Some(4),
            },
            operation,
            samples: samples.to_vec(),
        };
        let fp32 =
            CeilingKind::Compute { precision: Precision::Fp32, unit: ComputeUnit::Vector, accumulate: None };
        vec![
            entry(CeilingKind::Bandwidth { level: MemoryLevel::Dram }, Operation::Read, &[40e9, 50e9, 45e9]),
            entry(fp32, Operation::Fma, &[800e9, 900e9]),
        ]
    }

    #[test]
    fn the_table_has_one_unit_per_column_and_best_median_and_spread() {
        let text = text(&measured());
        assert!(text.contains("best [GB/s]") && text.contains("best [GFLOP/s]"), "{text}");
        // Best 50, median 45, (50 - 40) / 50 = 20 %.
        let row = text.lines().find(|line| line.starts_with("DRAM bandwidth")).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells, ["DRAM", "bandwidth", "read", "4", "50.0", "45.0", "20", "%", "as,", "tested"]);
        assert!(
            markdown(&measured()).contains("| DRAM bandwidth | read | 4 | 50.0 | 45.0 | 20 % | as, tested |")
        );
    }

    #[test]
    fn a_busy_machine_is_warned_of() {
        let mut measured = measured();
        assert_eq!(warning(&measured), None);
        measured.iter_mut().for_each(|m| m.samples.push(m.ceiling.value / 2.0));
        assert!(
            warning(&measured).unwrap().starts_with("warning: 2 of 2 measurements vary by more than 35 %")
        );
        assert!(text(&measured).contains("the machine was busy"));
    }

    #[test]
    fn csv_and_json_are_in_base_units_and_can_be_read_back() {
        let csv = csv(&measured()).unwrap();
        let row = csv.lines().nth(1).unwrap();
        assert_eq!(row, "DRAM bandwidth,read,4,B/s,50000000000,45000000000,40000000000,3,\"as, tested\"");
        let kprof = KprofInfo { version: "0".into(), revision: None };
        let json = json(&measured(), None, &HostInfo::default(), &kprof).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["ceilings"][1]["unit"], "FLOP/s");
        assert_eq!(value["ceilings"][1]["samples"][0], 800e9);
        assert_eq!(value["ceilings"][0]["source"], "probe");
        assert_eq!(value["schema_version"], 1);
    }
}
