//! Decode steps by their shape: how a step moves over the roofline as the context or the batch grows.

use super::attainable::Bound;
use super::ceilings::CeilingSet;
use super::point::{Level, Point};
use super::steps::{Context, step_floor};
use crate::hw::Ceiling;
use crate::llm::{Stage, StepShape};
use crate::profile::{Measured, Run, Twin};
use crate::stats::Sample;
use std::collections::BTreeMap;

/// The decode steps of one version at one batch and context, as a point.
#[derive(Clone, Debug, PartialEq)]
pub struct ShapePoint {
    /// The version.
    pub version: String,
    /// Sequences.
    pub batch: usize,
    /// Tokens per sequence that the step attends to.
    pub context: usize,
    /// Work by formula, time the median of what was measured without marks.
    pub point: Point,
}

/// The decode steps of a run by version, batch and context, in that order: those of generations (plain twin), or those of
/// `kprof crossover`. `chosen` ceilings come before the run's own.
pub fn decode_shapes(run: &Run, chosen: &[Ceiling]) -> Vec<ShapePoint> {
    let threads = run.manifest.as_ref().and_then(|m| m.device.threads);
    let probed = CeilingSet::for_threads(&run.ceilings, threads);
    let probed: Vec<Ceiling> = probed.distinct().into_iter().cloned().collect();
    let ceilings = CeilingSet::new(chosen.to_vec()).or(&probed);
    let context = Context::of(run, ceilings);
    let of = |((version, _, _), (shape, times)): ((&str, usize, usize), (StepShape, Vec<f64>))| {
        let plan = run.plan(version, Stage::Decode)?;
        let time_s = Sample::new(times).ok()?.median();
        let work = plan.work(None, &shape);
        let floor = step_floor(plan, &shape, &context.ceilings);
        let analytic = |value| Some(Measured::new(value, "analytic: Op::work"));
        let point = Point {
            level: Level::Group,
            time: Some(Measured::new(time_s, "plain: median over repetitions")),
            floor,
            used_ceilings: context.used(Some(&work)),
            bound: floor.map_or(Bound::Unknown, |f| f.bound(Some(time_s))),
            ..context.step(version, Stage::Decode, analytic(work.flops().0), analytic(work.bytes().0))
        };
        Some(ShapePoint { version: version.to_string(), batch: shape.batch, context: shape.context, point })
    };
    times(run).into_iter().filter_map(of).collect()
}

type Times<'a> = BTreeMap<(&'a str, usize, usize), (StepShape, Vec<f64>)>;

fn times(run: &Run) -> Times<'_> {
    let mut all: Times<'_> = BTreeMap::new();
    let mut add = |version, shape: StepShape, time_s| {
        let key = (version, shape.batch, shape.context);
        all.entry(key).or_insert_with(|| (shape, Vec::new())).1.push(time_s);
    };
    for step in run.steps.iter().filter(|s| s.stage == Stage::Decode && s.twin == Twin::Plain) {
        add(step.version.as_str(), step.shape, step.time_s);
    }
    for p in &run.decode_points {
        // Without a cache, a step computes every token again.
        let new_tokens = if recomputes(run, &p.version) { p.context } else { 1 };
        add(p.version.as_str(), StepShape { batch: p.batch, new_tokens, context: p.context }, p.time_s);
    }
    all
}

fn recomputes(run: &Run, version: &str) -> bool {
    let config = run.manifest.as_ref().and_then(|m| m.config.as_ref());
    config.is_some_and(|c| c.versions.iter().any(|v| v.name == version && !v.use_cache))
}

#[cfg(test)]
mod tests {
    use super::super::samples::phase_run;
    use super::*;
    use crate::profile::{DecodePointRecord, TimingMethod};

    #[test]
    fn every_shape_is_a_point_of_its_own_work_and_median_time() {
        let mut run = phase_run();
        let steps = decode_shapes(&run, &[]);
        let v1: Vec<&ShapePoint> = steps.iter().filter(|s| s.version == "v1").collect();
        assert!(!v1.is_empty() && v1.iter().all(|s| s.point.floor.is_some()), "{v1:?}");
        run.steps.clear();
        let at = |batch, context, time_s| DecodePointRecord {
            version: "v1".into(),
            context,
            batch,
            repetition: 0,
            time_s,
            steps: 5,
            method: TimingMethod::HostClock,
        };
        run.decode_points = vec![at(2, 10, 3e-3), at(1, 20, 2e-3), at(1, 10, 1e-3), at(1, 10, 2e-3)];
        let found = decode_shapes(&run, &[]);
        let keys: Vec<(usize, usize)> = found.iter().map(|s| (s.batch, s.context)).collect();
        assert_eq!(keys, [(1, 10), (1, 20), (2, 10)]);
        assert_eq!(found[0].point.time.as_ref().unwrap().value, 1.5e-3);
        // Weights are read once for both sequences, so that the larger batch has the higher intensity.
        assert!(found[2].point.intensity().unwrap() > found[0].point.intensity().unwrap());
    }
}
