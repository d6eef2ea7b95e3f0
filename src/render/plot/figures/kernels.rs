//! The kernels that take the most time, and all the rest as one bar.

use super::super::canvas::{Area, Rgb};
use super::super::font;
use super::super::legend::{Entry, Sample, Section};
use super::super::marks::{OTHER, series_color};
use super::super::plane::{Division, Plane, Spec, Unit};
use super::super::sheet::{Head, Sheet};
use super::super::text::Text;
use super::super::{ChartOptions, Figure};
use super::FigureInput;
use crate::roofline::{Bound, Level, Point};

struct Row {
    name: String,
    time_s: f64,
    launches: u64,
    color: Rgb,
}

const BOUNDS: [Bound; 4] = [Bound::Memory, Bound::Compute, Bound::Latency, Bound::Unknown];

fn color(bound: Bound) -> Rgb {
    match bound {
        Bound::Memory => series_color(0),
        Bound::Compute => series_color(1),
        Bound::Latency => series_color(5),
        _ => OTHER,
    }
}

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let kernel = |p: &&Point| matches!(p.level, Level::Kernel | Level::Launch | Level::Group);
    let mut timed: Vec<(&Point, f64)> = input
        .roofline
        .points
        .iter()
        .filter(kernel)
        .filter_map(|p| Some((p, p.time.as_ref()?.value)))
        .collect();
    if timed.is_empty() {
        return None;
    }
    timed.sort_by(|a, b| b.1.total_cmp(&a.1));
    let total: f64 = timed.iter().map(|(_, t)| t).sum();
    let (top, rest) = timed.split_at(input.top.min(timed.len()));
    let several = input.runs.len() > 1;
    let name = |p: &Point| match several {
        true => format!("{} ({})", p.label(), input.roofline.label_of(&p.file)),
        false => p.label(),
    };
    let mut rows: Vec<Row> = top
        .iter()
        .map(|(p, time_s)| Row {
            name: name(p),
            time_s: *time_s,
            launches: p.launches,
            color: color(p.bound),
        })
        .collect();
    if !rest.is_empty() {
        let (time_s, launches) =
            (rest.iter().map(|(_, t)| t).sum(), rest.iter().map(|(p, _)| p.launches).sum());
        rows.push(Row { name: format!("{} more", rest.len()), time_s, launches, color: OTHER });
    }
    let present = |b: &Bound| top.iter().any(|(p, _)| p.bound == *b);
    let entry = |b: Bound| Entry { sample: Sample::Box(color(b)), text: b.name().to_string() };
    let entries = BOUNDS.into_iter().filter(present).map(entry).collect();
    let legend = [Section { title: "Bound", entries }];
    let size = (1000, 150 + 26 * rows.len() as u32);
    let note = "all launches of a kernel together · share of the time of all kernels, launches";
    let head =
        Head { title: "Time by kernel", note, legend: &legend, size, body: 60.0 + 17.0 * rows.len() as f64 };
    Some(draw(Sheet::new(options, &head), &rows, total))
}

fn draw(mut sheet: Sheet, rows: &[Row], total: f64) -> Figure {
    let names: Vec<String> = rows.iter().map(|r| r.name.clone()).collect();
    let names = font::fit_apart(&names, 11.0, 0.4 * (sheet.body.x1 - sheet.body.x0));
    let values = rows.iter().map(|r| r.time_s).collect();
    let x = Spec::new("time", Unit::Si("s"), Division::Zero, values);
    let mut body = sheet.body;
    // Room for the text beside the longest bar.
    body.x1 -= 110.0;
    let plane = Plane::new(body, &x, &Spec::names(names));
    plane.draw(&mut sheet.canvas);
    for (i, row) in rows.iter().enumerate() {
        let (y, half) = (plane.y.pixel(i as f64), (0.38 * plane.y.slot()).min(12.0));
        let (x0, x1) = (plane.x.pixel(0.0), plane.x.pixel(row.time_s));
        sheet.canvas.rect(Area { x0, y0: y - half, x1, y1: y + half }, row.color);
        let text = format!("{:.1} %, {}x", 100.0 * row.time_s / total, row.launches);
        sheet.canvas.text(Text::new(text, x1 + 6.0, y, 11.0).halo());
    }
    sheet.finish()
}
