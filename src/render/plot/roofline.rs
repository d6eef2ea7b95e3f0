//! The roofline chart.

use super::axis::{LogAxis, tick_label};
use super::canvas::{Area, Canvas, Figure, Rgb};
use super::chart_ceilings::{Line, lines, ridges};
use super::chart_legend::{line_color, sections, versions};
use super::font;
use super::labels::{Obstacles, around, needs_leader};
use super::legend;
use super::marks::{self, BLACK, FAINT, GREY, LIGHT, Shape};
use super::options::{ChartOptions, Colors};
use super::text::{Anchor, Text};
use super::theme::Theme;
use crate::hw::MemoryLevel;
use crate::llm::Stage;
use crate::roofline::{Level, Point, Roofline, changes};
use crate::units::{FlopRate, Scale};

const WIDTH: u32 = 1200;
const HEIGHT: u32 = 760;
/// Under this the panel beside the chart leaves it no room.
const LEAST: (u32, u32) = (760, 420);
/// Width of the panel beside the chart.
pub(super) const PANEL: f64 = 330.0;
const LEFT: f64 = 84.0;
const TOP: f64 = 56.0;
const BELOW: f64 = 92.0;
/// Up to this many points are labelled by name, more by number.
const NAMED: usize = 14;
/// Intensities and rates further than this from the middle of all ceilings would squeeze the chart: such points
/// stand at its edge, with an arrow.
const PLAUSIBLE_INTENSITY: (f64, f64) = (1e-3, 1e4);

/// Draws the roofline chart: log-log, every point with FLOPs, bytes and time.
pub fn roofline_chart(roofline: &Roofline, options: &ChartOptions) -> Figure {
    let marks = drawn_points(roofline, options);
    let (width, least_height) = options.size.unwrap_or((WIDTH, HEIGHT));
    let (width, least_height) = (f64::from(width.max(LEAST.0)), f64::from(least_height.max(LEAST.1)));
    // Ceilings of what is not drawn would be read as those of what is.
    let drawn: Vec<&Point> = marks.iter().map(|m| m.point).collect();
    let all = || roofline.points.iter().collect();
    let ceilings = lines(&if drawn.is_empty() { all() } else { drawn }, &options.levels);
    let plain = Chart::new(frame(width, least_height), &marks, &ceilings);
    let numbered = marks.len() > NAMED || !plain.names_fit(&marks, &ceilings);
    let outside = marks.iter().any(|m| plain.position(m).1);
    let mut sections = sections(roofline, &marks, &ceilings, numbered, outside, options);
    if let Some(points) = sections.last_mut().filter(|_| numbered && (options.analytic || options.joined)) {
        points.title = "Points";
    }
    let height = least_height.max(TOP + legend::height(&sections) + 40.0);
    let chart = Chart::new(frame(width, height), &marks, &ceilings);
    let mut canvas = Canvas::new(width as u32, height as u32, options.theme);
    chart.grid(&mut canvas);
    chart.ceilings(&mut canvas, &ceilings);
    if options.has_changes() {
        chart.changes(&mut canvas, roofline, &marks);
    }
    if options.analytic || options.joined {
        chart.trajectories(&mut canvas, &marks);
    }
    for mark in &marks {
        chart.mark(&mut canvas, mark);
    }
    chart.labels(&mut canvas, &marks, &ceilings, numbered);
    legend::draw(&mut canvas, &sections, chart.frame.x1 + 24.0, TOP, PANEL - 40.0);
    titles(&mut canvas, options, &chart, (width, height));
    if marks.is_empty() {
        let f = chart.frame;
        let (x, y) = (f64::midpoint(f.x0, f.x1), f64::midpoint(f.y0, f.y1));
        let text = "no point has FLOPs, bytes and a time: see the table for what is missing";
        canvas.text(Text::new(text, x, y, 13.0).anchored(Anchor::Middle).colored(GREY));
    }
    canvas.finish()
}

fn frame(width: f64, height: f64) -> Area {
    Area { x0: LEFT, y0: TOP, x1: width - PANEL, y1: height - BELOW }
}

