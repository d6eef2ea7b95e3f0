//! Histogram of the times between tokens.

use super::super::legend::{Entry, Sample as LegendSample, Section};
use super::super::plane::{Division, Plane, Spec, Unit};
use super::super::sheet::{Head, Sheet};
use super::super::{ChartOptions, Figure};
use super::FigureInput;
use super::series::{Series, legend};
use crate::llm::Stage;
use crate::stats::Sample;
use crate::units::{Scale, Seconds};

/// Bins over all series; fewer for few values.
const MOST_BINS: usize = 60;

pub(super) fn figure(input: &FigureInput, options: &ChartOptions) -> Option<Figure> {
    let series = input.series();
    let all: Vec<(&Series<'_>, Sample)> = series
        .iter()
        .filter_map(|s| {
            let times = s.plain_steps(Stage::Decode).map(|step| step.time_s).collect();
            Some((s, Sample::new(times).ok()?))
        })
        .collect();
    if all.is_empty() {
        return None;
    }
    let low = all.iter().map(|(_, s)| s.min()).fold(f64::INFINITY, f64::min);
    let high = all.iter().map(|(_, s)| s.max()).fold(0.0, f64::max);
    let bins = Bins::new(low, high, &all);
    let shown: Vec<Series<'_>> = all.iter().map(|(s, _)| **s).collect();
    let mut legend = legend(&shown);
    legend.push(percentiles(&all));
    let note = "every decode step of every repetition, in bins of one width · plain twin";
    let head =
        Head { title: "Time between tokens (ITL)", note, legend: &legend, size: (900, 480), body: 120.0 };
    let mut sheet = Sheet::new(options, &head);
    let shares: Vec<Vec<f64>> = all.iter().map(|(_, sample)| bins.shares(sample)).collect();
    let x = Spec::new("time between tokens", Unit::Si("s"), Division::Near, vec![bins.low, bins.end()]);
    let y = shares.iter().flatten().map(|share| 100.0 * share).collect();
    let y = Spec::new("steps", Unit::Plain("%"), Division::Zero, y);
    let plane = Plane::new(sheet.body, &x, &y);
    plane.draw(&mut sheet.canvas);
    for ((s, _), shares) in all.iter().zip(&shares) {
        for outline in bins.outlines(shares) {
            let pixels: Vec<(f64, f64)> = outline.iter().map(|p| plane.at(*p)).collect();
            sheet.canvas.shade(&pixels, s.color, 0.3);
            plane.line(&mut sheet.canvas, &outline, s.color, s.dashes);
        }
    }
    Some(sheet.finish())
}

/// Bins of equal width from `low` on.
struct Bins {
    low: f64,
    width: f64,
    count: usize,
}

impl Bins {
    /// Of the width that Freedman and Diaconis (1981) give for the series that it is narrowest for.
    fn new(low: f64, high: f64, all: &[(&Series<'_>, Sample)]) -> Self {
        let span = if high > low { high - low } else { 0.1 * low };
        let width = |s: &Sample| 2.0 * (s.percentile(75.0) - s.percentile(25.0)) / (s.count() as f64).cbrt();
        let narrowest = all.iter().map(|(_, s)| width(s)).filter(|w| *w > 0.0).fold(f64::INFINITY, f64::min);
        let count = (span / narrowest).ceil().clamp(8.0, MOST_BINS as f64) as usize;
        Self { low, width: span / count as f64, count }
    }

    fn end(&self) -> f64 {
        self.low + self.width * self.count as f64
    }

    /// The part of the values in each bin; the last one includes its upper end.
    fn shares(&self, sample: &Sample) -> Vec<f64> {
        let mut shares = vec![0.0; self.count];
        for value in sample.values() {
            let bin = ((value - self.low) / self.width) as usize;
            shares[bin.min(self.count - 1)] += 1.0 / sample.count() as f64;
        }
        shares
    }

    /// The outlines of the histogram in per cent: one for each run of bins that are not empty.
    fn outlines(&self, shares: &[f64]) -> Vec<Vec<(f64, f64)>> {
        let edge = |i: usize| self.low + self.width * i as f64;
        let mut outlines: Vec<Vec<(f64, f64)>> = Vec::new();
        for (i, share) in shares.iter().enumerate().filter(|(_, s)| **s > 0.0) {
            if i == 0 || shares[i - 1] == 0.0 {
                outlines.push(vec![(edge(i), 0.0)]);
            }
            let Some(outline) = outlines.last_mut() else { continue };
            outline.extend([(edge(i), 100.0 * share), (edge(i + 1), 100.0 * share)]);
            if shares.get(i + 1).is_none_or(|next| *next == 0.0) {
                outline.push((edge(i + 1), 0.0));
            }
        }
        outlines
    }
}

fn percentiles(all: &[(&Series<'_>, Sample)]) -> Section {
    let scale = Scale::for_values(all.iter().map(|(_, s)| s.median()), Seconds::UNIT);
    let entry = |(series, sample): &(&Series<'_>, Sample)| {
        let at = |p| scale.format(sample.percentile(p));
        let text = format!("{}  {} / {} / {} {scale}", series.title(), at(50.0), at(95.0), at(99.0));
        Entry { sample: LegendSample::Box(series.color), text }
    };
    Section { title: "p50 / p95 / p99", entries: all.iter().map(entry).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_one_bin() {
        let bins = Bins { low: 1.0, width: 0.5, count: 4 };
        let sample = Sample::new(vec![1.0, 1.2, 1.5, 3.0]).unwrap();
        assert_eq!(bins.shares(&sample), [0.5, 0.25, 0.0, 0.25]);
        let outlines = bins.outlines(&[0.5, 0.0, 0.0, 0.5]);
        assert_eq!(outlines[0], [(1.0, 0.0), (1.0, 50.0), (1.5, 50.0), (1.5, 0.0)]);
        assert_eq!((outlines.len(), outlines[1][0]), (2, (2.5, 0.0)));
    }
}
