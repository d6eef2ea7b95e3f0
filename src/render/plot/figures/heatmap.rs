//! Heat map of the time of each op in each layer, a plot for each version; all share one scale of colours.

use super::super::canvas::{Area, Canvas, Rgb};
use super::super::font;
use super::super::legend::{Entry, Sample, Section};
use super::super::plane::{Plane, Spec};
use super::super::sheet::{Head, Sheet, rows};
use super::super::text::{Anchor, Text};
use super::super::{ChartOptions, Figure};
use super::FigureInput;
use super::op_times::{OpTime, op_times, stage_of};
use super::series::Series;
use crate::llm::Stage;
use crate::units::{Scale, Seconds};

/// More plots than this are too low to read.
const MOST: usize = 6;

/// Cividis (Nuñez, Anderton and Renslow 2018), which colour-blind readers see as others do, at five places.
const RAMP: [Rgb; 5] = [(0, 34, 78), (65, 77, 107), (124, 123, 120), (188, 175, 111), (254, 232, 56)];

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = input.series();
    let of = |s| {
        let stage = stage_of(s)?;
        let mut ops = op_times(s, stage)?;
        ops.retain(|op| op.layer.is_some());
        (!ops.is_empty()).then_some((s, stage, ops))
    };
    let all: Vec<(&Series<'_>, Stage, Vec<OpTime>)> = series.iter().filter_map(of).take(MOST).collect();
    let most = all.iter().flat_map(|(_, _, ops)| ops).map(|op| op.time_s).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let scale = Scale::for_values([most], Seconds::UNIT);
    let legend = [key(most, &scale)];
    let labels = all.iter().map(|(_, _, ops)| labels(ops).len()).sum::<usize>();
    let note = "time per step of each op in each layer · median over repetitions · instrumented twin";
    let size = (1000, 110 + (60 * all.len() + 22 * labels) as u32);
    let head = Head {
        title: "Time of ops by layer",
        note,
        legend: &legend,
        size,
        body: (60 * all.len() + 16 * labels) as f64,
    };
    let mut sheet = Sheet::new(options, &head);
    for ((s, stage, ops), mut area) in all.iter().zip(rows(sheet.body, all.len(), 10.0)) {
        sheet.canvas.text(Text::new(format!("{} {stage}", s.title()), area.x0, area.y0 + 6.0, 12.0).bold());
        area.y0 += 8.0;
        plot(&mut sheet.canvas, area, ops, most, &scale);
    }
    Some(sheet.finish())
}

fn labels(ops: &[OpTime]) -> Vec<&str> {
    let mut labels: Vec<&str> = Vec::new();
    for op in ops {
        if !labels.contains(&op.label.as_str()) {
            labels.push(&op.label);
        }
    }
    labels
}

fn plot(canvas: &mut Canvas, area: Area, ops: &[OpTime], most: f64, scale: &Scale) {
    let labels = labels(ops);
    let layers = ops.iter().filter_map(|op| op.layer).max().unwrap_or(0) + 1;
    let mut x = Spec::names((0..layers).map(|l| l.to_string()).collect());
    x.title = "layer".to_string();
    let plane = Plane::new(area, &x, &Spec::names(labels.iter().map(|l| (*l).to_string()).collect()));
    plane.draw(canvas);
    let (half_x, half_y) = (plane.x.slot() / 2.0, plane.y.slot() / 2.0);
    for op in ops {
        let Some(row) = labels.iter().position(|l| *l == op.label) else { continue };
        let (x, y) = (plane.x.pixel(op.layer.unwrap_or(0) as f64), plane.y.pixel(row as f64));
        let color = ramp(op.time_s / most);
        let cell =
            Area { x0: x - half_x + 0.5, y0: y - half_y + 0.5, x1: x + half_x - 0.5, y1: y + half_y - 0.5 };
        canvas.rect(cell, color);
        let text = crate::render::table::in_wide_scale(scale, op.time_s);
        if font::width(&text, 10.0, false) + 4.0 <= 2.0 * half_x && half_y >= 7.0 {
            canvas.text(Text::new(text, x, y, 10.0).anchored(Anchor::Middle).over(color));
        }
    }
}

fn ramp(part: f64) -> Rgb {
    let at = part.clamp(0.0, 1.0) * (RAMP.len() - 1) as f64;
    let below = (at.floor() as usize).min(RAMP.len() - 2);
    let t = at - below as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * t).round() as u8;
    let (a, b) = (RAMP[below], RAMP[below + 1]);
    (mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

fn key(most: f64, scale: &Scale) -> Section {
    let entry = |i: usize| {
        let part = i as f64 / (RAMP.len() - 1) as f64;
        Entry { sample: Sample::Box(ramp(part)), text: format!("{} {scale}", scale.format(part * most)) }
    };
    Section { title: "Time (colour)", entries: (0..RAMP.len()).rev().map(entry).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ramp_goes_from_its_first_colour_to_its_last_and_gets_brighter() {
        assert_eq!((ramp(0.0), ramp(1.0)), (RAMP[0], RAMP[4]));
        let green = |i: i32| ramp(f64::from(i) / 20.0).1;
        assert!((0..20).all(|i| green(i) <= green(i + 1)));
    }
}
