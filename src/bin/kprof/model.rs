//! From the model flags to a loaded model: which shape, whose weights, on which backend.

use crate::args::ModelArgs;
use crate::exit::usage;
use crate::progress::Line;
use kprof::backend::{CandleBackend, fake_backend};
use kprof::llm::{ModelSpec, nearest_first, preset};
use kprof::pass::{Model, RandomWeights, Weights, read_model_dir};
use kprof::profile::WeightSource;

const DEVICES: [&str; 3] = ["auto", "cpu", "fake"];
const IMPLEMENTATIONS: [&str; 1] = ["candle"];

/// The device that passes run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Cpu,
    Fake,
}

impl Device {
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Fake => "fake",
        }
    }
}

/// A model chosen and its weights found, not yet loaded.
pub(crate) struct Chosen {
    pub(crate) device: Device,
    pub(crate) spec: ModelSpec,
    pub(crate) source: WeightSource,
    weights: Box<dyn Weights>,
}

/// Resolves the flags; every mistake in them is found here, before anything is loaded or measured.
pub(crate) fn choose(args: &ModelArgs) -> anyhow::Result<Chosen> {
    known("implementation", &args.implementation, &IMPLEMENTATIONS)?;
    known("device", &args.device, &DEVICES)?;
    let device = if args.device == "fake" { Device::Fake } else { Device::Cpu };
    if let Some(folder) = &args.model {
        let (spec, weights) = read_model_dir(folder)?;
        let source = WeightSource::Directory { path: folder.display().to_string() };
        return Ok(Chosen { device, spec, source, weights: Box::new(weights) });
    }
    let default = if device == Device::Fake { "tiny" } else { "gpt2" };
    let spec = preset(args.preset.as_deref().unwrap_or(default)).map_err(usage)?;
    spec.require_pass().map_err(usage)?;
    let source = WeightSource::Random { seed: args.seed };
    Ok(Chosen { device, spec, source, weights: Box::new(RandomWeights::new(args.seed)) })
}

fn known(what: &str, given: &str, known: &[&str]) -> anyhow::Result<()> {
    if known.contains(&given) {
        return Ok(());
    }
    let names = nearest_first(given, known.iter().copied()).join(", ");
    Err(usage(format!("unknown {what} '{given}'; known: {names}")))
}

impl Chosen {
    /// Loads the weights onto the backend, with progress.
    pub(crate) fn load(
        &self,
        args: &ModelArgs,
        line: &mut Line,
    ) -> anyhow::Result<(CandleBackend, Model<CandleBackend>)> {
        let backend = match self.device {
            Device::Cpu => CandleBackend::new(args.dtype),
            Device::Fake => fake_backend(args.dtype),
        };
        let verb = match self.source {
            WeightSource::Random { .. } => "making random weights",
            WeightSource::Directory { .. } => "reading weights",
        };
        let mut progress = |done: usize, of: usize| {
            line.update(&format!("{}: {verb}, block {done} of {of}", self.spec.name))
        };
        let model = Model::load(&backend, &self.spec, self.weights.as_ref(), &mut progress)?;
        Ok((backend, model))
    }
}
