//! `kprof capacity`: check, search, report.

use super::drive::{Benchmark, Out, Shown, drive};
use super::{check_positions, chosen, positive};
use crate::args::{CapacityArgs, SearchArg};
use crate::exit::usage;
use crate::model::Chosen;
use crate::progress::Line;
use crate::session::{Measure, Session, Settings};
use kprof::backend::Backend;
use kprof::hw::available_memory;
use kprof::pass::Model;
use kprof::profile::Run;
use kprof::render;
use kprof::runner::{CapacityScenario, RunnerError, Sink, account_capacity, measure_capacity};
use kprof::scaling::{CapacityReport, RankQuantity};
use kprof::units::Bytes;

/// The context where none is named.
const CONTEXT: usize = 1024;

pub(crate) fn run(args: &CapacityArgs) -> anyhow::Result<()> {
    drive(args)
}

impl Benchmark for CapacityArgs {
    type Plan = (Chosen, CapacityScenario);

    const NAME: &'static str = "capacity";

    const OVER_RANKS: RankQuantity = RankQuantity::Batch;

    fn out(&self) -> Out<'_> {
        Out::new(&self.bench.out, Some(&self.bench.log))
    }

    fn plan(&self) -> anyhow::Result<Self::Plan> {
        plan(self)
    }

    fn measure(&self, (chosen, scenario): &Self::Plan, line: &mut Line) -> anyhow::Result<Run> {
        session(self, chosen, scenario).run(&mut Capacity { scenario, chosen, search: self.search }, line)
    }

    fn report(&self, run: &Run) -> Option<Shown> {
        let report = CapacityReport::new(run)?;
        Some(Shown {
            heading: render::capacity_heading(&report),
            tables: vec![render::capacity_table(&report)],
            said: render::capacity_lines(&report),
            json: render::capacity_json(&report),
            csv: render::capacity_csv(&report),
            findings: report.findings,
        })
    }
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
        output: args.bench.out.output.as_deref(),
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
