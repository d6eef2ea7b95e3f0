//! Where one version overtakes another, over contexts and batches; where caches begin to outweigh the weights; and how far
//! each stage is from its ceiling as the context grows.

use super::{SEED, ascending, versions};
use crate::hw::Ceiling;
use crate::llm::{Deployment, Stage, StepShape, Version, WeightFormat};
use crate::profile::{DecodePointRecord, Finding, Manifest, Run, RunConfig};
use crate::roofline::{Bound, CeilingSet, step_floor};
use crate::stats::{
    CONFIDENCE, Estimate, Interval, Sample, Summary, Verdict, crossing, paired_ratio_interval, ratio_interval,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the JSON that a [`CrossoverReport`] becomes.
pub const CROSSOVER_SCHEMA_VERSION: u32 = 1;

/// What the figures mean, in the file itself.
const DEFINITIONS: &[(&str, &str)] = &[
    ("context", "tokens per sequence that a decode step attends to, its own included"),
    ("step", "one decode step of all sequences; of each round the median, over rounds the median of those"),
    ("speedup", "the old version's step over the new one's; above 1 the new one pays"),
    (
        "pays",
        "yes: the whole 95 % interval of speedup is above 1; no: it is below; unclear: it holds 1, or there is none",
    ),
    (
        "pays_from",
        "the smallest measured context from which on the new version pays at every larger one measured",
    ),
    (
        "crossing",
        "where lines fitted to both versions' steps over the context meet, above which the new one is faster; a bootstrap \
         interval, rounds resampled",
    ),
    (
        "cache_dominates",
        "ANALYTIC: context x batch x a token's cache bytes >= the bytes of weights that a step reads; the context for a batch",
    ),
    (
        "of_ceiling",
        "the shortest time that the machine's ceilings allow for the step's ops, over the time it took",
    ),
];

/// Everything that `kprof crossover` reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrossoverReport {
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
    /// The version that is to be overtaken.
    pub old: String,
    /// The one that is to overtake it.
    pub new: String,
    /// What was found for each batch.
    pub batches: Vec<BatchCrossover>,
    /// Where each version's cache begins to outweigh the weights, by the shapes alone.
    pub cache_dominates: Vec<CacheDominates>,
    /// Shares of the ceiling.
    pub stages: Vec<StagePoint>,
    /// What a reader should know before believing the numbers.
    pub findings: Vec<Finding>,
}

/// The contexts of one batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchCrossover {
    /// Sequences side by side.
    pub batch: usize,
    /// By context.
    pub points: Vec<CrossoverPoint>,
    /// The smallest measured context from which on the new version pays; `None`: no crossover up to the largest.
    pub pays_from: Option<usize>,
    /// The largest measured context.
    pub up_to: usize,
    /// Where the fitted lines meet; `None` where they do not at a positive context, or in the other direction.
    pub crossing: Option<Estimate>,
}

/// One context and batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrossoverPoint {
    /// Tokens attended to.
    pub context: usize,
    /// The old version's step.
    pub old_step: Summary,
    /// The new version's.
    pub new_step: Summary,
    /// old / new.
    pub speedup: f64,
    /// Its interval, by paired rounds.
    pub interval: Option<Interval>,
    /// Whether the new version pays here.
    pub pays: Pays,
}

/// Whether a version pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pays {
    /// For certain.
    Yes,
    /// For certain not.
    No,
    /// It cannot be told.
    Unclear,
}

impl Pays {
    /// The word in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unclear => "unclear",
        }
    }

    fn of(interval: Option<Interval>) -> Self {
        match Verdict::of_speedup(interval, 0.0) {
            Verdict::Faster => Self::Yes,
            Verdict::Slower => Self::No,
            Verdict::Same | Verdict::Unclear => Self::Unclear,
        }
    }
}

/// Where a version's cache begins to outweigh the weights that a decode step reads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CacheDominates {
    /// The version.
    pub version: String,
    /// Bytes of weights that a step reads: all but the rows of tables that it does not look up.
    pub weight_bytes: f64,
    /// Bytes of cache per token and sequence.
    pub cache_bytes_per_token: f64,
    /// For each batch, the context from which on the cache is as large; `None` without a cache.
    pub context_by_batch: Vec<(usize, Option<f64>)>,
    /// The model's positions, beyond which no context is.
    pub positions: usize,
}

