//! Time per step by phase, side by side; and the stacked bars of `kprof phase`.

use super::super::bars::{Bar, places};
use super::super::plane::{Division, Plane, Spec, Unit};
use super::super::sheet::{Head, Sheet, rows};
use super::super::text::Text;
use super::super::{ChartOptions, Figure, phase_figure};
use super::FigureInput;
use super::series::{Series, legend};
use crate::llm::Stage;
use crate::roofline::PhaseReport;

/// The parts of a step, in the order of bars.
const PARTS: [&str; 5] = ["embedding", "attention", "mlp", "head", "other"];

/// All runs in one figure, versions of several runs named after their run.
pub(super) fn stacked(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let stages = input.series().into_iter().flat_map(|series| {
        let named = series.label.map(|label| format!("{} {label}", series.version));
        let of =
            |s: &crate::roofline::StageReport| s.version == series.version && s.phases.total.time_s.is_some();
        let mut found: Vec<_> =
            series.report.iter().flat_map(|r| &r.stages).filter(|s| of(s)).cloned().collect();
        for stage in &mut found {
            stage.version = named.clone().unwrap_or_else(|| stage.version.clone());
        }
        found
    });
    let stages: Vec<_> = stages.collect();
    let first = input.reports.iter().flatten().next().filter(|_| !stages.is_empty())?;
    let report = PhaseReport { stages, ..first.clone() };
    Some(phase_figure(&report, options))
}

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = input.series();
    let stages: Vec<Stage> =
        Stage::ALL.into_iter().filter(|stage| series.iter().any(|s| parts(s, *stage).is_some())).collect();
    if stages.is_empty() {
        return None;
    }
    let legend = legend(&series);
    let note =
        "share of the median instrumented step · 95 % intervals of the part's own time over repetitions";
    let size = (1000, 120 + 280 * stages.len() as u32);
    let head = Head {
        title: "Time per step by phase",
        note,
        legend: &legend,
        size,
        body: 160.0 * stages.len() as f64,
    };
    let mut sheet = Sheet::new(options, &head);
    for (stage, mut area) in stages.iter().zip(rows(sheet.body, stages.len(), 14.0)) {
        sheet.canvas.text(Text::new(stage.name(), area.x0, area.y0 + 6.0, 13.0).bold());
        area.y0 += 14.0;
        let all: Vec<(&Series<'_>, Parts)> =
            series.iter().filter_map(|s| Some((s, parts(s, *stage)?))).collect();
        let ends = |p: &Part| [Some(p.time_s), p.interval.map(|i| i.1)];
        let values = all.iter().flat_map(|(_, parts)| parts.iter().flatten().flat_map(ends)).flatten();
        let y = Spec::new("time per step", Unit::Si("s"), Division::Zero, values.collect());
        let plane = Plane::new(area, &Spec::names(PARTS.map(String::from).to_vec()), &y);
        plane.draw(&mut sheet.canvas);
        for i in 0..PARTS.len() {
            let (places, width) = places(plane.x.pixel(i as f64), plane.x.slot(), all.len());
            for ((s, parts), x) in all.iter().zip(places) {
                let Some(part) = &parts[i] else { continue };
                let bar = Bar { x, width, value: part.time_s, interval: part.interval, color: s.color };
                bar.draw(&mut sheet.canvas, &plane, width + 1.0);
            }
        }
    }
    Some(sheet.finish())
}

struct Part {
    time_s: f64,
    interval: Option<(f64, f64)>,
}

type Parts = [Option<Part>; PARTS.len()];

fn parts(series: &Series<'_>, stage: Stage) -> Option<Parts> {
    let phases = &series.stage(stage)?.phases;
    phases.total.time_s?;
    let part = |name: &str| {
        let (_, row) = phases.named().into_iter().find(|(n, _)| *n == name)?;
        let interval = row.time.as_ref().and_then(|t| t.interval).map(|i| (i.low, i.high));
        Some(Part { time_s: row.time_s?, interval })
    };
    Some(PARTS.map(part))
}
