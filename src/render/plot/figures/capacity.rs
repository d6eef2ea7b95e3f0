//! How many sequences fit into a budget, by version and context.

use super::FigureInput;
use super::series::{Series, legend, recorded};
use crate::profile::CapacityRecord;
use crate::render::plot::bars::{Bar, places};
use crate::render::plot::legend::{Entry, Sample, Section};
use crate::render::plot::marks::BLACK;
use crate::render::plot::plane::{Division, Plane, Spec, Unit};
use crate::render::plot::sheet::{Head, Sheet};
use crate::render::plot::text::{Anchor, Text};
use crate::render::plot::{ChartOptions, Figure};
use crate::units::format_iec;

/// Theory of more than so many times the largest batch found is told and not drawn.
const FAR_ABOVE: usize = 8;

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = Series::of(input, |run| recorded(run, run.capacities.iter().map(|c| c.version.as_str())));
    let records = |s: &Series<'_>| -> Vec<CapacityRecord> {
        s.run.capacities.iter().filter(|c| c.version == s.version).cloned().collect()
    };
    let all: Vec<(Series<'_>, CapacityRecord)> =
        series.iter().flat_map(|s| records(s).into_iter().map(move |r| (*s, r))).collect();
    let mut groups: Vec<(usize, f64)> = all.iter().map(|(_, r)| (r.context, r.budget_bytes)).collect();
    groups.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    groups.dedup();
    if groups.is_empty() {
        return None;
    }
    let most = |of: fn(&CapacityRecord) -> Option<usize>| all.iter().filter_map(|(_, r)| of(r)).max();
    let found = most(|r| Some(r.batch)).unwrap_or(0);
    // A search that ended early is nowhere near theory: lines up there would leave the bars no height.
    let with_theory = most(|r| r.theoretical_batch).is_none_or(|t| t <= FAR_ABOVE * found);
    let mut legend = legend(&series);
    legend.truncate(1);
    legend.push(notes(&all, with_theory));
    let note = "the largest batch that fits, caches for the whole context · theory: (budget - weights) / cache of a sequence by formula";
    let head = Head { title: "Capacity", note, legend: &legend, size: (900, 460), body: 140.0 };
    let mut sheet = Sheet::new(options, &head);
    let name =
        |(context, budget): &(usize, f64)| format!("{context} tokens\nin {}", format_iec(*budget, "B"));
    let theory_of = |r: &CapacityRecord| r.theoretical_batch.filter(|_| with_theory);
    let values = all.iter().flat_map(|(_, r)| [Some(r.batch), theory_of(r)]).flatten();
    let values = values.map(|v| v as f64).collect();
    let y = Spec::new("largest batch", Unit::Plain("sequences"), Division::Zero, values);
    let plane = Plane::new(sheet.body, &Spec::names(groups.iter().map(name).collect()), &y);
    plane.draw(&mut sheet.canvas);
    for (i, group) in groups.iter().enumerate() {
        let of_group: Vec<_> = all.iter().filter(|(_, r)| (r.context, r.budget_bytes) == *group).collect();
        let (places, width) = places(plane.x.pixel(i as f64), plane.x.slot(), of_group.len());
        for ((s, record), x) in of_group.into_iter().zip(places) {
            let value = record.batch as f64;
            let bar = Bar { x, width, value, interval: None, color: s.color };
            bar.draw_unlabelled(&mut sheet.canvas, &plane);
            let theory = theory_of(record).map(|t| plane.y.pixel(t as f64));
            let end = plane.y.pixel(value);
            // Over the bar; over the line too where that leaves no room between them.
            let top = theory.filter(|t| end - t < 20.0).map_or(end, |t| t.min(end));
            if let Some(y) = theory {
                sheet.canvas.line((x - width / 2.0 - 2.0, y), (x + width / 2.0 + 2.0, y), BLACK, 2);
            }
            let text = format!("{}{}", if record.at_least { "≥ " } else { "" }, record.batch);
            if crate::render::plot::font::width(&text, 11.0, false) <= width + 1.0 {
                let text = Text::new(text, x, top - 8.0, 11.0).anchored(Anchor::Middle);
                sheet.canvas.text(text.halo());
            }
        }
    }
    Some(sheet.finish())
}

fn notes(all: &[(Series<'_>, CapacityRecord)], with_theory: bool) -> Section {
    let mut entries = Vec::new();
    let nothing = |text: String| Entry { sample: Sample::Nothing, text };
    if with_theory && all.iter().any(|(_, r)| r.theoretical_batch.is_some()) {
        let sample = Sample::Line { color: BLACK, dashed: false };
        entries.push(Entry { sample, text: "in theory".to_string() });
    } else if !with_theory {
        entries.push(nothing("theory is far above, not drawn:".to_string()));
        let of = |(s, r): &(Series<'_>, CapacityRecord)| {
            Some(nothing(format!("{} at {}: {}", s.title(), r.context, r.theoretical_batch?)))
        };
        entries.extend(all.iter().filter_map(of));
    }
    if all.iter().any(|(_, r)| r.at_least) {
        entries.push(nothing("≥: the search ended first".to_string()));
    }
    Section { title: "Notes", entries }
}
