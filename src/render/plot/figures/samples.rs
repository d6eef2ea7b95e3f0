//! Every repetition's time per step: the distribution function, and under it a box for each version.

use super::super::canvas::{Area, Canvas};
use super::super::marks::BLACK;
use super::super::plane::{Division, Plane, Spec, Unit};
use super::super::sheet::{Head, Sheet, columns};
use super::super::text::Text;
use super::super::{ChartOptions, Figure};
use super::FigureInput;
use super::series::{Series, legend};
use crate::llm::Stage;
use crate::stats::Sample;

type Samples<'s, 'a> = Vec<(&'s Series<'a>, Sample)>;

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = input.series();
    let of = |stage| -> Samples<'_, '_> {
        series.iter().filter_map(|s| Some((s, s.plain(stage).step_times()?))).collect()
    };
    let panels: Vec<(Stage, Samples<'_, '_>)> =
        Stage::ALL.into_iter().map(|stage| (stage, of(stage))).filter(|(_, all)| !all.is_empty()).collect();
    if panels.is_empty() {
        return None;
    }
    let legend = legend(&series);
    let note = "one value per repetition: the mean over its steps · plain twin · box: quartiles and median, whiskers: \
                within 1.5 x the box of it, hollow: beyond";
    let boxes = 30.0 * panels.iter().map(|(_, all)| all.len()).max().unwrap_or(1) as f64;
    let head = Head {
        title: "Distribution of samples",
        note,
        legend: &legend,
        size: (1000, 400 + boxes as u32),
        body: 190.0 + boxes,
    };
    let mut sheet = Sheet::new(options, &head);
    for ((stage, all), area) in panels.iter().zip(columns(sheet.body, panels.len(), 24.0)) {
        sheet.canvas.text(Text::new(stage.name(), area.x0, area.y0 + 6.0, 13.0).bold());
        let middle = area.y1 - boxes.min(0.5 * (area.y1 - area.y0)) - 50.0;
        panel(&mut sheet.canvas, Area { y0: area.y0 + 16.0, ..area }, middle, all);
    }
    Some(sheet.finish())
}

fn panel(canvas: &mut Canvas, area: Area, middle: f64, all: &Samples<'_, '_>) {
    let values: Vec<f64> = all.iter().flat_map(|(_, s)| s.values().iter().copied()).collect();
    let x = |title: &str| Spec::new(title, Unit::Si("s"), Division::Near, values.clone());
    let y = Spec::new("repetitions up to", Unit::Plain("%"), Division::Zero, vec![100.0]);
    let names = Spec::names(all.iter().map(|(s, _)| s.title()).collect());
    let plane = |margin| {
        let upper = Plane::with_margin(Area { y1: middle, ..area }, &x(""), &y, margin);
        let lower = Plane::with_margin(Area { y0: middle, ..area }, &x("time per step"), &names, margin);
        (upper, lower)
    };
    let (upper, lower) = plane(0.0);
    let (upper, lower) = plane(upper.frame.x0.max(lower.frame.x0) - area.x0);
    upper.draw(canvas);
    for (s, sample) in all {
        upper.line(canvas, &steps(sample), s.color, s.dashes);
    }
    lower.draw(canvas);
    for (i, (s, sample)) in all.iter().enumerate() {
        boxed(canvas, &lower, i, s, sample);
    }
}

/// The empirical distribution function, in per cent.
fn steps(sample: &Sample) -> Vec<(f64, f64)> {
    let mut sorted = sample.values().to_vec();
    sorted.sort_by(f64::total_cmp);
    let share = |i: usize| 100.0 * i as f64 / sorted.len() as f64;
    sorted.iter().enumerate().flat_map(|(i, v)| [(*v, share(i)), (*v, share(i + 1))]).collect()
}

fn boxed(canvas: &mut Canvas, plane: &Plane, row: usize, series: &Series<'_>, sample: &Sample) {
    let y = plane.y.pixel(row as f64);
    let half = (plane.y.slot() * 0.3).min(9.0);
    let x = |value: f64| plane.x.pixel(value);
    let fences = sample.fences();
    let inside = || sample.values().iter().copied().filter(|v| fences.contains(*v));
    let (low, high) = (inside().fold(f64::INFINITY, f64::min), inside().fold(f64::NEG_INFINITY, f64::max));
    let (q1, q3) = (sample.percentile(25.0), sample.percentile(75.0));
    canvas.line((x(low), y), (x(high), y), BLACK, 1);
    for end in [low, high] {
        canvas.line((x(end), y - half / 2.0), (x(end), y + half / 2.0), BLACK, 1);
    }
    let area = Area { x0: x(q1), y0: y - half, x1: x(q3).max(x(q1) + 1.0), y1: y + half };
    let Area { x0, y0, x1, y1 } = area;
    canvas.shade(&[(x0, y0), (x1, y0), (x1, y1), (x0, y1)], series.color, 0.45);
    canvas.line((x(sample.median()), y0 - 3.0), (x(sample.median()), y1 + 3.0), series.color, 3);
    for value in sample.values() {
        let radius = if fences.contains(*value) { 2.0 } else { 4.0 };
        let stroke = (!fences.contains(*value)).then_some(2);
        canvas.circle((x(*value), y), radius, BLACK, stroke);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_function_rises_from_0_to_100_per_cent() {
        let sample = Sample::new(vec![2.0, 1.0]).unwrap();
        assert_eq!(steps(&sample), [(1.0, 0.0), (1.0, 50.0), (2.0, 50.0), (2.0, 100.0)]);
    }
}