/// A point with how it is drawn.
pub(super) struct Mark<'a> {
    pub(super) point: &'a Point,
    pub(super) number: usize,
    intensity: f64,
    /// The intensities at the levels of memory after the first, each with its level.
    pub(super) deeper: Vec<(MemoryLevel, f64)>,
    rate: f64,
    shape: Shape,
    color: Rgb,
    filled: bool,
}

impl Mark<'_> {
    fn radius(&self) -> f64 {
        if self.point.level == Level::Stage { 7.5 } else { 6.0 }
    }
}

/// Points of deeper levels are smaller: 4.5, 3.5 pixels.
pub(super) fn deeper_radius(index: usize) -> f64 {
    4.5 - 1.0 * index.min(2) as f64
}

fn drawn_points<'a>(roofline: &'a Roofline, options: &ChartOptions) -> Vec<Mark<'a>> {
    let mut levels = if options.levels.is_empty() { vec![MemoryLevel::Dram] } else { options.levels.clone() };
    levels.sort_unstable();
    levels.dedup();
    let versions = versions(roofline);
    let marks = roofline.points.iter().enumerate().filter_map(|(i, point)| {
        let positive = |v: Option<f64>| v.filter(|v| v.is_finite() && *v > 0.0);
        let file = roofline.files.iter().position(|f| *f == point.file).unwrap_or(0);
        let phase = matches!(point.level, Level::Phase | Level::Stage);
        let version = |p: &Point| p.version.as_deref().map_or(0, |v| marks::version_index(v, &versions));
        let mut at = levels.iter().filter_map(|l| Some((*l, positive(point.intensity_at(*l))?)));
        let (_, intensity) = at.next()?;
        Some(Mark {
            point,
            number: i + 1,
            intensity,
            deeper: at.collect(),
            rate: positive(point.achieved_flop_rate())?,
            shape: Shape::of(version(point)),
            color: match options.colors {
                Colors::Version => marks::version_color(version(point)),
                Colors::Phase if phase => marks::phase_color(point.phase),
                Colors::Phase | Colors::Precision => marks::series_color(file),
            },
            filled: point.stage != Some(Stage::Decode),
        })
    });
    marks.collect()
}

/// The plot area with its axes.
struct Chart {
    frame: Area,
    x: LogAxis,
    y: LogAxis,
    scale: Scale,
}

