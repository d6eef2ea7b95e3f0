//! What a reader should know of counters and analytic work that disagree, or that could not be matched.

use super::expected::place;
use super::{CheckRow, CounterCheck, CounterSums, Expected, rows};
use crate::profile::{Finding, FindingCode};
use crate::units::{Bytes, Flops, format_si};

/// FLOPs further apart are a finding: of matrix products they are exact, and the rest is a few per cent of a model's.
const FLOPS_AGREE: f64 = 0.1;
/// Bytes that exceed the floor by more are: caches of real chips keep most of what is used twice in a kernel.
const BYTES_ABOVE: f64 = 0.25;
/// So are bytes below it by more: weights and cache have to come from DRAM, and are most of a model's bytes.
const BYTES_BELOW: f64 = -0.1;

/// What is off by less than this part of what was counted changes no conclusion.
const MATTERS: f64 = 0.05;

/// The largest disagreement of FLOPs and that of bytes, if they are findings; and that most work has no kernels.
pub(super) fn disagreements(check: &CounterCheck) -> Vec<Finding> {
    [flops(check), bytes(check), partial(check)].into_iter().flatten().collect()
}

/// Totals of an export of a part of a step say nothing.
fn partial(check: &CounterCheck) -> Option<Finding> {
    let without = rows::without_kernels(&check.rows);
    if without <= rows::PART {
        return None;
    }
    let names: Vec<&str> =
        check.rows.iter().filter(|r| r.launches == 0.0).filter_map(|r| r.name.as_deref()).collect();
    let message = format!(
        "no kernels are known of ops with {:.0} % of the FLOPs ({}): the totals are not compared",
        without * 100.0,
        names.join(", ")
    );
    let remedy = "profile the whole step, or map kernels to ops with --rules";
    let about = format!("{}: {}", check.file, place(check.version.as_deref(), check.stage));
    Some(Finding::new(FindingCode::Partial, about, message).with_remedy(remedy))
}

/// The row that is furthest off in absolute numbers, and by how much of its analytic number.
fn worst(
    check: &CounterCheck,
    numbers: impl Fn(&CheckRow) -> (Option<f64>, Option<f64>, Option<f64>),
    matters: impl Fn(f64) -> bool,
) -> Option<(&CheckRow, f64, f64)> {
    let off = |row| {
        let (disagreement, counted, analytic) = numbers(row);
        Some((row, disagreement.filter(|d| matters(*d))?, (counted? - analytic?).abs()))
    };
    let counted = check.rows.iter().filter(|row| numbers(row).1.is_some());
    let total: f64 = counted.filter_map(|row| numbers(row).2).sum();
    let largest = check.rows.iter().filter_map(off).max_by(|a, b| a.2.total_cmp(&b.2))?;
    (largest.2 > MATTERS * total).then_some(largest)
}

fn flops(check: &CounterCheck) -> Option<Finding> {
    let numbers = |row: &CheckRow| (row.flop_disagreement, row.counted_flops, row.flops);
    let (row, disagreement, _) = worst(check, numbers, |d| d.abs() > FLOPS_AGREE)?;
    let cause = if disagreement > 0.0 {
        "matrix units compute whole tiles, which few rows leave mostly empty; or more ran than was said"
    } else {
        "less ran than was said, or by another algorithm; or its kernels are counted elsewhere"
    };
    let numbers = [row.counted_flops?, row.flops?].map(|v| format_si(v, Flops::UNIT));
    Some(finding(check, row, "FLOPs", disagreement, &numbers, cause))
}

fn bytes(check: &CounterCheck) -> Option<Finding> {
    let numbers = |row: &CheckRow| (row.byte_disagreement, row.counted_bytes, row.bytes);
    let (row, disagreement, _) = worst(check, numbers, |d| !(BYTES_BELOW..=BYTES_ABOVE).contains(&d))?;
    let cause = if disagreement > 0.0 {
        "data is read more than once, or written where a fused kernel would not; or more ran than was said"
    } else {
        "data stays in a cache between kernels, or is written back after them; or less ran than was said"
    };
    let numbers = [row.counted_bytes?, row.bytes?].map(|v| format_si(v, Bytes::UNIT));
    Some(finding(check, row, "DRAM bytes", disagreement, &numbers, cause))
}

fn finding(
    check: &CounterCheck,
    row: &CheckRow,
    what: &str,
    disagreement: f64,
    [counted, analytic]: &[String; 2],
    cause: &str,
) -> Finding {
    let name = row.name.as_deref().unwrap_or("unknown kernels");
    let message = format!(
        "{what} of {name}: {counted} counted, {analytic} analytic, {}: {cause}",
        signed_percent(disagreement)
    );
    let about = format!("{}: {}", check.file, place(check.version.as_deref(), check.stage));
    Finding::new(FindingCode::Disagreement, about, message)
}

/// `+12.3 %`; whole from 1000 on.
fn signed_percent(fraction: f64) -> String {
    let percent = fraction * 100.0;
    if percent.abs() >= 1000.0 { format!("{percent:+.0} %") } else { format!("{percent:+.1} %") }
}

/// Expected work that no kernel of the export is known to be of, or kernels that no work was expected of.
pub(super) fn unmatched(
    file: &str,
    sums: &CounterSums,
    expected: &[Expected],
    checks: &[CounterCheck],
) -> Option<Finding> {
    let names: Vec<String> = expected.iter().map(|e| place(e.version.as_deref(), e.stage)).collect();
    let remedy = "profile with NVTX ranges (--nvtx) that name the stage, as kprof's passes have, or map kernels to \
                  stages with --rules";
    if expected.is_empty() {
        return None;
    }
    if checks.is_empty() {
        let message = format!(
            "no kernel is known to be of {}, so counters are not checked against analytic work",
            names.join(", ")
        );
        return Some(Finding::new(FindingCode::MetricMissing, file, message).with_remedy(remedy));
    }
    let by_stage = sums.has_stages() && expected.iter().all(|e| e.stage.is_some());
    let share = sums.share_without_stage().filter(|share| by_stage && *share > 0.01)?;
    let message =
        format!("{:.0} % of the kernels' time is of no known stage: it is in no check", share * 100.0);
    Some(Finding::new(FindingCode::Disagreement, file, message).with_remedy(remedy))
}
