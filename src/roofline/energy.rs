//! Energy per token, from what the machine's counters saw during each stage.

use super::repetitions::Repetitions;
use crate::llm::Stage;
use crate::profile::{Run, TelemetryCost, Twin};
use crate::stats::Sample;
use serde::Serialize;

/// The energy of a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Energy {
    /// Joules of the plain twin's stage over the tokens that it processed, in all sequences: median over repetitions.
    pub joules_per_token: Option<f64>,
    /// The same over its time: mean power, in watts.
    pub power_w: Option<f64>,
    /// The counters that were summed; empty where none could be read.
    pub counters: Vec<String>,
}

impl Energy {
    /// Of the plain twin of a version and stage.
    ///
    /// Tokens are the new tokens of all sequences, of all steps of the stage: a prefill's are batch x prompt length, those
    /// of decode batch x steps.
    pub(super) fn of(run: &Run, version: &str, stage: Stage, plain: &Repetitions<'_>) -> Self {
        let tokens: usize =
            plain.first().iter().map(|s| s.shape.batch * output_tokens(stage, s.shape.new_tokens)).sum();
        let usage = || {
            let of = run
                .usage
                .iter()
                .filter(|u| u.version == version && u.stage == stage && u.twin == Twin::Plain);
            of.filter_map(|u| Some((u, u.energy_j()?)))
        };
        let median = |values: Vec<f64>| Sample::new(values).ok().map(|sample| sample.median());
        Self {
            joules_per_token: median(usage().map(|(_, joules)| joules / tokens as f64).collect())
                .filter(|_| tokens > 0),
            power_w: median(
                usage().filter(|(u, _)| u.wall_s > 0.0).map(|(u, joules)| joules / u.wall_s).collect(),
            ),
            counters: usage()
                .next()
                .map(|(u, _)| u.energy.iter().map(|e| e.counter.clone()).collect())
                .unwrap_or_default(),
        }
    }
}

/// A decode step makes one token of each sequence, however many it has to compute again without a cache.
fn output_tokens(stage: Stage, new_tokens: usize) -> usize {
    match stage {
        Stage::Prefill => new_tokens,
        Stage::Decode => 1,
    }
}

/// What the machine did while a run was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Machine {
    /// Of the time of the CPUs that the run could use, what it used itself.
    pub own_cpu_share: Option<f64>,
    /// What other programs used.
    pub others_cpu_share: Option<f64>,
    /// What a hypervisor used for others.
    pub steal_share: Option<f64>,
    /// For how long a CPU limit held threads back.
    pub throttled_s: Option<f64>,
    /// Times that a thread was taken off its CPU, per second.
    pub involuntary_switches_per_s: Option<f64>,
    /// The lowest, the median and the highest of the samples' CPU clocks.
    pub cpu_clock_hz: Option<[f64; 3]>,
    /// The GPUs, over all samples.
    pub gpus: Vec<GpuRange>,
    /// What sampling cost; `None` where nothing was sampled.
    pub telemetry: Option<TelemetryCost>,
    /// CPU time of the sampling thread per time.
    pub telemetry_cpu_share: Option<f64>,
}

/// The lowest, the median and the highest of what the samples of a GPU say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GpuRange {
    /// NVML's number of it.
    pub index: u32,
    /// Clock of the SMs.
    pub sm_clock_hz: Option<[f64; 3]>,
    /// Clock of the memory.
    pub memory_clock_hz: Option<[f64; 3]>,
    /// Power.
    pub power_w: Option<[f64; 3]>,
    /// Temperature, in degrees Celsius.
    pub temperature_c: Option<[f64; 3]>,
    /// Memory in use.
    pub memory_used_bytes: Option<[f64; 3]>,
    /// Over PCIe to the host.
    pub pcie_sent_byte_per_s: Option<[f64; 3]>,
    /// Over PCIe from the host.
    pub pcie_received_byte_per_s: Option<[f64; 3]>,
}

impl Machine {
    /// Over all stages that were recorded, and all samples.
    pub(super) fn of(run: &Run) -> Self {
        let cost = run.telemetry_cost;
        Self {
            own_cpu_share: share(run, |u| u.own_cpu_s),
            others_cpu_share: share(run, |u| u.others_cpu_s),
            steal_share: share(run, |u| u.steal_s),
            throttled_s: run.usage.iter().filter_map(|u| u.throttled_s).reduce(|a, b| a + b),
            involuntary_switches_per_s: rate(run),
            cpu_clock_hz: range(run.telemetry.iter().map(|t| t.cpu_clock_hz)),
            gpus: gpus(run),
            telemetry: cost,
            telemetry_cpu_share: cost.and_then(|cost| cost.cpu_share()),
        }
    }
}

/// CPU time over the CPUs' time, of the stages that have both.
fn share(run: &Run, of: fn(&crate::profile::UsageRecord) -> Option<f64>) -> Option<f64> {
    let known = || run.usage.iter().filter_map(|u| Some((of(u)?, u.wall_s * u.cpus? as f64)));
    let all: f64 = known().map(|(_, all)| all).sum();
    (all > 0.0).then(|| known().map(|(part, _)| part).sum::<f64>() / all)
}

