//! Latency, cache and quality together: which versions no other one beats in one without losing in another.

use super::FigureInput;
use super::series::{Series, legend, recorded};
use crate::compare::{ParetoPoint, Subject, pareto};
use crate::llm::Stage;
use crate::profile::Run;
use crate::render::plot::canvas::{Area, Canvas};
use crate::render::plot::labels::{Obstacles, around};
use crate::render::plot::legend::{Entry, Sample, Section};
use crate::render::plot::marks::{self, BLACK};
use crate::render::plot::plane::{Division, Plane, Spec, Unit};
use crate::render::plot::sheet::{Head, Sheet};
use crate::render::plot::{ChartOptions, Figure};
use crate::stats::Interval;
use crate::units::{Bytes, Scale};

/// The radius of the largest cache's mark; the area of others is in proportion, and the least is still seen.
const RADIUS: (f64, f64) = (5.0, 17.0);

/// Values that are further apart than this get a logarithmic axis.
const FAR_APART: f64 = 8.0;

struct Mark<'a> {
    series: Series<'a>,
    point: ParetoPoint,
    x: f64,
    y: f64,
}

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let decoded = |run| recorded(run, decode_versions(run));
    let series = Series::of(input, decoded);
    let subjects: Vec<Subject<'_>> =
        series.iter().map(|s| Subject { run: s.run, version: s.version }).collect();
    let scored: Vec<&Run> = input.runs.iter().filter(|run| !run.qualities.is_empty()).collect();
    let points = pareto(&subjects, &scored);
    // Without a single perplexity the figure is of the other two.
    let quality = points.iter().any(|p| p.perplexity.is_some());
    let marks: Vec<Mark<'_>> = series.iter().zip(&points).filter_map(|(s, p)| mark(*s, p, quality)).collect();
    if marks.len() < 2 {
        return None;
    }
    // The versions are told apart beside the bytes of their caches.
    let mut legend = legend(&series).split_off(1);
    legend.extend(notes(&series, &points, &marks, quality));
    let note = format!(
        "{} · whiskers: 95 % intervals · area of a mark: bytes of the KV cache as allocated · hollow: another version is better \
         in one of the three for certain and worse in none",
        if quality {
            "nearer to the lower left is better in both"
        } else {
            "lower left is better; quality was not scored"
        }
    );
    let head = Head { title: "Trade-off", note: &note, legend: &legend, size: (980, 560), body: 240.0 };
    let mut sheet = Sheet::new(options, &head);
    let xs = padded(marks.iter().flat_map(|m| spread(m.x, m.point.tpot_interval)).collect());
    let ys = padded(marks.iter().flat_map(|m| spread(m.y, m.y_interval(quality))).collect());
    let x = Spec::new("time of a decode step (TPOT)", Unit::Si("s"), division(&xs), xs);
    let (title, unit) =
        if quality { ("perplexity", Unit::Plain("per token")) } else { ("KV cache", Unit::Iec) };
    let plane = Plane::new(sheet.body, &x, &Spec::new(title, unit, division(&ys), ys));
    plane.draw(&mut sheet.canvas);
    draw(&mut sheet.canvas, &plane, &marks, quality);
    Some(sheet.finish())
}

/// `None` for a version that lacks a figure.
fn mark<'a>(series: Series<'a>, point: &ParetoPoint, quality: bool) -> Option<Mark<'a>> {
    let y = if quality { point.perplexity.map(|p| p.value)? } else { point.cache_bytes? };
    Some(Mark { series, x: point.tpot_s?, y, point: point.clone() })
}

impl Mark<'_> {
    fn y_interval(&self, quality: bool) -> Option<Interval> {
        self.point.perplexity.filter(|_| quality).and_then(|p| p.interval)
    }
}

fn decode_versions(run: &Run) -> impl Iterator<Item = &str> {
    run.steps.iter().filter(|s| s.stage == Stage::Decode).map(|s| s.version.as_str())
}

fn spread(value: f64, interval: Option<Interval>) -> [f64; 3] {
    [value, interval.map_or(value, |i| i.low), interval.map_or(value, |i| i.high)]
}

