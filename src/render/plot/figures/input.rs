//! What figures are drawn from: runs, with what follows from them worked out once.

use super::series::Series;
use crate::profile::{Finding, Run};
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
    pub fn new(runs: Vec<Run>, labels: &[String], ceilings: Ceilings) -> Self {
        let report = |run: &Run| (!run.steps.is_empty()).then(|| PhaseReport::new(run, &ceilings.chosen));
        let reports = runs.iter().map(report).collect();
        let mut roofline = analyse(&runs, By::Kernel, &ceilings);
        roofline.set_labels(labels);
        let labels = runs.iter().map(|run| roofline.label_of(&run.file)).collect();
        Self { runs, labels, reports, roofline, ceilings, against: None, top: 12 }
    }

    /// The files that the runs come from.
    pub fn files(&self) -> Vec<&str> {
        self.runs.iter().map(|run| run.file.as_str()).collect()
    }

    /// The findings of all analyses. What two of them say of one thing stands once, where one has a remedy with it.
    pub fn findings(&self) -> Vec<Finding> {
        let reported = self.reports.iter().flatten().flat_map(|r| r.findings.iter().cloned());
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

    /// See [`Series::all`].
    pub(super) fn series(&self) -> Vec<Series<'_>> {
        Series::all(self)
    }
}
