//! A small trace joined to a small model, by hand.

use super::super::samples::{bandwidth, matrix, vector};
use super::super::{CeilingSet, Place, TimelineBuilder};
use super::*;
use crate::hw::Precision;
use crate::llm::{DType, KvStorage, StepShape, WeightFormat, preset};
use crate::profile::{KernelFlops, KernelRecord, MatmulShape, Measured, RangeRecord, StepMark, Timeline};

const FILE: &str = "trace.json";
/// 250 MB of GPT-2 in 1 ms need 250 GB/s.
const BANDWIDTH: f64 = 1e12;

fn kernel(name: &str, stage: Option<Stage>, start: f64, time: f64) -> KernelRecord {
    KernelRecord {
        file: FILE.into(),
        kernel: name.into(),
        launches: 1,
        stage,
        time: Some(Measured::new(time, "x")),
        timeline: Some(Timeline {
            start_s: Some(start),
            device: Some(0),
            launch_start_s: Some(start - 1e-6),
            ..Timeline::default()
        }),
        ..KernelRecord::default()
    }
}

fn step(name: &str, stage: Stage, start_s: f64, time_s: f64, sequences: u64) -> RangeRecord {
    let decode = (stage == Stage::Decode).then_some(sequences);
    RangeRecord {
        file: FILE.into(),
        name: name.into(),
        start_s,
        time_s: Some(time_s),
        step: Some(StepMark { stage: Some(stage), decode_sequences: decode, ..StepMark::default() }),
        ..RangeRecord::default()
    }
}

/// Two decode steps of a GEMM, attention and communication beside nothing: 1 ms, 0.1 ms gap, 0.5 ms, 0.2 ms; then
/// 2 ms of nothing, and the same again.
fn decode_trace() -> (Run, TimelineBuilder) {
    let mut builder = TimelineBuilder::default();
    let mut push = |class: &str, start, time| {
        let place = Place { class: Some(class.into()), ..Place::default() };
        builder.push(&kernel(class, Some(Stage::Decode), start, time), &place);
    };
    for start in [1e-3, 4.8e-3] {
        push("gemm", start, 1e-3);
        push("attention", start + 1.1e-3, 0.5e-3);
        push("communication", start + 1.6e-3, 0.2e-3);
    }
    let run = Run {
        traces: vec![TraceInfo { file: FILE.into(), ..TraceInfo::default() }],
        ranges: vec![
            step("a", Stage::Decode, 0.9e-3, 2e-3, 3),
            step("b", Stage::Decode, 4.7e-3, 2e-3, 3),
            // From which nothing was launched.
            step("c", Stage::Decode, 9e-3, 2e-3, 3),
        ],
        ..Run::default()
    };
    (run, builder)
}

fn served(model: &ModelSpec) -> Served<'_> {
    let deployment = Deployment::new(WeightFormat::plain(DType::Bf16));
    Served { model, deployment, batch: 3, prompt: 10, steps: None }
}

fn ceilings() -> CeilingSet {
    CeilingSet::new(vec![bandwidth(BANDWIDTH), vector(Precision::Fp32, 1e12), matrix(Precision::Bf16, 10e12)])
}

fn joined(run: &Run, builder: &TimelineBuilder, served: &Served<'_>) -> JoinReport {
    join(run, &run.traces[0], builder, &Counters::default(), served, &ceilings())
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs().max(1e-9)
}

#[test]
fn the_parts_of_a_step_add_up_to_its_wall_time() {
    let (run, builder) = decode_trace();
    let model = preset("gpt2").unwrap();
    let report = joined(&run, &builder, &served(&model));
    let [decode] = report.portions.as_slice() else { panic!("{report:?}") };
    assert_eq!((decode.name, decode.steps), ("decode", Some(2.0)));
    // From 1 ms to 6.6 ms over two steps; kernels 1.7 ms each.
    assert!(close(decode.wall_s.unwrap(), 2.8e-3) && close(decode.busy_s.unwrap(), 1.7e-3), "{decode:?}");
    let gap = decode.gap.unwrap();
    assert!(close(gap.communication_s, 0.2e-3) && close(gap.launch_gaps_s, 0.1e-3), "{gap:?}");
    assert!(close(gap.idle_s, 1e-3), "{gap:?}");
    let parts =
        gap.floor_s + gap.kernel_inefficiency_s + gap.communication_s + gap.launch_gaps_s + gap.idle_s;
    assert!(close(parts, decode.wall_s.unwrap()));
}

