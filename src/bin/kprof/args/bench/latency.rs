//! The flags of `kprof latency`.

use super::BenchArgs;
use crate::args::counts::Counts;
use crate::args::schedule::ScheduleArgs;
use clap::Args;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Time whole generations against their length, by KV-cache version, and fit how the time grows",
    long_about = "Time whole generations against their length, by KV-cache version, and fit how the time grows.\n\n\
    Every repetition runs every version at every length T once, in a shuffled order, so that drift hits all alike. \
    A line and a parabola are fitted to the times of each version, and it is said which describes them better.\n\n\
    time: prefill and T - 1 decode steps, from start to output token T. per token: time / T, the prefill included. \
    TPOT: (time - TTFT) / (T - 1). exponent: of the decode time over T - 1; 1 is linear, 2 quadratic. \
    ΔAICc: that of the line less that of the parabola; above 2, the parabola is better.",
    after_help = "\
Examples:
  kprof latency --version v0 v1                                what a KV cache gains, and how each grows
  kprof latency --version v0-v4 -T 32-256*2 -r 10              all versions, four lengths, ten repetitions
  kprof latency --version v1 v2 --preset gpt2-4k -T 256-2k*2   longer contexts
  kprof latency --preset tiny --quick                          seconds, to try it out
  kprof latency --json | jq '.versions[].growth.better'        for scripts
  kprof latency --load run.jsonl --export-csv latency.csv      the report of an earlier run"
)]
pub(crate) struct LatencyArgs {
    #[command(flatten)]
    pub(crate) bench: BenchArgs,
    /// Output tokens per sequence, T: `16,32,64` or `32-512*2` [default: 16,32,64,128, as far as the model has positions]
    #[arg(short = 'T', long, value_name = "LIST", help_heading = "Measurement")]
    pub(crate) lengths: Option<Counts>,
    /// Prompt tokens per sequence
    #[arg(short = 'p', long, value_name = "N", default_value_t = 32, help_heading = "Measurement")]
    pub(crate) prompt_length: usize,
    #[command(flatten)]
    pub(crate) schedule: ScheduleArgs,
    /// Do not watch the machine: no clocks, and no finding on CPU time taken by others
    #[arg(long, help_heading = "Measurement")]
    pub(crate) no_telemetry: bool,
}
