//! `kprof crossover`: decode steps of two versions at contexts and batches, side by side, and the prefills before them.

use super::generate::timing_method;
use super::{Progress, Rounds, RunnerError, Schedule, Sink, Turn};
use crate::backend::Backend;
use crate::llm::{LinearRows, Stage, StepShape, Version};
use crate::pass::{Model, Recorder, State, prompt_ids};
use crate::profile::{DecodePointRecord, Record, StepRecord, TimingMethod, Twin};
use crate::stats::{CONFIDENCE, REPORT_SEED, Sample, Verdict, paired_ratio_interval};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A crossing is looked for no closer than this part of its context.
const FINENESS: usize = 20;

/// What is to be timed.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossoverScenario {
    /// The versions: the one to be overtaken, then the one that may overtake it.
    pub versions: Vec<Version>,
    /// Tokens per sequence that a step attends to, its own included; at least 2.
    pub contexts: Vec<usize>,
    /// Sequences side by side.
    pub batches: Vec<usize>,
    /// The most contexts that are measured beyond those, for each batch, between where the new version does not pay and where
    /// it does.
    pub refine: usize,
    /// Steps of each version in a round.
    pub steps: usize,
    /// How often, at each context and batch; its time is that of all together.
    pub schedule: Schedule,
}

/// Times `scenario` and hands over records as they come.
///
/// At every context and batch, each version is prefilled up to the step's own token, which is timed once; then rounds
/// alternate between the versions, each running the same decode step several times from the same state. Where the second
/// version begins to pay between two contexts, the middle is measured next, and so on as often as asked for. Where marks are
/// needed for the plan of a stage, one more pass runs at the end, outside all times.
///
/// # Errors
/// When a pass or a record fails, or the run is stopped; what was recorded until then stays recorded.
pub fn measure_crossover<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    scenario: &CrossoverScenario,
    sink: &mut Sink<'_>,
) -> Result<(), RunnerError> {
    let total = scenario.batches.len() * (scenario.contexts.len() + scenario.refine);
    let began = Instant::now();
    let mut recorder = Recorder::default();
    let method = timing_method(backend.marks());
    let mut time = Time { max_s: scenario.schedule.max_time_s, spent_s: 0.0 };
    for (at, batch) in scenario.batches.iter().copied().enumerate() {
        let mut found: Vec<(usize, bool)> = Vec::new();
        let mut wanted = scenario.contexts.clone();
        wanted.reverse();
        while let Some(context) = wanted.pop() {
            let done = at * (scenario.contexts.len() + scenario.refine) + found.len();
            let max_time_s = time.share_s(total - done);
            let mut cell = Cell {
                backend,
                model,
                scenario,
                batch,
                context,
                method,
                max_time_s,
                recorder: &mut recorder,
            };
            let (pays, spent_s) = cell.measure(sink, Standing { done, total, began })?;
            time.spent_s += spent_s;
            found.push((context, pays));
            if wanted.is_empty() && found.len() < scenario.contexts.len() + scenario.refine {
                wanted.extend(middle(&found));
            }
        }
    }
    Ok(())
}

/// The time of all rounds, as it is spent.
struct Time {
    max_s: Option<f64>,
    spent_s: f64,
}

impl Time {
    /// What a cell may take of the time that is left, as many of them being to come at most: what earlier ones did not need
    /// (theirs were done in less, or a crossing needed no refinement) is shared by those that come.
    fn share_s(&self, cells: usize) -> Option<f64> {
        self.max_s.map(|max| (max - self.spent_s).max(0.0) / cells.max(1) as f64)
    }
}

/// Half-way from the largest context where it does not pay to the next one, where it pays as at every larger one; `None` where
/// there is no such step, or it is narrower than a twentieth of its context.
fn middle(found: &[(usize, bool)]) -> Option<usize> {
    let mut found = found.to_vec();
    found.sort_unstable();
    let first = found.iter().rposition(|(_, pays)| !pays)? + 1;
    let (low, high) = (found[first - 1].0, found.get(first)?.0);
    let gap = high - low;
    (gap > 1 && gap * FINENESS > high).then(|| low + gap / 2)
}

/// Whether the second version is faster than the first for certain, by paired rounds: by the interval that the report has too.
fn pays(times: &[Vec<f64>]) -> bool {
    let sample = |at: usize| times.get(at).and_then(|t| Sample::new(t.clone()).ok());
    let interval = sample(0)
        .zip(sample(1))
        .and_then(|(old, new)| paired_ratio_interval(&old, &new, CONFIDENCE, REPORT_SEED));
    Verdict::of_speedup(interval, 0.0) == Verdict::Faster
}

