//! Which phase and op a change comes from, so that the parts add up to the whole.

use super::report::{Contribution, StageChange};
use crate::roofline::{OpRow, PhaseRow, StageReport, WorkRow};

/// The parts of one stage's change. A part's time is its share of the instrumented step times the median plain step, so
/// that the four phases and `other` add up to the change that the verdict is about.
pub(super) fn stage_change(old: &StageReport, new: &StageReport) -> StageChange {
    let step = |stage: &StageReport| stage.plain_step_s.as_ref().map(|s| s.median);
    let (before, after) = (Side { step_s: step(old) }, Side { step_s: step(new) });
    let named = old.phases.named().into_iter().zip(new.phases.named());
    let phases = named
        .map(|((name, old), (_, new))| {
            let times = (before.time(old.share), after.time(new.share));
            contribution(name, times, (Some(&old.work), Some(&new.work)), before.step_s)
        })
        .collect();
    StageChange { stage: old.stage, phases, ops: ops((old, &before), (new, &after)) }
}

/// One side of a comparison.
struct Side {
    /// The median plain step.
    step_s: Option<f64>,
}

impl Side {
    fn time(&self, share: Option<f64>) -> Option<f64> {
        Some(share? * self.step_s?)
    }

    /// The times of a stage's ops by position. Medians of ops do not add up to the median of their phase, so they are
    /// scaled to it.
    fn ops(&self, stage: &StageReport) -> Vec<(OpRow, Option<f64>)> {
        let scaled = |op: &OpRow| {
            let of_phase = stage.ops.iter().filter(|o| o.phase == op.phase);
            let sum: f64 = of_phase.map(|o| o.share).sum::<Option<f64>>()?;
            let phase: &PhaseRow = stage.phases.get(op.phase);
            self.time(Some(op.share? * phase.share? / sum)).filter(|t| t.is_finite())
        };
        stage.ops.iter().map(|op| (op.clone(), scaled(op))).collect()
    }
}

/// Ops by phase and label. One that a side lacks (fused there, or not needed) has no time there, and the other side's
/// whole time is its change.
fn ops(old: (&StageReport, &Side), new: (&StageReport, &Side)) -> Vec<Contribution> {
    let (before, after) = (old.1.ops(old.0), new.1.ops(new.0));
    let same = |a: &OpRow, b: &OpRow| a.phase == b.phase && a.label == b.label;
    let step_s = old.1.step_s;
    let mut rows: Vec<Contribution> = Vec::new();
    for (op, time) in &before {
        let row = match after.iter().find(|(o, _)| same(o, op)) {
            Some((other, new_time)) => {
                contribution(&op.label, (*time, *new_time), (Some(&op.work), Some(&other.work)), step_s)
            }
            None => one_sided(contribution(&op.label, (*time, None), (Some(&op.work), None), step_s), step_s),
        };
        rows.push(Contribution { phase: Some(op.phase), ..row });
    }
    for (op, time) in after.iter().filter(|(op, _)| !before.iter().any(|(o, _)| same(o, op))) {
        let row = one_sided(contribution(&op.label, (None, *time), (None, Some(&op.work)), step_s), step_s);
        rows.push(Contribution { phase: Some(op.phase), ..row });
    }
    let size = |row: &Contribution| row.change_s.map_or(-1.0, f64::abs);
    rows.sort_by(|a, b| size(b).total_cmp(&size(a)));
    rows
}

/// The change of a part that one side lacks: all of it.
fn one_sided(row: Contribution, step_s: Option<f64>) -> Contribution {
    let change_s = row.new_s.or(row.old_s.map(|old| -old));
    Contribution { change_s, change_of_step: of_step(change_s, step_s), ..row }
}

fn of_step(change_s: Option<f64>, step_s: Option<f64>) -> Option<f64> {
    change_s.zip(step_s.filter(|s| *s > 0.0)).map(|(change, step)| change / step)
}

fn contribution(
    name: &str,
    (old_s, new_s): (Option<f64>, Option<f64>),
    (old, new): (Option<&WorkRow>, Option<&WorkRow>),
    step_s: Option<f64>,
) -> Contribution {
    let change_s = old_s.zip(new_s).map(|(old, new)| new - old);
    Contribution {
        name: name.to_string(),
        phase: None,
        old_s,
        new_s,
        change_s,
        change_of_step: of_step(change_s, step_s),
        old_flops: old.and_then(|w| w.flops),
        new_flops: new.and_then(|w| w.flops),
        old_bytes: old.and_then(|w| w.bytes),
        new_bytes: new.and_then(|w| w.bytes),
    }
}
