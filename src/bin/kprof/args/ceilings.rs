//! The flags of `kprof ceilings`.

use super::export::TableExportArgs;
use clap::Args;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Measure the bandwidth and FLOP ceilings of this CPU or a GPU",
    long_about = "Measure this CPU's bandwidth and FLOP ceilings: reads and triads from each cache level and \
    from DRAM, and multiply-adds per precision, on one thread and on all. A ceiling is the best repetition.\n\n\
    With --device cuda, a GPU's: reads, copies and triads of its memory, reads of its L2, multiply-adds of CUDA cores and \
    tensor cores by type, and what a launch takes.",
    after_help = "\
Examples:
  kprof ceilings                               every level and precision, in about a minute
  kprof ceilings --quick                       what a phase run is held against, in about a second
  kprof ceilings --device cuda                 the first GPU
  kprof ceilings --export-json ceilings.json"
)]
pub(crate) struct CeilingsArgs {
    /// What to measure: cpu, cuda, cuda:N or cuda:UUID
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(crate) device: String,
    /// Threads of the many-threaded measurements [default: all this process may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) threads: Option<u16>,
    /// Only reads and arithmetic on all threads, in about a second
    #[arg(long)]
    pub(crate) quick: bool,
    #[command(flatten)]
    pub(crate) export: TableExportArgs,
}
