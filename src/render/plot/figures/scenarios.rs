//! The time of a whole generation in each run, by version: a group of bars for each scenario.

use super::super::bars::{Bar, places};
use super::super::plane::{Division, Plane, Spec, Unit};
use super::super::sheet::{Head, Sheet};
use super::super::{ChartOptions, Figure};
use super::FigureInput;
use super::series::{Series, legend};
use crate::llm::Stage;
use crate::profile::Run;
use crate::stats::{Sample, Summary};

/// The seed of bootstrap intervals, so that a run gives the same figure every time.
const SEED: u64 = 0;

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = input.series();
    let timed: Vec<(&Series<'_>, Summary)> =
        series.iter().filter_map(|s| Some((s, generation(s)?))).collect();
    if timed.is_empty() {
        return None;
    }
    let mut runs: Vec<&Run> = Vec::new();
    for (s, _) in &timed {
        if !runs.iter().any(|r| std::ptr::eq(*r, s.run)) {
            runs.push(s.run);
        }
    }
    let legend = legend(&timed.iter().map(|(s, _)| **s).collect::<Vec<_>>());
    let note = "prefill and all decode steps · median over repetitions, 95 % intervals · plain twin";
    let head =
        Head { title: "Time of a generation", note, legend: &legend[..1], size: (900, 480), body: 120.0 };
    let mut sheet = Sheet::new(options, &head);
    let names = Spec::names(runs.iter().map(|run| scenario(run, &timed)).collect());
    let values = timed.iter().flat_map(|(_, t)| [Some(t.median), t.interval.map(|i| i.high)]).flatten();
    let y = Spec::new("time of a generation", Unit::Si("s"), Division::Zero, values.collect());
    let plane = Plane::new(sheet.body, &names, &y);
    plane.draw(&mut sheet.canvas);
    for (i, run) in runs.iter().enumerate() {
        let of_run: Vec<_> = timed.iter().filter(|(s, _)| std::ptr::eq(s.run, *run)).collect();
        let (places, width) = places(plane.x.pixel(i as f64), plane.x.slot(), of_run.len());
        for ((s, time), x) in of_run.into_iter().zip(places) {
            let interval = time.interval.map(|i| (i.low, i.high));
            let bar = Bar { x, width, value: time.median, interval, color: s.color };
            bar.draw(&mut sheet.canvas, &plane, width + 1.0);
        }
    }
    Some(sheet.finish())
}

fn generation(series: &Series<'_>) -> Option<Summary> {
    let whole = series.plain(Stage::Prefill).whole(&series.plain(Stage::Decode));
    Some(Sample::new(whole.into_values().collect()).ok()?.summary(SEED))
}

/// What a run measured: its tokens, and its name where there are several.
fn scenario(run: &Run, timed: &[(&Series<'_>, Summary)]) -> String {
    let config = run.manifest.as_ref().and_then(|m| m.config.as_ref());
    let tokens = config.map(|c| format!("{}+{} tokens, batch {}", c.prompt_length, c.tokens, c.batch));
    let label = timed.iter().find(|(s, _)| std::ptr::eq(s.run, run)).and_then(|(s, _)| s.label);
    match (tokens, label) {
        (Some(tokens), Some(label)) => format!("{tokens}\n{label}"),
        (Some(tokens), None) => tokens,
        (None, label) => label.unwrap_or("run").to_string(),
    }
}
