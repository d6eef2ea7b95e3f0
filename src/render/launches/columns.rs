//! The columns of a launch, as data: one list for every format that has rows. A new column is a new line.

use crate::hw::{CeilingKind, ComputeUnit, MemoryLevel, Precision};
use crate::profile::{KernelRecord, Measured};
use std::collections::BTreeSet;

/// What separates the items of a list in one cell.
const LIST: &str = "; ";

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Text(Option<String>),
    Number(Option<f64>),
    Integer(u64),
    Flag(bool),
}

/// A column: its name carries the unit, and it has the same kind of cell in every row.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) get: fn(&KernelRecord) -> Cell,
}

/// Takes a value from a launch.
type Get = fn(&KernelRecord) -> Option<&Measured>;

/// The values that may be lower bounds or estimates, by the name of their column.
const MEASURED: &[(&str, Get)] = &[
    ("time_s", |k| k.time.as_ref()),
    ("dram_bytes", |k| k.dram_bytes.as_ref()),
    ("l2_bytes", |k| k.l2_bytes.as_ref()),
    ("l1_bytes", |k| k.l1_bytes.as_ref()),
    ("flops_fp64", |k| k.flops.fp64.as_ref()),
    ("flops_fp32", |k| k.flops.fp32.as_ref()),
    ("flops_fp16", |k| k.flops.fp16.as_ref()),
    ("flops_fp16_packed", |k| k.flops.fp16_packed.as_ref()),
    ("flops_tensor", |k| k.flops.tensor.as_ref()),
];

macro_rules! measured {
    ($name:literal) => {
        Column {
            name: $name,
            get: |k| {
                let column = MEASURED.iter().find(|(name, _)| *name == $name);
                Cell::Number(column.and_then(|(_, get)| get(k)).map(|m| m.value))
            },
        }
    };
}

macro_rules! column {
    ($name:literal, $get:expr) => {
        Column { name: $name, get: $get }
    };
}

/// Every column, in order.
pub(super) const COLUMNS: &[Column] = &[
    column!("file", |k| Cell::Text(Some(k.file.clone()))),
    column!("launch", |k| Cell::Text(k.launch.clone())),
    column!("kernel", |k| Cell::Text(Some(k.kernel.clone()))),
    column!("launches", |k| Cell::Integer(k.launches)),
    column!("process", |k| Cell::Text(k.process.clone())),
    column!("context", |k| Cell::Text(k.context.clone())),
    column!("stream", |k| Cell::Text(k.stream.clone())),
    column!("device", |k| Cell::Text(k.device.clone())),
    column!("compute_capability", |k| Cell::Text(k.compute_capability.map(|c| c.to_string()))),
    column!("grid", |k| Cell::Text(k.grid.clone())),
    column!("block", |k| Cell::Text(k.block.clone())),
    column!("registers", |k| count(k.registers.map(u64::from))),
    column!("static_shared_bytes", |k| count(k.static_shared_bytes)),
    column!("dynamic_shared_bytes", |k| count(k.dynamic_shared_bytes)),
    column!("shared_bytes", |k| count(k.shared_total())),
    column!("nvtx", |k| list(&k.nvtx)),
    column!("version", |k| Cell::Text(k.version.clone())),
    column!("stage", |k| Cell::Text(k.stage.map(|s| s.name().to_string()))),
    column!("phase", |k| Cell::Text(k.phase.map(|p| p.name().to_string()))),
    measured!("time_s"),
    measured!("dram_bytes"),
    measured!("l2_bytes"),
    measured!("l1_bytes"),
    measured!("flops_fp64"),
    measured!("flops_fp32"),
    measured!("flops_fp16"),
    measured!("flops_fp16_packed"),
    measured!("flops_tensor"),
    column!("flops", |k| Cell::Number(k.flops.total())),
    column!("flops_complete", |k| Cell::Flag(k.flops_complete)),
    column!("lower_bounds", |k| marked(k, |m| m.lower_bound)),
    column!("estimates", |k| marked(k, |m| m.estimated)),
    column!("dram_percent", |k| Cell::Number(k.dram_percent.as_ref().map(|m| m.value))),
    column!("sm_percent", |k| Cell::Number(k.sm_percent.as_ref().map(|m| m.value))),
    column!("rate_flop_per_s", |k| Cell::Number(k.rates.as_ref().and_then(|r| r.flops.total()))),
    column!("rate_dram_byte_per_s", |k| {
        Cell::Number(k.rates.as_ref().and_then(|r| r.dram_bytes.as_ref()).map(|m| m.value))
    }),
    column!("peak_fp64_flop_per_s", |k| vector_peak(k, Precision::Fp64)),
    column!("peak_fp32_flop_per_s", |k| vector_peak(k, Precision::Fp32)),
    column!("peak_fp16_packed_flop_per_s", |k| vector_peak(k, Precision::Fp16)),
    column!("peak_dram_byte_per_s", |k| peak(k, CeilingKind::Bandwidth { level: MemoryLevel::Dram })),
    column!("peak_l2_byte_per_s", |k| peak(k, CeilingKind::Bandwidth { level: MemoryLevel::L2 })),
    column!("peak_l1_byte_per_s", |k| peak(k, CeilingKind::Bandwidth { level: MemoryLevel::L1 })),
    column!("missing", |k| list(&k.missing)),
    column!("findings", |k| {
        let codes: BTreeSet<String> = k.findings.iter().map(|f| code(f.code)).collect();
        list(&codes.into_iter().collect::<Vec<_>>())
    }),
];

