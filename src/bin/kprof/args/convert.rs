//! The flags of `kprof convert`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    /// One row per launch, base units, names that carry the unit
    Csv,
    /// One document: files, and launches with the source of every value
    Json,
    /// One launch per line, with the source of every value
    Jsonl,
    /// The columns of the CSV with their types (needs the feature `parquet`)
    Parquet,
}

/// Which metrics to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MetricsArg {
    /// What they mean: time, FLOPs, bytes, ceilings
    Meaning,
    /// Also every metric by its own name in base units (binary reports, --to json or jsonl)
    All,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  kprof convert report.ncu-rep --to csv > launches.csv
  kprof convert report.ncu-rep --to jsonl --metrics all | jq '.metrics[\"sm__warps_active.avg.per_cycle_active\"]'
  kprof convert *.ncu-rep ncu.csv --to parquet --output launches.parquet")]
pub(crate) struct ConvertArgs {
    /// Nsight Compute reports (.ncu-rep) and CSV exports
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// What to write, e.g. `--to csv`
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) to: FormatArg,
    /// Where to write it; '-' is stdout
    #[arg(long, short, default_value = "-", value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Which metrics to keep, e.g. `--metrics all`
    #[arg(long, value_enum, default_value = "meaning", value_name = "WHICH")]
    pub(crate) metrics: MetricsArg,
}
