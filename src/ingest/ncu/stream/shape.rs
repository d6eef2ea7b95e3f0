//! Launches that differ in their numbers only.
//!
//! A program launches few kernels many times, and a profiler collects the same metrics of each. What a record says
//! besides its numbers follows from the kernel and from which metrics have a value: it is made once, by the same
//! code as everywhere, with the arithmetic that leads from the metrics to its numbers. Every further launch of the
//! shape is that arithmetic only. A shape whose arithmetic does not give the record's own numbers bit by bit, or
//! which could take another way for other numbers, is not used.

use super::super::checks;
use super::super::evaluate::Context;
use super::super::launches::{Cell, Launch};
use super::super::locale::{Locale, Number};
use super::super::metrics::{CLOCKS, CYCLES, Factor, Quantity, formulas, is_extent};
use super::super::readings::{self, Assumptions, Readings, Scaling};
use super::super::tensor::{self, Form, TensorName};
use super::super::{kernel_record, record};
use super::head::Plan;
use crate::hw::{Ceiling, CeilingKind, ComputeUnit};
use crate::ingest::Seen;
use crate::profile::{FindingCode, KernelRecord};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

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
struct Program {
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
}

/// The shapes that one thread knows.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// By the length and the end of the kernel's name.
    known: HashMap<(usize, [u8; 16]), Known, RandomState>,
    count: usize,
    numbers: Numbers,
    values: Vec<f64>,
}

/// Kernels whose names are as long and end alike.
#[derive(Debug, Default)]
struct Known {
    shapes: Vec<Arc<Shape>>,
    /// How often a launch had no shape that can be used.
    failures: usize,
}

/// Hostile files have no two launches alike: then nothing is remembered.
const MOST_SHAPES: usize = 4096;
const MOST_ALIKE: usize = 16;

impl Shapes {
    /// The shape of a launch and where its numbers are put in `results`; `None` for a launch to be read in full.
    pub(super) fn find<'c>(
        &mut self,
        plan: &Plan<'_>,
        launch: &'c Launch<'c>,
        told: impl Iterator<Item = (u32, Option<Scaling>)>,
        assumptions: &mut Assumptions,
        results: &mut Vec<f64>,
    ) -> Option<(&Arc<Shape>, Range<usize>)> {
        let cells = launch.cells.iter().zip(told).map(|(cell, (id, scaling))| (id, cell, scaling));
        if !self.numbers.read(cells, plan.locale, assumptions) {
            return None;
        }
        let kernel = launch.key.kernel.as_bytes();
        let mut end = [0; 16];
        let tail = &kernel[kernel.len().saturating_sub(16)..];
        end[..tail.len()].copy_from_slice(tail);
        let known = self.known.entry((kernel.len(), end)).or_default();
        let at = match known.shapes.iter().position(|shape| shape.is_of(launch, &self.numbers)) {
            Some(at) => at,
            None if known.failures + known.shapes.len() < MOST_ALIKE && self.count < MOST_SHAPES => {
                let Some(shape) = Shape::learn(plan.name, launch, &self.numbers, plan.locale, &plan.shapes)
                else {
                    known.failures += 1;
                    return None;
                };
                self.count += 1;
                known.shapes.push(Arc::new(shape));
                known.shapes.len() - 1
            }
            None => return None,
        };
        let shape = &known.shapes[at];
        shape.values(&self.numbers, &mut self.values);
        let start = results.len();
        if shape.program.results(&self.values, results).is_none() {
            results.truncate(start);
            return None;
        }
        Some((shape, start..results.len()))
    }
}

/// A kernel with the same metrics.
#[derive(Debug)]
pub(super) struct Shape {
    /// A number that no other shape of this reading has.
    number: usize,
    /// Which cells there are, and whether each has a value.
    cells: Vec<(u32, bool)>,
    kernel: String,
    capability: String,
    device: String,
    display_name: String,
    nvtx: Vec<String>,
    /// The cell behind each value.
    from: Vec<usize>,
    program: Program,
    /// What a launch is called in findings, around its ID.
    about: [String; 2],
    /// The record of the last launch of this shape that was asked for.
    record: Mutex<KernelRecord>,
}

