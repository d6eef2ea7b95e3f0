//! Bootstrap intervals: seeded, so that the same run gives the same interval.

use super::Sample;
use super::sample::percentile_of_sorted;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// Resamples per interval. Efron and Tibshirani (1993, section 14.3) ask for at least 1,000 for intervals.
const RESAMPLES: usize = 2000;

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

/// A percentile-bootstrap interval for the median (Efron 1979): resamples of the sample's own size,
/// drawn with replacement, whose medians' quantiles are the ends. `None` under two values.
///
/// Ignores serial correlation between samples, and is narrow for fewer than about five values.
pub fn median_interval(sample: &Sample, confidence: f64, seed: u64) -> Option<Interval> {
    if sample.count() < 2 {
        return None;
    }
    let mut draws = Resampler::new(sample, seed);
    Some(percentile_interval((0..RESAMPLES).map(|_| draws.median()).collect(), confidence))
}

/// A percentile-bootstrap interval for median(numerator) / median(denominator), the two resampled
/// independently (Efron and Tibshirani 1993, section 8.3). `None` when either has under two values or
/// a resampled denominator is 0.
pub fn ratio_interval(
    numerator: &Sample,
    denominator: &Sample,
    confidence: f64,
    seed: u64,
) -> Option<Interval> {
    if numerator.count() < 2 || denominator.count() < 2 {
        return None;
    }
    let mut above = Resampler::new(numerator, seed);
    // Another stream, so that equal samples are not resampled alike.
    let mut below = Resampler::new(denominator, seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
    let ratios: Vec<f64> = (0..RESAMPLES).map(|_| above.median() / below.median()).collect();
    ratios.iter().all(|r| r.is_finite()).then(|| percentile_interval(ratios, confidence))
}

/// Draws resamples of a sample's own size, with replacement.
struct Resampler<'a> {
    values: &'a [f64],
    resample: Vec<f64>,
    rng: Xoshiro256PlusPlus,
}

impl<'a> Resampler<'a> {
    fn new(sample: &'a Sample, seed: u64) -> Self {
        let values = sample.values();
        Self { values, resample: vec![0.0; values.len()], rng: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    /// The median of the next resample.
    fn median(&mut self) -> f64 {
        for slot in &mut self.resample {
            *slot = self.values[below(&mut self.rng, self.values.len())];
        }
        self.resample.sort_by(f64::total_cmp);
        percentile_of_sorted(&self.resample, 50.0)
    }
}

fn percentile_interval(mut statistics: Vec<f64>, confidence: f64) -> Interval {
    statistics.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0 * 100.0;
    Interval {
        low: percentile_of_sorted(&statistics, tail),
        high: percentile_of_sorted(&statistics, 100.0 - tail),
        confidence,
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
        // 200 samples of 25 uniform values: the true median is 0.5. The percentile bootstrap of a
        // median is close to nominal here; under 88 % or a full 100 % would mean a defect.
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
    fn identical_values_give_a_point() {
        let interval = median_interval(&Sample::new(vec![2.0; 5]).unwrap(), 0.95, 1).unwrap();
        assert_eq!((interval.low, interval.high), (2.0, 2.0));
    }

    #[test]
    fn the_interval_of_a_ratio_brackets_the_ratio_of_medians() {
        let slow = Sample::new(vec![10.0, 10.2, 9.8, 10.1, 9.9]).unwrap();
        let fast = Sample::new(vec![5.0, 5.1, 4.9, 5.05, 4.95]).unwrap();
        let interval = ratio_interval(&slow, &fast, 0.95, 1).unwrap();
        // The extremes are 9.8 / 5.1 = 1.92 and 10.2 / 4.9 = 2.08.
        assert!(1.92 <= interval.low && interval.low < 2.0, "{interval:?}");
        assert!(2.0 < interval.high && interval.high <= 2.09, "{interval:?}");
        let one = Sample::new(vec![1.0]).unwrap();
        assert_eq!(ratio_interval(&one, &fast, 0.95, 1), None);
    }
}
