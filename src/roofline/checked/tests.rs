//! Exports of a few kernels against plans and models whose work can be computed on paper.

use super::super::samples::{kernel, phase_run};
use super::super::{Place, Served, StepCounts};
use super::*;
use crate::llm::{DType, StepShape};
use crate::llm::{Deployment, ModelSpec, Phase, WeightFormat, preset};
use crate::profile::{FindingCode, Profiled, Run};

fn at(version: Option<&str>, stage: Option<Stage>) -> Place {
    Place { version: version.map(str::to_string), stage, ..Place::default() }
}

fn op(name: &str, phase: Phase) -> Place {
    Place { op: Some(name.into()), phase: Some(phase), ..at(Some("v1"), Some(Stage::Decode)) }
}

fn sums(kernels: &[(Place, f64, f64, f64)]) -> CounterSums {
    let mut sums = CounterSums::default();
    for (place, time_s, bytes, flops) in kernels {
        sums.push(&kernel("k", *time_s, *bytes, *flops), place);
    }
    sums
}

/// v0 and v1, of which the prefill and the last decode step were marked.
fn run() -> Run {
    let mut run = phase_run();
    run.file = "run.jsonl".into();
    let stages = Stage::ALL.to_vec();
    run.manifest.as_mut().unwrap().profiled = Some(Profiled { tool: None, stages, decode_step: Some(2) });
    run
}

fn row<'a>(check: &'a CounterCheck, name: &str) -> &'a CheckRow {
    check.rows.iter().find(|r| r.name.as_deref() == Some(name)).expect(name)
}

#[test]
fn kernels_in_the_ranges_of_ops_are_checked_op_by_op_against_the_step_that_was_marked() {
    // Of v1's decode step, one row: qkv is 2 x 8 x 24 = 384 FLOP and (8 + 8 x 24 + 24) x 4 = 896 B; up is 512 FLOP
    // and (8 + 256 + 32) x 4 = 1184 B, down the same; the head is 1600 FLOP and (8 + 800 + 100) x 4 = 3632 B.
    let sums = sums(&[
        (op("attn.qkv", Phase::Attention), 1.0, 896.0, 192.0),
        (op("attn.qkv", Phase::Attention), 1.0, 448.0, 192.0),
        (op("mlp.up", Phase::Mlp), 1.0, 1184.0, 512.0),
        (op("mlp.down", Phase::Mlp), 1.0, 592.0, 8192.0),
        (op("head", Phase::Head), 6.0, 3632.0, 1600.0),
        (Place { class: Some("copy".into()), ..at(Some("v1"), Some(Stage::Decode)) }, 0.1, 7.0, 0.0),
        (op("attn.qkv", Phase::Attention), 0.0, 0.0, 0.0),
    ]);
    let (checks, findings) = check_counters("a.csv", &sums, &Expected::of_run(&run()));
    assert_eq!(checks.len(), 1, "nothing was counted of the other steps");
    let check = &checks[0];
    assert_eq!((check.version.as_deref(), check.stage), (Some("v1"), Some(Stage::Decode)));
    assert_eq!((check.level, check.against.as_str(), check.steps), (CheckLevel::Op, "run.jsonl", 1.0));
    let names: Vec<Option<&str>> = check.rows.iter().map(|r| r.name.as_deref()).collect();
    assert_eq!(
        names,
        [Some("embed"), Some("attn.qkv"), Some("mlp.up"), Some("mlp.down"), Some("head"), None]
    );
    let qkv = row(check, "attn.qkv");
    assert_eq!((qkv.launches, qkv.counted_flops, qkv.flop_disagreement), (3.0, Some(384.0), Some(0.0)));
    assert_eq!((qkv.counted_bytes, qkv.bytes, qkv.byte_disagreement), (Some(1344.0), Some(896.0), Some(0.5)));
    let down = row(check, "mlp.down");
    assert_eq!((down.flop_disagreement, down.byte_disagreement), (Some(15.0), Some(-0.5)));
    // No kernel embeds, and nothing is expected of the copy.
    let embed = row(check, "embed");
    assert_eq!((embed.launches, embed.counted_bytes, embed.byte_disagreement), (0.0, None, None));
    assert!(embed.bytes.unwrap() > 0.0);
    assert_eq!((check.rows[5].counted_bytes, check.rows[5].bytes), (Some(7.0), None));
    // The total has all of both: 384 + 512 + 8192 + 1600 against 384 + 512 + 512 + 1600 and the embedding's sum.
    assert_eq!(check.total.counted_flops, Some(10688.0));
    assert_eq!(check.total.flops, Some(3008.0 + embed.flops.unwrap()));
    let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    let flops = "a.csv: v1 decode: FLOPs of mlp.down: 8.19 kFLOP counted, 512 FLOP analytic, +1500 %";
    assert!(said[0].starts_with(flops), "{}", said[0]);
    let bytes = "a.csv: v1 decode: DRAM bytes of mlp.down: 592 B counted, 1.18 kB analytic, -50.0 %";
    assert!(said[1].starts_with(bytes), "{}", said[1]);
    assert!(findings.iter().all(|f| f.code == FindingCode::Disagreement));
}

