//! Counters of kprof's own passes against their analytic work: the kernels are made up, all else is as with a GPU.

use super::ncu::{Place, text};
use assert_cmd::Command;
use kprof::attach::ncu::{Offer, choose};
use kprof::ingest::ncu::{chip_of, parse_capability};
use kprof::llm::{Stage, StepShape};
use kprof::profile::{PlannedOp, Run, read_run};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

const PASSES: [&str; 9] = ["phase", "--device", "fake", "--version", "v1", "-n", "3", "-r", "1"];
const FLOPS: &str = "sm__sass_thread_inst_executed_op_fadd_pred_on.sum";
const BYTES: &str = "dram__bytes.sum";
const TIME: &str = "gpu__time_duration.sum";

/// The run that the passes make: the fake device makes it the same each time.
fn run(folder: &Path) -> Run {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    let flags = ["--profile-step", "-q", "--output", "before.jsonl"];
    command.current_dir(folder).args(PASSES).args(flags);
    assert!(command.output().expect("kprof runs").status.success());
    read_run(&folder.join("before.jsonl")).expect("a run")
}

/// One kernel per op of a stage's marked step, in the ranges of the pass: what it counts is the op's work times what
/// `factors` says, FLOPs and bytes.
fn kernels(
    run: &Run,
    stage: Stage,
    shape: &StepShape,
    factors: impl Fn(&PlannedOp) -> (f64, f64),
) -> Vec<(String, f64, f64)> {
    let plan = run.plan("v1", stage).expect("a plan");
    let kernel = |op: &PlannedOp| {
        let (step, work) = (format!("kprof/v1/{stage}"), op.op.work(shape));
        let inner = op.layer.map_or(step.clone(), |layer| format!("{step}/layer {layer}"));
        let phase = format!("{inner}/{}", op.phase);
        let ranges = [step, phase.clone(), format!("{phase}/{}", op.label)];
        let cell = |name: &String| format!("\"\"kprof:{name}:none:none:none:none:ASCII:{name}\"\"");
        let (flops, bytes) = factors(op);
        let nvtx = format!("7  {}", ranges.iter().map(cell).collect::<Vec<_>>().join("  "));
        (nvtx, work.flops().0 * flops, work.bytes().0 * bytes)
    };
    plan.ops.iter().map(kernel).collect()
}

/// A wide export with everything that a roofline on an A10 needs.
fn export(kernels: &[(String, f64, f64)]) -> String {
    let chip = parse_capability("8.6").and_then(chip_of);
    let metrics = choose("roofline", &Offer { chip, ..Offer::default() }).expect("a known set").metrics;
    let counts: Vec<&String> = metrics.iter().filter(|m| m.ends_with(".sum")).collect();
    let fixed = "\"ID\",\"Process ID\",\"Process Name\",\"Host Name\",\
        \"thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg\",\"Kernel Name\",\"Context\",\
        \"Stream\",\"Block Size\",\"Grid Size\",\"Device\",\"CC\"";
    let mut out = fixed.to_string();
    counts.iter().for_each(|m| write!(out, ",\"{m}\"").expect("a string"));
    let unit = |m: &&&String| match m.as_str() {
        TIME => "ns",
        BYTES => "byte",
        _ => "inst",
    };
    out += &format!("\n{}", ["\"\""; 12].join(","));
    counts.iter().for_each(|m| write!(out, ",\"{}\"", unit(&m)).expect("a string"));
    for (id, (nvtx, flops, bytes)) in kernels.iter().enumerate() {
        let place = "\"k\",\"1\",\"7\",\"(1, 1, 1)\",\"(1, 1, 1)\",\"0\",\"8.6\"";
        write!(out, "\n\"{id}\",\"42\",\"kprof\",\"127.0.0.1\",\"{nvtx}\",{place}").expect("a string");
        for metric in &counts {
            let value = match metric.as_str() {
                TIME => 1000.0,
                BYTES => *bytes,
                FLOPS => *flops,
                _ => 0.0,
            };
            write!(out, ",\"{value}\"").expect("a string");
        }
    }
    out + "\n"
}

fn rows(check: &Value) -> Vec<&Value> {
    check["rows"].as_array().expect("rows").iter().collect()
}

