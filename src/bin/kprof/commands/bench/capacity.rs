//! `kprof capacity`: check, search, report.

use super::{Out, Written, check_positions, chosen, complete, lines, paragraphs, positive, write};
use crate::args::{CapacityArgs, SearchArg};
use crate::exit::{Interrupted, usage};
use crate::model::Chosen;
use crate::output;
use crate::progress::Line;
use crate::session::{Measure, Session, Settings};
use kprof::backend::Backend;
use kprof::hw::available_memory;
use kprof::pass::Model;
use kprof::profile::{Run, read_run};
use kprof::render;
use kprof::runner::{CapacityScenario, RunnerError, Sink, account_capacity, measure_capacity};
use kprof::scaling::CapacityReport;
use kprof::units::Bytes;

/// The context where none is named.
const CONTEXT: usize = 1024;

pub(crate) fn run(args: &CapacityArgs) -> anyhow::Result<()> {
    Out::of(&args.bench).check()?;
    if let Some(file) = &args.bench.load {
        let run = read_run(file)?;
        return report(args, &run, false);
    }
    let (chosen, scenario) = plan(args)?;
    let mut line = Line::new(args.bench.quiet);
    let run = session(args, &chosen, &scenario)
        .run(&mut Capacity { scenario: &scenario, chosen: &chosen, search: args.search }, &mut line)?;
    line.clear();
    if run.capacities.is_empty() {
        return Err(Interrupted(format!("nothing was found; {} holds the manifest only", run.file)).into());
    }
    report(args, &run, true)?;
    complete(&run)
}

/// A model and a scenario that fit each other.
pub(crate) fn plan(args: &CapacityArgs) -> anyhow::Result<(Chosen, CapacityScenario)> {
    positive(&[("--context", args.context.unwrap_or(1)), ("--most", args.most)])?;
    let (chosen, versions) = chosen(&args.bench)?;
    if chosen.device.is_cuda() {
        // Its search and its budget are over the memory of this process.
        return Err(usage("capacity is not measured on a GPU: use --device cpu, or kprof estimate"));
    }
    let context = args.context.unwrap_or_else(|| CONTEXT.min(chosen.spec.max_position_embeddings));
    check_positions(context, &chosen.spec, &format!("--context {context}"))?;
    if let (SearchArg::Run, Some(available)) = (args.search, available_memory())
        && args.budget.0 > available
    {
        let (budget, available) = (args.budget, Bytes(available));
        return Err(usage(format!(
            "--budget {budget} is more than the {available} that this machine has left; lower it, or ask the formulas: \
             --search account"
        )));
    }
    let scenario = CapacityScenario {
        versions,
        context,
        budget_bytes: args.budget.0,
        most: args.most,
        is_reference: chosen.is_reference(),
        weights: args.bench.model.weights,
    };
    Ok((chosen, scenario))
}

fn session<'a>(args: &'a CapacityArgs, chosen: &'a Chosen, scenario: &CapacityScenario) -> Session<'a> {
    Session {
        model: &args.bench.model,
        chosen,
        settings: Settings {
            benchmark: "capacity",
            prompt_length: scenario.context,
            tokens: 1,
            repetitions: 1,
            versions: scenario.versions.clone(),
            ..Settings::default()
        },
        output: args.bench.output.as_deref(),
        ceilings: false,
        telemetry: false,
        ledger: true,
    }
}

struct Capacity<'a> {
    scenario: &'a CapacityScenario,
    chosen: &'a Chosen,
    search: SearchArg,
}

impl Measure for Capacity<'_> {
    fn only_accounts(&self) -> bool {
        self.search == SearchArg::Account
    }

    fn account<B: Backend>(&mut self, backend: &B, sink: &mut Sink<'_>) -> Result<(), RunnerError> {
        account_capacity(&self.chosen.spec, backend.dtype(), self.scenario, sink)
    }

    fn measure<B: Backend>(
        &mut self,
        backend: &mut B,
        model: &Model<B>,
        sink: &mut Sink<'_>,
    ) -> Result<(), RunnerError> {
        measure_capacity(backend, model, self.scenario, sink)
    }
}

fn report(args: &CapacityArgs, run: &Run, fresh: bool) -> anyhow::Result<()> {
    let Some(report) = CapacityReport::new(run) else {
        anyhow::bail!("{} has no capacities: it is no run of `kprof capacity`", run.file);
    };
    let heading = format!("{}\n", render::capacity_heading(&report));
    let table = || {
        let (width, wrap) = (output::width(), output::wrap_width());
        paragraphs([
            heading.clone(),
            render::capacity_table(&report).to_terminal(width),
            lines(&render::capacity_lines(&report), ""),
            render::findings(&report.findings, output::color(), wrap),
        ])
    };
    let markdown = || {
        let said = lines(&render::capacity_lines(&report), "- ");
        paragraphs([heading.clone(), render::capacity_table(&report).to_markdown(), said])
    };
    let written = Written {
        table: &table,
        json: &|| render::capacity_json(&report),
        csv: &|| render::capacity_csv(&report),
        markdown: &markdown,
    };
    write(&Out::of(&args.bench), run, fresh, &written)
}
