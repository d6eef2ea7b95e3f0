//! `kprof capacity`: the largest batch at a context in a budget of memory, by a search over batches that are tried.

mod bracket;

use super::memory::held;
use super::{MemoryNeed, MemoryShape, Progress, RunnerError, Sink};
use crate::alloc;
use crate::backend::Backend;
use crate::llm::{DType, Deployment, LinearRows, ModelSpec, Version, WeightFormat};
use crate::pass::{Model, PassError, State};
use crate::profile::{Accounted, CapacityProbe, CapacityRecord, DeviceBudget, MemoryMethod, Record, Twin};
use bracket::Bracket;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A step of more FLOPs than this is not run to see what it takes: some seconds on a few cores.
const AFFORDABLE: f64 = 1e12;
/// The same on a GPU: some seconds at 10 to 50 TFLOP/s.
const AFFORDABLE_ON_GPU: f64 = 1e14;

/// What is to be found.
#[derive(Clone, Debug, PartialEq)]
pub struct CapacityScenario {
    /// The versions, in the order asked for.
    pub versions: Vec<Version>,
    /// Tokens per sequence, the one that the step adds included.
    pub context: usize,
    /// For everything: weights, caches, activations.
    pub budget_bytes: f64,
    /// Where the budget is a device's free memory: its figures.
    pub device_budget: Option<DeviceBudget>,
    /// The largest batch that is tried.
    pub most: usize,
    /// Whether the candle implementation computes.
    pub is_reference: bool,
    /// Whether a GPU computes.
    pub on_gpu: bool,
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
/// A device's memory is what its allocator says it held for this backend; that it has no more is an answer, not an error:
/// the batch does not fit, whatever the budget says.
///
/// # Errors
/// When a pass or a record fails for another reason, or the run is stopped; what was recorded until then stays recorded.
pub fn measure_capacity<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    scenario: &CapacityScenario,
    sink: &mut Sink<'_>,
) -> Result<(), RunnerError> {
    backend.marks().instrument(false);
    let (spec, dtype) = (model.spec(), backend.dtype());
    let most_rows = backend.most_rows();
    search(spec, dtype, (scenario, most_rows), sink, |version, batch| {
        if affordable(spec, scenario, version, batch) {
            ran(backend, model, scenario, version, batch)
        } else {
            Ok(Tried::Unaffordable)
        }
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
    search(spec, dtype, (scenario, None), sink, |version, batch| {
        Ok(Tried::Took(accounted(spec, dtype, scenario, version, batch)))
    })
}

/// What a batch came to.
enum Tried {
    /// It took this at most.
    Took(Accounted),
    /// The device has no memory for it; it needs at least this.
    OutOfMemory(Accounted),
    /// Finding out would take minutes.
    Unaffordable,
}

/// Searches for every version, over batches of no more rows than the backend takes.
fn search(
    spec: &ModelSpec,
    dtype: DType,
    (scenario, most_rows): (&CapacityScenario, Option<usize>),
    sink: &mut Sink<'_>,
    mut attempt: impl FnMut(&Version, usize) -> Result<Tried, RunnerError>,
) -> Result<(), RunnerError> {
    let (began, total) = (Instant::now(), scenario.versions.len());
    for (done, version) in scenario.versions.iter().enumerate() {
        let mut bracket = Bracket::default();
        let theory = theoretical_batch(spec, dtype, scenario, version);
        let rows = rows_of_a_sequence(scenario, version);
        // A single sequence that the backend cannot take is its error to tell.
        let most =
            most_rows.map_or(scenario.most, |rows_at_most| (rows_at_most / rows).min(scenario.most)).max(1);
        let mut guess = Some(theory.unwrap_or(1).clamp(1, most));
        while let Some(batch) = guess {
            if sink.stop.load(Ordering::Relaxed) {
                return Err(RunnerError::Interrupted);
            }
            let at = format!("{} batch {batch}", version.name);
            let elapsed_s = began.elapsed().as_secs_f64();
            (sink.progress)(Progress { version: &at, twin: Some(Twin::Plain), done, total, elapsed_s });
            let (peak, out_of_memory) = match attempt(version, batch)? {
                Tried::Took(peak) => (peak, false),
                Tried::OutOfMemory(peak) => (peak, true),
                Tried::Unaffordable => match bracket.extrapolated(batch) {
                    Some(peak) => (peak, false),
                    None => {
                        // Two small batches give the line.
                        guess = Some(bracket.probes.len() + 1);
                        continue;
                    }
                },
            };
            let fits = !out_of_memory && peak.bytes <= scenario.budget_bytes;
            bracket.note(CapacityProbe { batch, peak, fits, out_of_memory });
            guess = bracket.next(scenario.budget_bytes, most);
        }
        (sink.record)(Record::Capacity(CapacityRecord {
            version: version.name.clone(),
            context: scenario.context,
            budget_bytes: scenario.budget_bytes,
            batch: bracket.fits,
            method: bracket.method(),
            theoretical_batch: theory,
            at_least: bracket.too_large.is_none(),
            device_budget: scenario.device_budget,
            probes: bracket.probes,
        }))?;
    }
    Ok(())
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
        on_gpu: scenario.on_gpu,
        weights: scenario.weights,
    };
    let need = MemoryNeed::of(spec, dtype, std::slice::from_ref(version), &shape);
    Accounted::new(need.weights.0 + need.caches.0 + need.activations.0, MemoryMethod::Formula)
}

/// Whether the step takes seconds and not minutes: 2 FLOPs per parameter and row.
fn affordable(spec: &ModelSpec, scenario: &CapacityScenario, version: &Version, batch: usize) -> bool {
    let rows = batch as f64 * rows_of_a_sequence(scenario, version) as f64;
    let most = if scenario.on_gpu { AFFORDABLE_ON_GPU } else { AFFORDABLE };
    2.0 * spec.parameters() as f64 * rows <= most || batch <= 2
}

/// Rows of the step that is tried: the new token, or without a cache all.
fn rows_of_a_sequence(scenario: &CapacityScenario, version: &Version) -> usize {
    if version.use_cache { 1 } else { scenario.context }
}

/// Tries `batch` sequences, from nothing but the weights.
fn ran<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    scenario: &CapacityScenario,
    version: &Version,
    batch: usize,
) -> Result<Tried, RunnerError> {
    backend.release();
    alloc::restart_peak();
    backend.restart_device_peak();
    let stepped = step(backend, model, scenario, version, batch);
    let method = if backend.device_memory().is_some() { MemoryMethod::Device } else { MemoryMethod::Counted };
    let with = |refused: f64| Accounted::new(held(backend).peak + refused, method);
    match stepped {
        Ok(()) => Ok(Tried::Took(with(0.0))),
        Err(error) => match error.refused_bytes() {
            Some(refused) => Ok(Tried::OutOfMemory(with(refused))),
            None => Err(error.into()),
        },
    }
}

/// Allocates the caches of `batch` sequences and runs one step at the full context.
fn step<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    scenario: &CapacityScenario,
    version: &Version,
    batch: usize,
) -> Result<(), PassError> {
    let mut state = State::new(backend, model.spec(), version, batch, scenario.context)?;
    state.assume(scenario.context - 1);
    let mut ids = vec![0; batch];
    let logits = model.forward(backend, &mut state, &ids, LinearRows::Last)?;
    model.choose(backend, &logits, &mut ids)?;
    // The clock waits for the device.
    backend.now();
    Ok(())
}
