//! What figures are drawn from: runs, with what follows from them worked out once.

use super::series::Series;
use crate::profile::{Finding, Run, StepRecord};
use crate::roofline::{By, Ceilings, PhaseReport, Roofline, analyse};

/// Runs and their analysis.
pub struct FigureInput {
    /// The runs.
    pub runs: Vec<Run>,
    /// What figures call them.
    pub labels: Vec<String>,
    /// The breakdown of each run; `None` for one without timed steps.
    pub reports: Vec<Option<PhaseReport>>,
    /// The points of all of them.
    pub roofline: Roofline,
    /// Where ceilings come from besides the runs themselves.
    pub ceilings: Ceilings,
    /// The version that speed-ups are against; the first one where there is none.
    pub against: Option<String>,
    /// How many kernels bars show.
    pub top: usize,
}

impl FigureInput {
    /// Of `runs`, called by `labels` where there are any.
    pub fn new(mut runs: Vec<Run>, labels: &[String], ceilings: Ceilings) -> Self {
        let swept: Vec<Vec<StepRecord>> = runs.iter_mut().map(take_swept).collect();
        let report = |run: &Run| (!run.steps.is_empty()).then(|| PhaseReport::new(run, &ceilings.chosen));
        let reports = runs.iter().map(report).collect();
        let mut roofline = analyse(&runs, By::Kernel, &ceilings);
        runs.iter_mut().zip(swept).for_each(|(run, steps)| run.steps.extend(steps));
        roofline.set_labels(labels);
        let labels = runs.iter().map(|run| roofline.label_of(&run.file)).collect();
        Self { runs, labels, reports, roofline, ceilings, against: None, top: 12 }
    }

    /// The files that the runs come from.
    pub fn files(&self) -> Vec<&str> {
        self.runs.iter().map(|run| run.file.as_str()).collect()
    }

    /// The findings of all analyses, and `more`. What two of them say of one thing stands once, where one has a remedy with it.
    pub fn findings(&self, more: Vec<Finding>) -> Vec<Finding> {
        let reported = self.reports.iter().flatten().flat_map(|r| r.findings.iter().cloned()).chain(more);
        let mut all: Vec<Finding> = Vec::new();
        for finding in reported.chain(self.roofline.labelled_findings()) {
            let same = all.iter_mut().find(|f| f.code == finding.code && f.about == finding.about);
            match same {
                Some(known) if known.remedy.is_none() && finding.remedy.is_some() => *known = finding,
                // Several files, or several messages about one thing, say different things.
                Some(known) if known.message != finding.message && finding.remedy.is_none() => {
                    all.push(finding)
                }
                Some(_) => {}
                None => all.push(finding),
            }
        }
        all
    }

    /// The versions whose steps are of one scenario, so that they are analysed as stages.
    pub fn versions<'a>(&self, run: &'a Run) -> Vec<&'a str> {
        if is_sweep(run) { Vec::new() } else { run.versions() }
    }

    /// See [`Series::all`].
    pub(super) fn series(&self) -> Vec<Series<'_>> {
        Series::all(self)
    }
}

/// Whether a run has steps of every batch and context of a search: mixed up, they are no stage of anything.
pub(super) fn is_sweep(run: &Run) -> bool {
    !run.decode_points.is_empty()
}

/// Takes the steps of a sweep out of the way.
fn take_swept(run: &mut Run) -> Vec<StepRecord> {
    if is_sweep(run) { std::mem::take(&mut run.steps) } else { Vec::new() }
}
