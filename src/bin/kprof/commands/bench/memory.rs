//! `kprof memory`: check, measure into a run file, report.

use super::drive::{Benchmark, Out, Shown, drive};
use super::{LENGTHS, check_positions, chosen, lengths, positive};
use crate::args::MemoryArgs;
use crate::model::Chosen;
use crate::progress::Line;
use crate::session::{Measure, Session, Settings};
use kprof::backend::Backend;
use kprof::pass::Model;
use kprof::profile::Run;
use kprof::render;
use kprof::runner::{MemoryScenario, MemoryShape, RunnerError, Sink, measure_memory};
use kprof::scaling::{MemoryReport, RankQuantity};

pub(crate) fn run(args: &MemoryArgs) -> anyhow::Result<()> {
    drive(args)
}

impl Benchmark for MemoryArgs {
    type Plan = (Chosen, MemoryScenario);

    const NAME: &'static str = "memory";

    const OVER_RANKS: RankQuantity = RankQuantity::Peak;

    fn out(&self) -> Out<'_> {
        Out::new(&self.bench.out, Some(&self.bench.log))
    }

    fn plan(&self) -> anyhow::Result<Self::Plan> {
        plan(self)
    }

    fn measure(&self, (chosen, scenario): &Self::Plan, line: &mut Line) -> anyhow::Result<Run> {
        session(self, chosen, scenario).run(&mut Memory(scenario), line)
    }

    fn report(&self, run: &Run) -> Option<Shown> {
        let report = MemoryReport::new(run)?;
        Some(Shown {
            heading: render::memory_heading(&report),
            tables: vec![render::memory_table(&report)],
            said: render::memory_lines(&report),
            json: render::memory_json(&report),
            csv: render::memory_csv(&report),
            findings: report.findings,
        })
    }
}

/// A model and a scenario that fit each other.
pub(crate) fn plan(args: &MemoryArgs) -> anyhow::Result<(Chosen, MemoryScenario)> {
    positive(&[
        ("--prompt-length", args.prompt_length),
        ("--repetitions", args.repetitions),
        ("--capacity", args.capacity.unwrap_or(1)),
    ])?;
    let (chosen, versions) = chosen(&args.bench)?;
    let fits = |t: usize| args.prompt_length + t - 1 <= chosen.spec.max_position_embeddings;
    let lengths = lengths(args.lengths.as_ref(), &LENGTHS, fits);
    let longest = lengths.iter().copied().max().unwrap_or(1);
    let scenario = MemoryScenario {
        versions,
        prompt_length: args.prompt_length,
        lengths,
        batch: args.bench.batch,
        seed: args.bench.model.seed,
        repetitions: args.repetitions,
        capacity: args.capacity,
    };
    let needed = scenario.capacity_for(longest);
    let flags = format!("--prompt-length {}, the largest of --lengths and --capacity", args.prompt_length);
    check_positions(needed, &chosen.spec, &flags)?;
    let shape = MemoryShape {
        batch: scenario.batch,
        new_tokens: scenario.prompt_length,
        capacity: needed,
        all_logits: false,
        is_reference: chosen.is_reference(),
        on_gpu: chosen.device.is_cuda(),
        weights: args.bench.model.weights,
    };
    // One version's caches stand at a time.
    for version in scenario.versions.chunks(1) {
        chosen.check_memory(&args.bench.model, version, &shape)?;
    }
    Ok((chosen, scenario))
}

fn session<'a>(args: &'a MemoryArgs, chosen: &'a Chosen, scenario: &MemoryScenario) -> Session<'a> {
    Session {
        model: &args.bench.model,
        chosen,
        settings: Settings {
            benchmark: "memory",
            prompt_length: scenario.prompt_length,
            tokens: scenario.lengths.iter().copied().max().unwrap_or(1),
            lengths: scenario.lengths.clone(),
            batch: scenario.batch,
            repetitions: scenario.repetitions,
            versions: scenario.versions.clone(),
            ..Settings::default()
        },
        output: args.bench.out.output.as_deref(),
        ceilings: false,
        telemetry: false,
        ledger: true,
    }
}

struct Memory<'a>(&'a MemoryScenario);

impl Measure for Memory<'_> {
    fn measure<B: Backend>(
        &mut self,
        backend: &mut B,
        model: &Model<B>,
        sink: &mut Sink<'_>,
    ) -> Result<(), RunnerError> {
        measure_memory(backend, model, self.0, sink)
    }
}
