//! Memory against length, a plot for each version: weights, caches and activations stacked, the cache by formula as a line.

use super::FigureInput;
use super::series::{Series, recorded};
use crate::profile::{Accounted, MemoryRecord};
use crate::render::plot::canvas::{Area, Canvas, Rgb};
use crate::render::plot::font;
use crate::render::plot::legend::{Entry, Sample as LegendSample, Section};
use crate::render::plot::marks::{BLACK, OTHER, series_color};
use crate::render::plot::plane::{Division, Plane, Spec, Unit};
use crate::render::plot::sheet::{Head, Sheet, columns, rows};
use crate::render::plot::text::Text;
use crate::render::plot::{ChartOptions, Figure};
use crate::stats::Sample;
use crate::units::format_iec;
use std::collections::BTreeMap;

/// A resident set of more than so many times all parts is told and not drawn: it would leave them no height.
const FAR_ABOVE: f64 = 4.0;
/// Plots beside each other.
const ACROSS: usize = 3;

/// The parts from the bottom up.
const PARTS: [(&str, Part); 3] = [
    ("weights", |r| r.weights.as_ref()),
    ("caches, allocated", |r| r.cache_allocated.as_ref()),
    ("activations", |r| r.activations.as_ref()),
];

type Part = fn(&MemoryRecord) -> Option<&Accounted>;

/// Medians over repetitions at one length; a part that no record has is `None`.
struct Place {
    tokens: f64,
    parts: [Option<f64>; PARTS.len()],
    theory: Option<f64>,
    resident: Option<f64>,
}

fn color(part: usize) -> Rgb {
    [OTHER, series_color(1), series_color(2)][part]
}

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = Series::of(input, |run| recorded(run, run.memory.iter().map(|m| m.version.as_str())));
    let all: Vec<(Series<'_>, Vec<Place>)> =
        series.into_iter().map(|s| (s, places(&s))).filter(|(_, p)| !p.is_empty()).collect();
    if all.is_empty() {
        return None;
    }
    let parts = all.iter().flat_map(|(_, places)| places).map(Place::top).fold(0.0, f64::max);
    let resident = all.iter().flat_map(|(_, places)| places).filter_map(|p| p.resident).fold(0.0, f64::max);
    // Of a small model the program takes more than all that the figure is about.
    let with_resident = resident <= FAR_ABOVE * parts || parts == 0.0;
    let legend = [legend(&all, with_resident)];
    let across = all.len().min(ACROSS);
    let down = all.len().div_ceil(across);
    let note = "the most at any time of a generation, medians over repetitions · theory: cache by formula, on top of the weights";
    let size = (300 * across as u32 + 240, 120 + 290 * down as u32);
    let head =
        Head { title: "Memory against length", note, legend: &legend, size, body: 170.0 * down as f64 };
    let mut sheet = Sheet::new(options, &head);
    let most = if with_resident { parts.max(resident) } else { parts };
    let areas = rows(sheet.body, down, 14.0).into_iter().flat_map(|row| columns(row, across, 18.0));
    for ((s, places), area) in all.iter().zip(areas) {
        let title = font::fit_bold(&s.title(), 13.0, area.x1 - area.x0);
        sheet.canvas.text(Text::new(title, area.x0, area.y0 + 6.0, 13.0).bold());
        plot(&mut sheet.canvas, Area { y0: area.y0 + 14.0, ..area }, places, most, with_resident);
    }
    Some(sheet.finish())
}

impl Place {
    fn top(&self) -> f64 {
        let parts: f64 = self.parts.iter().flatten().sum();
        parts.max(self.theory.unwrap_or(0.0))
    }
}

fn places(series: &Series<'_>) -> Vec<Place> {
    let mut by_length: BTreeMap<usize, Vec<&MemoryRecord>> = BTreeMap::new();
    for record in series.run.memory.iter().filter(|m| m.version == series.version) {
        by_length.entry(record.tokens).or_default().push(record);
    }
    let place = |(tokens, records): (usize, Vec<&MemoryRecord>)| {
        let median = |of: Part| {
            let values: Vec<f64> = records.iter().filter_map(|r| of(r)).map(|a| a.bytes).collect();
            Sample::new(values).ok().map(|s| s.median())
        };
        let weights = median(|r| r.weights.as_ref());
        let theory = median(|r| r.cache_theoretical.as_ref());
        Place {
            tokens: tokens as f64,
            parts: PARTS.map(|(_, of)| median(of)),
            theory: theory.map(|t| t + weights.unwrap_or(0.0)),
            resident: median(|r| r.resident_peak.as_ref()),
        }
    };
    by_length.into_iter().map(place).collect()
}

fn legend(all: &[(Series<'_>, Vec<Place>)], with_resident: bool) -> Section {
    let has = |of: &dyn Fn(&Place) -> bool| all.iter().flat_map(|(_, p)| p).any(of);
    let mut entries: Vec<Entry> = (0..PARTS.len())
        .rev()
        .filter(|i| has(&|p: &Place| p.parts[*i].is_some()))
        .map(|i| Entry { sample: LegendSample::Box(color(i)), text: PARTS[i].0.to_string() })
        .collect();
    let line = |dashes, text: &str| Entry {
        sample: LegendSample::Dashes { color: BLACK, dashes },
        text: text.to_string(),
    };
    if has(&|p: &Place| p.theory.is_some()) {
        entries.push(line(1, "theory"));
    }
    let residents = || all.iter().flat_map(|(_, p)| p).filter_map(|p| p.resident);
    if with_resident && residents().next().is_some() {
        entries.push(line(2, "resident set, program too"));
    } else if residents().next().is_some() {
        let most = format_iec(residents().fold(0.0, f64::max), "B");
        let text = |text: String| Entry { sample: LegendSample::Nothing, text };
        entries.extend([text("resident set, program too:".into()), text(format!("up to {most}, not drawn"))]);
    }
    Section { title: "Bytes", entries }
}

fn plot(canvas: &mut Canvas, area: Area, places: &[Place], most: f64, with_resident: bool) {
    let tokens: Vec<f64> = places.iter().map(|p| p.tokens).collect();
    let x = Spec::new("output tokens T", Unit::Plain(""), Division::Near, tokens);
    let plane = Plane::new(area, &x, &Spec::new("memory", Unit::Iec, Division::Zero, vec![most]));
    plane.draw(canvas);
    let mut below = vec![0.0; places.len()];
    for part in 0..PARTS.len() {
        let band: Vec<(f64, f64, f64)> = places
            .iter()
            .zip(&mut below)
            .filter_map(|(p, below)| {
                let low = *below;
                *below += p.parts[part]?;
                Some((p.tokens, low, *below))
            })
            .collect();
        plane.area(canvas, &band, color(part));
    }
    let line = |of: &dyn Fn(&Place) -> Option<f64>| -> Vec<(f64, f64)> {
        places.iter().filter_map(|p| Some((p.tokens, of(p)?))).collect()
    };
    plane.line(canvas, &line(&|p| p.theory), BLACK, 1);
    if with_resident {
        plane.line(canvas, &line(&|p| p.resident), BLACK, 2);
    }
}
