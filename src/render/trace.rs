//! An instrumented run as a trace for Perfetto and chrome://tracing (the Trace Event Format: complete events `X`, counters `C`).
//!
//! A version has two tracks, one for each twin. On them, stages hold steps, an instrumented step holds its layers, a layer its
//! phases, and a phase its ops. What the machine did is on counter tracks. Times are those of the run: where telemetry says when
//! a stage began it stands there, otherwise stages follow each other; steps of a stage follow each other without the gaps
//! between them, which no step's time contains.

use crate::llm::Stage;
use crate::profile::{PlanRecord, PlannedOp, Run, StepRecord, TelemetryRecord, Twin, merged_ranks};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The size at which ops and steps are left out, in bytes: a browser opens it in seconds.
pub const TRACE_CAP: usize = 32 << 20;

/// A trace, and what is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The JSON.
    pub json: String,
    /// A line on what was left out to keep it small; `None` where it has everything.
    pub left_out: Option<String>,
}

/// Makes the trace of a run of `kprof phase`, of `cap` bytes or little more.
///
/// Repetitions are taken in the order measured; when the cap is reached, the steps of those left keep their stages only.
pub fn trace(run: &Run, cap: usize) -> Trace {
    trace_of(&[(run, 0.0)], &[], cap)
}

/// Makes one trace of the ranks of a launch, in order: each is a process of its own, on the clock of the first. A rank whose
/// clock is not known against that one's is left out, and said to be.
pub fn trace_of_ranks(runs: &[Run], cap: usize) -> Trace {
    let offsets = merged_ranks(runs).into_iter().map(|rank| rank.clock.offset_s);
    let (known, unknown): (Vec<_>, Vec<_>) =
        runs.iter().zip(offsets).partition(|(_, offset)| offset.is_some());
    let known: Vec<(&Run, f64)> =
        known.into_iter().filter_map(|(run, offset)| Some((run, offset?))).collect();
    let unknown: Vec<&Run> = unknown.into_iter().map(|(run, _)| run).collect();
    trace_of(&known, &unknown, cap)
}

/// The trace of runs, each with what is added to its times, and without `unplaced` ones.
fn trace_of(runs: &[(&Run, f64)], unplaced: &[&Run], cap: usize) -> Trace {
    let mut events = Events { text: String::new(), cap, process: 0, offset_s: 0.0 };
    let mut out = LeftOut::default();
    for (i, (run, offset_s)) in runs.iter().enumerate() {
        (events.process, events.offset_s) = (i + 1, *offset_s);
        run_events(run, &mut events, &mut out);
    }
    let unplaced = (!unplaced.is_empty()).then(|| {
        let names: Vec<&str> = unplaced.iter().map(|run| run.file.as_str()).collect();
        format!("not in the trace, for want of a common clock: {}", names.join(", "))
    });
    let left_out: Vec<String> = out.text(cap).into_iter().chain(unplaced).collect();
    let left_out = (!left_out.is_empty()).then(|| left_out.join("; "));
    let files: Vec<&str> = runs.iter().map(|(run, _)| run.file.as_str()).collect();
    let clock = match runs.len() {
        0 | 1 => "seconds of the run's telemetry, in microseconds",
        _ => "seconds of the first run's telemetry, in microseconds; offsets are added",
    };
    let meta = json!({"file": files.join(", "), "kprof_left_out": left_out, "clock": clock});
    let json = format!(
        "{{\"traceEvents\":[\n{}\n],\"displayTimeUnit\":\"ns\",\"otherData\":{meta}}}\n",
        events.text
    );
    Trace { json, left_out }
}

