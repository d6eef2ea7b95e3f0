//! The flags of `kprof view`.

use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Browse runs in the terminal: runs, phases, ops, kernels, findings, roofline",
    after_help = "\
Examples:
  kprof view run.jsonl                         Tab for the next list, / to search, s to sort, Enter for details
  kprof view before.jsonl after.jsonl          several runs
  kprof view ncu.csv --ascii                   for terminals and fonts without Unicode"
)]
pub(crate) struct ViewArgs {
    /// Run files of kprof, and whatever `kprof roofline` reads
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// What to call the runs, in their order, e.g. `--label main,patch`
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "NAME")]
    pub(crate) label: Vec<String>,
    /// Draw with the characters of ASCII only
    #[arg(long)]
    pub(crate) ascii: bool,
    /// Hold the runs against the ceilings of this device, e.g. `--device 'A100 SXM 80GB'`
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
    /// Panic after so many keys, to try that the terminal is given back
    #[arg(long, value_name = "N", hide = true)]
    pub(crate) fail_after: Option<usize>,
}
