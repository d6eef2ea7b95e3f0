//! An estimate as points of a roofline chart: at the rates that the ceilings allow.

use super::{Estimate, EstimatePoint, StageEstimate, WorkEstimate};
use crate::llm::{Phase, Stage};
use crate::profile::Measured;
use crate::roofline::{CeilingSet, FlopCounts, LaunchedAs, Level, Origin, Point, Roofline};

const SOURCE: &str = "analytic: floor of weights, cache and matrix products";

/// The chart of an estimate. With several batches or contexts a point is a whole step, one series per context and
/// stage; with one of each a point is a phase.
pub fn estimate_points(estimate: &Estimate) -> Roofline {
    let mut roofline = Roofline::default();
    let single = estimate.points.len() == 1;
    for point in &estimate.points {
        let series = format!("context {}", point.context);
        if !roofline.files.contains(&series) {
            roofline.files.push(series.clone());
        }
        for (stage, of) in [(Stage::Prefill, &point.prefill), (Stage::Decode, &point.decode)] {
            roofline.points.extend(stage_points(estimate, point, stage, of, &series, single));
        }
    }
    roofline
}

fn stage_points(
    estimate: &Estimate,
    point: &EstimatePoint,
    stage: Stage,
    of: &StageEstimate,
    series: &str,
    single: bool,
) -> Vec<Point> {
    if single {
        let phases = of.phases.iter().filter(|p| p.work.matmul_flops > 0.0);
        let rows = phases.map(|p| (Some(p.phase), &p.work)).chain([(None, &of.total)]);
        return rows.map(|(phase, work)| chart_point(estimate, stage, phase, None, work, series)).collect();
    }
    let several = estimate.points.iter().any(|p| p.context != point.context);
    let context = if several { format!(" at {}", point.context) } else { String::new() };
    let group = Some(format!("{stage} batch {}{context}", point.batch));
    vec![chart_point(estimate, stage, None, group, &of.total, series)]
}

fn chart_point(
    estimate: &Estimate,
    stage: Stage,
    phase: Option<Phase>,
    group: Option<String>,
    work: &WorkEstimate,
    series: &str,
) -> Point {
    let analytic = |value: f64| Some(Measured::new(value, SOURCE));
    let level = match (&group, phase) {
        (Some(_), _) => Level::Group,
        (None, Some(_)) => Level::Phase,
        (None, None) => Level::Stage,
    };
    let used = [&estimate.bandwidth, &estimate.linear_ceiling, &estimate.attention_ceiling];
    let total = analytic(work.matmul_flops);
    Point {
        level,
        file: series.to_string(),
        launch: None,
        kernel: None,
        short_name: None,
        group,
        launches: 1,
        launched: LaunchedAs::default(),
        device: Some(estimate.device.clone()),
        version: None,
        stage: Some(stage),
        phase,
        class: None,
        time: analytic(work.floor_s),
        share: None,
        bytes: analytic(work.weight_bytes + work.cache_bytes),
        byte_origin: Origin::Analytic,
        l2_bytes: None,
        l1_bytes: None,
        dram_percent: None,
        sm_percent: None,
        rates: None,
        flops: FlopCounts { total, ..FlopCounts::default() },
        flop_origin: Origin::Analytic,
        flops_complete: true,
        traced: false,
        missing: Vec::new(),
        floor: None,
        bound: work.bound,
        used_ceilings: used.iter().map(|c| c.name()).collect(),
        ceilings: CeilingSet::new(used.into_iter().cloned().collect()),
    }
}
