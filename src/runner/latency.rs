//! `kprof latency`: whole generations of several lengths, versions and lengths interleaved, without instrumentation.

use super::generate::timing_method;
use super::{
    Generation, Outcome, Progress, Rounds, RunnerError, Schedule, Sink, Timed, TimedStep, Turn, generate,
};
use crate::backend::Backend;
use crate::host::{interference, throttling};
use crate::llm::{Stage, Version};
use crate::pass::{Model, State, prompt_ids};
use crate::profile::{LatencyRecord, Record, TelemetryRecord, Twin, UsageRecord};
use std::time::Instant;

/// What is to be timed.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyScenario {
    /// The versions, in the order asked for.
    pub versions: Vec<Version>,
    /// Prompt tokens per sequence.
    pub prompt_length: usize,
    /// Output tokens per sequence: every T.
    pub lengths: Vec<usize>,
    /// Sequences side by side.
    pub batch: usize,
    /// How often; its seed is that of the prompt too.
    pub schedule: Schedule,
}

impl LatencyScenario {
    /// Tokens per sequence that caches are made for: those of the longest generation, whose last token is never fed back.
    pub fn capacity(&self) -> usize {
        self.prompt_length + self.lengths.iter().copied().max().unwrap_or(1) - 1
    }

    /// Every version with every T, as positions.
    fn cells(&self) -> Vec<(usize, usize)> {
        let of = |v: usize| self.lengths.iter().map(move |t| (v, *t));
        (0..self.versions.len()).flat_map(of).collect()
    }
}

/// Times `scenario` and hands over a record per generation as they come, and findings at the end.
///
/// A round runs every version at every T once, in an order that is shuffled anew, so that drift hits all alike; see
/// [`Rounds`] for how many. The caches of all versions stand side by side and are made for the longest generation.
///
/// # Errors
/// When a pass or a record fails, or the run is stopped; what was recorded until then stays recorded.
pub fn measure_latency<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    scenario: &LatencyScenario,
    sink: &mut Sink<'_>,
) -> Result<Outcome, RunnerError> {
    let new_state = |v: &Version| State::new(backend, model.spec(), v, scenario.batch, scenario.capacity());
    let states = scenario.versions.iter().map(new_state).collect::<Result<_, _>>()?;
    let seed = scenario.schedule.seed;
    let prompt = prompt_ids(seed, scenario.batch, scenario.prompt_length, model.spec().vocab_size);
    backend.marks().instrument(false);
    let cells = scenario.cells();
    let name = |(v, tokens): &(usize, usize)| LatencyRecord::lane(&scenario.versions[*v].name, *tokens);
    let names: Vec<String> = cells.iter().map(name).collect();
    let mut rounds = Rounds::new(scenario.schedule, names.clone());
    let began = Instant::now();
    let mut timing =
        Timing { backend, model, scenario, sink, states, prompt, seen: (Vec::new(), Vec::new()) };
    let say = |timing: &mut Timing<'_, '_, B>, turn: Turn| {
        let twin = turn.repetition.map(|_| Twin::Plain);
        let (version, elapsed_s) = (names[turn.lane].as_str(), began.elapsed().as_secs_f64());
        (timing.sink.progress)(Progress { version, twin, done: turn.done, total: turn.total, elapsed_s });
    };
    rounds.warm_up(|turn| {
        say(&mut timing, turn);
        let steps = timing.run(cells[turn.lane])?;
        Ok::<_, RunnerError>(vec![("", span_s(&steps))])
    })?;
    rounds.repeat(|turn| {
        say(&mut timing, turn);
        timing.repetition(cells[turn.lane], turn.repetition.unwrap_or_default())
    })?;
    let (schedule, findings) = rounds.finish();
    (timing.sink.record)(Record::Schedule(schedule))?;
    for finding in findings {
        (timing.sink.record)(Record::Finding(finding))?;
    }
    timing.note_machine()?;
    Ok(Outcome { repetitions: rounds.repetitions() })
}

struct Timing<'a, 's, B: Backend> {
    backend: &'a mut B,
    model: &'a Model<B>,
    scenario: &'a LatencyScenario,
    sink: &'a mut Sink<'s>,
    states: Vec<State<B>>,
    prompt: Vec<u32>,
    seen: (Vec<UsageRecord>, Vec<TelemetryRecord>),
}

impl<B: Backend> Timing<'_, '_, B> {
    fn run(&mut self, (v, tokens): (usize, usize)) -> Result<Vec<TimedStep>, RunnerError> {
        let version = self.scenario.versions[v].name.as_str();
        let generation = Generation { version, prompt: &self.prompt, tokens, profiled: None };
        let (state, stop) = (&mut self.states[v], self.sink.stop);
        generate(self.backend, self.model, state, generation, stop, &mut |_| {})
    }

    fn repetition(&mut self, cell: (usize, usize), repetition: usize) -> Result<Timed, RunnerError> {
        let watch = self.sink.watch;
        let before = watch.map(|w| w.read());
        let steps = self.run(cell)?;
        let name = self.scenario.versions[cell.0].name.clone();
        if let (Some(watch), Some(before)) = (watch, before) {
            let of = UsageRecord::of(&name, Stage::Decode, Twin::Plain, repetition);
            self.seen.0.push(watch.between(&before, &watch.read(), of));
            for sample in watch.take_samples() {
                self.seen.1.push(sample.clone());
                (self.sink.record)(Record::Telemetry(sample))?;
            }
        }
        let time_s = span_s(&steps);
        (self.sink.record)(Record::Latency(LatencyRecord {
            version: name,
            tokens: cell.1,
            prompt_length: self.scenario.prompt_length,
            batch: self.scenario.batch,
            repetition,
            time_s,
            ttft_s: steps.first().map(|first| first.time_s),
            method: timing_method(self.backend.marks()),
            summarised: None,
        }))?;
        Ok(vec![("", time_s)])
    }

    /// What the machine did that a reader should know.
    fn note_machine(&mut self) -> Result<(), RunnerError> {
        let (usage, samples) = std::mem::take(&mut self.seen);
        for finding in interference(&usage).into_iter().chain(throttling(&samples)) {
            (self.sink.record)(Record::Finding(finding))?;
        }
        Ok(())
    }
}

/// From the beginning of the first step to the end of the last.
fn span_s(steps: &[TimedStep]) -> f64 {
    let ends = steps.first().zip(steps.last());
    ends.map_or(0.0, |(first, last)| last.start_s + last.time_s - first.start_s)
}
