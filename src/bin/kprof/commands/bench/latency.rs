//! `kprof latency`: check, measure into a run file, report.

use super::drive::{Benchmark, Out, Shown, drive};
use super::{LENGTHS, check_positions, chosen, lengths, positive};
use crate::args::LatencyArgs;
use crate::model::Chosen;
use crate::progress::Line;
use crate::session::{Measure, Session, Settings};
use kprof::backend::Backend;
use kprof::pass::Model;
use kprof::profile::Run;
use kprof::render;
use kprof::runner::{LatencyScenario, MemoryShape, RunnerError, Sink, measure_latency};
use kprof::scaling::{LatencyReport, RankQuantity};

pub(crate) fn run(args: &LatencyArgs) -> anyhow::Result<()> {
    drive(args)
}

impl Benchmark for LatencyArgs {
    type Plan = (Chosen, LatencyScenario);

    const NAME: &'static str = "latency";

    const OVER_RANKS: RankQuantity = RankQuantity::GenerationTime;

    fn out(&self) -> Out<'_> {
        Out::new(&self.bench.out, Some(&self.bench.log))
    }

    fn plan(&self) -> anyhow::Result<Self::Plan> {
        plan(self)
    }

    fn measure(&self, (chosen, scenario): &Self::Plan, line: &mut Line) -> anyhow::Result<Run> {
        session(self, chosen, scenario).run(&mut Latency(scenario), line)
    }

    fn report(&self, run: &Run) -> Option<Shown> {
        let report = LatencyReport::new(run)?;
        Some(Shown {
            heading: render::latency_heading(&report),
            tables: vec![render::latency_by_length_table(&report), render::growth_table(&report)],
            said: render::growth_lines(&report),
            json: render::latency_json(&report),
            csv: render::latency_csv(&report),
            findings: report.findings,
        })
    }
}

/// A model and a scenario that fit each other.
pub(crate) fn plan(args: &LatencyArgs) -> anyhow::Result<(Chosen, LatencyScenario)> {
    positive(&[("--prompt-length", args.prompt_length)])?;
    let (chosen, versions) = chosen(&args.bench)?;
    let fits = |t: usize| args.prompt_length + t - 1 <= chosen.spec.max_position_embeddings;
    let lengths = lengths(args.lengths.as_ref(), &LENGTHS, fits);
    let scenario = LatencyScenario {
        versions,
        prompt_length: args.prompt_length,
        lengths,
        batch: args.bench.batch,
        schedule: args.schedule.schedule(args.bench.model.seed),
    };
    let flags = format!("--prompt-length {} and the largest of --lengths", args.prompt_length);
    check_positions(scenario.capacity(), &chosen.spec, &flags)?;
    let shape = MemoryShape {
        batch: scenario.batch,
        new_tokens: scenario.prompt_length,
        capacity: scenario.capacity(),
        all_logits: false,
        is_reference: chosen.is_reference(),
        on_gpu: chosen.device.is_cuda(),
        weights: args.bench.model.weights,
    };
    chosen.check_memory(&args.bench.model, &scenario.versions, &shape)?;
    Ok((chosen, scenario))
}

fn session<'a>(args: &'a LatencyArgs, chosen: &'a Chosen, scenario: &LatencyScenario) -> Session<'a> {
    Session {
        model: &args.bench.model,
        chosen,
        settings: Settings {
            benchmark: "latency",
            prompt_length: scenario.prompt_length,
            tokens: scenario.lengths.iter().copied().max().unwrap_or(1),
            lengths: scenario.lengths.clone(),
            batch: scenario.batch,
            warmup: scenario.schedule.warmup,
            repetitions: scenario.schedule.least,
            max_time_s: scenario.schedule.max_time_s,
            versions: scenario.versions.clone(),
        },
        output: args.bench.out.output.as_deref(),
        ceilings: false,
        telemetry: !args.no_telemetry,
        ledger: false,
    }
}

struct Latency<'a>(&'a LatencyScenario);

impl Measure for Latency<'_> {
    fn measure<B: Backend>(
        &mut self,
        backend: &mut B,
        model: &Model<B>,
        sink: &mut Sink<'_>,
    ) -> Result<(), RunnerError> {
        measure_latency(backend, model, self.0, sink).map(drop)
    }
}
