//! A list of shapes that becomes an SVG through plotters, and the boxes of its texts.

use super::font;
use super::marks::WHITE;
use super::text::{Anchor, Text};
use super::theme::Theme;
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
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// The rectangle of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct TextBox {
    /// Which text it is, in the order they are drawn: a turned text has several rectangles.
    pub number: usize,
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

enum Shape {
    Path(Vec<(f64, f64)>, Rgb, u32),
    /// Corners, colour, opacity.
    Polygon(Vec<(f64, f64)>, Rgb, f64),
    /// Centre, radius, colour, stroke; without a stroke it is filled.
    Circle((f64, f64), u32, Rgb, Option<u32>),
    /// Points, colour, stroke, lengths of dashes and gaps.
    Dashed(Vec<(f64, f64)>, Rgb, u32, &'static str),
    Text(Text),
}

/// The dashes of a line, which is unbroken for the first of what they tell apart.
pub(super) const DASHES: [&str; 4] = ["", "7 4", "2 3", "9 3 2 3"];

/// The dashes of ceilings of caches.
const PLAIN_DASHES: &str = "5 4";

/// Collects shapes in the order they are drawn.
pub(super) struct Canvas {
    width: u32,
    height: u32,
    theme: Theme,
    shapes: Vec<Shape>,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32, theme: Theme) -> Self {
        Self { width, height, theme, shapes: Vec::new() }
    }

    pub(super) fn path(&mut self, points: &[(f64, f64)], color: Rgb, stroke: u32) {
        self.shapes.push(Shape::Path(points.to_vec(), color, stroke));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), color: Rgb, stroke: u32) {
        self.path(&[from, to], color, stroke);
    }

    pub(super) fn dashed(&mut self, from: (f64, f64), to: (f64, f64), color: Rgb, stroke: u32) {
        self.shapes.push(Shape::Dashed(vec![from, to], color, stroke, PLAIN_DASHES));
    }

    /// A path in one of [`DASHES`].
    pub(super) fn path_in(&mut self, points: &[(f64, f64)], color: Rgb, stroke: u32, dashes: usize) {
        match DASHES[dashes % DASHES.len()] {
            "" => self.path(points, color, stroke),
            dashes => self.shapes.push(Shape::Dashed(points.to_vec(), color, stroke, dashes)),
        }
    }

    /// An unbroken line through points that lie closer than pixels tell apart: those are not rounded to whole ones.
    pub(super) fn curve(&mut self, points: &[(f64, f64)], color: Rgb, stroke: u32) {
        self.shapes.push(Shape::Dashed(points.to_vec(), color, stroke, "none"));
    }

    pub(super) fn polygon(&mut self, points: &[(f64, f64)], color: Rgb) {
        self.shapes.push(Shape::Polygon(points.to_vec(), color, 1.0));
    }

    /// A polygon that what is behind it shows through.
    pub(super) fn shade(&mut self, points: &[(f64, f64)], color: Rgb, opacity: f64) {
        self.shapes.push(Shape::Polygon(points.to_vec(), color, opacity));
    }

    pub(super) fn circle(&mut self, at: (f64, f64), radius: f64, color: Rgb, stroke: Option<u32>) {
        self.shapes.push(Shape::Circle(at, radius.round() as u32, color, stroke));
    }

    pub(super) fn rect(&mut self, area: Area, color: Rgb) {
        let Area { x0, y0, x1, y1 } = area;
        self.polygon(&[(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color);
    }

    pub(super) fn text(&mut self, text: Text) {
        if text.halo {
            let Area { x0, y0, x1, y1 } = text.area();
            self.rect(Area { x0: x0 - 2.0, y0, x1: x1 + 2.0, y1 }, WHITE);
        }
        self.shapes.push(Shape::Text(text));
    }

    pub(super) fn finish(self) -> Figure {
        let mut svg = String::new();
        {
            let mut backend = SVGBackend::with_string(&mut svg, (self.width, self.height));
            let corner = (self.width as i32, self.height as i32);
            // OK to ignore errors here and in `draw`: writing to a string cannot fail.
            let _ = backend.draw_rect((0, 0), corner, &Style::new(self.theme.paint(WHITE), 1), true);
            for (i, shape) in self.shapes.iter().enumerate() {
                match own_svg(shape, self.theme) {
                    Some(_) => draw(&mut backend, &Shape::Text(Text::mark(mark(i))), self.theme),
                    None => draw(&mut backend, shape, self.theme),
                }
            }
            let _ = backend.present();
        }
        for (i, shape) in self.shapes.iter().enumerate() {
            if let Some(own) = own_svg(shape, self.theme) {
                replace_element(&mut svg, &mark(i), &own);
            }
        }
        let texts = self.shapes.iter().filter_map(|s| match s {
            Shape::Text(text) => Some(text),
            _ => None,
        });
        let boxes = texts.enumerate().flat_map(|(number, t)| {
            t.areas().into_iter().map(move |area| TextBox { number, text: t.text.clone(), area })
        });
        Figure { texts: boxes.collect(), svg, width: self.width, height: self.height }
    }
}

/// plotters' backend has neither dashes nor turned text: such shapes are written here, into the place of a text
/// that begins with this character of Unicode's private area.
pub(super) const MARK: char = '\u{E000}';

fn mark(index: usize) -> String {
    format!("{MARK}{index}{MARK}")
}

/// The SVG of what plotters does not draw.
fn own_svg(shape: &Shape, theme: Theme) -> Option<String> {
    match shape {
        Shape::Dashed(points, color, stroke, dashes) => {
            let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            Some(format!(
                "<polyline fill=\"none\" opacity=\"1\" stroke=\"{}\" stroke-width=\"{stroke}\" \
                 stroke-dasharray=\"{dashes}\" points=\"{}\"/>",
                hex(theme.paint(*color)),
                points.join(" ")
            ))
        }
        Shape::Text(text) if text.angle != 0.0 => {
            let (x, y) = (text.x, text.y);
            Some(format!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" dy=\"0.5ex\" text-anchor=\"start\" font-family=\"{}\" \
                 font-size=\"{}\" opacity=\"1\" fill=\"{}\" transform=\"rotate({:.1}, {x:.1}, {y:.1})\">\n{}\n</text>",
                font::FAMILY,
                text.size,
                hex(theme.ink(text)),
                text.angle,
                escaped(&text.text)
            ))
        }
        _ => None,
    }
}

