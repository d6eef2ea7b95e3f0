//! The breakdown of a measured run: per version and stage the phases, the ops, latency and the cache.
//!
//! Two twins give it. The plain one gives latency, the instrumented one the parts; all times of a stage are per
//! step: the mean over its steps, then the median over repetitions. `other` is what no op covers. How the parts are
//! made to add up to the median step is said at [`Parts`].

use super::ceilings::CeilingSet;
use super::durations::{Durations, Pairing};
use super::energy::{Energy, Machine};
use super::repetitions::Repetitions;
use super::report::{
    Comparison, DEFINITIONS, KvCacheBytes, OpRow, PHASE_SCHEMA_VERSION, PhaseReport, PhaseRow, Phases,
    StageReport, WorkRow,
};
use super::steps::StageWork;
use crate::hw::Ceiling;
use crate::llm::{Phase, Stage};
use crate::profile::{Finding, FindingCode, Run, Twin};
use crate::stats::{CONFIDENCE, DEFAULT_THRESHOLD, ENOUGH_VALUES, Sample, median_interval};

/// Coverage under which a breakdown should not be trusted to name the culprit.
const ENOUGH_COVERAGE: f64 = 0.95;
/// Instrumentation overhead over which the breakdown is of another program: the targets of phase detail are
/// 1 % on a CPU and 2 % on a GPU; op detail may cost more and says so.
const HIGH_OVERHEAD: f64 = 0.05;
/// The seed of bootstrap intervals, so that a run gives the same report every time.
const SEED: u64 = 0;

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
            cache: run.cache_state(),
            flushed_bytes: run.flushed_bytes(),
            definitions: DEFINITIONS,
            comparisons: comparisons(run),
            machine: Machine::of(run),
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
    let overhead = instrumented.overhead(&plain);
    let cache = run.caches.iter().rfind(|c| c.version == version);
    StageReport {
        version: version.to_string(),
        stage,
        repetitions: instrumented.count(),
        steps: shapes.steps_each(),
        phases: phases(work.as_ref(), &parts),
        coverage: median(instrumented.coverage()),
        instrumentation_overhead_interval: overhead
            .as_ref()
            .and_then(|o| median_interval(o, CONFIDENCE, SEED)),
        instrumentation_overhead: median(overhead),
        plain_step_s: plain.step_times().map(|s| s.summary(SEED)),
        ttft_s: median(of(Stage::Prefill, Twin::Plain).step_times()),
        tpot_s,
        tokens_per_s: tpot_s.and_then(|t| Some(batch? / t)),
        kv_cache_bytes: KvCacheBytes {
            theoretical: cache.map(|c| c.theoretical_bytes),
            allocated: cache.map(|c| c.allocated_bytes),
            touched: cache.and_then(|c| c.touched_bytes),
        },
        energy: Energy::of(run, version, stage, &plain),
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
    let pairs = others.iter().flat_map(|v| Stage::ALL.map(|stage| (*v, stage)));
    pairs
        .filter_map(|(version, stage)| {
            let of = |version| Durations::of_stage(run, version, stage);
            let threshold = DEFAULT_THRESHOLD;
            let (change, _) =
                Durations::compare(&of(baseline), &of(version), Pairing::Repetitions, threshold)?;
            let (version, baseline) = (version.to_string(), (*baseline).to_string());
            Some(Comparison { version, baseline, stage, change, threshold })
        })
        .collect()
}

fn stage_findings(stage: &StageReport) -> Vec<Finding> {
    let about = format!("{} {}", stage.version, stage.stage);
    let mut findings = Vec::new();
    if (2..ENOUGH_VALUES).contains(&stage.repetitions) {
        let message = format!(
            "an interval from {} repetitions is narrower than it says: {ENOUGH_VALUES} are the least to trust one",
            stage.repetitions
        );
        let finding = Finding::new(FindingCode::TooFewSamples, &about, message);
        findings.push(finding.with_remedy("raise --repetitions and, if need be, --max-time"));
    }
    if let Some(coverage) = stage.coverage.filter(|c| *c < ENOUGH_COVERAGE) {
        let message = format!(
            "recorded ops cover {:.1} % of the step, less than {:.0} %: the rest is in 'other'",
            coverage * 100.0,
            ENOUGH_COVERAGE * 100.0
        );
        findings.push(Finding::new(FindingCode::LowCoverage, &about, message));
    }
    // On a busy machine the twins differ by chance: only what the whole interval says is a finding.
    if let Some(interval) = stage.instrumentation_overhead_interval.filter(|i| i.low > HIGH_OVERHEAD) {
        let message =
            format!("instrumented steps take at least {:.1} % longer than plain ones", interval.low * 100.0);
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
        assert!((decode.change.speedup - 2.0).abs() < 1e-9);
        let interval = decode.change.interval.unwrap();
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
    fn marks_that_cost_much_in_every_repetition_are_a_finding_and_noise_is_not() {
        let with = |factors: [f64; 3]| {
            let mut run = phase_run();
            for step in run.steps.iter_mut().filter(|s| s.twin == Twin::Instrumented) {
                step.time_s *= factors[step.repetition];
            }
            let findings = PhaseReport::new(&run, &[]).findings;
            findings.iter().filter(|f| f.code == FindingCode::HighOverhead).count()
        };
        assert_eq!(with([1.1, 1.12, 1.15]), 4, "two versions in two stages");
        assert_eq!(with([0.9, 1.12, 1.3]), 0);
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
