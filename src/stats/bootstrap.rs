//! Bootstrap intervals: seeded, so that the same run gives the same interval.

use super::Sample;
use super::normal::{cdf, quantile};
use super::sample::percentile_of_sorted;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// Resamples per interval. Efron and Tibshirani (1993, section 14.3) ask for at least 1,000 for intervals.
const RESAMPLES: usize = 2000;

/// Fewer values than this bear no verdict: the extremes of n values enclose the true median with a probability of
/// 1 - 2^(1-n), which is 87.5 % for four and reaches 93.75 % only with five.
pub const ENOUGH_VALUES: usize = 5;

/// A two-sided interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The confidence level, e.g. 0.95.
    pub confidence: f64,
}

impl Interval {
    /// The interval of 1 / x, for an interval of a positive x.
    #[must_use]
    pub fn inverse(self) -> Self {
        Self { low: 1.0 / self.high, high: 1.0 / self.low, ..self }
    }
}

/// A BCa bootstrap interval for the median. `None` under two values.
///
/// Ignores serial correlation between samples, and is narrow for fewer than [`ENOUGH_VALUES`].
pub fn median_interval(sample: &Sample, confidence: f64, seed: u64) -> Option<Interval> {
    let values = sample.values();
    let ranked = Ranked::new(sample);
    let median = |picked: &[Vec<usize>]| median_at(values, &picked[0]);
    bca(&[values.len()], median, |_, left_out| ranked.median_without(left_out), confidence, seed)
}

/// A BCa bootstrap interval for the mean. `None` under two values.
pub fn mean_interval(sample: &Sample, confidence: f64, seed: u64) -> Option<Interval> {
    let values = sample.values();
    let n = values.len() as f64;
    let mean = |picked: &[Vec<usize>]| picked[0].iter().map(|i| values[*i]).sum::<f64>() / n;
    let without = |_, left_out: usize| (sample.mean() * n - values[left_out]) / (n - 1.0);
    bca(&[values.len()], mean, without, confidence, seed)
}

/// A BCa bootstrap interval for median(numerator) / median(denominator), the two resampled independently.
/// `None` when either has under two values or a resampled denominator is 0.
pub fn ratio_interval(
    numerator: &Sample,
    denominator: &Sample,
    confidence: f64,
    seed: u64,
) -> Option<Interval> {
    let (above, below) = (numerator.values(), denominator.values());
    let ratio = |picked: &[Vec<usize>]| median_at(above, &picked[0]) / median_at(below, &picked[1]);
    let (top, bottom) = (Ranked::new(numerator), Ranked::new(denominator));
    let without = |side: usize, left_out: usize| match side {
        0 => top.median_without(left_out) / bottom.median(),
        _ => top.median() / bottom.median_without(left_out),
    };
    bca(&[above.len(), below.len()], ratio, without, confidence, seed)
}

/// A BCa bootstrap interval for median(numerator) / median(denominator) of paired rounds: the value at a position of
/// one was measured beside that of the other, and the two are drawn together, so that what hit both cancels.
/// `None` under two rounds, when the counts differ, or when a resampled denominator is 0.
pub fn paired_ratio_interval(
    numerator: &Sample,
    denominator: &Sample,
    confidence: f64,
    seed: u64,
) -> Option<Interval> {
    let (above, below) = (numerator.values(), denominator.values());
    if above.len() != below.len() {
        return None;
    }
    let ratio = |picked: &[Vec<usize>]| median_at(above, &picked[0]) / median_at(below, &picked[0]);
    let (top, bottom) = (Ranked::new(numerator), Ranked::new(denominator));
    let without = |_, left_out: usize| top.median_without(left_out) / bottom.median_without(left_out);
    bca(&[above.len()], ratio, without, confidence, seed)
}

