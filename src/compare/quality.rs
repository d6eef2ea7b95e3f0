//! Perplexity of versions, and what it changed by: from the quality records of the runs at hand.

use super::nll;
use crate::profile::{QualityRecord, Run};
use crate::stats::Interval;
use serde::Serialize;

/// A perplexity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Perplexity {
    /// exp of the mean of -ln p over all scored tokens.
    pub value: f64,
    /// exp of the BCa interval of that mean, by blocks of tokens; `None` with too few of them.
    pub interval: Option<Interval>,
}

/// A perplexity before and after.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PerplexityChange {
    /// Before.
    pub old: f64,
    /// After.
    pub new: f64,
    /// After / before.
    pub ratio: f64,
    /// exp of the BCa interval of the mean difference, by the same blocks on both sides; `None` with too few of them.
    pub interval: Option<Interval>,
}

/// The records of `version` in the first of `runs` that has any.
fn records<'a>(runs: &[&'a Run], version: &str) -> Vec<&'a QualityRecord> {
    runs.iter().map(|run| nll::records(run, version)).find(|found| !found.is_empty()).unwrap_or_default()
}

/// The perplexity of `version`; `None` where none of `runs` scored it.
pub(super) fn of_version(runs: &[&Run], version: &str) -> Option<Perplexity> {
    let records = records(runs, version);
    let value = nll::mean_nll(&records)?.exp();
    Some(Perplexity { value, interval: nll::nll_interval(&records).map(exp) })
}

/// What it changed by; `None` where one side was not scored, or on another text.
pub(super) fn change(old: (&[&Run], &str), new: (&[&Run], &str)) -> Option<PerplexityChange> {
    let (before, after) = (records(old.0, old.1), records(new.0, new.1));
    let tokens = |q: &QualityRecord| (q.segment, q.first_token, q.nll_nat.len(), q.mean_of);
    let same_text =
        before.len() == after.len() && before.iter().zip(&after).all(|(a, b)| tokens(a) == tokens(b));
    if !same_text {
        return None;
    }
    let difference = nll::difference(&before, &after)?;
    Some(PerplexityChange {
        old: nll::mean_nll(&before)?.exp(),
        new: nll::mean_nll(&after)?.exp(),
        ratio: difference.mean.exp(),
        interval: difference.interval.map(exp),
    })
}

/// exp of both ends.
fn exp(of_mean: Interval) -> Interval {
    Interval { low: of_mean.low.exp(), high: of_mean.high.exp(), ..of_mean }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A run in which every version's tokens all have its probability, in twelve segments of ten tokens.
    pub(in crate::compare) fn scored(versions: &[(&str, f64)]) -> Run {
        let record = |version: &str, perplexity: f64, segment: usize| {
            let wobble = 0.01 * segment as f64;
            let json = serde_json::json!({
                "version": version, "segment": segment, "first_token": 10 * segment,
                "nll_nat": vec![perplexity.ln() + wobble; 10],
            });
            serde_json::from_value::<QualityRecord>(json).unwrap()
        };
        let of =
            |(version, value): &(&str, f64)| (0..12).map(|s| record(version, *value, s)).collect::<Vec<_>>();
        Run {
            file: "quality.jsonl".into(),
            qualities: versions.iter().flat_map(of).collect(),
            ..Run::default()
        }
    }

    #[test]
    fn the_change_is_paired_by_segment_so_that_what_the_text_does_cancels() {
        let run = scored(&[("v1", 20.0), ("v2", 21.0)]);
        let found = change((&[&run], "v1"), (&[&run], "v2")).unwrap();
        // The mean wobble is 0.055.
        assert!((found.old - 20.0 * 0.055f64.exp()).abs() < 1e-9);
        assert!((found.ratio - 1.05).abs() < 1e-12);
        let interval = found.interval.unwrap();
        assert!((interval.low - 1.05).abs() < 1e-9 && (interval.high - 1.05).abs() < 1e-9, "{interval:?}");
        let alone = of_version(&[&run], "v1").unwrap();
        assert!(alone.interval.is_some_and(|i| i.low < alone.value && alone.value < i.high), "{alone:?}");
    }

    #[test]
    fn what_was_not_scored_or_on_another_text_has_no_change() {
        let mut run = scored(&[("v1", 20.0), ("v2", 21.0)]);
        assert_eq!(change((&[&run], "v1"), (&[&run], "v3")), None);
        run.qualities.pop();
        assert_eq!(change((&[&run], "v1"), (&[&run], "v2")), None);
        assert_eq!(of_version(&[], "v1"), None);
    }
}
