//! What progress says of the times so far: their median, and how well it is known.

use kprof::llm::Stage;
use kprof::profile::{Record, Twin};
use kprof::units::Seconds;
use std::cell::RefCell;
use std::collections::HashMap;

/// Times by what they are of; it is shared by what records and what tells of progress.
#[derive(Debug, Default)]
pub(crate) struct Live {
    times: RefCell<HashMap<String, Series>>,
}

#[derive(Debug, Default)]
struct Series {
    what: String,
    /// In ascending order.
    sorted: Vec<f64>,
}

/// The middle of a 95 % interval's half width in ranks: 1.96 standard deviations of a binomial with p = 1/2.
const HALF_WIDTH: f64 = 0.98;

impl Live {
    /// Takes the time of a record that has one: plain decode steps (of a prefill alone, that), and generations by length.
    pub(crate) fn see(&self, record: &Record) {
        match record {
            Record::Step(step) if step.twin == Twin::Plain => {
                self.add(&step.version, step.stage.to_string(), step.time_s);
            }
            Record::Latency(l) => self.add(&l.version, format!("T={}", l.tokens), l.time_s),
            _ => {}
        }
    }

    fn add(&self, version: &str, what: String, time_s: f64) {
        let mut times = self.times.borrow_mut();
        let series = times.entry(version.to_string()).or_default();
        // Decode steps say more than the prefill before them; generations of another length are another thing.
        if series.what == Stage::Decode.to_string() && what == Stage::Prefill.to_string() {
            return;
        }
        if series.what != what {
            *series = Series { what, sorted: Vec::new() };
        }
        let at = series.sorted.partition_point(|t| *t < time_s);
        series.sorted.insert(at, time_s);
    }

    /// `  decode 3.21 ms ±0.4 %`: the median, and half the width of the 95 % interval that ranks give for it (Conover
    /// 1999, section 3.2); nothing before a time is known, no width before there are six.
    pub(crate) fn of(&self, version: &str) -> String {
        let times = self.times.borrow();
        let Some(Series { what, sorted }) = times.get(version).filter(|s| !s.sorted.is_empty()) else {
            return String::new();
        };
        let n = sorted.len();
        let median = f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]);
        let reach = HALF_WIDTH * (n as f64).sqrt();
        let (low, high) = (n as f64 / 2.0 - reach, n as f64 / 2.0 + reach);
        let width = (low >= 0.0).then(|| {
            let (low, high) = (sorted[low as usize], sorted[(high.ceil() as usize).min(n - 1)]);
            format!(" ±{:.1} %", 50.0 * (high - low) / median)
        });
        format!("  {what} {}{}", Seconds(median), width.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_gets_a_width_once_there_are_six_values() {
        let live = Live::default();
        assert_eq!(live.of("v1"), "");
        for time in [3e-3, 1e-3, 2e-3] {
            live.add("v1", "decode".into(), time);
        }
        assert_eq!(live.of("v1"), "  decode 2.00 ms");
        for time in [2e-3, 2e-3, 2e-3, 2e-3] {
            live.add("v1", "decode".into(), time);
        }
        // Seven values, ranks 0.9 to 6.1: from the first to the last, 1 to 3 ms.
        assert_eq!(live.of("v1"), "  decode 2.00 ms ±50.0 %");
        assert_eq!(live.of("v2"), "");
    }

    #[test]
    fn a_prefill_does_not_take_the_place_of_decode_steps_and_a_new_length_begins_anew() {
        let live = Live::default();
        live.add("v1", "prefill".into(), 9.0);
        assert_eq!(live.of("v1"), "  prefill 9.00 s");
        live.add("v1", "decode".into(), 1.0);
        live.add("v1", "prefill".into(), 9.0);
        assert_eq!(live.of("v1"), "  decode 1.00 s");
        live.add("v1", "T=64".into(), 5.0);
        assert_eq!(live.of("v1"), "  T=64 5.00 s");
    }
}
