//! Runs that between them have the records of every figure.

use kprof::hw::{Ceiling, CeilingKind, CeilingSource, ComputeUnit, MemoryLevel, Precision};
use kprof::profile::{
    Accounted, CapacityMethod, CapacityRecord, DecodePointRecord, GpuSample, KernelFlops, KernelRecord,
    LatencyRecord, Measured, MemoryMethod, MemoryRecord, PowerReading, QualityRecord, Run, TelemetryRecord,
    TimingMethod, read_run,
};
use kprof::render::plot::FigureInput;
use kprof::roofline::Ceilings;
use std::path::Path;

/// Each with what it is called in messages.
pub(super) fn inputs() -> Vec<(&'static str, FigureInput)> {
    let of = |runs: Vec<Run>| FigureInput::new(runs, &[], ceilings());
    vec![
        ("run", of(vec![tiny()])),
        ("runs", of(vec![tiny(), faster()])),
        ("kernels", of(vec![kernels("before.csv", 1.0)])),
        ("exports", of(vec![kernels("before.csv", 1.0), kernels("after.csv", 0.7)])),
        ("gpu", of(vec![with_gpu()])),
        ("lengths", of(vec![lengths("lengths.jsonl", 1.0)])),
        ("scored", of(vec![Run { qualities: scores(&[("v0", 0.0), ("v1", 0.0), ("v2", 0.004)]), ..tiny() }])),
        (
            "scored-apart",
            of(vec![tiny(), faster(), Run { qualities: scores(&[("v1", 0.0), ("v2", 3.8)]), ..bare() }]),
        ),
        ("import", of(vec![imported()])),
        ("sweep", of(vec![sweep("sweep.jsonl", &[64, 256, 1024, 2048], &[1, 4])])),
        ("sweep-of-batches", of(vec![sweep("batches.jsonl", &[512], &[1, 2, 8, 32])])),
        (
            "sweeps",
            of(vec![sweep("a.jsonl", &[64, 256], &[1, 4]), sweep("on-another.jsonl", &[64, 512], &[1, 16])]),
        ),
        ("two-lengths", of(vec![lengths("lengths.jsonl", 1.0), lengths("on-another-machine.jsonl", 0.6)])),
    ]
}

/// A run of the tiny model with three versions, recorded once.
pub(super) fn tiny() -> Run {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs/tiny.jsonl");
    Run { file: "tiny.jsonl".into(), ..read_run(&path).unwrap() }
}

/// The same, a quarter faster and with a longer name.
fn faster() -> Run {
    let mut run = Run { file: "runs/after-the-change-of-the-kernels.jsonl".into(), ..tiny() };
    for step in &mut run.steps {
        step.time_s *= 0.75;
        step.op_start_s.iter_mut().chain(&mut step.op_time_s).for_each(|t| *t *= 0.75);
    }
    run
}

/// The same with two GPUs and two counters of power.
fn with_gpu() -> Run {
    let sample = |i: u32| {
        let at = f64::from(i);
        let gpu = |index: u32| GpuSample {
            index,
            sm_clock_hz: Some(1.98e9 - 1e7 * (at * 0.7).sin() * f64::from(index + 1)),
            power_w: Some(300.0 + 20.0 * (at * 0.9).cos()),
            temperature_c: Some(55.0 + 0.2 * at),
            memory_used_bytes: Some(3e9 + 1e8 * at),
            ..GpuSample::default()
        };
        TelemetryRecord {
            at_s: 0.1 * at,
            cpu_clock_hz: Some(3.1e9 + 1e7 * at),
            power: vec![PowerReading { counter: "package-0".into(), power_w: 120.0 + at }],
            gpus: vec![gpu(0), gpu(1)],
        }
    };
    Run { telemetry: (0..40).map(sample).collect(), ..tiny() }
}

fn bare() -> Run {
    Run { file: "quality.jsonl".into(), manifest: tiny().manifest, ..Run::default() }
}

