//! Axes: values to pixels, ticks, and one prefix for all of an axis.

/// A logarithmic axis over whole decades.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LogAxis {
    /// The exponents of its ends.
    low: i32,
    high: i32,
    /// The pixels of its ends.
    from: f64,
    to: f64,
}

impl LogAxis {
    /// An axis of whole decades that holds `values`, at least `decades` of them.
    pub(super) fn over(values: &[f64], decades: i32, from: f64, to: f64) -> Self {
        let logs = || values.iter().filter(|v| v.is_finite() && **v > 0.0).map(|v| v.log10());
        let (least, most) = (logs().fold(f64::INFINITY, f64::min), logs().fold(f64::NEG_INFINITY, f64::max));
        let (least, most) = if least <= most { (least, most) } else { (0.0, 0.0) };
        // A tenth of a decade of air, so that no marker sits on the frame.
        let (mut low, mut high) = ((least - 0.1).floor() as i32, (most + 0.1).ceil() as i32);
        while high - low < decades {
            if (high - low) % 2 == 0 { high += 1 } else { low -= 1 }
        }
        Self { low, high, from, to }
    }

    /// The value at the lower end.
    pub(super) fn min(&self) -> f64 {
        10f64.powi(self.low)
    }

    /// The value at the upper end.
    pub(super) fn max(&self) -> f64 {
        10f64.powi(self.high)
    }

    /// Where a value is; beyond the ends for values beyond them.
    pub(super) fn pixel(&self, value: f64) -> f64 {
        let t = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.from + t * (self.to - self.from)
    }

    pub(super) fn contains(&self, value: f64) -> bool {
        value >= self.min() && value <= self.max()
    }

    /// The decades, which get a label.
    pub(super) fn ticks(&self) -> Vec<f64> {
        (self.low..=self.high).map(|e| 10f64.powi(e)).collect()
    }

    /// 2, 3, … 9 times each decade; none where they would be a grey mass.
    pub(super) fn minor_ticks(&self) -> Vec<f64> {
        if self.high - self.low > 7 {
            return Vec::new();
        }
        (self.low..self.high).flat_map(|e| (2..10).map(move |m| f64::from(m) * 10f64.powi(e))).collect()
    }

    /// The middle, as a value: what the axis's prefix is chosen by.
    pub(super) fn middle(&self) -> f64 {
        10f64.powf(f64::from(self.low + self.high) / 2.0)
    }
}

/// `1`, `10`, `0.01`; an exponent only where a plain number would be long.
pub(super) fn tick_label(value: f64) -> String {
    let exponent = value.log10().round() as i32;
    match exponent {
        0..=5 => format!("{value:.0}"),
        -4..=-1 => format!("{value:.*}", exponent.unsigned_abs() as usize),
        _ => format!("1e{exponent}"),
    }
}

/// Round steps of a linear axis from 0 to at least `most`: 1, 2 or 5 times a power of ten, about six of them.
pub(super) fn linear_ticks(most: f64) -> Vec<f64> {
    if !(most.is_finite() && most > 0.0) {
        return vec![0.0, 1.0];
    }
    let rough = most / 6.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(rough);
    (0..=(most / step).ceil() as i32).map(|i| f64::from(i) * step).collect()
}

/// Round steps that enclose both, at most `most` steps where that can be had, with the decimals that tell them apart.
pub(super) fn nice_ticks(low: f64, high: f64, most: usize) -> (Vec<f64>, usize) {
    let (low, high) = if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
    // Values that are all the same get room on both sides.
    let room = if low == 0.0 { 1.0 } else { 0.1 * low.abs() };
    let (low, high) = if high > low { (low, high) } else { (low - room * f64::from(low != 0.0), low + room) };
    let rough = (high - low) / most.max(1) as f64;
    let power = 10f64.powi(rough.log10().floor() as i32);
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0].into_iter().map(|m| m * power);
    let ends = |step: f64| ((low / step + 1e-9).floor() as i64, (high / step - 1e-9).ceil() as i64);
    let fits = |step: &f64| (ends(*step).1 - ends(*step).0) as usize <= most.max(1);
    let step = steps.clone().find(fits).unwrap_or(10.0 * power);
    let (first, last) = ends(step);
    let decimals = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
    ((first..=last.max(first + 1)).map(|i| i as f64 * step).collect(), decimals)
}

