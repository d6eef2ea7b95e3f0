//! Perplexity of versions, and what it changed by: from the quality records of the runs at hand.

use crate::profile::{QualityRecord, Run, perplexity};
use crate::stats::{CONFIDENCE, Interval, Sample, mean_interval};
use serde::Serialize;

/// The seed of bootstrap intervals.
const SEED: u64 = 0;
/// Segments are scored each from an empty cache, so they vary independently; fewer bear no interval.
const ENOUGH_SEGMENTS: usize = 5;

/// A perplexity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Perplexity {
    /// exp of the mean of -ln p over all scored tokens.
    pub value: f64,
    /// exp of the BCa interval of the mean over segments; `None` under 5 segments.
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
    /// exp of the BCa interval of the mean difference over segments that both scored; `None` under 5 segments.
    pub interval: Option<Interval>,
}

/// The records of `version` in the first of `runs` that has any.
fn records<'a>(runs: &[&'a Run], version: &str) -> Vec<&'a QualityRecord> {
    let of = |run: &&'a Run| run.qualities.iter().filter(|q| q.version == version).collect::<Vec<_>>();
    runs.iter().map(of).find(|found| !found.is_empty()).unwrap_or_default()
}

/// The perplexity of `version`; `None` where none of `runs` scored it.
pub(super) fn of_version(runs: &[&Run], version: &str) -> Option<Perplexity> {
    let records = records(runs, version);
    let value = perplexity(records.iter().flat_map(|q| &q.nll_nat))?;
    let means = records.iter().filter_map(|q| mean(&q.nll_nat)).collect();
    Some(Perplexity { value, interval: interval(means) })
}

/// What it changed by; `None` where one side was not scored, or on another text.
pub(super) fn change(old: (&[&Run], &str), new: (&[&Run], &str)) -> Option<PerplexityChange> {
    let (before, after) = (records(old.0, old.1), records(new.0, new.1));
    let tokens = |q: &QualityRecord| (q.segment, q.first_token, q.nll_nat.len());
    let same_text =
        before.len() == after.len() && before.iter().zip(&after).all(|(a, b)| tokens(a) == tokens(b));
    if !same_text {
        return None;
    }
    let value = |records: &[&QualityRecord]| perplexity(records.iter().flat_map(|q| &q.nll_nat));
    let (old, new) = (value(&before)?, value(&after)?);
    let differences =
        before.iter().zip(&after).filter_map(|(a, b)| Some(mean(&b.nll_nat)? - mean(&a.nll_nat)?));
    Some(PerplexityChange { old, new, ratio: new / old, interval: interval(differences.collect()) })
}

fn mean(values: &[f64]) -> Option<f64> {
    Sample::new(values.to_vec()).ok().map(|s| s.mean())
}

/// exp of the interval of the mean.
fn interval(means: Vec<f64>) -> Option<Interval> {
    let sample = Sample::new(means).ok().filter(|s| s.count() >= ENOUGH_SEGMENTS)?;
    let of_mean = mean_interval(&sample, CONFIDENCE, SEED)?;
    Some(Interval { low: of_mean.low.exp(), high: of_mean.high.exp(), ..of_mean })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A run in which every version's tokens all have its probability, in six segments of ten tokens.
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
            |(version, value): &(&str, f64)| (0..6).map(|s| record(version, *value, s)).collect::<Vec<_>>();
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
        // The mean wobble is 0.025.
        assert!((found.old - 20.0 * 0.025f64.exp()).abs() < 1e-9);
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
