//! The flags that name a model and how it is computed: shared by the commands that run passes.

use clap::Args;
use kprof::backend::{ExecMode, Gemm, Isa};
use kprof::llm::{DType, WeightFormat};
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// A model shape with seeded random weights: gpt2, gpt2-4k (gpt2 with 4096 positions), gpt2-medium, gpt2-large,
    /// gpt2-xl, llama-2-7b, llama-2-13b, llama-2-70b, qwen2.5-0.5b, qwen2.5-1.5b, tiny, tiny-llama, and more that an
    /// unknown name lists; or a tiny trained model: grammar, grammar-shared
    /// [default: gpt2; tiny on the fake device; grammar for perplexity]
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    pub(crate) preset: Option<String>,
    /// Run the model's first N layers only, where the whole does not fit; every result says so
    #[arg(long, value_name = "N")]
    pub(crate) layers: Option<usize>,
    /// A model directory in the Hugging Face layout: config.json and *.safetensors
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// A GPT-2 shape as nanoGPT's model_config has it, in JSON; weights are random
    #[arg(long, value_name = "JSON", hide = true, conflicts_with_all = ["preset", "model"])]
    pub(crate) model_config: Option<String>,
    /// Storage type of weights and activations: f32, bf16, f16
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub(crate) dtype: DType,
    /// What to run on: cpu, cuda, cuda:N or cuda:UUID (its beginning is enough; `kprof devices` lists them), fake (a scripted
    /// clock, for trying kprof out), or auto: a CUDA device where one runs the kernels and no flag is for the CPU, else the
    /// CPU. As one rank of several, cuda and auto take the GPU of the local rank
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: String,
    /// Who computes: cpu (fused kernels for this CPU), cuda (kprof's own CUDA kernels) or candle (the reference
    /// implementation and baseline: on the CPU, and with --features candle-cuda on a GPU) [default: that of the device; candle on the fake one]
    #[arg(long, value_name = "NAME")]
    pub(crate) implementation: Option<String>,
    /// How the weights of linears are stored: int8:32 (blocks of 32 inputs share a scale, as in Q8_0) or int8 (one scale
    /// per output), both with the cpu implementation only [default: as --dtype]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) weights: Option<WeightFormat>,
    /// How decode steps reach a GPU: eager (each kernel on its own) or graph (a step as one CUDA graph) [default: eager]
    #[arg(long, value_name = "MODE")]
    pub(crate) exec: Option<ExecMode>,
    /// Who computes products of many rows on a GPU: auto (cuBLASLt where it is found, kprof's own kernel where not), cublaslt,
    /// or own [default: auto]
    #[arg(long, value_name = "WHO")]
    pub(crate) gemm: Option<Gemm>,
    /// Threads that compute [default: one per physical core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) threads: Option<u16>,
    /// Keep each thread of the cpu implementation on a CPU of its own
    #[arg(long)]
    pub(crate) pin: bool,
    /// The instruction set of the cpu implementation, for tests and comparisons [default: the best of this CPU]
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) isa: Option<Isa>,
    /// The seed of random weights, of the prompt and of the order of versions
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
}