/// What one launch of a shape has of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own<'c> {
    pub(super) id: &'c str,
    pub(super) process: &'c str,
    pub(super) grid: &'c str,
    pub(super) block: &'c str,
    pub(super) context: &'c str,
    pub(super) stream: &'c str,
    /// What the profiler's rule says, if it names percentages.
    pub(super) rule: &'c str,
}

const DISPLAY_NAME: &str = "device__attribute_display_name";

/// The cells of a launch as numbers, kept to use their memory again.
#[derive(Debug, Default)]
struct Numbers {
    cells: Vec<(u32, bool)>,
    values: Vec<f64>,
}

impl Numbers {
    /// Reads the cells, each with a number that stands for its metric, name and unit; false when one is neither a
    /// number from zero up nor absent, or its unit is unknown.
    fn read<'c>(
        &mut self,
        cells: impl Iterator<Item = (u32, &'c Cell<'c>, Option<Scaling>)>,
        locale: Locale,
        assumptions: &mut Assumptions,
    ) -> bool {
        self.cells.clear();
        self.values.clear();
        for (id, cell, scaling) in cells {
            let value = match locale.parse(&cell.raw) {
                _ if cell.metric == DISPLAY_NAME => None,
                // A time of zero was rounded away.
                Number::Value(value)
                    if value > 0.0 || (value == 0.0 && !cell.metric.starts_with("gpu__time")) =>
                {
                    let Some(scaling) = scaling else { return false };
                    Some(scaling.apply(cell, value, assumptions))
                }
                Number::NotAvailable => None,
                _ => return false,
            };
            self.cells.push((id, value.is_some()));
            self.values.push(value.unwrap_or(0.0));
        }
        true
    }
}

impl Shape {
    /// Learns the shape of a launch; `None` for one that must be read in full each time.
    fn learn(
        name: &str,
        launch: &Launch<'_>,
        numbers: &Numbers,
        locale: Locale,
        counter: &AtomicUsize,
    ) -> Option<Self> {
        // A summary is scaled, and a capability or a grid told by counters is itself a number.
        let column = launch.capability.split_once('.');
        let is_number =
            |text: &str| !text.is_empty() && text.len() < 4 && text.bytes().all(|b| b.is_ascii_digit());
        let told = column.is_some_and(|(major, minor)| is_number(major) && is_number(minor));
        let extents = launch.cells.iter().any(|cell| is_extent(cell.metric));
        if !launch.invocations.is_empty() || !told || extents {
            return None;
        }
        // What a rule says is compared with the numbers of each launch.
        let launch = &Launch { rule: None, ..launch.clone() };
        let mut ignored = Vec::new();
        let read =
            readings::read(name, &launch.cells, locale, &mut Assumptions::default(), &mut ignored).ok()?;
        let (record, about_lines) = kernel_record(name, launch, locale, &mut Assumptions::default()).ok()?;
        let per_launch = |code| matches!(code, FindingCode::FlopsIncomplete);
        let plain = record.findings.iter().all(|f| per_launch(f.code));
        if about_lines > 0 || record.rates.is_some() || record.launches != 1 || !plain {
            return None;
        }
        let available: Vec<&str> = read.available().map(|r| r.metric).collect();
        let from =
            available.iter().map(|metric| cell_of(launch, &read, numbers, metric)).collect::<Option<_>>()?;
        let program = program(&read, &available, &record)?;
        let shape = Self {
            number: counter.fetch_add(1, Ordering::Relaxed),
            cells: numbers.cells.clone(),
            kernel: launch.key.kernel.to_string(),
            capability: launch.capability.to_string(),
            device: launch.device_name.to_string(),
            display_name: display_name(launch).to_string(),
            nvtx: launch.nvtx.iter().map(ToString::to_string).collect(),
            from,
            program,
            about: record::about_around(&record),
            record: Mutex::new(record.clone()),
        };
        let (mut values, mut results, mut again) = (Vec::new(), Vec::new(), record.clone());
        shape.values(numbers, &mut values);
        shape.program.results(&values, &mut results)?;
        (Self::fill(&mut again, &results) && again == record).then_some(shape)
    }

