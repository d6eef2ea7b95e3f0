//! `kprof run`: benchmarks one after another, each in a process of its own, so that one that fails takes nothing with it.

use super::lines;
use crate::args::{Cli, Given, RunArgs};
use crate::config;
use crate::exit::{INTERRUPTED, Interrupted, usage};
use crate::interrupt;
use crate::output;
use crate::rank;
use anyhow::Context as _;
use clap::CommandFactory;
use kprof::host;
use kprof::llm::nearest_first;
use kprof::profile::{read_run, write_atomically};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

/// All benchmarks, in the order that they run in.
const BENCHMARKS: [&str; 6] = ["phase", "latency", "memory", "capacity", "crossover", "perplexity"];

/// The file of a folder that says what was asked for.
const PLAN: &str = "run.json";

/// What was asked for, kept for --resume.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Plan {
    benchmarks: Vec<String>,
    given: Vec<Given>,
    /// The configuration as it was then, beside the plan.
    config: Option<String>,
}

/// How a benchmark ended.
struct Done {
    benchmark: String,
    file: PathBuf,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Measured,
    WasThere,
    Failed(Option<i32>),
}

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<()> {
    let (folder, plan) = match &args.resume {
        Some(folder) => (folder.clone(), kept(folder)?),
        None => begin(args)?,
    };
    // Ctrl-C goes to the benchmark as well, which keeps what it has.
    let stop = interrupt::flag();
    let mut all = Vec::new();
    for (at, benchmark) in plan.benchmarks.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let file = rank::file(&folder.join(format!("{benchmark}.jsonl")));
        let how = if is_complete(&file) {
            How::WasThere
        } else {
            set_aside(&file)?;
            eprintln!("== {benchmark} ({} of {})", at + 1, plan.benchmarks.len());
            one(args, &plan, &folder, benchmark, &file, at == 0)?
        };
        all.push(Done { benchmark: benchmark.clone(), file, how });
        if how == How::Failed(Some(i32::from(INTERRUPTED))) {
            break;
        }
    }
    summary(&folder, &plan, &all, stop.load(Ordering::Relaxed))
}

