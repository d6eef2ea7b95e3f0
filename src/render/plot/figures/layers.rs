//! Time of each layer by phase, a plot for each version.

use super::super::canvas::Area;
use super::super::legend::{Entry, Sample, Section};
use super::super::marks::phase_color;
use super::super::plane::{Division, Plane, Spec, Unit};
use super::super::sheet::{Head, Sheet, rows};
use super::super::text::Text;
use super::super::{ChartOptions, Figure};
use super::FigureInput;
use super::op_times::{OpTime, op_times, stage_of};
use super::series::Series;
use crate::llm::Phase;

/// More plots than this are too low to read.
const MOST: usize = 8;

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = input.series();
    let of = |s| {
        let stage = stage_of(s)?;
        let mut ops = op_times(s, stage)?;
        ops.retain(|op| op.layer.is_some());
        (!ops.is_empty()).then_some((s, stage, ops))
    };
    let all: Vec<(&Series<'_>, crate::llm::Stage, Vec<OpTime>)> =
        series.iter().filter_map(of).take(MOST).collect();
    let layers = all.iter().flat_map(|(_, _, ops)| ops).filter_map(|op| op.layer).max()? + 1;
    let present = |p: &Phase| all.iter().flat_map(|(_, _, ops)| ops).any(|op| op.phase == *p);
    let phases: Vec<Phase> = Phase::ALL.into_iter().filter(present).collect();
    let entry = |p: &Phase| Entry { sample: Sample::Box(phase_color(Some(*p))), text: p.name().to_string() };
    let legend = [Section { title: "Phase", entries: phases.iter().map(entry).collect() }];
    let note = "per step · sums over a layer's ops of their medians over repetitions · instrumented twin";
    let size = (1000, 110 + 190 * all.len() as u32);
    let head = Head { title: "Time by layer", note, legend: &legend, size, body: 130.0 * all.len() as f64 };
    let mut sheet = Sheet::new(options, &head);
    let names: Vec<String> = (0..layers).map(|l| l.to_string()).collect();
    for ((s, stage, ops), mut area) in all.iter().zip(rows(sheet.body, all.len(), 10.0)) {
        sheet.canvas.text(Text::new(format!("{} {stage}", s.title()), area.x0, area.y0 + 6.0, 12.0).bold());
        area.y0 += 10.0;
        let time = |layer: usize, phase: Phase| -> f64 {
            ops.iter().filter(|op| op.layer == Some(layer) && op.phase == phase).map(|op| op.time_s).sum()
        };
        let sum = |layer: usize| phases.iter().map(|p| time(layer, *p)).sum::<f64>();
        let y = Spec::new("time", Unit::Si("s"), Division::Zero, (0..layers).map(sum).collect());
        let mut x = Spec::names(names.clone());
        x.title = "layer".to_string();
        let plane = Plane::new(area, &x, &y);
        plane.draw(&mut sheet.canvas);
        for layer in 0..layers {
            let (middle, half) = (plane.x.pixel(layer as f64), (0.4 * plane.x.slot()).min(30.0));
            let mut below = 0.0;
            for phase in &phases {
                let time = time(layer, *phase);
                let (y0, y1) = (plane.y.pixel(below + time), plane.y.pixel(below));
                let area = Area { x0: middle - half, y0, x1: middle + half, y1 };
                sheet.canvas.rect(area, phase_color(Some(*phase)));
                below += time;
            }
        }
    }
    Some(sheet.finish())
}
