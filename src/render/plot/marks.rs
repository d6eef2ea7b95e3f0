//! Markers and colours: shape is the version, fill the stage, colour the phase or the file.

use super::canvas::{Canvas, Rgb};
use crate::llm::Phase;

pub(super) const BLACK: Rgb = (0, 0, 0);
pub(super) const WHITE: Rgb = (255, 255, 255);
pub(super) const GREY: Rgb = (110, 110, 110);
pub(super) const LIGHT: Rgb = (214, 214, 214);
pub(super) const FAINT: Rgb = (238, 238, 238);

/// Okabe and Ito (2008), without black and yellow, which is too faint on white.
pub(super) const PALETTE: [Rgb; 6] =
    [(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0)];

/// The colour of the `index`th file.
pub(super) fn series_color(index: usize) -> Rgb {
    PALETTE[index % PALETTE.len()]
}

/// The colour of the version that [`version_index`] gives this number.
pub(super) fn version_color(index: usize) -> Rgb {
    // Beyond as many versions as there are shapes, the next shape meets another colour.
    series_color(index + index / Shape::ALL.len())
}

/// The number that gives a version its colour and its shape, in every figure the same: that of its name (`v3` is 3), and
/// for other names, after the built-in versions, their place among those of `all`.
pub(in crate::render) fn version_index(name: &str, all: &[&str]) -> usize {
    let number = |name: &str| name.strip_prefix('v').and_then(|n| n.parse::<usize>().ok());
    let mut others: Vec<&str> = all.iter().copied().filter(|n| number(n).is_none()).collect();
    others.sort_unstable();
    others.dedup();
    number(name).unwrap_or_else(|| 5 + others.iter().position(|n| *n == name).unwrap_or(0))
}

/// The colour of a phase; a whole stage is black.
pub(super) fn phase_color(phase: Option<Phase>) -> Rgb {
    match phase {
        Some(Phase::Embedding) => PALETTE[4],
        Some(Phase::Attention) => PALETTE[1],
        Some(Phase::Mlp) => PALETTE[2],
        Some(Phase::Head) => PALETTE[3],
        None => BLACK,
    }
}

/// The colour of time that no op covers.
pub(super) const OTHER: Rgb = (170, 170, 170);

/// A marker's outline; versions take them in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    Inverted,
    Pentagon,
}

impl Shape {
    const ALL: [Self; 6] =
        [Self::Circle, Self::Square, Self::Triangle, Self::Diamond, Self::Inverted, Self::Pentagon];

    /// The shape of the `index`th version.
    pub(super) fn of(index: usize) -> Self {
        Self::ALL[index % Self::ALL.len()]
    }

    /// Corners at the distance that gives the shapes about the same area.
    fn outline(self, x: f64, y: f64, radius: f64) -> Vec<(f64, f64)> {
        let (corners, scale, turn) = match self {
            Self::Circle => (24, 1.0, 0.0),
            Self::Square => (4, 1.25, 0.25),
            Self::Triangle => (3, 1.4, -0.5),
            Self::Diamond => (4, 1.3, -0.5),
            Self::Inverted => (3, 1.4, 0.5),
            Self::Pentagon => (5, 1.2, -0.5),
        };
        (0..corners)
            .map(|i| {
                let angle = std::f64::consts::PI * (turn + 2.0 * f64::from(i) / f64::from(corners));
                (x + radius * scale * angle.cos(), y + radius * scale * angle.sin())
            })
            .collect()
    }
}

/// Draws a marker: filled, or hollow with a white inside.
pub(super) fn marker(
    canvas: &mut Canvas,
    shape: Shape,
    at: (f64, f64),
    radius: f64,
    color: Rgb,
    filled: bool,
) {
    if shape == Shape::Circle {
        canvas.circle(at, radius, if filled { color } else { WHITE }, None);
        let (color, stroke) = if filled { (WHITE, 1) } else { (color, 2) };
        return canvas.circle(at, radius, color, Some(stroke));
    }
    let mut outline = shape.outline(at.0, at.1, radius);
    canvas.polygon(&outline, if filled { color } else { WHITE });
    outline.push(outline[0]);
    outline.push(outline[1]);
    canvas.path(&outline, if filled { WHITE } else { color }, if filled { 1 } else { 2 });
}

/// An arrow from one marker to another, clear of both; none between markers that touch.
pub(super) fn arrow(canvas: &mut Canvas, from: (f64, f64), to: (f64, f64), color: Rgb) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy);
    if length < 26.0 {
        return;
    }
    let (ux, uy) = (dx / length, dy / length);
    let tip = (to.0 - 8.0 * ux, to.1 - 8.0 * uy);
    let foot = (tip.0 - 9.0 * ux, tip.1 - 9.0 * uy);
    canvas.line((from.0 + 8.0 * ux, from.1 + 8.0 * uy), foot, color, 1);
    canvas.polygon(
        &[tip, (foot.0 - 4.0 * uy, foot.1 + 4.0 * ux), (foot.0 + 4.0 * uy, foot.1 - 4.0 * ux)],
        color,
    );
}

/// An arrow upwards and to the right: the true point lies there.
pub(super) fn lower_bound_arrow(canvas: &mut Canvas, (x, y): (f64, f64), color: Rgb) {
    let (tip, foot) = ((x + 15.0, y - 15.0), (x + 5.0, y - 5.0));
    canvas.line(foot, tip, color, 2);
    canvas.line(tip, (tip.0 - 6.0, tip.1), color, 2);
    canvas.line(tip, (tip.0, tip.1 + 6.0), color, 2);
}
