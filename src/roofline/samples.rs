//! Small runs made by hand for tests, with numbers that can be checked on paper.

use crate::hw::{Ceiling, CeilingKind, CeilingSource, ComputeUnit, MemoryLevel, Precision};
use crate::llm::{DType, LinearRows, Op, Phase, Stage, StepShape, builtin_versions, preset};
use crate::profile::{
    CacheRecord, ComputeCapability, CpuInfo, DeviceInfo, FORMAT_VERSION, HostInfo, KernelFlops, KernelRecord,
    KprofInfo, Manifest, Measured, PlanRecord, PlannedOp, Run, RunConfig, StepRecord, TimingMethod, Twin,
    WeightSource,
};

fn ceiling(kind: CeilingKind, value: f64) -> Ceiling {
    let source = CeilingSource::Datasheet { url: "https://example.org/sheet".into() };
    Ceiling { kind, value, source, threads: None }
}

pub(crate) fn bandwidth(value: f64) -> Ceiling {
    ceiling(CeilingKind::Bandwidth { level: MemoryLevel::Dram }, value)
}

pub(crate) fn vector(precision: Precision, value: f64) -> Ceiling {
    ceiling(CeilingKind::Compute { precision, unit: ComputeUnit::Vector, accumulate: None }, value)
}

pub(crate) fn matrix(precision: Precision, value: f64) -> Ceiling {
    ceiling(CeilingKind::Compute { precision, unit: ComputeUnit::Matrix, accumulate: None }, value)
}

/// One launch with fp32 FLOPs only.
pub(crate) fn kernel(name: &str, time_s: f64, bytes: f64, flops: f64) -> KernelRecord {
    let zero = || Some(Measured::new(0.0, "zero"));
    KernelRecord {
        file: "x.csv".into(),
        launch: Some("0".into()),
        kernel: name.into(),
        launches: 1,
        time: Some(Measured::new(time_s, "gpu__time_duration.sum")),
        dram_bytes: Some(Measured::new(bytes, "dram__bytes.sum")),
        flops: KernelFlops {
            fp64: zero(),
            fp32: Some(Measured::new(flops, "smsp__sass_thread_inst_executed_op_ffma_pred_on.sum x 2")),
            fp16: zero(),
            fp16_packed: zero(),
            tensor: zero(),
            ..KernelFlops::default()
        },
        flops_complete: true,
        ..KernelRecord::default()
    }
}

/// The prefill of the reference system (v0_prefill of nanoGPT-MLT's metrics files): only fadd, fmul and ffma were
/// collected on an RTX A6000 (cc 8.6), while the matrix products ran on tensor cores.
pub(crate) fn reference_prefill() -> KernelRecord {
    KernelRecord {
        launches: 246,
        compute_capability: Some(ComputeCapability { major: 8, minor: 6 }),
        flops: KernelFlops {
            fp32: Some(Measured::new(2_321_619_757.0, "fadd + fmul + 2 ffma")),
            ..KernelFlops::default()
        },
        flops_complete: false,
        missing: vec!["sm__ops_path_tensor_src_bf16_dst_fp32.sum".into()],
        ..kernel("v0_prefill", 6.158e-3, 1_482_320_640.0, 0.0)
    }
}

fn manifest() -> Manifest {
    let named = |n: &String| ["v0", "v1"].contains(&n.as_str());
    Manifest {
        format_version: FORMAT_VERSION,
        kprof: KprofInfo { version: "0.1.0".into(), revision: Some("abc1234".into()) },
        command: vec!["kprof".into(), "phase".into()],
        started: "2026-01-02T03:04:05Z".into(),
        host: HostInfo {
            cpu: CpuInfo { arch: "x86_64".into(), logical_cores: 2, ..CpuInfo::default() },
            ..HostInfo::default()
        },
        device: DeviceInfo {
            kind: "cpu".into(),
            name: "Example CPU".into(),
            threads: Some(2),
            ..DeviceInfo::default()
        },
        config: Some(RunConfig {
            benchmark: "phase".into(),
            implementation: "candle".into(),
            model: preset("tiny").unwrap(),
            weights: WeightSource::Random { seed: 1 },
            dtype: DType::F32,
            weight_format: None,
            instructions: None,
            exec: None,
            gemm: None,
            counters: None,
            prompt_length: 4,
            tokens: 3,
            lengths: Vec::new(),
            batch: 1,
            seed: 1,
            warmup: 1,
            repetitions: 3,
            max_time_s: None,
            versions: builtin_versions().into_iter().filter(|v| named(&v.name)).collect(),
        }),
        profiled: None,
        rank: None,
    }
}

