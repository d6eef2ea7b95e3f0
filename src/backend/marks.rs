//! Marks around ops, and the clock they are taken with.

use super::ranges::{RangeObserver, Ranges};
use crate::llm::{Op, Phase, Stage, StepShape};
use std::sync::Arc;
use std::time::Instant;

/// Where in a pass an op stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// The phase whose time it is.
    pub phase: Phase,
    /// The block, from 0.
    pub layer: Option<usize>,
    /// What it is for, e.g. `attn.qkv`.
    pub label: &'static str,
}

impl Site {
    /// The same place under another label: for a part that a backend runs on its own.
    #[must_use]
    pub fn labelled(self, label: &'static str) -> Self {
        Self { label, ..self }
    }
}

/// A marked op: from `start_s` for `time_s` on the backend's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct OpSpan {
    /// Where it stands.
    pub site: Site,
    /// What it is.
    pub op: Op,
    /// When it began.
    pub start_s: f64,
    /// How long it took.
    pub time_s: f64,
}

/// The clock of a backend whose ops are done when they return.
#[derive(Clone, Debug)]
pub(super) enum Clock {
    /// The host's monotonic clock.
    Host(Instant),
    /// The device's: spans come from the backend when it has resolved them.
    Device,
    /// A scripted clock at this many seconds, and the time each op takes on it.
    Scripted {
        /// The time now.
        now_s: f64,
        /// How long an op takes on the fake device.
        op_time_s: fn(&Op, &StepShape) -> f64,
        /// How long a mark takes.
        mark_s: f64,
    },
}

/// Collects marks when on; costs one branch per op when off.
#[derive(Clone, Debug)]
pub struct Marks {
    on: bool,
    spans: Vec<OpSpan>,
    clock: Clock,
    ranges: Ranges,
    /// Whether a range of the op that runs is open.
    op_range: bool,
}

impl Marks {
    pub(super) fn new(clock: Clock) -> Self {
        Self { on: false, spans: Vec::new(), clock, ranges: Ranges::default(), op_range: false }
    }

    /// Turns marking on or off, and forgets earlier marks.
    pub fn instrument(&mut self, on: bool) {
        self.on = on;
        self.spans.clear();
    }

    /// The marks since the last call, in the order the ops began.
    pub fn take(&mut self) -> Vec<OpSpan> {
        std::mem::take(&mut self.spans)
    }

    /// Tells `observer` of the ranges of passes from now on, or nobody.
    pub fn observe(&mut self, observer: Option<Arc<dyn RangeObserver>>) {
        self.ranges.observe(observer);
    }

    /// A step of `version` begins: the range `kprof/<version>/<stage>` opens.
    pub fn begin_step(&mut self, version: &str, stage: Stage) {
        self.ranges.begin_step(version, stage);
    }

    /// The pass comes to a phase, of a layer where it has one; what was open of the one before closes.
    pub fn enter(&mut self, layer: Option<usize>, phase: Phase) {
        self.ranges.enter(layer, phase);
    }

    /// The step is over.
    pub fn end_step(&mut self) {
        self.ranges.end_step();
    }

    /// The time on this clock, in seconds.
    pub fn now(&self) -> f64 {
        match &self.clock {
            Clock::Host(origin) => origin.elapsed().as_secs_f64(),
            Clock::Scripted { now_s, .. } => *now_s,
            Clock::Device => 0.0,
        }
    }

    /// Moves a scripted clock on; a host clock moves by itself.
    pub(super) fn advance(&mut self, seconds: f64) {
        if let Clock::Scripted { now_s, .. } = &mut self.clock {
            *now_s += seconds;
        }
    }

    /// Whether the clock is scripted.
    pub fn is_scripted(&self) -> bool {
        matches!(self.clock, Clock::Scripted { .. })
    }

    /// Whether times are the device's own.
    pub fn is_device(&self) -> bool {
        matches!(self.clock, Clock::Device)
    }

    /// Takes spans that the backend resolved.
    pub(super) fn resolved(&mut self, spans: Vec<OpSpan>) {
        self.spans.extend(spans);
    }

    /// Whether ops are marked.
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// An op begins, and with it its range; when it began, 0 when marking is off.
    pub(super) fn begin(&mut self, site: &Site) -> f64 {
        self.op_range = self.ranges.begin_op(site);
        if self.on { self.now() } else { 0.0 }
    }

    /// Marks the end of an op that began at `start_s`.
    pub(super) fn end(&mut self, site: Site, op: impl FnOnce() -> Op, step: &StepShape, start_s: f64) {
        if let Clock::Scripted { now_s, op_time_s, mark_s } = &mut self.clock {
            let op = op();
            *now_s += op_time_s(&op, step);
            if self.on {
                self.spans.push(OpSpan { site, op, start_s, time_s: *now_s - start_s });
                *now_s += *mark_s;
            }
        } else if self.on {
            let time_s = self.now() - start_s;
            self.spans.push(OpSpan { site, op: op(), start_s, time_s });
        }
        self.close();
    }

    /// The op that began is over, and whoever ran it knows its time.
    pub(super) fn close(&mut self) {
        if std::mem::take(&mut self.op_range) {
            self.ranges.end_op();
        }
    }
}
