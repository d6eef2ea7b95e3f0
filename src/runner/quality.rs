//! `kprof perplexity`: a text scored token by token through each version's own cache, beside one pass over each window.

use super::{Progress, RunnerError, Sink};
use crate::backend::Backend;
use crate::llm::{LinearRows, Version};
use crate::pass::{Model, State, TokenisedText};
use crate::profile::{QualityRecord, Record, Twin};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What is to be scored, by whom.
#[derive(Clone, Debug)]
pub struct QualityScenario<'a> {
    /// The text.
    pub text: &'a TokenisedText,
    /// How it is cut; see [`windows`].
    pub windows: Vec<Window>,
    /// The versions, in the order asked for.
    pub versions: &'a [Version],
    /// The one of them that all are compared with.
    pub reference: &'a str,
    /// Whether each window is also scored in one pass.
    pub one_pass: bool,
}

/// A stretch of the text that is scored from an empty cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its tokens.
    pub tokens: Range<usize>,
    /// The first that is scored, at least one after the first token; those before it are the prompt.
    pub scored_from: usize,
}

impl Window {
    /// How many tokens are scored.
    pub fn scored(&self) -> usize {
        self.tokens.end - self.scored_from
    }
}

/// Cuts `count` tokens into windows of `context` that begin `stride` apart, as Hugging Face's guide to the perplexity of
/// fixed-length models does: each window scores the tokens that no earlier one did, after as many as it has of those
/// before them; the first token of all is never scored, for nothing comes before it. The last window may be shorter.
///
/// With `stride` = `context` windows do not overlap, and each one's first token is not scored either.
pub fn windows(count: usize, context: usize, stride: usize) -> Vec<Window> {
    let mut windows = Vec::new();
    let (mut begin, mut scored_to) = (0, 0);
    while scored_to < count {
        let end = (begin + context).min(count);
        let scored_from = scored_to.max(begin + 1);
        if scored_from < end {
            windows.push(Window { tokens: begin..end, scored_from });
        }
        scored_to = end;
        begin += stride;
    }
    windows
}

/// Scores every window under every version and records it: one record per window and version.
///
/// All versions go through a window side by side, token by token, so that their distributions can be compared without
/// keeping them: the prompt in one pass, as generation does, then each scored token is fed as if it had been chosen.
///
/// # Errors
/// When a pass or a record fails, logits are not finite, or the run is stopped; whole windows stay recorded.
pub fn measure_quality<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    scenario: &QualityScenario<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), RunnerError> {
    let began = Instant::now();
    let longest = scenario.windows.iter().map(|w| w.tokens.len()).max().unwrap_or_default();
    let mut lanes = Vec::new();
    for version in scenario.versions {
        let state = State::new(backend, model.spec(), version, 1, longest)?;
        lanes.push(Lane { version, state, logits: Vec::new(), record: None });
    }
    // The reference goes first: the others are compared with what it said of the same token.
    lanes.sort_by_key(|lane| lane.version.name != scenario.reference);
    let total = scenario.windows.iter().map(Window::scored).sum();
    let mut scoring = Scoring { backend, model, scenario, sink, began, done: 0, total };
    for (segment, window) in scenario.windows.iter().enumerate() {
        scoring.window(&mut lanes, segment, window)?;
    }
    Ok(())
}

/// One version at work.
struct Lane<'a, B: Backend> {
    version: &'a Version,
    state: State<B>,
    /// What it says of the next token.
    logits: Vec<f32>,
    record: Option<QualityRecord>,
}

struct Scoring<'a, 's, B: Backend> {
    backend: &'a mut B,
    model: &'a Model<B>,
    scenario: &'a QualityScenario<'a>,
    sink: &'a mut Sink<'s>,
    began: Instant,
    done: usize,
    total: usize,
}

