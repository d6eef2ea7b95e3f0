//! `kprof phase`: check, measure into a run file, report.

mod counters;
mod measure;
mod plan;
mod processes;
mod report;

use crate::args::PhaseArgs;
use crate::baseline;
use crate::exit::Interrupted;
use crate::progress::Line;
use kprof::profile::{Run, read_run};

pub(crate) fn run(args: &PhaseArgs) -> anyhow::Result<()> {
    report::check(args)?;
    if let Some(file) = &args.load {
        let run = read_run(file)?;
        report::report(args, &run, false)?;
        return save(args, &run);
    }
    let plan = plan::plan(args)?;
    let mut line = Line::new(args.quiet);
    if let Some(part) = &args.part {
        let args = PhaseArgs { output: Some(part.clone()), ..args.clone() };
        let run = measure::measure(&args, &plan, &mut line)?;
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

/// Keeps the run as a baseline, where that is asked for.
fn save(args: &PhaseArgs, run: &Run) -> anyhow::Result<()> {
    args.save_baseline.as_deref().map_or(Ok(()), |name| baseline::save(name, run))?;
    args.add_to_baseline.as_deref().map_or(Ok(()), |name| baseline::add(name, run))
}
