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
#[cfg(test)]
pub(crate) mod samples;
mod steps;

pub use attainable::{Bound, Demand, Floor, LATENCY_BOUND_BELOW};
pub use ceilings::{CeilingSet, ridge_point};
pub use kernels::{By, kernel_points};
pub use phases::{
    Comparison, Definitions, KvCacheBytes, OpRow, PHASE_SCHEMA_VERSION, PhaseReport, PhaseRow, Phases,
    StageReport, WorkRow,
};
pub use point::{FlopCounts, Level, Origin, Point, PointSources};
pub use steps::phase_points;

use crate::hw::Ceiling;
use crate::profile::{Finding, Run};

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

/// Makes the points of all runs, sorted by time.
pub fn analyse(runs: &[Run], by: By, ceilings: &Ceilings) -> Roofline {
    let mut roofline = Roofline::default();
    for run in runs {
        roofline.files.push(run.file.clone());
        roofline.findings.extend(run.findings.iter().cloned());
        roofline.findings.extend(findings::of_kernels(&run.kernels));
        roofline.points.extend(kernel_points(run, by, ceilings));
        roofline.points.extend(phase_points(run, &ceilings.chosen));
    }
    roofline.findings.extend(findings::of_points(&roofline.points));
    let time = |p: &Point| p.time.as_ref().map_or(f64::NEG_INFINITY, |t| t.value);
    roofline.points.sort_by(|a, b| time(b).total_cmp(&time(a)));
    roofline
}
