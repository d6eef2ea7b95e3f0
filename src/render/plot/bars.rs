//! Bars with their values.

use super::canvas::{Area, Canvas, Rgb};
use super::font;
use super::marks::BLACK;
use super::plane::Plane;
use super::text::{Anchor, Text};

const SIZE: f64 = 11.0;

/// An upright bar at a pixel of the x axis.
pub(super) struct Bar {
    pub(super) x: f64,
    pub(super) width: f64,
    pub(super) value: f64,
    pub(super) interval: Option<(f64, f64)>,
    pub(super) color: Rgb,
}

impl Bar {
    /// Draws it with its interval, and over it its value, where that is not wider than `room`.
    pub(super) fn draw(&self, canvas: &mut Canvas, plane: &Plane, room: f64) {
        let mut above = self.draw_unlabelled(canvas, plane);
        if let Some(interval) = self.interval {
            plane.whisker(canvas, self.x, interval, BLACK);
            above = above.min(plane.y.pixel(interval.1));
        }
        let text = plane.y.text(self.value);
        if font::width(&text, SIZE, false) <= room {
            let text = Text::new(text, self.x, above - 8.0, SIZE);
            canvas.text(text.anchored(Anchor::Middle).halo());
        }
    }

    /// The same without its value; gives its upper end.
    pub(super) fn draw_unlabelled(&self, canvas: &mut Canvas, plane: &Plane) -> f64 {
        let (top, bottom) = (plane.y.pixel(self.value), plane.y.pixel(0.0));
        let (x0, x1) = (self.x - self.width / 2.0, self.x + self.width / 2.0);
        canvas.rect(Area { x0, y0: top.min(bottom), x1, y1: top.max(bottom) }, self.color);
        top.min(bottom)
    }
}

/// The middles and the width of `count` bars beside each other around `middle`, in a slot of `room` pixels.
pub(super) fn places(middle: f64, room: f64, count: usize) -> (Vec<f64>, f64) {
    let step = (0.8 * room / count.max(1) as f64).min(64.0);
    let first = middle - step * (count as f64 - 1.0) / 2.0;
    ((0..count).map(|i| first + step * i as f64).collect(), (step - 3.0).max(1.0))
}
