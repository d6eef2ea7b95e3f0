//! The slowest rank before and after: where ranks wait for each other, all of them go at its pace.

use super::report::{PairReport, TimeChange};
use crate::stats::SpeedUp;
use serde::Serialize;

/// One duration of the slowest rank of a launch, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlowestRank {
    /// The baseline without its rank, `before.jsonl:v1`.
    pub old: String,
    /// What is held against it, without its rank.
    pub new: String,
    /// `prefill`, `decode` or `generation`.
    pub what: &'static str,
    /// The slowest rank before: that with the largest median.
    pub old_rank: usize,
    /// Its median in seconds.
    pub old_s: f64,
    /// The slowest rank after.
    pub new_rank: usize,
    /// Its median in seconds.
    pub new_s: f64,
    /// What may be said of the change where both are one rank; `None` of two: their times are of different processes' work.
    pub change: Option<SpeedUp>,
}

/// Of the `pairs` of ranks, each duration's slowest; nothing of what a single rank has.
pub(super) fn slowest_ranks(pairs: &[PairReport]) -> Vec<SlowestRank> {
    type Key = (String, String, &'static str);
    let mut all: Vec<(Key, Vec<(usize, &TimeChange)>)> = Vec::new();
    for pair in pairs {
        let Some(rank) = pair.rank else { continue };
        let without = |name: &str| name.replace(&format!("@{rank}:"), ":");
        for time in &pair.times {
            let key = (without(&pair.old), without(&pair.new), time.what);
            match all.iter_mut().find(|(other, _)| *other == key) {
                Some((_, ranks)) => ranks.push((rank, time)),
                None => all.push((key, vec![(rank, time)])),
            }
        }
    }
    all.into_iter().filter_map(|((old, new, what), ranks)| slowest(old, new, what, &ranks)).collect()
}

fn slowest(
    old: String,
    new: String,
    what: &'static str,
    ranks: &[(usize, &TimeChange)],
) -> Option<SlowestRank> {
    let after =
        ranks.iter().max_by(|a, b| a.1.new.median.total_cmp(&b.1.new.median)).filter(|_| ranks.len() > 1)?;
    // Of several that were the slowest, the one that is so still.
    let before = |(rank, time): &(usize, &TimeChange)| (time.old.median, *rank == after.0);
    let before = ranks.iter().max_by(|a, b| {
        let (a, b) = (before(a), before(b));
        a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
    })?;
    Some(SlowestRank {
        old,
        new,
        what,
        old_rank: before.0,
        old_s: before.1.old.median,
        new_rank: after.0,
        new_s: after.1.new.median,
        change: (before.0 == after.0).then(|| after.1.change.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Subject, compare_pair};
    use super::*;
    use crate::profile::{RankInfo, Run};
    use crate::roofline::samples::phase_run;

    fn pair(rank: usize, factors: [f64; 2]) -> PairReport {
        let side = |file: &str, factor: f64| {
            let mut run = Run { file: format!("{file}@{rank}"), ..phase_run() };
            let (world_size, launcher) = (Some(2), "slurm".to_string());
            run.manifest.as_mut().unwrap().rank =
                Some(RankInfo { rank, world_size, local_rank: None, launcher, job: None });
            run.steps.iter_mut().for_each(|step| step.time_s *= factor);
            run
        };
        let (old, new) = (side("a.jsonl", factors[0]), side("b.jsonl", factors[1]));
        let subject = |run| Subject { run, version: "v1" };
        compare_pair(subject(&old), subject(&new), 0.02)
    }

    #[test]
    fn the_slowest_of_each_side_is_named_and_judged_where_it_is_one_rank() {
        // Rank 1 is the slowest before, rank 0 after.
        let found = slowest_ranks(&[pair(0, [1.0, 3.0]), pair(1, [2.0, 1.0])]);
        let decode = found.iter().find(|s| s.what == "decode").unwrap();
        assert_eq!((decode.old.as_str(), decode.new.as_str()), ("a.jsonl:v1", "b.jsonl:v1"));
        assert_eq!((decode.old_rank, decode.new_rank, decode.change.is_none()), (1, 0, true));
        assert!((decode.new_s / decode.old_s - 1.5).abs() < 1e-12);
        let same = slowest_ranks(&[pair(0, [1.0, 1.0]), pair(1, [2.0, 4.0])]);
        let decode = same.iter().find(|s| s.what == "decode").unwrap();
        assert_eq!((decode.old_rank, decode.new_rank), (1, 1));
        assert!((decode.change.as_ref().unwrap().speedup - 0.5).abs() < 1e-12);
        assert_eq!(slowest_ranks(&[pair(0, [1.0, 1.0])]), []);
        let tied = slowest_ranks(&[pair(0, [1.0, 2.0]), pair(1, [1.0, 1.0])]);
        assert!(tied.iter().all(|s| (s.old_rank, s.new_rank) == (0, 0)), "{tied:?}");
    }
}
