//! `kprof latency`: check, measure into a run file, report.

use super::{
    LENGTHS, Out, Written, check_positions, chosen, complete, lengths, lines, paragraphs, positive, write,
};
use crate::args::LatencyArgs;
use crate::exit::Interrupted;
use crate::model::Chosen;
use crate::output;
use crate::progress::Line;
use crate::session::{Measure, Session, Settings};
use kprof::backend::Backend;
use kprof::pass::Model;
use kprof::profile::{Run, read_run};
use kprof::render;
use kprof::runner::{LatencyScenario, MemoryShape, RunnerError, Sink, measure_latency};
use kprof::scaling::LatencyReport;

pub(crate) fn run(args: &LatencyArgs) -> anyhow::Result<()> {
    Out::of(&args.bench).check()?;
    if let Some(file) = &args.bench.load {
        let run = read_run(file)?;
        return report(args, &run, false);
    }
    let (chosen, scenario) = plan(args)?;
    let mut line = Line::new(args.bench.quiet);
    let session = session(args, &chosen, &scenario);
    let run = session.run(&mut Latency(&scenario), &mut line)?;
    line.clear();
    if run.latencies.is_empty() {
        return Err(Interrupted(format!("nothing was measured; {} holds the manifest only", run.file)).into());
    }
    report(args, &run, true)?;
    complete(&run)
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
        output: args.bench.output.as_deref(),
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

fn report(args: &LatencyArgs, run: &Run, fresh: bool) -> anyhow::Result<()> {
    let Some(report) = LatencyReport::new(run) else {
        anyhow::bail!("{} has no timed generations: it is no run of `kprof latency`", run.file);
    };
    let heading = format!("{}\n", render::latency_heading(&report));
    let (points, growth) = (render::latency_by_length_table(&report), render::growth_table(&report));
    let table = || {
        let (width, wrap) = (output::width(), output::wrap_width());
        paragraphs([
            heading.clone(),
            points.to_terminal(width),
            growth.to_terminal(width),
            lines(&render::growth_lines(&report), ""),
            render::findings(&report.findings, output::color(), wrap),
        ])
    };
    let markdown = || {
        let said = lines(&render::growth_lines(&report), "- ");
        paragraphs([heading.clone(), points.to_markdown(), growth.to_markdown(), said])
    };
    let written = Written {
        table: &table,
        json: &|| render::latency_json(&report),
        csv: &|| render::latency_csv(&report),
        markdown: &markdown,
    };
    write(&Out::of(&args.bench), run, fresh, &written)
}
