//! `kprof phase --counters`: which kernels one prefill and the last decode step of each version run, and what hardware
//! counters say of their ops.
//!
//! It is done after everything was timed, in generations of its own, launched kernel by kernel: one that is traced, and one
//! for each pass that the counters need. All are of the same tokens, so that a pass repeats the work of the one before.

use super::flushing::Flushing;
use super::generate::{Hooks, generate_with};
use super::{Generation, ProfiledSteps, RunnerError, Scenario, Sink};
use crate::attach::ncu::counted;
use crate::backend::{Backend, Counters, Cupti, CuptiError, OpValues, RangeObserver, Trace, TracedKernel};
use crate::llm::{Phase, Stage, Version};
use crate::pass::{Model, State, prompt_ids};
use crate::profile::{ComputeCapability, Finding, FindingCode, KernelRecord, Measured, Record, Timeline};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// What is to be found out of kernels.
#[derive(Debug)]
pub struct KernelScenario {
    /// Who traces and counts.
    pub cupti: Cupti,
    /// What is counted, and the names of its metrics; `None` for a trace alone.
    pub counters: Option<(Counters, Vec<String>)>,
    /// The run's file, which the records name.
    pub file: String,
    /// The device's name.
    pub device: String,
    /// Its compute capability.
    pub capability: ComputeCapability,
}

/// The ops of a stage and their kernels.
struct Traced {
    stage: Stage,
    ops: Vec<String>,
    kernels: Vec<TracedKernel>,
}

/// Runs every version under CUPTI and hands over a record of each kernel.
///
/// # Errors
/// When a pass or a record fails, CUPTI refuses, or the run is stopped.
pub fn count_kernels<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    scenario: &Scenario,
    kernels: &mut KernelScenario,
    sink: &mut Sink<'_>,
) -> Result<(), RunnerError> {
    let mut origin_ns = None;
    backend.marks().instrument(false);
    backend.launch_singly(true);
    let counted = scenario.versions.iter().try_for_each(|version| {
        let capacity = scenario.cached_tokens();
        let state = State::new(backend, model.spec(), version, scenario.batch, capacity)?;
        let vocab = model.spec().vocab_size;
        let prompt = prompt_ids(scenario.schedule.seed, scenario.batch, scenario.prompt_length, vocab);
        let flush = Flushing::of(scenario.cache, backend)?;
        let mut lane = Lane { backend, model, state, version, prompt, tokens: scenario.tokens, flush };
        let records = lane.records(kernels, &mut origin_ns, sink)?;
        records.into_iter().try_for_each(|record| (sink.record)(record).map_err(RunnerError::from))
    });
    backend.marks().observe(None);
    backend.launch_singly(false);
    counted
}

/// One version at work.
struct Lane<'a, B: Backend> {
    backend: &'a mut B,
    model: &'a Model<B>,
    state: State<B>,
    version: &'a Version,
    prompt: Vec<u32>,
    tokens: usize,
    /// What empties the caches before each step, where times are of cold ones.
    flush: Option<Flushing>,
}

