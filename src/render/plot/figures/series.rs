//! What is drawn in one colour: a version of a run. Colour and marker are the version's, dashes the run's.

use super::super::canvas::{Canvas, Rgb};
use super::super::legend::{Entry, Sample, Section};
use super::super::marks::{self, BLACK, Shape};
use super::super::plane::Plane;
use super::FigureInput;
use crate::llm::Stage;
use crate::profile::{Run, StepRecord, Twin};
use crate::roofline::{PhaseReport, Repetitions, StageReport};

/// A version of a run.
#[derive(Clone, Copy)]
pub(super) struct Series<'a> {
    pub(super) run: &'a Run,
    /// The breakdown of its run; `None` for one without timed steps.
    pub(super) report: Option<&'a PhaseReport>,
    /// What the run is called, where there are several.
    pub(super) label: Option<&'a str>,
    pub(super) version: &'a str,
    pub(super) color: Rgb,
    pub(super) shape: Shape,
    pub(super) dashes: usize,
}

impl<'a> Series<'a> {
    /// Every version of every run that has timed steps.
    pub(super) fn all(input: &'a FigureInput) -> Vec<Self> {
        Self::of(input, |run| input.versions(run))
    }

    /// Every version that `versions` finds in a run.
    pub(super) fn of(input: &'a FigureInput, versions: impl Fn(&'a Run) -> Vec<&'a str>) -> Vec<Self> {
        let found: Vec<(usize, Vec<&'a str>)> = input
            .runs
            .iter()
            .enumerate()
            .map(|(i, run)| (i, versions(run)))
            .filter(|(_, names)| !names.is_empty())
            .collect();
        let names: Vec<&str> = found.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let several = found.len() > 1;
        let of_version = |at: usize, i: usize, version: &'a str| {
            let index = marks::version_index(version, &names);
            Self {
                run: &input.runs[i],
                report: input.reports[i].as_ref(),
                label: several.then_some(input.labels[i].as_str()),
                version,
                color: marks::version_color(index),
                shape: Shape::of(index),
                dashes: at,
            }
        };
        let of_run = |(at, (i, versions)): (usize, &(usize, Vec<&'a str>))| {
            versions.iter().map(|version| of_version(at, *i, version)).collect::<Vec<_>>()
        };
        found.iter().enumerate().flat_map(of_run).collect()
    }

    /// `v1`, or `v1` over the run's name where there are several runs.
    pub(super) fn name(&self) -> String {
        self.label.map_or(self.version.to_string(), |label| format!("{}\n{label}", self.version))
    }

    /// The same on one line.
    pub(super) fn title(&self) -> String {
        self.name().replace('\n', " of ")
    }

    pub(super) fn stage(&self, stage: Stage) -> Option<&'a StageReport> {
        self.report?.stages.iter().find(|s| s.version == self.version && s.stage == stage)
    }

    pub(super) fn plain(&self, stage: Stage) -> Repetitions<'a> {
        Repetitions::of(self.run, self.version, stage, Twin::Plain)
    }

    pub(super) fn plain_steps(&self, stage: Stage) -> impl Iterator<Item = &'a StepRecord> + use<'a> {
        let version = self.version;
        let of = move |s: &&StepRecord| s.version == version && s.stage == stage && s.twin == Twin::Plain;
        self.run.steps.iter().filter(of)
    }

    pub(super) fn mark(&self, canvas: &mut Canvas, at: (f64, f64), radius: f64) {
        marks::marker(canvas, self.shape, at, radius, self.color, true);
    }

    /// A line of this series, with markers where they are not crowded.
    pub(super) fn line(&self, canvas: &mut Canvas, plane: &Plane, points: &[(f64, f64)]) {
        plane.line(canvas, points, self.color, self.dashes);
        let every = points.len().div_ceil(14).max(1);
        for point in points.iter().step_by(every) {
            self.mark(canvas, plane.at(*point), 4.0);
        }
    }
}

/// The versions that records of a benchmark name: in the order asked for, then any other as first met.
pub(super) fn recorded<'a>(run: &'a Run, named: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = named.collect();
    let asked = run.manifest.iter().filter_map(|m| m.config.as_ref()).flat_map(|c| &c.versions);
    let place: Vec<&str> = asked.map(|v| v.name.as_str()).collect();
    let mut seen: Vec<&str> = Vec::new();
    names.retain(|n| {
        !seen.contains(n) && {
            seen.push(n);
            true
        }
    });
    names.sort_by_key(|n| place.iter().position(|p| p == n).unwrap_or(usize::MAX));
    names
}

/// What colours, markers and dashes mean.
pub(super) fn legend(series: &[Series<'_>]) -> Vec<Section> {
    let mut versions: Vec<Entry> = Vec::new();
    let mut runs: Vec<Entry> = Vec::new();
    for s in series {
        if versions.iter().all(|e| e.text != s.version) {
            let sample = Sample::Marker { shape: s.shape, color: s.color, filled: true };
            versions.push(Entry { sample, text: s.version.to_string() });
        }
        if let Some(label) = s.label.filter(|l| runs.iter().all(|e| e.text != *l)) {
            let sample = Sample::Dashes { color: BLACK, dashes: s.dashes };
            runs.push(Entry { sample, text: label.to_string() });
        }
    }
    vec![Section { title: "Version", entries: versions }, Section { title: "Run", entries: runs }]
}