/// The events of one run, in a process of its own.
fn run_events(run: &Run, events: &mut Events, out: &mut LeftOut) {
    let tracks = Tracks::of(run);
    let pid = events.process;
    let rank = run.rank().map(|rank| format!(", {}", rank.name())).unwrap_or_default();
    let name = format!("kprof {}{rank}", run.file);
    events.push(json!({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}));
    for (i, (version, twin)) in tracks.0.iter().enumerate() {
        let name = format!("{version} {}", twin_name(*twin));
        events.push(
            json!({"ph": "M", "name": "thread_name", "pid": pid, "tid": i + 1, "args": {"name": name}}),
        );
    }
    run.telemetry.iter().for_each(|sample| counters(sample, events));
    let mut free_s = 0.0f64;
    for group in groups(run) {
        let key = group.key;
        let start_s = group.start_s(run).unwrap_or(free_s);
        let track = tracks.number(key.version, key.twin);
        let plan = run.plan(key.version, key.stage);
        free_s = start_s + group.time_s();
        stage_events(&group, plan, (start_s, track), events, out);
    }
}

/// Events as text, one to a line.
struct Events {
    text: String,
    cap: usize,
    /// The process that events belong to now, from 1.
    process: usize,
    /// What is added to their times.
    offset_s: f64,
}

impl Events {
    fn push(&mut self, event: Value) {
        if !self.text.is_empty() {
            self.text.push_str(",\n");
        }
        self.text.push_str(&event.to_string());
    }

    fn is_full(&self) -> bool {
        self.text.len() >= self.cap
    }

    /// A slice of a track.
    fn slice(
        &mut self,
        name: &str,
        category: &str,
        (start_s, time_s): (f64, f64),
        track: usize,
        args: Value,
    ) {
        let (ts, dur, pid) = ((start_s + self.offset_s) * 1e6, time_s * 1e6, self.process);
        self.push(json!({"ph": "X", "name": name, "cat": category, "ts": ts, "dur": dur, "pid": pid, "tid": track, "args": args}));
    }
}

#[derive(Default)]
struct LeftOut {
    steps: usize,
    ops: usize,
}

impl LeftOut {
    fn text(&self, cap: usize) -> Option<String> {
        (self.steps > 0).then(|| {
            format!(
                "the trace is cut at {} MiB: {} steps with {} ops are left out, their stages are not",
                cap >> 20,
                self.steps,
                self.ops
            )
        })
    }
}

/// The tracks: each version's plain and instrumented twin, numbered from 1.
struct Tracks<'a>(Vec<(&'a str, Twin)>);

impl<'a> Tracks<'a> {
    fn of(run: &'a Run) -> Self {
        let twins = |v| [(v, Twin::Plain), (v, Twin::Instrumented)];
        Self(run.versions().into_iter().flat_map(twins).collect())
    }

    fn number(&self, version: &str, twin: Twin) -> usize {
        self.0.iter().position(|t| *t == (version, twin)).map_or(0, |i| i + 1)
    }
}

fn twin_name(twin: Twin) -> &'static str {
    match twin {
        Twin::Plain => "plain",
        Twin::Instrumented => "instrumented",
    }
}

#[derive(Clone, Copy, PartialEq)]
struct Key<'a> {
    version: &'a str,
    twin: Twin,
    stage: Stage,
    repetition: usize,
}

/// The steps of one stage of one generation, in order.
struct Group<'a> {
    key: Key<'a>,
    steps: Vec<&'a StepRecord>,
}

impl Group<'_> {
    fn time_s(&self) -> f64 {
        self.steps.iter().map(|s| s.time_s).sum()
    }

    /// When it began, by the telemetry's clock.
    fn start_s(&self, run: &Run) -> Option<f64> {
        let key = self.key;
        let same = |u: &&crate::profile::UsageRecord| {
            (u.version.as_str(), u.twin, u.stage, u.repetition)
                == (key.version, key.twin, key.stage, key.repetition)
        };
        run.usage.iter().find(same).map(|u| u.at_s)
    }
}

/// Steps as recorded: those of one stage of one generation stand together.
fn groups(run: &Run) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for step in &run.steps {
        let key =
            Key { version: &step.version, twin: step.twin, stage: step.stage, repetition: step.repetition };
        match groups.last_mut().filter(|g| g.key == key) {
            Some(group) => group.steps.push(step),
            None => groups.push(Group { key, steps: vec![step] }),
        }
    }
    groups
}

