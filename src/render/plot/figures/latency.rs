//! Time of a generation against its length: in all, and per token; with fits, carried on as dashes.

use super::FigureInput;
use super::series::{Series, legend, recorded};
use crate::profile::LatencyRecord;
use crate::render::plot::canvas::{Area, Canvas};
use crate::render::plot::plane::{Division, Plane, Spec, Unit};
use crate::render::plot::sheet::{Head, Sheet, columns};
use crate::render::plot::text::Text;
use crate::render::plot::{ChartOptions, Figure};
use crate::stats::{Growth, Order, Sample, Summary};
use std::collections::BTreeMap;

/// How far a fit is carried on beyond the largest length that was measured.
const BEYOND: f64 = 1.25;
/// The seed of bootstrap intervals, so that a run gives the same figure every time.
const SEED: u64 = 0;

/// Points that a line goes through.
type Path = Vec<(f64, f64)>;

/// The generations of a version, by their length.
struct Curve<'a> {
    series: Series<'a>,
    times: Vec<(f64, Sample)>,
    growth: Growth,
}

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = Series::of(input, |run| recorded(run, run.latencies.iter().map(|l| l.version.as_str())));
    let curves: Vec<Curve<'_>> = series.iter().filter_map(|s| curve(*s)).collect();
    if curves.is_empty() {
        return None;
    }
    let legend = legend(&series);
    let note = "plain generations, prefill and all decode steps · medians, bands: 95 % intervals · thin: the fit that \
                describes them better, dashed beyond what was measured";
    let head =
        Head { title: "Latency against length", note, legend: &legend, size: (1080, 460), body: 140.0 };
    let mut sheet = Sheet::new(options, &head);
    for (per_token, area) in [false, true].into_iter().zip(columns(sheet.body, 2, 24.0)) {
        panel(&mut sheet.canvas, area, &curves, per_token);
    }
    Some(sheet.finish())
}

fn curve(series: Series<'_>) -> Option<Curve<'_>> {
    let mut all: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let of_version = |l: &&LatencyRecord| l.version == series.version;
    for record in series.run.latencies.iter().filter(of_version) {
        all.entry(record.tokens).or_default().push(record.time_s);
    }
    let times: Option<Vec<(f64, Sample)>> =
        all.into_iter().map(|(tokens, values)| Some((tokens as f64, Sample::new(values).ok()?))).collect();
    let times = times.filter(|t| !t.is_empty())?;
    let growth = Growth::of(&times, SEED);
    Some(Curve { series, times, growth })
}

fn panel(canvas: &mut Canvas, area: Area, curves: &[Curve<'_>], per_token: bool) {
    let (name, title) = if per_token {
        ("per output token", "time / output tokens")
    } else {
        ("whole generation", "time of a generation")
    };
    canvas.text(Text::new(name, area.x0, area.y0 + 6.0, 13.0).bold());
    let area = Area { y0: area.y0 + 16.0, ..area };
    let scale = |tokens: f64| if per_token { 1.0 / tokens } else { 1.0 };
    let summaries: Vec<Vec<(f64, Summary)>> =
        curves.iter().map(|c| c.times.iter().map(|(x, s)| (*x, scaled(s, scale(*x)))).collect()).collect();
    let fits: Vec<[Path; 2]> = curves.iter().map(|c| fit(c, &scale)).collect();
    let xs = curves.iter().flat_map(|c| &c.times).map(|(x, _)| *x);
    let xs = xs.chain(fits.iter().flat_map(|[_, beyond]| beyond).map(|(x, _)| *x)).collect();
    let ends = |s: &Summary| [Some(s.median), s.interval.map(|i| i.low), s.interval.map(|i| i.high)];
    let measured = summaries.iter().flatten().flat_map(|(_, s)| ends(s)).flatten();
    let ys = measured.chain(fits.iter().flat_map(|[_, beyond]| beyond).map(|(_, y)| *y)).collect();
    let x = Spec::new("output tokens T", Unit::Plain(""), Division::Near, xs);
    let plane = Plane::new(area, &x, &Spec::new(title, Unit::Si("s"), Division::Zero, ys));
    plane.draw(canvas);
    for (curve, points) in curves.iter().zip(&summaries) {
        let band = |(x, s): &(f64, Summary)| s.interval.map(|i| (*x, i.low, i.high));
        let band: Vec<(f64, f64, f64)> = points.iter().filter_map(band).collect();
        plane.band(canvas, &band, curve.series.color);
    }
    for (curve, [inside, beyond]) in curves.iter().zip(&fits) {
        plane.thin(canvas, inside, curve.series.color, 0);
        plane.thin(canvas, beyond, curve.series.color, 2);
    }
    for (curve, points) in curves.iter().zip(&summaries) {
        for (x, summary) in points {
            curve.series.mark(canvas, plane.at((*x, summary.median)), 4.5);
        }
    }
}

fn scaled(sample: &Sample, factor: f64) -> Summary {
    let values = sample.values().iter().map(|v| v * factor).collect();
    // OK because the values were a sample's, and lengths are finite and above 0.
    Sample::new(values).expect("finite values").summary(SEED)
}

/// The better fit over what was measured, and beyond; neither where none can be told.
fn fit(curve: &Curve<'_>, scale: &impl Fn(f64) -> f64) -> [Path; 2] {
    let fit = match curve.growth.better {
        Order::Quadratic => &curve.growth.quadratic,
        Order::Linear => &curve.growth.linear,
        Order::Unclear => &None,
    };
    let Some(fit) = fit else { return Default::default() };
    let (first, last) = (curve.times[0].0, curve.times[curve.times.len() - 1].0);
    let at = |x: f64| (x, fit.at(x) * scale(x));
    let between =
        |from: f64, to: f64| (0..=32).map(|i| at(from + (to - from) * f64::from(i) / 32.0)).collect();
    [between(first, last), between(last, last * BEYOND)]
}
