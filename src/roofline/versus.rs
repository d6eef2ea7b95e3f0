//! Points of one file against the same kernels' or phases' points of another, and where time could be saved.

use super::Roofline;
use super::point::{Level, Point};
use crate::llm::{Phase, Stage};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// One kernel or phase in two files; ratios are new / old, `None` where either is unknown or the old one is 0.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// What both are called.
    pub name: String,
    /// What both are called in tables.
    pub short_name: String,
    /// The file that the old point is of: the first.
    pub old_file: String,
    /// The file that the new point is of.
    pub new_file: String,
    /// Old time in seconds.
    pub old_time_s: Option<f64>,
    /// New time in seconds.
    pub new_time_s: Option<f64>,
    /// Of times: under 1 is faster.
    pub time_ratio: Option<f64>,
    /// Of FLOPs.
    pub flop_ratio: Option<f64>,
    /// Of bytes.
    pub byte_ratio: Option<f64>,
    /// Of intensities.
    pub intensity_ratio: Option<f64>,
    /// The old point's position in the roofline.
    #[serde(skip)]
    pub old: usize,
    /// The new point's position.
    #[serde(skip)]
    pub new: usize,
}

/// The points of later files, each against the first file's point of the same name, stage and phase; the version may
/// differ, as that is what is mostly compared. In the order of the old points: the longest first.
pub fn changes(roofline: &Roofline) -> Vec<Change> {
    let Some((first, later)) = roofline.files.split_first() else { return Vec::new() };
    let mut index: HashMap<Identity<'_>, usize> = HashMap::new();
    for (at, point) in roofline.points.iter().enumerate() {
        index.entry(identity(point, &point.file)).or_insert(at);
    }
    let mut found = Vec::new();
    // A launch's number in one export says nothing about another's.
    let named = |p: &Point| p.file == *first && p.level != Level::Launch;
    for (old_at, old) in roofline.points.iter().enumerate().filter(|(_, p)| named(p)) {
        for file in later.iter().filter(|f| *f != first) {
            let exact = identity(old, file);
            // An export may not tell where its launches are from.
            let anywhere = (exact.0, exact.1, exact.2, exact.3, None, None);
            let new_at = index.get(&exact).or_else(|| index.get(&anywhere)).copied();
            // A trace has times of a run, an export counters of a few launches: one explains the other, and is no
            // newer version of it.
            let new_at = new_at.filter(|at| roofline.points[*at].traced == old.traced);
            found.extend(new_at.map(|at| change((old_at, old), (at, &roofline.points[at]))));
        }
    }
    found
}

/// What makes points of two files the same thing.
type Identity<'a> = (&'a str, Level, Option<&'a str>, Option<&'a str>, Option<Stage>, Option<Phase>);

/// The identity that `point` would have in `file`.
fn identity<'a>(point: &'a Point, file: &'a str) -> Identity<'a> {
    // A point that is a whole file is named after it.
    let group = point.group.as_deref().filter(|g| !point.file.ends_with(*g));
    (file, point.level, point.kernel.as_deref(), group, point.stage, point.phase)
}

fn change((old_at, old): (usize, &Point), (new_at, new): (usize, &Point)) -> Change {
    let ratio = |of: fn(&Point) -> Option<f64>| match (of(old), of(new)) {
        (Some(old), Some(new)) if old > 0.0 => Some(new / old),
        _ => None,
    };
    let time = |p: &Point| p.time.as_ref().map(|t| t.value);
    Change {
        name: old.name(),
        short_name: old.label(),
        old_file: old.file.clone(),
        new_file: new.file.clone(),
        old_time_s: time(old),
        new_time_s: time(new),
        time_ratio: ratio(|p| p.time.as_ref().map(|t| t.value)),
        flop_ratio: ratio(Point::total_flops),
        byte_ratio: ratio(|p| p.bytes.as_ref().map(|b| b.value)),
        intensity_ratio: ratio(Point::intensity),
        old: old_at,
        new: new_at,
    }
}

