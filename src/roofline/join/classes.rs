//! Kernels of a portion by class, with what hardware counters say of them.

use super::super::timeline::TimelineBuilder;
use super::portions::Portion;
use super::{ClassWork, Counters};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Counters stand for a class only if they are of kernels with at least this part of its time; the rest is taken to
/// move as much per second.
const COVERED: f64 = 0.9;

#[derive(Default)]
struct Sum {
    launches: u64,
    time_s: f64,
    covered_s: f64,
    bytes: Option<f64>,
    flops: Option<f64>,
    began: bool,
}

/// The classes of a portion: sums over all its steps and devices.
pub(super) fn of(
    portion: &Portion,
    file: &str,
    timeline: &TimelineBuilder,
    counters: &Counters,
    in_several_stages: &HashSet<(&str, Option<&str>)>,
) -> Vec<ClassWork> {
    let mut sums: BTreeMap<Option<&str>, Sum> = BTreeMap::new();
    for (name, grid, of) in timeline.kernels(file).filter(|(.., of)| portion.has(of.stage)) {
        let sum = sums.entry(of.class.as_deref()).or_default();
        sum.launches += of.launches;
        sum.time_s += of.time_s;
        if !sum.began {
            (sum.began, sum.bytes, sum.flops) = (true, Some(0.0), Some(0.0));
        }
        let several = in_several_stages.contains(&(name, grid));
        let Some(counted) = counters.of(name, grid, of.stage.or(portion.stage), several) else { continue };
        let factor = of.launches as f64 / counted.launches as f64;
        sum.covered_s += of.time_s;
        sum.bytes = sum.bytes.zip(counted.bytes).map(|(a, b)| a + b * factor);
        sum.flops = sum.flops.zip(counted.flops).map(|(a, b)| a + b * factor);
    }
    let total: f64 = sums.values().map(|s| s.time_s).sum();
    let class = |(class, sum): (Option<&str>, Sum)| {
        let covered = if sum.time_s > 0.0 { sum.covered_s / sum.time_s } else { 0.0 };
        let scaled = |value: Option<f64>| value.filter(|_| covered >= COVERED).map(|v| v / covered);
        ClassWork {
            class: class.map(ToString::to_string),
            launches: sum.launches as f64,
            time_s: sum.time_s,
            share: (total > 0.0).then(|| sum.time_s / total),
            counted_bytes: scaled(sum.bytes),
            counted_flops: scaled(sum.flops),
            ..ClassWork::default()
        }
    };
    sums.into_iter().map(class).collect()
}

/// Kernels, with their grids, that the trace has in more than one stage: their name does not tell of which a launch is.
pub(super) fn in_several_stages<'t>(
    file: &str,
    timeline: &'t TimelineBuilder,
) -> HashSet<(&'t str, Option<&'t str>)> {
    let mut stages = HashMap::new();
    let mut several = HashSet::new();
    for (name, grid, of) in timeline.kernels(file) {
        if *stages.entry((name, grid)).or_insert(of.stage) != of.stage {
            several.insert((name, grid));
        }
    }
    several
}
