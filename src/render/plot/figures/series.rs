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
    pub(super) report: &'a PhaseReport,
    /// What the run is called, where there are several.
    pub(super) label: Option<&'a str>,
    pub(super) version: &'a str,
    pub(super) color: Rgb,
    pub(super) shape: Shape,
    pub(super) dashes: usize,
}

impl<'a> Series<'a> {
    pub(super) fn all(input: &'a FigureInput) -> Vec<Self> {
        let measured = || input.runs.iter().zip(&input.reports).filter(|(_, report)| report.is_some());
        let names: Vec<&str> = measured().flat_map(|(run, _)| run.versions()).collect();
        let several = measured().count() > 1;
        let of = |(at, (run, report)): (usize, (&'a Run, &'a Option<PhaseReport>))| {
            let label =
                input.runs.iter().position(|r| std::ptr::eq(r, run)).map(|i| input.labels[i].as_str());
            let label = label.filter(|_| several);
            let report = report.as_ref()?;
            let of_version = |version: &'a str| {
                let index = marks::version_index(version, &names);
                let (color, shape) = (marks::version_color(index), Shape::of(index));
                Self { run, report, label, version, color, shape, dashes: at }
            };
            Some(run.versions().into_iter().map(of_version).collect::<Vec<_>>())
        };
        measured().enumerate().filter_map(of).flatten().collect()
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
        self.report.stages.iter().find(|s| s.version == self.version && s.stage == stage)
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
