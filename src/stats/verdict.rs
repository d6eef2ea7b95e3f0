//! What an interval allows to say of a change.

use super::Interval;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is said of a change in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The whole interval lies within the threshold.
    Same,
    /// The whole interval lies beyond the threshold, on the side of less time.
    Faster,
    /// The whole interval lies beyond the threshold, on the side of more time.
    Slower,
    /// The interval crosses a threshold, or there is none to be had.
    Unclear,
}

impl Verdict {
    /// The verdict for an interval of old time / new time. With a threshold of t, a change counts from new = old (1 + t)
    /// on, and in the other direction from old = new (1 + t) on.
    pub fn of_speedup(interval: Option<Interval>, threshold: f64) -> Self {
        let Some(interval) = interval else { return Self::Unclear };
        let (low, high) = (1.0 / (1.0 + threshold), 1.0 + threshold);
        match interval {
            i if i.low > high => Self::Faster,
            i if i.high < low => Self::Slower,
            i if i.low >= low && i.high <= high => Self::Same,
            _ => Self::Unclear,
        }
    }

    /// The word in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Unclear => "unclear",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_the_whole_interval_on_one_side() {
        let of =
            |low: f64, high: f64| Verdict::of_speedup(Some(Interval { low, high, confidence: 0.95 }), 0.05);
        assert_eq!(of(1.06, 1.2), Verdict::Faster);
        assert_eq!(of(1.04, 1.2), Verdict::Unclear);
        assert_eq!(of(0.96, 1.04), Verdict::Same);
        // 1 / 1.05 = 0.952.
        assert_eq!(of(0.8, 0.95), Verdict::Slower);
        assert_eq!(of(0.8, 0.96), Verdict::Unclear);
        assert_eq!(Verdict::of_speedup(None, 0.05), Verdict::Unclear);
    }

    #[test]
    fn equal_times_are_the_same_even_without_a_threshold() {
        let point = Interval { low: 1.0, high: 1.0, confidence: 0.95 };
        assert_eq!(Verdict::of_speedup(Some(point), 0.0), Verdict::Same);
    }
}