#[test]
fn work_is_the_model_s_and_goes_to_the_classes_that_run_it() {
    let (run, builder) = decode_trace();
    let model = preset("gpt2").unwrap();
    let served = served(&model);
    let report = joined(&run, &builder, &served);
    let decode = &report.portions[0];
    // Steps after a prompt of 10 attend to 11 and 12 tokens: 11.5 in the mean.
    let cost = |context| -> Cost {
        let shape = StepShape { batch: 3, new_tokens: 1, context };
        model.ops(&served.deployment, Stage::Decode).iter().map(|op| op.cost(&shape)).sum()
    };
    use crate::llm::Cost;
    let mean = (cost(11).work.bytes().0 + cost(12).work.bytes().0) / 2.0;
    assert!(close(decode.total.bytes.unwrap(), mean));
    let class = |name: &str| decode.classes.iter().find(|c| c.class.as_deref() == Some(name)).unwrap();
    // Linears of 12 layers (12 x 768^2 weights each) and the head (768 x 50257), 3 rows, 2 FLOPs per multiply-add.
    let linear = 2.0 * 3.0 * (12.0 * 12.0 * 768.0 * 768.0 + 768.0 * 50257.0);
    let gemm = class("gemm");
    assert!(close(gemm.matmul_flops.unwrap(), linear), "{gemm:?}");
    assert!(close(gemm.mfu.unwrap(), linear / 1e-3 / 10e12));
    assert!(close(gemm.mbu.unwrap(), gemm.bytes.unwrap() / 1e-3 / BANDWIDTH));
    // 4 FLOPs x 3 sequences x 12 heads x 64 x 11.5 tokens x 12 layers.
    assert!(close(class("attention").matmul_flops.unwrap(), 4.0 * 3.0 * 768.0 * 11.5 * 12.0));
    assert_eq!(class("communication").bytes, None);
    // Norms have no kernel here: they are in the total only.
    assert!(decode.classes.iter().filter_map(|c| c.flops).sum::<f64>() < decode.total.flops.unwrap());
}

#[test]
fn a_batch_that_contradicts_the_trace_is_a_finding() {
    let (mut run, builder) = decode_trace();
    let model = preset("gpt2").unwrap();
    assert!(joined(&run, &builder, &served(&model)).findings.is_empty());
    let two = Served { batch: 2, ..served(&model) };
    let found = joined(&run, &builder, &two).findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].message.contains("--batch 2 contradicts the trace")
            && found[0].message.contains("3 (3 of 3")
    );
    run.ranges.clear();
    run.traces[0].matmuls = vec![MatmulShape { rows: 7, inner: 768, columns: 2304, calls: 1 }];
    let found = joined(&run, &builder, &served(&model)).findings;
    assert!(found[0].message.contains("3 or 30 rows") && found[0].message.contains("have 7"), "{found:?}");
    run.traces[0].matmuls[0].rows = 30;
    assert!(joined(&run, &builder, &served(&model)).findings.iter().all(|f| !f.message.contains("rows")));
}

#[test]
fn without_marks_the_stage_is_unknown_unless_the_steps_are_said() {
    let (mut run, builder) = decode_trace();
    run.ranges.clear();
    let model = preset("gpt2").unwrap();
    let report = joined(&run, &builder, &served(&model));
    assert_eq!((report.portions[0].name, report.portions[0].steps), ("unknown", None));
    assert!(report.portions[0].gap.is_none() && report.portions[0].classes.iter().all(|c| c.flops.is_none()));
    assert!(report.findings[0].message.contains("no range in the trace says"));
    let steps = Some(StepCounts { prefill: 0, decode: 2 });
    let report = joined(&run, &builder, &Served { steps, ..served(&model) });
    assert!(close(report.portions[0].wall_s.unwrap(), 2.8e-3) && report.portions[0].name == "decode");
    let steps = Some(StepCounts { prefill: 1, decode: 1 });
    let report = joined(&run, &builder, &Served { steps, ..served(&model) });
    assert!(close(report.portions[0].wall_s.unwrap(), 5.6e-3) && report.portions[0].name == "all");
}

