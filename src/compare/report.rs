//! The shape of a comparison: what its tables and its JSON are made of.

use super::align::Subject;
use super::pareto::{ParetoPoint, pareto};
use super::quality::{self, PerplexityChange};
use super::slowest::{SlowestRank, slowest_ranks};
use super::unlike::Unlike;
use crate::llm::{Phase, Stage};
use crate::profile::{Finding, Run, ScheduleRecord};
use crate::stats::{SpeedUp, Summary};
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the JSON that a [`CompareReport`] becomes.
pub const COMPARE_SCHEMA_VERSION: u32 = 1;

/// What the figures mean, in the file itself.
pub(super) const DEFINITIONS: &[(&str, &str)] = &[
    (
        "speedup",
        "median of the old times / median of the new: above 1 is faster; times are of the plain twin",
    ),
    (
        "interval",
        "95 %, by `method`: paired_bootstrap (BCa over paired repetitions of one process), assumed_spread (BCa, one process on \
         each side, widened by 2 % between processes), process_ranks (Hodges and Lehmann over medians of processes), \
         process_student (t over logarithms of medians of processes: few of them)",
    ),
    (
        "verdict",
        "faster or slower when the whole interval is beyond the threshold, same when it is within, else unclear; \
         unclear under 5 repetitions",
    ),
    (
        "contributions",
        "a part's time is its share of the instrumented step times the median plain step, so that parts add up to \
         the whole; ops of a phase are scaled to the phase",
    ),
    (
        "flops, bytes",
        "analytic, per step; bytes are the floor of external inputs and outputs, not DRAM traffic",
    ),
    (
        "pareto",
        "a point is beaten by one that is better in TPOT, allocated cache bytes or perplexity for certain (intervals apart) and \
         worse in none; one with a figure that the other lacks is neither",
    ),
    (
        "perplexity",
        "exp of the mean of -ln p over scored tokens; intervals are over segments, paired for a change",
    ),
    (
        "slowest_ranks",
        "the rank with the largest median before, and after; a verdict only where both are one rank. Ranks are not pooled",
    ),
    ("memory", "allocated KV cache, 1 MB = 10^6 bytes"),
];

/// Everything that `kprof compare` reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompareReport {
    /// The version of this structure.
    pub schema_version: u32,
    /// The least change that counts, as a fraction.
    pub threshold: f64,
    /// What the figures mean.
    pub definitions: serde_json::Map<String, serde_json::Value>,
    /// The first pair's figures under the usual names.
    pub comparison: Option<ReferenceBlock>,
    /// Each comparison.
    pub pairs: Vec<PairReport>,
    /// Of ranks that are compared one by one: the slowest of each side; empty of anything else.
    pub slowest_ranks: Vec<SlowestRank>,
    /// Latency, cache bytes and perplexity of all versions compared; empty where that is one version or commands.
    pub pareto: Vec<ParetoPoint>,
    /// The commands that were measured for it; `None` for runs.
    pub commands: Option<CommandsReport>,
    /// What a reader should know before believing the numbers.
    pub findings: Vec<Finding>,
}

/// The commands of `kprof compare --command`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CommandsReport {
    /// By command, the baseline first.
    pub commands: Vec<CommandRow>,
    /// How often they ran.
    pub schedule: ScheduleRecord,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CommandRow {
    /// What it is called in the pairs.
    pub name: String,
    /// As given.
    pub command: String,
    /// Wall time, in seconds.
    pub time: Summary,
    /// Wall time of each round, in seconds.
    pub times_s: Vec<f64>,
}

impl CompareReport {
    /// The report of `pairs`, with the findings of the runs that they come from.
    pub fn new(pairs: Vec<PairReport>, threshold: f64, findings: Vec<Finding>) -> Self {
        let definition = |(name, text): &(&str, &str)| ((*name).to_string(), (*text).into());
        Self {
            schema_version: COMPARE_SCHEMA_VERSION,
            threshold,
            definitions: DEFINITIONS.iter().map(definition).collect(),
            slowest_ranks: slowest_ranks(&pairs),
            comparison: pairs.first().map(|pair| pair.comparison.clone()),
            pairs,
            pareto: Vec::new(),
            commands: None,
            findings,
        }
    }

