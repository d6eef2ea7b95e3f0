//! How values grow with a size: least-squares fits of a line and of a parabola, which of the two describes them better,
//! and the exponent of a power law, each with an interval.

use super::bootstrap::bca_of;
use super::{CONFIDENCE, Interval, Sample};
use serde::{Deserialize, Serialize};

/// From this difference of AICc on, one model is said to be better (Burnham and Anderson 2002, section 2.6: models within
/// 2 of the best have substantial support).
const DECISIVE: f64 = 2.0;
/// A quadratic term that makes less of the value than this, at the largest size, does not make growth quadratic: a cached
/// version's attention has one, of a per cent or two, beside the weights that every token reads.
const NEGLIGIBLE: f64 = 0.05;

/// A fitted number and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The best value.
    pub value: f64,
    /// A bootstrap interval from resampling the values of each size; `None` where a size has a single value.
    pub interval: Option<Interval>,
}

/// A polynomial fitted to values by weighted least squares, and how well it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Polynomial {
    /// The coefficients of 1, x, x^2, ...
    pub coefficients: Vec<Estimate>,
    /// 1 - weighted residual sum of squares / weighted total sum of squares; `None` where all values are the same.
    pub r_squared: Option<f64>,
    /// Akaike's criterion with its correction for small samples: n ln(RSS / n) + 2 k + 2 k (k + 1) / (n - k - 1), where k
    /// counts the coefficients and the variance; lower is better. `None` under k + 2 values, or of an exact fit.
    pub aicc: Option<f64>,
}

impl Polynomial {
    /// The value at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c.value)
    }
}

/// Which of the two fits describes the values better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The line: the parabola is no better by AICc, its quadratic coefficient may be 0, or its quadratic term makes under
    /// 5 % of the value at the largest size.
    Linear,
    /// The parabola: better by AICc, with a quadratic coefficient that is certainly above 0.
    Quadratic,
    /// Neither can be told: too few sizes, or too little difference.
    Unclear,
}

impl Order {
    /// The word in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Quadratic => "quadratic",
            Self::Unclear => "unclear",
        }
    }
}

/// The growth of values with a size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// a + b x; `None` under two sizes.
    pub linear: Option<Polynomial>,
    /// a + b x + c x^2; `None` under three sizes.
    pub quadratic: Option<Polynomial>,
    /// Which is better.
    pub better: Order,
    /// AICc of the line less that of the parabola: positive where the parabola is better.
    pub aicc_difference: Option<f64>,
    /// c x^2 over the parabola's value, at the largest size: how much of the value the quadratic term makes there.
    pub quadratic_share: Option<f64>,
}

impl Growth {
    /// Fits the values of each size. Each value's weight is 1 / (its size's median)^2: timing noise is in proportion.
    pub fn of(points: &[(f64, Sample)], seed: u64) -> Self {
        let fit = |degree: usize| polynomial(points, degree, seed);
        let (linear, quadratic) = (fit(1), fit(2));
        let aicc = |fit: &Option<Polynomial>| fit.as_ref().and_then(|f| f.aicc);
        let difference = aicc(&linear).zip(aicc(&quadratic)).map(|(l, q)| l - q);
        let largest = points.iter().map(|(x, _)| *x).fold(f64::NAN, f64::max);
        let share = quadratic.as_ref().map(|q| q.coefficients[2].value * largest * largest / q.at(largest));
        let negligible = share.is_some_and(|share| share.abs() < NEGLIGIBLE);
        let better = match better(linear.as_ref(), quadratic.as_ref(), difference) {
            Order::Quadratic if negligible => Order::Linear,
            other => other,
        };
        Self { linear, quadratic, better, aicc_difference: difference, quadratic_share: share }
    }
}

fn better(linear: Option<&Polynomial>, quadratic: Option<&Polynomial>, difference: Option<f64>) -> Order {
    let exact = |fit: Option<&Polynomial>| fit.and_then(|f| f.r_squared).is_some_and(|r| r > 1.0 - 1e-12);
    let Some(c) = quadratic.and_then(|q| q.coefficients.get(2)) else { return Order::Unclear };
    // Values without noise, a scripted clock's, have no AICc.
    let Some(difference) = difference else {
        return match (exact(linear), exact(quadratic)) {
            (true, _) => Order::Linear,
            (false, true) if c.value > 0.0 => Order::Quadratic,
            _ => Order::Unclear,
        };
    };
    // Without an interval the value itself has to do.
    let (low, high) = c.interval.map_or((c.value, c.value), |i| (i.low, i.high));
    if difference > DECISIVE && low > 0.0 {
        Order::Quadratic
    } else if difference < -DECISIVE || (low <= 0.0 && high >= 0.0) {
        Order::Linear
    } else {
        Order::Unclear
    }
}

