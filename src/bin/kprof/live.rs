//! What progress says of the times so far: their median, and how well it is known.

use kprof::llm::Stage;
use kprof::profile::{DecodePointRecord, LatencyRecord, Record, Twin};
use kprof::runner::Progress;
use kprof::units::Seconds;
use std::cell::RefCell;
use std::collections::HashMap;

/// Times by what they are of, as progress calls it; shared by what records and what tells of progress.
#[derive(Debug, Default)]
pub(crate) struct Live {
    times: RefCell<HashMap<String, Series>>,
}

#[derive(Debug)]
struct Series {
    stage: Option<Stage>,
    /// In ascending order.
    sorted: Vec<f64>,
}

/// The middle of a 95 % interval's half width in ranks: 1.96 standard deviations of a binomial with p = 1/2.
const HALF_WIDTH: f64 = 0.98;

impl Live {
    /// Takes the time of a record that has one: plain decode steps (of a prefill alone, that) by version, generations by
    /// length, decode steps by batch and context.
    pub(crate) fn see(&self, record: &Record) {
        match record {
            Record::Step(step) if step.twin == Twin::Plain => {
                self.add(step.version.clone(), Some(step.stage), step.time_s);
            }
            Record::Latency(l) => self.add(LatencyRecord::lane(&l.version, l.tokens), None, l.time_s),
            Record::DecodePoint(p) => {
                self.add(DecodePointRecord::lane(&p.version, p.batch, p.context), None, p.time_s);
            }
            _ => {}
        }
    }

    fn add(&self, lane: String, stage: Option<Stage>, time_s: f64) {
        let mut times = self.times.borrow_mut();
        let series = times.entry(lane).or_insert(Series { stage, sorted: Vec::new() });
        if series.stage != stage {
            // Decode steps say more than the prefill before them.
            if stage == Some(Stage::Prefill) {
                return;
            }
            *series = Series { stage, sorted: Vec::new() };
        }
        let at = series.sorted.partition_point(|t| *t < time_s);
        series.sorted.insert(at, time_s);
    }

    /// `v1 warm-up  3/40  decode 3.21 ms ±0.4 %  2 s  at most 9 s left`: what is measured, how far it is, its median so far.
    pub(crate) fn describe(&self, p: &Progress<'_>, max_time_s: Option<f64>) -> String {
        let what = match p.twin {
            None => " warm-up",
            Some(Twin::Plain) => "",
            Some(Twin::Instrumented) => " instrumented",
        };
        let left = if p.done > 0 && p.total > p.done {
            let by_count = p.elapsed_s / p.done as f64 * (p.total - p.done) as f64;
            let by_time = max_time_s.map_or(f64::INFINITY, |max| (max - p.elapsed_s).max(0.0));
            format!("  at most {:.0} s left", by_count.min(by_time))
        } else {
            String::new()
        };
        let times = self.of(p.version);
        format!("{}{what}  {}/{}{times}  {:.0} s{left}", p.version, p.done + 1, p.total, p.elapsed_s)
    }

    /// `  decode 3.21 ms ±0.4 %`: the median, and half the width of the 95 % interval that ranks give for it (Conover
    /// 1999, section 3.2); nothing before a time is known, no width before there are six.
    pub(crate) fn of(&self, lane: &str) -> String {
        let times = self.times.borrow();
        let Some(Series { stage, sorted }) = times.get(lane).filter(|s| !s.sorted.is_empty()) else {
            return String::new();
        };
        let what = stage.map_or("median", Stage::name);
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
            live.add("v1".into(), Some(Stage::Decode), time);
        }
        assert_eq!(live.of("v1"), "  decode 2.00 ms");
        for time in [2e-3, 2e-3, 2e-3, 2e-3] {
            live.add("v1".into(), Some(Stage::Decode), time);
        }
        // Seven values, ranks 0.9 to 6.1: from the first to the last, 1 to 3 ms.
        assert_eq!(live.of("v1"), "  decode 2.00 ms ±50.0 %");
        assert_eq!(live.of("v2"), "");
    }

    #[test]
    fn a_prefill_does_not_take_the_place_of_decode_steps_and_lengths_are_apart() {
        let live = Live::default();
        live.add("v1".into(), Some(Stage::Prefill), 9.0);
        assert_eq!(live.of("v1"), "  prefill 9.00 s");
        live.add("v1".into(), Some(Stage::Decode), 1.0);
        live.add("v1".into(), Some(Stage::Prefill), 9.0);
        assert_eq!(live.of("v1"), "  decode 1.00 s");
        live.add(LatencyRecord::lane("v1", 64), None, 5.0);
        assert_eq!(live.of("v1 T=64"), "  median 5.00 s");
    }

    #[test]
    fn what_is_left_is_bounded_by_the_count_and_by_the_time() {
        let live = Live::default();
        live.add("v1".into(), Some(Stage::Decode), 0.5);
        let at = |twin, done| Progress { version: "v1", twin, done, total: 40, elapsed_s: 10.0 };
        let said = live.describe(&at(Some(Twin::Plain), 10), None);
        assert_eq!(said, "v1  11/40  decode 500 ms  10 s  at most 30 s left");
        assert!(live.describe(&at(None, 10), Some(25.0)).ends_with("10 s  at most 15 s left"));
        assert_eq!(live.describe(&at(None, 0), Some(25.0)), "v1 warm-up  1/40  decode 500 ms  10 s");
    }
}