#[test]
fn own_passes_are_checked_op_by_op_in_the_command_that_profiles_them() {
    let place = Place::new("ok");
    let run = run(place.folder.path());
    let prompt = run.manifest.as_ref().and_then(|m| m.config.as_ref()).expect("a config").prompt_length;
    let prefill = StepShape { batch: 1, new_tokens: prompt, context: prompt };
    // Of three output tokens, the third ends the second decode step: it attends to the prompt and two more.
    let decode = StepShape { batch: 1, new_tokens: 1, context: prompt + 2 };
    let mut all = kernels(&run, Stage::Prefill, &prefill, |_| (1.0, 1.5));
    let padded = |op: &PlannedOp| if op.label == "mlp.up" { (16.0, 1.0) } else { (1.0, 1.0) };
    all.extend(kernels(&run, Stage::Decode, &decode, padded));
    let results = place.folder.path().join("results.csv");
    std::fs::write(&results, export(&all)).expect("it is written");
    let place = place.with("STAND_IN_RESULTS", results.to_str().expect("a plain path"));
    let flags = ["--output", "kept.csv", "--export-json", "-", "--"];
    let output = place.run(&[&flags[..], &PASSES].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let checks = json["counter_checks"].as_array().expect("checks");
    assert_eq!(checks.len(), 2);
    for (check, stage) in checks.iter().zip(["prefill", "decode"]) {
        assert_eq!(
            (&check["level"], &check["stage"], &check["version"]),
            (&"op".into(), &stage.into(), &"v1".into())
        );
        assert_eq!(check["against"], "kept.run.jsonl");
        assert!(rows(check).len() > 10 && rows(check).iter().all(|r| r["name"].is_string()));
        for row in rows(check) {
            let close = |key: &str, expected: f64| {
                let none = row[key.replace("_disagreement", "s").as_str()] == 0.0;
                none || (row[key].as_f64().expect(key) - expected).abs() < 1e-6
            };
            let up = stage == "decode" && row["name"] == "mlp.up";
            assert!(close("flop_disagreement", if up { 15.0 } else { 0.0 }), "{row}");
            assert!(close("byte_disagreement", if stage == "prefill" { 0.5 } else { 0.0 }), "{row}");
        }
    }
    let found: Vec<&str> =
        json["findings"].as_array().expect("findings").iter().filter_map(|f| f["message"].as_str()).collect();
    assert!(found.iter().any(|m| m.starts_with("FLOPs of mlp.up") && m.contains("+1500 %")), "{found:?}");
    assert!(found.iter().any(|m| m.starts_with("DRAM bytes of ") && m.contains("+50.0 %")), "{found:?}");
    // The same of the files afterwards, as a table.
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.current_dir(place.folder.path()).env("COLUMNS", "80");
    let output = command.args(["roofline", "kept.csv", "kept.run.jsonl"]).output().expect("kprof runs");
    let out = text(&output.stdout);
    assert!(out.contains("v1 decode: COUNTED by hardware against ANALYTIC of kept.run.jsonl"), "{out}");
    let up = out.lines().filter(|l| l.starts_with("mlp.up ")).nth(1).expect("decode's row");
    assert!(up.contains(" +1500 "), "{up}");
}

#[test]
fn an_export_is_checked_against_a_model_by_the_flags_that_traces_have() {
    let place = Place::new("ok");
    let run = run(place.folder.path());
    let shape = StepShape { batch: 1, new_tokens: 1, context: 9 };
    // One kernel of each op: the counts of two steps in one file.
    let kernels = kernels(&run, Stage::Decode, &shape, |_| (2.0, 2.0));
    std::fs::write(place.folder.path().join("a.csv"), export(&kernels)).expect("it is written");
    let roofline = |flags: &[&str]| {
        let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
        let base =
            ["roofline", "a.csv", "--model", "tiny", "--batch", "1", "--prompt", "7", "--dtype", "f32"];
        command.current_dir(place.folder.path()).args(base).args(["--export-json", "-"]).args(flags);
        let output = command.output().expect("kprof runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let json = roofline(&["--steps", "decode=2"]);
    let check = &json["counter_checks"][0];
    assert_eq!((&check["stage"], &check["steps"]), (&"decode".into(), &2.0.into()));
    assert!(check["against"].as_str().expect("text").starts_with("tiny f32, batch 1 prompt 7"), "{check}");
    let row = |name: &str| rows(check).into_iter().find(|r| r["name"] == name).expect(name);
    for name in ["attn.qkv", "mlp.down", "head.logits"] {
        assert!(row(name)["flop_disagreement"].as_f64().expect("a number").abs() < 1e-9, "{}", row(name));
        assert!(row(name)["byte_disagreement"].as_f64().expect("a number").abs() < 1e-9, "{}", row(name));
    }
    // How many steps an export is of is not guessed.
    let json = roofline(&[]);
    assert_eq!(json["counter_checks"].as_array().map(Vec::len), Some(0));
    let found = json["findings"].to_string();
    assert!(
        found.contains("how many steps its launches are of") && found.contains("--steps decode=1"),
        "{found}"
    );
}

#[test]
fn a_real_gemm_counts_the_flops_of_the_formula() {
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/ncu/csv/gardenia_a100_gemm_printfp.csv");
    let Ok(real) = real.canonicalize() else {
        println!(
            "skipped: a_real_gemm_counts_the_flops_of_the_formula: no ../shared/ncu beside the checkout"
        );
        return;
    };
    // C = A x B of 40960 x 20480 and 20480 x 40960 in single precision, on an A100: as a head of that width and
    // vocabulary, on as many sequences.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rule = "[[rule]]\nkernel = 'gemm_'\nstage = 'decode'\nop = 'head.logits'\n";
    std::fs::write(folder.path().join("rules.toml"), rule).expect("it is written");
    let config = r#"{"model_type": "llama", "hidden_size": 20480, "vocab_size": 40960, "num_hidden_layers": 1,
        "num_attention_heads": 160, "num_key_value_heads": 160, "intermediate_size": 11008, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": false}"#;
    std::fs::write(folder.path().join("config.json"), config).expect("it is written");
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.current_dir(folder.path()).arg("roofline").arg(real).args(["--rules", "rules.toml"]);
    command.args(["--model", "config.json", "--batch", "40960", "--prompt", "1", "--dtype", "f32"]);
    let output = command.args(["--steps", "decode=1", "--export-json", "-"]).output().expect("kprof runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let check = &json["counter_checks"][0];
    let row = rows(check).into_iter().find(|r| r["name"] == "head.logits").expect("a row");
    // 2 x 40960 x 20480 x 40960 = 6.872e13; the kernel adds its own to each product.
    assert_eq!(row["flops"], 2.0 * 40960.0 * 20480.0 * 40960.0);
    let disagreement = row["flop_disagreement"].as_f64().expect("a number");
    assert!((0.0..1e-3).contains(&disagreement), "{disagreement}");
    // Every other op has no kernel, so totals are not compared.
    assert!(check["total"]["flop_disagreement"].is_null());
    assert!(json["findings"].to_string().contains("the totals are not compared"));
}