    /// Adds what `subjects`, the sides of the pairs in their order, are in latency, cache bytes and perplexity, and what the
    /// perplexity changed by; `scored` are runs with perplexities beside their own.
    #[must_use]
    pub fn with_quality(mut self, subjects: &[(Subject<'_>, Subject<'_>)], scored: &[&Run]) -> Self {
        let mut all: Vec<Subject<'_>> = Vec::new();
        for (pair, (old, new)) in self.pairs.iter_mut().zip(subjects) {
            let (before, after) = (scored_runs(old.run, scored), scored_runs(new.run, scored));
            pair.perplexity = quality::change((&before, old.version), (&after, new.version));
            for subject in [old, new] {
                if !all.iter().any(|s| s.name() == subject.name()) {
                    all.push(*subject);
                }
            }
        }
        // Of one version alone there is nothing to trade, and between ranks neither.
        if all.iter().any(|s| s.version != all[0].version) {
            let mut by_rank: BTreeMap<Option<usize>, Vec<Subject<'_>>> = BTreeMap::new();
            all.into_iter().for_each(|s| by_rank.entry(s.run.rank_of_several()).or_default().push(s));
            self.pareto = by_rank.values().flat_map(|of_one| pareto(of_one, scored)).collect();
        }
        self
    }

    /// Every verdict, with the pair and what it is of.
    pub fn verdicts(&self) -> impl Iterator<Item = (&PairReport, &TimeChange)> {
        self.pairs.iter().flat_map(|pair| pair.times.iter().map(move |time| (pair, time)))
    }
}

fn scored_runs<'a>(own: &'a Run, others: &[&'a Run]) -> Vec<&'a Run> {
    std::iter::once(own).chain(others.iter().copied()).collect()
}

/// One version of one run against another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairReport {
    /// The baseline, `run.jsonl:v0`.
    pub old: String,
    /// What is held against it.
    pub new: String,
    /// The rank of several that measured both; `None` where none did, or two.
    pub rank: Option<usize>,
    /// Whether both were measured interleaved in one run, so that drift cancels.
    pub paired: bool,
    /// How many processes measured the old one, and the new.
    pub processes: [usize; 2],
    /// What differs and was allowed to.
    pub unlike: Vec<Unlike>,
    /// Time of the prefill step (TTFT), of a decode step (TPOT), and of the whole generation.
    pub times: Vec<TimeChange>,
    /// Where the change of a stage comes from.
    pub stages: Vec<StageChange>,
    /// The KV cache.
    pub memory: MemoryChange,
    /// The perplexity; `None` where no run at hand scored both on one text.
    pub perplexity: Option<PerplexityChange>,
    /// The same figures under the usual names.
    pub comparison: ReferenceBlock,
}

/// One duration, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimeChange {
    /// `prefill`, `decode`, `generation`, or of a command `wall`.
    pub what: &'static str,
    /// Before, in seconds.
    pub old: Summary,
    /// After, in seconds.
    pub new: Summary,
    /// Old / new, and what may be said of it.
    #[serde(flatten)]
    pub change: SpeedUp,
}

/// The change of a stage's step, by its parts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageChange {
    /// The stage.
    pub stage: Stage,
    /// The four phases, `other` and `total`: the five add up to the sixth.
    pub phases: Vec<Contribution>,
    /// The ops, the largest change first: those of a phase add up to it.
    pub ops: Vec<Contribution>,
}

/// A part's share in a change; `None` where a side lacks it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contribution {
    /// The phase or op.
    pub name: String,
    /// The phase of an op.
    pub phase: Option<Phase>,
    /// Seconds per step before.
    pub old_s: Option<f64>,
    /// Seconds per step after.
    pub new_s: Option<f64>,
    /// After - before; a part that only one side has counts whole.
    pub change_s: Option<f64>,
    /// The change over the whole step's time before.
    pub change_of_step: Option<f64>,
    /// FLOPs per step before.
    pub old_flops: Option<f64>,
    /// FLOPs per step after.
    pub new_flops: Option<f64>,
    /// Bytes per step before.
    pub old_bytes: Option<f64>,
    /// Bytes per step after.
    pub new_bytes: Option<f64>,
}

/// The KV cache before and after, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MemoryChange {
    /// By formula, before.
    pub old_theoretical_bytes: Option<f64>,
    /// By formula, after.
    pub new_theoretical_bytes: Option<f64>,
    /// Allocated before.
    pub old_allocated_bytes: Option<f64>,
    /// Allocated after.
    pub new_allocated_bytes: Option<f64>,
}

/// The figures of a pair under the names that training and inference benchmarks usually give them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReferenceBlock {
    /// One pass over the prompt.
    pub inference: Option<InferenceBlock>,
    /// A whole generation.
    pub generation: Option<GenerationBlock>,
}

/// One pass over the prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InferenceBlock {
    /// Old / new.
    pub speedup: f64,
    /// 100 (1 - new / old).
    pub time_reduction_percent: f64,
    /// Of the allocated KV cache.
    pub memory_reduction_mb: Option<f64>,
    /// Of the allocated KV cache; `None` where there was none before.
    pub memory_reduction_percent: Option<f64>,
}

/// A whole generation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GenerationBlock {
    /// Old / new time of the whole generation.
    pub speedup: f64,
    /// 100 (1 - new / old).
    pub latency_reduction_percent: f64,
    /// Old / new time to the first token.
    pub first_token_speedup: Option<f64>,
}
