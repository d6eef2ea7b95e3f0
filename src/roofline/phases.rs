//! The breakdown of a measured run: per version and stage the phases, the ops, latency and the cache.
//!
//! Two twins give it. The plain one gives latency, the instrumented one the parts; all times of a stage are per
//! step: the mean over its steps, then the median over repetitions. `other` is what no op covers. How the parts are
//! made to add up to the median step is said at [`Parts`].

use super::attainable::{Bound, Floor};
use super::ceilings::CeilingSet;
use super::point::Origin;
use super::repetitions::Repetitions;
use super::steps::StageWork;
use crate::hw::Ceiling;
use crate::llm::{Op, Phase, Stage, Work};
use crate::profile::{Finding, FindingCode, Manifest, Run, Twin};
use crate::stats::{CONFIDENCE, Interval, Sample, Summary, ratio_interval};
use serde::Serialize;

/// The version of the JSON that a [`PhaseReport`] becomes.
pub const PHASE_SCHEMA_VERSION: u32 = 1;

/// Coverage under which a breakdown should not be trusted to name the culprit.
const ENOUGH_COVERAGE: f64 = 0.95;
/// Instrumentation overhead over which the breakdown is of another program: the targets of phase detail are
/// 1 % on a CPU and 2 % on a GPU; op detail may cost more and says so.
const HIGH_OVERHEAD: f64 = 0.05;
/// The seed of bootstrap intervals, so that a run gives the same report every time.
const SEED: u64 = 0;

/// Everything that `kprof phase` reports of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseReport {
    /// The version of this structure.
    pub schema_version: u32,
    /// The run file.
    pub file: String,
    /// Whether the run was closed; false for an interrupted one.
    pub complete: bool,
    /// What was run, where and how.
    pub manifest: Option<Manifest>,
    /// What the figures mean.
    pub definitions: Definitions,
    /// Per version and stage.
    pub stages: Vec<StageReport>,
    /// Each later version against the first.
    pub comparisons: Vec<Comparison>,
    /// The ceilings that bounds are told by.
    pub ceilings: Vec<Ceiling>,
    /// What a reader should know before believing the numbers.
    pub findings: Vec<Finding>,
}

/// The definitions of the figures, in the file itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Definitions {
    /// Of `time_s`, `flops` and `bytes`.
    pub stage: &'static str,
    /// Of `bytes`.
    pub bytes: &'static str,
    /// Of `ttft_s`.
    pub ttft_s: &'static str,
    /// Of `tpot_s`.
    pub tpot_s: &'static str,
    /// Of `tokens_per_s`.
    pub tokens_per_s: &'static str,
    /// Of `coverage`.
    pub coverage: &'static str,
    /// Of `instrumentation_overhead`.
    pub instrumentation_overhead: &'static str,
    /// Of `other`.
    pub other: &'static str,
}

const DEFINITIONS: Definitions = Definitions {
    stage: "per step: mean over the stage's steps, median over repetitions; T tokens are 1 prefill and T - 1 decode steps; \
            a part's time_s is its median share of a repetition, scaled so that all add up, of the median step",
    bytes: "analytic floor: every external input and output of an op once; not DRAM traffic",
    ttft_s: "plain twin: median over repetitions of the prefill step's time, which ends with output token 1",
    tpot_s: "plain twin: median over repetitions of the mean decode step time; null under 2 output tokens",
    tokens_per_s: "batch / tpot_s",
    coverage: "union of the recorded op intervals / span of the instrumented steps, median over repetitions",
    instrumentation_overhead: "median over paired repetitions of instrumented / plain time of the stage, minus 1",
    other: "total minus the four phases: time that no op covers",
};

/// One version in one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageReport {
    /// The version.
    pub version: String,
    /// The stage.
    pub stage: Stage,
    /// Whole instrumented repetitions that the breakdown is of.
    pub repetitions: usize,
    /// Steps in each.
    pub steps: usize,
    /// The breakdown, per step.
    pub phases: Phases,
    /// See [`Definitions`].
    pub coverage: Option<f64>,
    /// See [`Definitions`].
    pub instrumentation_overhead: Option<f64>,
    /// Plain time per step.
    pub plain_step_s: Option<Summary>,
    /// See [`Definitions`]; of the version, so the same in both stages.
    pub ttft_s: Option<f64>,
    /// See [`Definitions`]; of the version.
    pub tpot_s: Option<f64>,
    /// See [`Definitions`]; of the version.
    pub tokens_per_s: Option<f64>,
    /// The cache's size at the end of a repetition; of the version.
    pub kv_cache_bytes: KvCacheBytes,
    /// The ops, those of all layers summed, in the order they run.
    pub ops: Vec<OpRow>,
}

