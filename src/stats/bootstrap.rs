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
    let values = sample.values();
    if values.len() < 2 {
        return None;
    }
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut resample = vec![0.0; values.len()];
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for slot in &mut resample {
                *slot = values[below(&mut rng, values.len())];
            }
            resample.sort_by(f64::total_cmp);
            percentile_of_sorted(&resample, 50.0)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0 * 100.0;
    Some(Interval {
        low: percentile_of_sorted(&medians, tail),
        high: percentile_of_sorted(&medians, 100.0 - tail),
        confidence,
    })
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
}
