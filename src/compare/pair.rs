//! One version of one run against another: times with intervals and verdicts, contributions, memory.

use super::align::Subject;
use super::contributions::stage_change;
use super::quality;
use super::report::{GenerationBlock, InferenceBlock, MemoryChange, PairReport, ReferenceBlock, TimeChange};
use super::unlike::unlike;
use crate::llm::Stage;
use crate::profile::{CacheRecord, Run};
use crate::roofline::{Durations, Pairing, PhaseReport, StageReport};

/// The seed of bootstrap intervals, so that two files give the same report every time.
const SEED: u64 = 0;

/// Compares `new` with `old`; a change under `threshold` (a fraction) is none. Versions of one run were measured interleaved:
/// a repetition of both saw the same machine.
pub fn compare_pair(old: Subject<'_>, new: Subject<'_>, threshold: f64) -> PairReport {
    let one_run = old.run.file == new.run.file;
    compare_pair_as(old, new, if one_run { Pairing::Repetitions } else { Pairing::Apart }, threshold)
}

/// The same for sides that share what `pairing` says.
pub fn compare_pair_as(old: Subject<'_>, new: Subject<'_>, pairing: Pairing, threshold: f64) -> PairReport {
    let stage = |stage| move |s: Subject<'_>| Durations::of_stage(s.run, s.version, stage);
    let generation = |s: Subject<'_>| Durations::of_generation(s.run, s.version);
    let time = |what, of: &dyn Fn(Subject<'_>) -> Durations| {
        let (change, [before, after]) = Durations::compare(&of(old), &of(new), pairing, threshold)?;
        Some(TimeChange { what, old: before.summary(SEED), new: after.summary(SEED), change })
    };
    let times: Vec<TimeChange> = Stage::ALL
        .into_iter()
        .filter_map(|s| time(s.name(), &stage(s)))
        .chain(time("generation", &generation))
        .collect();
    let memory = memory(old, new);
    PairReport {
        old: old.name(),
        new: new.name(),
        rank: new.run.rank_of_several().filter(|rank| old.run.rank_of_several() == Some(*rank)),
        paired: pairing != Pairing::Apart,
        processes: [old, new].map(|s| s.run.processes.len().max(1)),
        unlike: unlike(old.run, new.run),
        stages: stages(old, new),
        comparison: reference_block(&times, &memory),
        times,
        memory,
        perplexity: quality::change((&[old.run], old.version), (&[new.run], new.version)),
    }
}

fn stages(old: Subject<'_>, new: Subject<'_>) -> Vec<super::report::StageChange> {
    let (before, after) = (reports(old), reports(new));
    let other = |stage: &StageReport| after.iter().find(|s| s.stage == stage.stage);
    before.iter().filter_map(|stage| Some(stage_change(stage, other(stage)?))).collect()
}

fn reports(subject: Subject<'_>) -> Vec<StageReport> {
    // Only this version, so that other versions cost no time.
    let of = |run: &Run| Run {
        steps: run.steps.iter().filter(|s| s.version == subject.version).cloned().collect(),
        ..run.clone()
    };
    PhaseReport::new(&of(subject.run), &[]).stages
}

fn memory(old: Subject<'_>, new: Subject<'_>) -> MemoryChange {
    let cache = |s: Subject<'_>| s.run.caches.iter().rfind(|c| c.version == s.version).cloned();
    let (old, new): (Option<CacheRecord>, Option<CacheRecord>) = (cache(old), cache(new));
    MemoryChange {
        old_theoretical_bytes: old.as_ref().map(|c| c.theoretical_bytes),
        new_theoretical_bytes: new.as_ref().map(|c| c.theoretical_bytes),
        old_allocated_bytes: old.map(|c| c.allocated_bytes),
        new_allocated_bytes: new.map(|c| c.allocated_bytes),
    }
}

