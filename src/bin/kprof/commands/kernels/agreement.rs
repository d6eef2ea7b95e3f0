//! Whole passes on the GPU against the reference on the CPU: a prompt and some decode steps of every version, launched one by
//! one and as graphs.

use kprof::backend::{Backend, BackendError, CandleBackend, CudaBackend, ExecMode, Gemm, Gpu};
use kprof::llm::{DType, LinearRows, ModelSpec, Version, builtin_versions, preset};
use kprof::pass::{Model, PassError, RandomWeights, State, prompt_ids};
use std::rc::Rc;

/// Tokens of the prompt, and decode steps after it.
const PROMPT: usize = 24;
const STEPS: usize = 6;

/// How far apart the logits of a version are.
pub(super) struct Agreement {
    /// The model, the version and how it was launched.
    pub(super) what: String,
    /// The largest difference as a share of the largest logit.
    pub(super) apart: f64,
    /// The most that roundings explain.
    pub(super) allowed: f64,
}

impl Agreement {
    pub(super) fn is_wrong(&self) -> bool {
        // What is no number was made infinite.
        self.apart > self.allowed
    }
}

/// The most that logits may differ, as a share of the largest: sums in another order, and in 16-bit types a rounding of the
/// residual stream per layer and codes of INT8 caches that differ by one.
fn allowed(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => 2e-5,
        DType::Bf16 => 0.06,
        DType::F16 => 0.015,
    }
}

/// Runs `name` on both.
pub(super) fn agreement(
    gpu: &Rc<Gpu>,
    name: &str,
    dtype: DType,
    gemm: Gemm,
) -> anyhow::Result<Vec<Agreement>> {
    let spec = preset(name).map_err(crate::exit::usage)?;
    let versions: Vec<Version> =
        builtin_versions().into_iter().filter(|v| v.check_model(&spec).is_ok()).collect();
    let reference = all_logits(CandleBackend::new(dtype), &spec, &versions)?;
    let mut found = Vec::new();
    for mode in [ExecMode::Eager, ExecMode::Graph] {
        let logits = all_logits(CudaBackend::new(gpu, dtype, mode)?.with_gemm(gemm)?, &spec, &versions)?;
        for ((version, of), with) in versions.iter().zip(&logits).zip(&reference) {
            found.push(Agreement {
                what: format!("{name} {dtype} {} {}", version.name, mode.name()),
                apart: apart(of, with),
                allowed: allowed(dtype),
            });
        }
    }
    Ok(found)
}

/// Of every version the logits of all its steps, one after another.
fn all_logits<B: Backend>(
    mut backend: B,
    spec: &ModelSpec,
    versions: &[Version],
) -> Result<Vec<Vec<f32>>, PassError> {
    let model = Model::load(&backend, spec, &RandomWeights::new(42), &mut |_, _| ())?;
    versions.iter().map(|version| logits(&mut backend, &model, version)).collect()
}

fn logits<B: Backend>(backend: &mut B, model: &Model<B>, version: &Version) -> Result<Vec<f32>, PassError> {
    // The same ids for all, whatever they would have chosen: one near tie must not lead elsewhere.
    let ids = prompt_ids(42, 1, PROMPT + STEPS, model.spec().vocab_size);
    let mut state = State::new(backend, model.spec(), version, 1, ids.len())?;
    let mut all = Vec::new();
    let mut steps = vec![&ids[..PROMPT]];
    steps.extend(ids[PROMPT..].chunks(1));
    for step in steps {
        let logits = model.forward(backend, &mut state, step, LinearRows::Last)?;
        let host: Result<_, BackendError> = backend.to_host(&logits.tensor);
        all.extend(host?.data);
    }
    Ok(all)
}

fn apart(a: &[f32], b: &[f32]) -> f64 {
    let largest = b.iter().fold(0f32, |m, x| m.max(x.abs()));
    let differences = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    let most = differences.fold(0.0, |m: f64, x| if x.is_nan() { f64::INFINITY } else { m.max(x) });
    // Logits that are all zero are no logits.
    if largest > 0.0 { most / f64::from(largest) } else { f64::INFINITY }
}
