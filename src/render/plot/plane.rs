//! A plot with two axes: each linear, logarithmic or made of names, with one prefix for all of it.

use super::axis::{log_ticks, nice_ticks, symlog};
use super::canvas::{Area, Canvas, Rgb};
use super::font;
use super::marks::{BLACK, LIGHT};
use super::text::{Anchor, Text};
use crate::units::Scale;

const SIZE: f64 = 11.0;

/// Half of what closes the ends of an interval, in pixels.
const CAP: f64 = 4.0;

/// What an axis counts in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    /// With a decimal prefix.
    Si(&'static str),
    /// Bytes with a binary prefix.
    Iec,
    /// Without a prefix; empty where the title says it.
    Plain(&'static str),
}

/// How an axis is divided.
#[derive(Clone, Debug)]
pub(super) enum Division {
    /// Linear, from 0: the only one for bars.
    Zero,
    /// Linear, over the values; from 0 where those begin near it.
    Near,
    /// Logarithmic: all values are above 0.
    Log,
    /// Linear up to this distance from 0, beyond it logarithmic, a decade being as long as that distance: for changes
    /// of a tenth of a per cent beside such of thousands, of either sign.
    Symlog(f64),
    /// A place for each name; what follows a line break stands under it, smaller.
    Names(Vec<String>),
}

/// An axis as asked for.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) title: String,
    pub(super) unit: Unit,
    pub(super) division: Division,
    /// All that is drawn, intervals included; in base units.
    pub(super) values: Vec<f64>,
}

impl Spec {
    pub(super) fn new(title: &str, unit: Unit, division: Division, values: Vec<f64>) -> Self {
        Self { title: title.to_string(), unit, division, values }
    }

    pub(super) fn names(names: Vec<String>) -> Self {
        Self::new("", Unit::Plain(""), Division::Names(names), Vec::new())
    }
}

#[derive(Clone, Debug)]
enum Kind {
    Linear {
        ticks: Vec<f64>,
        decimals: usize,
    },
    /// From `low` to `high`, which need not be ticks.
    Log {
        low: f64,
        high: f64,
        ticks: Vec<f64>,
    },
    /// From `low` to `high` in units of `linear`, see [`symlog`].
    Symlog {
        linear: f64,
        low: i32,
        high: i32,
    },
    Names(Vec<String>),
}

/// An axis with pixels.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    title: String,
    scale: Scale,
    kind: Kind,
    from: f64,
    to: f64,
}

impl Axis {
    /// Over the pixels from `from` to `to`, with at most `most` ticks.
    fn new(spec: &Spec, from: f64, to: f64, most: usize) -> Self {
        let finite = || spec.values.iter().copied().filter(|v| v.is_finite());
        let (least, greatest) = (finite().fold(f64::INFINITY, f64::min), finite().fold(0.0, f64::max));
        let typical = [greatest.max(least.abs()).min(f64::MAX)].into_iter().filter(|v| v.is_finite());
        let scale = match spec.unit {
            Unit::Si(unit) => Scale::for_values(typical, unit),
            Unit::Iec => Scale::iec_for_values(typical, "B"),
            Unit::Plain(unit) => Scale { unit: unit.to_string(), factor: 1.0 },
        };
        let scaled: Vec<f64> = finite().map(|v| scale.apply(v)).collect();
        let low = scaled.iter().copied().fold(f64::INFINITY, f64::min);
        let high = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let linear = |low: f64, high: f64| {
            let (ticks, decimals) = nice_ticks(low, high, most);
            Kind::Linear { ticks, decimals }
        };
        let kind = match &spec.division {
            Division::Zero => linear(low.min(0.0), high.max(0.0)),
            Division::Near if low > 0.0 && low < 0.4 * high => linear(0.0, high),
            Division::Near => linear(low, high),
            Division::Log => {
                let (low, high, ticks) = log_ticks(low, high, most);
                Kind::Log { low, high, ticks }
            }
            Division::Symlog(distance) => {
                let end = |v: f64| symlog(if v.is_finite() { v } else { 0.0 }, *distance);
                let (low, high) = (end(low).floor().min(0.0) as i32, end(high).ceil().max(1.0) as i32);
                Kind::Symlog { linear: *distance, low, high }
            }
            Division::Names(names) => Kind::Names(names.clone()),
        };
        Self { title: spec.title.clone(), scale, kind, from, to }
    }

    /// Where a value is; of names, where the one of this number is.
    pub(super) fn pixel(&self, value: f64) -> f64 {
        let t = match &self.kind {
            Kind::Linear { ticks, .. } => {
                let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
                (self.scale.apply(value) - low) / (high - low)
            }
            Kind::Log { low, high, .. } => (self.scale.apply(value) / low).log10() / (high / low).log10(),
            Kind::Symlog { linear, low, high } => {
                (symlog(self.scale.apply(value), *linear) - f64::from(*low)) / f64::from(high - low)
            }
            Kind::Names(names) => (value + 0.5) / names.len().max(1) as f64,
        };
        self.from + t * (self.to - self.from)
    }