/// The size of a KV cache in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct KvCacheBytes {
    /// By formula, for the tokens held.
    pub theoretical: Option<f64>,
    /// As allocated, capacity included.
    pub allocated: Option<f64>,
    /// What of it was written.
    pub touched: Option<f64>,
}

/// The parts of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Phases {
    /// Token and position embeddings.
    pub embedding: PhaseRow,
    /// Projections, cache, attention.
    pub attention: PhaseRow,
    /// The MLP.
    pub mlp: PhaseRow,
    /// The final norm, the projection to the vocabulary, the choice of the token.
    pub head: PhaseRow,
    /// What no op covers.
    pub other: PhaseRow,
    /// The whole step.
    pub total: PhaseRow,
}

impl Phases {
    /// One of the four phases.
    pub fn get(&self, phase: Phase) -> &PhaseRow {
        match phase {
            Phase::Embedding => &self.embedding,
            Phase::Attention => &self.attention,
            Phase::Mlp => &self.mlp,
            Phase::Head => &self.head,
        }
    }

    /// All six with their names, in the order of tables and bars.
    pub fn named(&self) -> [(&'static str, &PhaseRow); 6] {
        [
            ("embedding", &self.embedding),
            ("attention", &self.attention),
            ("mlp", &self.mlp),
            ("head", &self.head),
            ("other", &self.other),
            ("total", &self.total),
        ]
    }
}

/// One part of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PhaseRow {
    /// Seconds per step, of the instrumented twin.
    pub time_s: Option<f64>,
    /// The repetitions behind it; of `other` there is none, it is a difference.
    pub time: Option<Summary>,
    /// Part of the total.
    pub share: Option<f64>,
    /// The work done.
    #[serde(flatten)]
    pub work: WorkRow,
}

/// Work and what it says with a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkRow {
    /// FLOPs per step.
    pub flops: Option<f64>,
    /// Those of matrix products.
    pub matmul_flops: Option<f64>,
    /// Bytes per step.
    pub bytes: Option<f64>,
    /// Bytes read of those.
    pub bytes_read: Option<f64>,
    /// Bytes written of those.
    pub bytes_written: Option<f64>,
    /// What `bytes` are.
    pub byte_source: Option<Origin>,
    /// What `flops` are.
    pub flop_source: Option<Origin>,
    /// FLOPs per byte.
    pub intensity: Option<f64>,
    /// FLOPs per second.
    pub achieved_flop_per_s: Option<f64>,
    /// Bytes per second.
    pub achieved_byte_per_s: Option<f64>,
    /// FLOPs per second that the ceilings allow.
    pub attainable_flop_per_s: Option<f64>,
    /// The shortest time that the ceilings allow / the time; not clamped.
    pub fraction_of_ceiling: Option<f64>,
    /// That shortest time, with what bounds it.
    pub floor: Option<Floor>,
    /// What bounds it; `None` where there is no work.
    pub bound: Option<Bound>,
}

impl WorkRow {
    fn new(work: Work, floor: Option<Floor>, time_s: Option<f64>) -> Self {
        let (flops, bytes) = (work.flops().0, work.bytes().0);
        let time = time_s.filter(|t| *t > 0.0);
        Self {
            flops: Some(flops),
            matmul_flops: Some(work.matmul_flops.0),
            bytes: Some(bytes),
            bytes_read: Some(work.bytes_read.0),
            bytes_written: Some(work.bytes_written.0),
            byte_source: Some(Origin::Analytic),
            flop_source: Some(Origin::Analytic),
            intensity: work.intensity().map(|i| i.0),
            achieved_flop_per_s: time.map(|t| flops / t),
            achieved_byte_per_s: time.map(|t| bytes / t),
            attainable_flop_per_s: floor.filter(|f| f.time_s > 0.0).map(|f| flops / f.time_s),
            fraction_of_ceiling: floor.and_then(|f| Some(f.time_s / time?)),
            floor,
            bound: Some(floor.map_or(Bound::Unknown, |f| f.bound(time_s))),
        }
    }
}

