//! The analytic work that an export's kernels are expected to have done.

use crate::llm::{Phase, Stage, StepShape, Work};
use crate::profile::{Finding, FindingCode, PlanRecord, Run};
use crate::roofline::Served;
use crate::roofline::join::work::classes;

/// An op of a step, all its layers together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExpectedOp {
    pub(super) label: String,
    pub(super) phase: Phase,
    pub(super) classes: &'static [&'static str],
    pub(super) work: Work,
}

/// The work of the steps of one stage that an export is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    pub(super) against: String,
    pub(super) version: Option<String>,
    pub(super) stage: Option<Stage>,
    /// How many steps counters are divided by.
    pub(super) steps: f64,
    /// Per step.
    pub(super) ops: Vec<ExpectedOp>,
}

impl Expected {
    /// Of the steps that a run marked for a profiler, one per version and stage.
    pub fn of_run(run: &Run) -> Vec<Self> {
        let profiled = run.manifest.as_ref().and_then(|m| m.profiled.as_ref());
        let Some(profiled) = profiled else { return Vec::new() };
        let of_plan = |plan: &PlanRecord| {
            let step = match plan.stage {
                Stage::Prefill => 0,
                Stage::Decode => profiled.decode_step?,
            };
            let is_it = |s: &&crate::profile::StepRecord| {
                s.version == plan.version && s.stage == plan.stage && s.step == step
            };
            let shape = run.steps.iter().find(is_it)?.shape;
            Some(Self {
                against: run.file.clone(),
                version: Some(plan.version.clone()),
                stage: Some(plan.stage),
                steps: 1.0,
                ops: of_plan(plan, &shape),
            })
        };
        run.plans.iter().filter(|p| profiled.stages.contains(&p.stage)).filter_map(of_plan).collect()
    }

    /// Of a model as it was served: the steps that `served` counts, one entry per stage if `by_stage`.
    pub fn of_model(served: &Served<'_>, by_stage: bool) -> Vec<Self> {
        let Some(counts) = served.steps else { return Vec::new() };
        let stages = [(Stage::Prefill, counts.prefill), (Stage::Decode, counts.decode)];
        let stages: Vec<(Stage, u64)> = stages.into_iter().filter(|(_, steps)| *steps > 0).collect();
        let one = |stage, steps: u64, ops| Self {
            against: described(served),
            version: None,
            stage,
            steps: steps as f64,
            ops,
        };
        if by_stage || stages.len() < 2 {
            let mean = |(stage, steps)| one(Some(stage), steps, of_model(served, stage, steps, true));
            return stages.into_iter().map(mean).collect();
        }
        let ops = stages.into_iter().flat_map(|(stage, steps)| of_model(served, stage, steps, false));
        vec![one(None, 1, merged(ops))]
    }

    /// Drops what an earlier run has as well, and says so: which of them was profiled is not to be guessed.
    pub fn without_repeats(all: Vec<Self>) -> (Vec<Self>, Vec<Finding>) {
        let mut kept: Vec<Self> = Vec::new();
        let mut findings = Vec::new();
        for one in all {
            let same = kept.iter().find(|k| (&k.version, k.stage) == (&one.version, one.stage));
            let Some(first) = same.filter(|first| first.ops != one.ops) else {
                if same.is_none() {
                    kept.push(one);
                }
                continue;
            };
            let message = format!(
                "this run and {} both marked a step of {} for a profiler, and the steps differ: counters are checked \
                 against the first",
                first.against,
                place(one.version.as_deref(), one.stage)
            );
            let remedy = "give the export and the run that it is of";
            findings.push(
                Finding::new(FindingCode::Disagreement, one.against.clone(), message).with_remedy(remedy),
            );
        }
        (kept, findings)
    }
}

/// `v1 decode`.
pub(super) fn place(version: Option<&str>, stage: Option<Stage>) -> String {
    let stage = stage.map_or("all steps", Stage::name);
    version.map_or_else(|| stage.to_string(), |version| format!("{version} {stage}"))
}

/// `llama-2-7b bf16, batch 8 prompt 512`.
fn described(served: &Served<'_>) -> String {
    let Served { model, deployment, batch, prompt, .. } = served;
    let tp = match deployment.tensor_parallel {
        1 => String::new(),
        ranks => format!(", one of {ranks} ranks"),
    };
    format!("{} {}, batch {batch} prompt {prompt}{tp}", model.name, deployment.weights)
}

fn of_plan(plan: &PlanRecord, shape: &StepShape) -> Vec<ExpectedOp> {
    merged(plan.ops.iter().map(|op| ExpectedOp {
        label: op.label.clone(),
        phase: op.phase,
        classes: classes(&op.op),
        work: op.op.work(shape),
    }))
}

/// The sum over `steps` steps, or their mean.
fn of_model(served: &Served<'_>, stage: Stage, steps: u64, mean: bool) -> Vec<ExpectedOp> {
    let factor = if mean { 1.0 / steps as f64 } else { 1.0 };
    let shape = |step: u64| served.shape(stage, usize::try_from(step).unwrap_or(usize::MAX));
    merged(served.model.ops(&served.deployment, stage).iter().map(|op| ExpectedOp {
        label: op.label.to_string(),
        phase: op.phase,
        classes: classes(&op.op),
        work: (1..=steps).map(|step| op.cost(&shape(step)).work).sum::<Work>().scaled(factor),
    }))
}

/// Ops of one label together, in the order of the first of each.
fn merged(ops: impl Iterator<Item = ExpectedOp>) -> Vec<ExpectedOp> {
    let mut out: Vec<ExpectedOp> = Vec::new();
    for op in ops {
        match out.iter_mut().find(|o| o.label == op.label) {
            Some(known) => known.work += op.work,
            None => out.push(op),
        }
    }
    out
}
