//! `kprof capacity`: the largest batch at a context in a budget of memory, by a search over batches that are tried.

use super::{MemoryNeed, MemoryShape, Progress, RunnerError, Sink};
use crate::alloc;
use crate::backend::Backend;
use crate::llm::{DType, Deployment, LinearRows, ModelSpec, Version, WeightFormat};
use crate::pass::{Model, State};
use crate::profile::{Accounted, CapacityMethod, CapacityProbe, CapacityRecord, MemoryMethod, Record, Twin};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// So many tries believe that memory is linear in the batch.
const STRAIGHT: usize = 5;
/// A step of more FLOPs than this is not run to see what it takes: some seconds on a few cores.
const AFFORDABLE: f64 = 1e12;

/// What is to be found.
#[derive(Clone, Debug, PartialEq)]
pub struct CapacityScenario {
    /// The versions, in the order asked for.
    pub versions: Vec<Version>,
    /// Tokens per sequence, the one that the step adds included.
    pub context: usize,
    /// For everything: weights, caches, activations.
    pub budget_bytes: f64,
    /// The largest batch that is tried.
    pub most: usize,
    /// Whether the candle implementation computes.
    pub is_reference: bool,
    /// How the weights of linears are stored, where it is not the run's type.
    pub weights: Option<WeightFormat>,
}

/// Finds each version's largest batch and hands over a record. The ledger must have been opened ([`alloc::start`]) before
/// the model was loaded.
///
/// What is tried is one decode step at the full context: of versions with a cache, over caches allocated for it; without
/// one, the pass over the whole sequence that such a step is, or where that would take minutes, the line through the
/// passes of small batches. Prefills are not in it: a server runs them in pieces.
///
/// # Errors
/// When a pass or a record fails, or the run is stopped; what was recorded until then stays recorded.
pub fn measure_capacity<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    scenario: &CapacityScenario,
    sink: &mut Sink<'_>,
) -> Result<(), RunnerError> {
    backend.marks().instrument(false);
    let (spec, dtype) = (model.spec(), backend.dtype());
    search(spec, dtype, scenario, sink, |version, batch| {
        let affordable = affordable(spec, scenario, version, batch);
        affordable.then(|| ran(backend, model, scenario, version, batch)).transpose()
    })
}

/// The same by the formulas of [`MemoryNeed`]: nothing is allocated or run.
///
/// # Errors
/// When a record cannot be written, or the run is stopped.
pub fn account_capacity(
    spec: &ModelSpec,
    dtype: DType,
    scenario: &CapacityScenario,
    sink: &mut Sink<'_>,
) -> Result<(), RunnerError> {
    search(spec, dtype, scenario, sink, |version, batch| {
        Ok(Some(accounted(spec, dtype, scenario, version, batch)))
    })
}

/// Searches for every version; `peak` is what a batch takes at most, `None` where finding out would take minutes.
fn search(
    spec: &ModelSpec,
    dtype: DType,
    scenario: &CapacityScenario,
    sink: &mut Sink<'_>,
    mut peak: impl FnMut(&Version, usize) -> Result<Option<Accounted>, RunnerError>,
) -> Result<(), RunnerError> {
    let (began, total) = (Instant::now(), scenario.versions.len());
    for (done, version) in scenario.versions.iter().enumerate() {
        let mut bracket = Bracket { fits: 0, too_large: None, probes: Vec::new() };
        let theory = theoretical_batch(spec, dtype, scenario, version);
        let mut guess = Some(theory.unwrap_or(1).clamp(1, scenario.most));
        while let Some(batch) = guess {
            if sink.stop.load(Ordering::Relaxed) {
                return Err(RunnerError::Interrupted);
            }
            let at = format!("{} batch {batch}", version.name);
            let elapsed_s = began.elapsed().as_secs_f64();
            (sink.progress)(Progress { version: &at, twin: Some(Twin::Plain), done, total, elapsed_s });
            let taken = peak(version, batch)?.or_else(|| bracket.extrapolated(batch));
            let Some(taken) = taken else {
                // Two small batches give the line.
                guess = Some(bracket.probes.len() + 1);
                continue;
            };
            let fits = taken.bytes <= scenario.budget_bytes;
            bracket.note(CapacityProbe { batch, peak: taken, fits });
            guess = bracket.next(scenario.budget_bytes, scenario.most);
        }
        (sink.record)(Record::Capacity(CapacityRecord {
            version: version.name.clone(),
            context: scenario.context,
            budget_bytes: scenario.budget_bytes,
            batch: bracket.fits,
            method: bracket.method(),
            theoretical_batch: theory,
            at_least: bracket.too_large.is_none(),
            probes: bracket.probes,
        }))?;
    }
    Ok(())
}

