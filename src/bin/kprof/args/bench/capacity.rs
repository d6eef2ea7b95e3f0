//! The flags of `kprof capacity`.

use super::BenchArgs;
use clap::{Args, ValueEnum};
use kprof::units::Bytes;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Find the largest batch that fits into a memory budget at a context, by KV-cache version",
    long_about = "Find the largest batch that fits into a memory budget at a context, by KV-cache version.\n\n\
    Batches are tried: caches are allocated for the whole context, one decode step at its end runs, and what the process \
    held at most is compared with the budget. Versions without a cache run the whole sequence, and where that would take \
    minutes, small batches are run and larger ones extrapolated; the table says so. On a GPU the driver says what was held, \
    and a batch that it has no memory for does not fit. --search account runs nothing and \
    goes by the formulas that also refuse runs which memory has no room for.\n\n\
    theory: (budget - weights) / one sequence's cache. Prefills are not in the budget: servers run them in pieces.",
    after_help = "\
Examples:
  kprof capacity --version v0-v4 --budget 4GiB --context 1024     how many sequences each version serves
  kprof capacity --version v1 v2 --preset gpt2-medium --dtype bf16 --budget 8GiB
  kprof capacity --device cuda --dtype bf16 --context 4096        in what the GPU has free
  kprof capacity --search account --preset llama-2-7b --dtype bf16 --budget 80GB --context 4096
  kprof capacity --preset tiny --quick                            seconds, to try it out"
)]
pub(crate) struct CapacityArgs {
    #[command(flatten)]
    pub(crate) bench: BenchArgs,
    /// Memory for weights, caches and activations, e.g. 4GiB or 500MB [default: 4GiB; on a GPU what it has free, less a
    /// reserve of 256 MiB, or of a sixteenth where that is less]
    #[arg(long, value_name = "BYTES", value_parser = positive_bytes, help_heading = "Measurement")]
    pub(crate) budget: Option<Bytes>,
    /// Tokens per sequence [default: 1024, or the model's positions where they are fewer]
    #[arg(short = 'c', long, value_name = "N", help_heading = "Measurement")]
    pub(crate) context: Option<usize>,
    /// Try no larger batch than this
    #[arg(long, value_name = "N", default_value_t = 4096, help_heading = "Measurement")]
    pub(crate) most: usize,
    /// How batches are tried
    #[arg(long, value_enum, default_value_t = SearchArg::Run, help_heading = "Measurement")]
    pub(crate) search: SearchArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SearchArg {
    /// Allocate and run a step
    Run,
    /// By formulas alone
    Account,
}

fn positive_bytes(text: &str) -> Result<Bytes, String> {
    let bytes = Bytes::parse(text).map_err(|e| e.to_string())?;
    if bytes.0 > 0.0 { Ok(bytes) } else { Err(format!("'{text}' is no room for anything")) }
}
