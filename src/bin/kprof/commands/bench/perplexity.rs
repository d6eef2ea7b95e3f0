//! `kprof perplexity`: check, score into a run file, report.

mod plan;

use super::{complete, lines, paragraphs};
use crate::args::PerplexityArgs;
use crate::exit::Interrupted;
use crate::output::{self, Export};
use crate::progress::Line;
use crate::session::{Measure, Session, Settings};
use kprof::backend::Backend;
use kprof::compare::QualityReport;
use kprof::pass::Model;
use kprof::profile::{Record, Run, read_run};
use kprof::render;
use kprof::runner::{QualityScenario, RunnerError, Sink, measure_quality};
use plan::Plan;
use std::path::{Path, PathBuf};

pub(crate) fn run(args: &PerplexityArgs) -> anyhow::Result<()> {
    let places = [json_path(args), args.tables.export_csv.clone(), args.tables.export_markdown.clone()];
    output::check_writable(places.iter().flatten().map(PathBuf::as_path))?;
    if let Some(file) = &args.load {
        let run = read_run(file)?;
        return report(args, &run, false);
    }
    let plan = plan::plan(args)?;
    let mut line = Line::new(args.quiet);
    let run = session(args, &plan).run(&mut Quality(&plan), &mut line)?;
    line.clear();
    if run.qualities.is_empty() {
        return Err(Interrupted(format!("no window was scored; {} holds the manifest only", run.file)).into());
    }
    report(args, &run, true)?;
    complete(&run)
}

fn session<'a>(args: &'a PerplexityArgs, plan: &'a Plan) -> Session<'a> {
    Session {
        model: &args.model,
        chosen: &plan.chosen,
        settings: Settings {
            benchmark: "perplexity",
            prompt_length: 1,
            tokens: plan.text.ids.len(),
            lengths: Vec::new(),
            batch: 1,
            warmup: 0,
            repetitions: 1,
            max_time_s: None,
            versions: plan.versions.clone(),
        },
        output: args.output.as_deref(),
        ceilings: false,
        telemetry: false,
        ledger: false,
    }
}

struct Quality<'a>(&'a Plan);

impl Measure for Quality<'_> {
    fn measure<B: Backend>(
        &mut self,
        backend: &mut B,
        model: &Model<B>,
        sink: &mut Sink<'_>,
    ) -> Result<(), RunnerError> {
        let plan = self.0;
        (sink.record)(Record::Text(plan.record.clone()))?;
        for finding in &plan.findings {
            (sink.record)(Record::Finding(finding.clone()))?;
        }
        let scenario = QualityScenario {
            text: &plan.text,
            windows: plan.windows.clone(),
            versions: &plan.versions,
            reference: &plan.reference,
            one_pass: plan.one_pass,
        };
        measure_quality(backend, model, &scenario, sink)
    }
}

fn json_path(args: &PerplexityArgs) -> Option<PathBuf> {
    if args.json { Some(Path::new("-").to_path_buf()) } else { args.tables.export_json.clone() }
}

fn report(args: &PerplexityArgs, run: &Run, fresh: bool) -> anyhow::Result<()> {
    let report = QualityReport::new(run);
    if report.versions.is_empty() {
        anyhow::bail!("{} has no scored tokens: it is no run of `kprof perplexity`", run.file);
    }
    let json = json_path(args);
    let bytes = |text: String| Ok(text.into_bytes());
    let exports = [
        Export { path: &json, make: &|| bytes(render::quality_json(&report, run)) },
        Export { path: &args.tables.export_csv, make: &|| bytes(render::quality_csv(&report)) },
        Export {
            path: &args.tables.export_markdown,
            make: &|| bytes(render::quality_markdown(&report, run)),
        },
    ];
    if !output::takes_stdout(&exports) {
        output::print(&table(&report, run))?;
    }
    if fresh {
        eprintln!("wrote {}", run.file);
    }
    output::write_exports(&exports)
}

fn table(report: &QualityReport, run: &Run) -> String {
    paragraphs([
        format!("{}\n", render::quality_heading(report, run)),
        render::quality_table(report).to_terminal(output::width()),
        lines(&render::quality_lines(report), ""),
        render::findings(&report.findings, output::color(), output::wrap_width()),
    ])
}
