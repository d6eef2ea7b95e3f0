//! The values of one launch in base units, by metric.

use super::NcuError;
use super::launches::Cell;
use super::locale::{Locale, Number};
use super::metrics::is_extent;
use super::resources::is_resource;
use super::units::{self, Reading as UnitReading};
use crate::profile::{Finding, FindingCode};
use std::collections::BTreeSet;

/// One metric of a launch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    pub(super) metric: &'a str,
    /// What the file calls it.
    shown: &'a str,
    /// `None` when it is not available.
    pub(super) value: Option<f64>,
    nan: bool,
}

impl<'a> Reading<'a> {
    /// What the file calls the metric.
    pub(super) fn shown(&self) -> &'a str {
        self.shown
    }

    /// The name for a source: a label is quoted, so that it is not taken for a metric's name.
    pub(super) fn source(&self) -> String {
        if self.shown.contains("__") { self.metric.to_string() } else { format!("'{}'", self.shown) }
    }
}

/// The metrics of one launch.
#[derive(Clone, Debug, Default)]
pub(super) struct Readings<'a>(Vec<Reading<'a>>);

impl<'a> Readings<'a> {
    /// The reading of a metric, if it has a value.
    pub(super) fn get(&self, metric: &str) -> Option<&Reading<'a>> {
        self.0.iter().find(|r| r.metric == metric && r.value.is_some())
    }

    /// The value of a metric.
    pub(super) fn value(&self, metric: &str) -> Option<f64> {
        self.get(metric).and_then(|r| r.value)
    }

    /// All that have a value.
    pub(super) fn available(&self) -> impl Iterator<Item = &Reading<'a>> {
        self.0.iter().filter(|r| r.value.is_some())
    }

    /// Every metric that was asked for, available or not.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.0.iter().map(|r| r.metric)
    }

    /// Whether the launch was not measured: every counter is NaN. Attributes of the device and of the launch do not count.
    pub(super) fn all_nan(&self) -> bool {
        let is_counter =
            |r: &&Reading<'_>| !r.metric.starts_with("device__") && !r.metric.starts_with("launch__");
        let mut counters = self.0.iter().filter(is_counter).peekable();
        counters.peek().is_some()
            && counters.all(|r| r.nan || r.value.is_none())
            && self.0.iter().any(|r| r.nan)
    }

    /// Values that are numbers already, in the profiler's base units: no text, no unit, each metric once.
    pub(super) fn from_values(
        about: &str,
        values: Vec<(&'a str, Option<f64>)>,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let mut readings = Vec::with_capacity(values.len());
        for (metric, value) in values {
            let nan = value.is_some_and(f64::is_nan);
            if let Some(value) = value.filter(|v| *v < 0.0) {
                findings.push(negative(about.to_string(), metric, &value.to_string()));
            }
            let value = value.filter(|v| v.is_finite() && *v >= 0.0).map(|v| v * base_factor(metric));
            readings.push(Reading {
                metric,
                shown: metric,
                value: value.filter(|v| is_possible(metric, *v)),
                nan,
            });
        }
        Self(readings)
    }

    fn insert(&mut self, reading: Reading<'a>) {
        let is_label = |r: &Reading<'_>| !r.shown.contains("__");
        match self.0.iter_mut().find(|r| r.metric == reading.metric) {
            // A metric by its own name has more digits than its label; otherwise the first value stays.
            Some(old)
                if old.value.is_none()
                    || (is_label(old) && !is_label(&reading) && reading.value.is_some()) =>
            {
                *old = reading;
            }
            Some(_) => {}
            None => self.0.push(reading),
        }
    }
}

/// What reading a file's cells assumed, said once per metric.
#[derive(Debug, Default)]
pub(super) struct Assumptions {
    units: BTreeSet<String>,
    texts: BTreeSet<String>,
    coarse: BTreeSet<String>,
    inexact: BTreeSet<String>,
}

impl Assumptions {
    /// Adds what reading another part of the file assumed.
    pub(super) fn merge(&mut self, other: Self) {
        self.units.extend(other.units);
        self.texts.extend(other.texts);
        self.coarse.extend(other.coarse);
        self.inexact.extend(other.inexact);
    }

    /// As findings about `file`.
    pub(super) fn findings(&self, file: &str) -> Vec<Finding> {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        let mut findings = Vec::new();
        if !self.units.is_empty() {
            let message =
                format!("no unit is given for {}; base units (ns, byte, Hz) are assumed", list(&self.units));
            findings.push(
                Finding::new(FindingCode::ReadingAssumption, file, message)
                    .with_remedy("an ncu older than the report writes this: export with a newer one"),
            );
        }
        if !self.texts.is_empty() {
            let message =
                format!("values of {} are no numbers and are treated as not available", list(&self.texts));
            findings.push(Finding::new(FindingCode::ReadingAssumption, file, message));
        }
        if !self.coarse.is_empty() {
            let message = format!(
                "{} is printed with fewer than three digits for some launches, whose values are that uncertain",
                list(&self.coarse)
            );
            findings.push(Finding::new(FindingCode::ReadingAssumption, file, message).with_remedy(
                "export times and bytes with --print-units base, and collect counts (.sum) instead of rates",
            ));
        }
        if !self.inexact.is_empty() {
            let message = format!(
                "{} is not printed to the byte for some launches, or in an unknown unit, and is treated as not \
                 available there",
                list(&self.inexact)
            );
            findings.push(
                Finding::new(FindingCode::ReadingAssumption, file, message)
                    .with_remedy("export with --print-units base"),
            );
        }
        findings
    }
}

