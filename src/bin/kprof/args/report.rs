//! The flags of `kprof report`.

use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Write one HTML file that explains runs to somebody who has no kprof",
    long_about = "Write one HTML file that explains runs to somebody who has no kprof: verdict and findings in plain words, \
    a roofline that answers to pointer and keyboard, figures, tables that sort and search, the environment, and the \
    commands to measure it again. The file needs no network; without scripts it reads as text, tables and figures.",
    after_help = "\
Examples:
  kprof report run.jsonl                                  report.html
  kprof report before.jsonl after.jsonl --label main,patch -o change.html
  kprof report report.ncu-rep --device 'H100 SXM' -o kernels.html
  kprof report run.jsonl ncu.csv --title 'GPT-2 on our server'"
)]
pub(crate) struct ReportArgs {
    /// Run files of kprof, and whatever `kprof roofline` reads
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// The file to write; '-' is stdout
    #[arg(short = 'o', long, value_name = "FILE", default_value = "report.html")]
    pub(crate) output: PathBuf,
    /// What to call the runs, in their order, e.g. `--label main,patch`
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "NAME")]
    pub(crate) label: Vec<String>,
    /// The version that the others of a run are held against; the first one by default
    #[arg(long, value_name = "VERSION")]
    pub(crate) against: Option<String>,
    /// The title of the page
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// Hold the runs against the ceilings of this device, e.g. `--device 'A100 SXM 80GB'`
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
}