    /// A value as the axis would write it, with three digits.
    pub(super) fn text(&self, value: f64) -> String {
        self.scale.format(value)
    }

    /// How much room each name has.
    pub(super) fn slot(&self) -> f64 {
        let count = if let Kind::Names(names) = &self.kind { names.len().max(1) } else { 1 };
        (self.to - self.from).abs() / count as f64
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let at = |value: f64| self.pixel(value * self.scale.factor);
        match &self.kind {
            Kind::Linear { ticks, decimals } => {
                ticks.iter().map(|t| (at(*t), format!("{t:.decimals$}"))).collect()
            }
            Kind::Log { ticks, .. } => ticks.iter().map(|t| (at(*t), t.to_string())).collect(),
            Kind::Symlog { linear, low, high } => {
                let tick = |i: i32| f64::from(i.signum()) * linear * 10f64.powi(i.abs() - 1);
                let value = |i: i32| if i == 0 { 0.0 } else { tick(i) };
                (*low..=*high).map(|i| (at(value(i)), format!("{}", rounded(value(i))))).collect()
            }
            Kind::Names(names) => {
                names.iter().enumerate().map(|(i, n)| (self.pixel(i as f64), n.clone())).collect()
            }
        }
    }

    fn is_names(&self) -> bool {
        matches!(self.kind, Kind::Names(_))
    }

    /// Empty for an axis that another one under it speaks for.
    fn heading(&self) -> String {
        match self.scale.unit.as_str() {
            _ if self.title.is_empty() => String::new(),
            "" => self.title.clone(),
            unit => format!("{} [{unit}]", self.title),
        }
    }

    fn widest_label(&self) -> f64 {
        self.ticks().iter().map(|(_, t)| font::width(t, SIZE, false)).fold(0.0, f64::max)
    }
}

/// Without what powers of ten leave in the last digits.
fn rounded(value: f64) -> f64 {
    format!("{value:e}").parse::<f64>().map_or(value, |v| (v * 1e6).round() / 1e6)
}