/// One op of a stage, of all layers together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpRow {
    /// What it is for.
    pub label: String,
    /// The phase whose time it is.
    pub phase: Phase,
    /// How many of it a step has.
    pub count: usize,
    /// The operation and its fixed dimensions.
    #[serde(flatten)]
    pub op: Op,
    /// Seconds per step.
    pub time_s: Option<f64>,
    /// Part of the total.
    pub share: Option<f64>,
    /// The work done.
    #[serde(flatten)]
    pub work: WorkRow,
}

/// A version against the first one measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The version.
    pub version: String,
    /// What it is compared with.
    pub baseline: String,
    /// The stage whose plain time per step is compared.
    pub stage: Stage,
    /// Baseline time / this version's: above 1 is faster.
    pub speedup: f64,
    /// A bootstrap interval for it; `None` under two repetitions.
    pub interval: Option<Interval>,
}

impl PhaseReport {
    /// Analyses a run; `chosen` ceilings come before the run's own.
    pub fn new(run: &Run, chosen: &[Ceiling]) -> Self {
        let threads = run.manifest.as_ref().and_then(|m| m.device.threads);
        let probed = CeilingSet::for_threads(&run.ceilings, threads);
        let probed: Vec<Ceiling> = probed.distinct().into_iter().cloned().collect();
        let ceilings = CeilingSet::new(chosen.to_vec()).or(&probed);
        let mut stages = Vec::new();
        for version in run.versions() {
            for stage in Stage::ALL {
                if run.steps.iter().any(|s| s.version == version && s.stage == stage) {
                    stages.push(stage_report(run, version, stage, &ceilings));
                }
            }
        }
        let mut findings = run.findings.clone();
        findings.extend(stages.iter().flat_map(stage_findings));
        Self {
            schema_version: PHASE_SCHEMA_VERSION,
            file: run.file.clone(),
            complete: run.complete,
            manifest: run.manifest.clone(),
            definitions: DEFINITIONS,
            comparisons: comparisons(run),
            stages,
            ceilings: ceilings.distinct().into_iter().cloned().collect(),
            findings,
        }
    }
}

fn stage_report(run: &Run, version: &str, stage: Stage, ceilings: &CeilingSet) -> StageReport {
    let of = |stage, twin| Repetitions::of(run, version, stage, twin);
    let (plain, instrumented) = (of(stage, Twin::Plain), of(stage, Twin::Instrumented));
    let median = |sample: Option<Sample>| sample.map(|s| s.median());
    let tpot_s = median(of(Stage::Decode, Twin::Plain).step_times());
    let batch = run.manifest.as_ref().and_then(|m| m.config.as_ref()).map(|c| c.batch as f64);
    let shapes = if instrumented.count() > 0 { &instrumented } else { &plain };
    let work = run.plan(version, stage).map(|plan| StageWork::new(plan, shapes.first(), ceilings));
    let total = instrumented.step_times();
    let parts = Parts::of(&instrumented, work.as_ref(), total.as_ref());
    let cache = run.caches.iter().rfind(|c| c.version == version);
    StageReport {
        version: version.to_string(),
        stage,
        repetitions: instrumented.count(),
        steps: shapes.steps_each(),
        phases: phases(work.as_ref(), &parts),
        coverage: median(instrumented.coverage()),
        instrumentation_overhead: median(instrumented.overhead(&plain)),
        plain_step_s: plain.step_times().map(|s| s.summary(SEED)),
        ttft_s: median(of(Stage::Prefill, Twin::Plain).step_times()),
        tpot_s,
        tokens_per_s: tpot_s.and_then(|t| Some(batch? / t)),
        kv_cache_bytes: KvCacheBytes {
            theoretical: cache.map(|c| c.theoretical_bytes),
            allocated: cache.map(|c| c.allocated_bytes),
            touched: cache.and_then(|c| c.touched_bytes),
        },
        ops: work.map(|work| op_rows(&instrumented, &work, &parts)).unwrap_or_default(),
    }
}

/// Per repetition, the mean over steps of the time of the ops at `indices`.
fn op_times(instrumented: &Repetitions<'_>, indices: &[usize]) -> Option<Sample> {
    instrumented.means(|step| indices.iter().map(|i| step.op_time_s.get(*i).copied()).sum())
}