impl<B: Backend> Lane<'_, B> {
    fn records(
        &mut self,
        kernels: &mut KernelScenario,
        origin_ns: &mut Option<u64>,
        sink: &mut Sink<'_>,
    ) -> Result<Vec<Record>, RunnerError> {
        // Memory is new to this version: what is looked at is not its first use.
        self.generate(None, &|_| (), sink)?;
        let stages = self.traced(&kernels.cupti.trace(), sink)?;
        let ops = stages.iter().map(|stage| stage.ops.len()).sum();
        let values = match &mut kernels.counters {
            Some((counters, _)) => Some(self.counted(counters, ops, sink)?),
            None => None,
        };
        let first = stages.iter().flat_map(|s| &s.kernels).map(|k| k.interval_ns[0]).min();
        let origin_ns = *origin_ns.get_or_insert(first.unwrap_or(0));
        let metrics = kernels.counters.as_ref().map_or(&[][..], |(_, metrics)| metrics);
        let named = Named { kernels, version: &self.version.name, origin_ns, metrics };
        Ok(named.records(&stages, values.as_deref()))
    }

    /// One generation; `before` is told which step comes, and at the end that there is none.
    fn generate(
        &mut self,
        observer: Option<Arc<dyn RangeObserver>>,
        before: &dyn Fn(Option<usize>),
        sink: &Sink<'_>,
    ) -> Result<(), RunnerError> {
        self.backend.marks().observe(observer);
        let step = Cell::new(0);
        let before_step = || before(Some(step.replace(step.get() + 1)));
        let hooks =
            Hooks { flush: self.flush.as_ref(), before_step: &before_step, at_stage_end: &mut |_| () };
        let version = self.version.name.as_str();
        let generation = Generation { version, prompt: &self.prompt, tokens: self.tokens, profiled: None };
        let done = generate_with(self.backend, self.model, &mut self.state, generation, sink.stop, hooks);
        self.backend.marks().observe(None);
        before(None);
        done.map(drop)
    }

    /// The kernels of the prefill and of the last decode step.
    fn traced(&mut self, trace: &Trace, sink: &Sink<'_>) -> Result<Vec<Traced>, RunnerError> {
        let (found, error) = (RefCell::new(Vec::new()), RefCell::new(None));
        let (running, tokens) = (Cell::new(None), self.tokens);
        let before = |step: Option<usize>| {
            let done = running.take().map_or(Ok(()), |stage| {
                let (ops, kernels) = trace.stop()?;
                found.borrow_mut().push(Traced { stage, ops, kernels });
                Ok(())
            });
            let stage = step.and_then(|step| looked_at(step, tokens));
            running.set(stage);
            let begun = stage.map_or(Ok(()), |_| trace.start());
            if let Err(why) = done.and(begun) {
                error.borrow_mut().get_or_insert(why);
            }
        };
        self.generate(Some(trace.observer()), &before, sink)?;
        finished(error)?;
        Ok(found.into_inner())
    }

    /// What the counters say of every op that was traced, in their order.
    fn counted(
        &mut self,
        counters: &mut Counters,
        ops: usize,
        sink: &Sink<'_>,
    ) -> Result<Vec<OpValues>, RunnerError> {
        let observer = counters.enable(ops)?;
        // One more than enough: a profiler that never has all passes would go on for ever.
        for _ in 0..=counters.passes() {
            counters.start()?;
            let tokens = self.tokens;
            let before = |step: Option<usize>| {
                counters.listen(step.is_some_and(|step| looked_at(step, tokens).is_some()));
            };
            self.generate(Some(Arc::clone(&observer)), &before, sink)?;
            if counters.stop()? {
                return Ok(counters.finish()?);
            }
        }
        let reason = format!("{} passes were made, and CUPTI wants more", counters.passes() + 1);
        Err(CuptiError::Call { call: "cuptiRangeProfilerStop", reason }.into())
    }
}

/// The stage of a step that is looked at.
fn looked_at(step: usize, tokens: usize) -> Option<Stage> {
    let steps = ProfiledSteps { stages: Stage::ALL.to_vec() };
    let stage = if step == 0 { Stage::Prefill } else { Stage::Decode };
    steps.contains(step, tokens).then_some(stage)
}

fn finished(error: RefCell<Option<CuptiError>>) -> Result<(), CuptiError> {
    error.into_inner().map_or(Ok(()), Err)
}

/// What all records of a version have in common.
struct Named<'a> {
    kernels: &'a KernelScenario,
    version: &'a str,
    origin_ns: u64,
    metrics: &'a [String],
}