fn rate(run: &Run) -> Option<f64> {
    let known = || run.usage.iter().filter_map(|u| Some((u.involuntary_switches? as f64, u.wall_s)));
    let all: f64 = known().map(|(_, wall)| wall).sum();
    (all > 0.0).then(|| known().map(|(count, _)| count).sum::<f64>() / all)
}

fn range(values: impl Iterator<Item = Option<f64>>) -> Option<[f64; 3]> {
    let sample = Sample::new(values.flatten().collect()).ok()?;
    let (low, high) =
        sample.values().iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    Some([low, sample.median(), high])
}

fn gpus(run: &Run) -> Vec<GpuRange> {
    let samples = || run.telemetry.iter().flat_map(|t| &t.gpus);
    let mut indices: Vec<u32> = samples().map(|g| g.index).collect();
    indices.sort_unstable();
    indices.dedup();
    let one = |index: u32| {
        let of = |value: fn(&crate::profile::GpuSample) -> Option<f64>| {
            range(samples().filter(|g| g.index == index).map(value))
        };
        GpuRange {
            index,
            sm_clock_hz: of(|g| g.sm_clock_hz),
            memory_clock_hz: of(|g| g.memory_clock_hz),
            power_w: of(|g| g.power_w),
            temperature_c: of(|g| g.temperature_c),
            memory_used_bytes: of(|g| g.memory_used_bytes),
            pcie_sent_byte_per_s: of(|g| g.pcie_sent_byte_per_s),
            pcie_received_byte_per_s: of(|g| g.pcie_received_byte_per_s),
        }
    };
    indices.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::PhaseReport;
    use super::super::samples::phase_run;
    use super::*;
    use crate::profile::{EnergyReading, GpuSample, TelemetryRecord, UsageRecord};

    fn usage(stage: Stage, repetition: usize, joules: &[f64]) -> UsageRecord {
        let energy = joules.iter().enumerate();
        UsageRecord {
            wall_s: 2.0,
            cpus: Some(4),
            own_cpu_s: Some(4.0),
            others_cpu_s: Some(1.0),
            involuntary_switches: Some(6),
            energy: energy
                .map(|(i, j)| EnergyReading { counter: format!("package-{i}"), energy_j: *j })
                .collect(),
            ..UsageRecord::of("v0", stage, Twin::Plain, repetition)
        }
    }

    #[test]
    fn joules_are_of_the_tokens_that_the_stage_is_for() {
        let mut run = phase_run();
        let report = |run: &Run| PhaseReport::new(run, &[]);
        let of = |run: &Run, stage| {
            report(run).stages.into_iter().find(|s| s.version == "v0" && s.stage == stage).unwrap().energy
        };
        assert_eq!(of(&run, Stage::Decode), Energy::default());
        for (repetition, joules) in [6.0, 8.0, 100.0].into_iter().enumerate() {
            run.usage.push(usage(Stage::Decode, repetition, &[joules / 2.0, joules / 2.0]));
            run.usage.push(usage(Stage::Prefill, repetition, &[joules]));
        }
        // v0 computes 5 and 6 tokens in its two decode steps, and makes one each: 8 J / 2; 8 J in 2 s.
        let decode = of(&run, Stage::Decode);
        assert_eq!((decode.joules_per_token, decode.power_w), (Some(4.0), Some(4.0)));
        assert_eq!(decode.counters, ["package-0", "package-1"]);
        let prompt = run.steps.iter().find(|s| s.stage == Stage::Prefill).unwrap().shape.new_tokens;
        assert_eq!(of(&run, Stage::Prefill).joules_per_token, Some(8.0 / prompt as f64));
    }

    #[test]
    fn the_machine_is_summed_over_stages_and_ranged_over_samples() {
        let mut run = phase_run();
        assert_eq!(Machine::of(&run), Machine::default());
        run.usage = vec![usage(Stage::Decode, 0, &[]), usage(Stage::Decode, 1, &[])];
        run.usage[1].others_cpu_s = None;
        let power = |power_w: f64| GpuSample { index: 1, power_w: Some(power_w), ..GpuSample::default() };
        let sample = |at_s, gpus| TelemetryRecord { at_s, gpus, ..TelemetryRecord::default() };
        run.telemetry = vec![
            sample(0.0, vec![power(300.0)]),
            sample(0.1, vec![power(100.0)]),
            sample(0.2, vec![power(700.0)]),
        ];
        run.telemetry_cost =
            Some(TelemetryCost { interval_s: 0.1, samples: 3, wall_s: 2.0, cpu_s: Some(0.002) });
        let machine = Machine::of(&run);
        // 8 of 16 CPU seconds; others are known of one stage alone: 1 of 8.
        assert_eq!((machine.own_cpu_share, machine.others_cpu_share), (Some(0.5), Some(0.125)));
        assert_eq!((machine.steal_share, machine.involuntary_switches_per_s), (None, Some(3.0)));
        assert_eq!(machine.gpus[0].power_w, Some([100.0, 300.0, 700.0]));
        assert_eq!((machine.gpus[0].sm_clock_hz, machine.telemetry_cpu_share), (None, Some(0.001)));
    }
}
