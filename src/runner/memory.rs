//! `kprof memory`: what generations of several lengths hold, by the process's own ledger.

use super::{Generation, Progress, RunnerError, Sink, generate};
use crate::alloc::{self, Held};
use crate::backend::{Backend, DeviceMemory};
use crate::host::{resident_bytes, resident_peak, restart_resident_peak};
use crate::llm::Version;
use crate::pass::{Model, State, prompt_ids};
use crate::profile::{Accounted, Finding, FindingCode, MemoryMethod, MemoryRecord, Record, Twin};
use std::time::Instant;

/// What is to be measured.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryScenario {
    /// The versions, in the order asked for.
    pub versions: Vec<Version>,
    /// Prompt tokens per sequence.
    pub prompt_length: usize,
    /// Output tokens per sequence: every T.
    pub lengths: Vec<usize>,
    /// Sequences side by side.
    pub batch: usize,
    /// The seed of the prompt.
    pub seed: u64,
    /// Repetitions of each version and T.
    pub repetitions: usize,
    /// Tokens per sequence that caches are made for; `None` for those that a generation caches.
    pub capacity: Option<usize>,
}

impl MemoryScenario {
    /// Tokens per sequence in a cache at the end of T output tokens: the last one is never fed back.
    pub fn cached(&self, tokens: usize) -> usize {
        self.prompt_length + tokens - 1
    }

    /// Tokens per sequence that a cache is made for.
    pub fn capacity_for(&self, tokens: usize) -> usize {
        self.capacity.unwrap_or(0).max(self.cached(tokens))
    }
}

/// Measures `scenario` and hands over a record per generation. The ledger must have been opened ([`alloc::start`]) before
/// the model was loaded, so that it holds the weights.
///
/// Every generation begins with nothing but the weights: its caches are made anew, and activations that earlier ones
/// left for reuse are given back.
///
/// # Errors
/// When a pass or a record fails, or the run is stopped; what was recorded until then stays recorded.
pub fn measure_memory<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    scenario: &MemoryScenario,
    sink: &mut Sink<'_>,
) -> Result<(), RunnerError> {
    let weights = held(backend);
    let prompt = prompt_ids(scenario.seed, scenario.batch, scenario.prompt_length, model.spec().vocab_size);
    backend.marks().instrument(false);
    let (began, mut done) = (Instant::now(), 0);
    let total = scenario.repetitions * scenario.lengths.len() * scenario.versions.len();
    for repetition in 0..scenario.repetitions {
        for tokens in &scenario.lengths {
            for version in &scenario.versions {
                let at = format!("{} T={tokens}", version.name);
                let elapsed_s = began.elapsed().as_secs_f64();
                (sink.progress)(Progress { version: &at, twin: Some(Twin::Plain), done, total, elapsed_s });
                let one = Generated { version, tokens: *tokens, repetition };
                let record = generation(backend, model, scenario, &prompt, &one, &weights, sink)?;
                (sink.record)(Record::Memory(Box::new(record)))?;
                done += 1;
            }
        }
    }
    if weights.heap.is_none() {
        let message =
            "this program's allocator does not count: only what backends map is in the ledger, and no total";
        (sink.record)(Record::Finding(Finding::new(FindingCode::MetricMissing, "heap", message)))?;
    }
    Ok(())
}

/// What the backend's memory holds: the device's own count, or the process's ledger.
pub(super) fn held<B: Backend>(backend: &B) -> Held {
    let of = |DeviceMemory { live, peak }| Held { heap: Some(live), mapped: 0.0, live, peak };
    backend.device_memory().map_or_else(alloc::held, of)
}

/// Which generation.
struct Generated<'a> {
    version: &'a Version,
    tokens: usize,
    repetition: usize,
}

fn generation<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    scenario: &MemoryScenario,
    prompt: &[u32],
    one: &Generated<'_>,
    weights: &Held,
    sink: &mut Sink<'_>,
) -> Result<MemoryRecord, RunnerError> {
    let (version, tokens, batch) = (one.version, one.tokens, scenario.batch);
    let capacity = scenario.capacity_for(tokens);
    backend.release();
    alloc::restart_peak();
    backend.restart_device_peak();
    let on_device = backend.device_memory().is_some();
    // A device's memory is not in the process's resident set.
    let restarted = !on_device && restart_resident_peak();
    let before = held(backend);
    let mut state = State::new(backend, model.spec(), version, batch, capacity)?;
    let with_caches = held(backend);
    let generation = Generation { version: &version.name, prompt, tokens, profiled: None };
    generate(backend, model, &mut state, generation, sink.stop, &mut |_| {})?;
    let after = held(backend);
    let places = state.cache_places(backend);
    let resident =
        resident_bytes(&places).filter(|_| !places.is_empty() || (!version.use_cache && !on_device));
    // Without a counted heap there is no total: caches and activations of some backends stand there.
    let method = if on_device { MemoryMethod::Device } else { MemoryMethod::Counted };
    let counted = |bytes: f64| weights.heap.map(|_| Accounted::new(bytes, method));
    let caches = with_caches.live - before.live;
    let theory = version.cache_bytes(model.spec(), backend.dtype(), scenario.cached(tokens), batch).0;
    let reported = Accounted::new(state.allocated_bytes(backend), MemoryMethod::Reported);
    Ok(MemoryRecord {
        version: version.name.clone(),
        tokens,
        prompt_length: scenario.prompt_length,
        batch,
        repetition: one.repetition,
        capacity: version.use_cache.then_some(capacity),
        peak: counted(after.peak),
        weights: counted(weights.live),
        cache_theoretical: Some(Accounted::new(theory, MemoryMethod::Formula)),
        cache_allocated: Some(if version.use_cache { counted(caches).unwrap_or(reported) } else { reported }),
        cache_touched: resident.map(|bytes| Accounted::new(bytes, MemoryMethod::ResidentPages)),
        activations: counted(after.peak - weights.live - if version.use_cache { caches } else { 0.0 }),
        above_weights: counted(after.peak - weights.live),
        resident_peak: resident_peak()
            .filter(|_| restarted)
            .map(|b| Accounted::new(b, MemoryMethod::ResidentSet)),
    })
}
