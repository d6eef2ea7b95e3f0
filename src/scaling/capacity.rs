//! What fits: each version's largest batch, against theory and against v1.

use super::versions;
use crate::profile::{CapacityRecord, Finding, Manifest, Run};
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the JSON that a [`CapacityReport`] becomes.
pub const CAPACITY_SCHEMA_VERSION: u32 = 1;

/// What the figures mean, in the file itself.
const DEFINITIONS: &[(&str, &str)] = &[
    ("batch", "the largest number of sequences of `context` tokens whose decode step fits into the budget"),
    (
        "theoretical_batch",
        "(budget - weights) / one sequence's cache by the formula, rounded down: no activations, no padding",
    ),
    (
        "method",
        "ran: caches were allocated and a decode step at the full context ran; extrapolated: that for small batches, larger \
         ones on the line through them; accounted: by formulas alone",
    ),
    (
        "out_of_memory",
        "of a try: the device had no memory for it, and `peak` is what was held with the allocation that was refused",
    ),
    ("device_budget", "where the budget is what a GPU had free: that, and the reserve that was left alone"),
    ("of_theory", "batch / theoretical_batch"),
    ("more", "batch / that of v1, or of the first version with a cache"),
    ("budget_bytes", "for everything: weights, caches, activations of a decode step; prefills are not in it"),
];

/// Everything that `kprof capacity` reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CapacityReport {
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
    pub versions: Vec<VersionCapacity>,
    /// What a reader should know before believing the numbers.
    pub findings: Vec<Finding>,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionCapacity {
    /// What was found.
    #[serde(flatten)]
    pub record: CapacityRecord,
    /// What the largest batch that fits takes, where it was tried.
    pub peak_bytes: Option<f64>,
    /// The largest batch over the theoretical one.
    pub of_theory: Option<f64>,
    /// The largest batch over the baseline version's.
    pub more: Option<f64>,
}

impl CapacityReport {
    /// Analyses a run; `None` where it has no capacities.
    pub fn new(run: &Run) -> Option<Self> {
        let names = versions(run, run.capacities.iter().map(|c| c.version.as_str()));
        names.first()?;
        let record = |name: &str| run.capacities.iter().rfind(|c| c.version == name);
        let cached = |name: &&&str| record(name).is_some_and(|c| c.theoretical_batch.is_some());
        let baseline =
            names.iter().find(|n| **n == "v1").filter(cached).or_else(|| names.iter().find(cached));
        let of_baseline =
            baseline.and_then(|name| record(name)).filter(|c| !c.at_least).map(|c| c.batch as f64);
        let one = |name: &&str| {
            let record = record(name)?.clone();
            let peak = record.probes.iter().find(|p| p.batch == record.batch).map(|p| p.peak.bytes);
            // What is only known to be at least so large is in no ratio.
            let over = |other: f64| (other > 0.0 && !record.at_least).then(|| record.batch as f64 / other);
            let is_baseline = baseline == Some(name);
            Some(VersionCapacity {
                peak_bytes: peak,
                of_theory: record.theoretical_batch.and_then(|t| over(t as f64)),
                more: of_baseline.filter(|_| !is_baseline).and_then(over),
                record,
            })
        };
        Some(Self {
            schema_version: CAPACITY_SCHEMA_VERSION,
            file: run.file.clone(),
            complete: run.complete,
            manifest: run.manifest.clone(),
            definitions: DEFINITIONS.iter().copied().collect(),
            versions: names.iter().filter_map(one).collect(),
            findings: run.findings.clone(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::profile::{Accounted, CapacityMethod, CapacityProbe, MemoryMethod};

    /// v1 takes 47 of 50 in theory, v2 94, v0 has no cache.
    pub(crate) fn capacity_run() -> Run {
        let of = |version: &str, batch: usize, theoretical_batch| CapacityRecord {
            version: version.into(),
            context: 1024,
            budget_bytes: 1e9,
            batch,
            method: CapacityMethod::Ran,
            theoretical_batch,
            probes: vec![CapacityProbe {
                batch,
                peak: Accounted::new(9.9e8, MemoryMethod::Counted),
                fits: true,
                out_of_memory: false,
            }],
            at_least: false,
            device_budget: None,
        };
        let capacities = vec![of("v0", 10, None), of("v1", 47, Some(50)), of("v2", 94, Some(100))];
        Run { file: "run.jsonl".into(), complete: true, capacities, ..Run::default() }
    }

    #[test]
    fn batches_are_compared_with_theory_and_with_v1() {
        let report = CapacityReport::new(&capacity_run()).unwrap();
        let [v0, v1, v2] = &report.versions[..] else { panic!("{report:?}") };
        assert_eq!((v0.of_theory, v0.more), (None, Some(10.0 / 47.0)));
        assert_eq!((v1.of_theory, v1.more), (Some(0.94), None));
        assert_eq!((v2.more, v2.peak_bytes), (Some(2.0), Some(9.9e8)));
        assert!(CapacityReport::new(&Run::default()).is_none());
    }
}
