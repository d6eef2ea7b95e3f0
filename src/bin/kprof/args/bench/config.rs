//! The flags of configurations and logs, the same for every benchmark.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Where settings come from besides the command line.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct ConfigArgs {
    /// Take what the command line leaves out from this file: TOML, or YAML with the nanoGPT benchmark's keys
    /// [default: $KPROF_CONFIG, ./kprof.toml, config.toml in kprof's configuration folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Read no configuration
    #[arg(long, conflicts_with = "config")]
    pub(crate) no_config: bool,
    /// Print what the command would go by as a configuration, with where each value comes from, and measure nothing
    #[arg(long)]
    pub(crate) dump_config: bool,
    /// A small measurement, to try it out
    #[arg(long, conflicts_with = "thorough")]
    pub(crate) quick: bool,
    /// A long measurement
    #[arg(long)]
    pub(crate) thorough: bool,
}

/// Where results go in other programs' formats.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct LogArgs {
    /// Append the results to this file as the nanoGPT benchmark writes them
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
    /// Empty the log file before measuring
    #[arg(long)]
    pub(crate) clear_log: bool,
    /// Write the results as JSON Lines, in the format that --schema names
    #[arg(long, value_name = "FILE", help_heading = "Exports ('-' is stdout)")]
    pub(crate) export_jsonl: Option<PathBuf>,
    /// The format of --export-jsonl
    #[arg(long, value_enum, default_value_t = SchemaArg::Nanogpt, help_heading = "Exports ('-' is stdout)")]
    pub(crate) schema: SchemaArg,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaArg {
    /// The results.jsonl of the nanoGPT KV-cache benchmark
    #[default]
    Nanogpt,
}