/// A new folder with its plan.
fn begin(args: &RunArgs) -> anyhow::Result<(PathBuf, Plan)> {
    let config = config::path(&args.config);
    let of_config = match &config {
        Some(path) => config::benchmarks_of(path)?,
        None => None,
    };
    let known = known();
    let named =
        if args.benchmarks.is_empty() { of_config.unwrap_or_default() } else { args.benchmarks.clone() };
    // Quality needs a trained model, which the others do not: it runs where it is named.
    let usual = || known.iter().filter(|name| *name != "perplexity").cloned().collect();
    let benchmarks = if named.is_empty() { usual() } else { named };
    for name in &benchmarks {
        if !known.contains(name) {
            let nearest = nearest_first(name, known.iter().map(String::as_str)).join(", ");
            return Err(usage(format!("unknown benchmark '{name}'; known: {nearest}")));
        }
    }
    let stamp: String = host::now_rfc3339().chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    let new = || Path::new("profiles").join("runs").join(format!("{stamp}-run"));
    let folder = rank::folder(&args.output_dir.clone().unwrap_or_else(new));
    if folder.join(PLAN).exists() {
        return Err(usage(format!(
            "{} holds a run already; go on with it: kprof run --resume {}",
            folder.display(),
            folder.display()
        )));
    }
    // What the flags get wrong is wrong for every benchmark: it is said before the first one runs.
    let kept_config = config.as_ref().map(|path| {
        let ending = path.extension().map_or("toml".to_string(), |e| e.to_string_lossy().into_owned());
        format!("config.{ending}")
    });
    let plan = Plan { benchmarks, given: args.given.clone(), config: kept_config };
    for benchmark in &plan.benchmarks {
        let argv = argv(args, &plan, config.as_deref(), benchmark, Path::new("unused.jsonl"), false);
        config::check(argv).map_err(|e| usage(format!("{benchmark}: {e:#}")))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot write {}", folder.display()))?;
    if let (Some(path), Some(name)) = (&config, &plan.config) {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        write_atomically(&folder.join(name), &text)?;
    }
    let text = serde_json::to_vec_pretty(&plan).context("a plan is JSON")?;
    write_atomically(&folder.join(PLAN), &text)?;
    Ok((folder, plan))
}

fn kept(folder: &Path) -> anyhow::Result<Plan> {
    let path = folder.join(PLAN);
    let text = std::fs::read_to_string(&path)
        .map_err(|_| usage(format!("{} is no folder of `kprof run`: it has no {PLAN}", folder.display())))?;
    serde_json::from_str(&text).with_context(|| format!("{}: damaged", path.display()))
}

/// The benchmarks that this kprof has.
fn known() -> Vec<String> {
    let all = Cli::command();
    BENCHMARKS.iter().filter(|b| all.find_subcommand(b).is_some()).map(|b| (*b).to_string()).collect()
}

fn is_complete(file: &Path) -> bool {
    file.exists() && read_run(file).is_ok_and(|run| run.complete)
}

/// A run file that is not complete makes room, and is kept.
fn set_aside(file: &Path) -> anyhow::Result<()> {
    if !file.exists() {
        return Ok(());
    }
    let free = (1..).map(|n| file.with_extension(format!("partial-{n}.jsonl"))).find(|p| !p.exists());
    let Some(free) = free else { return Ok(()) };
    std::fs::rename(file, &free).with_context(|| format!("cannot move {}", file.display()))
}

/// The command line of a benchmark: of the flags given, those that it has.
fn argv(
    args: &RunArgs,
    plan: &Plan,
    config: Option<&Path>,
    benchmark: &str,
    file: &Path,
    is_first: bool,
) -> Vec<String> {
    let all = Cli::command();
    let flags: Vec<&str> = all
        .find_subcommand(benchmark)
        .map(|c| c.get_arguments().filter_map(clap::Arg::get_long).collect())
        .unwrap_or_default();
    let mut argv = vec!["kprof".to_string(), benchmark.to_string()];
    let not_handed_on = ["config", "no-config", "output-dir", "resume", "clear-log", "dump-config"];
    for given in &plan.given {
        let flag = given.flag.as_str();
        if !flags.contains(&flag) || not_handed_on.contains(&flag) {
            continue;
        }
        match &given.values[..] {
            [] => argv.push(format!("--{flag}")),
            values => argv.push(format!("--{flag}={}", values.join(","))),
        }
    }
    match config {
        Some(path) => argv.push(format!("--config={}", path.display())),
        None => argv.push("--no-config".to_string()),
    }
    if is_first && args.clear_log && flags.contains(&"clear-log") {
        argv.push("--clear-log".to_string());
    }
    argv.push(format!("--output={}", file.display()));
    argv
}

fn one(
    args: &RunArgs,
    plan: &Plan,
    folder: &Path,
    benchmark: &str,
    file: &Path,
    is_first: bool,
) -> anyhow::Result<How> {
    let config = plan.config.as_ref().map(|name| folder.join(name));
    let argv = argv(args, plan, config.as_deref(), benchmark, file, is_first);
    let program = std::env::current_exe().context("cannot find kprof's own program")?;
    let status = Command::new(&program).args(&argv[1..]).status().context("cannot start a benchmark")?;
    Ok(if status.success() { How::Measured } else { How::Failed(status.code()) })
}

/// What was done, and what to do about what was not.
fn summary(folder: &Path, plan: &Plan, all: &[Done], stopped: bool) -> anyhow::Result<()> {
    let said: Vec<String> = plan.benchmarks.iter().map(|b| said(b, all)).collect();
    output::print(&format!("\nkprof run  {}\n{}", folder.display(), lines(&said, "  ")))?;
    let again = format!("kprof run --resume {}", folder.display());
    if stopped || all.iter().any(|d| d.how == How::Failed(Some(i32::from(INTERRUPTED)))) {
        return Err(Interrupted(format!("what was measured is kept; go on: {again}")).into());
    }
    let failed: Vec<&str> =
        all.iter().filter(|d| matches!(d.how, How::Failed(_))).map(|d| d.benchmark.as_str()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    anyhow::bail!(
        "{} of {} benchmarks failed: {}; what went wrong is said above; try these again: {again}",
        failed.len(),
        plan.benchmarks.len(),
        failed.join(", ")
    )
}

fn said(benchmark: &str, all: &[Done]) -> String {
    let Some(done) = all.iter().find(|d| d.benchmark == benchmark) else {
        return format!("{benchmark:<11} not run");
    };
    let how = match done.how {
        How::Measured => "measured".to_string(),
        How::WasThere => "was complete".to_string(),
        How::Failed(Some(code)) => format!("failed, exit code {code}"),
        How::Failed(None) => "failed, ended by a signal".to_string(),
    };
    format!("{benchmark:<11} {how:<22} {}", done.file.display())
}
