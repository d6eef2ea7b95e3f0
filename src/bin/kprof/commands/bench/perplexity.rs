//! `kprof perplexity`: check, score into a run file, report.

mod plan;

use super::drive::{Benchmark, Out, Shown, drive};
use crate::args::PerplexityArgs;
use crate::progress::Line;
use crate::session::{Measure, Session, Settings};
use kprof::backend::Backend;
use kprof::compare::QualityReport;
use kprof::pass::Model;
use kprof::profile::{Record, Run};
use kprof::render;
use kprof::runner::{QualityScenario, RunnerError, Sink, measure_quality};
use kprof::scaling::RankQuantity;
use plan::Plan;

pub(crate) fn run(args: &PerplexityArgs) -> anyhow::Result<()> {
    drive(args)
}

impl Benchmark for PerplexityArgs {
    type Plan = Plan;

    const NAME: &'static str = "perplexity";

    const OVER_RANKS: RankQuantity = RankQuantity::Perplexity;

    fn out(&self) -> Out<'_> {
        Out::new(&self.out, Some(&self.log))
    }

    fn plan(&self) -> anyhow::Result<Self::Plan> {
        plan::plan(self)
    }

    fn measure(&self, plan: &Self::Plan, line: &mut Line) -> anyhow::Result<Run> {
        session(self, plan).run(&mut Quality(plan), line)
    }

    fn report(&self, run: &Run) -> Option<Shown> {
        let report = QualityReport::new(run);
        (!report.versions.is_empty()).then(|| Shown {
            heading: render::quality_heading(&report, run),
            tables: vec![render::quality_table(&report)],
            said: render::quality_lines(&report),
            json: render::quality_json(&report, run),
            csv: render::quality_csv(&report),
            findings: report.findings,
        })
    }
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
        output: args.out.output.as_deref(),
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
