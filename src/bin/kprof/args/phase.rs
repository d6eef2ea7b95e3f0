//! The flags of `kprof phase`.

use super::bench::{ConfigArgs, LogArgs};
use super::export::TableExportArgs;
use super::model::ModelArgs;
use super::schedule::{ScheduleArgs, positive_time};
use super::versions::VersionsFileArgs;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use kprof::llm::Stage;
use kprof::profile::CacheState;
use kprof::units::Seconds;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Measure where the time of a model's prefill and decode goes, by KV-cache version",
    long_about = "Measure where the time of a model's prefill and decode goes, by KV-cache version.\n\n\
    Every repetition runs each version twice: plain, for latency, and instrumented, for the breakdown into \
    embedding, attention, mlp and head. Versions are interleaved in a seeded order, after a warm-up until times no longer \
    fall; repetitions end when every median is known to --precision, or with the most of them, or with --max-time.\n\n\
    Versions: v0 no cache, v1 KV cache, v2 INT8 cache, v3 cache shared by pairs of layers, v4 both.\n\n\
    TTFT: the prefill step, from its start to output token 1. TPOT: the mean decode step. tokens/s: batch / TPOT. \
    Bytes are the analytic floor: each op's inputs and outputs once, not DRAM traffic.",
    after_help = "\
Examples:
  kprof phase --version v0 v1                              what a KV cache gains
  kprof phase --version v0-v4 --preset gpt2-medium -p 128  all versions of a larger model
  kprof phase --version v1 --model ./gpt2 --dtype bf16     your own weights
  kprof phase --version v1 v2 --export-json - | jq '.stages[].phases.attention.time_s'
  kprof phase --version v1 --processes 10 --save-baseline main   a baseline that knows how processes differ
  kprof phase --device cuda --dtype bf16 --counters cupti          each kernel's FLOPs and DRAM bytes
  kprof phase --version v1 --cache cold                    every step with caches flushed before it
  kprof phase --load run.jsonl --export-png phases.png     the report of an earlier run"
)]
pub(crate) struct PhaseArgs {
    /// KV-cache versions: `v0 v1`, `v0,v1` or `v0-v4`
    #[arg(long = "version", value_name = "VERSION", num_args = 1.., default_values = ["v0", "v1"])]
    pub(crate) versions: Vec<String>,
    #[command(flatten)]
    pub(crate) versions_file: VersionsFileArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Prompt tokens per sequence
    #[arg(short = 'p', long, value_name = "N", default_value_t = 32, help_heading = "Measurement")]
    pub(crate) prompt_length: usize,
    /// Output tokens per sequence (T*): one prefill step and N - 1 decode steps
    #[arg(short = 'n', long, value_name = "N", default_value_t = 16, help_heading = "Measurement")]
    pub(crate) tokens: usize,
    /// Sequences side by side
    #[arg(short = 'b', long, value_name = "N", default_value_t = 1, help_heading = "Measurement")]
    pub(crate) batch: usize,
    #[command(flatten)]
    pub(crate) schedule: ScheduleArgs,
    /// Measure in so many processes, one after another, as one run: what two processes of one program differ by is in the
    /// intervals of `kprof compare` then, and not assumed
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Measurement")]
    pub(crate) processes: usize,
    /// What the caches of the CPU, or L2 of the GPU, hold before each timed step: what the one before left there, or,
    /// flushed, nothing
    #[arg(long, value_name = "STATE", default_value = "hot", value_parser = cache_state(), help_heading = "Measurement")]
    pub(crate) cache: CacheState,
    /// After the measurement, in generations of their own: each kernel of a prefill and of the last decode step with its time,
    /// grid, registers and shared memory (kernels), and with FLOPs and DRAM bytes of its op by hardware counters (cupti).
    /// On a GPU, by NVIDIA's CUPTI where it is found
    #[arg(long, value_name = "WHAT", value_parser = counted(), help_heading = "Measurement")]
    pub(crate) counters: Option<Counted>,
    /// Where CUPTI is: libcupti.so, or its folder [default: KPROF_CUPTI, the loader's folders, CUDA_HOME, /usr/local/cuda*,
    /// Python's environment]
    #[arg(long, value_name = "FILE", requires = "counters", help_heading = "Measurement")]
    pub(crate) cupti: Option<PathBuf>,
    /// Do not probe ceilings: nothing can be said of bounds
    #[arg(long, help_heading = "Measurement")]
    pub(crate) no_ceilings: bool,
    /// The run file of one process of --processes: nothing is reported
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) part: Option<PathBuf>,
    /// After the warm-up, run one more generation in which cuProfilerStart and cuProfilerStop stand around one prefill
    /// and the last decode step, or of one stage: for `ncu --profile-from-start off` and `nsys --capture-range`
    #[arg(long, value_name = "STAGE", num_args = 0..=1, require_equals = true, value_parser = stages(),
        default_missing_value = "both", help_heading = "Measurement")]
    pub(crate) profile_step: Option<ProfileStages>,
    /// The time between samples of clocks, power and GPUs while measuring
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = positive_time, help_heading = "Measurement")]
    pub(crate) telemetry_interval: Seconds,
    /// Do not watch the machine: no energy, clocks, or CPU time taken by others in the run
    #[arg(long, help_heading = "Measurement")]
    pub(crate) no_telemetry: bool,
    /// The run file to write [default: a new file under profiles/runs/]
    #[arg(short = 'o', long, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
    /// Report this run file again, instead of measuring; of ranks that were merged, each (FILE@RANK: one of them)
    #[arg(long, value_name = "RUN", conflicts_with_all = ["output", "versions"], help_heading = "Output")]
    pub(crate) load: Option<PathBuf>,
    /// Keep the run as a baseline of this name for `kprof regress`: profiles/baselines/NAME.jsonl
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub(crate) save_baseline: Option<String>,
    /// Hold the results against the ceilings of another device, marked SIMULATED, e.g. `--load run.jsonl --sim h100-sxm`
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub(crate) sim: Option<String>,
    /// Add the run to the baseline of this name as further processes, so that it knows what differs between them
    #[arg(long, value_name = "NAME", conflicts_with = "save_baseline", help_heading = "Output")]
    pub(crate) add_to_baseline: Option<String>,
    /// Draw the bars of the table of ASCII characters only
    #[arg(long, help_heading = "Output")]
    pub(crate) ascii: bool,
    /// No progress on stderr
    #[arg(short = 'q', long, help_heading = "Output")]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) tables: TableExportArgs,
    #[command(flatten)]
    pub(crate) figures: FigureArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Where figures go besides the two that are written beside the run file.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Exports ('-' is stdout)")]
