//! Time against length: medians per version and T, how the time grows, and the versions against the first.

use super::{SEED, ascending, versions};
use crate::profile::{Finding, FindingCode, LatencyRecord, Manifest, Run};
use crate::stats::{
    CONFIDENCE, ENOUGH_VALUES, Estimate, Growth, Interval, Sample, Summary, exponent, paired_ratio_interval,
    ratio_interval,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the JSON that a [`LatencyReport`] becomes.
pub const LATENCY_SCHEMA_VERSION: u32 = 1;

/// What the figures mean, in the file itself.
const DEFINITIONS: &[(&str, &str)] = &[
    ("tokens", "T: output tokens per sequence, one prefill step and T - 1 decode steps"),
    ("time", "the whole generation, from the prefill's start to output token T; median over repetitions"),
    ("time_per_token_s", "time / T, the prefill included, as the nanoGPT benchmark counts it; not TPOT"),
    ("ttft_s", "the prefill step alone"),
    ("tpot_s", "(time - TTFT) / (T - 1), per repetition, then the median"),
    ("tokens_per_s", "batch x T / time"),
    (
        "growth",
        "weighted least squares of all repetitions, weights 1 / median^2: a + b T, and a + b T + c T^2",
    ),
    (
        "better",
        "quadratic where its AICc is lower by more than 2, the interval of c lies above 0, and c T^2 makes 5 % of the \
         time or more at the largest T; linear where the line's AICc is lower, c may be 0 or c T^2 makes less; else unclear",
    ),
    ("decode_exponent", "slope of ln(time - TTFT) over ln(T - 1): 1 is linear, 2 quadratic"),
    ("interval", "95 % bootstrap (BCa), repetitions resampled within each T"),
];

/// Everything that `kprof latency` reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LatencyReport {
    /// The version of this structure.
    pub schema_version: u32,
    /// The run file.
    pub file: String,
    /// Whether the run came to its end.
    pub complete: bool,
    /// What was run, where and how.
    pub manifest: Option<Manifest>,
    /// What the figures mean.
    pub definitions: BTreeMap<&'static str, &'static str>,
    /// Each version.
    pub versions: Vec<VersionLatency>,
    /// What a reader should know before believing the numbers.
    pub findings: Vec<Finding>,
}

/// One version over all lengths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionLatency {
    /// The version.
    pub version: String,
    /// Its points, by T.
    pub points: Vec<LatencyPoint>,
    /// How the whole time grows with T.
    pub growth: Growth,
    /// The exponent of the decode time over the number of decode steps; of the whole time over T where no record has a
    /// TTFT.
    pub decode_exponent: Option<Estimate>,
}

/// One version at one length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LatencyPoint {
    /// T.
    pub tokens: usize,
    /// The whole time.
    pub time: Summary,
    /// Median time over T.
    pub time_per_token_s: f64,
    /// The median prefill.
    pub ttft_s: Option<f64>,
    /// The median time of a decode step.
    pub tpot_s: Option<f64>,
    /// Tokens of all sequences per second.
    pub tokens_per_s: f64,
    /// The first version's time over this one's; `None` for the first version itself and where it has no such T.
    pub speedup: Option<f64>,
    /// Its interval, by paired repetitions where both have the same.
    pub speedup_interval: Option<Interval>,
}

impl LatencyReport {
    /// Analyses a run; `None` where it has no latencies.
    pub fn new(run: &Run) -> Option<Self> {
        let names = versions(run, run.latencies.iter().map(|l| l.version.as_str()));
        let first = *names.first()?;
        let all: Vec<VersionLatency> = names.iter().map(|name| version(run, name, first)).collect();
        let mut findings = run.findings.clone();
        findings.extend(few(&all));
        Some(Self {
            schema_version: LATENCY_SCHEMA_VERSION,
            file: run.file.clone(),
            complete: run.complete,
            manifest: run.manifest.clone(),
            definitions: DEFINITIONS.iter().copied().collect(),
            versions: all,
            findings,
        })
    }
}

/// The records of a version at a length, by repetition.
fn records<'a>(run: &'a Run, version: &str, tokens: usize) -> Vec<&'a LatencyRecord> {
    let mut found: Vec<&LatencyRecord> =
        run.latencies.iter().filter(|l| l.version == version && l.tokens == tokens).collect();
    found.sort_by_key(|l| l.repetition);
    found
}

fn sample(records: &[&LatencyRecord], value: impl Fn(&LatencyRecord) -> Option<f64>) -> Option<Sample> {
    Sample::new(records.iter().map(|r| value(r)).collect::<Option<_>>()?).ok()
}

fn version(run: &Run, name: &str, first: &str) -> VersionLatency {
    let lengths = ascending(run.latencies.iter().filter(|l| l.version == name).map(|l| l.tokens));
    let points = lengths.iter().filter_map(|t| point(run, name, *t, first)).collect();
    let samples =
        |value: &dyn Fn(&LatencyRecord) -> Option<f64>, x: &dyn Fn(usize) -> f64| -> Vec<(f64, Sample)> {
            lengths.iter().filter_map(|t| Some((x(*t), sample(&records(run, name, *t), value)?))).collect()
        };
    let whole = samples(&|l| Some(l.time_s), &|t| t as f64);
    let decode = samples(&|l| (l.tokens > 1).then_some(l.time_s - l.ttft_s?), &|t| t as f64 - 1.0);
    let of_decode = exponent(&decode, SEED);
    VersionLatency {
        version: name.to_string(),
        points,
        growth: Growth::of(&whole, SEED),
        decode_exponent: if decode.is_empty() { exponent(&whole, SEED) } else { of_decode },
    }
}