/// Twelve segments of forty tokens; of each version by how many nats a token costs more than v1's.
fn scores(versions: &[(&str, f64)]) -> Vec<QualityRecord> {
    let record = |(version, more): &(&str, f64), segment: usize| {
        let nll = (0..40).map(|i| {
            let wobble = ((segment * 40 + i) as f64 * 0.7).sin();
            3.0 + wobble + more * (1.0 + 0.5 * ((segment * 7 + i) as f64 * 1.3).cos())
        });
        QualityRecord {
            version: (*version).into(),
            segment,
            first_token: 40 * segment,
            bytes: Some(160),
            characters: None,
            nll_nat: nll.collect(),
            teacher_forced_nll_nat: Vec::new(),
            reference: (*version != "v1").then(|| "v1".to_string()),
            kl_nat: Vec::new(),
            same_top1: Vec::new(),
            mean_of: None,
        }
    };
    versions.iter().flat_map(|v| (0..12).map(move |s| record(v, s))).collect()
}

/// Perplexities as another program's file has them: one mean for each version, and no reference.
fn imported() -> Run {
    let mean = |version: &str, nll: f64| QualityRecord {
        nll_nat: vec![nll],
        reference: None,
        mean_of: Some(480),
        segment: 0,
        first_token: 0,
        ..scores(&[(version, 0.0)]).remove(0)
    };
    let all = [("v0", 22.54f64), ("v1", 22.54), ("v2", 22.6), ("v3", 989.0), ("v4", 984.0)];
    let qualities = all.into_iter().map(|(version, perplexity)| mean(version, perplexity.ln())).collect();
    Run { file: "results.jsonl".into(), qualities, ..Run::default() }
}

/// Decode steps of v1 and v2, made up: v2 begins above and grows by half as much; plans are tiny's.
fn sweep(file: &str, contexts: &[usize], batches: &[usize]) -> Run {
    let mut run = Run { file: file.into(), steps: Vec::new(), ..tiny() };
    for batch in batches {
        for context in contexts {
            for repetition in 0..6 {
                for (version, base, slope) in [("v1", 0.9e-3, 1.1e-6), ("v2", 1.15e-3, 0.5e-6)] {
                    let noise = 1.0 + 0.01 * ((repetition * 7 + context + batch * 3) as f64).sin();
                    let time_s = noise * (base * (*batch as f64).sqrt() + slope * (context * batch) as f64);
                    run.decode_points.push(DecodePointRecord {
                        version: version.into(),
                        context: *context,
                        batch: *batch,
                        repetition,
                        time_s,
                        steps: 5,
                        method: TimingMethod::HostClock,
                    });
                }
            }
        }
    }
    run
}

/// Latency, memory and capacity of five versions, made up: time grows with the square of the length without a cache.
fn lengths(file: &str, factor: f64) -> Run {
    let mut run = Run { file: file.into(), ..Run::default() };
    let bytes = |bytes: f64, method| Some(Accounted::new(bytes, method));
    for (v, version) in ["v0", "v1", "v2", "v3", "v4"].into_iter().enumerate() {
        let share = [0.0, 1.0, 0.52, 0.5, 0.26][v];
        for tokens in [16, 64, 128, 256, 512, 1024] {
            let t = tokens as f64;
            let cache = share * 36864.0 * (t + 32.0);
            for repetition in 0..5 {
                let noise = 1.0 + 0.01 * ((repetition * 7 + v * 3 + tokens) as f64).sin();
                let growth = if v == 0 { 4e-5 * t * t } else { 0.0 };
                run.latencies.push(LatencyRecord {
                    version: version.into(),
                    tokens,
                    prompt_length: 32,
                    batch: 1,
                    repetition,
                    time_s: factor * noise * (0.02 + 0.007 * t * (1.0 + 0.1 * v as f64) + growth),
                    ttft_s: Some(0.02 * noise),
                    method: TimingMethod::HostClock,
                    summarised: None,
                });
            }
            run.memory.push(MemoryRecord {
                version: version.into(),
                tokens,
                prompt_length: 32,
                batch: 1,
                repetition: 0,
                capacity: (v > 0).then_some(1056),
                peak: bytes(498e6 + 1.2 * cache + 6e6, MemoryMethod::Counted),
                weights: bytes(498e6, MemoryMethod::Counted),
                cache_theoretical: (v > 0).then(|| Accounted::new(cache, MemoryMethod::Formula)),
                cache_allocated: (v > 0).then(|| Accounted::new(1.2 * cache, MemoryMethod::Reported)),
                cache_touched: None,
                activations: bytes(6e6, MemoryMethod::Counted),
                above_weights: None,
                resident_peak: bytes(520e6 + 1.1 * cache, MemoryMethod::ResidentSet),
            });
        }
        for context in [1024, 4096] {
            let theory = (v > 0).then(|| (8e9 / (share * 36864.0 * context as f64)) as usize);
            run.capacities.push(CapacityRecord {
                version: version.into(),
                context,
                budget_bytes: 8.5e9,
                batch: theory.map_or(40, |t| t * 9 / 10),
                method: CapacityMethod::Accounted,
                theoretical_batch: theory,
                probes: vec![],
                at_least: v == 4,
                device_budget: None,
            });
        }
    }
    run
}

