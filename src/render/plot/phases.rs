//! The phase figure: a stacked bar per version and stage.

use super::axis::linear_ticks;
use super::canvas::{Area, Canvas, Figure, Rgb};
use super::font;
use super::legend::{self, Entry, Sample, Section};
use super::marks::{self, BLACK, GREY, LIGHT};
use super::options::ChartOptions;
use super::text::{Anchor, Text};
use crate::llm::{Phase, Stage};
use crate::roofline::{PhaseReport, StageReport};
use crate::units::{Scale, Seconds};

const PANEL_WIDTH: f64 = 150.0;
const LEFT: f64 = 84.0;
const TOP: f64 = 78.0;
/// Under the axis: names, coverage, provenance.
const BELOW: f64 = 80.0;
const HEIGHT: u32 = 550;
/// From one bar to the next, and the part of that which is bar.
const STEP: f64 = 108.0;
const BAR: f64 = 2.0 / 3.0;
/// Closer than this, the values in bars have no room.
const LEAST_STEP: f64 = 48.0;
/// A part lower than this in pixels has no room for its number.
const READABLE: f64 = 13.0;

/// Draws the time per step by phase: a group of bars per stage, each stage with its own axis, since a prefill is
/// many times a decode step.
pub fn phase_figure(report: &PhaseReport, options: &ChartOptions) -> Figure {
    let groups: Vec<(Stage, Vec<&StageReport>)> = Stage::ALL
        .into_iter()
        .map(|stage| (stage, report.stages.iter().filter(|s| s.stage == stage && total(s) > 0.0).collect()))
        .filter(|(_, bars): &(Stage, Vec<_>)| !bars.is_empty())
        .collect();
    let bars: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let fixed = groups.len() as f64 * (LEFT + 20.0) + PANEL_WIDTH;
    let fitted = |(width, _)| ((f64::from(width) - fixed) / bars.max(1) as f64).max(LEAST_STEP);
    let step = options.size.map_or(STEP, fitted);
    let group_width = |bars: usize| LEFT + step * bars as f64 + 20.0;
    let plots: f64 = groups.iter().map(|(_, bars)| group_width(bars.len())).sum();
    let width = (plots + PANEL_WIDTH).max(560.0);
    let height = options.size.map_or(HEIGHT, |(_, height)| height.max(320));
    let mut canvas = Canvas::new(width as u32, height, options.theme);
    let mut left = 0.0;
    for (stage, bars) in &groups {
        let right = left + group_width(bars.len());
        let (x0, x1, y1) = (left + LEFT, right - 20.0, f64::from(height) - BELOW);
        group(&mut canvas, *stage, bars, Area { x0, y0: TOP, x1, y1 });
        left = right;
    }
    legend::draw(&mut canvas, &[legend_section()], plots + 4.0, TOP, PANEL_WIDTH);
    let title = options.title.as_deref().unwrap_or("Time per step by phase");
    canvas.text(Text::new(font::fit(title, 16.0, width - 100.0), 20.0, 26.0, 16.0).bold());
    let footer = font::one_or_two_lines(&options.footer, 10.0, width - 40.0);
    for (line, text) in footer.iter().rev().enumerate() {
        let y = f64::from(height) - 14.0 - 13.0 * line as f64;
        canvas.text(Text::new(text.clone(), 20.0, y, 10.0).colored(GREY));
    }
    canvas.finish()
}

fn total(stage: &StageReport) -> f64 {
    stage.phases.total.time_s.unwrap_or(0.0)
}

/// The parts of a bar from the bottom up. A negative `other` has no height; the table shows it.
fn parts(stage: &StageReport) -> Vec<(f64, Rgb)> {
    let four = Phase::ALL.map(|p| (stage.phases.get(p).time_s, marks::phase_color(Some(p))));
    let all = four.into_iter().chain([(stage.phases.other.time_s, marks::OTHER)]);
    all.map(|(time, color)| (time.unwrap_or(0.0).max(0.0), color)).collect()
}