/// The exponent e of y = a x^e: the slope of ln y over ln x by least squares over all values. `None` under two sizes, or
/// where a size or value is not positive.
pub fn exponent(points: &[(f64, Sample)], seed: u64) -> Option<Estimate> {
    let positive = points.iter().all(|(x, sample)| *x > 0.0 && sample.min() > 0.0);
    if !positive || distinct(points) < 2 {
        return None;
    }
    let logs: Vec<(f64, Vec<f64>)> =
        points.iter().map(|(x, s)| (x.ln(), s.values().iter().map(|v| v.ln()).collect())).collect();
    let slope = |picked: &[Vec<usize>]| {
        let chosen = || logs.iter().zip(picked).flat_map(|((x, ys), at)| at.iter().map(|i| (*x, ys[*i])));
        let n = chosen().count() as f64;
        let (mean_x, mean_y) =
            (chosen().map(|p| p.0).sum::<f64>() / n, chosen().map(|p| p.1).sum::<f64>() / n);
        let above: f64 = chosen().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        above / chosen().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>()
    };
    Some(estimate(points, slope, seed))
}

/// The size above which `new` lies under `old`: where lines fitted to both meet, (a_new - a_old) / (b_old - b_new), with
/// the interval of resampling both together, value by value, as rounds pair them. `None` where a line is not to be had, or
/// they do not meet at a positive size in that direction; the interval is `None` where some resampled lines do not.
pub fn crossing(old: &[(f64, Sample)], new: &[(f64, Sample)], seed: u64) -> Option<Estimate> {
    let same =
        old.len() == new.len() && old.iter().zip(new).all(|(o, n)| o.0 == n.0 && o.1.count() == n.1.count());
    if !same || distinct(old) < 2 {
        return None;
    }
    let line = |points: &[(f64, Sample)], picked: &[Vec<usize>]| {
        let chosen = points.iter().zip(picked).flat_map(|((x, sample), at)| {
            let weight = sample.median().powi(-2);
            at.iter().map(move |i| (*x, sample.values()[*i], weight))
        });
        least_squares(chosen, 2)
    };
    let meet = |picked: &[Vec<usize>]| {
        let (Some(old), Some(new)) = (line(old, picked), line(new, picked)) else { return f64::NAN };
        let slopes = old[1] - new[1];
        let at = (new[0] - old[0]) / slopes;
        // The new one has to begin above the old and to grow more slowly.
        if slopes > 0.0 && at > 0.0 { at } else { f64::NAN }
    };
    let found = estimate(old, meet, seed);
    found.value.is_finite().then_some(found)
}

/// `statistic` of all values, with its bootstrap interval.
fn estimate(points: &[(f64, Sample)], statistic: impl Fn(&[Vec<usize>]) -> f64, seed: u64) -> Estimate {
    let counts: Vec<usize> = points.iter().map(|(_, sample)| sample.count()).collect();
    let all: Vec<Vec<usize>> = counts.iter().map(|n| (0..*n).collect()).collect();
    Estimate { value: statistic(&all), interval: bca_of(&counts, statistic, CONFIDENCE, seed) }
}

fn distinct(points: &[(f64, Sample)]) -> usize {
    let mut sizes: Vec<f64> = points.iter().map(|(x, _)| *x).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    sizes.len()
}

fn polynomial(points: &[(f64, Sample)], degree: usize, seed: u64) -> Option<Polynomial> {
    let terms = degree + 1;
    // Sizes in units of the largest, so that the equations are well conditioned.
    let unit = points.iter().map(|(x, _)| x.abs()).fold(0.0, f64::max);
    if distinct(points) < terms || unit == 0.0 || points.iter().any(|(_, s)| s.median() == 0.0) {
        return None;
    }
    let weights: Vec<f64> = points.iter().map(|(_, sample)| sample.median().powi(-2)).collect();
    let solve = |picked: &[Vec<usize>]| {
        let chosen =
            points.iter().zip(&weights).zip(picked).flat_map(|(((x, sample), w), at)| {
                at.iter().map(move |i| (x / unit, sample.values()[*i], *w))
            });
        least_squares(chosen, terms)
    };
    let all: Vec<Vec<usize>> = points.iter().map(|(_, s)| (0..s.count()).collect()).collect();
    let best = solve(&all)?;
    let coefficients = (0..terms)
        .map(|term| {
            let of =
                |picked: &[Vec<usize>]| solve(picked).map_or(f64::NAN, |c| c[term] / unit.powi(term as i32));
            estimate(points, of, seed)
        })
        .collect();
    let (r_squared, aicc) =
        quality(points, &weights, |x| best.iter().rev().fold(0.0, |sum, c| sum * x / unit + c));
    Some(Polynomial { coefficients, r_squared, aicc: aicc(terms) })
}

