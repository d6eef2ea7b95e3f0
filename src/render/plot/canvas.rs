//! A list of shapes that becomes an SVG through plotters, and the boxes of its texts.

use super::font;
use plotters::backend::SVGBackend;
use plotters_backend::text_anchor::{HPos, Pos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, FontFamily, FontStyle,
    FontTransform,
};

pub(super) type Rgb = (u8, u8, u8);

/// A drawn chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The SVG document.
    pub svg: String,
    /// Where its texts are, in pixels of the SVG.
    pub texts: Vec<TextBox>,
}

/// The rectangle of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct TextBox {
    /// The text.
    pub text: String,
    /// Left, top, right, bottom.
    pub area: Area,
}

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    /// Left.
    pub x0: f64,
    /// Top.
    pub y0: f64,
    /// Right.
    pub x1: f64,
    /// Bottom.
    pub y1: f64,
}

impl Area {
    pub(super) fn around(x: f64, y: f64, radius: f64) -> Self {
        Self { x0: x - radius, y0: y - radius, x1: x + radius, y1: y + radius }
    }

    /// Whether the two share more than an edge.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.x0 < other.x1 && other.x0 < self.x1 && self.y0 < other.y1 && other.y0 < self.y1
    }

    /// Whether `other` lies within.
    pub fn contains(&self, other: &Self) -> bool {
        self.x0 <= other.x0 && self.y0 <= other.y0 && self.x1 >= other.x1 && self.y1 >= other.y1
    }
}

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
        }
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

enum Shape {
    Path(Vec<(f64, f64)>, Rgb, u32),
    Polygon(Vec<(f64, f64)>, Rgb),
    /// Centre, radius, colour, stroke; without a stroke it is filled.
    Circle((f64, f64), u32, Rgb, Option<u32>),
    Dashed((f64, f64), (f64, f64), Rgb, u32),
    Text(Text),
}

/// Collects shapes in the order they are drawn.
pub(super) struct Canvas {
    width: u32,
    height: u32,
    shapes: Vec<Shape>,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self { width, height, shapes: Vec::new() }
    }

    pub(super) fn path(&mut self, points: &[(f64, f64)], color: Rgb, stroke: u32) {
        self.shapes.push(Shape::Path(points.to_vec(), color, stroke));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), color: Rgb, stroke: u32) {
        self.path(&[from, to], color, stroke);
    }

    pub(super) fn dashed(&mut self, from: (f64, f64), to: (f64, f64), color: Rgb, stroke: u32) {
        self.shapes.push(Shape::Dashed(from, to, color, stroke));
    }

    pub(super) fn polygon(&mut self, points: &[(f64, f64)], color: Rgb) {
        self.shapes.push(Shape::Polygon(points.to_vec(), color));
    }

    pub(super) fn circle(&mut self, at: (f64, f64), radius: f64, color: Rgb, stroke: Option<u32>) {
        self.shapes.push(Shape::Circle(at, radius.round() as u32, color, stroke));
    }

    pub(super) fn rect(&mut self, area: Area, color: Rgb) {
        let Area { x0, y0, x1, y1 } = area;
        self.polygon(&[(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color);
    }

    pub(super) fn text(&mut self, text: Text) {
        self.shapes.push(Shape::Text(text));
    }

    pub(super) fn finish(self) -> Figure {
        let mut svg = String::new();
        {
            let mut backend = SVGBackend::with_string(&mut svg, (self.width, self.height));
            let white = Style { color: (255, 255, 255), stroke: 1 };
            let corner = (self.width as i32, self.height as i32);
            // OK to ignore errors here and in `draw`: writing to a string cannot fail.
            let _ = backend.draw_rect((0, 0), corner, &white, true);
            for (i, shape) in self.shapes.iter().enumerate() {
                match own_svg(shape) {
                    Some(_) => draw(
                        &mut backend,
                        &Shape::Text(Text { text: mark(i), ..Text::new("", 0.0, 0.0, 1.0) }),
                    ),
                    None => draw(&mut backend, shape),
                }
            }
            let _ = backend.present();
        }
        for (i, shape) in self.shapes.iter().enumerate() {
            if let Some(own) = own_svg(shape) {
                replace_element(&mut svg, &mark(i), &own);
            }
        }
        let texts = self.shapes.iter().filter_map(|s| match s {
            Shape::Text(text) => Some(text),
            _ => None,
        });
        let boxes =
            texts.flat_map(|t| t.areas().into_iter().map(|area| TextBox { text: t.text.clone(), area }));
        Figure { texts: boxes.collect(), svg }
    }
}

/// plotters' backend has neither dashes nor turned text: such shapes are written here, into the place of a text
/// that begins with this character of Unicode's private area.
const MARK: char = '\u{E000}';

fn mark(index: usize) -> String {
    format!("{MARK}{index}{MARK}")
}

/// The SVG of what plotters does not draw.
fn own_svg(shape: &Shape) -> Option<String> {
    match shape {
        Shape::Dashed((x1, y1), (x2, y2), color, stroke) => Some(format!(
            "<line opacity=\"1\" stroke=\"{}\" stroke-width=\"{stroke}\" stroke-dasharray=\"5 4\" \
             x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>",
            hex(*color)
        )),
        Shape::Text(text) if text.angle != 0.0 => {
            let (x, y) = (text.x, text.y);
            Some(format!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" dy=\"0.5ex\" text-anchor=\"start\" font-family=\"{}\" \
                 font-size=\"{}\" opacity=\"1\" fill=\"{}\" transform=\"rotate({:.1}, {x:.1}, {y:.1})\">\n{}\n</text>",
                font::FAMILY,
                text.size,
                hex(text.color),
                text.angle,
                escaped(&text.text)
            ))
        }
        _ => None,
    }
}

