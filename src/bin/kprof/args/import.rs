//! The flags of `kprof import`.

use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  kprof import trace.json.gz                                  writes trace.run.jsonl
  kprof import rank0.pt.trace.json.gz rank1.pt.trace.json.gz --output run.jsonl
  nsys export --type sqlite report.nsys-rep && kprof import report.sqlite
  kprof import benchmark/results.jsonl                        the nanoGPT benchmark's results: latency --load, memory --load
  kprof roofline trace.run.jsonl --by class                   a run file is read again like the trace itself

Exit codes: 0 ok, 1 failure (no such file, damaged, no GPU kernel in it), 2 usage.")]
pub(crate) struct ImportArgs {
    /// Traces of the PyTorch profiler and vLLM (.json, .json.gz), nsys (.sqlite, CSV of `nsys stats`) and rocprofv3
    /// (CSV), and reports and exports of Nsight Compute
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where to write the run; the first file's name with .run.jsonl unless given
    #[arg(long, short, value_name = "RUN")]
    pub(crate) output: Option<PathBuf>,
    /// Say what kernels are for by the rules in this TOML file, before the built-in ones (see `kprof roofline`)
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
}