#[test]
fn counters_replace_the_analytic_numbers_and_are_compared_with_them() {
    let (run, builder) = decode_trace();
    let model = preset("gpt2").unwrap();
    let served = served(&model);
    let analytic = joined(&run, &builder, &served).portions[0]
        .classes
        .iter()
        .find(|c| c.class.as_deref() == Some("gemm"))
        .unwrap()
        .clone();
    let mut counters = Counters::default();
    // ncu saw four launches: per launch, twice the bytes and all the FLOPs that are analytic.
    let mut flops = KernelFlops::default();
    flops.tensor = Some(Measured::new(4.0 * analytic.flops.unwrap(), "x"));
    counters.push(
        &KernelRecord {
            kernel: "gemm".into(),
            launches: 4,
            dram_bytes: Some(Measured::new(8.0 * analytic.bytes.unwrap(), "x")),
            flops,
            flops_complete: true,
            ..KernelRecord::default()
        },
        None,
    );
    let report = join(&run, &run.traces[0], &builder, &counters, &served, &ceilings());
    let gemm = report.portions[0].classes.iter().find(|c| c.class.as_deref() == Some("gemm")).unwrap();
    assert!(gemm.counted && close(gemm.byte_disagreement.unwrap(), 1.0), "{gemm:?}");
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert!(finding.message.ends_with("have 100 % more bytes than the analytic work"), "{finding}");
    assert!(gemm.flop_disagreement.unwrap().abs() < 1e-12);
    assert!(close(gemm.mbu.unwrap(), 2.0 * analytic.mbu.unwrap()));
    assert!(close(gemm.floor_s.unwrap(), 2.0 * analytic.bytes.unwrap() / BANDWIDTH));
}

#[test]
fn without_ceilings_there_is_work_and_no_floor() {
    let (run, builder) = decode_trace();
    let model = preset("gpt2").unwrap();
    let served = Served {
        deployment: Deployment { kv: KvStorage::FP8, ..served(&model).deployment },
        ..served(&model)
    };
    let report = join(&run, &run.traces[0], &builder, &Counters::default(), &served, &CeilingSet::default());
    let decode = &report.portions[0];
    assert!(decode.total.bytes.is_some() && decode.total.floor_s.is_none() && decode.gap.is_none());
    assert!(decode.total.mfu.is_none() && decode.total.mbu.is_none());
    assert!(report.findings[0].message.contains("no ceilings"));
}

#[test]
fn a_step_faster_than_its_floor_is_a_finding() {
    let (run, builder) = decode_trace();
    let large = preset("llama-2-7b").unwrap();
    let report = joined(&run, &builder, &served(&large));
    let above = report.findings.iter().find(|f| f.code == FindingCode::AboveCeiling).unwrap();
    assert!(above.message.contains("which cannot be") && above.about.ends_with("decode"), "{above}");
    assert!(report.portions[0].gap.unwrap().kernel_inefficiency_s < 0.0);
}

#[test]
fn additions_without_a_kernel_of_their_own_are_part_of_norms() {
    let model = preset("gpt2").unwrap();
    let bytes = |classes: &[&str]| {
        let (run, mut builder) = decode_trace();
        for class in classes {
            let place = Place { class: Some((*class).into()), ..Place::default() };
            builder.push(&kernel(class, Some(Stage::Decode), 1.7e-3, 1e-6), &place);
        }
        let report = joined(&run, &builder, &served(&model));
        let norm = report.portions[0].classes.iter().find(|c| c.class.as_deref() == Some("norm")).unwrap();
        (norm.bytes.unwrap(), report.portions[0].total.bytes.unwrap())
    };
    // 3 rows of 768 of 2 B. 25 norms read and write one each and two vectors of gains; 24 additions read two and
    // write one, or beside a norm one less is read.
    let row = 3.0 * 768.0 * 2.0;
    let norms = 25.0 * (2.0 * row + 2.0 * 768.0 * 2.0);
    let (apart, all_apart) = bytes(&["norm", "elementwise"]);
    let (fused, all_fused) = bytes(&["norm"]);
    assert!(close(apart, norms), "{apart} {norms}");
    assert!(close(fused, norms + 24.0 * 2.0 * row), "{fused}");
    assert!(close(all_apart - all_fused, 24.0 * row));
}

