//! Where one version overtakes another: decode steps of both over the context, a plot for each batch, and under them by how
//! much the second is faster.

use super::FigureInput;
use super::series::{Series, legend, recorded};
use crate::render::plot::canvas::{Area, Canvas};
use crate::render::plot::font;
use crate::render::plot::labels::{Obstacles, around};
use crate::render::plot::legend::{Entry, Sample, Section};
use crate::render::plot::marks::{self, BLACK, GREY, Shape};
use crate::render::plot::plane::{Division, Plane, Spec, Unit};
use crate::render::plot::sheet::{Head, Sheet, columns, rows};
use crate::render::plot::text::Text;
use crate::render::plot::{ChartOptions, Figure};
use crate::scaling::{CrossoverPoint, CrossoverReport, Pays};
use crate::stats::{Estimate, Summary};

/// Plots beside each other.
const ACROSS: usize = 3;

/// Speed-ups that are further apart than this get a logarithmic axis.
const FAR_APART: f64 = 8.0;

/// A plot: what is varied along its x axis, and what is not.
struct Cell<'a> {
    old: Series<'a>,
    new: Series<'a>,
    /// `batch 4`
    name: String,
    /// `v2 pays from a context of 256 on`
    said: String,
    points: Vec<(f64, CrossoverPoint)>,
    crossing: Option<Estimate>,
}

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = Series::of(input, |run| recorded(run, run.decode_points.iter().map(|p| p.version.as_str())));
    let mut cells: Vec<Cell<'_>> = Vec::new();
    let mut along = "context";
    for run in series.chunk_by(|a, b| std::ptr::eq(a.run, b.run)) {
        let Some(report) = CrossoverReport::new(run[0].run, &input.ceilings.chosen) else { continue };
        // Batches at one context are a curve over the batch.
        if report.batches.len() > 1 && report.batches.iter().all(|b| b.points.len() < 2) {
            along = "batch";
            cells.extend(over_batch(run, &report));
        } else {
            cells.extend(over_context(run, &report));
        }
    }
    let first = cells.first()?;
    let (old, new) = (first.old.version, first.new.version);
    let used: Vec<Series<'_>> = cells.iter().flat_map(|c| [c.old, c.new]).collect();
    let mut legend = legend(&used);
    legend.extend(notes(&cells, new));
    let across = cells.len().min(ACROSS);
    let down = cells.len().div_ceil(across);
    let note = "one decode step of all sequences, medians and 95 % intervals over rounds · speed-ups by paired rounds · vertical \
                line and band: where lines fitted to both meet, and its interval";
    let title = format!("Where {new} overtakes {old}");
    let size = (280 * across.max(2) as u32 + 240, 330 + 260 * down as u32);
    let head = Head { title: &title, note, legend: &legend, size, body: 180.0 * down as f64 + 190.0 };
    let mut sheet = Sheet::new(options, &head);
    let (body, speed) = (sheet.body, 200.0);
    let upper = Area { y1: body.y1 - speed - 16.0, ..body };
    let areas = rows(upper, down, 14.0).into_iter().flat_map(|row| columns(row, across, 18.0));
    let x_title = if along == "batch" { "batch" } else { "context" };
    let x_unit = if along == "batch" { "sequences" } else { "tokens" };
    for (cell, area) in cells.iter().zip(areas) {
        steps(&mut sheet.canvas, area, cell, (x_title, x_unit));
    }
    let lower = Area { y0: body.y1 - speed, ..body };
    speedups(&mut sheet.canvas, lower, &cells, (x_title, x_unit));
    Some(sheet.finish())
}

fn pair<'a>(run: &[Series<'a>], report: &CrossoverReport) -> Option<(Series<'a>, Series<'a>)> {
    let of = |name: &str| run.iter().find(|s| s.version == name).copied();
    Some((of(&report.old)?, of(&report.new)?))
}

fn named(series: &Series<'_>, name: String) -> String {
    series.label.map_or(name.clone(), |label| format!("{name} of {label}"))
}

