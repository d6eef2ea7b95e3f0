//! `kprof phase`: every version's plain and instrumented twin, interleaved, until enough or out of time.

use super::flushing::Flushing;
use super::generate::{Hooks, generate_with, timing_method};
use super::profiled::observer;
use super::{
    Generation, ProfiledSteps, Progress, Rounds, RunnerError, Scenario, Sink, Timed, TimedStep, Turn,
};
use crate::backend::Backend;
use crate::host::{Reading, Watch, interference, throttling};
use crate::llm::{Stage, Version};
use crate::pass::{Model, Recorder, State, prompt_ids};
use crate::profile::{
    CacheRecord, Finding, FindingCode, Record, ScheduleRecord, StepRecord, TelemetryRecord, Twin, UsageRecord,
};
use std::time::Instant;

/// How a measurement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Repetitions that every version completed.
    pub repetitions: usize,
}

/// One version at work.
struct Lane<'a, B: Backend> {
    version: &'a Version,
    state: State<B>,
}

/// The parts of a measurement that every step of it needs.
struct Measurement<'a, 's, B: Backend> {
    backend: &'a mut B,
    model: &'a Model<B>,
    scenario: &'a Scenario,
    sink: &'a mut Sink<'s>,
    recorder: Recorder,
    prompt: Vec<u32>,
    /// What flushes the caches before each step, where they are to be cold.
    flush: Option<Flushing>,
    /// What the machine's counters said before the last generation, and after each of its stages.
    readings: (Option<Reading>, Vec<(Stage, Reading)>),
    seen: (Vec<UsageRecord>, Vec<TelemetryRecord>),
}

/// Measures `scenario` and hands over records as they come: plans, steps, caches and findings.
///
/// A repetition runs every version once plain and once instrumented. The order of versions is shuffled anew
/// in each repetition and the twins swap places, so that drift hits all alike. See [`Rounds`] for how often.
///
/// # Errors
/// When a pass or a record fails, or the run is stopped; what was recorded until then stays recorded.
pub fn measure_phases<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    scenario: &Scenario,
    sink: &mut Sink<'_>,
) -> Result<Outcome, RunnerError> {
    let capacity = scenario.cached_tokens();
    let mut lanes = Vec::new();
    for version in &scenario.versions {
        let state = State::new(backend, model.spec(), version, scenario.batch, capacity)?;
        lanes.push(Lane { version, state });
    }
    let vocab = model.spec().vocab_size;
    let prompt = prompt_ids(scenario.schedule.seed, scenario.batch, scenario.prompt_length, vocab);
    let flush = Flushing::of(scenario.cache, backend)?;
    let flushed_bytes = flush.as_ref().map(Flushing::bytes);
    let mut measurement = Measurement {
        backend,
        model,
        scenario,
        sink,
        recorder: Recorder::default(),
        prompt,
        flush,
        readings: (None, Vec::new()),
        seen: (Vec::new(), Vec::new()),
    };
    measurement.record_caches(&lanes)?;
    let names = scenario.versions.iter().map(|v| v.name.clone()).collect();
    let mut rounds = Rounds::new(scenario.schedule, names);
    let began = Instant::now();
    let at = |turn: Turn| (turn.done, turn.total, began.elapsed().as_secs_f64());
    rounds.warm_up(|turn| {
        let steps = measurement.run(&mut lanes[turn.lane], None, at(turn))?;
        Ok::<_, RunnerError>(timed(&steps))
    })?;
    measurement.tell_profiler()?;
    measurement.profile(&mut lanes)?;
    rounds.repeat(|turn| measurement.repetition(&mut lanes[turn.lane], turn, at(turn)))?;
    measurement.backend.marks().observe(None);
    let (schedule, findings) = rounds.finish();
    let schedule = ScheduleRecord { cache: scenario.cache, flushed_bytes, ..schedule };
    (measurement.sink.record)(Record::Schedule(schedule))?;
    for finding in findings {
        (measurement.sink.record)(Record::Finding(finding))?;
    }
    measurement.note_machine()?;
    Ok(Outcome { repetitions: rounds.repetitions() })
}

impl<B: Backend> Measurement<'_, '_, B> {
    /// Runs one generation; `at` is how many turns are done, of how many, and the seconds since the beginning.
    fn run(
        &mut self,
        lane: &mut Lane<'_, B>,
        twin: Option<Twin>,
        (done, total, elapsed_s): (usize, usize, f64),
    ) -> Result<Vec<TimedStep>, RunnerError> {
        let version = &lane.version.name;
        (self.sink.progress)(Progress { version, twin, done, total, elapsed_s });
        self.generate(lane, twin, None)
    }

    fn generate(
        &mut self,
        lane: &mut Lane<'_, B>,
        twin: Option<Twin>,
        profiled: Option<&ProfiledSteps>,
    ) -> Result<Vec<TimedStep>, RunnerError> {
        self.backend.marks().instrument(twin == Some(Twin::Instrumented));
        let (version, tokens) = (lane.version.name.as_str(), self.scenario.tokens);
        let generation = Generation { version, prompt: &self.prompt, tokens, profiled };
        let watch = self.sink.watch;
        self.readings = (watch.map(Watch::read), Vec::new());
        let after = &mut self.readings.1;
        let mut at_stage_end = |stage| after.extend(watch.map(|w| (stage, w.read())));
        let hooks =
            Hooks { flush: self.flush.as_ref(), before_step: &|| (), at_stage_end: &mut at_stage_end };
        let (backend, state) = (&mut *self.backend, &mut lane.state);
        generate_with(backend, self.model, state, generation, self.sink.stop, hooks)
    }