fn point(run: &Run, name: &str, tokens: usize, first: &str) -> Option<LatencyPoint> {
    let own = records(run, name, tokens);
    let time = sample(&own, |l| Some(l.time_s))?;
    let batch = own.first().map_or(1, |l| l.batch) as f64;
    let baseline = if name == first { Vec::new() } else { records(run, first, tokens) };
    let of_first = sample(&baseline, |l| Some(l.time_s));
    let same = own.iter().map(|l| l.repetition).eq(baseline.iter().map(|l| l.repetition));
    let interval = |of_first: &Sample| {
        let by = if same { paired_ratio_interval } else { ratio_interval };
        by(of_first, &time, CONFIDENCE, SEED)
    };
    let median = |value: fn(&LatencyRecord) -> Option<f64>| sample(&own, value).map(|s| s.median());
    Some(LatencyPoint {
        tokens,
        time_per_token_s: time.median() / tokens as f64,
        ttft_s: median(|l| l.ttft_s),
        tpot_s: median(LatencyRecord::tpot_s),
        tokens_per_s: batch * tokens as f64 / time.median(),
        speedup: of_first.as_ref().map(|f| f.median() / time.median()),
        speedup_interval: of_first.as_ref().and_then(interval),
        time: time.summary(SEED),
    })
}

/// Under so many repetitions intervals are narrow.
fn few(versions: &[VersionLatency]) -> Option<Finding> {
    let least = versions.iter().flat_map(|v| &v.points).map(|p| p.time.count).min()?;
    if least >= ENOUGH_VALUES {
        return None;
    }
    let message = format!("{least} repetitions: intervals are narrower than they say, or absent");
    let finding = Finding::new(FindingCode::TooFewSamples, "repetitions", message);
    Some(finding.with_remedy(format!("--repetitions {ENOUGH_VALUES} or more")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::profile::TimingMethod;
    use crate::stats::Order;

    /// v0 takes 10 ms + T^2 x 10 us, v1 10 ms + T ms: at T = 10 11 and 20 ms, at 100 110 and 110 ms; noise of 1 %.
    pub(crate) fn latency_run() -> Run {
        let mut run = Run { file: "run.jsonl".into(), complete: true, ..Run::default() };
        for repetition in 0..5 {
            for tokens in [10, 25, 50, 100, 200] {
                let t = tokens as f64;
                for (version, time_s) in [("v0", 0.01 + t * t * 1e-5), ("v1", 0.01 + t * 1e-3)] {
                    let noise = 1.0 + ((repetition * 7 + tokens * 3) % 5) as f64 * 0.004 - 0.008;
                    run.latencies.push(LatencyRecord {
                        version: version.into(),
                        tokens,
                        prompt_length: 4,
                        batch: 2,
                        repetition,
                        time_s: time_s * noise,
                        ttft_s: Some(0.01 * noise),
                        method: TimingMethod::HostClock,
                        summarised: None,
                    });
                }
            }
        }
        run
    }

    #[test]
    fn the_report_tells_a_parabola_from_a_line_and_the_versions_apart() {
        let report = LatencyReport::new(&latency_run()).unwrap();
        let [v0, v1] = &report.versions[..] else { panic!("{report:?}") };
        assert_eq!((v0.growth.better, v1.growth.better), (Order::Quadratic, Order::Linear));
        // The decode time is T^2 over T - 1 steps: a little less than 2; and T over T - 1.
        let exponents = [v0, v1].map(|v| v.decode_exponent.unwrap().value);
        assert!((exponents[0] - 1.94).abs() < 0.05 && (exponents[1] - 0.97).abs() < 0.03, "{exponents:?}");
        let at_200 = &v1.points[4];
        // 410 ms against 210 ms; noise hits both alike, so the pairs agree exactly.
        assert!((at_200.speedup.unwrap() - 410.0 / 210.0).abs() < 1e-9);
        let interval = at_200.speedup_interval.unwrap();
        assert!(interval.high - interval.low < 1e-9, "{interval:?}");
        assert_eq!((v0.points[0].speedup, v0.points[0].tokens), (None, 10));
        assert!((at_200.tokens_per_s - 400.0 / at_200.time.median).abs() < 1e-9);
        assert!(report.findings.is_empty());
    }

    #[test]
    fn a_run_without_latencies_has_no_report_and_few_repetitions_are_said() {
        assert!(LatencyReport::new(&Run::default()).is_none());
        let mut run = latency_run();
        run.latencies.retain(|l| l.repetition < 2);
        let report = LatencyReport::new(&run).unwrap();
        assert_eq!(report.findings[0].code, FindingCode::TooFewSamples);
    }

    #[test]
    fn an_import_without_ttft_has_an_exponent_of_the_whole_time() {
        let mut run = latency_run();
        run.latencies.iter_mut().for_each(|l| l.ttft_s = None);
        let report = LatencyReport::new(&run).unwrap();
        let point = &report.versions[0].points[0];
        assert_eq!((point.ttft_s, point.tpot_s), (None, None));
        // From 11 ms at 10 to 410 ms at 200.
        let exponent = report.versions[0].decode_exponent.unwrap().value;
        assert!((1.0..1.6).contains(&exponent), "{exponent}");
    }
}
