//! The flags of `kprof estimate`.

use super::ExportArgs;
use super::counts::{Counts, count};
use clap::Args;
use kprof::llm::{Arithmetic, KvStorage, WeightFormat};
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Say what a model can do at most on a device: nothing is run (ANALYTIC)",
    long_about = "Say what a model can do at most on a device, from its config.json and the device's ceilings: floors \
    for TTFT and TPOT, the throughput that they allow, memory, the largest batch, and what bounds each phase. Nothing \
    is run, and everything is marked ANALYTIC.\n\n\
    The floor of an op is the longer of reading its weights and cache at the device's bandwidth and of computing its \
    matrix products at the peak of their type; a step's floor is the sum of its ops'. Activations, elementwise work, \
    launches, communication and the host are left out, so that real runs are slower.",
    after_help = "\
Examples:
  kprof estimate --model config.json --device h100-sxm
  kprof estimate --model llama-3.1-8b --device 'A100 SXM 80GB' --batch 1,8,64 --context 1k-128k*2
  kprof estimate --model llama-2-70b --device h100-sxm --dtype int4 --kv-dtype fp8 --tp 2
  kprof estimate --model mixtral-8x7b --device h200 --batch 1-256*2 --export-svg estimate.svg
  kprof estimate --model qwen3-8b --device h100-sxm --export-json - | jq '.points[0].tpot_floor_s'"
)]
pub(crate) struct EstimateArgs {
    /// A config.json, a folder with one, or a preset such as llama-2-7b
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// The device of each rank, e.g. `--device h100-sxm`
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "device_spec",
        conflicts_with = "device_spec"
    )]
    pub(crate) device: Option<String>,
    /// A device described in this file, e.g. `--device-spec my-gpu.toml`
    #[arg(long, value_name = "FILE")]
    pub(crate) device_spec: Option<PathBuf>,
    /// Sequences side by side: `1,8,64`, `1-256*2`
    #[arg(short = 'b', long, value_name = "LIST", default_value = "1")]
    pub(crate) batch: Counts,
    /// Tokens in the cache when a token is decoded: `4k`, `1k-128k*2` [default: 2k, or all positions of a model with fewer]
    #[arg(short = 'c', long, value_name = "LIST")]
    pub(crate) context: Option<Counts>,
    /// Prompt tokens of each sequence, for TTFT [default: the context]
    #[arg(short = 'p', long, value_name = "N", value_parser = count)]
    pub(crate) prompt: Option<usize>,
    /// How the weights of linears are stored: f32, bf16, f16, fp8, int8, int4; `int4:64` has a scale per 64 weights
    /// [default: what config.json says, else bf16]
    #[arg(long, value_name = "TYPE")]
    pub(crate) dtype: Option<WeightFormat>,
    /// How the KV cache is stored: f32, bf16, f16, fp8, int8, int4; `int8:64` has a scale per 64 channels
    /// [default: as activations]
    #[arg(long, value_name = "TYPE")]
    pub(crate) kv_dtype: Option<KvStorage>,
    /// What linears multiply in: f32, bf16, f16, fp8, int8 [default: fp8 for fp8 weights, else the activations' type]
    #[arg(long, value_name = "TYPE")]
    pub(crate) arithmetic: Option<Arithmetic>,
    /// Ranks that share the model by tensor parallelism; numbers are those of one rank
    #[arg(long, visible_alias = "tensor-parallel", value_name = "N", default_value = "1", value_parser = count)]
    pub(crate) tp: usize,
    /// The chart's title
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    #[command(flatten)]
    pub(crate) export: ExportArgs,
}