    /// From here on, a profiler that is attached is told of ranges: warm-ups are nothing to look at.
    fn tell_profiler(&mut self) -> Result<(), RunnerError> {
        match observer() {
            Ok(observer) => self.backend.marks().observe(observer),
            Err(why) => {
                let message = format!("the profiler gets no ranges: {why}");
                (self.sink.record)(Record::Finding(Finding::new(
                    FindingCode::ProfilerMessage,
                    "NVTX",
                    message,
                )))?;
            }
        }
        Ok(())
    }

    /// One generation of each version in which the profiler looks at one step per stage.
    fn profile(&mut self, lanes: &mut [Lane<'_, B>]) -> Result<(), RunnerError> {
        let scenario = self.scenario;
        if let Some(profiled) = &scenario.profiled {
            for lane in lanes.iter_mut() {
                self.generate(lane, None, Some(profiled))?;
            }
        }
        Ok(())
    }

    /// Both twins of a version; its times are those of the plain one.
    fn repetition(
        &mut self,
        lane: &mut Lane<'_, B>,
        turn: Turn,
        at: (usize, usize, f64),
    ) -> Result<Timed, RunnerError> {
        let repetition = turn.repetition.unwrap_or_default();
        let mut twins = [Twin::Plain, Twin::Instrumented];
        if repetition % 2 == 1 {
            twins.reverse();
        }
        let mut times = Timed::new();
        for twin in twins {
            let steps = self.run(lane, Some(twin), at)?;
            if twin == Twin::Plain {
                times = timed(&steps);
            }
            self.record_steps(&lane.version.name, twin, repetition, steps)?;
            self.record_machine(&lane.version.name, twin, repetition)?;
        }
        Ok(times)
    }

    /// What the machine did during the stages of the last generation, and the samples taken meanwhile.
    fn record_machine(&mut self, version: &str, twin: Twin, repetition: usize) -> Result<(), RunnerError> {
        let (first, after) = std::mem::take(&mut self.readings);
        let (Some(watch), Some(mut before)) = (self.sink.watch, first) else { return Ok(()) };
        for (stage, reading) in after {
            let of = UsageRecord::of(version, stage, twin, repetition);
            let usage = watch.between(&before, &reading, of);
            self.seen.0.push(usage.clone());
            (self.sink.record)(Record::Usage(Box::new(usage)))?;
            before = reading;
        }
        for sample in watch.take_samples() {
            self.seen.1.push(sample.clone());
            (self.sink.record)(Record::Telemetry(sample))?;
        }
        Ok(())
    }

    /// What the machine did that a reader should know.
    fn note_machine(&mut self) -> Result<(), RunnerError> {
        for finding in interference(&self.seen.0).into_iter().chain(throttling(&self.seen.1)) {
            (self.sink.record)(Record::Finding(finding))?;
        }
        Ok(())
    }

    fn record_steps(
        &mut self,
        version: &str,
        twin: Twin,
        repetition: usize,
        steps: Vec<TimedStep>,
    ) -> Result<(), RunnerError> {
        let method = timing_method(self.backend.marks());
        for step in steps {
            if twin == Twin::Instrumented
                && let Some(plan) = self.recorder.plan(version, step.stage, &step.spans)?
            {
                (self.sink.record)(Record::Plan(plan))?;
            }
            (self.sink.record)(Record::Step(StepRecord {
                version: version.to_string(),
                stage: step.stage,
                twin,
                repetition,
                step: step.step,
                shape: step.shape,
                time_s: to_picoseconds(step.time_s),
                method,
                op_start_s: step.spans.iter().map(|s| to_picoseconds(s.start_s - step.start_s)).collect(),
                op_time_s: step.spans.iter().map(|s| to_picoseconds(s.time_s)).collect(),
            }))?;
        }
        Ok(())
    }

    fn record_caches(&mut self, lanes: &[Lane<'_, B>]) -> Result<(), RunnerError> {
        for lane in lanes {
            let (tokens, batch) = (self.scenario.cached_tokens(), self.scenario.batch);
            let theory = lane.version.cache_bytes(self.model.spec(), self.backend.dtype(), tokens, batch).0;
            let allocated = lane.state.allocated_bytes(self.backend);
            (self.sink.record)(Record::Cache(CacheRecord {
                version: lane.version.name.clone(),
                tokens,
                batch,
                theoretical_bytes: theory,
                allocated_bytes: allocated,
                // The capacity is the number of tokens cached: all of it was written.
                touched_bytes: Some(allocated),
            }))?;
        }
        Ok(())
    }
}

/// The time of a generation's prefill, and of its mean decode step.
fn timed(steps: &[TimedStep]) -> Timed {
    let of = |stage: Stage| {
        let times: Vec<f64> = steps.iter().filter(|s| s.stage == stage).map(|s| s.time_s).collect();
        (!times.is_empty()).then(|| (stage.name(), times.iter().sum::<f64>() / times.len() as f64))
    };
    Stage::ALL.into_iter().filter_map(of).collect()
}

/// Rounds to whole picoseconds: far below any clock's resolution, and enough to drop the digits that subtracting
/// two readings of a clock adds, which would double the size of a run file.
fn to_picoseconds(seconds: f64) -> f64 {
    (seconds * 1e12).round() / 1e12
}