/// The parts of a stage's steps, repetition by repetition, and how they become times that add up.
///
/// Medians of parts do not add up to the median of the whole: each may come from another repetition. So a part's
/// share is the median over repetitions of its share of that very repetition, the five shares are scaled to add up
/// to 1, and a part's time is its share of the median step. Drift between repetitions cancels in the shares.
struct Parts<'a> {
    total: Option<&'a Sample>,
    phases: Option<[Sample; 4]>,
    other: Option<Sample>,
    /// What the five median shares add up to.
    shares: f64,
}

impl<'a> Parts<'a> {
    fn of(instrumented: &Repetitions<'_>, work: Option<&StageWork<'_>>, total: Option<&'a Sample>) -> Self {
        let phases: Option<Vec<Sample>> = work.and_then(|work| {
            let times = |phase| op_times(instrumented, &work.indices(|op| op.phase == phase));
            Phase::ALL.into_iter().map(times).collect()
        });
        let phases: Option<[Sample; 4]> = phases.and_then(|p| p.try_into().ok());
        let other = total.zip(phases.as_ref()).and_then(|(total, phases)| {
            let covered = |i: usize| phases.iter().map(|p| p.values()[i]).sum::<f64>();
            Sample::new(total.values().iter().enumerate().map(|(i, t)| t - covered(i)).collect()).ok()
        });
        let mut parts = Self { total, phases, other, shares: 1.0 };
        let all = parts.phases.iter().flatten().chain(&parts.other);
        parts.shares = all.filter_map(|part| parts.share(part)).sum();
        parts
    }

    fn total_s(&self) -> Option<f64> {
        self.total.map(Sample::median)
    }

    /// The part's share of the step.
    fn share(&self, part: &Sample) -> Option<f64> {
        let pairs = part.values().iter().zip(self.total?.values());
        let ratios = pairs.map(|(part, total)| part / total).collect();
        Some(Sample::new(ratios).ok()?.median() / self.shares)
    }

    /// The part's time in a median step.
    fn time_s(&self, part: &Sample) -> Option<f64> {
        Some(self.share(part)? * self.total_s()?)
    }
}

fn phases(work: Option<&StageWork<'_>>, parts: &Parts<'_>) -> Phases {
    let row = |i: usize| {
        let (Some(work), Some(samples)) = (work, &parts.phases) else { return PhaseRow::default() };
        let indices = work.indices(|op| op.phase == Phase::ALL[i]);
        let time_s = parts.time_s(&samples[i]);
        PhaseRow {
            time_s,
            time: Some(samples[i].summary(SEED)),
            share: parts.share(&samples[i]),
            work: WorkRow::new(work.work(&indices), work.floor(&indices), time_s),
        }
    };
    let all = work.map(|w| (w.indices(|_| true), w));
    let total_s = parts.total_s();
    let other = parts.other.as_ref();
    Phases {
        embedding: row(0),
        attention: row(1),
        mlp: row(2),
        head: row(3),
        other: PhaseRow {
            time_s: other.and_then(|o| parts.time_s(o)),
            time: other.map(|o| o.summary(SEED)),
            share: other.and_then(|o| parts.share(o)),
            ..PhaseRow::default()
        },
        total: PhaseRow {
            time_s: total_s,
            time: parts.total.map(|t| t.summary(SEED)),
            share: total_s.map(|_| 1.0),
            work: all.map_or_else(WorkRow::default, |(indices, w)| {
                WorkRow::new(w.work(&indices), w.floor(&indices), total_s)
            }),
        },
    }
}

fn op_rows(instrumented: &Repetitions<'_>, work: &StageWork<'_>, parts: &Parts<'_>) -> Vec<OpRow> {
    work.kinds()
        .into_iter()
        .map(|(first, indices)| {
            let times = op_times(instrumented, &indices);
            let time_s = times.as_ref().and_then(|t| parts.time_s(t));
            OpRow {
                label: first.label.clone(),
                phase: first.phase,
                count: indices.len(),
                op: first.op.clone(),
                time_s,
                share: times.as_ref().and_then(|t| parts.share(t)),
                work: WorkRow::new(work.work(&indices), work.floor(&indices), time_s),
            }
        })
        .collect()
}

