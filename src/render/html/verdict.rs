//! What the runs say, in plain words: sentences made of measured numbers, each with its uncertainty where there is one.

use super::benchmarks::Benchmarks;
use crate::compare::{PairReport, TimeChange};
use crate::llm::{Phase, Stage};
use crate::profile::Run;
use crate::render::table::significant;
use crate::roofline::{Bound, Level, PhaseReport, Roofline, StageReport};
use crate::stats::{Interval, Verdict};
use crate::units::Seconds;

/// A run with what was made of it.
pub(super) struct Told<'a> {
    /// What it is called, where there are several.
    pub(super) name: Option<&'a str>,
    pub(super) run: &'a Run,
    pub(super) report: Option<&'a PhaseReport>,
    pub(super) benchmarks: &'a Benchmarks,
}

/// The sentences of all runs; `name` says what a run is called, where there are several.
pub(super) fn sentences(runs: &[Told<'_>], roofline: &Roofline, pairs: &[PairReport]) -> Vec<String> {
    let mut all = Vec::new();
    // Of several runs, what changed comes first.
    if runs.len() > 1 {
        all.extend(pairs.iter().map(change));
    }
    for Told { name, run, report, benchmarks } in runs {
        let of = name.map(|n| format!("{n}: ")).unwrap_or_default();
        if run.manifest.is_some() && !run.complete {
            all.push(format!("{of}The run was interrupted: what follows is of the part until then."));
        }
        for versions in report.iter().flat_map(|r| r.stages.chunk_by(|a, b| a.version == b.version)) {
            all.extend(speed(versions).map(|s| format!("{of}{s}")));
            all.extend(bounds(versions).map(|s| format!("{of}{s}")));
        }
        all.extend(benchmarks.sentences().into_iter().map(|s| format!("{of}{s}")));
    }
    if runs.len() < 2 {
        all.extend(pairs.iter().map(change));
    }
    all.extend(kernels(roofline));
    if all.is_empty() {
        all.push("The files hold nothing that was timed; the tables below show what they have.".to_string());
    }
    all
}

fn range(interval: Option<Interval>) -> String {
    let time = |t: f64| Seconds(t).to_string();
    interval.map_or(String::new(), |i| format!(" (95 % interval {} to {})", time(i.low), time(i.high)))
}

/// `v1 takes 19.4 ms to the first token, then 7.46 ms for each …`
fn speed(stages: &[StageReport]) -> Option<String> {
    let of = |stage| stages.iter().find(|s: &&StageReport| s.stage == stage)?.plain_step_s.as_ref();
    let (first, next) = (of(Stage::Prefill), of(Stage::Decode));
    let name = &stages.first()?.version;
    let first = first.map(|t| format!("{} to the first token{}", Seconds(t.median), range(t.interval)));
    let next = next.map(|t| {
        let rate = stages[0].tokens_per_s.map(|r| format!(", {} tokens per second", significant(Some(r))));
        format!("{} for each further one{}{}", Seconds(t.median), range(t.interval), rate.unwrap_or_default())
    });
    let parts: Vec<String> = first.into_iter().chain(next).collect();
    (!parts.is_empty()).then(|| format!("{name} takes {}.", parts.join(", then ")))
}

/// What bounds a decode step, or the prefill where there is none, and where its time goes.
fn bounds(stages: &[StageReport]) -> Option<String> {
    let of = |stage| stages.iter().find(|s: &&StageReport| s.stage == stage);
    let stage = of(Stage::Decode).or(of(Stage::Prefill))?;
    let total = &stage.phases.total.work;
    let reached = total.fraction_of_ceiling.map(|f| format!("{:.0} %", 100.0 * f));
    let what = if stage.stage == Stage::Decode { "decode step" } else { "prefill" };
    let bound = match (total.bound, reached) {
        (Some(Bound::Memory), Some(reached)) => {
            format!(
                "is bound by memory and runs at {reached} of what bandwidth allows for the bytes it must move"
            )
        }
        (Some(Bound::Compute), Some(reached)) => {
            format!("is bound by arithmetic and runs at {reached} of what the ceilings allow")
        }
        (Some(Bound::Latency), Some(reached)) => format!(
            "is far under both ceilings ({reached}): neither bandwidth nor arithmetic bounds it, but what happens between"
        ),
        _ => "is held against no known ceiling".to_string(),
    };
    let share = |p: &Phase| stage.phases.get(*p).share;
    let largest =
        Phase::ALL.into_iter().filter_map(|p| Some((p, share(&p)?))).max_by(|a, b| a.1.total_cmp(&b.1));
    let most = largest.map(|(p, s)| format!("; {p} takes {:.0} % of it", 100.0 * s)).unwrap_or_default();
    Some(format!("A {what} of {} {bound}{most}.", stage.version))
}

/// `v1 against v0: decode 3.28x as fast … (faster); …`
fn change(pair: &PairReport) -> String {
    let part = |t: &TimeChange| {
        let times = format!("{}x as fast", significant(Some(t.change.speedup)));
        let interval = t
            .change
            .interval
            .map(|i| format!(" [{}, {}]", significant(Some(i.low)), significant(Some(i.high))));
        let verdict = match t.change.verdict {
            Verdict::Same => "no difference that matters",
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::Unclear => "not certain",
        };
        format!("{} {times}{} ({verdict})", t.what, interval.unwrap_or_default())
    };
    let mut why: Vec<&str> = pair.times.iter().filter_map(|t| t.change.reason.as_deref()).collect();
    why.dedup();
    let why = if why.is_empty() { String::new() } else { format!(" Not certain: {}.", why.join("; ")) };
    let mut parts: Vec<String> = pair.times.iter().map(part).collect();
    parts.extend(cache(pair));
    // Of one version scored once, there is no change to tell.
    parts.extend(pair.perplexity.filter(|p| p.ratio != 1.0).map(|p| {
        let by = |ratio: f64| format!("{:+.2}", 100.0 * (ratio - 1.0));
        let range = p.interval.map_or(String::new(), |i| format!(" [{}, {}]", by(i.low), by(i.high)));
        format!("perplexity {} %{range}", by(p.ratio))
    }));
    format!("{} against {}: {}.{why}", pair.new, pair.old, parts.join("; "))
}

/// Where one side's cache is the smaller one.
fn cache(pair: &PairReport) -> Option<String> {
    let (old, new) = (pair.memory.old_allocated_bytes?, pair.memory.new_allocated_bytes?);
    match old / new {
        ratio if !ratio.is_finite() || ratio == 0.0 || ratio == 1.0 => None,
        ratio if ratio > 1.0 => Some(format!("its KV cache is {}x smaller", significant(Some(ratio)))),
        ratio => Some(format!("its KV cache is {}x larger", significant(Some(1.0 / ratio)))),
    }
}

/// Of a profiler's export: how many kernels, the longest, and what bounds the time.
fn kernels(roofline: &Roofline) -> Option<String> {
    let of_level = roofline.points.iter().filter(|p| matches!(p.level, Level::Kernel | Level::Launch));
    let timed: Vec<_> = of_level.filter_map(|p| Some((p, p.time.as_ref()?.value))).collect();
    let total: f64 = timed.iter().map(|(_, t)| t).sum();
    let (longest, time) = timed.iter().max_by(|a, b| a.1.total_cmp(&b.1)).filter(|_| total > 0.0)?;
    let bound = |b: Bound| timed.iter().filter(|(p, _)| p.bound == b).map(|(_, t)| t).sum::<f64>() / total;
    let shares = [
        (Bound::Memory, "by memory"),
        (Bound::Compute, "by arithmetic"),
        (Bound::Latency, "by neither memory nor arithmetic"),
    ];
    let shares = shares.into_iter().map(|(b, words)| (words, bound(b))).filter(|(_, s)| *s > 0.0);
    let share = |i: usize, (words, s): (&str, f64)| {
        format!("{:.0} %{} {words}", 100.0 * s, if i == 0 { " is bound" } else { "" })
    };
    let shares: Vec<String> = shares.enumerate().map(|(i, of)| share(i, of)).collect();
    let bounds = if shares.is_empty() {
        "what bounds them cannot be told from these files".to_string()
    } else {
        format!("of that time, {}", shares.join(", "))
    };
    let (total_time, label) = (Seconds(total), longest.label());
    Some(match timed.len() {
        1 => format!("One kernel, {label}, takes {total_time}; {bounds}."),
        n => {
            let share = 100.0 * time / total;
            format!(
                "{n} kernels take {total_time} in all; the longest is {label} with {share:.0} %; {bounds}."
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::KernelRecord;
    use crate::roofline::samples::{kernel, phase_run};
    use crate::roofline::{By, Ceilings, analyse};

    fn told<'a>(name: Option<&'a str>, run: &'a Run, report: Option<&'a PhaseReport>) -> Told<'a> {
        let benchmarks = Box::leak(Box::new(Benchmarks::of(run, &[])));
        Told { name, run, report, benchmarks }
    }

    #[test]
    fn a_run_is_told_in_times_bounds_and_shares() {
        let run = phase_run();
        let report = PhaseReport::new(&run, &[]);
        let all = sentences(&[told(None, &run, Some(&report))], &Roofline::default(), &[]);
        // v1: prefill 10.1 ms, decode 5.05 ms.
        assert!(
            all.iter().any(|s| s.starts_with("v1 takes 10.1 ms to the first token") && s.contains("5.05 ms")),
            "{all:?}"
        );
        assert!(
            all.iter().any(|s| s.contains("far under both ceilings") && s.contains("% of it")),
            "{all:?}"
        );
    }

    #[test]
    fn an_interrupted_run_says_so_first() {
        let run = Run { complete: false, ..phase_run() };
        let all = sentences(&[told(Some("a"), &run, None)], &Roofline::default(), &[]);
        assert_eq!(all, ["a: The run was interrupted: what follows is of the part until then."]);
    }

    #[test]
    fn kernels_are_summed_up() {
        let kernels: Vec<KernelRecord> = vec![kernel("gemm", 3e-3, 1e9, 1e9), kernel("norm", 1e-3, 1e9, 1e6)];
        let run = Run { kernels, file: "x.csv".into(), ..Run::default() };
        let roofline = analyse(std::slice::from_ref(&run), By::Kernel, &Ceilings::default());
        let all = sentences(&[told(None, &run, None)], &roofline, &[]);
        assert_eq!(all.len(), 1);
        assert!(
            all[0].starts_with("2 kernels take 4.00 ms in all; the longest is gemm with 75 %"),
            "{all:?}"
        );
        assert!(all[0].contains("cannot be told"), "{all:?}");
    }

    #[test]
    fn one_kernel_is_told_in_the_singular_with_what_bounds_it() {
        let run =
            Run { kernels: vec![kernel("gemm", 3e-3, 1e9, 1e9)], file: "x.csv".into(), ..Run::default() };
        let mut roofline = analyse(std::slice::from_ref(&run), By::Kernel, &Ceilings::default());
        roofline.points[0].bound = Bound::Latency;
        let all = sentences(&[told(None, &run, None)], &roofline, &[]);
        let want =
            "One kernel, gemm, takes 3.00 ms; of that time, 100 % is bound by neither memory nor arithmetic.";
        assert_eq!(all, [want]);
    }
}
