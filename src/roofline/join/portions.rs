//! Dividing a timeline into stages: whose kernels are whose, how many steps there are, and where wall time goes.

use super::super::intervals::{Interval, difference, gaps, length, union};
use super::super::timeline::{Ran, TimelineBuilder};
use super::{LAUNCH_GAP_S, StepCounts};
use crate::llm::Stage;
use crate::profile::{Finding, FindingCode, RangeRecord, Run, TraceInfo};
use std::collections::BTreeSet;

/// A part of a timeline; times are sums over all devices.
#[derive(Clone, Debug)]
pub(super) struct Portion {
    pub(super) name: &'static str,
    pub(super) stage: Option<Stage>,
    /// Whether kernels of every stage belong to it.
    pub(super) all: bool,
    /// What times are divided by: steps of all ranks together, or 1 where `counts` is of a whole trace.
    pub(super) steps: Option<f64>,
    /// Steps of one rank.
    pub(super) counts: StepCounts,
    /// `None` where no kernel has a start: a trace of sums.
    pub(super) times: Option<Times>,
}

/// Sums over devices.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) wall_s: f64,
    pub(super) busy_s: f64,
    pub(super) exposed_s: f64,
    pub(super) launch_gaps_s: f64,
    pub(super) idle_s: f64,
}

impl Portion {
    /// How many steps each rank ran; the whole trace is one.
    pub(super) fn steps_of_rank(&self) -> f64 {
        match self.stage {
            Some(Stage::Prefill) => self.counts.prefill as f64,
            Some(Stage::Decode) => self.counts.decode as f64,
            None => 1.0,
        }
    }

    pub(super) fn has(&self, stage: Option<Stage>) -> bool {
        self.all || self.stage == stage
    }
}

/// The stages that ranges mark, and what belongs to none; or everything as one, of `said` steps.
pub(super) fn of(
    run: &Run,
    trace: &TraceInfo,
    timeline: &TimelineBuilder,
    said: Option<StepCounts>,
    findings: &mut Vec<Finding>,
) -> Vec<Portion> {
    let devices = timeline.devices(&trace.file);
    let of_stage = |stage| marked(run, trace, &devices, stage);
    let marks = [of_stage(Stage::Prefill), of_stage(Stage::Decode)];
    let found = StepCounts { prefill: marks[0].per_rank, decode: marks[1].per_rank };
    if found == StepCounts::default() {
        return vec![whole(&devices, said)];
    }
    if let Some(said) = said.filter(|said| *said != found) {
        let message = format!(
            "--steps says {} prefill and {} decode steps, the trace's ranges mark {} and {}: those are used",
            said.prefill, said.decode, found.prefill, found.decode
        );
        findings.push(Finding::new(FindingCode::Disagreement, trace.file.clone(), message));
    }
    let portion = |stage: Option<Stage>, steps, counts| Portion {
        name: stage.map_or("unknown", Stage::name),
        stage,
        all: false,
        steps,
        counts,
        times: times(&devices, |s| s == stage),
    };
    let mut portions: Vec<Portion> = Vec::new();
    for (stage, marked) in Stage::ALL.into_iter().zip(&marks) {
        let counts = match stage {
            Stage::Prefill => StepCounts { prefill: marked.per_rank, decode: 0 },
            Stage::Decode => StepCounts { prefill: 0, decode: marked.per_rank },
        };
        portions.push(portion(Some(stage), (marked.in_all > 0.0).then_some(marked.in_all), counts));
    }
    portions.push(portion(None, None, StepCounts::default()));
    portions.retain(|p| p.times.is_some_and(|t| t.busy_s > 0.0));
    portions
}

fn whole(devices: &[Vec<Ran>], said: Option<StepCounts>) -> Portion {
    let only = |count: u64, other: u64| count > 0 && other == 0;
    let counts = said.unwrap_or_default();
    let ranks = devices.len().max(1) as f64;
    let (name, stage, steps) = match said {
        Some(s) if only(s.prefill, s.decode) => {
            ("prefill", Some(Stage::Prefill), Some(s.prefill as f64 * ranks))
        }
        Some(s) if only(s.decode, s.prefill) => {
            ("decode", Some(Stage::Decode), Some(s.decode as f64 * ranks))
        }
        Some(s) if s.decode > 0 => ("all", None, Some(ranks)),
        _ => ("unknown", None, None),
    };
    Portion { name, stage, all: true, steps, counts, times: times(devices, |_| true) }
}

