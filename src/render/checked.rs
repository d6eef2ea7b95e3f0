//! [`CounterCheck`]s as tables: what counters say beside what the model's arithmetic says.

use super::table::{Column, Table, in_scale, or_na};
use crate::roofline::{CheckRow, CounterCheck};
use crate::units::{Bytes, Flops, Scale, Seconds};

/// What is compared with what, in a line.
pub fn check_heading(check: &CounterCheck) -> String {
    let stage = check.stage.map_or("all steps", crate::llm::Stage::name);
    let version = check.version.as_deref().map(|v| format!("{v} ")).unwrap_or_default();
    let steps = match check.steps {
        1.0 => String::new(),
        steps => format!(", mean of {steps} steps"),
    };
    let against = check.against.rsplit(['/', '\\']).next().unwrap_or(&check.against);
    format!("{version}{stage}{steps}: COUNTED by hardware against ANALYTIC of {against}")
}

/// A row per op, phase or class, and one for all.
pub fn check_table(check: &CounterCheck) -> Table {
    let rows = || check.rows.iter().chain([&check.total]);
    let time = Scale::for_values(rows().filter_map(|r| r.time_s), Seconds::UNIT);
    let flops = Scale::for_values(rows().flat_map(|r| [r.counted_flops, r.flops]).flatten(), Flops::UNIT);
    let bytes = Scale::for_values(rows().flat_map(|r| [r.counted_bytes, r.bytes]).flatten(), Bytes::UNIT);
    let mut table = Table::new(vec![
        Column::text(check.level.name()),
        Column::number("launches", "").dispensable(2),
        Column::number("time", &time.unit).dispensable(3),
        Column::number("FLOPs counted", &flops.unit),
        Column::number("analytic", &flops.unit).dispensable(1),
        Column::number("differ", "%"),
        Column::number("bytes counted", &bytes.unit),
        Column::number("analytic", &bytes.unit).dispensable(1),
        Column::number("differ", "%"),
    ]);
    let scales = [&time, &flops, &bytes];
    for row in check.rows.iter().filter(|r| r.launches > 0.0) {
        let unknown = || format!("(no known {})", check.level.name());
        table.push(cells(row.name.clone().unwrap_or_else(unknown), row, scales));
    }
    let without: Vec<&CheckRow> = check.rows.iter().filter(|r| r.launches == 0.0).collect();
    match without[..] {
        [] => {}
        [row] => table.push(cells(row.name.clone().unwrap_or_default(), row, scales)),
        _ => {
            let name = format!("{} without kernels", without.len());
            table.push(cells(name, &together(&without), scales));
        }
    }
    table.space();
    table.push(cells("total".into(), &check.total, [&time, &flops, &bytes]));
    table
}

/// Work that has no kernels of its own, in one row: exports have it in as many as there are.
fn together(rows: &[&CheckRow]) -> CheckRow {
    let sum = |value: fn(&CheckRow) -> Option<f64>| rows.iter().map(|r| value(r)).sum();
    CheckRow { flops: sum(|r| r.flops), bytes: sum(|r| r.bytes), ..CheckRow::default() }
}

fn cells(name: String, row: &CheckRow, [time, flops, bytes]: [&Scale; 3]) -> Vec<String> {
    let counted = |scale: &Scale, value: Option<f64>, at_least: bool| match value {
        Some(value) if at_least => format!("≥{}", in_scale(scale, value)),
        value => or_na(value.map(|v| in_scale(scale, v))),
    };
    vec![
        name,
        format!("{:.2}", row.launches).trim_end_matches('0').trim_end_matches('.').to_string(),
        or_na(row.time_s.map(|t| in_scale(time, t))),
        counted(flops, row.counted_flops, row.counted_flops_at_least),
        or_na(row.flops.map(|f| in_scale(flops, f))),
        difference(row.flop_disagreement, row.counted_flops_at_least),
        counted(bytes, row.counted_bytes, row.counted_bytes_at_least),
        or_na(row.bytes.map(|b| in_scale(bytes, b))),
        difference(row.byte_disagreement, row.counted_bytes_at_least),
    ]
}

/// `+12.3`; whole from 1000 per cent on.
fn difference(fraction: Option<f64>, at_least: bool) -> String {
    let Some(percent) = fraction.map(|f| f * 100.0) else { return "n/a".into() };
    let sign = if at_least { "≥" } else { "" };
    if percent.abs() >= 1000.0 { format!("{sign}{percent:+.0}") } else { format!("{sign}{percent:+.1}") }
}

/// What the tables' numbers mean.
pub const CHECK_NOTE: &str = "\
differ = counted / analytic - 1. Counted bytes are DRAM's, analytic ones are
each op's inputs and outputs once. Counted FLOPs include the padding of matrix
units' tiles. What has no kernels of its own may run inside those of others.";
