//! The time of each decode step over a generation.

use super::super::plane::{Division, Plane, Spec, Unit};
use super::super::sheet::{Head, Sheet};
use super::super::{ChartOptions, Figure};
use super::FigureInput;
use super::series::{Series, legend};
use crate::llm::Stage;
use crate::stats::Sample;
use std::collections::BTreeMap;

/// Of one output token: its number, and the quartiles and median of its step's time over repetitions.
struct Step {
    token: f64,
    low: f64,
    median: f64,
    high: f64,
}

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = input.series();
    let all: Vec<(&Series<'_>, Vec<Step>)> =
        series.iter().map(|s| (s, steps(s))).filter(|(_, steps)| steps.len() > 1).collect();
    if all.is_empty() {
        return None;
    }
    let shown: Vec<Series<'_>> = all.iter().map(|(s, _)| **s).collect();
    let legend = legend(&shown);
    let note = "median over repetitions, band from the lower to the upper quartile · plain twin";
    let head =
        Head { title: "Time of each decode step", note, legend: &legend, size: (900, 480), body: 120.0 };
    let mut sheet = Sheet::new(options, &head);
    let steps = || all.iter().flat_map(|(_, steps)| steps);
    let x = steps().map(|s| s.token).collect();
    let x = Spec::new("output token", Unit::Plain(""), Division::Near, x);
    let y = steps().flat_map(|s| [s.low, s.high]).collect();
    let plane = Plane::new(sheet.body, &x, &Spec::new("time of the step", Unit::Si("s"), Division::Near, y));
    plane.draw(&mut sheet.canvas);
    for (s, steps) in &all {
        let band: Vec<(f64, f64, f64)> = steps.iter().map(|s| (s.token, s.low, s.high)).collect();
        plane.band(&mut sheet.canvas, &band, s.color);
    }
    for (s, steps) in &all {
        let line: Vec<(f64, f64)> = steps.iter().map(|s| (s.token, s.median)).collect();
        s.line(&mut sheet.canvas, &plane, &line);
    }
    Some(sheet.finish())
}

fn steps(series: &Series<'_>) -> Vec<Step> {
    let mut times: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for step in series.plain_steps(Stage::Decode) {
        times.entry(step.step).or_default().push(step.time_s);
    }
    let step = |(token, times): (usize, Vec<f64>)| {
        let sample = Sample::new(times).ok()?;
        let at = |p| sample.percentile(p);
        Some(Step { token: token as f64 + 1.0, low: at(25.0), median: at(50.0), high: at(75.0) })
    };
    times.into_iter().filter_map(step).collect()
}
