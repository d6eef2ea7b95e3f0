//! Launches that differ in their numbers only.
//!
//! A program launches few kernels many times, and a profiler collects the same metrics of each. What a record says
//! besides its numbers follows from the kernel and from which metrics have a value: it is made once, by the same
//! code as everywhere, with the arithmetic that leads from the metrics to its numbers. Every further launch of the
//! shape is that arithmetic only. A shape whose arithmetic does not give the record's own numbers bit by bit, or
//! which could take another way for other numbers, is not used.

use super::super::checks;
use super::super::launches::{Cell, Launch};
use super::super::locale::{Locale, Number};
use super::super::metrics::is_extent;
use super::super::readings::{self, Assumptions, Readings, Scaling};
use super::super::{kernel_record, record};
use super::head::Plan;
use super::program::{Program, fill};
use crate::ingest::Seen;
use crate::profile::{FindingCode, KernelRecord};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

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
                    scaling.apply(cell, value, assumptions)
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
        let program = Program::of(&read, &available, &record)?;
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
        (fill(&mut again, &results) && again == record).then_some(shape)
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
        fill(&mut record, results);
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
}

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