/// What is known of which batches fit.
struct Bracket {
    /// The largest known to fit.
    fits: usize,
    /// The smallest known not to.
    too_large: Option<usize>,
    probes: Vec<CapacityProbe>,
}

impl Bracket {
    /// How the ends of the bracket were found out: by the weakest of the methods that tell them.
    fn method(&self) -> CapacityMethod {
        let ends = [Some(self.fits), self.too_large];
        let of_end = self.probes.iter().filter(|p| ends.contains(&Some(p.batch))).map(|p| p.peak.method);
        let used: Vec<MemoryMethod> = of_end.collect();
        if used.contains(&MemoryMethod::Formula) {
            CapacityMethod::Accounted
        } else if used.contains(&MemoryMethod::Extrapolated) {
            CapacityMethod::Extrapolated
        } else {
            CapacityMethod::Ran
        }
    }

    fn extrapolated(&self, batch: usize) -> Option<Accounted> {
        Some(Accounted::new(self.line(batch)?, MemoryMethod::Extrapolated))
    }

    fn note(&mut self, probe: CapacityProbe) {
        if probe.fits {
            self.fits = self.fits.max(probe.batch);
        } else {
            self.too_large = Some(self.too_large.map_or(probe.batch, |b| b.min(probe.batch)));
        }
        self.probes.push(probe);
    }

    /// The peak at `batch` on the line through the first and the last probe, memory being linear in the batch.
    fn line(&self, batch: usize) -> Option<f64> {
        let (a, b) = self.probes.first().zip(self.probes.last()).filter(|(a, b)| a.batch != b.batch)?;
        let slope = (b.peak.bytes - a.peak.bytes) / (b.batch as f64 - a.batch as f64);
        Some(a.peak.bytes + slope * (batch as f64 - a.batch as f64))
    }

    /// The batch to try next: where the line meets the budget, or else the middle; `None` when all is known.
    fn next(&self, budget: f64, most: usize) -> Option<usize> {
        let low = self.fits + 1;
        let high = self.too_large.map_or(most, |b| b - 1);
        if low > high {
            return None;
        }
        let middle = low + (high - low) / 2;
        // Memory in steps, as of huge pages, is no line: from here on halves.
        if self.probes.len() >= STRAIGHT {
            return Some(middle);
        }
        let Some((a, b)) = self.line(0).zip(self.line(1)).filter(|(a, b)| b > a) else {
            // One probe alone: its neighbour tells the slope, on the side where the answer is.
            let only = self.probes.last().map_or(low, |p| if p.fits { p.batch + 1 } else { p.batch - 1 });
            return Some(if self.probes.len() < 2 { only.clamp(low, high) } else { middle });
        };
        let met = ((budget - a) / (b - a)).floor();
        // What fits by the line is tried, and then the next larger one.
        let guess = if met < 1.0 { low } else { met as usize };
        Some(if guess < low { low } else { guess.min(high) })
    }
}

/// (budget - weights) / a sequence's cache by the formula, rounded down; `None` without a cache.
fn theoretical_batch(
    spec: &ModelSpec,
    dtype: DType,
    scenario: &CapacityScenario,
    version: &Version,
) -> Option<usize> {
    let cache = version.cache_bytes(spec, dtype, scenario.context, 1).0;
    let stored = scenario.weights.unwrap_or(WeightFormat::plain(dtype));
    let weights = spec.weight_bytes(&Deployment { activations: dtype, ..Deployment::new(stored) }).0;
    version.use_cache.then(|| ((scenario.budget_bytes - weights) / cache).floor().max(0.0) as usize)
}