/// With room for marks at the ends.
fn padded(mut values: Vec<f64>) -> Vec<f64> {
    let (low, high) = values.iter().fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(*v), h.max(*v)));
    if low > 0.0 && high / low > FAR_APART {
        values.extend([low / 1.3, high * 1.3]);
    } else {
        let room = 0.12 * (high - low);
        values.extend([(low - room).max(0.0), high + room]);
    }
    values
}

fn division(values: &[f64]) -> Division {
    let (low, high) = values.iter().fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(*v), h.max(*v)));
    if low > 0.0 && high / low > FAR_APART { Division::Log } else { Division::Near }
}

fn draw(canvas: &mut Canvas, plane: &Plane, marks: &[Mark<'_>], quality: bool) {
    let most = marks.iter().filter_map(|m| m.point.cache_bytes).fold(0.0, f64::max);
    let mut obstacles = Obstacles::new(plane.frame);
    for mark in marks {
        let at = plane.at((mark.x, mark.y));
        obstacles.add_area(Area::around(at.0, at.1, radius(mark, most)));
        let color = mark.series.color;
        if let Some(i) = mark.point.tpot_interval {
            plane.whisker_across(canvas, at.1, (i.low, i.high), color);
            obstacles.add_line((plane.x.pixel(i.low), at.1), (plane.x.pixel(i.high), at.1));
        }
        if let Some(i) = mark.y_interval(quality) {
            plane.whisker(canvas, at.0, (i.low, i.high), color);
            obstacles.add_line((at.0, plane.y.pixel(i.low)), (at.0, plane.y.pixel(i.high)));
        }
    }
    for mark in marks {
        let (at, filled) = (plane.at((mark.x, mark.y)), mark.point.beaten_by.is_none());
        marks::marker(canvas, mark.series.shape, at, radius(mark, most), mark.series.color, filled);
    }
    for mark in marks {
        let at = plane.at((mark.x, mark.y));
        if let Some(label) = obstacles.place(&around(&mark.series.title(), at.0, at.1, 11.0)) {
            canvas.text(label.colored(BLACK));
        }
    }
}

fn radius(mark: &Mark<'_>, most: f64) -> f64 {
    let part = mark.point.cache_bytes.filter(|_| most > 0.0).map_or(0.0, |b| b / most);
    (RADIUS.1 * part.sqrt()).max(RADIUS.0)
}

/// What the sizes of marks mean, what beats what, and what is not in the figure.
fn notes(series: &[Series<'_>], points: &[ParetoPoint], marks: &[Mark<'_>], quality: bool) -> Vec<Section> {
    let scale = Scale::iec_for_values(points.iter().filter_map(|p| p.cache_bytes), Bytes::UNIT);
    let bytes = |b: f64| format!("{} {scale}", scale.format(b));
    let nothing = |text: String| Entry { sample: Sample::Nothing, text };
    let cache = |m: &Mark<'_>| Entry {
        sample: Sample::Marker {
            shape: m.series.shape,
            color: m.series.color,
            filled: m.point.beaten_by.is_none(),
        },
        text: format!("{}: {}", m.series.title(), m.point.cache_bytes.map_or("n/a".into(), bytes)),
    };
    let name_of = |name: &str| {
        let found = points.iter().position(|p| p.name == name);
        found.map_or(name.to_string(), |i| series[i].title())
    };
    let beaten = |m: &Mark<'_>| {
        let by = m.point.beaten_by.as_deref()?;
        Some(nothing(format!("{} by {}", m.series.title(), name_of(by))))
    };
    let shown = |s: &Series<'_>| marks.iter().any(|m| m.series.title() == s.title());
    let why = if quality { "not scored, or no decode step" } else { "no decode step or cache record" };
    let left_out = series.iter().filter(|s| !shown(s)).map(|s| nothing(format!("{}: {why}", s.title())));
    vec![
        Section { title: "KV cache", entries: marks.iter().map(cache).collect() },
        Section { title: "Beaten", entries: marks.iter().filter_map(beaten).collect() },
        Section { title: "Not shown", entries: left_out.collect() },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_logarithmic_where_values_are_far_apart_and_never_below_0() {
        assert!(matches!(division(&padded(vec![22.5, 989.0])), Division::Log));
        assert!(matches!(division(&padded(vec![22.5, 22.6])), Division::Near));
        let near = padded(vec![0.0, 1.0]);
        assert!(near.iter().all(|v| *v >= 0.0) && matches!(division(&near), Division::Near));
    }
}
