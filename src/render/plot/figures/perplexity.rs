//! Perplexity of each version, and by how much it is worse than the reference version's, with intervals, in zones.

use super::FigureInput;
use super::series::{Series, legend, recorded};
use crate::compare::{QualityReport, Subject, VersionQuality, compare_pair};
use crate::render::plot::bars::{Bar, places};
use crate::render::plot::canvas::{Area, Canvas};
use crate::render::plot::font;
use crate::render::plot::legend::{Entry, Sample, Section};
use crate::render::plot::marks::{BLACK, GREY};
use crate::render::plot::plane::{Division, Plane, Spec, Unit};
use crate::render::plot::sheet::{Head, Sheet};
use crate::render::plot::text::{Anchor, Text};
use crate::render::plot::{ChartOptions, Figure};
use crate::render::quality::percent as signed;
use crate::stats::{DEFAULT_THRESHOLD, Interval};

/// Where zones of degradation end, in per cent, and how dark they are. Conventions to read by: 6-bit weights cost 0.2 to
/// 0.4 %, 4-bit ones 1.4 to 2.8 %, 2-bit ones 11 to 56 % (q6_K, q4_K_M and q2_K of Llama 2 7B and Llama 3 8B:
/// llama.cpp's pull request 6936).
const ZONES: [(f64, &str, f64); 3] =
    [(1.0, "under 1 %", 0.06), (5.0, "to 5 %", 0.14), (f64::INFINITY, "> 5 %", 0.24)];

/// Changes up to this many per cent are told apart linearly.
const LINEAR: f64 = 0.1;

/// The most of the plot's width that numbers beside rows may take; intervals that would take more are left to the table.
const NUMBERS: f64 = 0.45;

/// One version with what its model made of the text.
struct Scored<'a> {
    series: Series<'a>,
    quality: VersionQuality,
}

/// By how much a version is worse than the reference, as a fraction.
struct Change<'a> {
    series: Series<'a>,
    reference: String,
    degradation: f64,
    interval: Option<Interval>,
}

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let scored = scored(input);
    let changes = changes(&scored);
    let first = scored.first()?;
    let series: Vec<Series<'_>> = scored.iter().map(|s| s.series).collect();
    let best = first.series.run.texts.first().and_then(|t| t.best_perplexity);
    let mut legend = legend(&series);
    if best.is_some() {
        let sample = Sample::Dashes { color: BLACK, dashes: 1 };
        let entry = Entry { sample, text: "best possible".to_string() };
        legend.push(Section { title: "Notes", entries: vec![entry] });
    }
    let note = note(first, &changes);
    let rows = changes.len() as f64;
    let size = (1080, 400.0f64.max(150.0 + 34.0 * rows) as u32);
    let head =
        Head { title: "Quality", note: &note, legend: &legend, size, body: 190f64.max(90.0 + 24.0 * rows) };
    let mut sheet = Sheet::new(options, &head);
    let body = sheet.body;
    if changes.is_empty() {
        bars(&mut sheet.canvas, body, &scored, best);
    } else {
        let middle = body.x0 + 0.36 * (body.x1 - body.x0);
        bars(&mut sheet.canvas, Area { x1: middle, ..body }, &scored, best);
        degradation(&mut sheet.canvas, Area { x0: middle + 20.0, ..body }, &changes);
    }
    Some(sheet.finish())
}

fn scored(input: &FigureInput) -> Vec<Scored<'_>> {
    let series = Series::of(input, |run| recorded(run, run.qualities.iter().map(|q| q.version.as_str())));
    let mut all = Vec::new();
    for run in series.chunk_by(|a, b| std::ptr::eq(a.run, b.run)) {
        let report = QualityReport::new(run[0].run);
        for s in run {
            let found = report.versions.iter().find(|v| v.version == s.version);
            all.extend(found.map(|quality| Scored { series: *s, quality: quality.clone() }));
        }
    }
    all
}

/// The change of each version but the reference: token by token where the run has that, else as files without single
/// tokens allow it, against the first version.
fn changes<'a>(scored: &[Scored<'a>]) -> Vec<Change<'a>> {
    let subject = |s: &Series<'a>| Subject { run: s.run, version: s.version };
    let by_file = |s: &Scored<'a>| {
        let first = &scored.iter().find(|f| std::ptr::eq(f.series.run, s.series.run))?.series;
        let apart = first.version != s.series.version;
        let pair = apart.then(|| compare_pair(subject(first), subject(&s.series), DEFAULT_THRESHOLD))?;
        let change = pair.perplexity?;
        let interval = change.interval.map(|i| Interval { low: i.low - 1.0, high: i.high - 1.0, ..i });
        let reference = first.version.to_string();
        Some(Change { series: s.series, reference, degradation: change.ratio - 1.0, interval })
    };
    let of = |s: &Scored<'a>| match &s.quality.change {
        Some(c) => Some(Change {
            series: s.series,
            reference: c.reference.clone(),
            degradation: c.degradation,
            interval: c.interval,
        }),
        None if scored.iter().any(|s| s.quality.change.is_some()) => None,
        None => by_file(s),
    };
    scored.iter().filter_map(of).collect()
}