fn accounted(
    spec: &ModelSpec,
    dtype: DType,
    scenario: &CapacityScenario,
    version: &Version,
    batch: usize,
) -> Accounted {
    let shape = MemoryShape {
        batch,
        new_tokens: if version.use_cache { 1 } else { scenario.context },
        capacity: scenario.context,
        all_logits: false,
        is_reference: scenario.is_reference,
        weights: scenario.weights,
    };
    let need = MemoryNeed::of(spec, dtype, std::slice::from_ref(version), &shape);
    Accounted::new(need.weights.0 + need.caches.0 + need.activations.0, MemoryMethod::Formula)
}

/// Whether the step takes seconds and not minutes: 2 FLOPs per parameter and row.
fn affordable(spec: &ModelSpec, scenario: &CapacityScenario, version: &Version, batch: usize) -> bool {
    let rows = batch as f64 * if version.use_cache { 1.0 } else { scenario.context as f64 };
    2.0 * spec.parameters() as f64 * rows <= AFFORDABLE || batch <= 2
}

/// Allocates the caches of `batch` sequences and runs one step at the full context.
fn ran<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    scenario: &CapacityScenario,
    version: &Version,
    batch: usize,
) -> Result<Accounted, RunnerError> {
    backend.release();
    alloc::restart_peak();
    let mut state = State::new(backend, model.spec(), version, batch, scenario.context)?;
    state.assume(scenario.context - 1);
    let mut ids = vec![0; batch];
    let logits = model.forward(backend, &mut state, &ids, LinearRows::Last)?;
    model.choose(backend, &logits, &mut ids)?;
    // The clock waits for the device.
    backend.now();
    Ok(Accounted::new(alloc::held().peak, MemoryMethod::Counted))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The batch that a search finds and how many tries it took, where a batch takes `bytes` of a budget of 1000.
    fn found(guess: usize, most: usize, bytes: impl Fn(usize) -> f64) -> (usize, bool, usize) {
        let mut search = Bracket { fits: 0, too_large: None, probes: Vec::new() };
        let mut next = Some(guess);
        while let Some(batch) = next {
            let peak = Accounted::new(bytes(batch), MemoryMethod::Counted);
            search.note(CapacityProbe { batch, peak, fits: peak.bytes <= 1000.0 });
            assert!(search.probes.len() < 30, "{batch}");
            next = search.next(1000.0, most);
        }
        (search.fits, search.too_large.is_none(), search.probes.len())
    }

    #[test]
    fn a_line_is_found_in_a_few_tries_from_any_guess() {
        for (per_sequence, base) in [(7.0, 100.0), (1.0, 0.0), (450.0, 20.0), (900.0, 100.0)] {
            let expected = ((1000.0 - base) / per_sequence) as usize;
            for guess in [1, 2, expected.max(1), expected + 1, 2 * expected + 3] {
                let (batch, at_most, tries) = found(guess, 1 << 20, |b| base + per_sequence * b as f64);
                assert_eq!((batch, at_most), (expected, false), "{per_sequence} {guess}");
                assert!(tries <= 5, "{tries} tries from {guess} to {expected}");
            }
        }
    }

    #[test]
    fn steps_and_curves_are_found_too() {
        // Memory comes in pages of 64.
        let stepped = |b: usize| ((b * 13).div_ceil(64) * 64) as f64;
        // 75 x 13 = 975 is 16 pages, 1024; 73 x 13 = 949 is 15, 960.
        assert_eq!(found(40, 1 << 20, stepped).0, 73);
        assert_eq!(found(40, 1 << 20, |b| (b * b) as f64).0, 31);
    }

    #[test]
    fn nothing_fits_or_more_than_is_tried() {
        assert_eq!(found(5, 100, |b| 2000.0 + b as f64).0, 0);
        assert_eq!(found(5, 100, |b| b as f64), (100, true, 3));
    }
}
