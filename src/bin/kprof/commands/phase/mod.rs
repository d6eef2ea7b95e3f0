//! `kprof phase`: check, measure into a run file, report.

mod measure;
mod plan;
mod report;

use crate::args::PhaseArgs;
use crate::exit::Interrupted;
use crate::progress::Line;
use kprof::profile::read_run;

pub(crate) fn run(args: &PhaseArgs) -> anyhow::Result<()> {
    report::check(args)?;
    if let Some(file) = &args.load {
        return report::report(args, &read_run(file)?, false);
    }
    let plan = plan::plan(args)?;
    let mut line = Line::new(args.quiet);
    let run = measure::measure(args, &plan, &mut line)?;
    line.clear();
    if run.steps.is_empty() {
        return Err(Interrupted(format!("nothing was measured; {} holds the manifest only", run.file)).into());
    }
    report::report(args, &run, true)?;
    if run.complete {
        return Ok(());
    }
    Err(Interrupted(format!("{} holds what was measured until then", run.file)).into())
}