/// How far the whole measurement is when a cell begins.
#[derive(Clone, Copy)]
struct Standing {
    done: usize,
    total: usize,
    began: Instant,
}

impl Standing {
    /// Says what is measured now.
    fn say(self, sink: &mut Sink<'_>, version: &str, twin: Option<Twin>) {
        let elapsed_s = self.began.elapsed().as_secs_f64();
        (sink.progress)(Progress { version, twin, done: self.done, total: self.total, elapsed_s });
    }
}

struct Cell<'a, B: Backend> {
    backend: &'a mut B,
    model: &'a Model<B>,
    scenario: &'a CrossoverScenario,
    batch: usize,
    context: usize,
    method: TimingMethod,
    /// Of the rounds.
    max_time_s: Option<f64>,
    recorder: &'a mut Recorder,
}

impl<B: Backend> Cell<'_, B> {
    /// Records the context's times, and says whether the new version pays there for certain, and the seconds of its rounds.
    fn measure(&mut self, sink: &mut Sink<'_>, standing: Standing) -> Result<(bool, f64), RunnerError> {
        let versions = &self.scenario.versions;
        let mut states = Vec::new();
        for version in versions {
            let prefill = format!("{} prefill of {} x {}", version.name, self.batch, self.context - 1);
            standing.say(sink, &prefill, Some(Twin::Plain));
            states.push(self.prefill(version, sink)?);
        }
        let (times, spent_s) = self.rounds(&mut states, sink, standing)?;
        for (version, state) in versions.iter().zip(&mut states) {
            self.plans(version, state, sink)?;
        }
        Ok((pays(&times), spent_s))
    }

    /// Rounds of steps from the states of the versions: the times of each version, and the seconds of all rounds.
    fn rounds(
        &mut self,
        states: &mut [State<B>],
        sink: &mut Sink<'_>,
        standing: Standing,
    ) -> Result<(Vec<Vec<f64>>, f64), RunnerError> {
        let versions = &self.scenario.versions;
        let name = |v: &Version| DecodePointRecord::lane(&v.name, self.batch, self.context);
        let names: Vec<String> = versions.iter().map(name).collect();
        let schedule = Schedule { max_time_s: self.max_time_s, ..self.scenario.schedule };
        let mut rounds = Rounds::new(schedule, names.clone());
        let say = |sink: &mut Sink<'_>, turn: Turn| {
            standing.say(sink, &names[turn.lane], turn.repetition.map(|_| Twin::Plain));
        };
        rounds.warm_up(|turn| {
            say(sink, turn);
            Ok::<_, RunnerError>(vec![("", self.round(&mut states[turn.lane], sink)?)])
        })?;
        let mut times = vec![Vec::new(); versions.len()];
        rounds.repeat(|turn| {
            say(sink, turn);
            let time_s = self.round(&mut states[turn.lane], sink)?;
            times[turn.lane].push(time_s);
            (sink.record)(Record::DecodePoint(DecodePointRecord {
                version: versions[turn.lane].name.clone(),
                context: self.context,
                batch: self.batch,
                repetition: turn.repetition.unwrap_or_default(),
                time_s,
                steps: self.scenario.steps,
                method: self.method,
            }))?;
            Ok::<_, RunnerError>(vec![("", time_s)])
        })?;
        let spent_s = rounds.elapsed_s();
        let (schedule, findings) = rounds.finish();
        (sink.record)(Record::Schedule(schedule))?;
        for finding in findings {
            (sink.record)(Record::Finding(finding))?;
        }
        Ok((times, spent_s))
    }

    /// A state of `context - 1` tokens, with its prefill timed.
    fn prefill(&mut self, version: &Version, sink: &mut Sink<'_>) -> Result<State<B>, RunnerError> {
        if sink.stop.load(Ordering::Relaxed) {
            return Err(RunnerError::Interrupted);
        }
        let mut state = State::new(self.backend, self.model.spec(), version, self.batch, self.context)?;
        let ids = prompt_ids(
            self.scenario.schedule.seed,
            self.batch,
            self.context - 1,
            self.model.spec().vocab_size,
        );
        self.backend.marks().instrument(false);
        if self.backend.threads().is_none() {
            // On a GPU the first pass of a shape loads kernels and asks what is the fastest, which is none of its time.
            self.prompt(&mut state, ids.clone())?;
            state.reset();
        }
        self.backend.prepare(&state.next_shape(ids.len()))?;
        let start_s = self.backend.now();
        let shape = self.prompt(&mut state, ids)?;
        let time_s = self.backend.now() - start_s;
        (sink.record)(Record::Step(StepRecord {
            version: version.name.clone(),
            stage: Stage::Prefill,
            twin: Twin::Plain,
            repetition: 0,
            step: 0,
            shape,
            time_s,
            method: self.method,
            op_start_s: Vec::new(),
            op_time_s: Vec::new(),
        }))?;
        Ok(state)
    }

    /// A pass over `ids` and the choice of a token each.
    fn prompt(&mut self, state: &mut State<B>, mut ids: Vec<u32>) -> Result<StepShape, RunnerError> {
        let logits = self.model.forward(self.backend, state, &ids, LinearRows::Last)?;
        self.model.choose(self.backend, &logits, &mut ids)?;
        Ok(logits.shape)
    }

    /// The median of some steps from the same state.
    fn round(&mut self, state: &mut State<B>, sink: &Sink<'_>) -> Result<f64, RunnerError> {
        let mut times = Vec::with_capacity(self.scenario.steps);
        for _ in 0..self.scenario.steps {
            if sink.stop.load(Ordering::Relaxed) {
                return Err(RunnerError::Interrupted);
            }
            let start_s = self.backend.now();
            self.step(state)?;
            times.push(self.backend.now() - start_s);
        }
        Ok(Sample::new(times).map_or(f64::NAN, |s| s.median()))
    }

    fn step(&mut self, state: &mut State<B>) -> Result<(), RunnerError> {
        state.truncate(self.context - 1);
        let mut ids = vec![1; self.batch];
        let logits = self.model.forward(self.backend, state, &ids, LinearRows::Last)?;
        self.model.choose(self.backend, &logits, &mut ids)?;
        Ok(())
    }

    /// The ops of each stage of a version, by marks, the first time that it is met.
    fn plans(
        &mut self,
        version: &Version,
        state: &mut State<B>,
        sink: &mut Sink<'_>,
    ) -> Result<(), RunnerError> {
        if self.recorder.knows(&version.name) {
            return Ok(());
        }
        self.backend.marks().instrument(true);
        self.backend.marks().take();
        state.reset();
        let ids = prompt_ids(0, self.batch, self.context - 1, self.model.spec().vocab_size);
        let mut chosen = ids.clone();
        let logits = self.model.forward(self.backend, state, &ids, LinearRows::Last)?;
        self.model.choose(self.backend, &logits, &mut chosen)?;
        let prefill = self.backend.marks().take();
        self.step(state)?;
        let decode = self.backend.marks().take();
        self.backend.marks().instrument(false);
        for (stage, spans) in [(Stage::Prefill, prefill), (Stage::Decode, decode)] {
            if let Some(plan) = self.recorder.plan(&version.name, stage, &spans)? {
                (sink.record)(Record::Plan(plan))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_between_not_paying_and_paying_for_good() {
        assert_eq!(middle(&[(64, false), (128, false), (256, true), (512, true)]), Some(192));
        assert_eq!(middle(&[(64, true), (512, true), (128, false), (256, true), (192, true)]), Some(160));
        assert_eq!(middle(&[(64, true), (128, true)]), None, "it pays everywhere");
        assert_eq!(middle(&[(64, true), (128, false)]), None, "it does not at the largest");
        assert_eq!(middle(&[(100, false), (105, true)]), None, "near enough");
        assert_eq!(middle(&[(1, false), (2, true)]), None);
    }

    #[test]
    fn time_that_was_not_needed_is_shared_by_those_that_come() {
        let mut time = Time { max_s: Some(60.0), spent_s: 0.0 };
        // 2 batches of 3 contexts and 3 to refine.
        assert_eq!(time.share_s(12), Some(5.0));
        // The first batch took 9 s for its contexts and had nothing to refine: 51 s for the 6 of the second.
        time.spent_s = 9.0;
        assert_eq!(time.share_s(6), Some(8.5));
        time.spent_s = 61.0;
        assert_eq!(time.share_s(1), Some(0.0), "one round is run all the same");
        assert_eq!(Time { max_s: None, spent_s: 3.0 }.share_s(4), None);
    }

    #[test]
    fn a_version_pays_where_its_whole_interval_is_faster() {
        let of = |new: f64, wobble: f64| {
            let times =
                |base: f64, sign: f64| (0..8).map(|i| base + sign * wobble * f64::from(i % 3)).collect();
            pays(&[times(2.0, 1.0), times(new, -1.0)])
        };
        assert!(of(1.9, 0.01));
        assert!(!of(2.1, 0.01) && !of(2.0, 0.0));
        assert!(!pays(&[vec![1.0]]) && !pays(&[]));
    }
}
