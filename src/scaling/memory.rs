//! Bytes against length: what generations held by version and T, against theory and against v1, and how it grows.

use super::{SEED, ascending, versions};
use crate::profile::{Accounted, Finding, Manifest, MemoryRecord, Run};
use crate::stats::{Growth, Sample};
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the JSON that a [`MemoryReport`] becomes.
pub const MEMORY_SCHEMA_VERSION: u32 = 1;

/// What the figures mean, in the file itself.
const DEFINITIONS: &[(&str, &str)] = &[
    ("tokens", "T: output tokens per sequence; prompt + T - 1 of a sequence are cached at the end"),
    ("peak", "the most at any time of the generation: weights, caches, activations"),
    ("weights", "what the process holds once the model is loaded"),
    (
        "cache_theoretical",
        "2 x caching layers x kv_heads x head_dim x element bits / 8 x tokens x batch, and the scales",
    ),
    ("cache_allocated", "the caches as they were asked for, capacity, padding and whole huge pages included"),
    ("cache_touched", "what of the caches stands in pages that the system gave memory to, at the end"),
    ("activations", "peak - weights - caches; kprof's own records among them, some KB"),
    ("above_weights", "peak - weights: what the nanoGPT benchmark calls peak_activation_bytes"),
    ("resident_peak", "the process's resident set at most, the program and its libraries included"),
    ("cache_per_token", "the slope of the cache over T, for all sequences, by least squares"),
    (
        "smaller",
        "the theoretical or allocated cache of v1 (or of the first version with a cache) over this one's",
    ),
];

/// Everything that `kprof memory` reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryReport {
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
    /// The parameters as they are stored, by the shapes; `None` for an import.
    pub theoretical_weight_bytes: Option<f64>,
    /// The version that caches are compared with.
    pub cache_baseline: Option<String>,
    /// Each version.
    pub versions: Vec<VersionMemory>,
    /// What a reader should know before believing the numbers.
    pub findings: Vec<Finding>,
}

/// One version over all lengths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionMemory {
    /// The version.
    pub version: String,
    /// Its points, by T.
    pub points: Vec<MemoryPoint>,
    /// Bytes that a further token adds to the cache of all sequences.
    pub cache_per_token: PerToken,
}

/// Bytes of a further token of all sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PerToken {
    /// Of the theoretical cache.
    pub theoretical_bytes: Option<f64>,
    /// Of the allocated cache.
    pub allocated_bytes: Option<f64>,
    /// Of the peak.
    pub peak_bytes: Option<f64>,
}

/// One version at one length. Of several repetitions, the one with the largest peak.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryPoint {
    /// What was recorded.
    #[serde(flatten)]
    pub record: MemoryRecord,
    /// How much smaller the cache is than the baseline's at the same T, in theory.
    pub smaller_theoretical: Option<f64>,
    /// The same as allocated.
    pub smaller_allocated: Option<f64>,
    /// How many repetitions there were.
    pub repetitions: usize,
    /// Whether every repetition had the same peak.
    pub repeats_exactly: bool,
}

impl MemoryReport {
    /// Analyses a run; `None` where it has no memory records.
    pub fn new(run: &Run) -> Option<Self> {
        let names = versions(run, run.memory.iter().map(|m| m.version.as_str()));
        names.first()?;
        let has_cache = |name: &&&str| {
            run.memory
                .iter()
                .any(|m| m.version == **name && m.cache_theoretical.is_some_and(|c| c.bytes > 0.0))
        };
        let baseline =
            names.iter().find(|n| **n == "v1").filter(has_cache).or_else(|| names.iter().find(has_cache));
        let config = run.manifest.as_ref().and_then(|m| m.config.as_ref());
        let weights = config.map(|c| {
            let stored = c.weight_format.unwrap_or(crate::llm::WeightFormat::plain(c.dtype));
            let deployment = crate::llm::Deployment::new(stored);
            c.model.weight_bytes(&crate::llm::Deployment { activations: c.dtype, ..deployment }).0
        });
        Some(Self {
            schema_version: MEMORY_SCHEMA_VERSION,
            file: run.file.clone(),
            complete: run.complete,
            manifest: run.manifest.clone(),
            definitions: DEFINITIONS.iter().copied().collect(),
            theoretical_weight_bytes: weights,
            cache_baseline: baseline.map(|name| (*name).to_string()),
            versions: names.iter().map(|name| version(run, name, baseline.copied())).collect(),
            findings: run.findings.clone(),
        })
    }
}

/// The repetition of a version and T that held most.
fn largest<'a>(run: &'a Run, version: &str, tokens: usize) -> Option<&'a MemoryRecord> {
    let of = run.memory.iter().filter(|m| m.version == version && m.tokens == tokens);
    of.max_by(|a, b| peak(a).total_cmp(&peak(b)))
}

fn peak(record: &MemoryRecord) -> f64 {
    record.peak.map_or(f64::NEG_INFINITY, |p| p.bytes)
}

