//! `kprof phase`: check, measure into a run file, report.

mod measure;
mod plan;
mod report;

use crate::args::PhaseArgs;
use crate::exit::Interrupted;
use crate::progress::Line;

pub(crate) fn run(args: &PhaseArgs) -> anyhow::Result<()> {
    let plan = plan::plan(args)?;
    report::check(args)?;
    let mut line = Line::new(args.quiet);
    let run = measure::measure(args, &plan, &mut line)?;
    line.clear();
    if run.steps.is_empty() {
        return Err(Interrupted(format!("nothing was measured; {} holds the manifest only", run.file)).into());
    }
    report::report(args, &run)?;
    if run.complete {
        return Ok(());
    }
    Err(Interrupted(format!("{} holds what was measured until then", run.file)).into())
}