fn reference_block(times: &[TimeChange], memory: &MemoryChange) -> ReferenceBlock {
    let speedup = |what: &str| times.iter().find(|t| t.what == what).map(|t| t.change.speedup);
    let reduction = |speedup: f64| 100.0 * (1.0 - 1.0 / speedup);
    let saved = memory.old_allocated_bytes.zip(memory.new_allocated_bytes);
    let first_token = speedup("prefill");
    ReferenceBlock {
        inference: first_token.map(|speedup| InferenceBlock {
            speedup,
            time_reduction_percent: reduction(speedup),
            memory_reduction_mb: saved.map(|(old, new)| (old - new) / 1e6),
            memory_reduction_percent: saved
                .filter(|(old, _)| *old > 0.0)
                .map(|(old, new)| 100.0 * (old - new) / old),
        }),
        generation: speedup("generation").map(|speedup| GenerationBlock {
            speedup,
            latency_reduction_percent: reduction(speedup),
            first_token_speedup: first_token,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roofline::samples::phase_run;
    use crate::stats::Verdict;

    /// [`phase_run`] with each repetition repeated, so that there are six.
    fn long_run(file: &str) -> Run {
        let mut run = Run { file: file.into(), ..phase_run() };
        let again: Vec<_> = run
            .steps
            .iter()
            .cloned()
            .map(|mut s| {
                s.repetition += 3;
                s
            })
            .collect();
        run.steps.extend(again);
        run
    }

    fn subject<'a>(run: &'a Run, version: &'a str) -> Subject<'a> {
        Subject { run, version }
    }

    #[test]
    fn versions_of_one_run_are_paired_and_parts_add_up() {
        let run = long_run("a");
        let report = compare_pair(subject(&run, "v0"), subject(&run, "v1"), 0.02);
        assert!(report.paired);
        let verdict = |what: &str| report.times.iter().find(|t| t.what == what).unwrap();
        // v1's decode step takes half of v0's in every repetition; the prefills are alike.
        assert_eq!(verdict("decode").change.verdict, Verdict::Faster);
        assert!((verdict("decode").change.speedup - 2.0).abs() < 1e-12);
        let interval = verdict("decode").change.interval.unwrap();
        assert!((interval.low - 2.0).abs() < 1e-12 && (interval.high - 2.0).abs() < 1e-12);
        assert_eq!(verdict("prefill").change.verdict, Verdict::Same);
        let decode = report.stages.iter().find(|s| s.stage == Stage::Decode).unwrap();
        let change = |row: &super::super::Contribution| row.change_s.unwrap();
        let (total, parts) = decode.phases.split_last().unwrap();
        assert_eq!((total.name.as_str(), parts.len()), ("total", 5));
        let whole = verdict("decode").new.median - verdict("decode").old.median;
        assert!((change(total) / whole - 1.0).abs() < 1e-9, "{} {whole}", change(total));
        assert!((parts.iter().map(change).sum::<f64>() / whole - 1.0).abs() < 1e-9);
        // Everything but `other` is in some op.
        let of_ops: f64 = decode.ops.iter().map(change).sum();
        assert!((of_ops / (whole - change(&parts[4])) - 1.0).abs() < 1e-9, "{of_ops}");
        // 384 x 5.5 FLOPs of attention become 384.
        let attention = &parts[1];
        assert_eq!((attention.old_flops, attention.new_flops), (Some(2112.0), Some(384.0)));
        let generation = report.comparison.generation.as_ref().unwrap();
        // (10.1 + 2 x 10.1) / (10.1 + 2 x 5.05) = 1.5: a third less.
        assert!((generation.speedup - 1.5).abs() < 1e-9, "{generation:?}");
        assert!((generation.latency_reduction_percent - 100.0 / 3.0).abs() < 1e-7);
    }

    #[test]
    fn runs_are_compared_apart_and_a_slower_one_is_told() {
        let (old, mut new) = (long_run("a"), long_run("b"));
        new.steps.iter_mut().for_each(|s| s.time_s *= 1.2);
        let report = compare_pair(subject(&old, "v1"), subject(&new, "v1"), 0.05);
        assert!(!report.paired);
        assert!(report.times.iter().all(|t| t.change.verdict == Verdict::Slower), "{:?}", report.times);
        let same = compare_pair(subject(&old, "v1"), subject(&long_run("b"), "v1"), 0.05);
        assert!(same.times.iter().all(|t| t.change.verdict == Verdict::Same));
    }

    #[test]
    fn few_repetitions_bear_no_verdict_and_say_so() {
        let run = phase_run();
        let report = compare_pair(subject(&run, "v0"), subject(&run, "v1"), 0.02);
        let decode = report.times.iter().find(|t| t.what == "decode").unwrap();
        assert_eq!(decode.change.verdict, Verdict::Unclear);
        assert!(decode.change.reason.as_ref().unwrap().starts_with("3 repetitions: a verdict needs 5"));
    }
}