#[test]
fn kernels_known_by_phase_or_class_alone_are_checked_by_that() {
    let phase = |phase| Place { phase: Some(phase), ..at(Some("v1"), Some(Stage::Decode)) };
    let by_phase =
        sums(&[(phase(Phase::Attention), 1.0, 896.0, 384.0), (phase(Phase::Mlp), 1.0, 2368.0, 1024.0)]);
    let expected = Expected::of_run(&run());
    let (checks, findings) = check_counters("a.csv", &by_phase, &expected);
    assert_eq!((checks.len(), checks[0].level), (1, CheckLevel::Phase));
    assert_eq!(row(&checks[0], "attention").flop_disagreement, Some(0.0));
    assert_eq!(row(&checks[0], "mlp").byte_disagreement, Some(0.0));
    assert_eq!(row(&checks[0], "head").counted_flops, None);
    // The head's 1600 of 3008 FLOPs and the embedding's 8 have no kernels: 53 %.
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].message.contains("53 % of the FLOPs (embedding, head)"), "{findings:?}");
    assert_eq!((checks[0].total.flop_disagreement, checks[0].total.byte_disagreement), (None, None));
    // All matrix products are of the class that has kernels, gemv: 3008 FLOP.
    let class = |class: &str| Place { class: Some(class.into()), ..at(Some("v1"), Some(Stage::Decode)) };
    let by_class = sums(&[(class("gemv"), 1.0, 6896.0, 3008.0), (class("copy"), 0.05, 1.0, 0.0)]);
    let (checks, _) = check_counters("a.csv", &by_class, &expected);
    assert_eq!(checks[0].level, CheckLevel::Class);
    assert_eq!((row(&checks[0], "gemv").flops, row(&checks[0], "copy").flops), (Some(3008.0), None));
}

fn served(model: &ModelSpec, steps: Option<StepCounts>) -> Served<'_> {
    let deployment = Deployment::new(WeightFormat::plain(DType::F32));
    Served { model, deployment, batch: 2, prompt: 5, steps }
}

#[test]
fn an_export_of_no_known_stage_is_of_the_steps_that_the_user_counts() {
    let model = preset("tiny").unwrap();
    let steps = StepCounts { prefill: 0, decode: 3 };
    let served = served(&model, Some(steps));
    let logits: f64 = 2.0 * 2.0 * (model.hidden_size * model.vocab_size) as f64;
    let head = Place { op: Some("head.logits".into()), ..Place::default() };
    let sums = sums(&[(head, 3.0, 3.0, 3.0 * 1.25 * logits)]);
    let expected = Expected::of_model(&served, sums.has_stages());
    let (checks, _) = check_counters("a.csv", &sums, &expected);
    let check = &checks[0];
    assert_eq!((check.stage, check.steps, check.version.as_deref()), (Some(Stage::Decode), 3.0, None));
    let row = row(check, "head.logits");
    assert_eq!((row.launches, row.flops, row.flop_disagreement), (1.0 / 3.0, Some(logits), Some(0.25)));
    // Attention sees 6, 7 and 8 tokens: the mean step is that of 7.
    let attention = check.rows.iter().find(|r| r.name.as_deref() == Some("attention")).unwrap();
    let shape = StepShape { batch: 2, new_tokens: 1, context: 7 };
    let ops = model.ops(&served.deployment, Stage::Decode);
    let of_seven = ops.iter().find(|o| o.label == "attention").unwrap().cost(&shape).work;
    assert!((attention.flops.unwrap() / of_seven.flops().0 - 1.0).abs() < 1e-12);
}

