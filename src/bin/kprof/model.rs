//! From the model flags to a loaded model: which shape, whose weights, on which backend.

use crate::args::ModelArgs;
use crate::exit::usage;
use crate::progress::Line;
use kprof::backend::{Backend, CandleBackend, CpuBackend, CpuOptions, fake_backend};
use kprof::hw::available_memory;
use kprof::llm::{ModelSpec, Version, nearest_first, preset};
use kprof::pass::{Model, RandomWeights, Weights, read_model_dir};
use kprof::profile::WeightSource;
use kprof::runner::{MemoryShape, check_memory};
use kprof::units::Bytes;

const DEVICES: [&str; 3] = ["auto", "cpu", "fake"];
const IMPLEMENTATIONS: [&str; 2] = ["cpu", "candle"];

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

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Implementation {
    Cpu,
    Candle,
}

/// What is done on a backend, whichever it is.
pub(crate) trait Task {
    type Output;
    fn run<B: Backend>(self, backend: B) -> anyhow::Result<Self::Output>;
}

/// A model chosen and its weights found, not yet loaded.
pub(crate) struct Chosen {
    pub(crate) device: Device,
    implementation: Implementation,
    pub(crate) spec: ModelSpec,
    pub(crate) source: WeightSource,
    weights: Box<dyn Weights>,
}

/// Resolves the flags; every mistake in them is found here, before anything is loaded or measured.
pub(crate) fn choose(args: &ModelArgs) -> anyhow::Result<Chosen> {
    known("device", &args.device, &DEVICES)?;
    let device = if args.device == "fake" { Device::Fake } else { Device::Cpu };
    let implementation = implementation(args, device)?;
    if let Some(folder) = &args.model {
        let (spec, weights) = read_model_dir(folder)?;
        let spec = sliced(spec, args.layers)?;
        let source = WeightSource::Directory { path: folder.display().to_string() };
        return Ok(Chosen { device, implementation, spec, source, weights: Box::new(weights) });
    }
    let default = if device == Device::Fake { "tiny" } else { "gpt2" };
    let spec = preset(args.preset.as_deref().unwrap_or(default)).map_err(usage)?;
    spec.require_pass().map_err(usage)?;
    let spec = sliced(spec, args.layers)?;
    let source = WeightSource::Random { seed: args.seed };
    Ok(Chosen { device, implementation, spec, source, weights: Box::new(RandomWeights::new(args.seed)) })
}

/// Who computes, and whether they can compute what is asked for.
fn implementation(args: &ModelArgs, device: Device) -> anyhow::Result<Implementation> {
    let default = if device == Device::Fake { "candle" } else { "cpu" };
    let name = args.implementation.as_deref().unwrap_or(default);
    known("implementation", name, &IMPLEMENTATIONS)?;
    if name == "cpu" {
        if device == Device::Fake {
            return Err(usage("the fake device computes with candle; leave --implementation out"));
        }
        return Ok(Implementation::Cpu);
    }
    let only_cpu = [
        args.weights.map(|weights| format!("--weights {weights}")),
        args.pin.then(|| "--pin".to_string()),
        args.isa.map(|isa| format!("--isa {isa}")),
    ];
    match only_cpu.into_iter().flatten().next() {
        Some(flag) => Err(usage(format!("candle does not know {flag}; --implementation cpu does"))),
        None => Ok(Implementation::Candle),
    }
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
    /// Whether the reference implementation computes.
    pub(crate) fn is_reference(&self) -> bool {
        self.implementation == Implementation::Candle
    }

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

    /// Runs `task` on the backend that the flags name.
    pub(crate) fn on_backend<T: Task>(&self, args: &ModelArgs, task: T) -> anyhow::Result<T::Output> {
        let threads = args.threads.map(usize::from);
        match (self.device, self.implementation) {
            (Device::Fake, _) => task.run(fake_backend(args.dtype)),
            (Device::Cpu, Implementation::Candle) => {
                let backend = CandleBackend::new(args.dtype);
                task.run(threads.map_or(Ok(backend.clone()), |n| backend.with_threads(n))?)
            }
            (Device::Cpu, Implementation::Cpu) => {
                let (dtype, weights, pin, isa) = (args.dtype, args.weights, args.pin, args.isa);
                let options = CpuOptions { dtype, weights, threads, pin, isa };
                task.run(CpuBackend::new(options).map_err(usage)?)
            }
        }
    }

    /// Loads the weights onto a backend, with progress.
    pub(crate) fn load<B: Backend>(&self, backend: &B, line: &mut Line) -> anyhow::Result<Model<B>> {
        let verb = match self.source {
            WeightSource::Random { .. } => "making random weights",
            WeightSource::Directory { .. } | WeightSource::Builtin { .. } => "reading weights",
        };
        let mut progress = |done: usize, of: usize| {
            line.update(&format!("{}: {verb}, block {done} of {of}", self.spec.name))
        };
        Ok(Model::load(backend, &self.spec, self.weights.as_ref(), &mut progress)?)
    }
}
