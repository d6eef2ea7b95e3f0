//! One figure of every rank of a launch beside the others': which rank is the worst, and by how much.
//!
//! Ranks are no repetitions of each other: nothing here pools their values.

use super::{CapacityReport, MemoryReport};
use crate::profile::{Run, TimingMethod};
use crate::stats::{ASSUMED_SPREAD, DEFAULT_THRESHOLD, Design, Grouped, Sample, SpeedUp};
use serde::Serialize;

/// What is held beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RankQuantity {
    /// Seconds of a whole generation, median over repetitions.
    GenerationTime,
    /// Seconds of a decode step of all sequences, median over rounds.
    StepTime,
    /// Bytes at the peak of a generation, of repetitions the most.
    Peak,
    /// Sequences of the largest batch that fits.
    Batch,
    /// exp of the mean of -ln p over scored tokens.
    Perplexity,
}

impl RankQuantity {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::GenerationTime, Self::StepTime, Self::Peak, Self::Batch, Self::Perplexity];

    /// Whether the rank with the least of it is the one that limits all.
    fn least_limits(self) -> bool {
        self == Self::Batch
    }
}

/// Where a value was taken; `None` of what does not apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RankPlace {
    /// Output tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Sequences side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Tokens attended to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
    /// Bytes that everything has to fit into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_bytes: Option<f64>,
}

/// A value of one rank.
#[derive(Clone, Debug, PartialEq)]
pub struct RankValue {
    /// The version.
    pub version: String,
    /// Where.
    pub place: RankPlace,
    /// The value; `None` where the rank does not know it.
    pub value: Option<f64>,
    /// Whether it is only known to be so much at least.
    pub at_least: bool,
    /// What it is the median of, in seconds; empty of what is no time.
    repetitions: Vec<f64>,
    /// Whether those are of a scripted clock.
    scripted: bool,
}

impl RankValue {
    /// A value that has no repetitions.
    pub fn new(version: &str, place: RankPlace, value: Option<f64>) -> Self {
        let version = version.to_string();
        Self { version, place, value, at_least: false, repetitions: Vec::new(), scripted: false }
    }

    fn push(&mut self, time_s: f64, method: TimingMethod) {
        self.repetitions.push(time_s);
        self.scripted |= method == TimingMethod::Scripted;
        self.value = Sample::new(self.repetitions.clone()).ok().map(|sample| sample.median());
    }
}

/// Times of one version at one place, put together from records one by one.
fn pushed<'a>(records: impl Iterator<Item = (&'a str, RankPlace, f64, TimingMethod)>) -> Vec<RankValue> {
    let mut values: Vec<RankValue> = Vec::new();
    for (version, place, time_s, method) in records {
        let found = values.iter().position(|v| v.version == version && v.place == place);
        let at = found.unwrap_or_else(|| {
            values.push(RankValue::new(version, place, None));
            values.len() - 1
        });
        values[at].push(time_s, method);
    }
    values
}

/// The times of whole generations of a run, by version and T.
pub fn generation_times(run: &Run) -> Vec<RankValue> {
    pushed(run.latencies.iter().map(|l| {
        let place = RankPlace { tokens: Some(l.tokens), ..RankPlace::default() };
        (l.version.as_str(), place, l.time_s, l.method)
    }))
}

/// The times of decode steps of a run of `kprof crossover`, by version, batch and context.
pub fn step_times(run: &Run) -> Vec<RankValue> {
    pushed(run.decode_points.iter().map(|p| {
        let place = RankPlace { batch: Some(p.batch), context: Some(p.context), ..RankPlace::default() };
        (p.version.as_str(), place, p.time_s, p.method)
    }))
}

/// The peaks of a run, by version and T.
pub fn peaks(run: &Run) -> Vec<RankValue> {
    let versions = MemoryReport::new(run).map(|report| report.versions).unwrap_or_default();
    let of_points = versions.iter().flat_map(|v| v.points.iter().map(move |p| (v, &p.record)));
    of_points
        .map(|(v, record)| {
            let place = RankPlace { tokens: Some(record.tokens), ..RankPlace::default() };
            RankValue::new(&v.version, place, record.peak.map(|peak| peak.bytes))
        })
        .collect()
}

/// The largest batches of a run, by version, context and budget.
pub fn batches(run: &Run) -> Vec<RankValue> {
    let versions = CapacityReport::new(run).map(|report| report.versions).unwrap_or_default();
    versions
        .iter()
        .map(|v| &v.record)
        .map(|r| {
            let (context, budget_bytes) = (Some(r.context), Some(r.budget_bytes));
            let place = RankPlace { context, budget_bytes, ..RankPlace::default() };
            let value = RankValue::new(&r.version, place, Some(r.batch as f64));
            RankValue { at_least: r.at_least, ..value }
        })
        .collect()
}

