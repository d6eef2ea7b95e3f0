//! `kprof crossover`: check, measure into a run file, report.

use super::drive::{Benchmark, Out, Shown, drive};
use super::{check_positions, lengths, positive};
use crate::args::CrossoverArgs;
use crate::exit::usage;
use crate::model::{Chosen, choose};
use crate::progress::Line;
use crate::session::{Measure, Session, Settings};
use crate::versions::named;
use kprof::backend::Backend;
use kprof::pass::Model;
use kprof::profile::Run;
use kprof::render;
use kprof::runner::{CrossoverScenario, MemoryShape, RunnerError, Sink, measure_crossover};
use kprof::scaling::{CrossoverReport, RankQuantity};

/// The contexts where none are named.
const CONTEXTS: [usize; 5] = [64, 128, 256, 512, 1024];

pub(crate) fn run(args: &CrossoverArgs) -> anyhow::Result<()> {
    drive(args)
}

impl Benchmark for CrossoverArgs {
    type Plan = (Chosen, CrossoverScenario);

    const NAME: &'static str = "crossover";

    const OVER_RANKS: RankQuantity = RankQuantity::StepTime;

    fn out(&self) -> Out<'_> {
        // The nanoGPT benchmark knows of no crossovers: there is no log.
        Out::new(&self.out, None)
    }

    fn plan(&self) -> anyhow::Result<Self::Plan> {
        plan(self)
    }

    fn measure(&self, (chosen, scenario): &Self::Plan, line: &mut Line) -> anyhow::Result<Run> {
        session(self, chosen, scenario).run(&mut Crossover(scenario), line)
    }

    fn report(&self, run: &Run) -> Option<Shown> {
        let report = CrossoverReport::new(run, &[])?;
        Some(Shown {
            heading: render::crossover_heading(&report),
            tables: vec![render::crossover_table(&report), render::stage_table(&report)],
            said: render::crossover_lines(&report),
            json: render::crossover_json(&report),
            csv: render::crossover_csv(&report),
            findings: report.findings,
        })
    }
}

/// A model and a scenario that fit each other.
fn plan(args: &CrossoverArgs) -> anyhow::Result<(Chosen, CrossoverScenario)> {
    positive(&[("--steps", args.steps)])?;
    if args.old == args.new {
        return Err(usage(format!("{} is compared with itself: name two versions, such as v1 v2", args.old)));
    }
    let versions = named(&args.versions_file, &[args.old.clone(), args.new.clone()])?;
    let chosen = choose(&args.model)?;
    versions.iter().try_for_each(|version| version.check_model(&chosen.spec)).map_err(usage)?;
    let fits = |c: usize| c <= chosen.spec.max_position_embeddings;
    let contexts = lengths(args.contexts.as_ref(), &CONTEXTS, fits);
    let batches = args.batches.0.clone();
    if let Some(short) = contexts.iter().find(|c| **c < 2) {
        return Err(usage(format!("--contexts {short}: a decode step attends to 2 tokens at least")));
    }
    let longest = contexts.iter().copied().max().unwrap_or(2);
    check_positions(longest, &chosen.spec, "the largest of --contexts")?;
    let shape = MemoryShape {
        batch: batches.iter().copied().max().unwrap_or(1),
        new_tokens: longest,
        capacity: longest,
        all_logits: false,
        is_reference: chosen.is_reference(),
        on_gpu: chosen.device.is_cuda(),
        weights: args.model.weights,
    };
    chosen.check_memory(&args.model, &versions, &shape)?;
    let schedule = args.schedule.schedule(args.model.seed);
    let (steps, refine) = (args.steps, args.refine);
    Ok((chosen, CrossoverScenario { versions, contexts, batches, refine, steps, schedule }))
}

fn session<'a>(args: &'a CrossoverArgs, chosen: &'a Chosen, scenario: &CrossoverScenario) -> Session<'a> {
    let most = |all: &[usize]| all.iter().copied().max().unwrap_or(1);
    Session {
        model: &args.model,
        chosen,
        settings: Settings {
            benchmark: "crossover",
            prompt_length: most(&scenario.contexts) - 1,
            tokens: 2,
            lengths: scenario.contexts.clone(),
            batch: most(&scenario.batches),
            warmup: scenario.schedule.warmup,
            repetitions: scenario.schedule.least,
            max_time_s: scenario.schedule.max_time_s,
            versions: scenario.versions.clone(),
        },
        output: args.out.output.as_deref(),
        ceilings: true,
        telemetry: false,
        ledger: false,
    }
}

struct Crossover<'a>(&'a CrossoverScenario);

impl Measure for Crossover<'_> {
    fn measure<B: Backend>(
        &mut self,
        backend: &mut B,
        model: &Model<B>,
        sink: &mut Sink<'_>,
    ) -> Result<(), RunnerError> {
        measure_crossover(backend, model, self.0, sink)
    }
}
