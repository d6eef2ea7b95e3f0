//! From the model flags to a loaded model: which shape, whose weights, on which backend.

use crate::args::ModelArgs;
use crate::exit::usage;
use crate::gpu::{self, Device, Picked};
use crate::progress::Line;
use crate::rank;
use kprof::backend::{Backend, CandleBackend, CpuBackend, CpuOptions, CudaBackend, ExecMode, fake_backend};
use kprof::hw::available_memory;
use kprof::llm::{ModelSpec, Version, nearest_first, preset};
use kprof::pass::{Model, RandomWeights, Weights, read_model_dir, trained_model};
use kprof::profile::WeightSource;
use kprof::runner::{MemoryShape, check_memory};
use kprof::units::Bytes;

const IMPLEMENTATIONS: [&str; 3] = ["cpu", "cuda", "candle"];

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Implementation {
    Cpu,
    Candle,
    Cuda,
}

/// What is done on a backend, whichever it is.
pub(crate) trait Task {
    type Output;
    fn run<B: Backend>(self, backend: B) -> anyhow::Result<Self::Output>;
}

/// A model chosen and its weights found, not yet loaded.
pub(crate) struct Chosen {
    pub(crate) device: Device,
    /// Why that device, where kprof chose it.
    pub(crate) why: Option<String>,
    implementation: Implementation,
    pub(crate) spec: ModelSpec,
    pub(crate) source: WeightSource,
    weights: Box<dyn Weights>,
}

/// Resolves the flags; every mistake in them is found here, before anything is loaded or measured.
pub(crate) fn choose(args: &ModelArgs) -> anyhow::Result<Chosen> {
    rank::will_measure();
    // What launchers set is refused where it contradicts itself, whatever device is asked for.
    rank::rank()?;
    known("implementation", args.implementation.as_deref().unwrap_or("cpu"), &IMPLEMENTATIONS)?;
    let Picked { device, why } = gpu::device(args)?;
    let implementation = implementation(args, &device)?;
    if let Some(folder) = &args.model {
        let (spec, weights) = read_model_dir(folder)?;
        let spec = sliced(spec, args.layers)?;
        let source = WeightSource::Directory { path: folder.display().to_string() };
        return Ok(Chosen { device, why, implementation, spec, source, weights: Box::new(weights) });
    }
    let default = if device == Device::Fake { "tiny" } else { "gpt2" };
    let name = args.preset.as_deref().unwrap_or(default);
    if let Some(trained) = trained_model(name).filter(|_| args.model_config.is_none()) {
        let (spec, weights) = trained?;
        let (spec, source) = (sliced(spec, args.layers)?, WeightSource::Builtin { name: name.to_string() });
        return Ok(Chosen { device, why, implementation, spec, source, weights: Box::new(weights) });
    }
    let spec = match &args.model_config {
        Some(json) => nanogpt_shape(json)?,
        None => preset(name).map_err(usage)?,
    };
    spec.require_pass().map_err(usage)?;
    let spec = sliced(spec, args.layers)?;
    let source = WeightSource::Random { seed: args.seed };
    let weights = Box::new(RandomWeights::new(args.seed));
    Ok(Chosen { device, why, implementation, spec, source, weights })
}

/// The shape of nanoGPT's `model_config`, under the names that Hugging Face gives a GPT-2's.
fn nanogpt_shape(json: &str) -> anyhow::Result<ModelSpec> {
    let wrong = |why: &str| usage(format!("model_config: {why}"));
    let shape: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).map_err(|e| wrong(&e.to_string()))?;
    if shape.get("bias") == Some(&false.into()) {
        return Err(wrong(
            "bias: false is a GPT-2 without biases, which kprof does not compute; leave it out, or true",
        ));
    }
    let mut config = serde_json::json!({"model_type": "gpt2"});
    for (theirs, ours) in [
        ("n_layer", "n_layer"),
        ("n_head", "n_head"),
        ("n_embd", "n_embd"),
        ("block_size", "n_positions"),
        ("vocab_size", "vocab_size"),
    ] {
        let value = shape.get(theirs).ok_or_else(|| wrong(&format!("{theirs} is missing")))?;
        config[ours] = value.clone();
    }
    ModelSpec::from_config_json("model_config", &config.to_string()).map_err(usage)
}