/// A stage of a version at a context and batch, against its ceiling.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StagePoint {
    /// The version.
    pub version: String,
    /// The stage.
    pub stage: Stage,
    /// Sequences.
    pub batch: usize,
    /// Tokens attended to at the stage's end.
    pub context: usize,
    /// The median time of the step.
    pub time_s: f64,
    /// The shortest that ceilings allow.
    pub floor_s: Option<f64>,
    /// floor / time.
    pub of_ceiling: Option<f64>,
    /// What bounds it.
    pub bound: Option<Bound>,
}

impl CrossoverReport {
    /// Analyses a run of two versions; `None` where it has no such decode steps. `chosen` ceilings come before the run's.
    pub fn new(run: &Run, chosen: &[Ceiling]) -> Option<Self> {
        let names = versions(run, run.decode_points.iter().map(|p| p.version.as_str()));
        let [old, new] = names[..] else { return None };
        let threads = run.manifest.as_ref().and_then(|m| m.device.threads);
        let probed = CeilingSet::for_threads(&run.ceilings, threads);
        let probed: Vec<Ceiling> = probed.distinct().into_iter().cloned().collect();
        let ceilings = CeilingSet::new(chosen.to_vec()).or(&probed);
        let batches = ascending(run.decode_points.iter().map(|p| p.batch));
        let config = run.manifest.as_ref().and_then(|m| m.config.as_ref());
        Some(Self {
            schema_version: CROSSOVER_SCHEMA_VERSION,
            file: run.file.clone(),
            complete: run.complete,
            manifest: run.manifest.clone(),
            definitions: DEFINITIONS.iter().copied().collect(),
            old: old.to_string(),
            new: new.to_string(),
            batches: batches.iter().map(|b| batch(run, old, new, *b)).collect(),
            cache_dominates: config.map(|c| cache_dominates(c, &batches)).unwrap_or_default(),
            stages: names.iter().flat_map(|name| stages(run, name, &ceilings)).collect(),
            findings: run.findings.clone(),
        })
    }
}

/// The records of a version at a point, by round.
fn records<'a>(run: &'a Run, version: &str, batch: usize, context: usize) -> Vec<&'a DecodePointRecord> {
    let at = |p: &&DecodePointRecord| p.version == version && p.batch == batch && p.context == context;
    let mut found: Vec<&DecodePointRecord> = run.decode_points.iter().filter(at).collect();
    found.sort_by_key(|p| p.repetition);
    found
}

fn sample(records: &[&DecodePointRecord]) -> Option<Sample> {
    Sample::new(records.iter().map(|r| r.time_s).collect()).ok()
}

fn batch(run: &Run, old: &str, new: &str, batch: usize) -> BatchCrossover {
    let contexts = ascending(run.decode_points.iter().filter(|p| p.batch == batch).map(|p| p.context));
    let points: Vec<CrossoverPoint> =
        contexts.iter().filter_map(|c| point(run, old, new, batch, *c)).collect();
    let paying = points.iter().rev().take_while(|p| p.pays == Pays::Yes).last();
    let line = |name: &str| -> Vec<(f64, Sample)> {
        points
            .iter()
            .filter_map(|p| Some((p.context as f64, sample(&records(run, name, batch, p.context))?)))
            .collect()
    };
    BatchCrossover {
        batch,
        pays_from: paying.map(|p| p.context),
        up_to: contexts.last().copied().unwrap_or(0),
        crossing: crossing(&line(old), &line(new), SEED),
        points,
    }
}

fn point(run: &Run, old: &str, new: &str, batch: usize, context: usize) -> Option<CrossoverPoint> {
    let (of_old, of_new) = (records(run, old, batch, context), records(run, new, batch, context));
    let (old_step, new_step) = (sample(&of_old)?, sample(&of_new)?);
    let paired = of_old.iter().map(|r| r.repetition).eq(of_new.iter().map(|r| r.repetition));
    let interval = if paired { paired_ratio_interval } else { ratio_interval };
    let interval = interval(&old_step, &new_step, CONFIDENCE, SEED);
    Some(CrossoverPoint {
        context,
        speedup: old_step.median() / new_step.median(),
        interval,
        pays: Pays::of(interval),
        old_step: old_step.summary(SEED),
        new_step: new_step.summary(SEED),
    })
}