fn note(first: &Scored<'_>, changes: &[Change<'_>]) -> String {
    let text = first.series.run.texts.first();
    let mut parts = vec!["lower is better".to_string()];
    parts.extend(text.map(|t| format!("{}, {} tokens", t.name, t.tokens)));
    if first.series.run.qualities.iter().all(|q| q.mean_of.is_none()) {
        parts.push("every token scored through the version's own cache".to_string());
    }
    if changes.iter().any(|c| c.interval.is_some()) {
        parts.push("intervals: 95 %, over blocks of tokens, paired".to_string());
    }
    if !changes.is_empty() {
        parts.push("zones are conventions".to_string());
    }
    parts.join(" · ")
}

fn bars(canvas: &mut Canvas, area: Area, scored: &[Scored<'_>], best: Option<f64>) {
    let values = scored.iter().map(|s| s.quality.perplexity).chain(best).collect();
    let names = Spec::names(scored.iter().map(|s| s.series.name()).collect());
    let y = Spec::new("perplexity", Unit::Plain("per token"), Division::Zero, values);
    let plane = Plane::new(area, &names, &y);
    plane.draw(canvas);
    for (i, s) in scored.iter().enumerate() {
        let (places, width) = places(plane.x.pixel(i as f64), plane.x.slot(), 1);
        let bar =
            Bar { x: places[0], width, value: s.quality.perplexity, interval: None, color: s.series.color };
        bar.draw(canvas, &plane, plane.x.slot() - 4.0);
    }
    if let Some(best) = best {
        let y = plane.y.pixel(best);
        canvas.path_in(&[(plane.frame.x0, y), (plane.frame.x1, y)], BLACK, 1, 1);
    }
}

/// A row for each version: the change on an axis that is linear near 0 and logarithmic beyond.
fn degradation(canvas: &mut Canvas, area: Area, all: &[Change<'_>]) {
    let percent = |fraction: f64| 100.0 * fraction;
    let ends = |c: &Change<'_>| [Some(c.degradation), c.interval.map(|i| i.low), c.interval.map(|i| i.high)];
    let values = all.iter().flat_map(ends).flatten().map(percent).chain([0.0, 10.0]).collect();
    let title = format!("perplexity over {}'s, less 1", all[0].reference);
    let x = Spec::new(&title, Unit::Plain("%"), Division::Symlog(LINEAR), values);
    let mut numbers = all.iter().map(|c| numbers(c, true)).collect::<Vec<String>>();
    let widest = |all: &[String]| all.iter().map(|t| font::width(t, 11.0, false)).fold(0.0, f64::max) + 12.0;
    if widest(&numbers) > NUMBERS * (area.x1 - area.x0) {
        numbers = all.iter().map(|c| self::numbers(c, false)).collect();
    }
    let area = Area { y0: area.y0 + 14.0, x1: area.x1 - widest(&numbers), ..area };
    let plane = Plane::new(area, &x, &Spec::names(all.iter().map(|c| c.series.title()).collect()));
    zones(canvas, &plane);
    plane.draw(canvas);
    let zero = plane.x.pixel(0.0);
    canvas.line((zero, plane.frame.y0), (zero, plane.frame.y1), BLACK, 1);
    for (i, change) in all.iter().enumerate() {
        let at = (plane.x.pixel(percent(change.degradation)), plane.y.pixel(i as f64));
        if let Some(interval) = change.interval {
            let (low, high) = (plane.x.pixel(percent(interval.low)), plane.x.pixel(percent(interval.high)));
            canvas.line((low, at.1), (high, at.1), change.series.color, 2);
            for x in [low, high] {
                canvas.line((x, at.1 - 5.0), (x, at.1 + 5.0), change.series.color, 2);
            }
        }
        change.series.mark(canvas, at, 5.0);
        canvas.text(Text::new(numbers[i].clone(), plane.frame.x1 + 12.0, at.1, 11.0));
    }
}

/// The change in numbers.
fn numbers(change: &Change<'_>, with_interval: bool) -> String {
    let interval = change.interval.filter(|_| with_interval);
    let interval = interval.map(|i| format!(" [{}, {}]", signed(i.low), signed(i.high)));
    format!("{} %{}", signed(change.degradation), interval.unwrap_or_default())
}

/// Shades over the plot, with their names on top of it where there is room.
fn zones(canvas: &mut Canvas, plane: &Plane) {
    let f = plane.frame;
    let mut from = f.x0;
    for (end, name, darkness) in ZONES {
        let to = if end.is_finite() { plane.x.pixel(end).clamp(f.x0, f.x1) } else { f.x1 };
        if to > from {
            canvas.shade(&[(from, f.y0), (to, f.y0), (to, f.y1), (from, f.y1)], GREY, darkness);
            if font::width(name, 10.0, false) + 6.0 <= to - from {
                let text = Text::new(name, f64::midpoint(from, to), f.y0 - 8.0, 10.0);
                canvas.text(text.anchored(Anchor::Middle).colored(GREY));
            }
        }
        from = to;
    }
}