/// Who computes, and whether they can compute what is asked for.
fn implementation(args: &ModelArgs, device: &Device) -> anyhow::Result<Implementation> {
    let default = match device {
        Device::Cpu => "cpu",
        Device::Fake => "candle",
        Device::Cuda(_) => "cuda",
    };
    let name = args.implementation.as_deref().unwrap_or(default);
    if device.is_cuda() {
        return on_cuda(args, name);
    }
    if name == "cuda" {
        return Err(usage(format!("--device {} has no implementation cuda", args.device)));
    }
    if let Some(mode) = args.exec {
        return Err(usage(format!("--exec {} is for --device cuda", mode.name())));
    }
    if let Some(gemm) = args.gemm {
        return Err(usage(format!("--gemm {} is for --device cuda", gemm.name())));
    }
    if name == "cpu" {
        if *device == Device::Fake {
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

/// A GPU computes with kprof's own kernels or, where they were built in, candle's, and knows none of the CPU's flags.
fn on_cuda(args: &ModelArgs, name: &str) -> anyhow::Result<Implementation> {
    if name == "candle" && !CandleBackend::HAS_CUDA {
        return Err(usage(
            "--implementation candle on a GPU needs a kprof built with --features candle-cuda, which this one was not \
             (docs/gpu.md): --implementation cuda, or --device cpu",
        ));
    }
    if name == "candle" && args.exec == Some(ExecMode::Graph) {
        return Err(usage("candle runs no CUDA graphs: --exec eager, or --implementation cuda"));
    }
    if let ("candle", Some(gemm)) = (name, args.gemm) {
        return Err(usage(format!("candle multiplies as it does: leave --gemm {} out", gemm.name())));
    }
    if name == "cpu" {
        return Err(usage("--implementation cpu runs on the CPU: --device cpu, or leave it out"));
    }
    let only_cpu = [
        args.weights.map(|weights| format!("--weights {weights}")),
        args.threads.map(|threads| format!("--threads {threads}")),
        args.pin.then(|| "--pin".to_string()),
        args.isa.map(|isa| format!("--isa {isa}")),
    ];
    match only_cpu.into_iter().flatten().next() {
        Some(flag) => Err(usage(format!("--device cuda does not know {flag}; --device cpu does"))),
        None if name == "candle" => Ok(Implementation::Candle),
        None => Ok(Implementation::Cuda),
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
        // A GPU's memory is another: it says itself what it has no room for.
        if self.device.is_cuda() {
            return Ok(());
        }
        let Some(available) = available_memory() else { return Ok(()) };
        Ok(check_memory(&self.spec, args.dtype, versions, shape, Bytes(available))?)
    }

    /// Runs `task` on the backend that the flags name.
    pub(crate) fn on_backend<T: Task>(&self, args: &ModelArgs, task: T) -> anyhow::Result<T::Output> {
        let threads = args.threads.map(usize::from);
        match (&self.device, self.implementation) {
            (Device::Fake, _) => task.run(fake_backend(args.dtype)),
            (Device::Cuda(device), Implementation::Candle) => {
                task.run(CandleBackend::on_cuda(args.dtype, device.ordinal)?)
            }
            (Device::Cuda(device), _) => {
                let gpu = gpu::open(device)?;
                let backend = CudaBackend::new(&gpu, args.dtype, gpu::exec(args))?;
                task.run(backend.with_gemm(args.gemm.unwrap_or_default())?)
            }
            (Device::Cpu, Implementation::Candle) => {
                let backend = CandleBackend::new(args.dtype);
                task.run(threads.map_or(Ok(backend.clone()), |n| backend.with_threads(n))?)
            }
            (Device::Cpu, Implementation::Cpu | Implementation::Cuda) => {
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
