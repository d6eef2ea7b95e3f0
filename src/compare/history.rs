//! The same measurement over many runs: how each time went, and between which runs it changed.

use super::align::Subject;
use super::pair::compare_pair;
use super::report::TimeChange;
use crate::profile::Run;
use crate::stats::Verdict;
use serde::Serialize;

/// One duration of one version over the runs that have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// The rank of several that all of it is of.
    pub rank: Option<usize>,
    /// The version.
    pub version: String,
    /// `prefill`, `decode` or `generation`.
    pub what: &'static str,
    /// From the second run on, in the order of `runs`: that run against the one before.
    pub changes: Vec<Change>,
}

/// A run against the one before it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The run file.
    pub file: String,
    /// When it was measured.
    pub started: Option<String>,
    /// What changed.
    #[serde(flatten)]
    pub time: TimeChange,
}

impl Series {
    /// The medians in seconds, the first run's included.
    pub fn medians(&self) -> Vec<f64> {
        let first = self.changes.first().map(|c| c.time.old.median);
        first.into_iter().chain(self.changes.iter().map(|c| c.time.new.median)).collect()
    }

    /// The runs whose verdict against the run before is faster or slower: where a change came in.
    pub fn change_points(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|c| matches!(c.time.change.verdict, Verdict::Faster | Verdict::Slower))
    }
}

/// The series of all versions that at least two of `runs` have; `runs` stand in the order of time, and are of no rank or of one.
///
/// A change is told between neighbours only: one that creeps in over several runs, each within `threshold`, is seen in the
/// medians and not as a change point.
pub fn history(runs: &[Run], threshold: f64) -> Vec<Series> {
    let mut versions: Vec<&str> = Vec::new();
    for version in runs.iter().flat_map(Run::versions) {
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    versions.into_iter().flat_map(|version| series(runs, version, threshold)).collect()
}

fn series(runs: &[Run], version: &str, threshold: f64) -> Vec<Series> {
    let having: Vec<&Run> = runs.iter().filter(|run| run.versions().contains(&version)).collect();
    let mut all: Vec<Series> = Vec::new();
    for pair in having.windows(2) {
        let (old, new) = (Subject { run: pair[0], version }, Subject { run: pair[1], version });
        for time in compare_pair(old, new, threshold).times {
            let started = pair[1].manifest.as_ref().map(|m| m.started.clone());
            let change = Change { file: pair[1].file.clone(), started, time };
            match all.iter_mut().find(|s| s.what == change.time.what) {
                Some(series) => series.changes.push(change),
                None => all.push(Series {
                    rank: pair[1].rank_of_several(),
                    version: version.to_string(),
                    what: change.time.what,
                    changes: vec![change],
                }),
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roofline::samples::phase_run;

    #[test]
    fn a_change_is_found_where_it_came_in() {
        let run = |file: &str, factor: f64| {
            let mut run = Run { file: file.into(), ..phase_run() };
            let mut again = run.steps.clone();
            again.iter_mut().for_each(|s| s.repetition += 3);
            run.steps.extend(again);
            run.steps.iter_mut().for_each(|s| s.time_s *= factor);
            run
        };
        let runs = [run("a", 1.0), run("b", 1.0), run("c", 1.2), run("d", 1.2)];
        let all = history(&runs, 0.05);
        // Two versions, three durations each.
        assert_eq!(all.len(), 6);
        for series in &all {
            let points: Vec<&str> = series.change_points().map(|c| c.file.as_str()).collect();
            assert_eq!(points, ["c"]);
            let medians = series.medians();
            assert_eq!(medians.len(), 4);
            assert!((medians[2] / medians[1] - 1.2).abs() < 1e-12);
        }
        assert_eq!(history(&runs[..1], 0.05), []);
    }
}