/// One quantity over the ranks of a launch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankFigures {
    /// Which.
    pub quantity: RankQuantity,
    /// The ranks, in the order of each row's values.
    pub ranks: Vec<usize>,
    /// A row per version and place.
    pub rows: Vec<RankFigure>,
}

/// One version at one place over the ranks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankFigure {
    /// The version.
    pub version: String,
    /// Where.
    pub place: RankPlace,
    /// Each rank's value; `None` where it has none.
    pub values: Vec<Option<f64>>,
    /// Whether each is only known to be so much at least.
    pub at_least: Vec<bool>,
    /// The rank that limits all: with the most, of batches the least. `None` where that cannot be told, or all are alike.
    pub worst: Option<usize>,
    /// The most over the mean of all ranks: 1 is balance, as in [`crate::roofline::Imbalance::max_over_mean`]. `None` unless
    /// every rank's value is known, of two or more.
    pub max_over_mean: Option<f64>,
    /// Of times the slowest rank against the fastest: whether that is more than their repetitions scatter.
    pub against_fastest: Option<SpeedUp>,
}

impl RankFigure {
    /// Whether every rank has the very same value.
    pub fn is_alike(&self) -> bool {
        let exact = self.at_least.iter().all(|bound| !bound);
        exact && self.values.len() > 1 && self.values.iter().all(|v| v.is_some() && *v == self.values[0])
    }
}

impl RankFigures {
    /// Of the values of each rank, which are given with its number; `None` where no rank has any.
    pub fn new(quantity: RankQuantity, ranks: &[(usize, Vec<RankValue>)]) -> Option<Self> {
        let mut keys: Vec<(&str, RankPlace)> = Vec::new();
        for value in ranks.iter().flat_map(|(_, values)| values) {
            let key = (value.version.as_str(), value.place);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let of = |(version, place): (&str, RankPlace)| {
            let find = |values: &'_ [RankValue]| {
                values.iter().find(|v| v.version == version && v.place == place).cloned()
            };
            let found: Vec<Option<RankValue>> = ranks.iter().map(|(_, values)| find(values)).collect();
            figure(quantity, version, place, ranks, &found)
        };
        let rows: Vec<RankFigure> = keys.into_iter().map(of).collect();
        let ranks = ranks.iter().map(|(rank, _)| *rank).collect();
        (!rows.is_empty()).then_some(Self { quantity, ranks, rows })
    }
}

fn figure(
    quantity: RankQuantity,
    version: &str,
    place: RankPlace,
    ranks: &[(usize, Vec<RankValue>)],
    found: &[Option<RankValue>],
) -> RankFigure {
    let values: Vec<Option<f64>> = found.iter().map(|v| v.as_ref()?.value).collect();
    let at_least: Vec<bool> = found.iter().map(|v| v.as_ref().is_some_and(|v| v.at_least)).collect();
    let known = || values.iter().enumerate().filter_map(|(i, v)| Some((i, (*v)?)));
    // Of equal values both are the first.
    let most = known().rev().max_by(|a, b| a.1.total_cmp(&b.1));
    let least = known().min_by(|a, b| a.1.total_cmp(&b.1));
    let limits = if quantity.least_limits() { least } else { most };
    // What is more than is known may be more than any other.
    let told = limits.filter(|(i, _)| !at_least[*i]);
    let exact = !at_least.contains(&true) && values.len() > 1;
    let all: Option<Vec<f64>> = values.iter().copied().collect();
    let mean = all.filter(|_| exact).map(|all| all.iter().sum::<f64>() / all.len() as f64);
    RankFigure {
        version: version.to_string(),
        place,
        worst: told.filter(|_| most != least).map(|(i, _)| ranks[i].0),
        max_over_mean: most.zip(mean).filter(|(_, mean)| *mean > 0.0).map(|((_, most), mean)| most / mean),
        against_fastest: most
            .zip(least)
            .filter(|(most, least)| most.0 != least.0)
            .and_then(|(most, least)| against(found[least.0].as_ref()?, found[most.0].as_ref()?)),
        values,
        at_least,
    }
}

