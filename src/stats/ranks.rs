//! Distribution-free intervals of Hodges and Lehmann: for a shift between two groups, and for the centre of one.
//!
//! They ask nothing of the values but that both groups have one shape (or that one group is symmetric), hold their level
//! exactly for any number of values, and are not moved by a single wild one.

use super::Sample;

/// More values than this on a side: the normal approximation is as good, and the exact count grows with their fourth power.
const EXACT_UP_TO: usize = 30;

/// More throws than this: the normal approximation differs by less than one.
const EXACT_THROWS: usize = 200;

/// An estimate with a two-sided interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    pub(super) centre: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// The shift from `new` to `old`: the median of all differences old - new, and the interval between the (k+1)-th smallest
/// and largest of them, with k the largest number that the Mann-Whitney statistic U of two alike groups is at or below with
/// a probability of at most (1 - confidence) / 2 (Hodges and Lehmann 1963; Hollander, Wolfe and Chicken 2014, section 4.3).
/// `None` where even the extreme differences enclose it with less than `confidence`: under 4 and 4 values for 95 %.
pub(super) fn shift(old: &[f64], new: &[f64], confidence: f64) -> Option<Estimate> {
    let differences = old.iter().flat_map(|a| new.iter().map(move |b| a - b)).collect();
    let (m, n) = (old.len(), new.len());
    let tail = (1.0 - confidence) / 2.0;
    let k = if m.max(n) > EXACT_UP_TO {
        let (m, n) = (m as f64, n as f64);
        normal_k(m * n / 2.0, (m * n * (m + n + 1.0) / 12.0).sqrt(), tail)
    } else {
        largest_k(&mann_whitney(m, n), tail)
    };
    between(differences, k?)
}