impl Named<'_> {
    fn records(&self, stages: &[Traced], values: Option<&[OpValues]>) -> Vec<Record> {
        let mut records = Vec::new();
        let mut values = values.map(<[OpValues]>::iter);
        for stage in stages {
            let outside = stage.kernels.iter().filter(|k| k.op.is_none());
            let alone: Vec<KernelRecord> = outside.map(|k| self.kernel(stage, &[k])).collect();
            records.extend(self.finding(stage, alone.len()));
            records.extend(alone.into_iter().map(|k| Record::Kernel(Box::new(k))));
            for (number, op) in stage.ops.iter().enumerate() {
                let own: Vec<&TracedKernel> = stage.kernels.iter().filter(|k| k.op == Some(number)).collect();
                // The generations ran the same ops, so that they are at the same places.
                let of_op = values.as_mut().and_then(Iterator::next).filter(|(name, _)| name == op);
                records.extend(self.op(stage, &own, of_op).into_iter().map(|k| Record::Kernel(Box::new(k))));
            }
        }
        records
    }

    /// The records of an op: one for each kernel, or, where counters are of the op as a whole, one for all.
    fn op(&self, stage: &Traced, own: &[&TracedKernel], values: Option<&OpValues>) -> Vec<KernelRecord> {
        match values {
            Some((_, values)) if !own.is_empty() => {
                let named = self.metrics.iter().map(String::as_str).zip(values.iter().copied());
                vec![counted(self.kernel(stage, own), &named.collect::<Vec<_>>())]
            }
            _ => own.iter().map(|k| self.kernel(stage, &[k])).collect(),
        }
    }

    /// The record of one kernel, or of several in a row.
    fn kernel(&self, stage: &Traced, own: &[&TracedKernel]) -> KernelRecord {
        let first = own[0];
        let path = first.op.and_then(|op| stage.ops.get(op));
        let extent = |[x, y, z]: [u32; 3]| format!("({x}, {y}, {z})");
        let one = own.len() == 1;
        let names: Vec<&str> = own.iter().map(|k| k.name.as_str()).collect();
        let time: u64 = own.iter().map(|k| k.interval_ns[1] - k.interval_ns[0]).sum();
        let [device, context, stream] = first.place;
        KernelRecord {
            file: self.kernels.file.clone(),
            launch: Some(first.correlation.to_string()),
            kernel: names.join(" + "),
            launches: own.len() as u64,
            device: Some(self.kernels.device.clone()),
            compute_capability: Some(self.kernels.capability),
            grid: one.then(|| extent(first.grid)),
            block: one.then(|| extent(first.block)),
            registers: one.then_some(first.registers),
            static_shared_bytes: one.then_some(u64::from(first.shared_bytes[0])),
            dynamic_shared_bytes: one.then_some(u64::from(first.shared_bytes[1])),
            context: Some(context.to_string()),
            stream: Some(stream.to_string()),
            nvtx: path.into_iter().cloned().collect(),
            version: Some(self.version.to_string()),
            stage: Some(stage.stage),
            phase: path.and_then(|path| phase_of(path)),
            time: Some(Measured::new(time as f64 * 1e-9, "CUPTI activity: end - start")),
            timeline: Some(Timeline {
                start_s: Some(first.interval_ns[0].saturating_sub(self.origin_ns) as f64 * 1e-9),
                device: Some(device),
                correlation: Some(u64::from(first.correlation)),
                ..Timeline::default()
            }),
            ..KernelRecord::default()
        }
    }

    fn finding(&self, stage: &Traced, outside: usize) -> Option<Record> {
        let about = format!("{} {}", self.version, stage.stage);
        let all = stage.kernels.len();
        let message = match (all, outside) {
            (0, _) => "CUPTI recorded no kernel: nothing is known of what ran".to_string(),
            (_, 0) => return None,
            _ => format!(
                "{outside} of {all} kernels were launched outside of any op, as far as CUPTI says: they have no phase"
            ),
        };
        Some(Record::Finding(Finding::new(FindingCode::ProfilerMessage, about, message)))
    }
}

/// `kprof/v1/decode/layer 3/attention/attn.qkv`: what stands before the op.
fn phase_of(path: &str) -> Option<Phase> {
    let name = path.rsplit('/').nth(1)?;
    Phase::ALL.into_iter().find(|phase| phase.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_of_an_op_stands_before_its_name() {
        assert_eq!(phase_of("kprof/v1/decode/layer 3/attention/attn.qkv"), Some(Phase::Attention));
        assert_eq!(phase_of("kprof/v1/prefill/embedding/embed"), Some(Phase::Embedding));
        assert_eq!(phase_of("logits"), None);
    }

    #[test]
    fn the_prefill_and_the_last_decode_step_are_looked_at() {
        let all: Vec<_> = (0..4).map(|step| looked_at(step, 4)).collect();
        assert_eq!(all, [Some(Stage::Prefill), None, None, Some(Stage::Decode)]);
    }
}
