//! What the machine did to a run, as findings: CPU time that others took, limits that were hit, clocks held back.

use super::doctor::harmful;
use crate::profile::{Finding, FindingCode, TelemetryRecord, UsageRecord};
use crate::stats::Sample;
use crate::units::format_si;

/// Of the CPUs' time, what others may take before times are no longer one's own.
const TAKEN_BY_OTHERS: f64 = 0.05;
/// The same for a hypervisor, which takes it in the middle of whatever runs.
const STOLEN: f64 = 0.01;
/// A stage shorter than this is not judged alone: a tick of 10 ms on each CPU would be 5 % of it.
const LONG_ENOUGH_S: f64 = 0.2;

/// A clock that spans more than this of itself moves times by more than most verdicts are about.
const CLOCK_SPAN: f64 = 0.05;
/// Samples of a clock under which nothing is said of it.
const ENOUGH_CLOCKS: usize = 5;

/// What others took from a run, by all its stages together, with the worst of those that are long enough to be told.
pub fn interference(usage: &[UsageRecord]) -> Vec<Finding> {
    let others = taken(usage, |u| u.others_cpu_s, TAKEN_BY_OTHERS).map(|taken| {
        Finding::new(FindingCode::Interference, "other programs", format!("took {taken}")).with_remedy(
            "end them (`top -o %CPU`), or measure when they are done; `kprof doctor` shows the load",
        )
    });
    let stolen = taken(usage, |u| u.steal_s, STOLEN).map(|taken| {
        Finding::new(FindingCode::Interference, "the hypervisor", format!("took {taken} (steal time)"))
            .with_remedy("use an instance with dedicated CPUs, or more repetitions and their interval")
    });
    let throttled: f64 = usage.iter().filter_map(|u| u.throttled_s).sum();
    let throttled = (throttled > 0.0).then(|| {
        let message =
            format!("a control group's CPU limit held threads back for {}", format_si(throttled, "s"));
        Finding::new(FindingCode::Throttled, "CPU limit", message)
            .with_remedy("raise the container's limit, or use --threads within it; `kprof doctor` shows it")
    });
    others.into_iter().chain(stolen).chain(throttled).collect()
}

/// `12 % of the CPU time of this run, most in v1 decode, repetition 3: 40 %`; `None` under the threshold, or where the
/// system does not say.
fn taken(usage: &[UsageRecord], of: fn(&UsageRecord) -> Option<f64>, threshold: f64) -> Option<String> {
    let known: Vec<(&UsageRecord, f64, f64)> =
        usage.iter().filter_map(|u| Some((u, of(u)?, u.wall_s * u.cpus? as f64))).collect();
    let long = known.iter().map(|(u, ..)| u.wall_s).sum::<f64>() >= LONG_ENOUGH_S;
    let share = known.iter().map(|k| k.1).sum::<f64>() / known.iter().map(|k| k.2).sum::<f64>();
    let alone = known.iter().filter(|k| k.0.wall_s >= LONG_ENOUGH_S).map(|k| (k.0, k.1 / k.2));
    let worst = alone.max_by(|a, b| a.1.total_cmp(&b.1));
    let is_one_hit = worst.is_some_and(|(_, share)| share > threshold);
    if !(long && share > threshold || is_one_hit) {
        return None;
    }
    let mut text = format!("{:.1} % of the CPU time while this was measured", share * 100.0);
    if let Some((u, share)) = worst {
        let (version, stage, number) = (&u.version, u.stage, u.repetition + 1);
        text += &format!(", most in {version} {stage}, repetition {number}: {:.1} %", share * 100.0);
    }
    Some(text)
}

/// GPUs whose clocks were held back in some sample, with the reasons, and clocks that changed.
pub fn throttling(samples: &[TelemetryRecord]) -> Vec<Finding> {
    let mut indices: Vec<u32> = samples.iter().flat_map(|s| s.gpus.iter().map(|g| g.index)).collect();
    indices.sort_unstable();
    indices.dedup();
    let cpu = changed(samples.iter().filter_map(|s| s.cpu_clock_hz)).map(|message| {
        Finding::new(FindingCode::ClockChanged, "CPU clock", message).with_remedy(
            "use the governor `performance` and switch boost off (`kprof doctor` has the commands), or compare interleaved",
        )
    });
    let gpu_clock = |index: &u32| {
        let of = |s: &TelemetryRecord| s.gpus.iter().find(|g| g.index == *index)?.sm_clock_hz;
        changed(samples.iter().filter_map(of)).map(|message| {
            Finding::new(FindingCode::ClockChanged, format!("GPU {index}"), message)
                .with_remedy(format!("lock its clocks: `sudo nvidia-smi -i {index} -lgc MHZ`"))
        })
    };
    let clocks = cpu.into_iter().chain(indices.iter().filter_map(gpu_clock));
    let of_gpu = |index: u32| {
        let reasons: Vec<Vec<&str>> = samples
            .iter()
            .flat_map(|s| s.gpus.iter().filter(|g| g.index == index))
            .filter_map(|g| g.throttle_reasons.as_deref().map(harmful))
            .collect();
        let hit = reasons.iter().filter(|r| !r.is_empty()).count();
        let mut names: Vec<&str> = reasons.iter().flatten().copied().collect();
        names.sort_unstable();
        names.dedup();
        (hit > 0).then(|| {
            let message = format!("clocks were held back in {hit} of {} samples: {}", reasons.len(), names.join(", "));
            Finding::new(FindingCode::Throttled, format!("GPU {index}"), message).with_remedy(format!(
                "lock clocks that it can hold (`sudo nvidia-smi -i {index} -lgc MHZ`), improve cooling, or wait"
            ))
        })
    };
    indices.iter().copied().filter_map(of_gpu).chain(clocks).collect()
}

