//! `kprof memory`: check, measure into a run file, report.

use super::{
    LENGTHS, Out, Written, check_positions, chosen, complete, lengths, lines, paragraphs, positive, write,
};
use crate::args::MemoryArgs;
use crate::exit::Interrupted;
use crate::model::Chosen;
use crate::output;
use crate::progress::Line;
use crate::session::{Measure, Session, Settings};
use kprof::backend::Backend;
use kprof::pass::Model;
use kprof::profile::{Run, read_run};
use kprof::render;
use kprof::runner::{MemoryScenario, MemoryShape, RunnerError, Sink, measure_memory};
use kprof::scaling::MemoryReport;

pub(crate) fn run(args: &MemoryArgs) -> anyhow::Result<()> {
    Out::of(&args.bench).check()?;
    if let Some(file) = &args.bench.load {
        let run = read_run(file)?;
        return report(args, &run, false);
    }
    let (chosen, scenario) = plan(args)?;
    let mut line = Line::new(args.bench.quiet);
    let run = session(args, &chosen, &scenario).run(&mut Memory(&scenario), &mut line)?;
    line.clear();
    if run.memory.is_empty() {
        return Err(Interrupted(format!("nothing was measured; {} holds the manifest only", run.file)).into());
    }
    report(args, &run, true)?;
    complete(&run)
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
        output: args.bench.output.as_deref(),
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

fn report(args: &MemoryArgs, run: &Run, fresh: bool) -> anyhow::Result<()> {
    let Some(report) = MemoryReport::new(run) else {
        anyhow::bail!("{} has no memory records: it is no run of `kprof memory`", run.file);
    };
    let heading = format!("{}\n", render::memory_heading(&report));
    let table = || {
        let (width, wrap) = (output::width(), output::wrap_width());
        paragraphs([
            heading.clone(),
            render::memory_table(&report).to_terminal(width),
            lines(&render::memory_lines(&report), ""),
            render::findings(&report.findings, output::color(), wrap),
        ])
    };
    let markdown = || {
        let said = lines(&render::memory_lines(&report), "- ");
        paragraphs([heading.clone(), render::memory_table(&report).to_markdown(), said])
    };
    let written = Written {
        table: &table,
        json: &|| render::memory_json(&report),
        csv: &|| render::memory_csv(&report),
        markdown: &markdown,
    };
    write(&Out::of(&args.bench), run, fresh, &written)
}
