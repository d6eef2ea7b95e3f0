//! The flags of `kprof crossover`.

use super::OutputArgs;
use crate::args::counts::Counts;
use crate::args::model::ModelArgs;
use crate::args::schedule::ScheduleArgs;
use crate::args::versions::VersionsFileArgs;
use clap::Args;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Search for the context and batch from which one KV-cache version is faster than another",
    long_about = "Search for the context and batch from which one KV-cache version is faster than another.\n\n\
    At every context and batch both versions are prefilled and run the same decode step in turns; a version pays where \
    the whole 95 % interval of the speed-up, by paired rounds, is above 1. Between contexts where it begins to, the middle \
    is measured as well (--refine). Lines fitted to both give where they would \
    meet. Where there is no crossover, it is said up to which context.\n\n\
    Beside it, from the shapes alone and marked ANALYTIC: the context from which a version's cache outweighs the weights \
    that a step reads. And how far prefill and decode are from the machine's ceilings as the context grows.",
    after_help = "\
Examples:
  kprof crossover v1 v2                                          when does an INT8 cache pay?
  kprof crossover v0 v1 --contexts 8-512*2 --batches 1           when does a cache pay?
  kprof crossover v1 v2 --preset gpt2-4k --contexts 256-4k*2 --batches 1,8
  kprof crossover v1 v2 --preset tiny --quick --json | jq '.batches[].pays_from'"
)]
pub(crate) struct CrossoverArgs {
    /// The version to be overtaken, e.g. v1
    #[arg(value_name = "OLD", default_value = "v1")]
    pub(crate) old: String,
    /// The version that may overtake it, e.g. v2
    #[arg(value_name = "NEW", default_value = "v2")]
    pub(crate) new: String,
    #[command(flatten)]
    pub(crate) versions_file: VersionsFileArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Tokens per sequence that a step attends to: `64,256` or `64-1024*2` [default: 64-1024*2, as far as the model has
    /// positions]
    #[arg(long, value_name = "LIST", help_heading = "Measurement")]
    pub(crate) contexts: Option<Counts>,
    /// Sequences side by side: `1,4` or `1-16*2`
    #[arg(long, value_name = "LIST", default_value = "1,4", help_heading = "Measurement")]
    pub(crate) batches: Counts,
    /// Between the largest context where it does not pay and the next one, from where on it does, measure so many more, each in
    /// the middle of what is left
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Measurement")]
    pub(crate) refine: usize,
    /// Steps of each version in a round, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Measurement")]
    pub(crate) steps: usize,
    #[command(flatten)]
    pub(crate) schedule: ScheduleArgs,
    #[command(flatten)]
    pub(crate) out: OutputArgs,
}
