//! The flags of `kprof roofline`.

use super::{ExportArgs, ServedArgs};
use clap::{Args, ValueEnum};
use regex::Regex;
use std::path::PathBuf;

/// What becomes one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ByArg {
    /// All launches of a kernel together
    Kernel,
    /// Every launch
    Launch,
    /// All instances of a template
    NameBase,
    /// All launches of a kernel with one grid and block
    Grid,
    /// All launches inside one NVTX range
    Nvtx,
    /// All launches of one version, stage and phase
    Phase,
    /// All launches of one class, such as gemm or norm (see --rules)
    Class,
    /// All launches of a file
    File,
}

/// A level of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LevelArg {
    /// Device or main memory
    Dram,
    /// Second-level cache
    L2,
    /// First-level caches
    L1,
}

/// Whose FLOPs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionArg {
    /// All, each against its own ceiling
    Auto,
    /// Double precision on vector units
    Fp64,
    /// Single precision on vector units
    Fp32,
    /// Half precision on vector units
    Fp16,
    /// Matrix units
    Tensor,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  kprof roofline report.ncu-rep                           a table, and what to know about it
  kprof roofline ncu.csv --export-svg roofline.svg        the chart as well
  kprof roofline run.jsonl ncu.csv --device 'H100 SXM'    several files, with the ceilings of a known device
  kprof roofline ncu.csv --kernel gemm --min-share 1      only what matters
  kprof roofline ncu.csv --by launch --export-json - | jq '.points[0]'
  kprof roofline v0.csv v1.csv --label v0 v1              what changed, with arrows on the chart
  kprof roofline ncu.csv --explain flash                  which metrics and formulas gave its numbers
  kprof roofline trace.json.gz                            a trace: time by class and kernel, idle devices, copies
  kprof roofline trace.json.gz --model config.json --batch 8 --prompt 512 --tp 2
                                                          MBU, MFU and where the time of a step goes
  kprof roofline trace.json.gz ncu.csv --model config.json --batch 8 --prompt 512
                                                          with counters in the place of analytic numbers
  kprof roofline ncu.csv --model config.json --batch 8 --prompt 512 --steps decode=1
                                                          counters against the model's FLOPs and bytes

Exit codes: 0 ok, 1 failure (no such file, no match), 2 usage, 4 findings under --strict.")]
pub(crate) struct RooflineArgs {
    /// Nsight Compute reports (.ncu-rep) and CSV exports, traces (PyTorch and vLLM .json, .json.gz; nsys .sqlite and
    /// CSV; rocprofv3 and rocprof-compute CSV), and run files of kprof
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// What becomes one point, e.g. `--by launch`
    #[arg(long, value_enum, default_value = "kernel", value_name = "WHAT")]
    pub(crate) by: ByArg,
    /// Keep kernels whose whole or shortened name this regular expression matches, e.g. `--kernel 'gemm|flash'`
    #[arg(long, value_name = "REGEX")]
    pub(crate) kernel: Option<Regex>,
    /// Keep launches inside NVTX ranges whose path begins so, e.g. `--nvtx kprof/v1/decode`
    #[arg(long, value_name = "PATH")]
    pub(crate) nvtx: Option<String>,
    /// Leave out points with less than this share of their file's time in per cent, e.g. `--min-share 1`
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT", hide_default_value = true)]
    pub(crate) min_share: f64,
    /// Map kernel names and NVTX ranges to stage, phase, op, version and class by the rules in this TOML file, before
    /// the built-in ones: [[rule]] with kernel or nvtx = 'REGEX', and stage, phase, op, version or class = '...'
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
    /// What to call the files in tables and charts, in their order, e.g. `--label v0 v1`
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "NAME")]
    pub(crate) label: Vec<String>,
    /// Draw a point per level of memory, joined by a line, e.g. `--levels dram,l2,l1`
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LEVELS")]
    pub(crate) levels: Vec<LevelArg>,
    /// Count the FLOPs of one precision only, against its own ceiling, e.g. `--precision fp32`
    #[arg(long, value_enum, default_value = "auto", value_name = "PRECISION")]
    pub(crate) precision: PrecisionArg,
    /// Show how the numbers of matching kernels came about instead of the table, e.g. `--explain gemm`
    #[arg(long, value_name = "REGEX")]
    pub(crate) explain: Option<Regex>,
    /// Exit with 4 if there is any finding
    #[arg(long)]
    pub(crate) strict: bool,
    /// Show kernel names as exported, not shortened
    #[arg(long)]
    pub(crate) full_names: bool,
    /// Take the ceilings of this device before those of the files, e.g. `--device 'A100 SXM 80GB'`
    #[arg(long, value_name = "NAME", conflicts_with = "device_spec")]
    pub(crate) device: Option<String>,
    /// Take the ceilings of a device described in this file, e.g. `--device-spec my-gpu.toml`
    #[arg(long, value_name = "FILE")]
    pub(crate) device_spec: Option<PathBuf>,
    /// Hold the results against the ceilings of another device instead, marked SIMULATED, e.g. `--sim h200`
    #[arg(long, value_name = "NAME", conflicts_with_all = ["device", "device_spec"])]
    pub(crate) sim: Option<String>,
    /// Rows of the table, e.g. `--top 50`; exports have them all
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) top: usize,
    /// The chart's title, e.g. `--title 'GPT-2 prefill'`
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    #[command(flatten)]
    pub(crate) served: ServedArgs,
    #[command(flatten)]
    pub(crate) export: ExportArgs,
}
