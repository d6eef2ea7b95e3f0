//! Computes quantities from readings by the rows of [`super::metrics`].

use super::metrics::{CLOCKS, CYCLES, Factor, Formula, Quantity, formulas};
use super::readings::Readings;
use crate::profile::Measured;

/// What formulas are evaluated with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'r, 'a> {
    pub(super) readings: &'r Readings<'a>,
    /// The launch's time, when it is known.
    pub(super) time: Option<f64>,
    /// Compute per second instead: time is one second, and counts, which are no rates, do not apply.
    pub(super) per_second: bool,
}

/// What a factor is, and how a source writes it.
type Multiplier = (f64, String);

impl Context<'_, '_> {
    /// A quantity, from the first formula that has all its metrics, or a lower bound from part of one.
    pub(super) fn quantity(&self, quantity: Quantity) -> Option<Measured> {
        let mut part: Option<Measured> = None;
        for formula in formulas(quantity).iter().filter(|f| self.applies(f)) {
            let known = formula.terms.iter().filter(|(_, m)| self.readings.get(m).is_some()).count();
            if known == 0 {
                continue;
            }
            let Some(measured) = self.formula(formula) else { continue };
            if known == formula.terms.len() {
                return Some(measured);
            }
            if part.as_ref().is_none_or(|p| measured.value > p.value) {
                part = Some(measured.as_lower_bound());
            }
        }
        part
    }

    fn applies(&self, formula: &Formula) -> bool {
        !self.per_second || matches!(formula.factor, Factor::Time | Factor::Cycles)
    }

    /// A formula over the metrics that are there.
    fn formula(&self, formula: &Formula) -> Option<Measured> {
        let known = formula.terms.iter().filter_map(|(w, m)| self.readings.get(m).map(|r| (*w, r)));
        let (factor, by) = self.multiplier(formula.factor)?;
        let sum: f64 = known.clone().map(|(w, r)| w * r.value.unwrap_or_default()).sum();
        let terms: Vec<String> = known.map(|(w, r)| term(w, &r.source())).collect();
        let value = sum * factor;
        let sum = terms.join(" + ");
        let source = match (by.is_empty(), terms.len()) {
            (true, _) => sum,
            (false, 1) => format!("{sum}{by}"),
            (false, _) => format!("({sum}){by}"),
        };
        value.is_finite().then(|| Measured::new(value, source))
    }

    fn multiplier(&self, factor: Factor) -> Option<Multiplier> {
        let metric = |name: &str| self.readings.get(name).and_then(|r| r.value.map(|v| (v, r.source())));
        match factor {
            Factor::One => Some((1.0, String::new())),
            Factor::Time => self.seconds(),
            Factor::Cycles => self.cycles(),
            Factor::Times(name) => metric(name).map(|(v, source)| (v, format!(" x {source}"))),
            Factor::Per(name) => {
                metric(name).filter(|(v, _)| *v > 0.0).map(|(v, source)| (1.0 / v, format!(" / {source}")))
            }
        }
    }

    /// The time that rates are multiplied by.
    pub(super) fn seconds(&self) -> Option<Multiplier> {
        if self.per_second {
            return Some((1.0, String::new()));
        }
        self.time.map(|t| (t, " x time".to_string()))
    }

    /// The cycles that per-cycle values are multiplied by: counted, or clock x time.
    pub(super) fn cycles(&self) -> Option<Multiplier> {
        let counted = CYCLES.iter().find_map(|m| self.readings.get(m)).filter(|_| !self.per_second);
        if let Some(reading) = counted {
            return reading.value.map(|v| (v, format!(" x {}", reading.source())));
        }
        let clock = CLOCKS.iter().find_map(|m| self.readings.get(m))?;
        let (seconds, by) = self.seconds()?;
        Some((clock.value? * seconds, format!(" x {}{by}", clock.source())))
    }
}

fn term(weight: f64, name: &str) -> String {
    if weight == 1.0 { name.to_string() } else { format!("{weight} x {name}") }
}
