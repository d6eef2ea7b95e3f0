//! Sums of an export's counters by what its kernels are for.

use super::Expected;
use crate::profile::{KernelRecord, Measured};
use crate::roofline::Place;
use std::collections::{BTreeMap, BTreeSet};

/// Counters of an export, added launch by launch.
#[derive(Clone, Debug, Default)]
pub struct CounterSums(BTreeMap<Place, Sum>);

/// Counters of launches; a sum with an unknown part is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) launches: u64,
    pub(super) time_s: Option<f64>,
    pub(super) flops: Option<f64>,
    pub(super) flops_at_least: bool,
    pub(super) bytes: Option<f64>,
    pub(super) bytes_at_least: bool,
}

impl Sum {
    /// Of no launches.
    pub(super) fn none() -> Self {
        Self { time_s: Some(0.0), flops: Some(0.0), bytes: Some(0.0), ..Self::default() }
    }

    fn of(kernel: &KernelRecord) -> Self {
        let value = |m: &Option<Measured>| m.as_ref().map(|m| m.value);
        Self {
            launches: kernel.launches,
            time_s: value(&kernel.time),
            flops: kernel.flops.total(),
            flops_at_least: !kernel.flops_complete,
            bytes: value(&kernel.dram_bytes),
            bytes_at_least: kernel.dram_bytes.as_ref().is_some_and(|b| b.lower_bound),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let sum = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
        self.launches += other.launches;
        self.time_s = sum(self.time_s, other.time_s);
        self.flops = sum(self.flops, other.flops);
        self.flops_at_least |= other.flops_at_least;
        self.bytes = sum(self.bytes, other.bytes);
        self.bytes_at_least |= other.bytes_at_least;
    }

    /// How much it matters: its time, or its launches where times are unknown.
    pub(super) fn weight(&self) -> f64 {
        self.time_s.unwrap_or(self.launches as f64)
    }
}

/// Kernels of one version, by what they are for.
pub(super) type Chosen<'a> = Vec<(&'a Place, &'a Sum)>;

impl CounterSums {
    /// Adds a launch that is for `place`; launches of a timeline trace have no counters, and are passed over.
    pub fn push(&mut self, kernel: &KernelRecord, place: &Place) {
        if kernel.timeline.is_some() {
            return;
        }
        if !self.0.contains_key(place) {
            self.0.insert(place.clone(), Sum::none());
        }
        if let Some(sum) = self.0.get_mut(place) {
            sum.add(&Sum::of(kernel));
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any kernel is known to be of a stage.
    pub fn has_stages(&self) -> bool {
        self.0.keys().any(|place| place.stage.is_some())
    }

    /// The kernels that `expected` is of, version by version; of an export that knows no stages, all of them where a
    /// user said that its steps are of one stage, and so `alone` nothing else is expected.
    pub(super) fn of(&self, expected: &Expected, alone: bool) -> Vec<(Option<String>, Chosen<'_>)> {
        let unmarked = alone && expected.version.is_none() && !self.has_stages();
        let of_stage = |place: &Place| unmarked || expected.stage.is_none() || place.stage == expected.stage;
        let versions: BTreeSet<&Option<String>> =
            self.0.keys().filter(|p| of_stage(p)).map(|p| &p.version).collect();
        let wanted = |version: &Option<String>| expected.version.is_none() || *version == expected.version;
        let of = |version: &Option<String>| {
            let chosen: Chosen<'_> =
                self.0.iter().filter(|(place, _)| of_stage(place) && place.version == *version).collect();
            (version.clone(), chosen)
        };
        versions.into_iter().filter(|v| wanted(v)).map(of).collect()
    }

    /// The part of all kernels' time, or launches, that is of no stage; `None` without kernels.
    pub(super) fn share_without_stage(&self) -> Option<f64> {
        let timed = self.0.values().all(|s| s.time_s.is_some());
        let weight = |s: &Sum| if timed { s.weight() } else { s.launches as f64 };
        let all: f64 = self.0.values().map(weight).sum();
        let without: f64 = self.0.iter().filter(|(p, _)| p.stage.is_none()).map(|(_, s)| weight(s)).sum();
        (all > 0.0).then(|| without / all)
    }
}
