//! The arithmetic that leads from the values of a launch's metrics to the numbers of its record.
//!
//! It is found once for a kernel with certain metrics, and must then be the only way that other values of the same metrics
//! could take.

use super::super::evaluate::Context;
use super::super::metrics::{CLOCKS, CYCLES, Factor, Quantity, formulas};
use super::super::readings::Readings;
use super::super::resources;
use super::super::tensor::{self, Form, TensorName};
use crate::hw::{Ceiling, CeilingKind, ComputeUnit};
use crate::profile::KernelRecord;

/// What a sum is multiplied by.
#[derive(Clone, Copy, Debug)]
enum By {
    One,
    Time,
    Value(usize),
    PerValue(usize),
    ValueTime(usize),
}

/// `(sum of weight x value) x factor`, as [`Context`] computes it.
#[derive(Clone, Debug)]
struct Expr {
    terms: Vec<(f64, usize)>,
    by: By,
}

impl Expr {
    /// `None` where the record would take another way.
    fn value(&self, values: &[f64], time: Option<f64>) -> Option<f64> {
        let sum: f64 = self.terms.iter().map(|(weight, at)| weight * values[*at]).sum();
        let value = sum * factor(self.by, values, time)?;
        value.is_finite().then_some(value)
    }
}

fn factor(by: By, values: &[f64], time: Option<f64>) -> Option<f64> {
    match by {
        By::One => Some(1.0),
        By::Time => time,
        By::Value(at) => Some(values[at]),
        By::PerValue(at) => (values[at] > 0.0).then(|| 1.0 / values[at]),
        By::ValueTime(at) => Some(values[at] * time?),
    }
}

/// The arithmetic from the values of a launch to the numbers of its record.
#[derive(Debug)]
pub(super) struct Program {
    time: Option<Expr>,
    /// Whether the first of the numbers is DRAM bytes.
    has_bytes: bool,
    /// Those of [`NUMBERS`] that there are.
    numbers: Vec<Expr>,
    ceilings: Vec<Expr>,
    /// By type, in the order of their names: sums of sums.
    tensor: Vec<Vec<Vec<usize>>>,
    tensor_by: By,
    /// Where the total and its parts are, which are checked against each other.
    bytes: Option<[usize; 3]>,
    /// Where registers and shared memory are, those of [`resources::METRICS`] that there are.
    resources: Vec<usize>,
}

impl Program {
    /// The arithmetic of a launch with these readings, of which those `available` are the values, and this record; `None`
    /// where other values could take another way.
    pub(super) fn of(read: &Readings<'_>, available: &[&str], record: &KernelRecord) -> Option<Self> {
        let at = |metric: &str| available.iter().position(|m| *m == metric);
        // Which instruction is the fastest may change with the numbers.
        let is_peak = |m: &&str| TensorName::parse(m).is_some_and(|n| n.form == Form::Peak);
        let matrix = |c: &Ceiling| matches!(c.kind, CeilingKind::Compute { unit: ComputeUnit::Matrix, .. });
        if available.iter().any(is_peak) || record.ceilings.iter().any(matrix) {
            return None;
        }
        let time = expr(Quantity::Time, &at, false)?;
        let has_time = time.is_some();
        let all = |quantities: &[Quantity]| -> Option<Vec<Expr>> {
            let exprs: Option<Vec<Option<Expr>>> =
                quantities.iter().map(|q| expr(*q, &at, has_time)).collect();
            Some(exprs?.into_iter().flatten().collect())
        };
        let context =
            Context { readings: read, time: record.time.as_ref().map(|t| t.value), per_second: false };
        let counted = tensor::counted(&context);
        // An estimate depends on more than counts.
        if counted.total.is_none() && record.flops.tensor.is_some() {
            return None;
        }
        let tensor_by = match counted.form {
            Some(Form::PerCycle) => cycles(&at, has_time)?,
            Some(Form::PerSecond) => By::Time,
            _ => By::One,
        };
        let tensor = counted.terms.values().map(|parts| {
            parts
                .iter()
                .map(|part| part.iter().map(|metric| at(metric)).collect::<Option<Vec<_>>>())
                .collect()
        });
        let parts = ["dram__bytes.sum", "dram__bytes_read.sum", "dram__bytes_write.sum"].map(at);
        let bytes = match parts {
            [Some(all), Some(read), Some(write)] => Some([all, read, write]),
            _ => None,
        };
        Some(Self {
            time,
            has_bytes: record.dram_bytes.is_some(),
            numbers: all(&NUMBERS)?,
            ceilings: all(&CEILINGS)?,
            tensor: tensor.collect::<Option<_>>()?,
            tensor_by,
            bytes,
            resources: resources::METRICS.iter().filter_map(|metric| at(metric)).collect(),
        })
    }

