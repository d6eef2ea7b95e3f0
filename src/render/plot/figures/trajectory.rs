//! How decode steps move over the roofline as the context or the batch grows: a line for each version.

use super::super::{ChartOptions, Colors, Figure, roofline_chart};
use super::FigureInput;
use super::series::Series;
use crate::llm::Stage;
use crate::profile::Measured;
use crate::roofline::{Level, Point, Roofline};
use crate::stats::Sample;
use std::collections::BTreeMap;

/// Points of a line; between them it goes on as it does.
const MOST: usize = 8;

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = input.series();
    let mut roofline = Roofline::default();
    let mut moved = false;
    let mut versions: Vec<&str> = series.iter().map(|s| s.version).collect();
    versions.dedup();
    for version in versions {
        if roofline.files.iter().any(|f| f == version) {
            continue;
        }
        let of_version = || series.iter().filter(|s| s.version == version);
        let mut steps: BTreeMap<(usize, usize), Point> = BTreeMap::new();
        of_version().for_each(|s| steps.extend(points(input, s)));
        moved |= steps.len() > 1;
        let batches = steps.keys().any(|(batch, _)| Some(*batch) != steps.keys().next().map(|k| k.0));
        for ((batch, context), mut point) in thinned(steps) {
            point.group = Some(if batches {
                format!("{version} at {context} x{batch}")
            } else {
                format!("{version} at {context}")
            });
            roofline.points.push(point);
        }
        roofline.files.push(version.to_string());
    }
    if !moved {
        return None;
    }
    let title = options.title.clone().or_else(|| Some("Decode steps as the context grows".to_string()));
    let options = ChartOptions { colors: Colors::Version, title, joined: true, ..options.clone() };
    Some(roofline_chart(&roofline, &options))
}

/// The points of a run's decode steps, by batch and context: work by formula, time the median over repetitions.
fn points(input: &FigureInput, series: &Series<'_>) -> BTreeMap<(usize, usize), Point> {
    let template = input.roofline.points.iter().find(|p| {
        let of_series = p.file == series.run.file && p.version.as_deref() == Some(series.version);
        of_series && p.level == Level::Stage && p.stage == Some(Stage::Decode)
    });
    let (Some(template), Some(plan)) = (template, series.run.plan(series.version, Stage::Decode)) else {
        return BTreeMap::new();
    };
    let mut times: BTreeMap<(usize, usize), (Vec<f64>, crate::llm::StepShape)> = BTreeMap::new();
    for step in series.plain_steps(Stage::Decode) {
        let key = (step.shape.batch, step.shape.context);
        times.entry(key).or_insert_with(|| (Vec::new(), step.shape)).0.push(step.time_s);
    }
    let point = |(key, (times, shape)): ((usize, usize), (Vec<f64>, crate::llm::StepShape))| {
        let work = plan.work(None, &shape);
        let time = Sample::new(times).ok()?.median();
        let mut point = template.clone();
        point.level = Level::Group;
        point.file = series.version.to_string();
        point.time = Some(Measured::new(time, "plain twin: median over repetitions"));
        point.bytes = Some(Measured::new(work.bytes().0, "analytic: Op::work"));
        point.flops.total = Some(Measured::new(work.flops().0, "analytic: Op::work"));
        Some((key, point))
    };
    times.into_iter().filter_map(point).collect()
}

/// The first, the last, and evenly between them.
fn thinned<K: Ord, V>(all: BTreeMap<K, V>) -> Vec<(K, V)> {
    let last = all.len().saturating_sub(1);
    let count = all.len().min(MOST);
    let kept: Vec<usize> = (0..count).map(|i| i * last / (count - 1).max(1)).collect();
    all.into_iter().enumerate().filter(|(i, _)| kept.contains(i)).map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_the_ends() {
        let all: BTreeMap<usize, ()> = (0..100).map(|i| (i, ())).collect();
        let kept: Vec<usize> = thinned(all).into_iter().map(|(i, ())| i).collect();
        assert_eq!((kept.len(), kept[0], kept[7]), (8, 0, 99));
        let few: BTreeMap<usize, ()> = (0..1).map(|i| (i, ())).collect();
        assert_eq!(thinned(few).len(), 1);
    }
}
