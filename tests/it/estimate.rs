//! `kprof estimate` and `--sim`, as a user runs them; and that an estimate counts what a pass records.

use assert_cmd::Command;
use kprof::llm::{Deployment, Op, Stage, StepShape, Work, preset};
use kprof::profile::read_run;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn kprof(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.current_dir(folder).env("COLUMNS", "120").args(args).output().expect("kprof runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn estimate(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    kprof(folder.path(), &[&["estimate"], args].concat())
}

fn json(args: &[&str]) -> Value {
    let output = estimate(&[args, &["--export-json", "-"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("stdout is JSON and nothing else")
}

/// The message of a command that has to fail with `code`.
fn error(args: &[&str], code: i32) -> String {
    let output = estimate(args);
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
    text(&output.stderr)
}

/// An op without what depends on who computes it: candle computes scores above the diagonal and masks them.
fn plain(op: &Op) -> Op {
    let mut op = op.clone();
    if let Op::Attention { masked_computed, .. } = &mut op {
        *masked_computed = false;
    }
    op
}

#[test]
fn an_estimate_counts_the_ops_that_a_pass_records() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["tiny", "tiny-llama"] {
        let file = folder.path().join(format!("{name}.jsonl"));
        let base =
            ["phase", "--device", "fake", "--version", "v1", "-n", "3", "-r", "1", "-q", "--preset", name];
        let output = kprof(folder.path(), &[&base[..], &["-o", file.to_str().unwrap()]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let run = read_run(&file).unwrap();
        let model = preset(name).unwrap();
        for stage in Stage::ALL {
            let plan = run.plan("v1", stage).unwrap();
            let ops = model.ops(&Deployment::new("f32".parse().unwrap()), stage);
            let of_first_layer = plan.ops.iter().filter(|op| op.layer.is_none_or(|layer| layer == 0));
            let recorded: Vec<_> =
                of_first_layer.map(|op| (op.label.as_str(), op.phase, plain(&op.op))).collect();
            let estimated: Vec<_> = ops.iter().map(|op| (op.label, op.phase, op.op.clone())).collect();
            assert_eq!(recorded, estimated, "{name} {stage}");
            let step =
                StepShape { batch: 2, new_tokens: if stage == Stage::Decode { 1 } else { 9 }, context: 9 };
            let of_plan: Work = plan.ops.iter().map(|op| plain(&op.op).work(&step)).sum();
            let of_model: Work = ops.iter().map(|op| op.cost(&step).work).sum();
            assert_eq!(of_plan, of_model, "{name} {stage}");
        }
    }
}

#[test]
fn an_estimate_is_marked_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let base = [
        "estimate",
        "--model",
        "llama-2-7b",
        "--device",
        "h100-sxm",
        "--batch",
        "1-64*8",
        "--context",
        "1k,4k",
    ];
    let files = ["e.json", "e.csv", "e.md", "e.svg"];
    let exports = ["--export-json", "--export-csv", "--export-markdown", "--export-svg"];
    let exports: Vec<&str> = exports.into_iter().zip(files).flat_map(|(flag, file)| [flag, file]).collect();
    let output = kprof(folder.path(), &[&base[..], &exports].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(table.starts_with("kprof estimate  ANALYTIC"), "{table}");
    // 64 sequences of 4096 tokens are 137 GB of cache.
    let fits = |answer: &str| {
        table.lines().filter(|l| l.contains(" memory ") && l.contains(&format!(" {answer} "))).count()
    };
    assert_eq!((fits("yes"), fits("no")), (5, 1), "{table}");
    for file in files {
        let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(text.contains("ANALYTIC"), "{file}");
    }
    let svg = std::fs::read_to_string(folder.path().join("e.svg")).unwrap();
    assert!(svg.contains("ANALYTIC: attainable rate") && !svg.contains("achieved"));
}

#[test]
fn the_floors_of_llama_2_7b_on_an_h100_are_those_known_by_hand() {
    let json = json(&["--model", "llama-2-7b", "--device", "h100-sxm", "--context", "4k", "--prompt", "1"]);
    // 13,214,695,424 B of weights and 4097 tokens of 524,288 B over 3.35 TB/s.
    let tpot = json["points"][0]["tpot_floor_s"].as_f64().unwrap();
    assert!((tpot / (15_362_703_360.0 / 3.35e12) - 1.0).abs() < 1e-9, "{tpot}");
    assert_eq!((json["ridge_batch"].as_u64(), json["points"][0]["fits"].as_bool()), (Some(296), Some(true)));
}

#[test]
fn a_config_json_says_the_shape_and_how_weights_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let config = r#"{"model_type":"qwen3","hidden_size":4096,"num_hidden_layers":36,"num_attention_heads":32,
        "num_key_value_heads":8,"head_dim":128,"intermediate_size":12288,"vocab_size":151936,
        "max_position_embeddings":40960,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
        "quantization_config":{"quant_method":"awq","bits":4,"group_size":128}}"#;
    let model = folder.path().join("Qwen3-8B-AWQ");
    std::fs::create_dir(&model).unwrap();
    std::fs::write(model.join("config.json"), config).unwrap();
    let run = |model: &Path, more: &[&str]| {
        let base = ["estimate", "--model", model.to_str().unwrap(), "--device", "a10"];
        kprof(folder.path(), &[&base[..], more].concat())
    };
    for path in [model.clone(), model.join("config.json")] {
        let table = text(&run(&path, &[]).stdout);
        assert!(
            table.contains("Qwen3-8B-AWQ  8,190,735,360 parameters\nweights int4  KV cache bf16\n"),
            "{table}"
        );
    }
    assert!(text(&run(&model, &["--dtype", "bf16"]).stdout).contains("weights bf16"));
    std::fs::write(model.join("config.json"), config.replace("\"hidden_size\"", "\"hidden\"")).unwrap();
    let output = run(&model, &[]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        message
            .contains("config.json: config.json: no 'hidden_size', which the shape of a qwen3 model needs"),
        "{message}"
    );
    std::fs::write(model.join("config.json"), config.replace("awq", "hqq")).unwrap();
    assert!(text(&run(&model, &[]).stderr).contains("quant_method is hqq"), "unknown quantisation");
}

#[test]
fn mistakes_on_the_command_line_are_named() {
    let with = |more: &[&str], code| error(&[&["--model", "llama-2-7b"], more].concat(), code);
    let device = with(&["--device", "h100-sxn"], 2);
    assert!(device.contains("unknown device 'h100-sxn'; known: 'NVIDIA H100 SXM5 80 GB'"), "{device}");
    assert!(with(&["--device", "a100"], 2).contains("could be any of: 'NVIDIA A100 PCIe 40 GB'"));
    assert!(with(&["--device", "t4", "--dtype", "fp7"], 2).contains("unknown dtype 'fp7'; known: fp8"));
    assert!(with(&["--device", "t4", "--kv-dtype", "int9"], 2).contains("unknown KV cache dtype 'int9'"));
    assert!(with(&["--device", "t4", "--arithmetic", "fp7"], 2).contains("unknown arithmetic 'fp7'"));
    assert!(
        with(&["--device", "t4", "--tp", "5"], 2).contains("5 ranks does not divide num_attention_heads 32")
    );
    assert!(with(&["--device", "t4", "--context", "1k-8k"], 2).contains("'1k-8k' has no step"));
    assert!(
        error(&["--model", "llama-9", "--device", "t4"], 2)
            .contains("unknown preset 'llama-9'; known: llama-")
    );
    assert!(error(&["--model", "no/config.json", "--device", "t4"], 1).contains("there is no such file"));
}

#[test]
fn a_family_without_a_pass_is_estimated_and_not_measured() {
    let folder = tempfile::tempdir().unwrap();
    let output = kprof(folder.path(), &["phase", "--preset", "mixtral-8x7b"]);
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(
        message.contains("of the family mixtral, which kprof estimates and does not compute"),
        "{message}"
    );
    assert!(estimate(&["--model", "mixtral-8x7b", "--device", "h200"]).status.success());
}

#[test]
fn the_ceilings_of_another_device_are_marked_simulated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("sim.svg");
    let base = ["roofline", "tests/fixtures/ncu/v0_prefill.csv", "--sim", "h100-sxm", "--export-svg"];
    let output = kprof(root, &[&base[..], &[svg.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("SIMULATED: the ceilings are those of this device"));
    let svg = std::fs::read_to_string(&svg).unwrap();
    assert!(svg.contains("SIMULATED ceilings of NVIDIA H100 SXM5 80 GB") && svg.contains("(SIMULATED)"));
    assert!(!svg.contains("(report)"), "the report's own ceilings are not mixed in");
    let output = kprof(root, &[&base[..4], &["--export-json", "-"]].concat());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["findings"][0]["code"], "simulated");
    let ceilings = json["points"][0]["ceilings"].as_array().unwrap();
    assert!(!ceilings.is_empty() && ceilings.iter().all(|c| c["source"] == "simulated"), "{ceilings:?}");
}

#[test]
fn a_recorded_run_can_be_held_against_another_device() {
    let folder = tempfile::tempdir().unwrap();
    let record =
        ["phase", "--device", "fake", "--version", "v1", "-n", "3", "-r", "2", "-q", "-o", "run.jsonl"];
    assert!(kprof(folder.path(), &record).status.success());
    let load = ["phase", "--load", "run.jsonl", "--sim", "h100-sxm"];
    let output = kprof(folder.path(), &load);
    assert!(text(&output.stdout).contains("SIMULATED: the ceilings are those"), "{}", text(&output.stderr));
    let output = kprof(folder.path(), &[&load[..], &["--export-json", "-"]].concat());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ceilings = json["ceilings"].as_array().unwrap();
    assert!(!ceilings.is_empty() && ceilings.iter().all(|c| c["source"] == "simulated"), "{ceilings:?}");
    let unknown = kprof(folder.path(), &["phase", "--load", "run.jsonl", "--sim", "h900"]);
    assert_eq!(unknown.status.code(), Some(2));
}