#[test]
fn where_stages_cannot_be_told_apart_their_sum_is_checked() {
    let model = preset("tiny").unwrap();
    let served = served(&model, Some(StepCounts { prefill: 1, decode: 2 }));
    let sums = sums(&[(Place { class: Some("gemm".into()), ..Place::default() }, 1.0, 1.0, 1.0)]);
    let (checks, _) = check_counters("a.csv", &sums, &Expected::of_model(&served, sums.has_stages()));
    assert_eq!((checks.len(), checks[0].stage, checks[0].steps), (1, None, 1.0));
    let one = |steps| {
        let expected = Expected::of_model(&super::tests::served(&model, Some(steps)), true);
        let (checks, _) = check_counters("a.csv", &sums, &expected);
        checks[0].total.flops.unwrap()
    };
    let prefill = one(StepCounts { prefill: 1, decode: 0 });
    let decode = one(StepCounts { prefill: 0, decode: 2 });
    let both = checks[0].total.flops.unwrap();
    assert!((both / (prefill + 2.0 * decode) - 1.0).abs() < 1e-12, "{both} {prefill} {decode}");
}

#[test]
fn a_lower_bound_disagrees_only_when_it_is_above() {
    let mut sums = CounterSums::default();
    let mut partial = kernel("k", 1.0, 896.0, 100.0);
    partial.flops_complete = false;
    sums.push(&partial, &op("attn.qkv", Phase::Attention));
    let of = |sums: &CounterSums| {
        let (checks, _) = check_counters("a.csv", sums, &Expected::of_run(&run()));
        row(&checks[0], "attn.qkv").clone()
    };
    assert_eq!((of(&sums).counted_flops_at_least, of(&sums).flop_disagreement), (true, None));
    partial.flops = kernel("k", 1.0, 896.0, 668.0).flops;
    sums.push(&partial, &op("attn.qkv", Phase::Attention));
    assert_eq!(of(&sums).flop_disagreement, Some(1.0), "768 of 384");
    partial.dram_bytes = None;
    sums.push(&partial, &op("attn.qkv", Phase::Attention));
    assert_eq!((of(&sums).counted_bytes, of(&sums).byte_disagreement), (None, None));
}

#[test]
fn kernels_of_no_stage_and_exports_that_match_nothing_are_findings() {
    let expected = Expected::of_run(&run());
    let unknown = sums(&[(Place::default(), 1.0, 1.0, 1.0)]);
    let (checks, findings) = check_counters("a.csv", &unknown, &expected);
    assert!(checks.is_empty());
    assert!(
        findings[0].message.contains("no kernel is known to be of v0 prefill, v0 decode"),
        "{findings:?}"
    );
    let partly =
        sums(&[(op("attn.qkv", Phase::Attention), 3.0, 896.0, 384.0), (Place::default(), 1.0, 1.0, 1.0)]);
    let (checks, findings) = check_counters("a.csv", &partly, &expected);
    assert_eq!(checks.len(), 1);
    assert!(findings[0].message.starts_with("25 % of the kernels' time is of no known stage"));
    let (checks, findings) = check_counters("a.csv", &CounterSums::default(), &expected);
    assert!(checks.is_empty() && findings.is_empty());
}

#[test]
fn two_runs_that_marked_different_steps_are_not_guessed_between() {
    let mut other = run();
    other.file = "other.jsonl".into();
    let twice = || Expected::of_run(&run()).into_iter();
    let (kept, findings) = Expected::without_repeats(twice().chain(twice()).collect());
    assert_eq!((kept.len(), findings.len()), (4, 0), "the same run twice");
    for step in &mut other.steps {
        step.shape.batch = 7;
    }
    let (kept, findings) = Expected::without_repeats(twice().chain(Expected::of_run(&other)).collect());
    assert_eq!((kept.len(), findings.len()), (4, 4));
    assert!(findings[0].to_string().starts_with("other.jsonl: this run and run.jsonl both marked"));
    other.manifest.as_mut().unwrap().profiled = None;
    assert!(Expected::of_run(&other).is_empty());
}