fn stage_events(
    group: &Group<'_>,
    plan: Option<&PlanRecord>,
    (start_s, track): (f64, usize),
    events: &mut Events,
    out: &mut LeftOut,
) {
    let args = json!({"repetition": group.key.repetition + 1, "steps": group.steps.len()});
    events.slice(group.key.stage.name(), "stage", (start_s, group.time_s()), track, args);
    let mut at_s = start_s;
    for step in &group.steps {
        if events.is_full() {
            out.steps += 1;
            out.ops += step.op_time_s.len();
        } else {
            let shape = step.shape;
            let args = json!({"token": step.step, "batch": shape.batch, "new_tokens": shape.new_tokens, "context": shape.context});
            events.slice("step", "step", (at_s, step.time_s), track, args);
            if let Some(plan) = plan.filter(|p| p.ops.len() == step.op_time_s.len()) {
                op_events(plan, step, (at_s, track), events);
            }
        }
        at_s += step.time_s;
    }
}

/// Layers, phases and ops of an instrumented step: what stands around ops of one layer, or of one phase of it, in a row.
fn op_events(plan: &PlanRecord, step: &StepRecord, (at_s, track): (f64, usize), events: &mut Events) {
    let ops: Vec<Timed<'_>> = plan
        .ops
        .iter()
        .zip(step.op_start_s.iter().zip(&step.op_time_s))
        .map(|(op, (start, time))| Timed { op, start_s: at_s + start, time_s: *time })
        .collect();
    for layer in ops.chunk_by(|a, b| a.op.layer == b.op.layer) {
        if let Some(number) = layer[0].op.layer {
            events.slice(&format!("layer {number}"), "layer", span(layer), track, json!({}));
        }
        for phase in layer.chunk_by(|a, b| a.op.phase == b.op.phase) {
            events.slice(phase[0].op.phase.name(), "phase", span(phase), track, json!({}));
            for timed in phase {
                let work = timed.op.op.work(&step.shape);
                let args = json!({"flops": work.flops().0, "bytes_floor": work.bytes().0});
                events.slice(&timed.op.label, "op", (timed.start_s, timed.time_s), track, args);
            }
        }
    }
}

struct Timed<'a> {
    op: &'a PlannedOp,
    start_s: f64,
    time_s: f64,
}

