//! Bytes of each version's KV cache.

use super::super::bars::{Bar, places};
use super::super::legend::{Entry, Sample, Section};
use super::super::marks::series_color;
use super::super::plane::{Division, Plane, Spec, Unit};
use super::super::sheet::{Head, Sheet};
use super::super::{ChartOptions, Figure};
use super::FigureInput;
use super::series::Series;
use crate::llm::Stage;

const KINDS: [&str; 3] = ["by formula", "allocated", "touched"];

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = input.series();
    let sizes: Vec<(&Series<'_>, [Option<f64>; 3])> =
        series.iter().filter_map(|s| Some((s, sizes(s)?))).collect();
    let known = |kind: usize| sizes.iter().any(|(_, all)| all[kind].is_some());
    let kinds: Vec<usize> = (0..KINDS.len()).filter(|k| known(*k)).collect();
    if !sizes.iter().any(|(_, all)| all.iter().flatten().any(|bytes| *bytes > 0.0)) {
        return None;
    }
    let entry = |k: &usize| Entry { sample: Sample::Box(series_color(*k)), text: KINDS[*k].to_string() };
    let legend = [Section { title: "Bytes", entries: kinds.iter().map(entry).collect() }];
    let note = "at the end of a generation, all sequences · allocated: capacity included · touched: written at least once";
    let head = Head { title: "KV cache", note, legend: &legend, size: (800, 440), body: 120.0 };
    let mut sheet = Sheet::new(options, &head);
    let values = sizes.iter().flat_map(|(_, all)| all.iter().flatten().copied()).collect();
    let names = Spec::names(sizes.iter().map(|(s, _)| s.name()).collect());
    let plane = Plane::new(sheet.body, &names, &Spec::new("KV cache", Unit::Iec, Division::Zero, values));
    plane.draw(&mut sheet.canvas);
    for (i, (_, all)) in sizes.iter().enumerate() {
        let (places, width) = places(plane.x.pixel(i as f64), plane.x.slot(), kinds.len());
        for (kind, x) in kinds.iter().zip(places) {
            let Some(value) = all[*kind] else { continue };
            let bar = Bar { x, width, value, interval: None, color: series_color(*kind) };
            bar.draw(&mut sheet.canvas, &plane, width + 1.0);
        }
    }
    Some(sheet.finish())
}

fn sizes(series: &Series<'_>) -> Option<[Option<f64>; 3]> {
    let stage = Stage::ALL.into_iter().find_map(|stage| series.stage(stage))?;
    let bytes = stage.kv_cache_bytes;
    let all = [bytes.theoretical, bytes.allocated, bytes.touched];
    all.iter().any(Option::is_some).then_some(all)
}
