//! From the model flags to a loaded model: which shape, whose weights, on which backend.

use crate::args::ModelArgs;
use crate::exit::usage;
use crate::progress::Line;
use kprof::backend::{CandleBackend, fake_backend};
use kprof::hw::available_memory;
use kprof::llm::{ModelSpec, Version, nearest_first, preset};
use kprof::pass::{Model, RandomWeights, Weights, read_model_dir};
use kprof::profile::WeightSource;
use kprof::runner::{MemoryShape, check_memory};
use kprof::units::Bytes;

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
        let spec = sliced(spec, args.layers)?;
        let source = WeightSource::Directory { path: folder.display().to_string() };
        return Ok(Chosen { device, spec, source, weights: Box::new(weights) });
    }
    let default = if device == Device::Fake { "tiny" } else { "gpt2" };
    let spec = preset(args.preset.as_deref().unwrap_or(default)).map_err(usage)?;
    spec.require_pass().map_err(usage)?;
    let spec = sliced(spec, args.layers)?;
    let source = WeightSource::Random { seed: args.seed };
    Ok(Chosen { device, spec, source, weights: Box::new(RandomWeights::new(args.seed)) })
}

/// The first layers of a model, where only those are to run.
fn sliced(spec: ModelSpec, layers: Option<usize>) -> anyhow::Result<ModelSpec> {
    layers.map_or(Ok(spec.clone()), |n| spec.first_layers(n)).map_err(usage)
}

fn known(what: &str, given: &str, known: &[&str]) -> anyhow::Result<()> {
    if known.contains(&given) {
        return Ok(());
    }
    let names = nearest_first(given, known.iter().copied()).join(", ");
    Err(usage(format!("unknown {what} '{given}'; known: {names}")))
}

impl Chosen {
    /// Says what memory has no room for, before anything is allocated; nothing where the system does not say how much
    /// there is.
    pub(crate) fn check_memory(
        &self,
        args: &ModelArgs,
        versions: &[Version],
        shape: &MemoryShape,
    ) -> anyhow::Result<()> {
        let Some(available) = available_memory() else { return Ok(()) };
        Ok(check_memory(&self.spec, args.dtype, versions, shape, Bytes(available))?)
    }

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