/// Reads the cells of one launch.
///
/// # Errors
/// When a value's unit is unknown or measures something else.
pub(super) fn read<'a>(
    file: &str,
    cells: &[Cell<'a>],
    locale: Locale,
    assumptions: &mut Assumptions,
    findings: &mut Vec<Finding>,
) -> Result<Readings<'a>, NcuError> {
    let mut readings = Readings(Vec::with_capacity(cells.len()));
    for cell in cells {
        let mut reading = Reading { metric: cell.metric, shown: cell.shown, value: None, nan: false };
        match locale.parse(&cell.raw) {
            Number::Value(value) if value < 0.0 => {
                findings.push(negative(format!("{file}:{}", cell.unit_at.0), cell.metric, &cell.raw));
            }
            Number::Value(value) => {
                let value = scale(file, cell, value, assumptions)?;
                reading.value = value.filter(|v| is_possible(cell.metric, *v));
            }
            Number::Nan => reading.nan = true,
            Number::Text if !is_text_metric(cell.metric) => {
                assumptions.texts.insert(cell.metric.to_string());
            }
            Number::Text | Number::NotAvailable => {}
        }
        readings.insert(reading);
    }
    Ok(readings)
}

fn is_text_metric(metric: &str) -> bool {
    metric == "device__attribute_display_name"
}

/// Replayed counters that are subtracted from each other can fall below zero.
fn negative(about: String, metric: &str, raw: &str) -> Finding {
    let message = format!("metric '{metric}' is {raw}: a counter below zero is treated as not available");
    Finding::new(FindingCode::MetricMissing, about, message)
}

/// No launch takes no time: it was rounded away, or not measured.
fn is_possible(metric: &str, value: f64) -> bool {
    value != 0.0 || !metric.starts_with("gpu__time")
}

/// What a value in ncu's base units (ns, byte, Hz) is multiplied by.
pub(super) fn base_factor(metric: &str) -> f64 {
    if units::dimension_of(metric) == units::Dimension::Time { 1e-9 } else { 1.0 }
}

/// How the values of a metric with a unit are brought to base units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaling {
    dimension: units::Dimension,
    reading: UnitReading,
}

impl Scaling {
    /// `None` when the unit is unknown or measures something else.
    pub(super) fn of(metric: &str, unit: &str) -> Option<Self> {
        let dimension = units::dimension_of(metric);
        if is_extent(metric) {
            // `block`, `blocks`, `thread` or nothing, by version.
            return Some(Self { dimension, reading: UnitReading::Factor(1.0) });
        }
        Some(Self { dimension, reading: units::reading(unit, dimension)? })
    }

    /// The value of a cell in base units; `None` where its digits do not tell it.
    pub(super) fn apply(self, cell: &Cell<'_>, value: f64, assumptions: &mut Assumptions) -> Option<f64> {
        match self.reading {
            UnitReading::Factor(factor) => {
                if self.dimension == units::Dimension::BytesPerBlock && !is_to_the_byte(cell, factor) {
                    assumptions.inexact.insert(cell.metric.to_string());
                    return None;
                }
                if is_coarse(cell, value, factor, self.dimension) {
                    assumptions.coarse.insert(cell.metric.to_string());
                }
                Some(value * factor)
            }
            UnitReading::Assumed => {
                assumptions.units.insert(cell.shown.to_string());
                Some(value * base_factor(cell.metric))
            }
        }
    }
}

fn scale(
    file: &str,
    cell: &Cell<'_>,
    value: f64,
    assumptions: &mut Assumptions,
) -> Result<Option<f64>, NcuError> {
    let scaling = Scaling::of(cell.metric, cell.unit);
    // No number of a roofline needs these, and so they cost no more than themselves.
    if scaling.is_none() && is_resource(cell.metric) {
        assumptions.inexact.insert(cell.metric.to_string());
        return Ok(None);
    }
    let scaling = scaling.ok_or_else(|| NcuError::UnknownUnit {
        file: file.to_string(),
        row: cell.unit_at.0,
        column: cell.unit_at.1,
        metric: cell.shown.to_string(),
        unit: cell.unit.to_string(),
        known: units::known(units::dimension_of(cell.metric)),
    })?;
    Ok(scaling.apply(cell, value, assumptions))
}

/// How many digits stand after the last separator of a cell.
fn decimals(cell: &Cell<'_>) -> usize {
    cell.raw.trim().rsplit_once(['.', ',']).map_or(0, |(_, fraction)| fraction.len())
}

/// Whether a value in units of `factor` bytes was printed to the byte: `4.096000` Kbyte was, `4.10` was not.
fn is_to_the_byte(cell: &Cell<'_>, factor: f64) -> bool {
    factor <= 1.0 || decimals(cell) >= factor.log10().ceil() as usize
}

/// Whether a value was printed with fewer than three digits of those it has.
fn is_coarse(cell: &Cell<'_>, value: f64, factor: f64, dimension: units::Dimension) -> bool {
    let time = dimension == units::Dimension::Time;
    match dimension {
        // Six decimals of a large unit; what a counter can tell apart is a nanosecond or a byte.
        units::Dimension::Time | units::Dimension::Bytes => {
            let quantum = if time { 1e-9 } else { 1.0 };
            value < 1e-3 && decimals(cell) == 6 && factor * 1e-6 > 1.5 * quantum && (time || value > 0.0)
        }
        // Base units print ratios with two decimals: 0.0718 per cycle becomes 0.07.
        units::Dimension::Count => {
            value > 0.0 && value < 1.0 && decimals(cell) == 2 && cell.metric.contains(".per_cycle")
        }
        _ => false,
    }
}
