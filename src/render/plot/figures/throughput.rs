//! Tokens per second of each version, in prefill and in decode.

use super::super::bars::{Bar, places};
use super::super::plane::{Division, Plane, Spec, Unit};
use super::super::sheet::{Head, Sheet, columns};
use super::super::text::Text;
use super::super::{ChartOptions, Figure};
use super::FigureInput;
use super::series::{Series, legend};
use crate::llm::Stage;
use crate::stats::Interval;

/// Tokens per second with an interval.
struct Rate {
    value: f64,
    interval: Option<Interval>,
}

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = input.series();
    let panels: Vec<(Stage, Vec<(&Series<'_>, Rate)>)> = Stage::ALL
        .into_iter()
        .map(|stage| (stage, series.iter().filter_map(|s| Some((s, rate(s, stage)?))).collect()))
        .filter(|(_, rates): &(Stage, Vec<_>)| !rates.is_empty())
        .collect();
    if panels.is_empty() {
        return None;
    }
    let note = "tokens of all sequences over the median time · plain twin · 95 % intervals";
    let legend = legend(&series);
    let head = Head { title: "Throughput", note, legend: &legend, size: (900, 460), body: 120.0 };
    let mut sheet = Sheet::new(options, &head);
    for ((stage, rates), area) in panels.iter().zip(columns(sheet.body, panels.len(), 24.0)) {
        let ends =
            |r: &Rate| [Some(r.value), r.interval.map(|i| i.high)].into_iter().flatten().collect::<Vec<_>>();
        let values = rates.iter().flat_map(|(_, r)| ends(r)).collect();
        let names = rates.iter().map(|(s, _)| s.name()).collect();
        let title = format!("{stage} throughput");
        let y = Spec::new(&title, Unit::Si("token/s"), Division::Zero, values);
        let mut area = area;
        sheet.canvas.text(Text::new(stage.name(), area.x0, area.y0 + 6.0, 13.0).bold());
        area.y0 += 16.0;
        let plane = Plane::new(area, &Spec::names(names), &y);
        plane.draw(&mut sheet.canvas);
        for (i, (s, rate)) in rates.iter().enumerate() {
            let (places, width) = places(plane.x.pixel(i as f64), plane.x.slot(), 1);
            let interval = rate.interval.map(|i| (i.low, i.high));
            let bar = Bar { x: places[0], width, value: rate.value, interval, color: s.color };
            bar.draw(&mut sheet.canvas, &plane, plane.x.slot() - 4.0);
        }
    }
    Some(sheet.finish())
}

/// Batch x new tokens of the stage / time: a decode step makes one token of each sequence, a prefill reads the prompt's.
fn rate(series: &Series<'_>, stage: Stage) -> Option<Rate> {
    let config = series.run.manifest.as_ref()?.config.as_ref()?;
    let tokens = match stage {
        Stage::Prefill => config.batch * config.prompt_length,
        Stage::Decode => config.batch,
    } as f64;
    let time = series.stage(stage)?.plain_step_s.as_ref()?;
    let interval = time.interval.map(|i| Interval { low: tokens / i.high, high: tokens / i.low, ..i });
    Some(Rate { value: tokens / time.median, interval })
}