/// [`bca`] of a statistic that says nothing quicker of all values but one than it says of any.
pub(super) fn bca_of(
    counts: &[usize],
    statistic: impl Fn(&[Vec<usize>]) -> f64,
    confidence: f64,
    seed: u64,
) -> Option<Interval> {
    let without = |sample: usize, left_out: usize| {
        let all_but = |(s, n): (usize, &usize)| (0..*n).filter(|i| s != sample || *i != left_out).collect();
        statistic(&counts.iter().enumerate().map(all_but).collect::<Vec<Vec<usize>>>())
    };
    bca(counts, &statistic, without, confidence, seed)
}

/// The bias-corrected and accelerated bootstrap (Efron 1987; Efron and Tibshirani 1993, section 14.3).
///
/// `statistic` takes the positions drawn of each of the samples, whose sizes are `counts`; `without` is the statistic of all
/// but one value, by sample and position. With B resampled statistics
/// t, z0 = quantile of the normal distribution at the part of t below the observed one (ties count half), a = sum(U^3) /
/// (6 sum(U^2)^1.5) with U the jackknife's influences, each weighted (n - 1) / n over the samples, the ends are the
/// percentiles of t at cdf(z0 + (z0 + z) / (1 - a (z0 + z))) for z = quantile of each tail. This is what
/// `scipy.stats.bootstrap(method="BCa")` computes.
fn bca(
    counts: &[usize],
    statistic: impl Fn(&[Vec<usize>]) -> f64,
    without: impl Fn(usize, usize) -> f64,
    confidence: f64,
    seed: u64,
) -> Option<Interval> {
    if counts.iter().any(|n| *n < 2) {
        return None;
    }
    let whole: Vec<Vec<usize>> = counts.iter().map(|n| (0..*n).collect()).collect();
    let observed = statistic(&whole);
    let mut resampled = resampled(counts, &statistic, seed);
    if !observed.is_finite() || resampled.iter().any(|t| !t.is_finite()) {
        return None;
    }
    resampled.sort_by(f64::total_cmp);
    let below = resampled.partition_point(|t| *t < observed);
    let not_above = resampled.partition_point(|t| *t <= observed);
    let z0 = quantile((below + not_above) as f64 / (2 * RESAMPLES) as f64);
    let a = acceleration(counts, &without);
    let end = |tail: f64| {
        let z = z0 + quantile(tail);
        let level = cdf(z0 + z / (1.0 - a * z));
        // Where every resample lies on one side there is nothing to correct the plain percentile by.
        percentile_of_sorted(&resampled, 100.0 * if level.is_finite() { level } else { tail })
    };
    let tail = (1.0 - confidence) / 2.0;
    Some(Interval { low: end(tail), high: end(1.0 - tail), confidence })
}

fn resampled(counts: &[usize], statistic: &impl Fn(&[Vec<usize>]) -> f64, seed: u64) -> Vec<f64> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut picked: Vec<Vec<usize>> = counts.iter().map(|n| vec![0; *n]).collect();
    let mut draw = || {
        for (positions, n) in picked.iter_mut().zip(counts) {
            positions.iter_mut().for_each(|p| *p = below(&mut rng, *n));
        }
        statistic(&picked)
    };
    (0..RESAMPLES).map(|_| draw()).collect()
}

/// The acceleration a of [`bca`]; 0 where leaving out any one value changes nothing.
fn acceleration(counts: &[usize], without: &impl Fn(usize, usize) -> f64) -> f64 {
    let (mut cubes, mut squares) = (0.0, 0.0);
    for (sample, n) in counts.iter().enumerate() {
        let jackknife: Vec<f64> = (0..*n).map(|left_out| without(sample, left_out)).collect();
        let size = *n as f64;
        let mean = jackknife.iter().sum::<f64>() / size;
        let influences = jackknife.iter().map(|t| (size - 1.0) * (mean - t));
        for u in influences {
            cubes += u.powi(3) / size.powi(3);
            squares += u.powi(2) / size.powi(2);
        }
    }
    let a = cubes / (6.0 * squares.powf(1.5));
    if a.is_finite() { a } else { 0.0 }
}