    /// Every number of the record, in the order of [`measured`]; `None` where the record would take another way.
    pub(super) fn results(&self, values: &[f64], into: &mut Vec<f64>) -> Option<()> {
        let time = match &self.time {
            Some(expr) => Some(expr.value(values, None).filter(|t| *t > 0.0)?),
            None => None,
        };
        into.extend(time);
        for (at, expr) in self.numbers.iter().enumerate() {
            let value = expr.value(values, time)?;
            // Without DRAM traffic there is a finding.
            if at == 0 && self.has_bytes && value == 0.0 {
                return None;
            }
            into.push(value);
        }
        let mut total = None;
        for parts in &self.tensor {
            let value = self.tensor_value(parts, values, time)?;
            *total.get_or_insert(-0.0) += value;
            into.push(value);
        }
        into.extend(total);
        for expr in &self.ceilings {
            into.push(expr.value(values, time).filter(|value| *value > 0.0)?);
        }
        if let Some([all, read, write]) = self.bytes {
            // Far stricter than the check of a record: near its bounds the record is made in full.
            let (all, parts) = (values[all], values[read] + values[write]);
            if (all - parts).abs() > 1000.0 {
                return None;
            }
        }
        for at in &self.resources {
            into.push(f64::from(resources::whole(values[*at])?));
        }
        Some(())
    }

    fn tensor_value(&self, parts: &[Vec<usize>], values: &[f64], time: Option<f64>) -> Option<f64> {
        let factor = factor(self.tensor_by, values, time)?;
        let mut sum = 0.0;
        for part in parts {
            let mut members = part.iter().map(|at| values[*at] * factor);
            let first = members.next()?;
            sum += members.fold(first, |a, b| a + b);
        }
        f64::is_finite(sum).then_some(sum)
    }
}

/// Sets the numbers of a record to what [`Program::results`] gave; false when it has not as many.
pub(super) fn fill(record: &mut KernelRecord, results: &[f64]) -> bool {
    let mut results = results.iter().copied();
    let complete = measured(record).all(|number| results.next().map(|value| *number = value).is_some());
    complete && resources::refill(record, || results.next()) && results.next().is_none()
}

/// The numbers of a record, in a fixed order: time, those of [`NUMBERS`], matrix units by type and in total, ceilings.
fn measured(record: &mut KernelRecord) -> impl Iterator<Item = &mut f64> {
    let flops = &mut record.flops;
    let of_rows = [
        &mut record.time,
        &mut record.dram_bytes,
        &mut record.l2_bytes,
        &mut record.l1_bytes,
        &mut record.dram_percent,
        &mut record.sm_percent,
        &mut flops.fp64,
        &mut flops.fp32,
        &mut flops.fp16,
        &mut flops.fp16_packed,
    ];
    let tensor = flops.tensor_by_type.values_mut().chain(&mut flops.tensor);
    let measured = of_rows.into_iter().flatten().chain(tensor).map(|m| &mut m.value);
    measured.chain(record.ceilings.iter_mut().map(|c| &mut c.value))
}

/// The quantities that rows of metrics give, time left out.
const NUMBERS: [Quantity; 9] = [
    Quantity::DramBytes,
    Quantity::L2Bytes,
    Quantity::L1Bytes,
    Quantity::DramPercent,
    Quantity::SmPercent,
    Quantity::Fp64,
    Quantity::Fp32,
    Quantity::Fp16,
    Quantity::Fp16Packed,
];

const CEILINGS: [Quantity; 6] = [
    Quantity::CeilingFp64,
    Quantity::CeilingFp32,
    Quantity::CeilingFp16,
    Quantity::CeilingDram,
    Quantity::CeilingL2,
    Quantity::CeilingL1,
];

/// The arithmetic of a quantity, if it has any: the outer `None` where it depends on the numbers which way is taken.
fn expr(quantity: Quantity, at: &impl Fn(&str) -> Option<usize>, has_time: bool) -> Option<Option<Expr>> {
    let mut part = None;
    for formula in formulas(quantity) {
        let terms: Vec<(f64, usize)> =
            formula.terms.iter().filter_map(|(weight, metric)| Some((*weight, at(metric)?))).collect();
        let by = match formula.factor {
            Factor::One => Some(By::One),
            Factor::Time => has_time.then_some(By::Time),
            Factor::Cycles => cycles(at, has_time),
            Factor::Times(name) => at(name).map(By::Value),
            Factor::Per(name) => at(name).map(By::PerValue),
        };
        let Some(by) = by.filter(|_| !terms.is_empty()) else { continue };
        let complete = terms.len() == formula.terms.len();
        let expr = Expr { terms, by };
        if complete {
            return Some(Some(expr));
        }
        if part.replace(expr).is_some() {
            return None;
        }
    }
    Some(part)
}

fn cycles(at: &impl Fn(&str) -> Option<usize>, has_time: bool) -> Option<By> {
    let counted = CYCLES.iter().find_map(|m| at(m)).map(By::Value);
    counted.or_else(|| CLOCKS.iter().find_map(|m| at(m)).filter(|_| has_time).map(By::ValueTime))
}
