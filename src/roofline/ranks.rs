//! The ranks of one launch beside each other: which is the slowest, and by how much.
//!
//! Ranks do different parts of one work, or the same on different machines: they are no repetitions of each other, and
//! nothing here pools their times.

use super::{Durations, Pairing, PhaseReport};
use crate::llm::Stage;
use crate::profile::{MergedRank, RankInfo, Run, merged_ranks};
use crate::stats::{DEFAULT_THRESHOLD, SpeedUp};
use serde::Serialize;

/// The ranks of one launch: who started them, and where they ran.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankedLaunch {
    /// The file that holds them.
    pub file: String,
    /// Who launched them.
    pub launcher: String,
    /// How many were launched; `None` where nobody said.
    pub world_size: Option<usize>,
    /// Those that are not here.
    pub missing: Vec<usize>,
    /// Those that are, in order.
    pub ranks: Vec<RankRow>,
}

/// The ranks of one launch, with how unevenly their steps went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RanksReport {
    /// Who and where.
    #[serde(flatten)]
    pub launch: RankedLaunch,
    /// How unevenly each version and stage went.
    pub imbalances: Vec<Imbalance>,
}

/// One rank.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankRow {
    /// Its number, file, machine and clock.
    #[serde(flatten)]
    pub merged: MergedRank,
    /// Its number among those on its machine.
    pub local_rank: Option<usize>,
    /// What it ran on.
    pub device: Option<String>,
    /// The UUID of its GPU; `None` off a GPU.
    pub uuid: Option<String>,
    /// The other ranks on the same GPU.
    pub shares_with: Vec<usize>,
}

/// One version in one stage over the ranks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Imbalance {
    /// The version.
    pub version: String,
    /// The stage.
    pub stage: Stage,
    /// The plain step time of each rank, median over repetitions, in the order of the ranks; `None` where it has none.
    pub time_s: Vec<Option<f64>>,
    /// The slowest rank.
    pub slowest: Option<usize>,
    /// The fastest rank.
    pub fastest: Option<usize>,
    /// The slowest rank's time over the mean of all ranks' times: 1 is balance, and where ranks wait for each other the others
    /// are idle for 1 - 1 / this of their time on average. `None` unless every rank has a time, of two or more.
    ///
    /// DeRose, Homer, Johnson: Detecting Application Load Imbalance on High End Massively Parallel Systems (Euro-Par 2007).
    pub max_over_mean: Option<f64>,
    /// The slowest against the fastest: whether that is more than their repetitions scatter.
    pub against_fastest: Option<SpeedUp>,
}

impl RanksReport {
    /// The launches of which several ranks are among `runs`, as read from merged files: ranks of one file belong together.
    pub fn all(runs: &[Run]) -> Vec<Self> {
        by_launch(runs).filter_map(Self::new).collect()
    }

    /// Of runs that are ranks of one launch, in order; `None` where they have no ranks.
    pub fn new(runs: &[Run]) -> Option<Self> {
        Some(Self { launch: RankedLaunch::new(runs)?, imbalances: imbalances(runs) })
    }
}

impl RankedLaunch {
    /// Of runs that are ranks of one launch, in order; `None` where they have no ranks.
    pub fn new(runs: &[Run]) -> Option<Self> {
        let first = runs.first()?.rank()?;
        let numbers: Vec<usize> = runs.iter().filter_map(|run| Some(run.rank()?.rank)).collect();
        let file = runs[0].file.rsplit_once('@').map_or(runs[0].file.as_str(), |(file, _)| file);
        Some(Self {
            file: file.to_string(),
            launcher: first.launcher.clone(),
            world_size: first.world_size,
            missing: (0..first.world_size.unwrap_or(0)).filter(|rank| !numbers.contains(rank)).collect(),
            ranks: merged_ranks(runs)
                .into_iter()
                .zip(runs)
                .map(|(merged, run)| row(merged, run, runs))
                .collect(),
        })
    }
}

/// Of `runs`, as read from merged files, those of each launch: ranks of one file belong together.
pub fn by_launch(runs: &[Run]) -> impl Iterator<Item = &[Run]> {
    let launch = |run: &Run| run.rank().and(run.file.rsplit_once('@')).map(|(file, _)| file.to_string());
    let same = move |a: &Run, b: &Run| launch(a).is_some() && launch(a) == launch(b);
    runs.chunk_by(same).filter(move |ranks| launch(&ranks[0]).is_some())
}

fn row(merged: MergedRank, run: &Run, all: &[Run]) -> RankRow {
    let device = |run: &Run| run.manifest.as_ref().map(|m| m.device.clone());
    let uuid = |run: &Run| device(run)?.uuid;
    let on_same_gpu =
        |other: &&Run| other.file != run.file && uuid(run).is_some() && uuid(other) == uuid(run);
    RankRow {
        local_rank: run.rank().and_then(|rank| rank.local_rank),
        device: device(run).map(|d| match d.ordinal {
            Some(ordinal) => format!("cuda:{ordinal} {}", d.name),
            None => d.name,
        }),
        uuid: uuid(run),
        shares_with: all
            .iter()
            .filter(on_same_gpu)
            .filter_map(Run::rank)
            .map(|rank: &RankInfo| rank.rank)
            .collect(),
        merged,
    }
}

