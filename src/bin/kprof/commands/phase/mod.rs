//! `kprof phase`: check, measure into a run file, report.

mod counters;
mod measure;
mod plan;
mod processes;
mod ranks;
mod report;

use crate::args::PhaseArgs;
use crate::baseline;
use crate::exit::{Interrupted, usage};
use crate::progress::Line;
use crate::rank;
use kprof::profile::{Run, RunFile, read_run_file};

pub(crate) fn run(args: &PhaseArgs) -> anyhow::Result<()> {
    report::check(args)?;
    check_baseline(args)?;
    if let Some(file) = &args.load {
        return match read_run_file(file)? {
            RunFile::One(run) => report::report(args, &run, false).and_then(|()| save(args, &run)),
            RunFile::Ranks(ranks) => ranks::report(args, &ranks),
        };
    }
    let plan = plan::plan(args)?;
    let mut line = Line::new(args.quiet);
    if args.part.is_some() {
        let run = measure::measure(args, &plan, &mut line)?;
        line.clear();
        let interrupted = || Interrupted("one process of several".to_string()).into();
        return if run.complete { Ok(()) } else { Err(interrupted()) };
    }
    let run = match args.processes {
        1 => measure::measure(args, &plan, &mut line)?,
        _ => processes::measure(args, &plan, &mut line)?,
    };
    line.clear();
    if run.steps.is_empty() {
        return Err(Interrupted(format!("nothing was measured; {} holds the manifest only", run.file)).into());
    }
    report::report(args, &run, true)?;
    if run.complete {
        return save(args, &run);
    }
    Err(Interrupted(format!(
        "{0} holds what was measured until then; kprof phase --load {0} reports it again",
        run.file
    ))
    .into())
}

/// A baseline is one run: ranks would each write it.
fn check_baseline(args: &PhaseArgs) -> anyhow::Result<()> {
    let named = args.save_baseline.as_ref().or(args.add_to_baseline.as_ref());
    match rank::one_of_several().filter(|_| args.load.is_none() && named.is_some()) {
        Some(rank) => Err(usage(format!(
            "a baseline is one file, and this is {}: leave it out here, join the ranks' files with kprof merge, and keep \
             that with kprof phase --load MERGED --save-baseline NAME",
            rank.name()
        ))),
        None => Ok(()),
    }
}

/// Keeps the run as a baseline, where that is asked for.
fn save(args: &PhaseArgs, run: &Run) -> anyhow::Result<()> {
    args.save_baseline.as_deref().map_or(Ok(()), |name| baseline::save(name, run))?;
    args.add_to_baseline.as_deref().map_or(Ok(()), |name| baseline::add(name, run))
}
