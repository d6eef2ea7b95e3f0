//! Speed-up of each version against one of them, with intervals and verdicts.

use super::super::marks::{BLACK, GREY};
use super::super::plane::{Division, Plane, Spec, Unit};
use super::super::sheet::{Head, Sheet};
use super::super::text::{Anchor, Text};
use super::super::{ChartOptions, Figure};
use super::FigureInput;
use super::series::{Series, legend};
use crate::compare::{Subject, TimeChange, compare_pair};
use crate::stats::{DEFAULT_THRESHOLD, SpeedUp};

/// Room for the verdict beside a row.
const VERDICT: f64 = 150.0;

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = input.series();
    let against = series.iter().find(|s| input.against.as_deref().is_none_or(|name| name == s.version))?;
    let rows: Vec<(&Series<'_>, TimeChange)> = series
        .iter()
        .filter(|s| !same(s, against))
        .flat_map(|s| {
            let pair = compare_pair(subject(against), subject(s), DEFAULT_THRESHOLD);
            pair.times.into_iter().map(move |change| (s, change))
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    let legend = legend(&series);
    let title = format!("Speed-up against {}", against.title());
    let note =
        "old / new time, over 1 is faster · plain twin · 95 % intervals, by paired repetitions inside a run";
    let size = (900, 150 + 28 * rows.len() as u32);
    let head = Head { title: &title, note, legend: &legend, size, body: 60.0 + 17.0 * rows.len() as f64 };
    let mut sheet = Sheet::new(options, &head);
    let names = rows.iter().map(|(s, change)| format!("{} {}", s.title(), change.what)).collect();
    let ends =
        |c: &SpeedUp| [Some(c.speedup), c.interval.map(|i| i.low), c.interval.map(|i| i.high), Some(1.0)];
    let values = rows.iter().flat_map(|(_, c)| ends(&c.change));
    let x = Spec::new("speed-up", Unit::Plain(""), Division::Zero, values.flatten().collect());
    let mut body = sheet.body;
    body.x1 -= VERDICT;
    let plane = Plane::new(body, &x, &Spec::names(names));
    plane.draw(&mut sheet.canvas);
    let one = plane.x.pixel(1.0);
    sheet.canvas.line((one, plane.frame.y0), (one, plane.frame.y1), BLACK, 1);
    for (i, (s, change)) in rows.iter().enumerate() {
        row(&mut sheet, &plane, i, s, change);
    }
    Some(sheet.finish())
}

fn row(sheet: &mut Sheet, plane: &Plane, row: usize, series: &Series<'_>, change: &TimeChange) {
    let change = &change.change;
    let canvas = &mut sheet.canvas;
    let at = (plane.x.pixel(change.speedup), plane.y.pixel(row as f64));
    let interval = change.interval.map(|i| (plane.x.pixel(i.low), plane.x.pixel(i.high)));
    if let Some((low, high)) = interval {
        canvas.line((low, at.1), (high, at.1), series.color, 2);
        for x in [low, high] {
            canvas.line((x, at.1 - 5.0), (x, at.1 + 5.0), series.color, 2);
        }
    }
    series.mark(canvas, at, 5.0);
    let text = format!("{:.2}x {}", change.speedup, change.verdict);
    let text = Text::new(text, plane.frame.x1 + 14.0, at.1, 11.0).anchored(Anchor::Start);
    canvas.text(if change.reason.is_some() { text.colored(GREY) } else { text });
}

fn subject<'a>(series: &Series<'a>) -> Subject<'a> {
    Subject { run: series.run, version: series.version }
}

fn same(a: &Series<'_>, b: &Series<'_>) -> bool {
    std::ptr::eq(a.run, b.run) && a.version == b.version
}