pub(super) fn hex((r, g, b): Rgb) -> String {
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

fn draw(backend: &mut SVGBackend<'_>, shape: &Shape, theme: Theme) {
    let pixels = |points: &[(f64, f64)]| -> Vec<BackendCoord> { points.iter().map(|p| pixel(*p)).collect() };
    let style = |color: Rgb, stroke: u32| Style::new(theme.paint(color), stroke);
    let _ = match shape {
        Shape::Path(points, color, stroke) => match pixels(points)[..] {
            [from, to] => backend.draw_line(from, to, &style(*color, *stroke)),
            ref path => backend.draw_path(path.iter().copied(), &style(*color, *stroke)),
        },
        Shape::Polygon(points, color, alpha) => {
            backend.fill_polygon(pixels(points), &Style { alpha: *alpha, ..style(*color, 1) })
        }
        Shape::Circle(at, radius, color, stroke) => {
            let style = style(*color, stroke.unwrap_or(1));
            backend.draw_circle(pixel(*at), *radius, &style, stroke.is_none())
        }
        Shape::Text(text) => {
            let style = TextStyle { text, ink: theme.ink(text) };
            backend.draw_text(&text.text, &style, pixel((text.x, text.y)))
        }
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
    alpha: f64,
}

impl Style {
    fn new(color: Rgb, stroke: u32) -> Self {
        Self { color, stroke, alpha: 1.0 }
    }
}

impl BackendStyle for Style {
    fn color(&self) -> BackendColor {
        BackendColor { alpha: self.alpha, rgb: self.color }
    }

    fn stroke_width(&self) -> u32 {
        self.stroke
    }
}

struct TextStyle<'a> {
    text: &'a Text,
    ink: Rgb,
}

impl BackendTextStyle for TextStyle<'_> {
    type FontError = std::convert::Infallible;

    fn color(&self) -> BackendColor {
        BackendColor { alpha: 1.0, rgb: self.ink }
    }

    /// plotters writes this divided by 1.24 as the SVG's font size.
    fn size(&self) -> f64 {
        self.text.size * 1.24
    }

    fn transform(&self) -> FontTransform {
        if self.text.vertical { FontTransform::Rotate270 } else { FontTransform::None }
    }

    fn style(&self) -> FontStyle {
        if self.text.bold { FontStyle::Bold } else { FontStyle::Normal }
    }

    fn anchor(&self) -> Pos {
        let h = match self.text.anchor {
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
