//! How decode steps move over the roofline as the context or the batch grows: a line for each version.

use super::super::{ChartOptions, Colors, Figure, roofline_chart};
use super::FigureInput;
use crate::roofline::{Point, Roofline, ShapePoint, decode_shapes};
use std::collections::BTreeMap;

/// Points of a line; between them it goes on as it does.
const MOST: usize = 8;

/// Contexts whose largest is less than so many times their smallest are one place on the chart.
const APART: usize = 2;

/// The steps of a version: by batch, then by context.
type Steps = BTreeMap<usize, BTreeMap<usize, Point>>;

/// A line: its name, and its points with theirs.
type Line = (String, Vec<(String, Point)>);

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let mut versions: Vec<(String, Steps)> = Vec::new();
    for step in input.runs.iter().flat_map(|run| decode_shapes(run, &input.ceilings.chosen)) {
        let ShapePoint { version, batch, context, point } = step;
        let at = versions.iter().position(|(name, _)| *name == version).unwrap_or_else(|| {
            versions.push((version, Steps::new()));
            versions.len() - 1
        });
        versions[at].1.entry(batch).or_default().insert(context, point);
    }
    let lines: Vec<Line> = versions.iter().flat_map(|(version, steps)| lines(version, steps)).collect();
    if lines.iter().all(|(_, points)| points.len() < 2) {
        return None;
    }
    let along = if versions.iter().any(|(_, steps)| is_along_batch(steps)) { "batch" } else { "context" };
    let mut roofline = Roofline::default();
    for (name, points) in lines {
        for (group, point) in points {
            roofline.points.push(Point { group: Some(group), file: name.clone(), ..point });
        }
        roofline.files.push(name);
    }
    let title = options.title.clone().or_else(|| Some(format!("Decode steps as the {along} grows")));
    let options = ChartOptions { colors: Colors::Version, title, joined: true, ..options.clone() };
    Some(roofline_chart(&roofline, &options))
}

/// Whether batches are what steps differ in: there are several, each at contexts that are close to each other.
fn is_along_batch(steps: &Steps) -> bool {
    let close = |contexts: &BTreeMap<usize, Point>| {
        let (first, last) = (contexts.keys().next(), contexts.keys().next_back());
        first.zip(last).is_some_and(|(first, last)| *last < APART * first)
    };
    steps.len() > 1 && steps.values().all(close)
}

/// A line along the context for each batch; along the batch where that is what differs.
fn lines(version: &str, steps: &Steps) -> Vec<Line> {
    if is_along_batch(steps) {
        // At the largest context that all have, else each at its own largest.
        let common = |c: &&usize| steps.values().all(|contexts| contexts.contains_key(*c));
        let context = steps.values().next().and_then(|contexts| contexts.keys().rev().find(common));
        let at = |(batch, contexts): (&usize, &BTreeMap<usize, Point>)| {
            let last = contexts.last_key_value()?;
            let (context, point) = context.and_then(|c| contexts.get_key_value(c)).unwrap_or(last);
            Some((format!("{version} batch {batch} at {context}"), point.clone()))
        };
        return vec![(version.to_string(), thinned(steps.iter().filter_map(at).collect()))];
    }
    let several = steps.len() > 1;
    let line = |(batch, contexts): (&usize, &BTreeMap<usize, Point>)| {
        let name = if several { format!("{version} batch {batch}") } else { version.to_string() };
        let points = contexts.iter().map(|(context, point)| (format!("{name} at {context}"), point.clone()));
        let points = thinned(points.collect());
        (name, points)
    };
    steps.iter().map(line).collect()
}

/// The first, the last, and evenly between them.
fn thinned<T>(all: Vec<T>) -> Vec<T> {
    let last = all.len().saturating_sub(1);
    let count = all.len().min(MOST);
    let kept: Vec<usize> = (0..count).map(|i| i * last / (count - 1).max(1)).collect();
    all.into_iter().enumerate().filter(|(i, _)| kept.contains(i)).map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roofline::samples::phase_run;

    #[test]
    fn thinning_keeps_the_ends() {
        let kept = thinned((0..100).collect());
        assert_eq!((kept.len(), kept[0], kept[7]), (8, 0, 99));
        assert_eq!(thinned(vec![0]).len(), 1);
    }

    #[test]
    fn a_line_goes_along_what_differs() {
        let point = decode_shapes(&phase_run(), &[]).remove(0).point;
        let steps = |all: &[(usize, usize)]| {
            let mut steps = Steps::new();
            for (batch, context) in all {
                steps.entry(*batch).or_default().insert(*context, point.clone());
            }
            lines("v1", &steps)
        };
        let names = |lines: &[Line]| -> Vec<String> {
            lines.iter().flat_map(|(_, points)| points.iter().map(|(name, _)| name.clone())).collect()
        };
        assert_eq!(names(&steps(&[(1, 32), (1, 64)])), ["v1 at 32", "v1 at 64"]);
        let batches = steps(&[(1, 33), (1, 40), (4, 33), (4, 47)]);
        assert_eq!(names(&batches), ["v1 batch 1 at 33", "v1 batch 4 at 33"]);
        let grid = steps(&[(1, 64), (1, 256), (4, 64), (4, 256)]);
        assert_eq!(
            grid.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["v1 batch 1", "v1 batch 4"]
        );
        assert_eq!(names(&grid)[3], "v1 batch 4 at 256");
    }
}
