//! A non-empty set of finite measurements and its order statistics.

use super::{CONFIDENCE, Interval, median_interval};
use serde::{Deserialize, Serialize};

/// Why values are no sample.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SampleError {
    /// There was no value.
    #[error("no values: a sample has at least one")]
    Empty,
    /// A value was NaN or infinite.
    #[error("value {index} is {value}: a sample holds finite values only")]
    NotFinite {
        /// Its position, from 0.
        index: usize,
        /// The value found.
        value: f64,
    },
}

/// One or more finite values of one quantity, kept in the order measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    values: Vec<f64>,
    sorted: Vec<f64>,
}

impl Sample {
    /// Takes the values as measured.
    ///
    /// # Errors
    /// When there is none, or one is not finite.
    pub fn new(values: Vec<f64>) -> Result<Self, SampleError> {
        if values.is_empty() {
            return Err(SampleError::Empty);
        }
        if let Some((index, value)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(SampleError::NotFinite { index, value: *value });
        }
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        Ok(Self { values, sorted })
    }

    /// The values in the order measured.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The values from the smallest to the largest.
    pub(super) fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The arithmetic mean.
    pub fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.count() as f64
    }

    /// The sample standard deviation (n - 1 in the denominator); `None` for a single value.
    pub fn stddev(&self) -> Option<f64> {
        if self.count() < 2 {
            return None;
        }
        let mean = self.mean();
        let sum: f64 = self.values.iter().map(|v| (v - mean).powi(2)).sum();
        Some((sum / (self.count() - 1) as f64).sqrt())
    }

    /// The value below which `p` per cent lie, by linear interpolation between order statistics
    /// (type 7 of Hyndman and Fan, 1996; numpy's default).
    pub fn percentile(&self, p: f64) -> f64 {
        percentile_of_sorted(&self.sorted, p)
    }

    /// The median.
    pub fn median(&self) -> f64 {
        self.percentile(50.0)
    }

    /// The median absolute deviation from the median, unscaled.
    pub fn mad(&self) -> f64 {
        let median = self.median();
        let mut deviations: Vec<f64> = self.values.iter().map(|v| (v - median).abs()).collect();
        deviations.sort_by(f64::total_cmp);
        percentile_of_sorted(&deviations, 50.0)
    }

    /// The smallest value.
    pub fn min(&self) -> f64 {
        self.sorted[0]
    }

    /// The largest value.
    pub fn max(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }

    /// Tukey's fences; see [`Fences`].
    pub fn fences(&self) -> Fences {
        let (q1, q3) = (self.percentile(25.0), self.percentile(75.0));
        let iqr = q3 - q1;
        Fences { low: q1 - 1.5 * iqr, high: q3 + 1.5 * iqr }
    }

    /// Everything that is usually reported of a sample.
    pub fn summary(&self, seed: u64) -> Summary {
        let fences = self.fences();
        Summary {
            count: self.count(),
            median: self.median(),
            interval: median_interval(self, CONFIDENCE, seed),
            mean: self.mean(),
            stddev: self.stddev(),
            mad: self.mad(),
            min: self.min(),
            max: self.max(),
            p90: self.percentile(90.0),
            p95: self.percentile(95.0),
            p99: self.percentile(99.0),
            outliers: self.values.iter().filter(|v| !fences.contains(**v)).count(),
        }
    }
}

pub(super) fn percentile_of_sorted(sorted: &[f64], p: f64) -> f64 {
    let position = (p / 100.0).clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = position.ceil() as usize;
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

/// Tukey's inner fences, 1.5 interquartile ranges beyond the quartiles (Tukey, Exploratory Data
/// Analysis, 1977). Values outside are marked, never dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fences {
    /// Values below are outliers.
    pub low: f64,
    /// Values above are outliers.
    pub high: f64,
}

impl Fences {
    /// Whether `value` lies within the fences.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// What is reported of a sample, in the sample's own unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many values.
    pub count: usize,
    /// The median.
    pub median: f64,
    /// A bootstrap interval for the median; `None` under two values.
    pub interval: Option<Interval>,
    /// The mean.
    pub mean: f64,
    /// The sample standard deviation; `None` under two values.
    pub stddev: Option<f64>,
    /// The median absolute deviation.
    pub mad: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// How many values lie outside Tukey's fences.
    pub outliers: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: &[f64]) -> Sample {
        Sample::new(values.to_vec()).unwrap()
    }

    #[test]
    fn order_statistics_are_those_of_numpy() {
        // numpy 2.1: a = [3, 1, 4, 1, 5, 9, 2, 6]; np.median(a) = 3.5; np.percentile(a, [25, 75, 90, 99])
        // = [1.75, 5.25, 6.9, 8.79]; a.mean() = 3.875.
        let s = sample(&[3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]);
        assert_eq!(s.median(), 3.5);
        for (p, expected) in [(25.0, 1.75), (75.0, 5.25), (90.0, 6.9), (99.0, 8.79)] {
            assert!((s.percentile(p) - expected).abs() < 1e-12, "p{p}");
        }
        assert_eq!(s.mean(), 3.875);
        // Sum of squared deviations: 173 - 8 * 3.875^2 = 52.875; / 7 = 7.553571...; root 2.748376...
        assert!((s.stddev().unwrap() - (52.875f64 / 7.0).sqrt()).abs() < 1e-12);
        // Deviations from 3.5: .5 2.5 .5 2.5 1.5 5.5 1.5 2.5 -> sorted .5 .5 1.5 1.5 2.5 2.5 2.5 5.5 -> 2.0
        assert_eq!(s.mad(), 2.0);
    }

    #[test]
    fn a_summary_is_that_of_scipy() {
        // numpy 2.4.6, scipy 1.17.1: np.median(a), a.mean(), a.std(ddof=1), median_abs_deviation(a),
        // np.percentile(a, [90, 95, 99])
        let a = [3.1, 1.2, 4.7, 1.5, 5.9, 9.4, 2.6, 6.2, 5.3, 3.5, 8.8, 9.7, 9.1, 3.2, 2.4];
        let s = sample(&a).summary(0);
        let found = [s.median, s.mean, s.stddev.unwrap(), s.mad, s.p90, s.p95, s.p99];
        let expected = [4.7, 5.106666666666667, 2.9673140010710664, 2.1, 9.28, 9.49, 9.658];
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
    }

    #[test]
    fn one_value_is_its_own_summary_without_a_spread() {
        let summary = sample(&[7.0]).summary(1);
        assert_eq!((summary.median, summary.min, summary.max, summary.p99), (7.0, 7.0, 7.0, 7.0));
        assert_eq!((summary.stddev, summary.interval), (None, None));
    }

    #[test]
    fn an_empty_or_not_finite_sample_is_refused() {
        assert_eq!(Sample::new(vec![]), Err(SampleError::Empty));
        assert!(matches!(Sample::new(vec![1.0, f64::NAN]), Err(SampleError::NotFinite { index: 1, .. })));
    }

    #[test]
    fn a_far_value_is_marked_and_kept() {
        let s = sample(&[1.0, 1.1, 0.9, 1.0, 1.05, 9.0]);
        assert_eq!(s.summary(1).outliers, 1);
        assert_eq!(s.count(), 6);
        assert_eq!(s.max(), 9.0);
    }
}