/// From the first start to the last end.
fn span(ops: &[Timed<'_>]) -> (f64, f64) {
    let start = ops.iter().map(|o| o.start_s).fold(f64::INFINITY, f64::min);
    let end = ops.iter().map(|o| o.start_s + o.time_s).fold(f64::NEG_INFINITY, f64::max);
    (start, end - start)
}

/// A sample of the machine as counters; what is not known has none.
fn counters(sample: &TelemetryRecord, events: &mut Events) {
    let mut values: BTreeMap<String, f64> = BTreeMap::new();
    let mut put = |name: String, value: Option<f64>| {
        if let Some(value) = value {
            values.insert(name, value);
        }
    };
    put("CPU clock [MHz]".into(), sample.cpu_clock_hz.map(|hz| hz / 1e6));
    for power in &sample.power {
        put(format!("power {} [W]", power.counter), Some(power.power_w));
    }
    for gpu in &sample.gpus {
        let name = |what: &str| format!("GPU {} {what}", gpu.index);
        put(name("SM clock [MHz]"), gpu.sm_clock_hz.map(|hz| hz / 1e6));
        put(name("memory clock [MHz]"), gpu.memory_clock_hz.map(|hz| hz / 1e6));
        put(name("power [W]"), gpu.power_w);
        put(name("temperature [C]"), gpu.temperature_c);
    }
    let (ts, pid) = ((sample.at_s + events.offset_s) * 1e6, events.process);
    for (name, value) in values {
        events.push(json!({"ph": "C", "name": name, "ts": ts, "pid": pid, "args": {"value": value}}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::UsageRecord;
    use crate::roofline::samples::phase_run;

    fn events(run: &Run, cap: usize) -> (Vec<Value>, Trace) {
        let trace = trace(run, cap);
        let json: Value = serde_json::from_str(&trace.json).unwrap();
        (json["traceEvents"].as_array().unwrap().clone(), trace)
    }

    fn of<'a>(events: &'a [Value], category: &str) -> Vec<&'a Value> {
        events.iter().filter(|e| e["cat"] == category).collect()
    }

    fn number(event: &Value, key: &str) -> f64 {
        event[key].as_f64().unwrap()
    }

    /// Every slice lies within the slices around it on its track: either apart from another, or inside it.
    fn check_nesting(events: &[Value]) {
        let mut by_track: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
        for e in events.iter().filter(|e| e["ph"] == "X") {
            let span = (number(e, "ts"), number(e, "ts") + number(e, "dur"));
            by_track.entry(e["tid"].as_u64().unwrap()).or_default().push(span);
        }
        let slack = 1e-4;
        for spans in by_track.values() {
            let mut open: Vec<(f64, f64)> = Vec::new();
            let mut sorted = spans.clone();
            // Starts that agree but for rounding: the longer slice is the outer one.
            let whole = |ts: f64| (ts * 1e4).round() as i64;
            sorted.sort_by(|a, b| whole(a.0).cmp(&whole(b.0)).then(b.1.total_cmp(&a.1)));
            for span in sorted {
                while open.last().is_some_and(|o| o.1 <= span.0 + slack) {
                    open.pop();
                }
                assert!(open.last().is_none_or(|o| span.1 <= o.1 + slack), "{span:?} crosses {open:?}");
                open.push(span);
            }
        }
    }

    #[test]
    fn slices_nest_and_their_durations_are_those_of_the_run() {
        let run = phase_run();
        let (all, trace) = events(&run, TRACE_CAP);
        assert_eq!(trace.left_out, None);
        check_nesting(&all);
        // 2 versions x 2 twins x 3 repetitions x 2 stages; one prefill and two decode steps.
        assert_eq!((of(&all, "stage").len(), of(&all, "step").len()), (24, 36));
        // Five ops in each of the 18 instrumented steps, in four phases.
        assert_eq!((of(&all, "op").len(), of(&all, "phase").len()), (90, 72));
        let sum = |category: &str| of(&all, category).iter().map(|e| number(e, "dur")).sum::<f64>() / 1e6;
        let steps: f64 = run.steps.iter().map(|s| s.time_s).sum();
        let ops: f64 = run.steps.iter().flat_map(|s| &s.op_time_s).sum();
        assert!((sum("stage") / steps - 1.0).abs() < 1e-9 && (sum("step") / steps - 1.0).abs() < 1e-9);
        assert!((sum("op") / ops - 1.0).abs() < 1e-9);
        let names: Vec<&Value> = of(&all, "op")[..5].iter().map(|e| &e["name"]).collect();
        assert_eq!(names, ["embed", "attn.qkv", "mlp.up", "mlp.down", "head"]);
        // 2 x 4 x 8 x 24 FLOPs of the prefill's qkv.
        assert_eq!(of(&all, "op")[1]["args"]["flops"], 1536.0);
    }

    #[test]
    fn stages_stand_where_telemetry_says_and_samples_are_counters() {
        let mut run = phase_run();
        let of_stage = UsageRecord::of("v1", Stage::Prefill, Twin::Instrumented, 2);
        run.usage.push(UsageRecord { at_s: 7.5, wall_s: 0.1, ..of_stage });
        run.telemetry.push(TelemetryRecord {
            at_s: 1.0,
            cpu_clock_hz: Some(3e9),
            ..TelemetryRecord::default()
        });
        let (all, _) = events(&run, TRACE_CAP);
        assert!(of(&all, "stage").iter().any(|e| number(e, "ts") == 7.5e6));
        let counter = all.iter().find(|e| e["ph"] == "C").unwrap();
        assert_eq!(
            (&counter["name"], &counter["args"]["value"]),
            (&"CPU clock [MHz]".into(), &3000.0.into())
        );
    }

    #[test]
    fn a_trace_over_the_cap_says_what_it_leaves_out() {
        let (all, trace) = events(&phase_run(), 4000);
        check_nesting(&all);
        assert_eq!(of(&all, "stage").len(), 24);
        let left = 36 - of(&all, "step").len();
        let text = trace.left_out.unwrap();
        assert!(left > 20 && text.contains(&format!("{left} steps")), "{text}");
    }
}