/// For every version with a cache: batch x context x bytes per token = weights.
fn cache_dominates(config: &RunConfig, batches: &[usize]) -> Vec<CacheDominates> {
    let stored = config.weight_format.unwrap_or(WeightFormat::plain(config.dtype));
    let deployment = Deployment { activations: config.dtype, ..Deployment::new(stored) };
    let model = &config.model;
    // A decode step looks a row of the token table up per sequence, and reads all of it only where it is the head too.
    let table = model.vocab_size as f64 * model.hidden_size as f64 * config.dtype.bytes();
    let tables = if model.tie_word_embeddings { 0.0 } else { table };
    let weights = model.weight_bytes(&deployment).0 - tables;
    let of = |version: &Version| {
        let per_token = version.bytes_per_token(model, config.dtype).0;
        let context =
            |batch: &usize| (*batch, (per_token > 0.0).then(|| weights / (per_token * *batch as f64)));
        CacheDominates {
            version: version.name.clone(),
            weight_bytes: weights,
            cache_bytes_per_token: per_token,
            context_by_batch: batches.iter().map(context).collect(),
            positions: model.max_position_embeddings,
        }
    };
    config.versions.iter().map(of).collect()
}

fn stages(run: &Run, version: &str, ceilings: &CeilingSet) -> Vec<StagePoint> {
    let mut found = Vec::new();
    let mut push = |stage: Stage, shape: StepShape, time_s: f64| {
        let floor = run.plan(version, stage).and_then(|plan| step_floor(plan, &shape, ceilings));
        found.push(StagePoint {
            version: version.to_string(),
            stage,
            batch: shape.batch,
            context: shape.context,
            time_s,
            floor_s: floor.map(|f| f.time_s),
            of_ceiling: floor.map(|f| f.time_s / time_s),
            bound: floor.map(|f| f.bound(Some(time_s))),
        });
    };
    for step in run.steps.iter().filter(|s| s.version == version && s.stage == Stage::Prefill) {
        push(Stage::Prefill, step.shape, step.time_s);
    }
    let caches = run.manifest.iter().filter_map(|m| m.config.as_ref()).flat_map(|c| &c.versions);
    let recomputes = caches.filter(|v| v.name == version).any(|v| !v.use_cache);
    let mut cells: Vec<(usize, usize)> =
        run.decode_points.iter().filter(|p| p.version == version).map(|p| (p.batch, p.context)).collect();
    cells.sort_unstable();
    cells.dedup();
    for (batch, context) in cells {
        if let Some(sample) = sample(&records(run, version, batch, context)) {
            let new_tokens = if recomputes { context } else { 1 };
            push(Stage::Decode, StepShape { batch, new_tokens, context }, sample.median());
        }
    }
    found
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::profile::TimingMethod;

    /// v1's step takes 10 ms + 10 us per token of context, v2's 12 ms + 5 us: they meet at 400; noise of 1 %.
    pub(crate) fn crossover_run() -> Run {
        let mut run = Run { file: "run.jsonl".into(), complete: true, ..Run::default() };
        for repetition in 0..6 {
            for context in [100, 200, 500, 1000] {
                for (version, base, slope, salt) in [("v1", 0.010, 1e-5, 0), ("v2", 0.012, 5e-6, 1)] {
                    let noise =
                        1.0 + ((repetition * 7 + context / 100 * 3 + salt) % 5) as f64 * 0.004 - 0.008;
                    run.decode_points.push(DecodePointRecord {
                        version: version.into(),
                        context,
                        batch: 1,
                        repetition,
                        time_s: (base + slope * context as f64) * noise,
                        steps: 4,
                        method: TimingMethod::HostClock,
                    });
                }
            }
        }
        run
    }

    #[test]
    fn the_context_from_which_a_version_pays_is_found_with_its_crossing() {
        let report = CrossoverReport::new(&crossover_run(), &[]).unwrap();
        let found = &report.batches[0];
        let pays: Vec<Pays> = found.points.iter().map(|p| p.pays).collect();
        assert_eq!(pays, [Pays::No, Pays::No, Pays::Yes, Pays::Yes]);
        assert_eq!((found.pays_from, found.up_to), (Some(500), 1000));
        let crossing = found.crossing.unwrap();
        let interval = crossing.interval.unwrap();
        assert!((crossing.value - 400.0).abs() < 60.0, "{crossing:?}");
        assert!(interval.low < 400.0 && 400.0 < interval.high && interval.high < 600.0, "{crossing:?}");
    }

    #[test]
    fn a_version_that_never_pays_has_no_crossover() {
        let mut run = crossover_run();
        run.decode_points.retain(|p| p.context < 300);
        let report = CrossoverReport::new(&run, &[]).unwrap();
        assert_eq!((report.batches[0].pays_from, report.batches[0].up_to), (None, 200));
        run.decode_points.retain(|p| p.version == "v1");
        assert!(CrossoverReport::new(&run, &[]).is_none());
    }
}
