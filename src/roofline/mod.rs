//! Where the time of kernels and phases stands against what the hardware allows: pure arithmetic over a [`Run`].
//!
//! Kernels of a profiler's export become points of counted FLOPs and bytes ([`kernel_points`]); a measured run
//! becomes a [`PhaseReport`] and points of analytic FLOPs and bytes ([`phase_points`]). Either way a point has a
//! time floor, what bounds it, and its fraction of the ceiling, which is shown and never clamped.

mod attainable;
mod ceilings;
mod checked;
mod demands;
mod durations;
mod energy;
mod estimate;
mod findings;
mod group;
mod grouping;
mod intervals;
mod join;
mod kernels;
mod launched;
mod launches;
mod only;
mod phases;
mod point;
mod ranks;
mod repetitions;
mod report;
#[cfg(test)]
pub(crate) mod samples;
mod selection;
mod shapes;
mod steps;
mod sums;
mod timeline;
mod versus;

pub use attainable::{Bound, Demand, Floor, LATENCY_BOUND_BELOW};
pub use ceilings::{CeilingSet, ridge_point};
pub use checked::{CheckLevel, CheckRow, CounterCheck, CounterSums, Expected, check_counters};
pub use durations::{Durations, Pairing};
pub use energy::{Energy, GpuRange, Machine};
pub use estimate::{
    Estimate, EstimateError, EstimatePoint, EstimateRequest, OpEstimate, PhaseEstimate, StageEstimate,
    WorkEstimate, estimate, estimate_points,
};
pub use grouping::{By, Place, grid_name};
pub use join::{
    ClassWork, Counters, GapSplit, JoinReport, LAUNCH_GAP_S, PortionReport, Served, StepCounts, join,
};
pub use kernels::kernel_points;
pub use launched::{Alike, LaunchedAs};
pub use launches::Launches;
pub use only::Only;
pub use point::{FlopCounts, Level, Origin, Point, PointSources};
pub use ranks::{Imbalance, RankRow, RankedLaunch, RanksReport, by_launch};
pub use repetitions::Repetitions;
pub use report::{
    Comparison, Definitions, KvCacheBytes, OpRow, PHASE_SCHEMA_VERSION, PhaseReport, PhaseRow, Phases,
    StageReport, WorkRow,
};
pub use selection::Selection;
pub use shapes::{ShapePoint, decode_shapes};
pub use steps::{phase_points, step_floor};
pub use timeline::{COMMUNICATION, ClassTime, CopyTime, DeviceTime, TimelineBuilder, TimelineReport};
pub use versus::{Change, Saving, changes, one_sided, savings};

use crate::hw::Ceiling;
use crate::profile::{Finding, Run, short_names};
use std::collections::HashMap;

/// Points with the ceilings they are held against and what is to be known about them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roofline {
    /// The points, the longest first.
    pub points: Vec<Point>,
    /// What a reader should know before believing them.
    pub findings: Vec<Finding>,
    /// The files they come from, in the order given.
    pub files: Vec<String>,
    /// What tables and charts call the files; their names where there is none.
    pub labels: Vec<String>,
    /// Where the time of timeline traces goes, one for each.
    pub timelines: Vec<TimelineReport>,
    /// Timeline traces joined to a model, one for each.
    pub joins: Vec<JoinReport>,
    /// Counters of exports against analytic work, by file, version and stage.
    pub counter_checks: Vec<CounterCheck>,
    /// How many points were left out because their share of the time is too small.
    pub too_small: usize,
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
    analyse_selected(runs, by, &Selection::default(), ceilings)
}

/// Makes the points of what `selection` keeps of all runs, sorted by time.
pub fn analyse_selected(runs: &[Run], by: By, selection: &Selection, ceilings: &Ceilings) -> Roofline {
    let empty = || Launches::new(by, selection.clone(), Only::All);
    analyse_launches(runs.iter().map(|run| (run, empty())), ceilings)
}

/// Makes the points of all runs, each with the launches that were read for it and not kept, sorted by time.
pub fn analyse_launches<'a>(
    runs: impl IntoIterator<Item = (&'a Run, Launches)>,
    ceilings: &Ceilings,
) -> Roofline {
    let mut roofline = Roofline::default();
    for (run, mut launches) in runs {
        run.kernels.iter().for_each(|kernel| launches.push(kernel, ceilings, &run.ceilings));
        let selection = launches.selection().clone();
        let (points, found) = launches.finish();
        roofline.files.push(run.file.clone());
        roofline.findings.extend(run.findings.iter().cloned());
        roofline.findings.extend(found);
        let phases = phase_points(run, &ceilings.chosen);
        let phases = phases.into_iter().filter(|p| selection.keeps_phase(p));
        let (large, small): (Vec<Point>, Vec<Point>) =
            points.into_iter().chain(phases).partition(|p| selection.is_large(p));
        roofline.points.extend(large);
        roofline.too_small += small.len();
    }
    name_points(&mut roofline.points);
    roofline.findings.extend(findings::of_points(&roofline.points));
    let time = |p: &Point| p.time.as_ref().map_or(f64::NEG_INFINITY, |t| t.value);
    roofline.points.sort_by(|a, b| time(b).total_cmp(&time(a)));
    roofline
}

/// Gives kernels their short names, in all files the same.
fn name_points(points: &mut [Point]) {
    let names: Vec<String> = points.iter().filter_map(|p| p.kernel.clone()).collect();
    let short = short_names(names.iter().map(String::as_str));
    for point in points {
        point.short_name = point.kernel.as_deref().and_then(|k| short.get(k).cloned());
    }
}

impl Roofline {
    /// The findings with the names that the table shows.
    pub fn labelled_findings(&self) -> Vec<Finding> {
        let labels: HashMap<String, String> = self.points.iter().map(|p| (p.name(), p.label())).collect();
        let label = |f: &Finding| labels.get(&f.about).cloned().unwrap_or_else(|| f.about.clone());
        self.findings.iter().map(|f| Finding { about: label(f), ..f.clone() }).collect()
    }

    /// What tables and charts call a file.
    pub fn label_of(&self, file: &str) -> String {
        let at = self.files.iter().position(|f| f == file);
        let name = || file.rsplit(['/', '\\']).next().unwrap_or(file).to_string();
        at.and_then(|at| self.labels.get(at).cloned()).unwrap_or_else(name)
    }

    /// Calls the files so, in their order.
    pub fn set_labels(&mut self, labels: &[String]) {
        self.labels = labels.to_vec();
    }

    /// Calls every kernel by its whole name.
    pub fn use_full_names(&mut self) {
        self.points.iter_mut().for_each(|p| p.short_name = None);
    }
}