impl Chart {
    fn new(frame: Area, marks: &[Mark<'_>], ceilings: &[Line]) -> Self {
        let (least, most) = PLAUSIBLE_INTENSITY;
        let mut xs: Vec<f64> = marks.iter().map(|m| m.intensity.clamp(least, most)).collect();
        xs.extend(marks.iter().flat_map(|m| &m.deeper).map(|(_, x)| x.clamp(least, most)));
        if marks.iter().any(|m| !m.deeper.is_empty()) {
            // Every level's slope is to be seen, at least where it ends.
            let lowest = ceilings.iter().filter(|l| !l.bandwidth).map(|l| l.value).reduce(f64::min);
            let ends = ceilings.iter().filter(|l| l.bandwidth).filter_map(|l| Some(lowest? / l.value));
            xs.extend(ends.map(|x| x.clamp(least, most)));
        }
        xs.extend(ridges(ceilings).iter().map(|(x, _)| *x));
        let x = LogAxis::over(&xs, 3, frame.x0, frame.x1);
        let mut ys: Vec<f64> = marks.iter().map(|m| m.rate).collect();
        ys.extend(ceilings.iter().filter(|l| !l.bandwidth).map(|l| l.value));
        if ceilings.iter().all(|l| l.bandwidth) {
            ys.extend(ceilings.iter().map(|l| l.value * x.max()));
        }
        let top = ys.iter().copied().fold(0.0, f64::max);
        let ys: Vec<f64> = ys.into_iter().map(|y| y.max(top * 1e-9)).collect();
        let y = LogAxis::over(&ys, 3, frame.y1, frame.y0);
        let scale = Scale::for_values([y.middle()], FlopRate::UNIT);
        Self { frame, x, y, scale }
    }

    fn grid(&self, canvas: &mut Canvas) {
        let f = self.frame;
        for (axis, vertical) in [(&self.x, true), (&self.y, false)] {
            let minor = axis.minor_ticks().into_iter().map(|v| (v, FAINT));
            for (value, color) in minor.chain(axis.ticks().into_iter().map(|v| (v, LIGHT))) {
                let p = axis.pixel(value);
                let ends = if vertical { ((p, f.y0), (p, f.y1)) } else { ((f.x0, p), (f.x1, p)) };
                canvas.line(ends.0, ends.1, color, 1);
            }
        }
        for value in self.x.ticks() {
            let text = Text::new(tick_label(value), self.x.pixel(value), f.y1 + 14.0, 11.0);
            canvas.text(text.anchored(Anchor::Middle));
        }
        for value in self.y.ticks() {
            let label = tick_label(self.scale.apply(value));
            canvas.text(Text::new(label, f.x0 - 8.0, self.y.pixel(value), 11.0).anchored(Anchor::End));
        }
        canvas.path(&[(f.x0, f.y0), (f.x0, f.y1), (f.x1, f.y1)], BLACK, 1);
    }

    /// The ends of a ceiling inside the frame, in pixels: slopes up to the highest compute ceiling, levels from
    /// the steepest slope on. Clipped here, so that nothing is drawn outside.
    fn segment(&self, line: &Line, all: &[Line]) -> Option<((f64, f64), (f64, f64))> {
        let (x0, x1, y0, y1) = (self.x.min(), self.x.max(), self.y.min(), self.y.max());
        let highest = |bandwidth: bool| {
            all.iter().filter(|l| l.bandwidth == bandwidth).map(|l| l.value).reduce(f64::max)
        };
        let (from, to) = if line.bandwidth {
            let top = highest(false).unwrap_or(y1).min(y1);
            ((y0 / line.value).max(x0), (top / line.value).min(x1))
        } else {
            (highest(true).map_or(x0, |b| line.value / b).max(x0), x1)
        };
        let height = |x: f64| if line.bandwidth { line.value * x } else { line.value };
        let visible = from < to && height(from) <= y1 * 1.001 && height(to) >= y0;
        visible.then(|| {
            let at = |x: f64| (self.x.pixel(x), self.y.pixel(height(x)));
            (at(from), at(to))
        })
    }

    fn ceilings(&self, canvas: &mut Canvas, all: &[Line]) {
        for line in all {
            let Some((from, to)) = self.segment(line, all) else { continue };
            if line.bandwidth && !line.dram {
                canvas.dashed(from, to, GREY, 1);
            } else {
                canvas.line(from, to, BLACK, 2);
            }
        }
        for (x, y) in self.visible_ridges(all) {
            marks::marker(canvas, Shape::Diamond, (x, y), 4.0, BLACK, false);
        }
    }

    fn visible_ridges(&self, all: &[Line]) -> Vec<(f64, f64)> {
        let inside = ridges(all).into_iter().filter(|(x, y)| self.x.contains(*x) && self.y.contains(*y));
        inside.map(|(x, y)| (self.x.pixel(x), self.y.pixel(y))).collect()
    }

    /// Where a mark is drawn: at the edge for one outside the frame, and whether it is.
    fn position(&self, mark: &Mark<'_>) -> ((f64, f64), bool) {
        let (x, y) = (self.x.pixel(mark.intensity), self.y.pixel(mark.rate));
        let f = self.frame;
        let inner = (x.clamp(f.x0 + 20.0, f.x1 - 20.0), y.clamp(f.y0 + 8.0, f.y1 - 8.0));
        let outside = !self.x.contains(mark.intensity) || !self.y.contains(mark.rate);
        if outside { (inner, true) } else { ((x, y), false) }
    }

    /// Arrows from a kernel's point in the first file to its point in a later one.
    fn changes(&self, canvas: &mut Canvas, roofline: &Roofline, marks: &[Mark<'_>]) {
        let at = |point: usize| marks.iter().find(|m| m.number == point + 1).map(|m| self.position(m).0);
        for change in changes(roofline) {
            let (Some(old), Some(new)) = (at(change.old), at(change.new)) else { continue };
            marks::arrow(canvas, old, new, GREY);
        }
    }

    /// Lines from each point to the next of its file and stage.
    fn trajectories(&self, canvas: &mut Canvas, marks: &[Mark<'_>]) {
        for (i, mark) in marks.iter().enumerate().filter(|(_, m)| m.point.level == Level::Group) {
            let next = |m: &&Mark<'_>| m.point.file == mark.point.file && m.point.stage == mark.point.stage;
            if let Some(next) = marks[i + 1..].iter().find(next) {
                canvas.line(self.position(mark).0, self.position(next).0, mark.color, 1);
            }
        }
    }

    /// Where the points of deeper levels are.
    fn deeper(&self, mark: &Mark<'_>) -> Vec<(f64, f64)> {
        let f = self.frame;
        let y = self.position(mark).0.1;
        mark.deeper.iter().map(|(_, x)| (self.x.pixel(*x).clamp(f.x0 + 4.0, f.x1 - 4.0), y)).collect()
    }

    fn mark(&self, canvas: &mut Canvas, mark: &Mark<'_>) {
        let (at, outside) = self.position(mark);
        for (i, end) in self.deeper(mark).into_iter().enumerate() {
            canvas.line(at, end, mark.color, 1);
            marks::marker(canvas, mark.shape, end, deeper_radius(i), mark.color, mark.filled);
        }
        marks::marker(canvas, mark.shape, at, mark.radius(), mark.color, mark.filled);
        if mark.point.is_lower_bound() {
            marks::lower_bound_arrow(canvas, at, mark.color);
        }
        if outside {
            let side = if self.x.pixel(mark.intensity) > at.0 { 1.0 } else { -1.0 };
            let (foot, tip) = (at.0 + side * 9.0, at.0 + side * 17.0);
            canvas.polygon(&[(tip, at.1), (foot, at.1 - 5.0), (foot, at.1 + 5.0)], mark.color);
        }
    }

    /// What labels must not cover.
    fn obstacles(&self, marks: &[Mark<'_>], all: &[Line]) -> Obstacles {
        let mut obstacles = Obstacles::new(self.frame);
        for mark in marks {
            let ((x, y), _) = self.position(mark);
            obstacles.add_area(Area::around(x, y, mark.radius() + 1.0));
            for (i, end) in self.deeper(mark).into_iter().enumerate() {
                obstacles.add_area(Area::around(end.0, end.1, deeper_radius(i) + 1.0));
                obstacles.add_line((x, y), end);
            }
            if mark.point.is_lower_bound() {
                obstacles.add_area(Area { x0: x, y0: y - 17.0, x1: x + 17.0, y1: y });
            }
        }
        for (x, y) in self.visible_ridges(all) {
            obstacles.add_area(Area::around(x, y, 5.0));
        }
        for (from, to) in all.iter().filter_map(|l| self.segment(l, all)) {
            obstacles.add_line(from, to);
        }
        obstacles
    }

    /// Whether every point's name finds a place beside it; else numbers are clearer.
    fn names_fit(&self, marks: &[Mark<'_>], all: &[Line]) -> bool {
        let mut obstacles = self.obstacles(marks, all);
        let mut unseen = Canvas::new(1, 1, Theme::Light);
        self.ceiling_labels(&mut unseen, &mut obstacles, all);
        self.ridge_labels(&mut unseen, &mut obstacles, all);
        marks.iter().all(|mark| {
            let ((x, y), _) = self.position(mark);
            let label = obstacles.place(&around(&label_text(mark, false), x, y, 11.0));
            label.is_some_and(|l| !needs_leader(&l.area(), x, y))
        })
    }

    fn labels(&self, canvas: &mut Canvas, marks: &[Mark<'_>], all: &[Line], numbered: bool) {
        let mut obstacles = self.obstacles(marks, all);
        self.ceiling_labels(canvas, &mut obstacles, all);
        self.ridge_labels(canvas, &mut obstacles, all);
        for mark in marks {
            self.point_label(canvas, &mut obstacles, mark, numbered);
        }
    }

    fn ceiling_labels(&self, canvas: &mut Canvas, obstacles: &mut Obstacles, all: &[Line]) {
        for line in all {
            let Some((from, to)) = self.segment(line, all) else { continue };
            let text = format!("{} {}", line.name, line.value_text);
            let candidates = if line.bandwidth { along(&text, from, to) } else { above(&text, from, to) };
            if let Some(label) = obstacles.place(&candidates) {
                canvas.text(label.colored(line_color(line)));
            }
        }
    }

    fn ridge_labels(&self, canvas: &mut Canvas, obstacles: &mut Obstacles, all: &[Line]) {
        for (intensity, rate) in ridges(all) {
            let (x, y) = (self.x.pixel(intensity), self.y.pixel(rate));
            if !self.x.contains(intensity) || !self.y.contains(rate) {
                continue;
            }
            let text = format!("ridge {}", crate::render::table::significant(Some(intensity)));
            if let Some(label) = obstacles.place(&around(&text, x, y, 10.0)) {
                canvas.text(label.colored(GREY));
            }
        }
    }

    fn point_label(&self, canvas: &mut Canvas, obstacles: &mut Obstacles, mark: &Mark<'_>, numbered: bool) {
        let ((x, y), _) = self.position(mark);
        let candidates = around(&label_text(mark, numbered), x, y, 11.0);
        let Some((label, leader)) = obstacles.place_beside(&candidates, (x, y), mark.radius()) else {
            return;
        };
        if let Some((from, to)) = leader {
            canvas.line(from, to, GREY, 1);
        }
        canvas.text(label);
    }
}

/// Places for the label of a slope: along it, over it or under it, from its lower end.
fn along(text: &str, from: (f64, f64), to: (f64, f64)) -> Vec<Text> {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy);
    let angle = dy.atan2(dx).to_degrees();
    let room = length - font::width(text, 11.0, false) - 6.0;
    let starts = (0..=20).map(|i| 6.0 + (room - 6.0).max(0.0) * f64::from(i) / 20.0);
    let starts: Vec<f64> = starts.collect();
    let at = |offset: f64, start: f64| {
        let (x, y) = (from.0 + dx * start / length, from.1 + dy * start / length);
        Text::new(text, x + dy / length * offset, y - dx / length * offset, 11.0).turned(angle)
    };
    [11.0, -11.0].into_iter().flat_map(|offset| starts.iter().map(move |s| at(offset, *s))).collect()
}

/// Places for the label of a level: over it or under it, from its right end.
fn above(text: &str, from: (f64, f64), to: (f64, f64)) -> Vec<Text> {
    let at = |t: f64, dy: f64| {
        let (x, y) = (to.0 + (from.0 - to.0) * t, to.1 + (from.1 - to.1) * t);
        Text::new(text, x - 6.0, y + dy, 11.0).anchored(Anchor::End)
    };
    (0..=18).flat_map(|i| [-13.0, 13.0].map(|dy| at(f64::from(i) / 20.0, dy))).collect()
}

fn label_text(mark: &Mark<'_>, numbered: bool) -> String {
    if numbered {
        return mark.number.to_string();
    }
    let name = font::fit(&mark.point.label(), 11.0, 190.0);
    if mark.point.is_lower_bound() { format!("≥ {name}") } else { name }
}

fn titles(canvas: &mut Canvas, options: &ChartOptions, chart: &Chart, (width, height): (f64, f64)) {
    let f = chart.frame;
    let middle = f64::midpoint(f.x0, f.x1);
    let title = options.title.as_deref().unwrap_or("Roofline");
    canvas.text(Text::new(font::fit(title, 18.0, width - LEFT - 80.0), f.x0, 28.0, 18.0).bold());
    let x = "arithmetic intensity [FLOP/B]";
    canvas.text(Text::new(x, middle, f.y1 + 38.0, 12.0).anchored(Anchor::Middle));
    let rate = if options.analytic { "ANALYTIC: attainable rate" } else { "achieved rate" };
    let y = format!("{rate} [{}]", chart.scale.unit);
    let text = Text::new(y, 22.0, f64::midpoint(f.y0, f.y1), 12.0);
    canvas.text(text.anchored(Anchor::Middle).vertical());
    footer(canvas, options, width, height);
}

/// The line of provenance at the bottom; two, where it is long.
pub(super) fn footer(canvas: &mut Canvas, options: &ChartOptions, width: f64, height: f64) {
    let lines = font::one_or_two_lines(&options.footer, 10.0, width - 2.0 * 20.0);
    for (line, text) in lines.into_iter().rev().enumerate() {
        canvas.text(Text::new(text, 20.0, height - 14.0 - 13.0 * line as f64, 10.0).colored(GREY));
    }
}

#[cfg(test)]
pub(super) mod tests;