/// The slow one against the fast one, each one process.
fn against(fast: &RankValue, slow: &RankValue) -> Option<SpeedUp> {
    let sides = [fast, slow].map(|side| Grouped::new(vec![side.repetitions.clone()]).ok());
    let [Some(fast_s), Some(slow_s)] = sides else { return None };
    // A scripted clock says the same in every process.
    let assumed_spread = if fast.scripted && slow.scripted { 0.0 } else { ASSUMED_SPREAD };
    Some(SpeedUp::new(&fast_s, &slow_s, Design::Apart { assumed_spread }, DEFAULT_THRESHOLD))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{capacity_run, crossover_run, latency_run, memory_run};
    use super::*;
    use crate::stats::Verdict;

    /// The values of `run` as rank 0, and those of a rank that took `factor` times as long as rank 2.
    fn two(run: &Run, of: fn(&Run) -> Vec<RankValue>, factor: f64) -> Vec<(usize, Vec<RankValue>)> {
        let mut slower = of(run);
        for value in &mut slower {
            value.value = value.value.map(|v| v * factor);
            value.repetitions.iter_mut().for_each(|t| *t *= factor);
        }
        vec![(0, of(run)), (2, slower)]
    }

    #[test]
    fn the_slowest_rank_is_named_and_repetitions_of_ranks_are_not_pooled() {
        for (quantity, of, rows) in [
            (RankQuantity::GenerationTime, generation_times as fn(&Run) -> Vec<RankValue>, 10),
            (RankQuantity::StepTime, step_times, crossover_run().decode_points.len()),
        ] {
            let run = if rows == 10 { latency_run() } else { crossover_run() };
            let figures = RankFigures::new(quantity, &two(&run, of, 1.5)).unwrap();
            assert_eq!((&figures.ranks[..], figures.rows.len() <= rows), (&[0, 2][..], true));
            for row in &figures.rows {
                let [Some(first), Some(second)] = row.values[..] else { panic!("{row:?}") };
                assert!((second / first - 1.5).abs() < 1e-12 && row.worst == Some(2), "{row:?}");
                // 1.5 / ((1 + 1.5) / 2).
                assert!((row.max_over_mean.unwrap() - 1.2).abs() < 1e-12);
                let against = row.against_fastest.as_ref().unwrap();
                assert!((against.speedup - 1.0 / 1.5).abs() < 1e-12);
            }
        }
        // Five repetitions at 110 ms with 1 % of noise: their median is that of the latency report.
        let figures =
            RankFigures::new(RankQuantity::GenerationTime, &two(&latency_run(), generation_times, 1.5))
                .unwrap();
        let at_100 = |version: &str| {
            let found = figures.rows.iter().find(|r| r.version == version && r.place.tokens == Some(100));
            found.unwrap().values[0].unwrap()
        };
        assert!((at_100("v0") - 0.11).abs() < 0.002, "{}", at_100("v0"));
        let verdicts = figures.rows.iter().map(|r| r.against_fastest.as_ref().unwrap().verdict);
        assert!(verdicts.into_iter().all(|verdict| verdict == Verdict::Slower));
    }

    #[test]
    fn of_batches_the_smallest_limits_and_what_is_at_least_so_large_is_in_no_ratio() {
        let ranks = |more: f64, at_least: bool| {
            let mut ranks = two(&capacity_run(), batches, more);
            ranks[1].1.iter_mut().for_each(|v| v.at_least = at_least);
            RankFigures::new(RankQuantity::Batch, &ranks).unwrap().rows.swap_remove(1)
        };
        let half = ranks(0.5, false);
        assert_eq!((half.values, half.worst), (vec![Some(47.0), Some(23.5)], Some(2)));
        assert!((half.max_over_mean.unwrap() - 47.0 / 35.25).abs() < 1e-12 && half.against_fastest.is_none());
        // At least 94: 47 is the smallest all the same. At least 23.5: it may be more than 47.
        assert_eq!((ranks(2.0, true).worst, ranks(2.0, true).max_over_mean), (Some(0), None));
        assert_eq!(ranks(0.5, true).worst, None);
    }

    #[test]
    fn a_rank_without_a_value_leaves_the_ratio_unknown_and_is_no_zero() {
        let mut ranks = two(&memory_run(), peaks, 1.0);
        ranks[1].1.retain(|v| v.version != "v1");
        let figures = RankFigures::new(RankQuantity::Peak, &ranks).unwrap();
        let v1 = figures.rows.iter().find(|r| r.version == "v1").unwrap();
        // One value is the most and the least.
        assert_eq!((v1.values[1], v1.max_over_mean, v1.worst, v1.is_alike()), (None, None, None, false));
        let v0 = figures.rows.iter().find(|r| r.version == "v0").unwrap();
        assert_eq!((v0.max_over_mean, v0.worst, v0.is_alike()), (Some(1.0), None, true));
        assert_eq!(RankFigures::new(RankQuantity::Peak, &[(0, Vec::new()), (1, Vec::new())]), None);
    }
}