/// Counts that may be unknown are numbers: far below 2^53, they are exact.
fn count(value: Option<u64>) -> Cell {
    Cell::Number(value.map(|n| n as f64))
}

fn list(items: &[String]) -> Cell {
    Cell::Text((!items.is_empty()).then(|| items.join(LIST)))
}

/// A finding's code as it stands in JSON.
fn code(code: crate::profile::FindingCode) -> String {
    serde_json::to_value(code).ok().and_then(|v| v.as_str().map(ToString::to_string)).unwrap_or_default()
}

/// The columns whose values are marked in this launch.
fn marked(kernel: &KernelRecord, is: fn(&Measured) -> bool) -> Cell {
    let names = MEASURED.iter().filter(|(_, get)| get(kernel).is_some_and(is));
    list(&names.map(|(name, _)| (*name).to_string()).collect::<Vec<_>>())
}

fn vector_peak(kernel: &KernelRecord, precision: Precision) -> Cell {
    peak(kernel, CeilingKind::Compute { precision, unit: ComputeUnit::Vector, accumulate: None })
}

fn peak(kernel: &KernelRecord, kind: CeilingKind) -> Cell {
    Cell::Number(kernel.ceilings.iter().find(|c| c.kind == kind).map(|c| c.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measured_value_has_its_column() {
        for (name, _) in MEASURED {
            assert_eq!(COLUMNS.iter().filter(|c| c.name == *name).count(), 1, "{name}");
        }
    }

    #[test]
    fn a_cell_is_of_the_same_kind_with_and_without_a_value() {
        let full = KernelRecord {
            time: Some(Measured::new(1.0, "t").as_lower_bound()),
            nvtx: vec!["a".into(), "b".into()],
            static_shared_bytes: Some(512),
            dynamic_shared_bytes: Some(1024),
            ..KernelRecord::default()
        };
        let cells = |name: &str| {
            let column = COLUMNS.iter().find(|c| c.name == name).unwrap();
            [(column.get)(&KernelRecord::default()), (column.get)(&full)]
        };
        assert_eq!(cells("shared_bytes"), [Cell::Number(None), Cell::Number(Some(1536.0))]);
        assert_eq!(cells("time_s"), [Cell::Number(None), Cell::Number(Some(1.0))]);
        assert_eq!(cells("nvtx"), [Cell::Text(None), Cell::Text(Some("a; b".into()))]);
        assert_eq!(cells("lower_bounds"), [Cell::Text(None), Cell::Text(Some("time_s".into()))]);
    }
}