fn over_context<'a>(run: &[Series<'a>], report: &CrossoverReport) -> Vec<Cell<'a>> {
    let Some((old, new)) = pair(run, report) else { return Vec::new() };
    let cell = |b: &crate::scaling::BatchCrossover| {
        let said = match b.pays_from {
            Some(context) => format!("{} pays from a context of {context} on", report.new),
            None => format!("{} does not pay up to a context of {}", report.new, b.up_to),
        };
        let points = b.points.iter().map(|p| (p.context as f64, p.clone())).collect();
        Cell { old, new, name: named(&old, format!("batch {}", b.batch)), said, points, crossing: b.crossing }
    };
    report.batches.iter().map(cell).filter(|c| !c.points.is_empty()).collect()
}

fn over_batch<'a>(run: &[Series<'a>], report: &CrossoverReport) -> Option<Cell<'a>> {
    let (old, new) = pair(run, report)?;
    let points: Vec<(f64, CrossoverPoint)> =
        report.batches.iter().flat_map(|b| b.points.iter().map(|p| (b.batch as f64, p.clone()))).collect();
    let context = points.first()?.1.context;
    let pays_from = report.batches.iter().rev().take_while(|b| b.pays_from.is_some()).last();
    let said = match pays_from {
        Some(b) => format!("{} pays from a batch of {} on", report.new, b.batch),
        None => format!("{} does not pay at the largest batch", report.new),
    };
    Some(Cell { old, new, name: named(&old, format!("context {context}")), said, points, crossing: None })
}

fn notes(cells: &[Cell<'_>], new: &str) -> Vec<Section> {
    let entry = |filled, text: String| Entry {
        sample: Sample::Marker { shape: Shape::Circle, color: BLACK, filled },
        text,
    };
    let dashes = |(i, c): (usize, &Cell<'_>)| Entry {
        sample: Sample::Dashes { color: BLACK, dashes: i },
        text: c.name.clone(),
    };
    let lines = if cells.len() > 1 { cells.iter().enumerate().map(dashes).collect() } else { Vec::new() };
    vec![
        Section { title: "Speed-up at", entries: lines },
        Section {
            title: "Speed-up",
            entries: vec![
                entry(true, format!("{new} pays for certain")),
                entry(false, "not for certain".into()),
            ],
        },
    ]
}

fn ends(summary: &Summary) -> [f64; 3] {
    let interval = summary.interval;
    [summary.median, interval.map_or(summary.median, |i| i.low), interval.map_or(summary.median, |i| i.high)]
}

/// Steps of both versions.
fn steps(canvas: &mut Canvas, area: Area, cell: &Cell<'_>, (title, unit): (&str, &'static str)) {
    let width = area.x1 - area.x0;
    let name = font::fit_bold(&cell.name, 13.0, width);
    canvas.text(Text::new(name, area.x0, area.y0 + 6.0, 13.0).bold());
    let said = font::fit(&cell.said, 10.0, width);
    canvas.text(Text::new(said, area.x0, area.y0 + 22.0, 10.0).colored(GREY));
    let area = Area { y0: area.y0 + 28.0, ..area };
    let xs: Vec<f64> = cell.points.iter().map(|(x, _)| *x).collect();
    let ys = cell.points.iter().flat_map(|(_, p)| [ends(&p.old_step), ends(&p.new_step)]).flatten().collect();
    let x = Spec::new(title, Unit::Plain(unit), Division::Near, xs.clone());
    let plane = Plane::new(area, &x, &Spec::new("step", Unit::Si("s"), Division::Zero, ys));
    crossing(canvas, &plane, cell, &xs);
    plane.draw(canvas);
    for (series, of) in [(cell.old, old as fn(&CrossoverPoint) -> &Summary), (cell.new, new)] {
        let band: Vec<(f64, f64, f64)> =
            cell.points.iter().filter_map(|(x, p)| of(p).interval.map(|i| (*x, i.low, i.high))).collect();
        plane.band(canvas, &band, series.color);
        let line: Vec<(f64, f64)> = cell.points.iter().map(|(x, p)| (*x, of(p).median)).collect();
        plane.line(canvas, &line, series.color, 0);
        for point in line {
            series.mark(canvas, plane.at(point), 4.0);
        }
    }
}

fn old(point: &CrossoverPoint) -> &Summary {
    &point.old_step
}

