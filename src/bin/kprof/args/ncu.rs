//! The flags of `kprof ncu`: its own, and all of `kprof roofline`, whose table and chart it ends in.

use super::RooflineArgs;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use kprof::llm::Stage;
use kprof::units::Seconds;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Profile a program with Nsight Compute, straight to a roofline table and chart",
    long_about = "Profile a program with Nsight Compute (ncu), straight to a roofline table and chart.\n\n\
    kprof finds ncu, checks that the driver gives out the GPU's counters, asks for the few metrics that the chip needs, \
    shows the command, follows it, reads its log for errors (ncu exits with 0 when nothing was profiled), and reads the \
    report. What the program prints goes to stderr; the table goes to stdout.",
    after_help = "\
Examples:
  kprof ncu -- python3 serve.py --once               every kernel
  kprof ncu --launch-skip 200 --launch-count 50 -- ./llama-cli -m model.gguf -n 8
  kprof ncu --nvtx decode --stage decode -- python3 run.py
                                                     launches in a range, and of which stage
  kprof ncu --kernel 'gemm|flash' --metrics memory -- ./app
                                                     bytes of every level, in one or two passes
  kprof ncu --stage decode -- phase --version v1 v2  kprof's own passes: one decode step of each
  kprof ncu --dry-run --device-chip 9.0 -- ./app     only show the command
  kprof ncu -o profiles/a --export-svg a.svg -- ./app
                                                     keep report and log; draw the chart
  kprof ncu --with before.ncu-rep --label after before -- ./app
                                                     what changed

All flags of `kprof roofline` work here too. docs/ncu.md has the rest, and what to do where counters are forbidden.

Exit codes: 0 ok; 1 failure (the program failed, no kernels, an unknown metric, --timeout); 2 usage; 4 findings under \
--strict; 5 the machine refuses (no ncu, too old, no permission, no driver, GPU busy); 130 interrupted, after showing \
what was profiled until then."
)]
pub(crate) struct NcuArgs {
    /// Which stage of a model the launches are: with --nvtx all of them, else only those known to be of it are kept
    #[arg(long, value_name = "STAGE", value_parser = stages(), help_heading = "Profiling")]
    pub(crate) stage: Option<Stage>,
    /// What to count: roofline, memory, full, or metrics by name, e.g. `--metrics memory,sm__warps_active.avg.per_cycle_active`
    #[arg(long, value_name = "SET|LIST", default_value = "roofline", help_heading = "Profiling")]
    pub(crate) metrics: String,
    /// An NVTX filter in ncu's own syntax, e.g. `--nvtx-include 'regex:layer[0-9]+/'`
    #[arg(long, value_name = "FILTER", help_heading = "Profiling")]
    pub(crate) nvtx_include: Vec<String>,
    /// Pass over this many launches first (of those that match)
    #[arg(long, value_name = "N", help_heading = "Profiling")]
    pub(crate) launch_skip: Option<u64>,
    /// Profile at most this many launches
    #[arg(long, value_name = "N", help_heading = "Profiling")]
    pub(crate) launch_count: Option<u64>,
    /// The chip, which decides on the metrics: a compute capability (9.0) or ncu's name (gh100) [default: this machine's]
    #[arg(long, value_name = "CHIP", help_heading = "Profiling")]
    pub(crate) device_chip: Option<String>,
    /// Begin where the program calls cudaProfilerStart, not at its start
    #[arg(long, help_heading = "Profiling")]
    pub(crate) from_profiler_start: bool,
    /// Where ncu is [default: KPROF_NCU, the PATH, then where NVIDIA's installers put it, newest first]
    #[arg(long, value_name = "PATH", help_heading = "Profiling")]
    pub(crate) ncu: Option<PathBuf>,
    /// One more argument for ncu, e.g. `--ncu-arg=--replay-mode=application`
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, help_heading = "Profiling")]
    pub(crate) ncu_arg: Vec<OsString>,
    /// Keep the report (FILE.ncu-rep, or FILE.csv for a table) or, in a folder, the report and ncu's log
    #[arg(short = 'o', long, value_name = "DIR|FILE", help_heading = "Profiling")]
    pub(crate) output: Option<PathBuf>,
    /// End the program after this time and show what was profiled until then, e.g. 10min
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Profiling")]
    pub(crate) timeout: Option<Seconds>,
    /// Go on although counters seem to be forbidden, or there seems to be nothing to count
    #[arg(long, help_heading = "Profiling")]
    pub(crate) no_check: bool,
    /// Print the command, and do nothing
    #[arg(long, help_heading = "Profiling")]
    pub(crate) dry_run: bool,
    /// No progress on stderr
    #[arg(short = 'q', long, help_heading = "Profiling")]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) roofline: RooflineFlags,
    /// The program and its arguments; `phase` and its flags, or nothing, for kprof's own passes, of which one step per
    /// stage is profiled
    #[arg(last = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

/// The flags of `kprof roofline`, fitted: its files come with `--with`, and its filters are ncu's.
#[derive(Clone, Debug)]
pub(crate) struct RooflineFlags(pub(crate) RooflineArgs);

impl Args for RooflineFlags {
    fn augment_args(command: Command) -> Command {
        let command = RooflineArgs::augment_args(command).after_help(None).mut_arg("files", |a| {
            a.long("with").required(false).help("More reports, exports and runs for the same table and chart")
        });
        let command = command.mut_arg("kernel", |a| {
            a.help("Profile kernels whose demangled name this regular expression matches, e.g. `--kernel 'gemm|flash'`")
                .help_heading("Profiling")
        });
        command.mut_arg("nvtx", |a| {
            let help =
                "Profile launches inside the push/pop range of this name, e.g. `--nvtx decode`, or `--nvtx DOMAIN@NAME`";
            a.value_name("RANGE").help(help).help_heading("Profiling")
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RooflineFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        RooflineArgs::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

fn stages() -> impl TypedValueParser<Value = Stage> {
    let named = |name: String| Stage::ALL.into_iter().find(|s| s.name() == name);
    // OK because only the names of stages are possible.
    PossibleValuesParser::new(Stage::ALL.map(Stage::name))
        .map(move |name| named(name).unwrap_or(Stage::Decode))
}

fn time(text: &str) -> Result<Seconds, String> {
    let minutes = text.strip_suffix("min").map(|n| n.trim().parse::<f64>().map(|n| Seconds(n * 60.0)));
    let time = match minutes {
        Some(time) => time.map_err(|e| e.to_string())?,
        None => Seconds::parse(text).map_err(|e| e.to_string())?,
    };
    if time.0 > 0.0 { Ok(time) } else { Err(format!("'{text}' is no time after the start")) }
}
