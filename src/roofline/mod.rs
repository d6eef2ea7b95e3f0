//! Where the time of kernels and phases stands against what the hardware allows: pure arithmetic over a [`Run`].
//!
//! Kernels of a profiler's export become points of counted FLOPs and bytes ([`kernel_points`]); a measured run
//! becomes a [`PhaseReport`] and points of analytic FLOPs and bytes ([`phase_points`]). Either way a point has a
//! time floor, what bounds it, and its fraction of the ceiling, which is shown and never clamped.

mod attainable;
mod ceilings;
mod findings;
mod kernels;
mod phases;
mod point;
mod repetitions;
mod report;
#[cfg(test)]
pub(crate) mod samples;
mod steps;

pub use attainable::{Bound, Demand, Floor, LATENCY_BOUND_BELOW};
pub use ceilings::{CeilingSet, ridge_point};
pub use kernels::{By, KernelPoints, kernel_points};
pub use point::{FlopCounts, Level, Origin, Point, PointSources};
pub use report::{
    Comparison, Definitions, KvCacheBytes, OpRow, PHASE_SCHEMA_VERSION, PhaseReport, PhaseRow, Phases,
    StageReport, WorkRow,
};
pub use steps::phase_points;

use crate::hw::Ceiling;
use crate::profile::{Finding, KernelRecord, Run};

/// Points with the ceilings they are held against and what is to be known about them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roofline {
    /// The points, the longest first.
    pub points: Vec<Point>,
    /// What a reader should know before believing them.
    pub findings: Vec<Finding>,
    /// The files they come from, in the order given.
    pub files: Vec<String>,
}

/// Where ceilings come from besides the files themselves.
#[derive(Clone, Debug, Default)]
pub struct Ceilings {
    /// Named by the user (`--device`, `--device-spec`): before all others.
    pub chosen: Vec<Ceiling>,
    /// Of devices that kernels name, by that name: where a report has none of its own.
    pub by_device: Vec<(String, Vec<Ceiling>)>,
}

/// Launches on their way to points: none is kept.
#[derive(Debug, Default)]
pub struct Launches {
    points: KernelPoints,
    findings: findings::OfKernels,
}

impl Launches {
    /// No launches yet.
    pub fn new(by: By) -> Self {
        Self { points: KernelPoints::new(by), findings: findings::OfKernels::default() }
    }

    /// Adds a launch of a run that measured ceilings `of_run` beside it.
    pub fn push(&mut self, kernel: &KernelRecord, ceilings: &Ceilings, of_run: &[Ceiling]) {
        self.findings.push(kernel);
        self.points.push(kernel, ceilings, of_run);
    }
}

/// Makes the points of all runs, sorted by time.
pub fn analyse(runs: &[Run], by: By, ceilings: &Ceilings) -> Roofline {
    analyse_launches(runs.iter().map(|run| (run, Launches::new(by))), ceilings)
}

/// Makes the points of all runs, each with the launches that were read for it and not kept, sorted by time.
pub fn analyse_launches<'a>(
    runs: impl IntoIterator<Item = (&'a Run, Launches)>,
    ceilings: &Ceilings,
) -> Roofline {
    let mut roofline = Roofline::default();
    for (run, mut launches) in runs {
        run.kernels.iter().for_each(|kernel| launches.push(kernel, ceilings, &run.ceilings));
        roofline.files.push(run.file.clone());
        roofline.findings.extend(run.findings.iter().cloned());
        roofline.findings.extend(launches.findings.finish());
        roofline.points.extend(launches.points.finish());
        roofline.points.extend(phase_points(run, &ceilings.chosen));
    }
    roofline.findings.extend(findings::of_points(&roofline.points));
    let time = |p: &Point| p.time.as_ref().map_or(f64::NEG_INFINITY, |t| t.value);
    roofline.points.sort_by(|a, b| time(b).total_cmp(&time(a)));
    roofline
}
