//! What every figure has around its plots: title, what it shows, legend, provenance; and the room that they leave.

use super::canvas::{Area, Canvas, Figure};
use super::font;
use super::legend::{self, Section};
use super::marks::GREY;
use super::options::ChartOptions;
use super::roofline::footer;
use super::text::Text;

const MARGIN: f64 = 20.0;
const TOP: f64 = 30.0;
const BELOW: f64 = 40.0;
/// The widest that a legend gets.
const WIDEST_LEGEND: f64 = 250.0;
/// Smaller than this, labels leave plots no room.
const LEAST: (u32, u32) = (480, 320);

/// What stands around the plots of a figure.
pub(super) struct Head<'a> {
    /// Where the user gives none.
    pub(super) title: &'a str,
    /// What is drawn, of which twin and with what spread; parts are separated by ` · `.
    pub(super) note: &'a str,
    pub(super) legend: &'a [Section],
    /// Where the user gives none.
    pub(super) size: (u32, u32),
    /// The least height of what is drawn: with less, its labels would meet.
    pub(super) body: f64,
}

/// A figure in the making.
pub(super) struct Sheet {
    pub(super) canvas: Canvas,
    /// Where plots go, with their axes.
    pub(super) body: Area,
}

impl Sheet {
    pub(super) fn new(options: &ChartOptions, head: &Head<'_>) -> Self {
        let (width, height) = options.size.unwrap_or(head.size);
        let width = f64::from(width.max(LEAST.0));
        let note = font::one_or_two_lines(head.note, 11.0, width - 2.0 * MARGIN);
        let top = TOP + 16.0 * note.len() as f64 + 16.0;
        let needed = top + legend::height(head.legend).max(head.body) + BELOW;
        let height = f64::from(height.max(LEAST.1)).max(needed).ceil();
        let mut canvas = Canvas::new(width as u32, height as u32, options.theme);
        let title = options.title.as_deref().unwrap_or(head.title);
        canvas.text(Text::new(font::fit_bold(title, 16.0, width - 2.0 * MARGIN), MARGIN, 24.0, 16.0).bold());
        for (i, line) in note.into_iter().enumerate() {
            canvas.text(Text::new(line, MARGIN, TOP + 16.0 + 16.0 * i as f64, 11.0).colored(GREY));
        }
        let panel = legend::width(head.legend).min(WIDEST_LEGEND).min(width / 3.0);
        let gap = if panel > 0.0 { MARGIN } else { 0.0 };
        legend::draw(&mut canvas, head.legend, width - MARGIN - panel, top, panel);
        footer(&mut canvas, options, width, height);
        let body = Area { x0: MARGIN, y0: top, x1: width - MARGIN - panel - gap, y1: height - BELOW };
        Self { canvas, body }
    }

    pub(super) fn finish(self) -> Figure {
        self.canvas.finish()
    }
}

/// `area` cut into `count` parts beside each other.
pub(super) fn columns(area: Area, count: usize, gap: f64) -> Vec<Area> {
    let width = (area.x1 - area.x0 - gap * (count as f64 - 1.0)) / count as f64;
    let left = |i: usize| area.x0 + (width + gap) * i as f64;
    (0..count).map(|i| Area { x0: left(i), x1: left(i) + width, ..area }).collect()
}

/// `area` cut into `count` parts one under the other.
pub(super) fn rows(area: Area, count: usize, gap: f64) -> Vec<Area> {
    let height = (area.y1 - area.y0 - gap * (count as f64 - 1.0)) / count as f64;
    let top = |i: usize| area.y0 + (height + gap) * i as f64;
    (0..count).map(|i| Area { y0: top(i), y1: top(i) + height, ..area }).collect()
}
