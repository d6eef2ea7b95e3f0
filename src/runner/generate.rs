//! One generation, timed step by step: a prefill, then decode steps, greedy.

use super::flushing::Flushing;
use super::{ProfiledSteps, RunnerError};
use crate::backend::{Backend, Marks, OpSpan};
use crate::llm::{LinearRows, Stage, StepShape};
use crate::pass::{Model, State};
use crate::profile::TimingMethod;
use std::sync::atomic::{AtomicBool, Ordering};

/// A step as timed: the pass and the choice of its token.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedStep {
    /// Prefill or decode.
    pub stage: Stage,
    /// Which output token it ends with, from 0.
    pub step: usize,
    /// Its token dimensions.
    pub shape: StepShape,
    /// When it began, on the backend's clock.
    pub start_s: f64,
    /// How long it took.
    pub time_s: f64,
    /// The marks of its ops; empty without instrumentation.
    pub spans: Vec<OpSpan>,
}

/// What is to be generated.
#[derive(Clone, Copy, Debug)]
pub struct Generation<'a> {
    /// The version's name, for ranges.
    pub version: &'a str,
    /// `batch x length` ids.
    pub prompt: &'a [u32],
    /// Output tokens per sequence.
    pub tokens: usize,
    /// The steps that a profiler is to look at.
    pub profiled: Option<&'a ProfiledSteps>,
}

/// Generates, timing each step after the device is done; `at_stage_end` is called after each stage's last step, outside
/// all times.
///
/// # Errors
/// When the pass fails, or `stop` is set.
pub fn generate<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    state: &mut State<B>,
    generation: Generation<'_>,
    stop: &AtomicBool,
    at_stage_end: &mut dyn FnMut(Stage),
) -> Result<Vec<TimedStep>, RunnerError> {
    let hooks = Hooks { flush: None, before_step: &|| (), at_stage_end };
    generate_with(backend, model, state, generation, stop, hooks)
}

/// What is done between steps, outside all times.
pub(super) struct Hooks<'a> {
    /// Before each step, where caches are to be cold.
    pub(super) flush: Option<&'a Flushing>,
    /// Before each step, behind that.
    pub(super) before_step: &'a dyn Fn(),
    /// After each stage's last step.
    pub(super) at_stage_end: &'a mut dyn FnMut(Stage),
}

/// The same with more to do between steps.
pub(super) fn generate_with<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    state: &mut State<B>,
    generation: Generation<'_>,
    stop: &AtomicBool,
    hooks: Hooks<'_>,
) -> Result<Vec<TimedStep>, RunnerError> {
    let Generation { version, prompt, tokens, profiled } = generation;
    state.reset();
    let mut steps = Vec::with_capacity(tokens);
    let mut ids = prompt.to_vec();
    for step in 0..tokens {
        if stop.load(Ordering::Relaxed) {
            return Err(RunnerError::Interrupted);
        }
        let stage = if step == 0 { Stage::Prefill } else { Stage::Decode };
        if step == 0 {
            model.rehearse(backend, state, &ids)?;
        }
        backend.prepare(&state.next_shape(ids.len()))?;
        if let Some(flush) = hooks.flush {
            flush.run(backend)?;
        }
        (hooks.before_step)();
        // The profiled part holds what the device does in this step: it was idle before, and is waited for at the end.
        let start_s = backend.now();
        let part = profiled.and_then(|p| p.begin(step, tokens));
        backend.marks().begin_step(version, stage);
        let logits = model.forward(backend, state, &ids, LinearRows::Last)?;
        model.choose(backend, &logits, &mut ids)?;
        let time_s = backend.now() - start_s;
        backend.marks().end_step();
        drop(part);
        let spans = backend.marks().take();
        steps.push(TimedStep { stage, step, shape: logits.shape, start_s, time_s, spans });
        if step == 0 || step + 1 == tokens {
            (hooks.at_stage_end)(stage);
        }
    }
    Ok(steps)
}

/// How a backend with these marks takes its times.
pub(super) fn timing_method(marks: &Marks) -> TimingMethod {
    if marks.is_scripted() {
        TimingMethod::Scripted
    } else if marks.is_device() {
        TimingMethod::DeviceEvent
    } else {
        TimingMethod::HostClock
    }
}
