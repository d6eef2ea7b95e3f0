//! The flags of `kprof run`.

use super::ConfigArgs;
use crate::args::model::ModelArgs;
use crate::args::versions::VersionsFileArgs;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Run several benchmarks from one configuration, each in a process of its own",
    long_about = "Run several benchmarks from one configuration, each in a process of its own.\n\n\
    Every benchmark takes its keys from the configuration and the flags given here, as far as it knows them. One that \
    fails does not stop the others; the exit code then is 1. What was interrupted or failed is made up for with --resume.",
    after_help = "\
Examples:
  kprof run                                         all benchmarks with their defaults, or those of ./kprof.toml
  kprof run --config benchmark/config.yaml          the nanoGPT benchmark's own file
  kprof run latency memory --version v0-v4 --quick
  kprof run --resume profiles/runs/20261121T120000-run

A configuration (TOML; YAML has the same keys):
  benchmarks = [\"latency\", \"memory\", \"crossover\"]
  pretrained = \"gpt2\"              # or preset; model = \"./gpt2\" for real weights
  versions = [\"v0\", \"v1\", \"v2\"]
  T_values = [32, 64, 128]
  [capacity]                       # keys of one benchmark win over those above
  budget = \"4GiB\""
)]
pub(crate) struct RunArgs {
    /// Which benchmarks, in this order [default: `benchmarks` of the configuration, or all]
    #[arg(value_name = "BENCHMARK")]
    pub(crate) benchmarks: Vec<String>,
    /// KV-cache versions: `v0 v1`, `v0,v1` or `v0-v4`
    #[arg(long = "version", value_name = "VERSION", num_args = 1.., default_values = ["v0", "v1"])]
    pub(crate) versions: Vec<String>,
    #[command(flatten)]
    pub(crate) versions_file: VersionsFileArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Sequences side by side
    #[arg(short = 'b', long, value_name = "N", default_value_t = 1, help_heading = "Measurement")]
    pub(crate) batch: usize,
    /// The folder for the run files [default: a new one under profiles/runs/]
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Go on in this folder: what is complete stays, the rest is measured with the flags of then
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output_dir", "benchmarks", "config", "versions"], help_heading = "Output")]
    pub(crate) resume: Option<PathBuf>,
    /// No progress on stderr
    #[arg(short = 'q', long, help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Append the results to this file as the nanoGPT benchmark writes them
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) log_file: Option<PathBuf>,
    /// Empty the log file first
    #[arg(long, help_heading = "Output")]
    pub(crate) clear_log: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The flags of the command line, for the benchmarks that have them.
    #[arg(skip)]
    pub(crate) given: Vec<Given>,
}

/// A flag as it was given.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Given {
    /// Without its dashes.
    pub(crate) flag: String,
    /// The values; empty of a switch.
    pub(crate) values: Vec<String>,
}
