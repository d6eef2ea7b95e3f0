//! The slowest rank of launch after launch: how the time went at whose pace all ranks went.

use super::align::Subject;
use super::pair::compare_pair;
use super::report::PairReport;
use super::slowest::{SlowestRank, slowest_ranks};
use crate::profile::Run;
use crate::stats::Verdict;
use serde::Serialize;

/// The ranks of one launch, as a merged file holds them.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// The merged file.
    pub file: &'a str,
    /// When the first of them started.
    pub started: Option<&'a str>,
    /// The ranks, in order.
    pub runs: Vec<&'a Run>,
}

/// One duration of one version, of the slowest rank of each launch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlowestSeries {
    /// The version.
    pub version: String,
    /// `prefill`, `decode` or `generation`.
    pub what: &'static str,
    /// From the second launch on: that launch against the one before.
    pub changes: Vec<SlowestChange>,
}

/// A launch's slowest rank against that of the launch before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlowestChange {
    /// The merged file.
    pub file: String,
    /// When it was measured.
    pub started: Option<String>,
    /// The slowest rank before and in this launch.
    #[serde(flatten)]
    pub slowest: SlowestRank,
}

impl SlowestSeries {
    /// The medians in seconds, the first launch's included.
    pub fn medians(&self) -> Vec<f64> {
        let first = self.changes.first().map(|c| c.slowest.old_s);
        first.into_iter().chain(self.changes.iter().map(|c| c.slowest.new_s)).collect()
    }

    /// The launches with which it became faster or slower for certain, or another rank became the slowest.
    pub fn change_points(&self) -> impl Iterator<Item = &SlowestChange> {
        let changed = |verdict| matches!(verdict, Verdict::Faster | Verdict::Slower);
        self.changes
            .iter()
            .filter(move |c| c.slowest.change.as_ref().is_none_or(|change| changed(change.verdict)))
    }
}

/// The slowest rank of `launches`, which stand in the order of time and have the same ranks, several of them. A duration is in
/// the series of a launch if every rank has it: one that is missing may be the slowest.
pub fn slowest_history(launches: &[Launch<'_>], threshold: f64) -> Vec<SlowestSeries> {
    let mut versions: Vec<&str> = Vec::new();
    for version in launches.iter().flat_map(|l| &l.runs).flat_map(|run| run.versions()) {
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    versions.into_iter().flat_map(|version| series(launches, version, threshold)).collect()
}

fn series(launches: &[Launch<'_>], version: &str, threshold: f64) -> Vec<SlowestSeries> {
    let has = |launch: &&Launch<'_>| launch.runs.iter().all(|run| run.versions().contains(&version));
    let having: Vec<&Launch<'_>> = launches.iter().filter(has).collect();
    let mut all: Vec<SlowestSeries> = Vec::new();
    for pair in having.windows(2) {
        let (old, new) = (pair[0], pair[1]);
        let subject = |run| Subject { run, version };
        let ranks = old.runs.iter().zip(&new.runs);
        let pairs: Vec<PairReport> =
            ranks.map(|(old, new)| compare_pair(subject(old), subject(new), threshold)).collect();
        let everywhere = |s: &SlowestRank| pairs.iter().all(|p| p.times.iter().any(|t| t.what == s.what));
        for slowest in slowest_ranks(&pairs).into_iter().filter(everywhere) {
            let (file, started) = (new.file.to_string(), new.started.map(ToString::to_string));
            let what = slowest.what;
            let change = SlowestChange { file, started, slowest };
            match all.iter_mut().find(|s| s.what == what) {
                Some(series) => series.changes.push(change),
                None => all.push(SlowestSeries { version: version.to_string(), what, changes: vec![change] }),
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::RankInfo;
    use crate::roofline::samples::phase_run;

    /// Two ranks, each so many times as slow as the sample, with six repetitions.
    fn ranks(file: &str, factors: [f64; 2]) -> Vec<Run> {
        let rank = |(rank, factor): (usize, f64)| {
            let mut run = Run { file: format!("{file}@{rank}"), ..phase_run() };
            let (world_size, launcher) = (Some(2), "slurm".to_string());
            run.manifest.as_mut().unwrap().rank =
                Some(RankInfo { rank, world_size, local_rank: None, launcher, job: None });
            let mut again = run.steps.clone();
            again.iter_mut().for_each(|s| s.repetition += 3);
            run.steps.extend(again);
            run.steps.iter_mut().for_each(|s| s.time_s *= factor);
            run
        };
        factors.into_iter().enumerate().map(rank).collect()
    }

    fn launches<'a>(runs: &'a [(&'static str, Vec<Run>)]) -> Vec<Launch<'a>> {
        let launch = |(file, runs): &'a (&'static str, Vec<Run>)| Launch {
            file,
            started: None,
            runs: runs.iter().collect(),
        };
        runs.iter().map(launch).collect()
    }

    #[test]
    fn a_series_goes_at_the_pace_of_the_slowest_rank_and_says_when_it_is_another() {
        let runs = [
            ("a", ranks("a", [1.0, 2.0])),
            ("b", ranks("b", [1.0, 2.4])),
            ("c", ranks("c", [3.0, 2.4])),
            // Rank 1 alone changes: nobody waits for it.
            ("d", ranks("d", [3.0, 1.0])),
        ];
        let all = slowest_history(&launches(&runs), 0.05);
        // Two versions, three durations each.
        assert_eq!(all.len(), 6);
        for series in &all {
            let medians = series.medians();
            let over_first: Vec<f64> = medians.iter().map(|m| m / medians[0]).collect();
            for (ratio, expected) in over_first.iter().zip([1.0, 1.2, 1.5, 1.5]) {
                assert!((ratio - expected).abs() < 1e-12, "{over_first:?}");
            }
            let ranks: Vec<usize> = series.changes.iter().map(|c| c.slowest.new_rank).collect();
            assert_eq!(ranks, [1, 0, 0]);
            let points: Vec<&str> = series.change_points().map(|c| c.file.as_str()).collect();
            assert_eq!(points, ["b", "c"]);
            assert!(series.changes[1].slowest.change.is_none(), "two ranks have no verdict");
        }
        assert_eq!(slowest_history(&launches(&runs[..1]), 0.05), []);
    }

    #[test]
    fn a_duration_that_a_rank_lacks_is_in_no_series() {
        let mut without = ranks("b", [1.0, 1.0]);
        without[1].steps.retain(|step| step.stage == crate::llm::Stage::Prefill);
        let runs = [("a", ranks("a", [1.0, 2.0])), ("b", without)];
        let all = slowest_history(&launches(&runs), 0.05);
        assert!(!all.is_empty() && all.iter().all(|series| series.what == "prefill"), "{all:?}");
    }
}