fn version(run: &Run, name: &str, baseline: Option<&str>) -> VersionMemory {
    let lengths = ascending(run.memory.iter().filter(|m| m.version == name).map(|m| m.tokens));
    let points: Vec<MemoryPoint> = lengths.iter().filter_map(|t| point(run, name, *t, baseline)).collect();
    let slope = |of: fn(&MemoryRecord) -> Option<Accounted>| slope(&points, of);
    let cache_per_token = PerToken {
        theoretical_bytes: slope(|m| m.cache_theoretical),
        allocated_bytes: slope(|m| m.cache_allocated),
        peak_bytes: slope(|m| m.peak),
    };
    VersionMemory { version: name.to_string(), points, cache_per_token }
}

fn point(run: &Run, name: &str, tokens: usize, baseline: Option<&str>) -> Option<MemoryPoint> {
    let record = largest(run, name, tokens)?.clone();
    let of_baseline = baseline.filter(|b| *b != name).and_then(|b| largest(run, b, tokens));
    let smaller = |of: fn(&MemoryRecord) -> Option<Accounted>| {
        let (own, other) = (of(&record)?.bytes, of(of_baseline?)?.bytes);
        (own > 0.0).then_some(other / own)
    };
    let all = || run.memory.iter().filter(|m| m.version == name && m.tokens == tokens);
    Some(MemoryPoint {
        smaller_theoretical: smaller(|m| m.cache_theoretical),
        smaller_allocated: smaller(|m| m.cache_allocated),
        repetitions: all().count(),
        repeats_exactly: all().all(|m| m.peak == record.peak),
        record,
    })
}

/// The slope of a line through all points, in bytes per token.
fn slope(points: &[MemoryPoint], of: fn(&MemoryRecord) -> Option<Accounted>) -> Option<f64> {
    let value =
        |p: &MemoryPoint| Some((p.record.tokens as f64, Sample::new(vec![of(&p.record)?.bytes]).ok()?));
    let values: Vec<(f64, Sample)> = points.iter().map(value).collect::<Option<_>>()?;
    if values.iter().all(|(_, sample)| sample.median() == 0.0) {
        return Some(0.0);
    }
    Growth::of(&values, SEED).linear.map(|line| line.coefficients[1].value)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::profile::MemoryMethod;

    /// v0 without a cache; v1 with 100 B per token, v2 with 25 B in theory and 50 B as allocated; weights of 1000 B.
    pub(crate) fn memory_run() -> Run {
        let mut run = Run { file: "run.jsonl".into(), complete: true, ..Run::default() };
        for tokens in [8, 16, 32] {
            for (version, theory, allocated) in [("v0", 0.0, 0.0), ("v1", 100.0, 100.0), ("v2", 25.0, 50.0)] {
                let counted = |bytes: f64| Some(Accounted::new(bytes, MemoryMethod::Counted));
                let (cache, cached) = (allocated * tokens as f64, theory * tokens as f64);
                run.memory.push(MemoryRecord {
                    version: version.into(),
                    tokens,
                    prompt_length: 1,
                    batch: 1,
                    repetition: 0,
                    capacity: (theory > 0.0).then_some(tokens),
                    peak: counted(1300.0 + cache),
                    weights: counted(1000.0),
                    cache_theoretical: Some(Accounted::new(cached, MemoryMethod::Formula)),
                    cache_allocated: counted(cache),
                    cache_touched: None,
                    activations: counted(300.0),
                    above_weights: counted(300.0 + cache),
                    resident_peak: None,
                });
            }
        }
        run
    }

    #[test]
    fn caches_are_compared_with_v1_in_theory_and_as_allocated() {
        let report = MemoryReport::new(&memory_run()).unwrap();
        assert_eq!(report.cache_baseline.as_deref(), Some("v1"));
        let [v0, v1, v2] = &report.versions[..] else { panic!("{report:?}") };
        let last = &v2.points[2];
        assert_eq!((last.smaller_theoretical, last.smaller_allocated), (Some(4.0), Some(2.0)));
        assert_eq!((v1.points[0].smaller_theoretical, v0.points[0].smaller_allocated), (None, None));
        let near = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() < 1e-6;
        assert!(near(v1.cache_per_token.allocated_bytes, 100.0) && near(v2.cache_per_token.peak_bytes, 50.0));
        assert_eq!(v0.cache_per_token.allocated_bytes, Some(0.0));
    }

    #[test]
    fn of_repetitions_the_largest_peak_is_shown_and_whether_all_agree() {
        let mut run = memory_run();
        let mut again = run.memory[1].clone();
        again.repetition = 1;
        again.peak = Some(Accounted::new(5000.0, MemoryMethod::Counted));
        run.memory.push(again);
        let point = &MemoryReport::new(&run).unwrap().versions[1].points[0];
        assert_eq!((point.record.peak.unwrap().bytes, point.repetitions), (5000.0, 2));
        assert!(!point.repeats_exactly);
        assert!(MemoryReport::new(&Run::default()).is_none());
    }
}