fn hex((r, g, b): Rgb) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Replaces the text element that holds `mark`.
fn replace_element(svg: &mut String, mark: &str, own: &str) {
    let Some(at) = svg.find(mark) else { return };
    let Some(start) = svg[..at].rfind("<text") else { return };
    let Some(end) = svg[at..].find("</text>").map(|e| at + e + "</text>".len()) else { return };
    svg.replace_range(start..end, own);
}

fn draw(backend: &mut SVGBackend<'_>, shape: &Shape) {
    let pixels = |points: &[(f64, f64)]| -> Vec<BackendCoord> { points.iter().map(|p| pixel(*p)).collect() };
    let _ = match shape {
        Shape::Path(points, color, stroke) => match pixels(points)[..] {
            [from, to] => backend.draw_line(from, to, &Style { color: *color, stroke: *stroke }),
            ref path => backend.draw_path(path.iter().copied(), &Style { color: *color, stroke: *stroke }),
        },
        Shape::Polygon(points, color) => {
            backend.fill_polygon(pixels(points), &Style { color: *color, stroke: 1 })
        }
        Shape::Circle(at, radius, color, stroke) => {
            let style = Style { color: *color, stroke: stroke.unwrap_or(1) };
            backend.draw_circle(pixel(*at), *radius, &style, stroke.is_none())
        }
        Shape::Text(text) => backend.draw_text(&text.text, &TextStyle(text), pixel((text.x, text.y))),
        // Written by `own_svg`.
        Shape::Dashed(..) => Ok(()),
    };
}

fn pixel((x, y): (f64, f64)) -> BackendCoord {
    (x.round() as i32, y.round() as i32)
}

struct Style {
    color: Rgb,
    stroke: u32,
}

impl BackendStyle for Style {
    fn color(&self) -> BackendColor {
        BackendColor { alpha: 1.0, rgb: self.color }
    }

    fn stroke_width(&self) -> u32 {
        self.stroke
    }
}

struct TextStyle<'a>(&'a Text);

impl BackendTextStyle for TextStyle<'_> {
    type FontError = std::convert::Infallible;

    fn color(&self) -> BackendColor {
        BackendColor { alpha: 1.0, rgb: self.0.color }
    }

    /// plotters writes this divided by 1.24 as the SVG's font size.
    fn size(&self) -> f64 {
        self.0.size * 1.24
    }

    fn transform(&self) -> FontTransform {
        if self.0.vertical { FontTransform::Rotate270 } else { FontTransform::None }
    }

    fn style(&self) -> FontStyle {
        if self.0.bold { FontStyle::Bold } else { FontStyle::Normal }
    }

    fn anchor(&self) -> Pos {
        let h = match self.0.anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        Pos::new(h, VPos::Center)
    }

    fn family(&self) -> FontFamily<'_> {
        FontFamily::Name(font::FAMILY)
    }

    fn layout_box(&self, _: &str) -> Result<((i32, i32), (i32, i32)), Self::FontError> {
        Ok(((0, 0), (0, 0)))
    }

    fn draw<E, F: FnMut(i32, i32, BackendColor) -> Result<(), E>>(
        &self,
        _: &str,
        _: BackendCoord,
        _: F,
    ) -> Result<Result<(), E>, Self::FontError> {
        Ok(Ok(()))
    }
}
