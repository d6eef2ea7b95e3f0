//! The flags that benchmarks share, and one file per benchmark.

mod capacity;
mod config;
mod crossover;
mod latency;
mod memory;
mod perplexity;
mod run;

pub(crate) use capacity::{CapacityArgs, SearchArg};
pub(crate) use config::{ConfigArgs, LogArgs};
pub(crate) use crossover::CrossoverArgs;
pub(crate) use latency::LatencyArgs;
pub(crate) use memory::MemoryArgs;
pub(crate) use perplexity::PerplexityArgs;
pub(crate) use run::{Given, RunArgs};

use super::export::TableExportArgs;
use super::model::ModelArgs;
use super::versions::VersionsFileArgs;
use clap::Args;
use std::path::PathBuf;

/// What is measured, and where it goes.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// KV-cache versions: `v0 v1`, `v0,v1` or `v0-v4`
    #[arg(long = "version", value_name = "VERSION", num_args = 1.., default_values = ["v0", "v1"], conflicts_with = "load")]
    pub(crate) versions: Vec<String>,
    #[command(flatten)]
    pub(crate) versions_file: VersionsFileArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Sequences side by side
    #[arg(short = 'b', long, value_name = "N", default_value_t = 1, help_heading = "Measurement")]
    pub(crate) batch: usize,
    #[command(flatten)]
    pub(crate) out: OutputArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// Where results go, and where settings come from besides the command line: the same for every benchmark.
#[derive(Args, Clone, Debug)]
pub(crate) struct OutputArgs {
    /// The run file to write [default: a new file under profiles/runs/]
    #[arg(short = 'o', long, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
    /// Report this run file again, instead of measuring; of ranks that were merged, each (FILE@RANK: one of them)
    #[arg(long, value_name = "RUN", conflicts_with = "output", help_heading = "Output")]
    pub(crate) load: Option<PathBuf>,
    /// No progress on stderr
    #[arg(short = 'q', long, help_heading = "Output")]
    pub(crate) quiet: bool,
    /// The results as JSON on stdout, and no table: --export-json -
    #[arg(long, conflicts_with = "export_json", help_heading = "Output")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) tables: TableExportArgs,
    /// Applied where the command line is expanded.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}