    /// Whether a launch is of this shape.
    fn is_of(&self, launch: &Launch<'_>, numbers: &Numbers) -> bool {
        self.cells == numbers.cells
            && self.kernel == launch.key.kernel
            && self.capability == launch.capability
            && self.device == launch.device_name
            && self.nvtx.iter().eq(launch.nvtx.iter())
            && self.display_name == display_name(launch)
    }

    /// The values that the arithmetic needs.
    fn values(&self, numbers: &Numbers, into: &mut Vec<f64>) {
        into.clear();
        into.extend(self.from.iter().map(|cell| numbers.values[*cell]));
    }

    /// Gives the record of one launch.
    pub(super) fn with<R>(&self, own: &Own<'_>, results: &[f64], then: impl FnOnce(Seen<'_>) -> R) -> R {
        // OK to go on with a poisoned record: everything that varies is set again.
        let mut record = self.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let place = [own.grid, own.block, own.context, own.stream];
        record::set_identity(&mut record, own.id, own.process, place);
        Self::fill(&mut record, results);
        let mut findings = std::mem::take(&mut record.findings);
        for finding in &mut findings {
            let [before, after] = &self.about;
            finding.about.clear();
            [before, own.id.trim(), after].into_iter().for_each(|part| finding.about.push_str(part));
        }
        let always = findings.len();
        if !own.rule.is_empty() {
            let about = record::about(&record);
            findings.extend(checks::rule_against_flops(&about, own.rule, &record));
        }
        record.findings = findings;
        let result = then(Seen { record: &record, alike: Some(self.number) });
        record.findings.truncate(always);
        result
    }

    /// Sets the numbers of a record; false when it has not as many.
    fn fill(record: &mut KernelRecord, results: &[f64]) -> bool {
        let mut results = results.iter();
        let complete = measured(record).all(|number| results.next().map(|value| *number = *value).is_some());
        complete && results.next().is_none()
    }
}

impl Program {
    /// Every number of the record, in the order of [`measured`]; `None` where the record would take another way.
    fn results(&self, values: &[f64], into: &mut Vec<f64>) -> Option<()> {
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

fn display_name<'c>(launch: &'c Launch<'_>) -> &'c str {
    launch.cells.iter().find(|c| c.metric == DISPLAY_NAME).map_or("", |c| &c.raw)
}

/// The cell that a reading comes from: the first of its name with a value.
fn cell_of(launch: &Launch<'_>, read: &Readings<'_>, numbers: &Numbers, metric: &str) -> Option<usize> {
    let reading = read.get(metric)?;
    let at = launch.cells.iter().zip(&numbers.cells).position(|(cell, (_, has_value))| {
        cell.metric == metric && cell.shown == reading.shown() && *has_value
    })?;
    (reading.value == Some(numbers.values[at])).then_some(at)
}

fn program(read: &Readings<'_>, available: &[&str], record: &KernelRecord) -> Option<Program> {
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
        let exprs: Option<Vec<Option<Expr>>> = quantities.iter().map(|q| expr(*q, &at, has_time)).collect();
        Some(exprs?.into_iter().flatten().collect())
    };
    let context = Context { readings: read, time: record.time.as_ref().map(|t| t.value), per_second: false };
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
        parts.iter().map(|part| part.iter().map(|metric| at(metric)).collect::<Option<Vec<_>>>()).collect()
    });
    let parts = ["dram__bytes.sum", "dram__bytes_read.sum", "dram__bytes_write.sum"].map(at);
    let bytes = match parts {
        [Some(all), Some(read), Some(write)] => Some([all, read, write]),
        _ => None,
    };
    Some(Program {
        time,
        has_bytes: record.dram_bytes.is_some(),
        numbers: all(&NUMBERS)?,
        ceilings: all(&CEILINGS)?,
        tensor: tensor.collect::<Option<_>>()?,
        tensor_by,
        bytes,
    })
}

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