#[test]
fn counters_of_no_stage_do_not_count_for_kernels_of_several() {
    let (mut run, mut builder) = decode_trace();
    run.ranges.push(step("p", Stage::Prefill, 20e-3, 2e-3, 3));
    let place = Place { class: Some("gemm".into()), ..Place::default() };
    builder.push(&kernel("gemm", Some(Stage::Prefill), 20.1e-3, 1e-3), &place);
    let model = preset("gpt2").unwrap();
    let joined = |stage| {
        let mut counters = Counters::default();
        let bytes = Some(Measured::new(250e6, "x"));
        let launch =
            KernelRecord { kernel: "gemm".into(), launches: 1, dram_bytes: bytes, ..KernelRecord::default() };
        counters.push(&launch, stage);
        let report = join(&run, &run.traces[0], &builder, &counters, &served(&model), &ceilings());
        let unused = report.findings.iter().any(|f| f.message.contains("are not used"));
        let gemm =
            |p: &PortionReport| p.classes.iter().any(|c| c.class.as_deref() == Some("gemm") && c.counted);
        (report.portions.iter().map(gemm).collect::<Vec<_>>(), unused)
    };
    assert_eq!(joined(None), (vec![false, false], true));
    assert_eq!(joined(Some(Stage::Decode)), (vec![false, true], false));
}

#[test]
fn sums_without_a_start_have_no_wall_time_and_no_gaps() {
    let (run, mut builder) = (decode_trace().0, TimelineBuilder::default());
    let run = Run { ranges: Vec::new(), ..run };
    let mut sum = kernel("gemm", None, 0.0, 8e-3);
    sum.timeline = Some(Timeline::default());
    builder.push(&sum, &Place { class: Some("gemm".into()), ..Place::default() });
    let model = preset("gpt2").unwrap();
    let steps = Some(StepCounts { prefill: 0, decode: 4 });
    let report = joined(&run, &builder, &Served { steps, ..served(&model) });
    let decode = &report.portions[0];
    assert_eq!((decode.wall_s, decode.busy_s, decode.gap), (None, None, None));
    assert!(close(decode.total.time_s, 2e-3) && decode.total.mbu.is_some(), "{decode:?}");
}

#[test]
fn a_wrong_batch_is_said_once() {
    let (mut run, mut builder) = decode_trace();
    let mut prefill = step("p", Stage::Prefill, 20e-3, 2e-3, 3);
    prefill.step.as_mut().unwrap().prefill_tokens = Some(30);
    run.ranges.push(prefill);
    let place = Place { class: Some("gemm".into()), ..Place::default() };
    builder.push(&kernel("gemm", Some(Stage::Prefill), 20.1e-3, 1e-9), &place);
    let model = preset("gpt2").unwrap();
    let found = |batch, prompt| joined(&run, &builder, &Served { batch, prompt, ..served(&model) }).findings;
    let [wrong_batch] = &found(2, 10)[..] else { panic!("{:?}", found(2, 10)) };
    assert!(wrong_batch.message.contains("--batch 2 contradicts"));
    let [wrong_prompt] = &found(3, 11)[..] else { panic!("{:?}", found(3, 11)) };
    assert!(wrong_prompt.message.contains("33 prompt tokens, which contradicts"), "{wrong_prompt}");
    // Nothing contradicts; a prefill of a nanosecond is impossible.
    assert_eq!(found(3, 10)[0].code, FindingCode::AboveCeiling);
}

#[test]
fn steps_are_those_of_one_rank() {
    let (mut run, mut builder) = decode_trace();
    run.ranges.clear();
    let mut other = kernel("gemm", None, 1e-3, 4e-3);
    other.timeline.as_mut().unwrap().device = Some(1);
    builder.push(&other, &Place { class: Some("gemm".into()), ..Place::default() });
    let model = preset("gpt2").unwrap();
    let steps = Some(StepCounts { prefill: 0, decode: 2 });
    let decode = joined(&run, &builder, &Served { steps, ..served(&model) }).portions.remove(0);
    // 5.6 ms on one device and 4 ms on the other, two steps on each.
    assert!(decode.steps == Some(2.0) && close(decode.wall_s.unwrap(), 2.4e-3), "{decode:?}");
}