fn new(point: &CrossoverPoint) -> &Summary {
    &point.new_step
}

/// Where the fitted lines meet, where that is known with an interval, and as far as it is in the plot.
fn crossing(canvas: &mut Canvas, plane: &Plane, cell: &Cell<'_>, xs: &[f64]) {
    let (low, high) = xs.iter().fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(*v), h.max(*v)));
    let Some(found) = cell.crossing.filter(|c| (low..=high).contains(&c.value)) else { return };
    let Some(i) = found.interval else { return };
    let f = plane.frame;
    let (x0, x1) = (plane.x.pixel(i.low.max(low)), plane.x.pixel(i.high.min(high)));
    canvas.shade(&[(x0, f.y0), (x1, f.y0), (x1, f.y1), (x0, f.y1)], GREY, 0.16);
    let x = plane.x.pixel(found.value);
    canvas.path_in(&[(x, f.y0), (x, f.y1)], GREY, 2, 1);
}

/// Old / new of every cell in one plot, with 1 as a line: above it the new version is the faster one.
fn speedups(canvas: &mut Canvas, area: Area, cells: &[Cell<'_>], (title, unit): (&str, &'static str)) {
    let span = |p: &CrossoverPoint| {
        [p.speedup, p.interval.map_or(p.speedup, |i| i.low), p.interval.map_or(p.speedup, |i| i.high)]
    };
    let points = || cells.iter().flat_map(|c| &c.points);
    let ys: Vec<f64> = points().flat_map(|(_, p)| span(p)).chain([1.0]).collect();
    let (low, high) = ys.iter().fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(*v), h.max(*v)));
    let division = if high / low > FAR_APART { Division::Log } else { Division::Near };
    let (old, new) = (cells[0].old.version, cells[0].new.version);
    let x = Spec::new(title, Unit::Plain(unit), Division::Near, points().map(|(x, _)| *x).collect());
    let y = Spec::new(&format!("{old} / {new}"), Unit::Plain("x"), division, ys);
    let plane = Plane::new(area, &x, &y);
    let (f, one) = (plane.frame, plane.y.pixel(1.0));
    canvas.shade(&[(f.x0, f.y0), (f.x1, f.y0), (f.x1, one), (f.x0, one)], GREY, 0.08);
    plane.draw(canvas);
    canvas.line((f.x0, one), (f.x1, one), BLACK, 1);
    let mut obstacles = Obstacles::new(f);
    for (i, cell) in cells.iter().enumerate() {
        let line: Vec<(f64, f64)> = cell.points.iter().map(|(x, p)| (*x, p.speedup)).collect();
        plane.line(canvas, &line, BLACK, i);
        for pair in line.windows(2) {
            obstacles.add_line(plane.at(pair[0]), plane.at(pair[1]));
        }
    }
    for (x, p) in points() {
        let at = plane.at((*x, p.speedup));
        if let Some(i) = p.interval {
            plane.whisker(canvas, at.0, (i.low, i.high), BLACK);
            obstacles.add_line((at.0, plane.y.pixel(i.low)), (at.0, plane.y.pixel(i.high)));
        }
        marks::marker(canvas, Shape::Circle, at, 4.0, BLACK, p.pays == Pays::Yes);
        obstacles.add_area(Area::around(at.0, at.1, 5.0));
    }
    let region = |text: String, y: f64| {
        let at = |x: f64| Text::new(text.clone(), x, y, 10.0).colored(GREY);
        let steps = (0..24).map(|i| f.x0 + 6.0 + (f.x1 - f.x0) * f64::from(i) / 24.0);
        steps.map(at).collect::<Vec<_>>()
    };
    for (text, y) in [(format!("{new} is faster"), one - 9.0), (format!("{old} is faster"), one + 9.0)] {
        if let Some(text) = obstacles.place(&region(text, y)) {
            canvas.text(text);
        }
    }
    for cell in cells.iter().filter(|_| cells.len() > 1) {
        let Some((x, p)) = cell.points.last() else { continue };
        let at = plane.at((*x, p.speedup));
        if let Some(label) = obstacles.place(&around(&cell.name, at.0, at.1, 10.0)) {
            canvas.text(label);
        }
    }
}
