//! `kprof capacity`: check, search, report.

use super::drive::{Benchmark, Out, Shown, drive};
use super::{check_positions, chosen, positive};
use crate::args::{CapacityArgs, SearchArg};
use crate::exit::usage;
use crate::gpu::{self, Device};
use crate::model::Chosen;
use crate::progress::Line;
use crate::session::{Measure, Session, Settings};
use kprof::backend::Backend;
use kprof::hw::available_memory;
use kprof::pass::Model;
use kprof::profile::{DeviceBudget, Run};
use kprof::render;
use kprof::runner::{CapacityScenario, RunnerError, Sink, account_capacity, measure_capacity};
use kprof::scaling::{CapacityReport, RankQuantity};
use kprof::units::Bytes;

/// The context where none is named.
const CONTEXT: usize = 1024;
/// The budget where none is named and no GPU says what it has: 4 GiB.
const BUDGET: Bytes = Bytes(4_294_967_296.0);

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
    if chosen.device.is_cuda() && chosen.is_reference() {
        return Err(usage(
            "what candle holds on a GPU is not counted: leave --implementation candle out, or ask kprof estimate",
        ));
    }
    let context = args.context.unwrap_or_else(|| CONTEXT.min(chosen.spec.max_position_embeddings));
    check_positions(context, &chosen.spec, &format!("--context {context}"))?;
    let (budget, device_budget) = budget(args, &chosen.device)?;
    let scenario = CapacityScenario {
        versions,
        context,
        budget_bytes: budget.0,
        device_budget,
        most: args.most,
        is_reference: chosen.is_reference(),
        on_gpu: chosen.device.is_cuda(),
        weights: args.bench.model.weights,
    };
    Ok((chosen, scenario))
}

/// The budget asked for, which there must be memory for where steps are run; else a round one, or of a GPU what is free.
fn budget(args: &CapacityArgs, device: &Device) -> anyhow::Result<(Bytes, Option<DeviceBudget>)> {
    let (of_device, place) = match device {
        Device::Cuda(device) => {
            let (free, total) = gpu::open(device)?.memory()?;
            (Some(DeviceBudget::of(free as f64, total as f64)), "GPU")
        }
        Device::Cpu | Device::Fake => (None, "machine"),
    };
    let Some(budget) = args.budget else {
        return Ok(of_device.map_or((BUDGET, None), |free| (Bytes(free.bytes()), Some(free))));
    };
    let available = of_device.map_or_else(available_memory, |free| Some(free.free_bytes));
    match available {
        Some(available) if args.search == SearchArg::Run && budget.0 > available => Err(usage(format!(
            "--budget {budget} is more than the {} that this {place} has left; lower it, or ask the formulas: --search \
             account",
            Bytes(available)
        ))),
        _ => Ok((budget, None)),
    }
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