impl<B: Backend> Scoring<'_, '_, B> {
    fn window(
        &mut self,
        lanes: &mut [Lane<'_, B>],
        segment: usize,
        window: &Window,
    ) -> Result<(), RunnerError> {
        let text = self.scenario.text;
        for lane in lanes.iter_mut() {
            lane.state.reset();
            let mut record = self.empty_record(lane.version, segment, window);
            if self.scenario.one_pass {
                record.teacher_forced_nll_nat = self.one_pass(lane, window)?;
                lane.state.reset();
            }
            lane.record = Some(record);
            self.feed(lane, &text.ids[window.tokens.start..window.scored_from])?;
        }
        for at in window.scored_from..window.tokens.end {
            if self.sink.stop.load(Ordering::Relaxed) {
                return Err(RunnerError::Interrupted);
            }
            let progress = Progress {
                version: "token",
                twin: Some(Twin::Plain),
                done: self.done,
                total: self.total,
                elapsed_s: self.began.elapsed().as_secs_f64(),
            };
            (self.sink.progress)(progress);
            self.token(lanes, at)?;
            if at + 1 < window.tokens.end {
                for lane in lanes.iter_mut() {
                    self.feed(lane, &text.ids[at..=at])?;
                }
            }
            self.done += 1;
        }
        for record in lanes.iter_mut().filter_map(|lane| lane.record.take()) {
            (self.sink.record)(Record::Quality(record))?;
        }
        Ok(())
    }

    fn empty_record(&self, version: &Version, segment: usize, window: &Window) -> QualityRecord {
        let text = self.scenario.text;
        let scored = window.scored_from..window.tokens.end;
        let is_reference = version.name == self.scenario.reference;
        QualityRecord {
            version: version.name.clone(),
            segment,
            first_token: window.scored_from,
            bytes: Some(text.bytes[scored.clone()].iter().sum()),
            characters: Some(text.characters[scored].iter().sum()),
            nll_nat: Vec::with_capacity(window.scored()),
            teacher_forced_nll_nat: Vec::new(),
            reference: (!is_reference).then(|| self.scenario.reference.to_string()),
            kl_nat: Vec::new(),
            same_top1: Vec::new(),
            mean_of: None,
        }
    }

    /// -ln p of the scored tokens, the whole window in one pass.
    fn one_pass(&mut self, lane: &mut Lane<'_, B>, window: &Window) -> Result<Vec<f64>, RunnerError> {
        let ids = &self.scenario.text.ids[window.tokens.clone()];
        // The last token is scored and predicts nothing.
        let fed = &ids[..ids.len() - 1];
        let logits = self.model.forward(self.backend, &mut lane.state, fed, LinearRows::All)?;
        let rows = self.backend.to_host(&logits.tensor).map_err(crate::pass::PassError::from)?;
        let vocab = self.model.spec().vocab_size;
        let first = window.scored_from - window.tokens.start;
        (first..ids.len())
            .map(|i| {
                let row = &rows.data[(i - 1) * vocab..i * vocab];
                finite(
                    log_sum_exp(row) - f64::from(row[ids[i] as usize]),
                    lane.version,
                    window.tokens.start + i,
                )
            })
            .collect()
    }

    /// Feeds tokens and keeps what the version says of the next.
    fn feed(&mut self, lane: &mut Lane<'_, B>, ids: &[u32]) -> Result<(), RunnerError> {
        let logits = self.model.forward(self.backend, &mut lane.state, ids, LinearRows::Last)?;
        lane.logits = self.backend.to_host(&logits.tensor).map_err(crate::pass::PassError::from)?.data;
        Ok(())
    }

    /// Scores the token at `at` by what every version said of it.
    fn token(&mut self, lanes: &mut [Lane<'_, B>], at: usize) -> Result<(), RunnerError> {
        let id = self.scenario.text.ids[at] as usize;
        let (first, others) = lanes.split_at_mut(1);
        let reference = Distribution::of(&first[0].logits);
        let nll = finite(reference.nll(id), first[0].version, at)?;
        if let Some(record) = &mut first[0].record {
            record.nll_nat.push(nll);
        }
        for lane in others {
            let this = Distribution::of(&lane.logits);
            let nll = finite(this.nll(id), lane.version, at)?;
            let kl = finite(reference.kl(&this), lane.version, at)?;
            if let Some(record) = &mut lane.record {
                record.nll_nat.push(nll);
                record.kl_nat.push(kl);
                record.same_top1.push(reference.most_likely() == this.most_likely());
            }
        }
        Ok(())
    }
}

fn finite(value: f64, version: &Version, token: usize) -> Result<f64, RunnerError> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(RunnerError::NotFinite { version: version.name.clone(), token })
}

/// What a model says of the next token.
struct Distribution<'a> {
    logits: &'a [f32],
    log_sum_exp: f64,
}