/// R squared, and AICc for a number of coefficients.
fn quality(
    points: &[(f64, Sample)],
    weights: &[f64],
    fitted: impl Fn(f64) -> f64,
) -> (Option<f64>, impl Fn(usize) -> Option<f64>) {
    let values =
        || points.iter().zip(weights).flat_map(|((x, s), w)| s.values().iter().map(move |y| (*x, *y, *w)));
    let weight: f64 = values().map(|v| v.2).sum();
    let mean = values().map(|(_, y, w)| w * y).sum::<f64>() / weight;
    let total: f64 = values().map(|(_, y, w)| w * (y - mean).powi(2)).sum();
    let residual: f64 = values().map(|(x, y, w)| w * (y - fitted(x)).powi(2)).sum();
    let n = values().count() as f64;
    let aicc = move |terms: usize| {
        let k = terms as f64 + 1.0;
        let correction = 2.0 * k * (k + 1.0) / (n - k - 1.0);
        // A residual of rounding errors alone says nothing of which model is right.
        let exact = residual <= 1e-24 * n;
        (n > k + 1.0 && !exact).then(|| n * (residual / n).ln() + 2.0 * k + correction)
    };
    ((total > 0.0).then(|| 1.0 - residual / total), aicc)
}

/// The coefficients of 1, x, x^2, ... that make the weighted sum of squares least: the normal equations by elimination
/// with pivots. `None` where they have no single solution.
fn least_squares(points: impl Iterator<Item = (f64, f64, f64)>, terms: usize) -> Option<Vec<f64>> {
    let mut system = vec![vec![0.0; terms + 1]; terms];
    for (x, y, w) in points {
        for (row, equation) in system.iter_mut().enumerate() {
            for (column, value) in equation[..terms].iter_mut().enumerate() {
                *value += w * x.powi((row + column) as i32);
            }
            equation[terms] += w * y * x.powi(row as i32);
        }
    }
    for pivot in 0..terms {
        let largest =
            (pivot..terms).max_by(|a, b| system[*a][pivot].abs().total_cmp(&system[*b][pivot].abs()))?;
        system.swap(pivot, largest);
        if system[pivot][pivot].abs() <= f64::MIN_POSITIVE {
            return None;
        }
        for row in pivot + 1..terms {
            let factor = system[row][pivot] / system[pivot][pivot];
            let (above, below) = system.split_at_mut(row);
            for (value, of_pivot) in below[0].iter_mut().zip(&above[pivot]).skip(pivot) {
                *value -= factor * of_pivot;
            }
        }
    }
    let mut solution = vec![0.0; terms];
    for row in (0..terms).rev() {
        let known: f64 = (row + 1..terms).map(|column| system[row][column] * solution[column]).sum();
        solution[row] = (system[row][terms] - known) / system[row][row];
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(of: impl Fn(f64, usize) -> f64) -> Vec<(f64, Sample)> {
        let sample = |x: f64| (x, Sample::new((0..5).map(|i| of(x, i)).collect()).unwrap());
        [16.0, 32.0, 64.0, 128.0, 256.0].map(sample).to_vec()
    }

    /// Noise of about 1 %, the same in every run of the test.
    fn noise(x: f64, i: usize) -> f64 {
        let mixed = (x as u64 * 7919 + i as u64 * 104_729) % 1000;
        1.0 + (mixed as f64 / 1000.0 - 0.5) * 0.02
    }

    #[test]
    fn a_line_with_noise_is_linear_and_its_slope_is_found() {
        let growth = Growth::of(&points(|x, i| (5.0 + 3.0 * x) * noise(x, i)), 1);
        let slope = growth.linear.as_ref().unwrap().coefficients[1];
        let interval = slope.interval.unwrap();
        assert!(interval.low < 3.0 && 3.0 < interval.high && interval.high - interval.low < 0.2, "{slope:?}");
        assert_eq!(growth.better, Order::Linear, "{growth:?}");
        assert!(growth.quadratic_share.unwrap().abs() < 0.05);
        assert!(growth.linear.unwrap().r_squared.unwrap() > 0.99);
    }

    #[test]
    fn a_parabola_with_noise_is_quadratic() {
        let growth = Growth::of(&points(|x, i| (5.0 + x + 0.02 * x * x) * noise(x, i)), 1);
        assert_eq!(growth.better, Order::Quadratic, "{growth:?}");
        let c = growth.quadratic.as_ref().unwrap().coefficients[2];
        assert!((c.value - 0.02).abs() < 0.001, "{c:?}");
        // 0.02 x 256^2 = 1310.72 of 1571.72.
        assert!((growth.quadratic_share.unwrap() - 1310.72 / 1571.72).abs() < 0.01);
        assert!(growth.aicc_difference.unwrap() > 20.0);
    }

    #[test]
    fn fits_are_those_of_numpy() {
        // numpy 2.4.6: x = [16, 32, 64, 128], y = [2.0, 3.1, 5.9, 13.2]; the constants below are
        // np.polyfit(x, y, 1, w=1/y), np.polyfit(x, y, 2, w=1/y), np.polyfit(np.log(x), np.log(y), 1)[0] and, with
        // w = 1/y**2 and m = (w*y).sum()/w.sum(), 1 - (w*(y-line)**2).sum()/(w*(y-m)**2).sum().
        let one = |(x, y): (f64, f64)| (x, Sample::new(vec![y]).unwrap());
        let points = [(16.0, 2.0), (32.0, 3.1), (64.0, 5.9), (128.0, 13.2)].map(one);
        let growth = Growth::of(&points, 1);
        let found = |fit: &Option<Polynomial>| -> Vec<f64> {
            fit.as_ref().unwrap().coefficients.iter().map(|c| c.value).collect()
        };
        let close = |found: Vec<f64>, expected: &[f64]| {
            for (f, e) in found.iter().zip(expected) {
                assert!((f / e - 1.0).abs() < 1e-9, "{found:?} {expected:?}");
            }
        };
        close(found(&growth.linear), &LINEAR);
        close(found(&growth.quadratic), &QUADRATIC);
        close(vec![exponent(&points, 1).unwrap().value], &[EXPONENT]);
        assert!((growth.linear.unwrap().r_squared.unwrap() - R_SQUARED).abs() < 1e-9);
        // Four values are too few for AICc of three numbers (the line's two and the variance): 4 - 3 - 1 = 0.
        assert_eq!((growth.better, growth.aicc_difference), (Order::Unclear, None));
    }

    const LINEAR: [f64; 2] = [0.4615124489631491, 0.08972205153366788];
    const QUADRATIC: [f64; 3] = [1.0241332441014488, 0.055683704586900355, 0.0003099790476631774];
    const EXPONENT: f64 = 0.9095844812388255;
    const R_SQUARED: f64 = 0.9812650809525837;

    #[test]
    fn the_exponent_of_a_power_law_is_found_with_its_interval() {
        let estimate = exponent(&points(|x, i| 2.0 * x.powf(1.5) * noise(x, i)), 3).unwrap();
        let interval = estimate.interval.unwrap();
        assert!((estimate.value - 1.5).abs() < 0.01, "{estimate:?}");
        assert!(
            interval.low < 1.5 && 1.5 < interval.high && interval.high - interval.low < 0.02,
            "{estimate:?}"
        );
        assert_eq!(exponent(&[(0.0, Sample::new(vec![1.0]).unwrap())], 1), None);
    }

    #[test]
    fn two_sizes_have_a_line_and_no_parabola_and_one_size_has_neither() {
        let all = points(|x, i| x * noise(x, i));
        let two = Growth::of(&all[..2], 1);
        assert!(two.linear.is_some() && two.quadratic.is_none() && two.better == Order::Unclear);
        let one = Growth::of(&all[..1], 1);
        assert_eq!((one.linear, one.better), (None, Order::Unclear));
        assert_eq!(exponent(&all[..1], 1), None);
    }

    #[test]
    fn values_without_noise_are_told_apart_by_which_fit_is_exact() {
        let line = Growth::of(&points(|x, _| 1.0 + 2.0 * x), 1);
        assert_eq!((line.aicc_difference, line.better), (None, Order::Linear));
        let nearly = Growth::of(&points(|x, _| 1.0 + 2.0 * x + 1e-4 * x * x), 1);
        // 6.55 of 519.6 at 256.
        assert_eq!(nearly.better, Order::Linear, "{nearly:?}");
        let parabola = Growth::of(&points(|x, _| 1.0 + 2.0 * x + x * x), 1);
        assert_eq!((parabola.aicc_difference, parabola.better), (None, Order::Quadratic));
    }
}
