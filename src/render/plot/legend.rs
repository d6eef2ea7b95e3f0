//! The panel beside a chart: sections of entries, each with a sample and a text.

use super::canvas::{Area, Canvas, Rgb};
use super::font;
use super::marks::{self, BLACK, GREY, Shape};
use super::text::Text;

/// What stands before an entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sample {
    Marker { shape: Shape, color: Rgb, filled: bool },
    Arrow,
    Line { color: Rgb, dashed: bool },
    Dashes { color: Rgb, dashes: usize },
    Box(Rgb),
    Number(usize),
    Nothing,
}

/// One line of the panel.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) sample: Sample,
    pub(super) text: String,
}

/// Entries under a title.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) entries: Vec<Entry>,
}

pub(super) const SIZE: f64 = 11.0;
const ROW: f64 = 16.0;
pub(super) const INDENT: f64 = 26.0;

/// How high the sections are.
pub(super) fn height(sections: &[Section]) -> f64 {
    sections.iter().filter(|s| !s.entries.is_empty()).map(|s| (s.entries.len() as f64 + 1.6) * ROW).sum()
}

/// How wide the sections are, when nothing is shortened.
pub(super) fn width(sections: &[Section]) -> f64 {
    let entries = |s: &Section| {
        s.entries.iter().map(|e| INDENT + font::width(&e.text, SIZE, false)).fold(0.0, f64::max)
    };
    let shown = sections.iter().filter(|s| !s.entries.is_empty());
    shown.map(|s| entries(s).max(font::width(s.title, SIZE, true)) + 4.0).fold(0.0, f64::max)
}

/// Draws the sections downwards from `top`, no wider than `width`.
pub(super) fn draw(canvas: &mut Canvas, sections: &[Section], left: f64, top: f64, width: f64) {
    let mut y = top + ROW / 2.0;
    for section in sections.iter().filter(|s| !s.entries.is_empty()) {
        canvas.text(Text::new(section.title, left, y, SIZE).bold());
        y += ROW;
        for entry in &section.entries {
            sample(canvas, entry.sample, left, y);
            let text = font::fit(&entry.text, SIZE, width - INDENT);
            canvas.text(Text::new(text, left + INDENT, y, SIZE));
            y += ROW;
        }
        y += 0.6 * ROW;
    }
}

fn sample(canvas: &mut Canvas, sample: Sample, left: f64, y: f64) {
    match sample {
        Sample::Marker { shape, color, filled } => {
            marks::marker(canvas, shape, (left + 9.0, y), 6.0, color, filled);
        }
        Sample::Arrow => marks::lower_bound_arrow(canvas, (left + 1.0, y + 9.0), GREY),
        Sample::Line { color, dashed: true } => canvas.dashed((left, y), (left + 19.0, y), color, 2),
        Sample::Line { color, dashed: false } => canvas.line((left, y), (left + 19.0, y), color, 2),
        Sample::Dashes { color, dashes } => {
            canvas.path_in(&[(left, y), (left + 19.0, y)], color, 2, dashes);
        }
        Sample::Box(color) => {
            let (x0, y0) = (left + 3.0, y - 6.0);
            canvas.rect(Area { x0, y0, x1: x0 + 12.0, y1: y0 + 12.0 }, color);
        }
        Sample::Number(number) => {
            canvas.text(Text::new(number.to_string(), left, y, SIZE).colored(BLACK));
        }
        Sample::Nothing => {}
    }
}
