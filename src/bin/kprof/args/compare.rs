//! The flags of `kprof compare` and `kprof regress`.

use super::export::TableExportArgs;
use super::schedule::ScheduleArgs;
use clap::{Args, ValueEnum};
use kprof::compare::Aspect;
use std::path::PathBuf;
use std::str::FromStr;

/// A fraction, written as `5%` or `0.05`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fraction(pub(crate) f64);

impl FromStr for Fraction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = match text.strip_suffix('%') {
            Some(percent) => (percent.trim(), 0.01),
            None => (text, 1.0),
        };
        let value = number.parse::<f64>().ok().map(|n| n * unit);
        let value = value.filter(|v| (0.0..1.0).contains(v));
        value.map(Self).ok_or_else(|| "a fraction from 0 to under 1 is meant, such as 5% or 0.05".to_string())
    }
}

#[derive(Args, Clone, Debug)]
#[command(
    about = "Hold runs, or versions of a run, against each other: by how much, how sure, and what moved",
    long_about = "Hold runs, or versions of a run, against each other: by how much the time changed, how sure that is, and \
    which phases and ops it comes from.\n\n\
    The speed-up is the median of the old times over the median of the new, of the plain twin. Its 95 % interval is a BCa \
    bootstrap by paired repetitions for versions of one run, which are measured interleaved. Between runs, processes are what \
    varies: where each is one process, the interval is widened by 2 % between processes, and where they are several \
    (kprof phase --processes), it is that of Hodges and Lehmann over their medians. The verdict is faster or slower when the \
    whole interval is beyond --threshold, same when it is within, and unclear otherwise or under 5 repetitions.\n\n\
    With --command, commands are run now, in turns and in a seeded order: their wall time is compared, and where a command \
    has {run} in the place of a run file, what that says too. docs/statistics.md has the formulas.",
    after_help = "\
Exit code: 0 whatever the verdict (kprof regress fails on one), 1 a file cannot be read or a command failed, 2 unlike or
nothing to compare.

Examples:
  kprof compare run.jsonl                       its versions, each against the first
  kprof compare run.jsonl:v1 run.jsonl:v2       two of them
  kprof compare before.jsonl after.jsonl        two runs, version by version
  kprof compare cpu.jsonl other.jsonl --allow device,threads
  kprof compare a.jsonl b.jsonl --export-json - | jq .comparison.generation.speedup
  kprof compare --command './old --work' --command './new --work'
  kprof compare --command './kprof-old phase -q -o {run}' --command './kprof-new phase -q -o {run}' -r 10-20"
)]
pub(crate) struct CompareArgs {
    /// Run files of `kprof phase`, each with a version if need be; the first is the baseline
    #[arg(required_unless_present = "commands", value_name = "RUN[:VERSION]")]
    pub(crate) runs: Vec<String>,
    /// Run this command now, in turns with the others; the first is the baseline. {run} stands for a run file that it writes
    #[arg(long = "command", value_name = "COMMAND", conflicts_with = "runs", help_heading = "Commands")]
    pub(crate) commands: Vec<String>,
    /// Run this before each command, untimed
    #[arg(long, value_name = "COMMAND", help_heading = "Commands")]
    pub(crate) prepare: Option<String>,
    /// Time commands that fail too
    #[arg(long, help_heading = "Commands")]
    pub(crate) ignore_failure: bool,
    /// The seed of the order in which commands run
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Commands")]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) schedule: ScheduleArgs,
    /// No progress on stderr
    #[arg(short = 'q', long, help_heading = "Commands")]
    pub(crate) quiet: bool,
    /// The least change in time that counts
    #[arg(long, value_name = "PERCENT", default_value = "2%")]
    pub(crate) threshold: Fraction,
    /// What may differ: model, dtype, weights, batch, prompt, tokens, device, threads, cache, profiler
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) allow: Vec<Aspect>,
    #[command(flatten)]
    pub(crate) export: TableExportArgs,
}

/// Which verdicts fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// A confirmed regression
    Slower,
    /// That, and a verdict that cannot be told
    Unclear,
}

#[derive(Args, Clone, Debug)]
#[command(
    about = "Hold a run against a saved baseline and exit with 3 on a confirmed regression",
    long_about = "Hold a run against a saved baseline and exit with 3 on a confirmed regression: one whose whole 95 % interval \
    is beyond --threshold.\n\n\
    `kprof phase … --save-baseline NAME` makes a baseline: a copy of the run as profiles/baselines/NAME.jsonl. Both must be of \
    one model, type, shape and device (see --allow). Files of several ranks (kprof merge) are compared rank by rank, and one \
    rank that regressed fails.",
    after_help = "\
Exit code: 0 no regression, 1 a file cannot be read, 2 unlike or no such baseline, 3 a confirmed regression, 4 unclear with
--fail-on unclear.

Examples:
  kprof phase --version v1 -r 20 --save-baseline main
  kprof phase --version v1 -r 20 --output new.jsonl && kprof regress new.jsonl --baseline main
  kprof regress new.jsonl --baseline main --threshold 3% --fail-on unclear --export-junit kprof.xml
  kprof phase --load merged.jsonl --save-baseline main                    every rank of a launch
  kprof regress new.jsonl --baseline main --github --export-markdown \"$GITHUB_STEP_SUMMARY\""
)]
pub(crate) struct RegressArgs {
    /// The run file to judge, with a version if need be
    #[arg(value_name = "RUN[:VERSION]")]
    pub(crate) run: String,
    /// The name of the baseline
    #[arg(long, value_name = "NAME")]
    pub(crate) baseline: String,
    /// The least change in time that counts
    #[arg(long, value_name = "PERCENT", default_value = "5%")]
    pub(crate) threshold: Fraction,
    /// Which verdicts fail
    #[arg(long, value_name = "VERDICT", default_value = "slower")]
    pub(crate) fail_on: FailOn,
    /// What may differ: model, dtype, weights, batch, prompt, tokens, device, threads, cache, profiler
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) allow: Vec<Aspect>,
    /// Print GitHub annotations too
    #[arg(long)]
    pub(crate) github: bool,
    /// Write the verdicts as JUnit XML
    #[arg(long, value_name = "FILE", help_heading = "Exports ('-' is stdout)")]
    pub(crate) export_junit: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) export: TableExportArgs,
}

#[derive(Args, Clone, Debug)]
#[command(
    about = "Show how times went over many runs, and with which run they changed",
    long_about = "Show how times went over many runs, in the order they were measured, and with which run they changed: each \
    run is held against the one before, as kprof compare does. Runs unlike the latest are left out and named.",
    after_help = "\
Examples:
  kprof history profiles/runs/*.jsonl
  kprof history nightly/*.jsonl --threshold 3% --export-csv history.csv"
)]
pub(crate) struct HistoryArgs {
    /// Run files of `kprof phase`
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// The least change in time that counts
    #[arg(long, value_name = "PERCENT", default_value = "5%")]
    pub(crate) threshold: Fraction,
    /// What may differ: model, dtype, weights, batch, prompt, tokens, device, threads, cache, profiler
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) allow: Vec<Aspect>,
    #[command(flatten)]
    pub(crate) export: TableExportArgs,
}