fn comparisons(run: &Run) -> Vec<Comparison> {
    let versions = run.versions();
    let Some((baseline, others)) = versions.split_first() else { return Vec::new() };
    let times = |version: &str, stage| Repetitions::of(run, version, stage, Twin::Plain).step_times();
    let pairs = others.iter().flat_map(|v| Stage::ALL.map(|stage| (*v, stage)));
    pairs
        .filter_map(|(version, stage)| {
            let (before, after) = (times(baseline, stage)?, times(version, stage)?);
            Some(Comparison {
                version: version.to_string(),
                baseline: (*baseline).to_string(),
                stage,
                speedup: before.median() / after.median(),
                interval: ratio_interval(&before, &after, CONFIDENCE, SEED),
            })
        })
        .collect()
}

fn stage_findings(stage: &StageReport) -> Vec<Finding> {
    let about = format!("{} {}", stage.version, stage.stage);
    let mut findings = Vec::new();
    if let Some(coverage) = stage.coverage.filter(|c| *c < ENOUGH_COVERAGE) {
        let message = format!(
            "recorded ops cover {:.1} % of the step, less than {:.0} %: the rest is in 'other'",
            coverage * 100.0,
            ENOUGH_COVERAGE * 100.0
        );
        findings.push(Finding::new(FindingCode::LowCoverage, &about, message));
    }
    if let Some(overhead) = stage.instrumentation_overhead.filter(|o| *o > HIGH_OVERHEAD) {
        let message = format!("instrumented steps take {:.1} % longer than plain ones", overhead * 100.0);
        let remedy = "read the shares as approximate; latency is of the plain twin and not affected";
        findings.push(Finding::new(FindingCode::HighOverhead, &about, message).with_remedy(remedy));
    }
    let rows = stage.phases.named().into_iter().map(|(name, row)| (name, row.work.fraction_of_ceiling));
    for (name, fraction) in rows.filter_map(|(name, f)| Some((name, f.filter(|f| *f > 1.0)?))) {
        let message = format!(
            "reaches {:.0} % of its ceiling: its data may stay in a cache, which the DRAM ceiling does not bound",
            fraction * 100.0
        );
        findings.push(Finding::new(FindingCode::AboveCeiling, format!("{about} {name}"), message));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::samples::phase_run;
    use super::*;

    fn close(a: Option<f64>, b: f64) -> bool {
        a.is_some_and(|a| (a - b).abs() <= 1e-9 * b.abs())
    }

    #[test]
    fn times_are_medians_of_means_and_add_up_to_the_total() {
        let report = PhaseReport::new(&phase_run(), &[]);
        assert_eq!(report.stages.len(), 4);
        let decode = report.stages.iter().find(|s| s.version == "v1" && s.stage == Stage::Decode).unwrap();
        // Instrumented unit of the middle repetition: 1.01 ms x 1.02 / 2 = 0.5151 ms.
        let unit = 0.5151e-3;
        let p = &decode.phases;
        let expected = [
            (&p.embedding, 1.0),
            (&p.attention, 2.0),
            (&p.mlp, 3.0),
            (&p.head, 3.0),
            (&p.other, 1.0),
            (&p.total, 10.0),
        ];
        for (row, units) in expected {
            assert!(close(row.time_s, units * unit), "{:?} is not {units} units", row.time_s);
            assert!(close(row.share, units / 10.0));
        }
        assert!(close(decode.coverage, 0.9) && close(decode.instrumentation_overhead, 0.02));
        // Plain: prefill 10.1 ms, decode 5.05 ms, batch 1.
        assert!(close(decode.ttft_s, 10.1e-3) && close(decode.tpot_s, 5.05e-3));
        assert!(close(decode.tokens_per_s, 1.0 / 5.05e-3));
        assert_eq!(decode.kv_cache_bytes.allocated, Some(4096.0));
        assert_eq!((decode.repetitions, decode.steps), (3, 2));
    }

    #[test]
    fn parts_add_up_and_stay_positive_where_repetitions_drift_apart() {
        // The prefill of repetition 1 took ten times as long, that of 2 only twice, in other proportions: medians
        // of parts would come from different repetitions, and the rest of the total could be negative.
        let mut run = phase_run();
        for step in run.steps.iter_mut().filter(|s| s.twin == Twin::Instrumented && s.stage == Stage::Prefill)
        {
            let (whole, first_op) = [(1.0, 1.0), (10.0, 10.5), (2.0, 1.5)][step.repetition];
            step.time_s *= whole;
            for (i, (start, time)) in step.op_start_s.iter_mut().zip(&mut step.op_time_s).enumerate() {
                *start *= whole;
                *time *= if i == 0 { first_op } else { whole };
            }
        }
        let report = PhaseReport::new(&run, &[]);
        let phases = &report.stages[0].phases;
        let rows = phases.named();
        let sum: f64 = rows[..5].iter().map(|(_, row)| row.time_s.unwrap()).sum();
        assert!(close(phases.total.time_s, sum), "{sum}");
        let shares: f64 = rows[..5].iter().map(|(_, row)| row.share.unwrap()).sum();
        assert!((shares - 1.0).abs() < 1e-12, "{shares}");
        assert!(rows.iter().all(|(_, row)| row.time_s.unwrap() > 0.0));
        // The total is the median step, of repetition 2: the units are 1.00, 1.01 and 1.02 ms.
        assert!(close(phases.total.time_s, phases.total.time.as_ref().unwrap().median));
    }

    #[test]
    fn work_is_the_mean_over_steps_of_the_plan() {
        let report = PhaseReport::new(&phase_run(), &[]);
        let find =
            |v: &str| report.stages.iter().find(|s| s.version == v && s.stage == Stage::Decode).unwrap();
        // qkv: 2 x rows x 8 x 24 = 384 x rows. v1 has 1 row; v0 has 5 and 6, 5.5 on average.
        assert_eq!(find("v1").phases.attention.work.flops, Some(384.0));
        assert_eq!(find("v0").phases.attention.work.flops, Some(384.0 * 5.5));
        // Bytes of v1's qkv: (8 + 8 x 24 + 24) x 4.
        assert_eq!(find("v1").phases.attention.work.bytes, Some(896.0));
        assert_eq!(find("v1").phases.other.work.flops, None);
        let ops = &find("v1").ops;
        assert_eq!(ops.len(), 5);
        assert_eq!((ops[1].label.as_str(), ops[1].work.flops), ("attn.qkv", Some(384.0)));
    }

    #[test]
    fn versions_are_compared_with_the_first_by_their_plain_times() {
        let report = PhaseReport::new(&phase_run(), &[]);
        let decode = report.comparisons.iter().find(|c| c.stage == Stage::Decode).unwrap();
        assert_eq!((decode.version.as_str(), decode.baseline.as_str()), ("v1", "v0"));
        assert!((decode.speedup - 2.0).abs() < 1e-9);
        let interval = decode.interval.unwrap();
        assert!(interval.low >= 1.96 && interval.high <= 2.041, "{interval:?}");
    }

    #[test]
    fn versions_stand_in_the_order_asked_for_whatever_was_measured_first() {
        let mut run = phase_run();
        run.steps.reverse();
        assert_eq!(PhaseReport::new(&run, &[]).comparisons[0].baseline, "v0");
    }

    #[test]
    fn one_output_token_has_no_tpot() {
        let mut run = phase_run();
        run.steps.retain(|s| s.stage == Stage::Prefill);
        let report = PhaseReport::new(&run, &[]);
        assert_eq!((report.stages[0].tpot_s, report.stages[0].tokens_per_s), (None, None));
        assert!(report.stages[0].ttft_s.is_some());
    }

    #[test]
    fn low_coverage_is_a_finding() {
        let report = PhaseReport::new(&phase_run(), &[]);
        assert!(report.findings.iter().any(|f| f.code == FindingCode::LowCoverage));
    }

    #[test]
    fn the_json_has_the_contract_s_names() {
        let json = serde_json::to_value(PhaseReport::new(&phase_run(), &[])).unwrap();
        let stage = &json["stages"][0];
        assert_eq!((&stage["version"], &stage["stage"]), (&"v0".into(), &"prefill".into()));
        for name in ["embedding", "attention", "mlp", "head", "other", "total"] {
            for key in ["time_s", "share", "flops", "bytes"] {
                assert!(stage["phases"][name].get(key).is_some(), "{name}.{key}");
            }
        }
        for key in ["coverage", "instrumentation_overhead", "ttft_s", "tpot_s", "tokens_per_s"] {
            assert!(stage[key].is_f64(), "{key}");
        }
        assert!(stage["kv_cache_bytes"]["theoretical"].is_f64());
        assert_eq!(stage["ops"][1]["op"], "linear");
        assert_eq!(json["schema_version"], 1);
    }
}