/// The centre of symmetric values: the median of their Walsh averages (a + b) / 2, each with itself too, and the interval
/// between the (k+1)-th smallest and largest of them, with k as for [`shift`] of Wilcoxon's signed-rank statistic (Hollander,
/// Wolfe and Chicken 2014, section 3.2). `None` under 6 values for 95 %.
pub(super) fn centre(values: &[f64], confidence: f64) -> Option<Estimate> {
    let averages =
        values.iter().enumerate().flat_map(|(i, a)| values[i..].iter().map(move |b| (a + b) / 2.0)).collect();
    let n = values.len();
    let tail = (1.0 - confidence) / 2.0;
    let k = if n > EXACT_UP_TO {
        let n = n as f64;
        normal_k(n * (n + 1.0) / 4.0, (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt(), tail)
    } else {
        largest_k(&signed_ranks(n), tail)
    };
    between(averages, k?)
}

/// How far the median may be from the middle of its interval, as a part of the median: half the distance between the (k+1)-th
/// smallest and largest value, with k the largest number that a fair coin's heads in n throws are at or below with a
/// probability of at most (1 - confidence) / 2 (the sign test's interval; Hollander, Wolfe and Chicken 2014, section 3.6). Of
/// fewer values than reach `confidence` (under 6 for 95 %) it is that of the extremes. Infinite around 0.
pub fn relative_half_width(sample: &Sample, confidence: f64) -> f64 {
    let n = sample.count();
    let tail = (1.0 - confidence) / 2.0;
    let k = if n > EXACT_THROWS {
        normal_k(n as f64 / 2.0, (n as f64).sqrt() / 2.0, tail)
    } else {
        let throws = (0..n).scan(1.0, |ways, i| {
            let now = *ways;
            *ways *= (n - i) as f64 / (i + 1) as f64;
            Some(now)
        });
        largest_k(&throws.chain([1.0]).collect::<Vec<f64>>(), tail)
    };
    let (sorted, k) = (sample.sorted(), k.unwrap_or(0));
    ((sorted[n - 1 - k] - sorted[k]) / 2.0 / sample.median()).abs()
}

fn between(values: Vec<f64>, k: usize) -> Option<Estimate> {
    let sample = Sample::new(values).ok()?;
    let sorted = sample.sorted();
    let estimate = Estimate { centre: sample.median(), low: sorted[k], high: sorted[sorted.len() - 1 - k] };
    Some(estimate)
}

/// The largest value whose cumulative probability is at most `tail`; `None` where 0 itself is likelier.
fn largest_k(counts: &[f64], tail: f64) -> Option<usize> {
    let all: f64 = counts.iter().sum();
    let mut cumulative = 0.0;
    let within = counts.iter().take_while(|count| {
        cumulative += *count;
        cumulative <= tail * all
    });
    within.count().checked_sub(1)
}

/// The same by the normal distribution, with half a count for continuity.
fn normal_k(mean: f64, stddev: f64, tail: f64) -> Option<usize> {
    let k = (mean + super::normal::quantile(tail) * stddev - 0.5).floor();
    (k >= 0.0).then_some(k as usize)
}

/// In how many ways the Mann-Whitney statistic of `m` and `n` values takes each value from 0 to m n: the coefficients of
/// the Gaussian binomial (m + n over m) (Mann and Whitney 1947).
fn mann_whitney(m: usize, n: usize) -> Vec<f64> {
    let mut counts = vec![0.0; m * n + 1];
    counts[0] = 1.0;
    // The product of (1 - q^(n + i)) / (1 - q^i) over i = 1..m.
    for i in 1..=m {
        for u in (n + i..counts.len()).rev() {
            counts[u] -= counts[u - n - i];
        }
        for u in i..counts.len() {
            counts[u] += counts[u - i];
        }
    }
    counts
}

/// In how many ways the signed-rank statistic of `n` values takes each value: the product of (1 + q^i) over i = 1..n.
fn signed_ranks(n: usize) -> Vec<f64> {
    let mut counts = vec![0.0; n * (n + 1) / 2 + 1];
    counts[0] = 1.0;
    for i in 1..=n {
        for w in (i..counts.len()).rev() {
            counts[w] += counts[w - i];
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_values_are_those_of_published_tables() {
        // Mann-Whitney U, two-sided 5 %: (4, 4) 0, (5, 5) 2, (6, 8) 8, (10, 10) 23, (20, 20) 127; none for (3, 4).
        for (m, n, expected) in [(4, 4, 0), (5, 5, 2), (6, 8, 8), (10, 10, 23), (20, 20, 127)] {
            assert_eq!(largest_k(&mann_whitney(m, n), 0.025), Some(expected), "{m} {n}");
        }
        assert_eq!(largest_k(&mann_whitney(3, 4), 0.025), None);
        // Wilcoxon signed rank, two-sided 5 %: 6: 0, 8: 3, 10: 8, 20: 52, 25: 89; none for 5.
        for (n, expected) in [(6, 0), (8, 3), (10, 8), (20, 52), (25, 89)] {
            assert_eq!(largest_k(&signed_ranks(n), 0.025), Some(expected), "{n}");
        }
        assert_eq!(largest_k(&signed_ranks(5), 0.025), None);
        // The approximation is close to the exact count where it takes over: 30 and 30 give 317.
        let exact = largest_k(&mann_whitney(30, 30), 0.025).unwrap() as i64;
        let near = normal_k(450.0, (900.0f64 * 61.0 / 12.0).sqrt(), 0.025).unwrap() as i64;
        assert_eq!(exact, 317);
        assert!((exact - near).abs() <= 1, "{near}");
    }

    #[test]
    fn a_shift_is_the_median_difference_and_a_wild_value_hardly_moves_it() {
        let old = [10.0, 11.0, 12.0, 13.0, 90.0];
        let new = [1.0, 2.0, 3.0, 4.0, 5.0];
        let found = shift(&old, &new, 0.95).unwrap();
        // 25 differences; the third smallest and largest: 5 6 6 7 7 7 ... and 89 88 87 86 85 12 ....
        assert_eq!((found.low, found.high), (6.0, 87.0));
        assert_eq!(found.centre, 9.0);
        assert_eq!(shift(&old[..3], &new[..3], 0.95), None);
    }

    #[test]
    fn a_centre_is_the_median_walsh_average() {
        // Six values: the interval is from the smallest to the largest.
        let found = centre(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 0.95).unwrap();
        assert_eq!((found.low, found.centre, found.high), (1.0, 3.5, 6.0));
        assert_eq!(centre(&[1.0; 5], 0.95), None);
    }

    #[test]
    fn the_interval_of_a_median_is_that_of_the_sign_test() {
        // scipy 1.17.1: the largest k with binom.cdf(k, n, .5) <= .025: 6: 0, 9: 1, 20: 5, 100: 39, 500: 227.
        for (n, k) in [(6usize, 0usize), (9, 1), (20, 5), (100, 39), (500, 227)] {
            let sample = Sample::new((1..=n).map(|i| i as f64).collect()).unwrap();
            // From k + 1 to n - k.
            let expected = (n - 1 - 2 * k) as f64 / 2.0 / ((n + 1) as f64 / 2.0);
            let found = relative_half_width(&sample, 0.95);
            assert!((found - expected).abs() < 1e-12, "{n}: {found} is not {expected}");
        }
        let three = Sample::new(vec![1.0, 2.0, 3.0]).unwrap();
        assert_eq!(relative_half_width(&three, 0.95), 0.5);
    }
}
