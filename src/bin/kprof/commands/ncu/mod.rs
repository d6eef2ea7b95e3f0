//! `kprof ncu`: prepare, run, look at what happened, and hand the results to `kprof roofline`.

mod own;
mod prepare;

use super::roofline::{self, Given};
use crate::args::{NcuArgs, RooflineArgs};
use crate::exit::Interrupted;
use crate::interrupt;
use crate::output;
use crate::progress::Line;
use kprof::attach::ncu::{self, AttachError, Ended, Ending, Launch, Output, Problem, Progress, Seen};
use kprof::render;
use prepare::Plan;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

/// How much of a log is shown when nobody knows what is wrong.
const LOG_END: usize = 400;

pub(crate) fn run(args: &NcuArgs) -> anyhow::Result<()> {
    roofline::check(&args.roofline.0)?;
    let plan = prepare::plan(args)?;
    if args.dry_run {
        return dry_run(&plan);
    }
    if let Some(obstacle) = plan.obstacle {
        return Err(obstacle.into());
    }
    eprintln!("Nsight Compute {}: {}", prepare::version(&plan), prepare::shown(&plan));
    let ended = launch(args, &plan)?;
    let problems = ncu::problems(&ended.log, &plan.permission);
    if !has_results(&plan.output) {
        return Err(nothing(args, &plan, ended, problems));
    }
    report(args, &plan, &problems)?;
    say_where(&plan.output, args.output.is_some());
    afterwards(&ended, &problems)
}

/// The command on stdout, and what is to be known about it on stderr.
fn dry_run(plan: &Plan) -> anyhow::Result<()> {
    output::print(&format!("{}\n", prepare::shown(plan)))?;
    if let Some(obstacle) = &plan.obstacle {
        eprintln!("it could not be run here: {obstacle}");
    }
    eprint!("{}", render::findings(&plan.findings, false, output::stderr_width()));
    Ok(())
}

fn launch(args: &NcuArgs, plan: &Plan) -> Result<Ended, AttachError> {
    let mut line = Line::new(args.quiet);
    let total = args.launch_count;
    let mut seen = |seen: Seen<'_>| match seen {
        Seen::Progress(progress) => line.update(&describe(progress, total)),
        Seen::Stderr(bytes) => {
            line.clear();
            // What the program prints is passed on as it is; if nobody takes it, it runs all the same.
            let _ = std::io::stderr().write_all(bytes);
        }
    };
    let how = Launch {
        // Results go to stdout, so the program's own output must not; that of our own passes is of times under ncu.
        stdout: if plan.run.is_some() { Stdio::null() } else { Stdio::from(std::io::stderr()) },
        timeout: args.timeout.map(|t| Duration::from_secs_f64(t.0)),
        stop: interrupt::flag(),
        seen: &mut seen,
    };
    let ended = ncu::launch(&plan.ncu, &plan.arguments, &plan.output, how);
    line.clear();
    ended
}

/// `kernel 12 of 20  gemm_kernel  50 %  8 passes`.
fn describe(p: &Progress, total: Option<u64>) -> String {
    if p.kernels == 0 {
        return format!("ncu: {} processes, no kernel yet", p.processes);
    }
    let of = total.map(|n| format!(" of {n}")).unwrap_or_default();
    let passes = p.passes.map(|n| format!("  {n} passes")).unwrap_or_default();
    format!(
        "ncu: kernel {}{of}  {} %{passes}  {}",
        p.kernels,
        p.percent,
        kprof::profile::short_name(&p.kernel)
    )
}

/// Whether there is a report, or a table with a header.
fn has_results(output: &Output) -> bool {
    match output {
        Output::Report { report, .. } => std::fs::metadata(report).is_ok_and(|m| m.len() > 0),
        Output::Csv(path) => std::fs::read(path)
            .is_ok_and(|text| text.split(|b| *b == b'\n').any(|l| l.starts_with(b"\"ID\""))),
    }
}

/// Why there is nothing: what the log says, else how it ended.
fn nothing(args: &NcuArgs, plan: &Plan, ended: Ended, problems: Vec<Problem>) -> anyhow::Error {
    let serious = problems.into_iter().find(|p| !p.harmless);
    match (ended.ending, serious) {
        (Ending::Interrupted, _) => Interrupted("no kernel was profiled until then".to_string()).into(),
        (Ending::TimedOut, _) => {
            AttachError::TimedOut { seconds: args.timeout.map(|t| t.0).unwrap_or_default() }.into()
        }
        (_, Some(problem)) => AttachError::Problem(Box::new(problem)).into(),
        (Ending::Exited(status), None) => {
            keep_log(args, plan);
            let log = ended.log.trim();
            let start = log.char_indices().rev().nth(LOG_END).map_or(0, |(at, _)| at);
            let log = log[start..].replace('\n', " | ");
            AttachError::Silent { status: status.to_string(), log }.into()
        }
    }
}

/// Says where the whole log is, if it stays.
fn keep_log(args: &NcuArgs, plan: &Plan) {
    if args.output.is_some() {
        eprintln!("the log is {}", plan.output.log().display());
    }
}

/// The table and chart of what was profiled.
fn report(args: &NcuArgs, plan: &Plan, problems: &[Problem]) -> anyhow::Result<()> {
    let results = plan.output.results().to_path_buf();
    let files = std::iter::once(results).chain(args.roofline.0.files.iter().cloned()).collect();
    // What was filtered by ncu is not filtered again.
    let view = RooflineArgs { files, kernel: None, nvtx: None, ..args.roofline.0.clone() };
    let ranges = args.roofline.0.nvtx.is_some() || !args.nvtx_include.is_empty();
    let given = Given {
        findings: plan.findings.iter().cloned().chain(problems.iter().map(Problem::finding)).collect(),
        stage: args.stage.filter(|_| ranges),
        // Of kprof's own passes, only that stage was profiled.
        only_stage: args.stage.filter(|_| !ranges && plan.run.is_none()),
        marked: plan.run.clone().filter(|run| run.exists()),
    };
    roofline::run_with(&view, given)
}

fn say_where(output: &Output, kept: bool) {
    match output {
        Output::Report { report, log } if kept => {
            eprintln!("wrote {} and {}", report.display(), log.display())
        }
        Output::Csv(path) if kept => eprintln!("wrote {}", path.display()),
        _ => eprintln!("the report is not kept; --output FOLDER keeps it"),
    }
}

/// What the exit code has to tell although there are results.
fn afterwards(ended: &Ended, problems: &[Problem]) -> anyhow::Result<()> {
    match ended.ending {
        Ending::Interrupted => Err(Interrupted("what was profiled until then is above".to_string()).into()),
        Ending::TimedOut => {
            Err(anyhow::anyhow!("--timeout ended the program; what was profiled until then is above"))
        }
        Ending::Exited(status) if !status.success() => match problems.iter().find(|p| !p.harmless) {
            Some(problem) => Err(AttachError::Problem(Box::new(problem.clone())).into()),
            None => {
                Err(anyhow::anyhow!("the program ended with {status}; what was profiled until then is above"))
            }
        },
        Ending::Exited(_) => Ok(()),
    }
}
