//! A text of a chart: where it stands, how it looks, and what it covers.

use super::canvas::{Area, MARK, Rgb};
use super::font;

/// Which end of a text its position is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A text and how it looks; `y` is its middle.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) size: f64,
    pub(super) anchor: Anchor,
    pub(super) color: Rgb,
    pub(super) bold: bool,
    /// Upwards, for the title of a vertical axis.
    pub(super) vertical: bool,
    /// Degrees that the text is turned by around its start, clockwise; along a sloped line.
    pub(super) angle: f64,
    /// The colour that it stands on: then it is dark or light, whichever reads better there.
    pub(super) over: Option<Rgb>,
    /// Whether the background is drawn behind it, so that a grid line does not cross it.
    pub(super) halo: bool,
}

impl Text {
    pub(super) fn new(text: impl Into<String>, x: f64, y: f64, size: f64) -> Self {
        let printable = |c: char| if c.is_control() || (MARK..='\u{E00F}').contains(&c) { ' ' } else { c };
        let text = text.into().chars().map(printable).collect();
        Self {
            text,
            x,
            y,
            size,
            anchor: Anchor::Start,
            color: (0, 0, 0),
            bold: false,
            vertical: false,
            angle: 0.0,
            over: None,
            halo: false,
        }
    }

    /// A text that stands for a shape of another kind, and is replaced by it.
    pub(super) fn mark(text: String) -> Self {
        Self { text, ..Self::new("", 0.0, 0.0, 1.0) }
    }

    pub(super) fn anchored(mut self, anchor: Anchor) -> Self {
        self.anchor = anchor;
        self
    }

    pub(super) fn colored(mut self, color: Rgb) -> Self {
        self.color = color;
        self
    }

    pub(super) fn bold(mut self) -> Self {
        self.bold = true;
        self
    }

    pub(super) fn vertical(mut self) -> Self {
        self.vertical = true;
        self
    }

    /// The same on a shape of this colour.
    pub(super) fn over(mut self, color: Rgb) -> Self {
        self.over = Some(color);
        self
    }

    /// The same with the background behind it.
    pub(super) fn halo(mut self) -> Self {
        self.halo = true;
        self
    }

    /// The same turned around its start.
    pub(super) fn turned(mut self, angle: f64) -> Self {
        self.angle = angle;
        self
    }

    /// What the text covers: its area, or small ones along a turned text.
    pub(super) fn areas(&self) -> Vec<Area> {
        if self.angle == 0.0 {
            return vec![self.area()];
        }
        let width = font::width(&self.text, self.size, self.bold);
        let (sin, cos) = self.angle.to_radians().sin_cos();
        let count = (width / self.size).ceil().max(1.0) as usize;
        let at = |i: usize| (i as f64 + 0.5) * width / count as f64;
        (0..count)
            .map(|i| Area::around(self.x + at(i) * cos, self.y + at(i) * sin, self.size / 2.0))
            .collect()
    }

    /// Ascent and descent of the font are 0.76 and 0.24 em; its middle line is drawn at `y`.
    pub(super) fn area(&self) -> Area {
        let width = font::width(&self.text, self.size, self.bold);
        let before = match self.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => width / 2.0,
            Anchor::End => width,
        };
        let half = self.size * 0.55;
        if self.vertical {
            let (top, bottom) = (self.y - (width - before), self.y + before);
            return Area { x0: self.x - half, y0: top, x1: self.x + half, y1: bottom };
        }
        Area { x0: self.x - before, y0: self.y - half, x1: self.x - before + width, y1: self.y + half }
    }
}
