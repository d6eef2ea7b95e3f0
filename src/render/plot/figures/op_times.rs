//! The time of each op in each layer, of a version's steps.

use super::series::Series;
use crate::llm::{Phase, Stage};
use crate::profile::Twin;
use crate::roofline::Repetitions;

/// The ops of one label in one layer, or outside all layers.
pub(super) struct OpTime {
    pub(super) label: String,
    pub(super) phase: Phase,
    pub(super) layer: Option<usize>,
    /// Seconds per step: the mean over steps, the median over repetitions.
    pub(super) time_s: f64,
}

/// The stage to look into: decode, where it was measured.
pub(super) fn stage_of(series: &Series<'_>) -> Option<Stage> {
    let measured = |stage: &Stage| series.stage(*stage).is_some_and(|s| s.phases.total.time_s.is_some());
    [Stage::Decode, Stage::Prefill].into_iter().find(measured)
}

/// In the order of the plan; `None` where no plan or no instrumented step is there.
pub(super) fn op_times(series: &Series<'_>, stage: Stage) -> Option<Vec<OpTime>> {
    let plan = series.run.plan(series.version, stage)?;
    let marked = Repetitions::of(series.run, series.version, stage, Twin::Instrumented);
    let mut groups: Vec<(&str, Phase, Option<usize>, Vec<usize>)> = Vec::new();
    for (i, op) in plan.ops.iter().enumerate() {
        match groups.iter_mut().find(|(label, _, layer, _)| *label == op.label && *layer == op.layer) {
            Some((_, _, _, indices)) => indices.push(i),
            None => groups.push((&op.label, op.phase, op.layer, vec![i])),
        }
    }
    let time = |(label, phase, layer, indices): (&str, Phase, Option<usize>, Vec<usize>)| {
        let sample = marked.means(|step| indices.iter().map(|i| step.op_time_s.get(*i).copied()).sum())?;
        Some(OpTime { label: label.to_string(), phase, layer, time_s: sample.median() })
    };
    groups.into_iter().map(time).collect()
}