pub(crate) struct FigureArgs {
    /// Write a timeline for Perfetto (ui.perfetto.dev) or chrome://tracing: stages, steps, layers, phases, ops, the machine
    #[arg(long, value_name = "FILE")]
    pub(crate) export_trace: Option<PathBuf>,
    /// Write the phase figure as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) export_svg: Option<PathBuf>,
    /// Write the phase figure as PNG
    #[arg(long, value_name = "FILE")]
    pub(crate) export_png: Option<PathBuf>,
    /// Write the roofline chart as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) export_roofline_svg: Option<PathBuf>,
    /// Write the roofline chart as PNG
    #[arg(long, value_name = "FILE")]
    pub(crate) export_roofline_png: Option<PathBuf>,
}

fn cache_state() -> impl TypedValueParser<Value = CacheState> {
    let cold = |name: String| if name == "cold" { CacheState::Cold } else { CacheState::Hot };
    PossibleValuesParser::new([CacheState::Hot, CacheState::Cold].map(CacheState::name)).map(cold)
}

/// What is found out of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Kernels,
    Cupti,
}

impl Counted {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kernels => "kernels",
            Self::Cupti => "cupti",
        }
    }
}

fn counted() -> impl TypedValueParser<Value = Counted> {
    let named = |name: String| if name == "kernels" { Counted::Kernels } else { Counted::Cupti };
    PossibleValuesParser::new([Counted::Kernels, Counted::Cupti].map(Counted::name)).map(named)
}

/// The stages that a profiler is to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProfileStages(pub(crate) Vec<Stage>);

fn stages() -> impl TypedValueParser<Value = ProfileStages> {
    // Anything but a stage's name is `both`: nothing else is possible.
    let named = |name: String| match Stage::ALL.into_iter().find(|s| s.name() == name) {
        Some(stage) => ProfileStages(vec![stage]),
        None => ProfileStages(Stage::ALL.to_vec()),
    };
    PossibleValuesParser::new(Stage::ALL.map(Stage::name).into_iter().chain(["both"])).map(named)
}
