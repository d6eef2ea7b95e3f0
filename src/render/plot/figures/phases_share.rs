//! Each phase's share of a step: a bar for each version and stage, all of one length.

use super::super::canvas::{Area, Rgb};
use super::super::font;
use super::super::legend::{Entry, Sample, Section};
use super::super::marks::{self, phase_color};
use super::super::plane::{Division, Plane, Spec, Unit};
use super::super::sheet::{Head, Sheet};
use super::super::text::{Anchor, Text};
use super::super::{ChartOptions, Figure};
use super::FigureInput;
use super::series::Series;
use crate::llm::{Phase, Stage};

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = input.series();
    let of_stage = |stage| series.iter().filter_map(move |s| Some((s, stage, shares(s, stage)?)));
    let rows: Vec<_> = Stage::ALL.into_iter().flat_map(of_stage).collect();
    if rows.is_empty() {
        return None;
    }
    let phase = |p: &Phase| Entry { sample: Sample::Box(phase_color(Some(*p))), text: p.name().to_string() };
    let other = Entry { sample: Sample::Box(marks::OTHER), text: "other (no op)".to_string() };
    let entries = Phase::ALL.iter().map(phase).chain([other]).collect();
    let legend = [Section { title: "Phase", entries }];
    let note = "median over repetitions of each part's share of its repetition, instrumented twin";
    let size = (900, 160 + 34 * rows.len() as u32);
    let head = Head {
        title: "Share of a step by phase",
        note,
        legend: &legend,
        size,
        body: 60.0 + 17.0 * rows.len() as f64,
    };
    let mut sheet = Sheet::new(options, &head);
    let names = rows.iter().map(|(s, stage, _)| format!("{} {stage}", s.title())).collect();
    let x = Spec::new("share of the step", Unit::Plain("%"), Division::Zero, vec![100.0]);
    let plane = Plane::new(sheet.body, &x, &Spec::names(names));
    plane.draw(&mut sheet.canvas);
    for (i, (_, _, shares)) in rows.iter().enumerate() {
        let (y, half) = (plane.y.pixel(i as f64), (0.35 * plane.y.slot()).min(14.0));
        let mut from = 0.0;
        for (share, color) in shares {
            let (x0, x1) = (plane.x.pixel(from), plane.x.pixel(from + share));
            sheet.canvas.rect(Area { x0, y0: y - half, x1, y1: y + half }, *color);
            let text = format!("{share:.1}");
            if font::width(&text, 11.0, false) + 6.0 <= x1 - x0 {
                let text = Text::new(text, f64::midpoint(x0, x1), y, 11.0);
                sheet.canvas.text(text.anchored(Anchor::Middle).over(*color));
            }
            from += share;
        }
    }
    Some(sheet.finish())
}

/// Per cent of the four phases and of what no op covers; a negative rest has no length.
fn shares(series: &Series<'_>, stage: Stage) -> Option<Vec<(f64, Rgb)>> {
    let phases = &series.stage(stage)?.phases;
    let four = Phase::ALL.map(|p| (phases.get(p).share, phase_color(Some(p))));
    let all = four.into_iter().chain([(phases.other.share, marks::OTHER)]);
    let share = |(share, color): (Option<f64>, Rgb)| Some((100.0 * share?.max(0.0), color));
    all.map(share).collect()
}