/// `it was between 2.1 and 3.4 GHz`, where nine tenths of the samples span more than [`CLOCK_SPAN`]; `None` of few samples.
fn changed(clocks: impl Iterator<Item = f64>) -> Option<String> {
    let clocks = Sample::new(clocks.collect()).ok().filter(|c| c.count() >= ENOUGH_CLOCKS)?;
    let (low, high) = (clocks.percentile(5.0), clocks.percentile(95.0));
    (low > 0.0 && high / low > 1.0 + CLOCK_SPAN).then(|| {
        let [low, high] = [low, high].map(|hz| format_si(hz, "Hz"));
        format!("it was between {low} and {high} while times were taken, and times change with it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::Stage;
    use crate::profile::{GpuSample, Twin};

    fn usage(repetition: usize, wall_s: f64, others: Option<f64>, steal: Option<f64>) -> UsageRecord {
        UsageRecord {
            wall_s,
            cpus: Some(4),
            others_cpu_s: others,
            steal_s: steal,
            ..UsageRecord::of("v1", Stage::Decode, Twin::Plain, repetition)
        }
    }

    #[test]
    fn others_are_named_with_the_worst_repetition() {
        // Of 2 x 4 CPU seconds others took 0.4 + 2.0: 30 %; of the second repetition alone 50 %.
        let found = interference(&[usage(0, 1.0, Some(0.4), Some(0.0)), usage(1, 1.0, Some(2.0), None)]);
        let expected =
            "took 30.0 % of the CPU time while this was measured, most in v1 decode, repetition 2: 50.0 %";
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].message, expected);
        let stolen = interference(&[usage(0, 1.0, None, Some(0.08))]);
        assert_eq!((stolen.len(), stolen[0].about.as_str()), (1, "the hypervisor"));
    }

    #[test]
    fn quiet_short_and_silent_runs_have_no_finding() {
        assert!(interference(&[]).is_empty());
        assert!(interference(&[usage(0, 1.0, Some(0.1), Some(0.01))]).is_empty());
        assert!(
            interference(&[usage(0, 0.1, Some(0.2), Some(0.02))]).is_empty(),
            "under the tick's resolution"
        );
        assert!(interference(&[usage(0, 1.0, None, None)]).is_empty());
        // Many short stages together are long enough.
        let short: Vec<UsageRecord> = (0..5).map(|i| usage(i, 0.1, Some(0.1), None)).collect();
        assert_eq!(interference(&short).len(), 1);
    }

    #[test]
    fn one_bad_repetition_among_good_ones_is_found() {
        let mut all: Vec<UsageRecord> = (0..20).map(|i| usage(i, 1.0, Some(0.0), None)).collect();
        all[7].others_cpu_s = Some(0.4);
        assert!(interference(&all)[0].message.ends_with("repetition 8: 10.0 %"));
    }

    #[test]
    fn a_cpu_limit_that_was_hit_is_a_finding() {
        let limited = UsageRecord { throttled_s: Some(0.25), ..usage(0, 1.0, None, None) };
        let found = interference(&[limited]);
        assert_eq!((found.len(), found[0].code), (1, FindingCode::Throttled));
        assert!(found[0].message.contains("250 ms"), "{}", found[0].message);
    }

    #[test]
    fn only_harmful_reasons_count_as_throttling() {
        let sample = |reasons: Option<&[&str]>| TelemetryRecord {
            gpus: vec![GpuSample {
                index: 1,
                throttle_reasons: reasons.map(|r| r.iter().map(ToString::to_string).collect()),
                ..GpuSample::default()
            }],
            ..TelemetryRecord::default()
        };
        assert!(throttling(&[sample(Some(&["gpu_idle"])), sample(None)]).is_empty());
        let found = throttling(&[sample(Some(&["gpu_idle"])), sample(Some(&["sw_power_cap"])), sample(None)]);
        assert_eq!(found[0].message, "clocks were held back in 1 of 2 samples: sw_power_cap");
    }

    #[test]
    fn a_clock_that_changed_is_a_finding_and_one_low_sample_is_none() {
        let at = |hz: f64| TelemetryRecord { cpu_clock_hz: Some(hz), ..TelemetryRecord::default() };
        let steady: Vec<TelemetryRecord> = (0..40).map(|i| at(if i == 7 { 1e9 } else { 3e9 })).collect();
        assert!(throttling(&steady).is_empty());
        let falling: Vec<TelemetryRecord> = (0..40).map(|i| at(if i < 30 { 3e9 } else { 2e9 })).collect();
        let found = throttling(&falling);
        assert_eq!((found.len(), found[0].code), (1, FindingCode::ClockChanged));
        assert!(found[0].message.starts_with("it was between 2.00 GHz and 3.00 GHz"), "{}", found[0].message);
        assert!(throttling(&falling[28..32]).is_empty(), "four samples are few");
    }
}