/// The ends of a logarithmic axis, 1, 2 or 5 times a power of ten, and its ticks: all of those between the ends, or of them
/// so many that there are about `most`: decades, then every other decade, and so on.
pub(super) fn log_ticks(low: f64, high: f64, most: usize) -> (f64, f64, Vec<f64>) {
    let usable = |v: f64| v.is_finite() && v > 0.0;
    let (low, high) = if usable(low) && usable(high) { (low, high.max(low)) } else { (1.0, 10.0) };
    let (from, to) = ((low.log10() + 1e-9).floor() as i32, (high.log10() - 1e-9).ceil() as i32);
    let to = to.max(from + 1);
    // From text, so that each is the number that is nearest to it.
    let tick = |m: i32, e: i32| format!("{m}e{e}").parse::<f64>().unwrap_or(f64::NAN);
    let fine: Vec<f64> = (from..=to).flat_map(|e| [1, 2, 5].map(|m| tick(m, e))).collect();
    let first = fine.iter().rposition(|t| *t <= low * (1.0 + 1e-9)).unwrap_or(0);
    let last = fine.iter().position(|t| *t >= high * (1.0 - 1e-9)).unwrap_or(fine.len() - 1).max(first + 1);
    let (low, high) = (fine[first], fine[last]);
    if last - first <= most {
        return (low, high, fine[first..=last].to_vec());
    }
    let decades: Vec<f64> = (from..=to).map(|e| tick(1, e)).filter(|t| (low..=high).contains(t)).collect();
    let every = decades.len().div_ceil(most.max(1)).max(1);
    (low, high, decades.into_iter().step_by(every).collect())
}

/// Where `value` is on an axis that is linear up to `linear` on both sides of 0, which is 1 away from it, and logarithmic
/// beyond: sign(v) (1 + log10(|v| / linear)).
pub(super) fn symlog(value: f64, linear: f64) -> f64 {
    let times = value.abs() / linear;
    value.signum() * if times <= 1.0 { times } else { 1.0 + times.log10() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_axis_spans_whole_decades_around_its_values() {
        let axis = LogAxis::over(&[3.0, 250.0], 2, 0.0, 300.0);
        assert_eq!((axis.min(), axis.max()), (1.0, 1000.0));
        assert!((axis.pixel(10.0) - 100.0).abs() < 1e-9);
        assert_eq!(axis.ticks(), [1.0, 10.0, 100.0, 1000.0]);
        assert!(axis.contains(1.0) && !axis.contains(0.5));
    }

    #[test]
    fn one_value_or_none_still_gives_an_axis() {
        let axis = LogAxis::over(&[5.0], 4, 0.0, 1.0);
        assert_eq!((axis.max() / axis.min()).log10().round() as i32, 4);
        assert!(LogAxis::over(&[], 2, 0.0, 1.0).max() > 1.0);
    }

    #[test]
    fn tick_labels_are_plain_numbers_where_short() {
        let labels: Vec<String> = [0.001, 0.1, 1.0, 1000.0, 1e7].map(tick_label).to_vec();
        assert_eq!(labels, ["0.001", "0.1", "1", "1000", "1e7"]);
    }

    #[test]
    fn nice_ticks_enclose_what_they_are_for() {
        assert_eq!(nice_ticks(0.0, 9.3, 5), (vec![0.0, 2.0, 4.0, 6.0, 8.0, 10.0], 0));
        assert_eq!(nice_ticks(3.21, 3.29, 4).0.first(), Some(&3.2));
        assert_eq!(nice_ticks(3.21, 3.29, 4).1, 2);
        let (ticks, _) = nice_ticks(5.0, 5.0, 4);
        assert!(ticks[0] < 5.0 && *ticks.last().unwrap() > 5.0, "{ticks:?}");
        assert!(nice_ticks(0.0, 0.0, 4).0.len() > 1);
        assert!(nice_ticks(f64::INFINITY, f64::NEG_INFINITY, 4).0.len() > 1);
    }

    #[test]
    fn logarithmic_ticks_enclose_what_they_are_for() {
        assert_eq!(log_ticks(22.5, 989.0, 8), (20.0, 1000.0, vec![20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]));
        assert_eq!(log_ticks(0.09, 8.7, 3), (0.05, 10.0, vec![0.1, 1.0, 10.0]));
        assert_eq!(log_ticks(0.3, 0.3, 8), (0.2, 0.5, vec![0.2, 0.5]));
        assert_eq!(log_ticks(1.0, 1e9, 5).2, [1.0, 1e2, 1e4, 1e6, 1e8]);
        assert!(log_ticks(f64::INFINITY, 0.0, 4).2.len() > 1);
    }

    #[test]
    fn a_symmetric_logarithm_is_linear_near_0_and_has_a_place_for_each_decade() {
        let places = [0.0, 0.05, 0.1, 1.0, 100.0, -10.0].map(|v| symlog(v, 0.1));
        for (place, expected) in places.iter().zip([0.0, 0.5, 1.0, 2.0, 4.0, -3.0]) {
            assert!((place - expected).abs() < 1e-12, "{places:?}");
        }
    }

    #[test]
    fn linear_ticks_are_round_and_reach_the_top() {
        assert_eq!(linear_ticks(9.3), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(linear_ticks(0.0), [0.0, 1.0]);
    }
}