/// Two axes and what is between them.
pub(super) struct Plane {
    pub(super) frame: Area,
    /// Where the room for its labels begins.
    left: f64,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Plane {
    /// Fits the axes with their labels into `outer`.
    pub(super) fn new(outer: Area, x: &Spec, y: &Spec) -> Self {
        Self::with_margin(outer, x, y, 0.0)
    }

    /// The same with at least `margin` pixels to the left of its frame, so that it stands in line with another.
    pub(super) fn with_margin(outer: Area, x: &Spec, y: &Spec, margin: f64) -> Self {
        let lines = match &x.division {
            Division::Names(names) => names.iter().map(|n| n.lines().count()).max().unwrap_or(1),
            _ => 1,
        };
        let below = 10.0 + 15.0 * lines as f64 + if x.title.is_empty() { 0.0 } else { 20.0 };
        // The topmost label and the value over the highest bar.
        let (y0, y1) = (outer.y0 + 16.0, outer.y1 - below);
        let most = ((y1 - y0) / 34.0).clamp(2.0, 8.0) as usize;
        let mut y_axis = Axis::new(y, y1, y0, most);
        if y_axis.is_names() {
            // The first stands on top.
            (y_axis.from, y_axis.to) = (y0, y1);
        }
        let title = if y_axis.heading().is_empty() { 0.0 } else { 20.0 };
        let most_of_it = if y_axis.is_names() { 0.42 * (outer.x1 - outer.x0) } else { f64::MAX };
        let x0 = outer.x0 + margin.max(title + y_axis.widest_label().min(most_of_it) + 10.0);
        let x1 = outer.x1 - 12.0;
        let fits = |axis: &Axis| {
            let count = axis.ticks().len().max(2) as f64;
            axis.widest_label() + 12.0 <= (x1 - x0) / (count - 1.0)
        };
        let candidates = (2..=9).rev().map(|most| Axis::new(x, x0, x1, most));
        let x_axis = candidates.into_iter().find(fits).unwrap_or_else(|| Axis::new(x, x0, x1, 2));
        Self { frame: Area { x0, y0, x1, y1 }, left: outer.x0, x: x_axis, y: y_axis }
    }

    pub(super) fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.x.pixel(x), self.y.pixel(y))
    }

    /// Grid, ticks, labels, titles: before anything else is drawn.
    pub(super) fn draw(&self, canvas: &mut Canvas) {
        let f = self.frame;
        for (axis, across) in [(&self.x, true), (&self.y, false)] {
            if axis.is_names() {
                continue;
            }
            for (p, _) in axis.ticks() {
                let (from, to) = if across { ((p, f.y0), (p, f.y1)) } else { ((f.x0, p), (f.x1, p)) };
                canvas.line(from, to, LIGHT, 1);
            }
        }
        canvas.path(&[(f.x0, f.y0), (f.x0, f.y1), (f.x1, f.y1)], BLACK, 1);
        self.label_x(canvas);
        self.label_y(canvas);
    }

    fn label_x(&self, canvas: &mut Canvas) {
        let f = self.frame;
        let limit = if self.x.is_names() { self.x.slot() - 6.0 } else { f64::MAX };
        let mut free_from = f64::NEG_INFINITY;
        for (x, label) in self.x.ticks() {
            for (i, line) in label.lines().enumerate() {
                let size = if i == 0 { SIZE } else { 10.0 };
                let text = Text::new(font::fit(line, size, limit), x, f.y1 + 13.0 + 15.0 * i as f64, size);
                let text = text.anchored(Anchor::Middle);
                // A label that would touch the one before it is left out; its tick stays.
                if self.x.is_names() || text.area().x0 > free_from {
                    free_from = if i == 0 { text.area().x1 + 6.0 } else { free_from };
                    canvas.text(text);
                }
            }
        }
        if !self.x.heading().is_empty() {
            let lines = self.x.ticks().iter().map(|(_, t)| t.lines().count()).max().unwrap_or(1);
            let y = f.y1 + 18.0 + 15.0 * lines as f64;
            let title = font::fit(&self.x.heading(), 12.0, f.x1 - f.x0);
            let x = f64::midpoint(f.x0, f.x1);
            canvas.text(Text::new(title, x, y, 12.0).anchored(Anchor::Middle));
        }
    }

    fn label_y(&self, canvas: &mut Canvas) {
        let f = self.frame;
        let widest = self.y.widest_label().min(f.x0 - self.left - 10.0);
        let room = if self.y.is_names() { widest } else { f64::MAX };
        for (y, label) in self.y.ticks() {
            let text = Text::new(font::fit(&label, SIZE, room), f.x0 - 7.0, y, SIZE);
            canvas.text(text.anchored(Anchor::End));
        }
        if !self.y.heading().is_empty() {
            let title = font::fit(&self.y.heading(), 12.0, f.y1 - f.y0 + 24.0);
            let x = f.x0 - 10.0 - self.y.widest_label() - 11.0;
            let text = Text::new(title, x, f64::midpoint(f.y0, f.y1), 12.0);
            canvas.text(text.anchored(Anchor::Middle).vertical());
        }
    }

    /// A line through points, in their order; with gaps where a value is missing.
    pub(super) fn line(&self, canvas: &mut Canvas, points: &[(f64, f64)], color: Rgb, dashes: usize) {
        let pixels: Vec<(f64, f64)> = points.iter().map(|p| self.at(*p)).collect();
        if pixels.len() > 1 {
            canvas.path_in(&pixels, color, 2, dashes);
        }
    }

    /// A thin line, of what is computed and not measured.
    pub(super) fn thin(&self, canvas: &mut Canvas, points: &[(f64, f64)], color: Rgb, dashes: usize) {
        let pixels: Vec<(f64, f64)> = points.iter().map(|p| self.at(*p)).collect();
        match dashes {
            _ if pixels.len() < 2 => {}
            0 => canvas.curve(&pixels, color, 1),
            _ => canvas.path_in(&pixels, color, 1, dashes),
        }
    }

    /// A filled area between two values at each place; of a single place a bar.
    pub(super) fn area(&self, canvas: &mut Canvas, all: &[(f64, f64, f64)], color: Rgb) {
        if let [(x, low, high)] = all {
            let (x, y0, y1) = (self.x.pixel(*x), self.y.pixel(*high), self.y.pixel(*low));
            return canvas.rect(Area { x0: x - 12.0, y0, x1: x + 12.0, y1 }, color);
        }
        let upper = all.iter().map(|(x, _, high)| self.at((*x, *high)));
        let lower = all.iter().rev().map(|(x, low, _)| self.at((*x, *low)));
        let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
        canvas.polygon(&outline, color);
    }

    /// A band between two values at each place.
    pub(super) fn band(&self, canvas: &mut Canvas, all: &[(f64, f64, f64)], color: Rgb) {
        let upper = all.iter().map(|(x, _, high)| self.at((*x, *high)));
        let lower = all.iter().rev().map(|(x, low, _)| self.at((*x, *low)));
        let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
        if all.len() > 1 {
            canvas.shade(&outline, color, 0.18);
        }
    }

    /// An interval at a place, upright.
    pub(super) fn whisker(&self, canvas: &mut Canvas, x: f64, (low, high): (f64, f64), color: Rgb) {
        let (y0, y1) = (self.y.pixel(low), self.y.pixel(high));
        canvas.line((x, y0), (x, y1), color, 1);
        for y in [y0, y1] {
            canvas.line((x - CAP, y), (x + CAP, y), color, 1);
        }
    }

    /// The same of an interval on the horizontal axis, at the height `y` in pixels.
    pub(super) fn whisker_across(&self, canvas: &mut Canvas, y: f64, (low, high): (f64, f64), color: Rgb) {
        let (x0, x1) = (self.x.pixel(low), self.x.pixel(high));
        canvas.line((x0, y), (x1, y), color, 1);
        for x in [x0, x1] {
            canvas.line((x, y - CAP), (x, y + CAP), color, 1);
        }
    }
}