fn measured(value: f64) -> Option<Measured> {
    Some(Measured::new(value, "made up"))
}

/// Thirty kernels with long names, of two precisions, with bytes of three levels.
fn kernels(file: &str, factor: f64) -> Run {
    let kernel = |i: u32| {
        let x = f64::from(i);
        let bytes = 1e8 * (1.0 + (x * 0.61).fract()) * factor;
        let flops = bytes * 10f64.powf(-0.5 + 2.5 * (x * 0.37).fract());
        let (fp32, tensor) = if i.is_multiple_of(3) { (0.02 * flops, flops) } else { (flops, 0.0) };
        KernelRecord {
            file: file.into(),
            kernel: format!(
                "void cutlass::Kernel<cutlass_80_tensorop_bf16_s{i}x816gemm_relu_64x64_tn>(Params)"
            ),
            launches: u64::from(1 + i % 5),
            device: Some("Example GPU".into()),
            time: measured(factor * (bytes / 2e11 + flops / 4e13) * (1.0 + (x * 0.77).fract())),
            dram_bytes: measured(bytes),
            l2_bytes: measured(3.0 * bytes),
            l1_bytes: measured(11.0 * bytes),
            flops: KernelFlops {
                fp64: measured(0.0),
                fp32: measured(fp32),
                fp16: measured(0.0),
                fp16_packed: measured(0.0),
                tensor: measured(tensor),
                ..KernelFlops::default()
            },
            flops_complete: true,
            ..KernelRecord::default()
        }
    };
    Run { file: file.into(), kernels: (0..30).map(kernel).collect(), ..Run::default() }
}

fn ceilings() -> Ceilings {
    let source = || CeilingSource::Datasheet { url: "https://example.org/sheet".into() };
    let bandwidth = |level, value| Ceiling {
        kind: CeilingKind::Bandwidth { level },
        value,
        source: source(),
        threads: None,
    };
    let compute = |precision, unit, value| Ceiling {
        kind: CeilingKind::Compute { precision, unit, accumulate: None },
        value,
        source: source(),
        threads: None,
    };
    let all = vec![
        bandwidth(MemoryLevel::Dram, 768e9),
        bandwidth(MemoryLevel::L2, 2.5e12),
        bandwidth(MemoryLevel::L1, 14e12),
        compute(Precision::Fp32, ComputeUnit::Vector, 38.7e12),
        compute(Precision::Fp16, ComputeUnit::Matrix, 154.8e12),
        compute(Precision::Bf16, ComputeUnit::Matrix, 154.8e12),
    ];
    Ceilings { chosen: Vec::new(), by_device: vec![("Example GPU".into(), all)] }
}
