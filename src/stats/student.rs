//! Student's t distribution: the quantile that a two-sided interval is made of.

use std::f64::consts::FRAC_PI_2;

/// The value that a t-distributed one with `dof` degrees of freedom (at least 1) is below with probability `p`, for
/// 0.5 <= p < 1: the root of [`cdf`] by bisection.
pub(super) fn quantile(p: f64, dof: usize) -> f64 {
    let mut high = 1.0;
    while cdf(high, dof) < p && high < 1e15 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if cdf(middle, dof) < p { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The probability that a t-distributed value is below `t` >= 0, by the finite sums for whole degrees of freedom
/// (Abramowitz and Stegun 26.7.3 and 26.7.4): with a = atan(t / sqrt(dof)), A = sin a (1 + cos^2 a / 2 + (1 x 3) / (2 x 4)
/// cos^4 a + ...) for even ones, 2 / pi (a + sin a (cos a + 2 / 3 cos^3 a + ...)) for odd ones, and the probability
/// is (1 + A) / 2.
fn cdf(t: f64, dof: usize) -> f64 {
    let angle = (t / (dof as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let is_odd = dof % 2 == 1;
    let (mut term, mut sum) = if is_odd { (cos, if dof > 1 { cos } else { 0.0 }) } else { (1.0, 1.0) };
    // Odd: the powers are 1, 3, ..., dof - 2, each k/(k+1) cos^2 times the one before; even: 0, 2, ..., dof - 2.
    let mut k = if is_odd { 2.0 } else { 1.0 };
    while k < dof as f64 - 1.0 {
        term *= k / (k + 1.0) * cos * cos;
        sum += term;
        k += 2.0;
    }
    let both_sides = if is_odd { (angle + sin * sum) / FRAC_PI_2 } else { sin * sum };
    (1.0 + both_sides) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_scipy() {
        // scipy 1.17.1: [t.ppf(.975, d) for d in (1, 2, 3, 4, 5, 8, 9, 18, 30)]
        let expected = [
            (1, 12.706204736174694),
            (2, 4.302652729749462),
            (3, 3.1824463052837078),
            (4, 2.7764451051977934),
            (5, 2.5705818356363146),
            (8, 2.306004135204166),
            (9, 2.262157162798205),
            (18, 2.1009220402410382),
            (30, 2.0422724563012378),
        ];
        for (dof, expected) in expected {
            let found = quantile(0.975, dof);
            assert!((found - expected).abs() < 1e-8, "{dof}: {found} is not {expected}");
        }
        assert!((quantile(0.95, 7) - 1.8945786050900062).abs() < 1e-8);
    }
}
