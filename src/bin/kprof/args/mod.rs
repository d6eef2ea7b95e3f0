//! The command line's shape: one file per subcommand.

mod ceilings;
mod export;
mod logits;
mod model;
mod phase;
mod roofline;

pub(crate) use ceilings::CeilingsArgs;
pub(crate) use export::ExportArgs;
pub(crate) use logits::{FeedArg, LogitsArgs};
pub(crate) use model::ModelArgs;
pub(crate) use phase::PhaseArgs;
pub(crate) use roofline::{ByArg, LevelArg, PrecisionArg, RooflineArgs};

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
    /// Measure where the time of a model's prefill and decode goes, by KV-cache version
    Phase(Box<PhaseArgs>),
    /// Turn Nsight Compute exports and kprof runs into a roofline table and chart
    Roofline(Box<RooflineArgs>),
    /// Measure this CPU's bandwidth and FLOP ceilings
    Ceilings(CeilingsArgs),
    /// Write a pass's logits, so that they can be checked against another framework
    Logits(LogitsArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
