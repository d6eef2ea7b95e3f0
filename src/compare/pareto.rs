//! Latency, cache bytes and perplexity together: which versions no other one beats in one without losing in another.

use super::align::Subject;
use super::quality::{self, Perplexity};
use crate::llm::Stage;
use crate::profile::Run;
use crate::roofline::Durations;
use crate::stats::{CONFIDENCE, Interval, median_interval};
use serde::Serialize;

/// The seed of bootstrap intervals.
const SEED: u64 = 0;

/// One version of one run among the others. A smaller figure is the better one in all three.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParetoPoint {
    /// `run.jsonl:v1`.
    pub name: String,
    /// Seconds of a decode step (TPOT), the median; `None` where there is none.
    pub tpot_s: Option<f64>,
    /// A bootstrap interval for it.
    pub tpot_interval: Option<Interval>,
    /// The KV cache as allocated; `None` where the run does not say.
    pub cache_bytes: Option<f64>,
    /// The perplexity; `None` where the version was not scored.
    pub perplexity: Option<Perplexity>,
    /// The point that beats it, the first if there are several; `None` on the front.
    pub beaten_by: Option<String>,
}

/// The points of `subjects`; `scored` are further runs that have perplexities.
pub fn pareto(subjects: &[Subject<'_>], scored: &[&Run]) -> Vec<ParetoPoint> {
    let mut points: Vec<ParetoPoint> = subjects.iter().map(|s| point(*s, scored)).collect();
    let beaten: Vec<Option<String>> = points
        .iter()
        .map(|p| points.iter().find(|other| beats(other, p)).map(|other| other.name.clone()))
        .collect();
    points.iter_mut().zip(beaten).for_each(|(point, by)| point.beaten_by = by);
    points
}

fn point(subject: Subject<'_>, scored: &[&Run]) -> ParetoPoint {
    let steps = Durations::of_stage(subject.run, subject.version, Stage::Decode).sample();
    let cache = subject.run.caches.iter().rfind(|c| c.version == subject.version);
    let runs: Vec<&Run> = std::iter::once(subject.run).chain(scored.iter().copied()).collect();
    ParetoPoint {
        name: subject.name(),
        tpot_s: steps.as_ref().map(|s| s.median()),
        tpot_interval: steps.as_ref().and_then(|s| median_interval(s, CONFIDENCE, SEED)),
        cache_bytes: cache.map(|c| c.allocated_bytes),
        perplexity: quality::of_version(&runs, subject.version),
        beaten_by: None,
    }
}

/// How a figure stands against another's.
#[derive(Clone, Copy, PartialEq)]
enum Standing {
    Better,
    /// Within each other's uncertainty, or not to be told.
    Alike,
    Worse,
    /// One is not known: then nobody beats anybody.
    Unknown,
}

/// Whether `a` is better than `b` in a figure for certain, and not worse than it in any. What is known of neither is left out;
/// what is known of one alone could be anything of the other.
fn beats(a: &ParetoPoint, b: &ParetoPoint) -> bool {
    let exact = |value: Option<f64>| value.map(|v| (v, v));
    let span = |value: f64, interval: Option<Interval>| interval.map_or((value, value), |i| (i.low, i.high));
    let time = |p: &ParetoPoint| p.tpot_s.map(|t| span(t, p.tpot_interval));
    let loss = |p: &ParetoPoint| p.perplexity.map(|q| span(q.value, q.interval));
    let standings = [
        standing(time(a), time(b)),
        standing(exact(a.cache_bytes), exact(b.cache_bytes)),
        standing(loss(a), loss(b)),
    ];
    let known: Vec<Standing> = standings.into_iter().flatten().collect();
    known.contains(&Standing::Better) && known.iter().all(|s| matches!(s, Standing::Better | Standing::Alike))
}

fn standing(a: Option<(f64, f64)>, b: Option<(f64, f64)>) -> Option<Standing> {
    match (a, b) {
        (None, None) => None,
        (Some(a), Some(b)) if a.1 < b.0 => Some(Standing::Better),
        (Some(a), Some(b)) if a.0 > b.1 => Some(Standing::Worse),
        (Some(_), Some(_)) => Some(Standing::Alike),
        _ => Some(Standing::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::super::quality::tests::scored;
    use super::*;
    use crate::roofline::samples::phase_run;

    #[test]
    fn the_front_has_what_no_other_beats() {
        let run = phase_run();
        let of = |version| Subject { run: &run, version };
        // v1 is twice as fast; v0 has no cache. Neither beats the other.
        let points = pareto(&[of("v0"), of("v1")], &[]);
        assert!(points.iter().all(|p| p.beaten_by.is_none() && p.perplexity.is_none()));
        assert_eq!((points[0].cache_bytes, points[1].cache_bytes), (Some(0.0), Some(4096.0)));
        // Where v1's cache is as small, v1 beats v0, unless it is scored worse, or only one of them is scored.
        let mut small = phase_run();
        small.caches.iter_mut().for_each(|c| c.allocated_bytes = 0.0);
        let of = |version| Subject { run: &small, version };
        let beaten = |runs: &[&Run]| pareto(&[of("v0"), of("v1")], runs)[0].beaten_by.clone();
        assert_eq!(beaten(&[]), Some("run.jsonl:v1".to_string()));
        assert_eq!(beaten(&[&scored(&[("v0", 20.0), ("v1", 20.0)])]), Some("run.jsonl:v1".to_string()));
        assert_eq!(beaten(&[&scored(&[("v0", 20.0), ("v1", 30.0)])]), None);
        assert_eq!(beaten(&[&scored(&[("v1", 30.0)])]), None);
    }
}