fn plan(version: &str, stage: Stage) -> PlanRecord {
    let linear = |label: &str, phase, input, output| PlannedOp {
        label: label.into(),
        phase,
        layer: None,
        op: Op::Linear {
            input,
            output,
            bias: false,
            rows: LinearRows::All,
            dtype: DType::F32,
            weights: None,
        },
    };
    let embed = PlannedOp {
        label: "embed".into(),
        phase: Phase::Embedding,
        layer: None,
        op: Op::Embed { hidden: 8, positions: true, dtype: DType::F32 },
    };
    PlanRecord {
        version: version.into(),
        stage,
        ops: vec![
            embed,
            linear("attn.qkv", Phase::Attention, 8, 24),
            linear("mlp.up", Phase::Mlp, 8, 32),
            linear("mlp.down", Phase::Mlp, 32, 8),
            linear("head", Phase::Head, 8, 100),
        ],
    }
}

/// A step of 10 units: embedding 1, attention 2, mlp 1 + 2, head 3, and 1 of gap.
fn step(version: &str, stage: Stage, twin: Twin, repetition: usize, step: usize, unit: f64) -> StepRecord {
    let (starts, times) = ([0.0, 1.0, 3.0, 4.0, 6.0], [1.0, 2.0, 1.0, 2.0, 3.0]);
    let scaled = |values: &[f64]| match twin {
        Twin::Plain => vec![],
        Twin::Instrumented => values.iter().map(|v| v * unit).collect(),
    };
    let cached = version != "v0" && stage == Stage::Decode;
    let context = 4 + step;
    StepRecord {
        version: version.into(),
        stage,
        twin,
        repetition,
        step,
        shape: StepShape { batch: 1, new_tokens: if cached { 1 } else { context }, context },
        time_s: 10.0 * unit,
        method: TimingMethod::Scripted,
        op_start_s: scaled(&starts),
        op_time_s: scaled(&times),
    }
}

/// v0 and v1, three repetitions of a prefill and two decode steps. Plain units of repetition r: 1.00, 1.01, 1.02 ms;
/// instrumented ones are 2 % longer; v1's decode steps take half of that.
pub(crate) fn phase_run() -> Run {
    let mut run = Run {
        manifest: Some(manifest()),
        file: "run.jsonl".into(),
        complete: true,
        ceilings: vec![bandwidth(10e9), vector(Precision::Fp32, 100e9)],
        ..Run::default()
    };
    for version in ["v0", "v1"] {
        for stage in Stage::ALL {
            run.plans.push(plan(version, stage));
        }
        run.caches.push(CacheRecord {
            version: version.into(),
            tokens: 6,
            batch: 1,
            theoretical_bytes: if version == "v0" { 0.0 } else { 3072.0 },
            allocated_bytes: if version == "v0" { 0.0 } else { 4096.0 },
            touched_bytes: None,
        });
    }
    for repetition in 0..3 {
        for version in ["v0", "v1"] {
            for twin in [Twin::Plain, Twin::Instrumented] {
                let overhead = if twin == Twin::Plain { 1.0 } else { 1.02 };
                let unit = 1e-3 * (1.0 + 0.01 * repetition as f64) * overhead;
                let decode = if version == "v0" { unit } else { unit / 2.0 };
                run.steps.push(step(version, Stage::Prefill, twin, repetition, 0, unit));
                run.steps.push(step(version, Stage::Decode, twin, repetition, 1, decode));
                run.steps.push(step(version, Stage::Decode, twin, repetition, 2, decode));
            }
        }
    }
    run
}
