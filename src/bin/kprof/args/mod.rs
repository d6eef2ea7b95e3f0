//! The command line's shape: one file per subcommand.

mod bench;
mod ceilings;
mod compare;
mod convert;
mod counts;
mod devices;
mod doctor;
mod estimate;
mod export;
mod help;
mod import;
mod kernels;
mod logits;
mod merge;
mod model;
mod ncu;
mod phase;
mod plot;
mod report;
mod roofline;
mod schedule;
mod schema;
mod served;
mod shell;
mod versions;
mod view;

pub(crate) use bench::{
    BenchArgs, CapacityArgs, ConfigArgs, CrossoverArgs, Given, LatencyArgs, LogArgs, MemoryArgs, OutputArgs,
    PerplexityArgs, RunArgs, SearchArg,
};
pub(crate) use ceilings::CeilingsArgs;
pub(crate) use compare::{CompareArgs, FailOn, HistoryArgs, RegressArgs};
pub(crate) use convert::{ConvertArgs, FormatArg, MetricsArg};
pub(crate) use counts::Counts;
pub(crate) use devices::DevicesArgs;
pub(crate) use doctor::DoctorArgs;
pub(crate) use estimate::EstimateArgs;
pub(crate) use export::{ExportArgs, TableExportArgs};
pub(crate) use help::command;
pub(crate) use import::ImportArgs;
pub(crate) use kernels::KernelsArgs;
pub(crate) use logits::{FeedArg, LogitsArgs};
pub(crate) use merge::MergeArgs;
pub(crate) use model::ModelArgs;
pub(crate) use ncu::NcuArgs;
pub(crate) use phase::{Counted, PhaseArgs};
pub(crate) use plot::{FigureFormat, PlotArgs};
pub(crate) use report::ReportArgs;
pub(crate) use roofline::{ByArg, LevelArg, PrecisionArg, RooflineArgs};
pub(crate) use schema::SchemaArgs;
pub(crate) use served::ServedArgs;
pub(crate) use shell::{CompletionsArgs, ManArgs};
pub(crate) use versions::{VersionsArgs, VersionsFileArgs};
pub(crate) use view::ViewArgs;

use clap::{Parser, Subcommand};

/// Profiling and rooflines for LLM inference: where does the time go, what bounds it, did my change help?
#[derive(Debug, Parser)]
#[command(name = "kprof", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Phase(Box<PhaseArgs>),
    Latency(Box<LatencyArgs>),
    #[command(visible_alias = "vram")]
    Memory(Box<MemoryArgs>),
    #[command(visible_alias = "ppl")]
    Perplexity(Box<PerplexityArgs>),
    Capacity(Box<CapacityArgs>),
    Crossover(Box<CrossoverArgs>),
    Run(Box<RunArgs>),
    /// Turn Nsight Compute reports and exports and kprof runs into a roofline table and chart
    Roofline(Box<RooflineArgs>),
    Compare(Box<CompareArgs>),
    Regress(RegressArgs),
    History(HistoryArgs),
    Ncu(Box<NcuArgs>),
    Estimate(Box<EstimateArgs>),
    /// Write the kernel launches of reports and exports as CSV, JSON or Parquet
    Convert(ConvertArgs),
    Plot(Box<PlotArgs>),
    Report(ReportArgs),
    View(ViewArgs),
    /// Turn traces of other profilers (PyTorch, vLLM, nsys, rocprofv3) and exports of ncu into a run file
    Import(ImportArgs),
    Merge(MergeArgs),
    Ceilings(CeilingsArgs),
    Doctor(DoctorArgs),
    Devices(DevicesArgs),
    Kernels(KernelsArgs),
    Logits(LogitsArgs),
    Schema(SchemaArgs),
    Versions(VersionsArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