impl<'a> Distribution<'a> {
    fn of(logits: &'a [f32]) -> Self {
        Self { logits, log_sum_exp: log_sum_exp(logits) }
    }

    /// -ln p of token `id`.
    fn nll(&self, id: usize) -> f64 {
        self.log_sum_exp - f64::from(self.logits[id])
    }

    /// KL(self || other) = sum p (ln p - ln q), in nats. Rounding may leave it a little under 0 where both are the same.
    fn kl(&self, other: &Self) -> f64 {
        let mean: f64 = self
            .logits
            .iter()
            .zip(other.logits)
            .map(|(p, q)| (f64::from(*p) - self.log_sum_exp).exp() * (f64::from(*p) - f64::from(*q)))
            .sum();
        mean + other.log_sum_exp - self.log_sum_exp
    }

    /// The first of the most likely tokens.
    fn most_likely(&self) -> usize {
        let larger = |best: usize, i: usize| if self.logits[i] > self.logits[best] { i } else { best };
        (0..self.logits.len()).fold(0, larger)
    }
}

/// ln sum exp, less the largest first, so that nothing overflows.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    largest + logits.iter().map(|x| (f64::from(*x) - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(count: usize, context: usize, stride: usize) -> Vec<(usize, usize, usize)> {
        windows(count, context, stride)
            .into_iter()
            .map(|w| (w.tokens.start, w.scored_from, w.tokens.end))
            .collect()
    }

    #[test]
    fn windows_are_those_of_the_guide() {
        // Begin, first scored, end. By hand from the guide's loop: begin_loc 0, 4, 8; trg_len 6, 4, 2.
        assert_eq!(cut(12, 6, 4), [(0, 1, 6), (4, 6, 10), (8, 10, 12)]);
        // Without overlap the first token of each window has nothing before it.
        assert_eq!(cut(10, 4, 4), [(0, 1, 4), (4, 5, 8), (8, 9, 10)]);
        assert_eq!(cut(9, 4, 4), [(0, 1, 4), (4, 5, 8)]);
        assert_eq!(cut(5, 100, 50), [(0, 1, 5)]);
        assert_eq!(cut(1, 4, 4), []);
        // Each token but the first is scored once.
        let scored: Vec<usize> =
            windows(100, 16, 5).into_iter().flat_map(|w| w.scored_from..w.tokens.end).collect();
        assert_eq!(scored, (1..100).collect::<Vec<_>>());
    }

    #[test]
    fn the_figures_of_a_distribution_are_those_of_scipy() {
        // numpy 2.4.6, scipy 1.17.1: p = [1., 2, -1, 0.5], q = [0.5, 2.5, 0, 0]; logsumexp(p) and
        // entropy(softmax(p), softmax(q)).
        const LSE: f64 = 2.495_181_898_085_856;
        const KL: f64 = 0.111_826_860_041_254_03;
        let (p, q) = ([1.0f32, 2.0, -1.0, 0.5], [0.5f32, 2.5, 0.0, 0.0]);
        let (p, q) = (Distribution::of(&p), Distribution::of(&q));
        assert!((p.log_sum_exp - LSE).abs() < 1e-12, "{}", p.log_sum_exp);
        assert!((p.nll(0) - (LSE - 1.0)).abs() < 1e-12);
        assert!((p.kl(&q) - KL).abs() < 1e-12, "{}", p.kl(&q));
        assert!(p.kl(&p).abs() < 1e-15);
        assert_eq!((p.most_likely(), Distribution::of(&[3.0, 1.0, 3.0]).most_likely()), (1, 0));
        // Logits that exp cannot take.
        assert!((log_sum_exp(&[1000.0, 1000.0]) - (1000.0 + 2f64.ln())).abs() < 1e-9);
    }
}