/// The median of the values at `positions`, without sorting them all.
fn median_at(values: &[f64], positions: &[usize]) -> f64 {
    let mut picked: Vec<f64> = positions.iter().map(|i| values[*i]).collect();
    let middle = picked.len() / 2;
    let is_odd = picked.len() % 2 == 1;
    let (below, upper, _) = picked.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    let lower = if is_odd { upper } else { below.iter().copied().fold(f64::NEG_INFINITY, f64::max) };
    lower + (upper - lower) * 0.5
}

/// A sample's values by rank, so that the median without any one of them is had at once.
struct Ranked<'a> {
    sample: &'a Sample,
    ranks: Vec<usize>,
}

impl<'a> Ranked<'a> {
    fn new(sample: &'a Sample) -> Self {
        let values = sample.values();
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        let mut ranks = vec![0; values.len()];
        order.into_iter().enumerate().for_each(|(rank, position)| ranks[position] = rank);
        Self { sample, ranks }
    }

    fn median(&self) -> f64 {
        self.sample.median()
    }

    /// The median of all values but the one at position `left_out`; of two values at least.
    fn median_without(&self, left_out: usize) -> f64 {
        let (sorted, rank) = (self.sample.sorted(), self.ranks[left_out]);
        let at = |i: usize| sorted[if i < rank { i } else { i + 1 }];
        let left = sorted.len() - 1;
        let (lower, upper) = (at((left - 1) / 2), at(left / 2));
        lower + (upper - lower) * 0.5
    }
}