/// Steps of a stage that ranges mark.
struct Marked {
    per_rank: u64,
    /// Over all ranks: what sums over devices are divided by.
    in_all: f64,
}

/// Counts the outermost marked ranges of each thread from which something was launched.
fn marked(run: &Run, trace: &TraceInfo, devices: &[Vec<Ran>], stage: Stage) -> Marked {
    let mut called: Vec<f64> =
        devices.iter().flatten().filter(|r| r.stage == Some(stage)).map(|r| r.called).collect();
    let known = called.iter().any(|c| !c.is_nan());
    called.retain(|c| !c.is_nan());
    called.sort_by(f64::total_cmp);
    let launches = |range: &RangeRecord| {
        let end = range.start_s + range.time_s.unwrap_or(f64::INFINITY);
        let first = called.partition_point(|c| *c < range.start_s);
        !known || called.get(first).is_some_and(|c| *c < end)
    };
    let mut count = 0;
    let mut threads: BTreeSet<Option<&str>> = BTreeSet::new();
    let mut open: Vec<(Option<&str>, f64)> = Vec::new();
    for range in run.ranges.iter().filter(|r| r.file == trace.file) {
        if range.step.as_ref().is_none_or(|step| step.stage != Some(stage)) {
            continue;
        }
        let thread = range.thread.as_deref();
        let inside = open.iter().any(|(of, end)| *of == thread && range.start_s < *end);
        if inside || !launches(range) {
            continue;
        }
        open.retain(|(of, _)| *of != thread);
        open.push((thread, range.start_s + range.time_s.unwrap_or(f64::INFINITY)));
        threads.insert(thread);
        count += 1;
    }
    let of_stage = devices.iter().filter(|d| d.iter().any(|r| r.stage == Some(stage))).count();
    // One thread may drive several devices; a rank each otherwise.
    let threads = threads.len().max(1);
    let devices_each = if of_stage.is_multiple_of(threads) { of_stage / threads } else { 1 };
    Marked { per_rank: count / threads as u64, in_all: count as f64 * devices_each.max(1) as f64 }
}

/// Sums over devices of the kernels that `wanted` chooses by stage.
fn times(devices: &[Vec<Ran>], wanted: impl Fn(Option<Stage>) -> bool) -> Option<Times> {
    if devices.iter().all(Vec::is_empty) {
        return None;
    }
    let mut sums = Times::default();
    for ran in devices {
        let busy = union(ran.iter().map(|r| (r.from, r.to)).collect());
        let mine = |communication: Option<bool>| {
            let chosen =
                ran.iter().filter(|r| wanted(r.stage) && communication.is_none_or(|c| r.communication == c));
            union(chosen.map(|r| (r.from, r.to)).collect())
        };
        let others = union(ran.iter().filter(|r| !r.communication).map(|r| (r.from, r.to)).collect());
        let segments = segments(ran, &wanted);
        sums.wall_s += length(&segments);
        sums.busy_s += length(&mine(None));
        sums.exposed_s += length(&difference(&mine(Some(true)), &others));
        // Inside segments, time without any kernel of the device.
        let inside = difference(&gaps(&busy), &gaps_between(&segments));
        for (from, to) in inside {
            let gap = to - from;
            if gap <= LAUNCH_GAP_S { sums.launch_gaps_s += gap } else { sums.idle_s += gap }
        }
    }
    Some(sums)
}

/// Stretches of a device's timeline in which all kernels are chosen, disjoint.
fn segments(ran: &[Ran], wanted: impl Fn(Option<Stage>) -> bool) -> Vec<Interval> {
    let mut segments: Vec<Interval> = Vec::new();
    let mut open = false;
    for r in ran {
        let chosen = wanted(r.stage);
        match segments.last_mut() {
            Some(last) if chosen && open => last.1 = last.1.max(r.to),
            _ if chosen => segments.push((r.from, r.to)),
            _ => {}
        }
        open = chosen;
    }
    union(segments)
}

/// Everything outside of `segments`.
fn gaps_between(segments: &[Interval]) -> Vec<Interval> {
    let first = segments.first().map_or(f64::INFINITY, |s| s.0);
    let last = segments.last().map_or(f64::NEG_INFINITY, |s| s.1);
    let mut outside = vec![(f64::NEG_INFINITY, first)];
    outside.extend(gaps(segments));
    outside.push((last, f64::INFINITY));
    outside
}