fn imbalances(runs: &[Run]) -> Vec<Imbalance> {
    let reports: Vec<PhaseReport> = runs.iter().map(|run| PhaseReport::new(run, &[])).collect();
    let mut keys: Vec<(&str, Stage)> = Vec::new();
    for stage in reports.iter().flat_map(|report| &report.stages) {
        let key = (stage.version.as_str(), stage.stage);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.into_iter().map(|key| imbalance(runs, &reports, key)).collect()
}

fn imbalance(runs: &[Run], reports: &[PhaseReport], (version, stage): (&str, Stage)) -> Imbalance {
    let time = |report: &PhaseReport| {
        let of = report.stages.iter().find(|s| s.version == version && s.stage == stage)?;
        of.plain_step_s.as_ref().map(|summary| summary.median)
    };
    let time_s: Vec<Option<f64>> = reports.iter().map(time).collect();
    let timed = || time_s.iter().enumerate().filter_map(|(i, t)| Some((i, (*t)?)));
    let slowest = timed().max_by(|a, b| a.1.total_cmp(&b.1));
    let fastest = timed().min_by(|a, b| a.1.total_cmp(&b.1));
    let whole: Option<Vec<f64>> = time_s.iter().copied().collect();
    let whole = whole.filter(|all| all.len() > 1);
    let mean = whole.map(|all| all.iter().sum::<f64>() / all.len() as f64);
    let rank = |(i, _): (usize, f64)| runs[i].rank().map(|r| r.rank);
    let durations = |i: usize| Durations::of_stage(&runs[i], version, stage);
    let apart = slowest.zip(fastest).filter(|(s, f)| s.0 != f.0);
    let against = apart.and_then(|((slow, _), (fast, _))| {
        Durations::compare(&durations(fast), &durations(slow), Pairing::Apart, DEFAULT_THRESHOLD)
    });
    Imbalance {
        version: version.to_string(),
        stage,
        slowest: slowest.and_then(rank),
        fastest: fastest.and_then(rank),
        max_over_mean: slowest.zip(mean).map(|((_, max), mean)| max / mean),
        against_fastest: against.map(|(change, _)| change),
        time_s,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::phase_run;
    use super::*;

    /// [`phase_run`] by `world_size` ranks of which `ranks` are here, each so many times slower.
    fn launched(world_size: usize, ranks: &[(usize, f64)]) -> Vec<Run> {
        let of = |&(rank, factor): &(usize, f64)| {
            let mut run = Run { file: format!("m.jsonl@{rank}"), ..phase_run() };
            let manifest = run.manifest.as_mut().unwrap();
            manifest.rank = Some(RankInfo {
                rank,
                world_size: Some(world_size),
                local_rank: Some(rank),
                launcher: "torchrun".into(),
                job: None,
            });
            run.steps.iter_mut().for_each(|step| step.time_s *= factor);
            run
        };
        ranks.iter().map(of).collect()
    }

    #[test]
    fn the_slowest_rank_is_named_with_max_over_mean_and_nothing_is_pooled() {
        let runs = launched(3, &[(0, 1.0), (1, 1.5), (2, 1.0)]);
        let report = RanksReport::new(&runs).unwrap();
        let launch = &report.launch;
        assert_eq!((launch.file.as_str(), launch.missing.len(), launch.ranks.len()), ("m.jsonl", 0, 3));
        let decode =
            report.imbalances.iter().find(|i| i.version == "v1" && i.stage == Stage::Decode).unwrap();
        let alone = PhaseReport::new(&runs[0], &[]);
        let of_rank_0 = alone.stages.iter().find(|s| s.version == "v1" && s.stage == Stage::Decode).unwrap();
        assert_eq!(decode.time_s[0], of_rank_0.plain_step_s.as_ref().map(|s| s.median));
        assert_eq!((decode.slowest, decode.fastest), (Some(1), Some(0)));
        // 1.5 / ((1 + 1.5 + 1) / 3) = 9 / 7.
        assert!((decode.max_over_mean.unwrap() - 9.0 / 7.0).abs() < 1e-12);
        assert!((decode.against_fastest.as_ref().unwrap().speedup - 1.0 / 1.5).abs() < 1e-12);
    }

    #[test]
    fn a_rank_without_times_leaves_the_imbalance_unknown_and_a_missing_one_is_named() {
        let mut runs = launched(4, &[(0, 1.0), (2, 2.0)]);
        runs[1].steps.retain(|step| step.version != "v0");
        let report = RanksReport::new(&runs).unwrap();
        assert_eq!(report.launch.missing, [1, 3]);
        let of = |version: &str| {
            let found = report.imbalances.iter().find(|i| i.version == version && i.stage == Stage::Decode);
            found.unwrap().clone()
        };
        assert_eq!((of("v0").time_s[1], of("v0").max_over_mean), (None, None));
        assert!((of("v1").max_over_mean.unwrap() - 4.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn only_ranks_of_one_file_belong_together() {
        let mut runs = launched(2, &[(0, 1.0), (1, 1.0)]);
        runs.push(phase_run());
        let other = launched(2, &[(0, 1.0), (1, 1.0)]);
        runs.extend(other.into_iter().map(|run| Run { file: run.file.replace("m.", "n."), ..run }));
        let files: Vec<String> = RanksReport::all(&runs).into_iter().map(|r| r.launch.file).collect();
        assert_eq!(files, ["m.jsonl", "n.jsonl"]);
    }

    #[test]
    fn ranks_on_one_gpu_are_told() {
        let mut runs = launched(2, &[(0, 1.0), (1, 1.0)]);
        for run in &mut runs {
            run.manifest.as_mut().unwrap().device.uuid = Some("GPU-1".into());
        }
        let shares: Vec<Vec<usize>> =
            RankedLaunch::new(&runs).unwrap().ranks.into_iter().map(|r| r.shares_with).collect();
        assert_eq!(shares, [vec![1], vec![0]]);
    }
}
