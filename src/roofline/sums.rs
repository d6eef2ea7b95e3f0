//! Sums of what launches measured: a sum with an unknown part is unknown.

use super::point::FlopCounts;
use crate::profile::{KernelFlops, Measured};
use std::collections::BTreeMap;

/// Extensive quantities add up; a sum with an unknown part is unknown.
#[derive(Debug, Default)]
pub(super) struct Sum {
    known: Option<Measured>,
    unknown: bool,
}

impl Sum {
    pub(super) fn add(&mut self, part: Option<&Measured>) {
        match (part, &mut self.known) {
            (None, _) => self.unknown = true,
            (Some(part), None) => self.known = Some(part.clone()),
            (Some(part), Some(sum)) => {
                sum.value += part.value;
                sum.lower_bound |= part.lower_bound;
                sum.estimated |= part.estimated;
            }
        }
    }

    pub(super) fn measured(self) -> Option<Measured> {
        self.known.filter(|_| !self.unknown)
    }
}

/// A percentage of a peak over several launches: the mean weighted by time, `None` unless every launch has both.
/// A single launch needs no time.
#[derive(Debug, Default)]
pub(super) struct Percent {
    members: u64,
    last: Option<f64>,
    weighted: f64,
    time: f64,
    unknown: bool,
}

impl Percent {
    pub(super) fn add(&mut self, percent: Option<&Measured>, time: Option<&Measured>) {
        self.members += 1;
        self.last = percent.map(|p| p.value);
        match (percent, time) {
            (Some(percent), Some(time)) => {
                self.weighted += percent.value * time.value;
                self.time += time.value;
            }
            _ => self.unknown = true,
        }
    }

    pub(super) fn mean(&self) -> Option<f64> {
        if self.members == 1 {
            return self.last;
        }
        (!self.unknown && self.time > 0.0).then(|| self.weighted / self.time)
    }
}

#[derive(Debug, Default)]
pub(super) struct FlopSums {
    fp64: Sum,
    fp32: Sum,
    fp16: Sum,
    fp16_packed: Sum,
    tensor: Sum,
    /// A type that one launch has and another lacks counts where it is: launches of one kernel on one chip are
    /// collected with the same metrics, and an absent type has no row rather than a zero.
    tensor_by_type: BTreeMap<String, Sum>,
    total: f64,
    /// How many launches have any.
    with_total: u64,
    parts: Vec<&'static str>,
    lower_bound: bool,
    estimated: bool,
}

impl FlopSums {
    pub(super) fn add(&mut self, flops: &KernelFlops) {
        self.fp64.add(flops.fp64.as_ref());
        self.fp32.add(flops.fp32.as_ref());
        self.fp16.add(flops.fp16.as_ref());
        self.fp16_packed.add(flops.fp16_packed.as_ref());
        self.tensor.add(flops.tensor.as_ref());
        for (name, measured) in &flops.tensor_by_type {
            match self.tensor_by_type.get_mut(name) {
                Some(sum) => sum.add(Some(measured)),
                None => self.tensor_by_type.entry(name.clone()).or_default().add(Some(measured)),
            }
        }
        if let Some(total) = flops.total() {
            self.total += total;
            self.with_total += 1;
        }
        for (name, part) in named_parts(flops) {
            if !self.parts.contains(&name) {
                self.parts.push(name);
            }
            self.lower_bound |= part.lower_bound;
            self.estimated |= part.estimated;
        }
    }

    pub(super) fn counts(self, members: u64, complete: bool) -> FlopCounts {
        let total = (self.with_total > 0).then(|| Measured {
            value: self.total,
            source: self.parts.join(" + "),
            lower_bound: self.with_total < members || !complete || self.lower_bound,
            estimated: self.estimated,
        });
        let by_type = self.tensor_by_type.into_iter();
        FlopCounts {
            fp64: self.fp64.measured(),
            fp32: self.fp32.measured(),
            fp16: self.fp16.measured(),
            fp16_packed: self.fp16_packed.measured(),
            tensor: self.tensor.measured(),
            tensor_by_type: by_type.filter_map(|(name, sum)| Some((name, sum.measured()?))).collect(),
            total,
        }
    }
}

/// The parts that [`KernelFlops::total`] adds, with their names.
fn named_parts(flops: &KernelFlops) -> impl Iterator<Item = (&'static str, &Measured)> {
    let parts = [
        ("fp64", &flops.fp64),
        ("fp32", &flops.fp32),
        ("fp16_packed", &flops.fp16_packed),
        ("tensor", &flops.tensor),
    ];
    parts.into_iter().filter_map(|(name, part)| Some((name, part.as_ref()?)))
}