/// The points that have no counterpart: those of the first file in no later one, and those of a later one that the first
/// lacks. Launches have none by nature and are not listed, nor is anything beside a trace that other files explain.
pub fn one_sided<'a>(roofline: &'a Roofline, changes: &[Change]) -> Vec<&'a Point> {
    if roofline.files.len() < 2 {
        return Vec::new();
    }
    if roofline.points.iter().any(|p| p.traced != roofline.points[0].traced) {
        return Vec::new();
    }
    let paired: HashSet<usize> = changes.iter().flat_map(|c| [c.old, c.new]).collect();
    let alone = |(at, p): &(usize, &Point)| p.level != Level::Launch && !paired.contains(at);
    roofline.points.iter().enumerate().filter(alone).map(|(_, p)| p).collect()
}

/// How much time reaching its ceiling would save.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Saving {
    /// The point's name.
    pub name: String,
    /// The same in tables.
    pub short_name: String,
    /// Its file.
    pub file: String,
    /// Time minus time floor, in seconds.
    pub saving_s: f64,
    /// That part of its file's, or stage's, time.
    pub share: Option<f64>,
    /// Time floor / time.
    pub fraction_of_ceiling: f64,
    /// The point's position in the roofline.
    #[serde(skip)]
    pub point: usize,
}

/// The points by the time that reaching their ceiling would save, the largest first: where to look first. Points
/// without a floor, or with FLOPs that are a lower bound, cannot be told.
pub fn savings(roofline: &Roofline) -> Vec<Saving> {
    let saving = |(at, p): (usize, &Point)| {
        let (time, fraction) = (p.time.as_ref()?.value, p.fraction_of_ceiling()?);
        let part = 1.0 - fraction;
        (part > 0.0 && p.level != Level::Stage).then(|| Saving {
            name: p.name(),
            short_name: p.label(),
            file: p.file.clone(),
            saving_s: time * part,
            share: p.share.map(|s| s * part),
            fraction_of_ceiling: fraction,
            point: at,
        })
    };
    let mut all: Vec<Saving> = roofline.points.iter().enumerate().filter_map(saving).collect();
    all.sort_by(|a, b| b.saving_s.total_cmp(&a.saving_s));
    all
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bandwidth, kernel, vector};
    use super::super::{By, Ceilings, analyse};
    use super::*;
    use crate::hw::Precision;
    use crate::profile::{KernelRecord, Run};

    fn roofline(files: &[(&str, Vec<KernelRecord>)]) -> Roofline {
        let run = |(file, kernels): &(&str, Vec<KernelRecord>)| Run {
            file: (*file).into(),
            kernels: kernels.iter().map(|k| KernelRecord { file: (*file).into(), ..k.clone() }).collect(),
            ..Run::default()
        };
        let runs: Vec<Run> = files.iter().map(run).collect();
        let chosen = vec![bandwidth(100e9), vector(Precision::Fp32, 1e12)];
        analyse(&runs, By::Kernel, &Ceilings { chosen, by_device: vec![] })
    }

    #[test]
    fn ratios_are_new_over_old_and_kernels_of_one_file_have_none() {
        let old = vec![kernel("a", 4.0, 100.0, 1000.0), kernel("gone", 1.0, 1.0, 1.0)];
        let new = vec![kernel("a", 1.0, 50.0, 2000.0), kernel("new", 1.0, 1.0, 1.0)];
        let roofline = roofline(&[("v0.csv", old), ("v1.csv", new)]);
        let changes = changes(&roofline);
        assert_eq!(changes.len(), 1);
        let alone: Vec<String> = one_sided(&roofline, &changes).iter().map(|p| p.name()).collect();
        assert_eq!(alone, ["gone", "new"]);
        let a = &changes[0];
        assert_eq!((a.name.as_str(), a.new_file.as_str()), ("a", "v1.csv"));
        assert_eq!(
            (a.time_ratio, a.flop_ratio, a.byte_ratio, a.intensity_ratio),
            (Some(0.25), Some(2.0), Some(0.5), Some(4.0))
        );
    }

    #[test]
    fn what_saves_most_comes_first_and_not_what_takes_longest() {
        // near: 1 GB, floor 10 of 11 ms, saves 1. far: 0.1 GB, floor 1 of 9 ms, saves 8, which is 8 of 20 ms.
        let kernels = vec![kernel("near", 0.011, 1e9, 1e6), kernel("far", 0.009, 1e8, 1e6)];
        let savings = savings(&roofline(&[("x.csv", kernels)]));
        assert_eq!(savings.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["far", "near"]);
        assert!((savings[0].saving_s - 0.008).abs() < 1e-12);
        assert!((savings[0].share.unwrap() - 0.4).abs() < 1e-12);
    }
}