fn legend_section() -> Section {
    let four = Phase::ALL.iter().map(|p| (p.name(), marks::phase_color(Some(*p))));
    let all: Vec<(&str, Rgb)> = four.chain([("other (no op)", marks::OTHER)]).collect();
    let entry =
        |(name, color): &(&str, Rgb)| Entry { sample: Sample::Box(*color), text: (*name).to_string() };
    Section { title: "Phase", entries: all.iter().rev().map(entry).collect() }
}

fn group(canvas: &mut Canvas, stage: Stage, bars: &[&StageReport], frame: Area) {
    let Area { x0: left, y0, x1: right, y1 } = frame;
    let most = bars.iter().map(|b| total(b)).fold(0.0, f64::max);
    let scale = Scale::for_values([most], Seconds::UNIT);
    let ticks = linear_ticks(scale.apply(most));
    let top = ticks.last().copied().unwrap_or(1.0);
    let y = |value: f64| y1 - value / top * (y1 - y0);
    let decimals = usize::from(ticks.get(1).is_some_and(|t| *t < 1.0)) * 2;
    for tick in &ticks {
        canvas.line((left, y(*tick)), (right, y(*tick)), LIGHT, 1);
        let label = Text::new(format!("{tick:.decimals$}"), left - 8.0, y(*tick), 11.0);
        canvas.text(label.anchored(Anchor::End));
    }
    canvas.text(Text::new(stage.name(), left, y0 - 24.0, 13.0).bold());
    let axis = Text::new(format!("time per step [{}]", scale.unit), left - 54.0, f64::midpoint(y0, y1), 12.0);
    canvas.text(axis.anchored(Anchor::Middle).vertical());
    for (i, report) in bars.iter().enumerate() {
        let step = (right - left) / bars.len() as f64;
        bar(canvas, report, &scale, (left + step * (i as f64 + 0.5), step), &y);
    }
    canvas.line((left, y1), (right, y1), BLACK, 1);
}

fn bar(
    canvas: &mut Canvas,
    stage: &StageReport,
    scale: &Scale,
    (middle, step): (f64, f64),
    y: &impl Fn(f64) -> f64,
) {
    let (mut below, half, bottom) = (0.0, BAR * step / 2.0, y(0.0));
    for (time, color) in parts(stage) {
        let (y1, y0) = (y(scale.apply(below)), y(scale.apply(below + time)));
        canvas.rect(Area { x0: middle - half, y0, x1: middle + half, y1 }, color);
        if y1 - y0 >= READABLE {
            let text = Text::new(scale.format(time), middle, f64::midpoint(y0, y1), 11.0);
            canvas.text(text.anchored(Anchor::Middle).over(color));
        }
        below += time;
    }
    let sum = Text::new(scale.format(total(stage)), middle, y(scale.apply(below)) - 9.0, 11.0);
    canvas.text(sum.anchored(Anchor::Middle).bold().halo());
    let name = font::fit(&stage.version, 12.0, step - 8.0);
    canvas.text(Text::new(name, middle, bottom + 14.0, 12.0).anchored(Anchor::Middle));
    if let Some(coverage) = stage.coverage {
        let whole = format!("{:.0} % covered", coverage * 100.0);
        let fits = font::width(&whole, 10.0, false) <= step - 6.0;
        let text = if fits { whole } else { format!("{:.0} %", coverage * 100.0) };
        canvas.text(Text::new(text, middle, bottom + 31.0, 10.0).anchored(Anchor::Middle).colored(GREY));
    }
}

#[cfg(test)]
mod tests {
    use super::super::roofline::tests::{check_golden, overlapping, save};
    use super::*;
    use crate::roofline::samples::phase_run;

    #[test]
    fn the_figure_is_as_before_and_its_labels_do_not_overlap() {
        let report = PhaseReport::new(&phase_run(), &[]);
        let options = ChartOptions {
            title: None,
            footer: "kprof 0.1.0, run.jsonl".into(),
            levels: vec![],
            ..ChartOptions::default()
        };
        let figure = phase_figure(&report, &options);
        save(&figure);
        assert_eq!(overlapping(&figure), None);
        check_golden("phases.svg", &figure.svg);
    }
}
