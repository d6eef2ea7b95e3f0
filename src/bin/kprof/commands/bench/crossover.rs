//! `kprof crossover`: check, measure into a run file, report.

use super::{Out, Written, check_positions, complete, lengths, lines, paragraphs, positive, write};
use crate::args::{CrossoverArgs, LogArgs};
use crate::exit::{Interrupted, usage};
use crate::model::{Chosen, choose};
use crate::output;
use crate::progress::Line;
use crate::session::{Measure, Session, Settings};
use crate::versions::named;
use kprof::backend::Backend;
use kprof::pass::Model;
use kprof::profile::{Run, read_run};
use kprof::render;
use kprof::runner::{CrossoverScenario, MemoryShape, RunnerError, Sink, measure_crossover};
use kprof::scaling::CrossoverReport;

/// The contexts where none are named.
const CONTEXTS: [usize; 5] = [64, 128, 256, 512, 1024];

pub(crate) fn run(args: &CrossoverArgs) -> anyhow::Result<()> {
    out(args).check()?;
    if let Some(file) = &args.load {
        let run = read_run(file)?;
        return report(args, &run, false);
    }
    let (chosen, scenario) = plan(args)?;
    let mut line = Line::new(args.quiet);
    let run = session(args, &chosen, &scenario).run(&mut Crossover(&scenario), &mut line)?;
    line.clear();
    if run.decode_points.is_empty() {
        return Err(Interrupted(format!("nothing was measured; {} holds the manifest only", run.file)).into());
    }
    report(args, &run, true)?;
    complete(&run)
}

/// The nanoGPT benchmark knows of no crossovers: there is no log.
fn out(args: &CrossoverArgs) -> Out<'_> {
    Out { json: args.json, tables: &args.tables, log: &NO_LOG }
}

static NO_LOG: LogArgs = LogArgs::NONE;

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
        weights: args.model.weights,
    };
    chosen.check_memory(&args.model, &versions, &shape)?;
    let schedule = args.schedule.schedule(args.model.seed);
    Ok((chosen, CrossoverScenario { versions, contexts, batches, steps: args.steps, schedule }))
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
        output: args.output.as_deref(),
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

fn report(args: &CrossoverArgs, run: &Run, fresh: bool) -> anyhow::Result<()> {
    let Some(report) = CrossoverReport::new(run, &[]) else {
        anyhow::bail!("{} has no decode steps of two versions: it is no run of `kprof crossover`", run.file);
    };
    let heading = format!("{}\n", render::crossover_heading(&report));
    let table = || {
        let (width, wrap) = (output::width(), output::wrap_width());
        paragraphs([
            heading.clone(),
            render::crossover_table(&report).to_terminal(width),
            render::stage_table(&report).to_terminal(width),
            lines(&render::crossover_lines(&report), ""),
            render::findings(&report.findings, output::color(), wrap),
        ])
    };
    let markdown = || {
        let said = lines(&render::crossover_lines(&report), "- ");
        let (points, stages) = (render::crossover_table(&report), render::stage_table(&report));
        paragraphs([heading.clone(), points.to_markdown(), stages.to_markdown(), said])
    };
    let written = Written {
        table: &table,
        json: &|| render::crossover_json(&report),
        csv: &|| render::crossover_csv(&report),
        markdown: &markdown,
    };
    write(&out(args), run, fresh, &written)
}
