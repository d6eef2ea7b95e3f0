//! From an export's sums and a stage's ops to rows of both.

use super::expected::ExpectedOp;
use super::sums::{Chosen, Sum};
use super::{CheckLevel, CheckRow, CounterCheck, Expected};
use crate::llm::Work;
use crate::roofline::Place;

/// A level is used if kernels of at least this part of the time are known by it.
const KNOWN: f64 = 0.9;

/// With more of the FLOPs without kernels, an export holds only a part of the step, and totals are of unlike things:
/// what is fused into other kernels (norms, activations) is a few per cent.
pub(super) const PART: f64 = 0.1;

/// Checks the kernels `chosen` of one version against `expected`.
pub(super) fn check(
    file: &str,
    version: Option<String>,
    chosen: &Chosen<'_>,
    expected: &Expected,
) -> CounterCheck {
    let level = level(chosen, &expected.ops);
    let all = chosen.iter().fold(Sum::none(), |mut sum, (_, of)| {
        sum.add(of);
        sum
    });
    let work: Work = expected.ops.iter().map(|op| op.work).sum();
    let rows = rows(chosen, expected, level);
    let mut total = row(None, &all, Some(&work), expected.steps);
    if without_kernels(&rows) > PART {
        (total.flop_disagreement, total.byte_disagreement) = (None, None);
    }
    CounterCheck {
        file: file.to_string(),
        against: expected.against.clone(),
        version,
        stage: expected.stage,
        steps: expected.steps,
        level,
        rows,
        total,
    }
}

/// The part of the FLOPs whose ops have no kernels of their own.
pub(super) fn without_kernels(rows: &[CheckRow]) -> f64 {
    let flops = |row: &CheckRow| row.flops.unwrap_or(0.0);
    let all: f64 = rows.iter().map(flops).sum();
    let without: f64 = rows.iter().filter(|r| r.launches == 0.0).map(flops).sum();
    if all > 0.0 { without / all } else { 0.0 }
}

/// The finest level by which nearly all kernels are known.
fn level(chosen: &Chosen<'_>, ops: &[ExpectedOp]) -> CheckLevel {
    let timed = chosen.iter().all(|(_, s)| s.time_s.is_some());
    let weight = |s: &Sum| if timed { s.weight() } else { s.launches as f64 };
    let all: f64 = chosen.iter().map(|(_, s)| weight(s)).sum();
    let known = |level: CheckLevel| -> f64 {
        let names = |(place, _): &&(&Place, &Sum)| name(place, level, ops).is_some();
        chosen.iter().filter(names).map(|(_, s)| weight(s)).sum()
    };
    CheckLevel::ALL.into_iter().find(|l| known(*l) >= KNOWN * all).unwrap_or(CheckLevel::Class)
}

/// What a kernel is called at a level; an op only if the step has it.
fn name<'a>(place: &'a Place, level: CheckLevel, ops: &[ExpectedOp]) -> Option<&'a str> {
    match level {
        CheckLevel::Op => place.op.as_deref().filter(|op| ops.iter().any(|o| o.label == *op)),
        CheckLevel::Phase => place.phase.map(crate::llm::Phase::name),
        CheckLevel::Class => place.class.as_deref(),
    }
}

fn rows(chosen: &Chosen<'_>, expected: &Expected, level: CheckLevel) -> Vec<CheckRow> {
    let ops = &expected.ops;
    let mut counted: Vec<(Option<&str>, Sum)> = Vec::new();
    for (place, sum) in chosen {
        let name = name(place, level, ops);
        match counted.iter_mut().find(|(n, _)| *n == name) {
            Some((_, known)) => known.add(sum),
            None => {
                let mut first = Sum::none();
                first.add(sum);
                counted.push((name, first));
            }
        }
    }
    let mut work: Vec<(&str, Work)> = Vec::new();
    for op in ops {
        let has_kernels = |name: &&str| counted.iter().any(|(n, _)| *n == Some(*name));
        let name = match level {
            CheckLevel::Op => op.label.as_str(),
            CheckLevel::Phase => op.phase.name(),
            CheckLevel::Class => op.classes.iter().copied().find(has_kernels).unwrap_or(op.classes[0]),
        };
        match work.iter_mut().find(|(n, _)| *n == name) {
            Some((_, known)) => *known += op.work,
            None => work.push((name, op.work)),
        }
    }
    let of = |name: Option<&str>| counted.iter().find(|(n, _)| *n == name).map(|(_, sum)| *sum);
    let mut rows: Vec<CheckRow> = work
        .iter()
        .map(|(name, work)| {
            let sum = of(Some(name)).unwrap_or_else(Sum::default);
            row(Some((*name).to_string()), &sum, Some(work), expected.steps)
        })
        .collect();
    // Kernels that no op is expected of, the longest first, and those known by nothing.
    let mut rest: Vec<(Option<&str>, Sum)> =
        counted.iter().filter(|(n, _)| !work.iter().any(|(w, _)| Some(*w) == *n)).copied().collect();
    rest.sort_by(|a, b| b.1.weight().total_cmp(&a.1.weight()));
    rest.sort_by_key(|(name, _)| name.is_none());
    rows.extend(rest.iter().map(|(name, sum)| row(name.map(str::to_string), sum, None, expected.steps)));
    rows
}

fn row(name: Option<String>, sum: &Sum, work: Option<&Work>, steps: f64) -> CheckRow {
    let per_step = |value: Option<f64>| value.map(|v| v / steps);
    let (flops, bytes) = (work.map(|w| w.flops().0), work.map(|w| w.bytes().0));
    let (counted_flops, counted_bytes) = (per_step(sum.flops), per_step(sum.bytes));
    CheckRow {
        name,
        launches: sum.launches as f64 / steps,
        time_s: per_step(sum.time_s),
        counted_flops,
        counted_flops_at_least: sum.flops_at_least,
        flops,
        flop_disagreement: disagreement(counted_flops, flops, sum.flops_at_least),
        counted_bytes,
        counted_bytes_at_least: sum.bytes_at_least,
        bytes,
        byte_disagreement: disagreement(counted_bytes, bytes, sum.bytes_at_least),
    }
}

/// counted / analytic - 1. A lower bound that is below says nothing; one that is above disagrees by at least so much.
fn disagreement(counted: Option<f64>, analytic: Option<f64>, at_least: bool) -> Option<f64> {
    let analytic = analytic.filter(|a| *a > 0.0)?;
    let disagreement = counted? / analytic - 1.0;
    (!at_least || disagreement > 0.0).then_some(disagreement)
}
