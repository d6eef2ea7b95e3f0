//! The roofline in its variants: what differs is which points are drawn, and what colours mean.

use super::super::{ChartOptions, Colors, Figure, roofline_chart};
use super::FigureInput;
use crate::hw::MemoryLevel;
use crate::roofline::{By, Launches, Level, Only, Point, Roofline, Selection, analyse_launches};

/// A point that the chart can place.
fn is_placed(point: &Point) -> bool {
    point.intensity().is_some_and(|i| i > 0.0) && point.achieved_flop_rate().is_some_and(|r| r > 0.0)
}

pub(super) fn all(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    input.roofline.points.iter().any(is_placed).then(|| roofline_chart(&input.roofline, options))
}

pub(super) fn versions(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let mut roofline = input.roofline.clone();
    roofline.points.retain(|p| p.level == Level::Stage && is_placed(p));
    let title = options.title.clone().or_else(|| Some("Roofline of whole steps".to_string()));
    let options = ChartOptions { colors: Colors::Version, title, ..options.clone() };
    (!roofline.points.is_empty()).then(|| roofline_chart(&roofline, &options))
}

pub(super) fn levels(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let mut roofline = input.roofline.clone();
    let deep = |p: &Point| {
        let known = [MemoryLevel::L2, MemoryLevel::L1].into_iter().any(|l| p.intensity_at(l).is_some());
        known && is_placed(p)
    };
    roofline.points.retain(deep);
    let levels = vec![MemoryLevel::Dram, MemoryLevel::L2, MemoryLevel::L1];
    let title = options.title.clone().or_else(|| Some("Hierarchical roofline".to_string()));
    let options = ChartOptions { levels, title, ..options.clone() };
    (!roofline.points.is_empty()).then(|| roofline_chart(&roofline, &options))
}

/// Each precision is a file of its own to the chart, so that it gets a colour of its own.
pub(super) fn precision(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let mut all = Roofline::default();
    for only in [Only::Fp64, Only::Fp32, Only::Fp16, Only::Tensor] {
        let name = only.name().unwrap_or_default();
        let launches = |_| Launches::new(By::Kernel, Selection::default(), only);
        let kernels_only = input.runs.iter().filter(|run| !run.kernels.is_empty());
        let mut part = analyse_launches(kernels_only.map(|run| (run, launches(run))), &input.ceilings);
        part.points.retain(|p| is_placed(p) && p.level == Level::Kernel);
        for point in &mut part.points {
            point.file = name.to_string();
        }
        if !part.points.is_empty() {
            all.files.push(name.to_string());
            all.points.append(&mut part.points);
        }
    }
    let title = options.title.clone().or_else(|| Some("Roofline by precision".to_string()));
    let options = ChartOptions { colors: Colors::Precision, title, ..options.clone() };
    (all.files.len() > 1).then(|| roofline_chart(&all, &options))
}

pub(super) fn changed(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let mut roofline = input.roofline.clone();
    let paired: Vec<usize> =
        crate::roofline::changes(&roofline).iter().flat_map(|c| [c.old, c.new]).collect();
    let keep = |i: usize, p: &Point| paired.contains(&i) && is_placed(p);
    roofline.points =
        roofline.points.into_iter().enumerate().filter(|(i, p)| keep(*i, p)).map(|(_, p)| p).collect();
    let title = options.title.clone().or_else(|| Some("Before and after".to_string()));
    let options = ChartOptions { title, ..options.clone() };
    (!roofline.points.is_empty()).then(|| roofline_chart(&roofline, &options))
}