/// A uniform index under `n`, by the high half of a widening multiplication (Lemire 2019); the bias
/// of at most n / 2^64 is far below what resampling itself adds.
fn below(rng: &mut Xoshiro256PlusPlus, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f64; 15] = [3.1, 1.2, 4.7, 1.5, 5.9, 9.4, 2.6, 6.2, 5.3, 3.5, 8.8, 9.7, 9.1, 3.2, 2.4];
    const B: [f64; 15] = [2.9, 1.1, 4.1, 1.6, 5.2, 8.1, 2.5, 5.0, 5.1, 3.3, 7.4, 8.8, 8.3, 2.6, 2.5];

    fn sample(values: &[f64]) -> Sample {
        Sample::new(values.to_vec()).unwrap()
    }

    #[test]
    fn intervals_are_those_of_scipy() {
        // scipy 1.17.1: f = lambda x, y, axis: np.median(x, axis=axis) / np.median(y, axis=axis)
        // bootstrap((A, B), f, paired=True, method="BCa", n_resamples=200000) = (1.06, 1.24), for rng 0, 1 and 2;
        // the same with paired=False = (0.6153846, 2.36).
        let paired = paired_ratio_interval(&sample(&A), &sample(&B), 0.95, 1).unwrap();
        // Ours may end at a neighbour of 5.3 / 5 = 1.06: 3.5 / 3.3.
        assert!((paired.low - 1.06).abs() < 1e-3 && (paired.high - 1.24).abs() < 1e-9, "{paired:?}");
        let apart = ratio_interval(&sample(&A), &sample(&B), 0.95, 1).unwrap();
        assert!((apart.low - 0.6153846).abs() < 0.02 && (apart.high - 2.36).abs() < 0.06, "{apart:?}");
        // a = [((37*i)%101)/10 for i in range(101)]: bootstrap((a,), np.median, method="BCa", n_resamples=100000)
        // = (4.0, 6.0) for rng 0, 1 and 2; with 2000 resamples its ends vary by 0.1.
        let a: Vec<f64> = (0..101).map(|i| f64::from(37 * i % 101) / 10.0).collect();
        let median = median_interval(&sample(&a), 0.95, 1).unwrap();
        assert!((median.low - 4.0).abs() < 0.15 && (median.high - 6.0).abs() < 0.15, "{median:?}");
        // bootstrap((A,), np.mean, method="BCa", n_resamples=200000) = (3.747..3.760, 6.653..6.673): a statistic
        // without ties, so that bias and acceleration both count. 2000 resamples leave about 0.05 of chance.
        let mean = mean_interval(&sample(&A), 0.95, 1).unwrap();
        assert!((mean.low - 3.753).abs() < 0.1 && (mean.high - 6.664).abs() < 0.1, "{mean:?}");
    }

    #[test]
    fn pairs_are_drawn_together_so_that_what_hits_both_cancels() {
        // Drift by a factor of ten hits both: the ratio is 2 in every round.
        let slow: Vec<f64> = (1..=10).map(|i| 2.0 * f64::from(i)).collect();
        let fast: Vec<f64> = (1..=10).map(f64::from).collect();
        let paired = paired_ratio_interval(&sample(&slow), &sample(&fast), 0.95, 1).unwrap();
        assert_eq!((paired.low, paired.high), (2.0, 2.0));
        let apart = ratio_interval(&sample(&slow), &sample(&fast), 0.95, 1).unwrap();
        assert!(apart.low < 1.5 && apart.high > 2.5, "{apart:?}");
        assert_eq!(paired_ratio_interval(&sample(&slow), &sample(&fast[1..]), 0.95, 1), None);
    }

    #[test]
    fn the_interval_brackets_the_median_and_repeats_with_its_seed() {
        let sample = Sample::new((0..50).map(|i| f64::from(i % 7) + 10.0).collect()).unwrap();
        let a = median_interval(&sample, 0.95, 7).unwrap();
        let b = median_interval(&sample, 0.95, 7).unwrap();
        assert_eq!(a, b);
        assert!(a.low <= sample.median() && sample.median() <= a.high, "{a:?}");
        assert!(a.low >= sample.min() && a.high <= sample.max());
    }

    #[test]
    fn the_interval_covers_the_true_median_about_as_often_as_it_says() {
        // 200 samples of 25 uniform values: the true median is 0.5. The bootstrap of a median is close to
        // nominal here; under 88 % or a full 100 % would mean a defect.
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let covered = (0..200)
            .filter(|i| {
                let values = (0..25).map(|_| rng.next_u64() as f64 / u64::MAX as f64).collect();
                let interval = median_interval(&Sample::new(values).unwrap(), 0.95, *i).unwrap();
                interval.low <= 0.5 && 0.5 <= interval.high
            })
            .count();
        assert!((176..200).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn identical_values_give_a_point_and_one_value_gives_none() {
        let interval = median_interval(&sample(&[2.0; 5]), 0.95, 1).unwrap();
        assert_eq!((interval.low, interval.high), (2.0, 2.0));
        assert_eq!(median_interval(&sample(&[2.0]), 0.95, 1), None);
        assert_eq!(ratio_interval(&sample(&[1.0]), &sample(&B), 0.95, 1), None);
        assert_eq!(ratio_interval(&sample(&B), &sample(&[0.0, 0.0]), 0.95, 1), None);
    }

    #[test]
    fn the_interval_of_a_ratio_brackets_the_ratio_of_medians() {
        let slow = sample(&[10.0, 10.2, 9.8, 10.1, 9.9]);
        let fast = sample(&[5.0, 5.1, 4.9, 5.05, 4.95]);
        let interval = ratio_interval(&slow, &fast, 0.95, 1).unwrap();
        // The extremes are 9.8 / 5.1 = 1.92 and 10.2 / 4.9 = 2.08.
        assert!(1.92 <= interval.low && interval.low < 2.0, "{interval:?}");
        assert!(2.0 < interval.high && interval.high <= 2.09, "{interval:?}");
        let inverse = interval.inverse();
        assert_eq!((inverse.low, inverse.high), (1.0 / interval.high, 1.0 / interval.low));
    }

    #[test]
    fn medians_of_draws_and_without_a_value_are_those_of_sorted_values() {
        for n in 2..9usize {
            let values: Vec<f64> = (0..n).map(|i| (i * 5 % 7) as f64).collect();
            let whole = sample(&values);
            let all: Vec<usize> = (0..n).collect();
            assert_eq!(median_at(&values, &all), whole.median());
            for left_out in 0..n {
                let rest: Vec<f64> = (0..n).filter(|i| *i != left_out).map(|i| values[i]).collect();
                assert_eq!(Ranked::new(&whole).median_without(left_out), sample(&rest).median());
            }
        }
    }
}
