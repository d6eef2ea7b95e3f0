//! The real program with models of the second family, versions of the user's own, and slices of models; and what it says
//! before it starts what cannot end well.

use crate::passes::write_model as write_gpt2;
use assert_cmd::Command;
use kprof::llm::preset;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

/// kprof in `folder`, with no settings of the user's but those below it.
fn kprof(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    let config = folder.join("config");
    command.current_dir(folder).env("XDG_CONFIG_HOME", config).args(args).output().expect("kprof runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The one line of a refusal, and its exit code.
fn refusal(output: &Output) -> (String, i32) {
    let message = text(&output.stderr);
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    (message, output.status.code().unwrap())
}

fn write(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

#[test]
fn versions_of_the_users_folder_and_of_a_file_are_listed_and_run() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("config/kprof/versions.toml"), "[v5]\nkv_dtype = 'bf16'\n[v6]\nwindow = 8\n");
    write(&folder.path().join("mine.toml"), "[v5]\nkv_dtype = 'int4'\nscale = 'channel-group:8'\n");
    let base = ["versions", "--preset", "tiny-llama", "--context", "100", "--batch", "3"];
    let listed = |more: &[&str]| stdout(&kprof(folder.path(), &[&base, more].concat()));
    let table = listed(&[]);
    assert!(table.starts_with("kprof versions  tiny-llama f32  context 100 batch 3\n"), "{table}");
    assert!(table.contains("v5       bf16") && table.contains("v6"), "{table}");
    let json: Value =
        serde_json::from_str(&listed(&["--versions-file", "mine.toml", "--export-json", "-"])).unwrap();
    let row =
        |name: &str| json["versions"].as_array().unwrap().iter().find(|v| v["version"] == name).unwrap();
    // tiny-llama: K and V of 4 layers, 2 heads of 16: 256 elements per token, in groups of 8 with a scale of 2 B.
    assert_eq!(row("v5")["bytes_per_token"], 256.0 / 2.0 + 32.0 * 2.0);
    assert_eq!(row("v5")["total_bytes"], 192.0 * 300.0);
    assert_eq!(row("v5")["source"], "mine.toml");
    assert_eq!(
        (&row("v6")["total_bytes"], &row("v6")["held_bytes"]),
        (&(1024.0 * 24.0).into(), &(1024.0 * 300.0).into())
    );
    assert_eq!(row("v5")["ratio_to_v1"], 192.0 / 1024.0);

    let phase = [
        "phase",
        "--device",
        "fake",
        "--preset",
        "tiny-llama",
        "--version",
        "v1,v5,v6",
        "-n",
        "3",
        "-r",
        "2",
    ];
    let more = ["-q", "--versions-file", "mine.toml", "--export-json", "-"];
    let json: Value =
        serde_json::from_str(&stdout(&kprof(folder.path(), &[&phase[..], &more].concat()))).unwrap();
    let cache = |version: &str| {
        let stages = json["stages"].as_array().unwrap();
        stages.iter().find(|s| s["version"] == version).unwrap()["kv_cache_bytes"].clone()
    };
    // 32 + 3 - 1 tokens.
    assert_eq!(cache("v5")["theoretical"], 192.0 * 34.0);
    assert_eq!(cache("v5")["allocated"], 192.0 * 34.0);
    assert_eq!(
        (&cache("v6")["theoretical"], &cache("v6")["allocated"]),
        (&(1024.0 * 8.0).into(), &(1024.0 * 34.0).into())
    );
}

#[test]
fn a_mistake_in_a_file_of_versions_is_one_line_with_its_place_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("mine.toml"), "[v5]\nkv_dtype = 'int8'\nscales = 'token-head'\n");
    for command in [["versions", "--preset", "tiny"], ["phase", "--version", "v5"]] {
        let output = kprof(folder.path(), &[&command[..], &["--versions-file", "mine.toml"]].concat());
        let (message, code) = refusal(&output);
        assert_eq!(code, 1);
        let expected = "error: mine.toml:3: version 'v5': unknown key 'scales'; known: scale,";
        assert!(message.starts_with(expected), "{message}");
    }
    let (message, code) = refusal(&kprof(folder.path(), &["phase", "--version", "v5"]));
    assert_eq!(code, 2);
    assert!(message.contains("unknown version 'v5'; known: v0, v1, v2, v3, v4"), "{message}");
}

#[test]
fn a_slice_of_a_model_says_so_in_table_manifest_figure_and_file_name() {
    let folder = tempfile::tempdir().unwrap();
    let args =
        ["phase", "--device", "fake", "--preset", "tiny-llama", "--layers", "2", "-n", "3", "-r", "2", "-q"];
    let table = stdout(&kprof(folder.path(), &args));
    assert!(table.starts_with("kprof phase  tiny-llama (2 of 4 layers) f32"), "{table}");
    let runs: Vec<String> = std::fs::read_dir(folder.path().join("profiles/runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let run = runs.iter().find(|name| name.ends_with(".jsonl")).unwrap();
    assert!(run.contains("-tiny-llama-2-of-4-layers-f32-fake"), "{run}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join("profiles/runs").join(name)).unwrap();
    let manifest: Value = serde_json::from_str(read(run).lines().next().unwrap()).unwrap();
    let model = &manifest["config"]["model"];
    assert_eq!(
        (&model["name"], &model["num_hidden_layers"]),
        (&"tiny-llama (2 of 4 layers)".into(), &2.into())
    );
    let figures: Vec<&String> = runs.iter().filter(|name| name.ends_with(".svg")).collect();
    assert_eq!(figures.len(), 2);
    assert!(figures.iter().all(|name| read(name).contains("(2 of 4 layers)")), "{figures:?}");

    let (message, code) = refusal(&kprof(folder.path(), &["phase", "--preset", "tiny", "--layers", "9"]));
    assert_eq!((message.as_str(), code), ("error: --layers 9: tiny has 4; ask for 1 to 4\n", 2));
}

#[test]
fn what_cannot_run_is_refused_in_one_line_before_long_work() {
    let folder = tempfile::tempdir().unwrap();
    // 10^12 sequences: petabytes of cache.
    let too_many = ["phase", "--preset", "tiny-llama", "--version", "v1", "--batch", "1000000000000"];
    let (message, code) = refusal(&kprof(folder.path(), &too_many));
    assert_eq!(code, 1);
    for part in
        ["tiny-llama in f32 needs ", " are available: weights ", "KV caches ", "not even one of its layers"]
    {
        assert!(message.contains(part), "{message}");
    }
    let too_long = ["versions", "--preset", "llama-2-7b", "--context", "4097"];
    let (message, code) = refusal(&kprof(folder.path(), &too_long));
    assert_eq!((message.as_str(), code), ("error: --context 4097: llama-2-7b has 4096 positions\n", 2));
    let too_long = ["phase", "--preset", "llama-2-7b", "-p", "4096", "-n", "2"];
    let (message, code) = refusal(&kprof(folder.path(), &too_long));
    assert!(code == 2 && message.contains("need 4097 positions; llama-2-7b has 4096"), "{message}");
    let (message, code) = refusal(&kprof(folder.path(), &["phase", "--preset", "mixtral-8x7b"]));
    assert!(code == 2 && message.contains("mixtral-8x7b is of the family mixtral"), "{message}");
    write(&folder.path().join("m/config.json"), r#"{"model_type":"mamba"}"#);
    let (message, code) = refusal(&kprof(folder.path(), &["phase", "--model", "m"]));
    assert!(code == 1 && message.contains("model_type is 'mamba'; known: "), "{message}");
    assert!(!folder.path().join("profiles").exists(), "nothing was begun");
}

#[test]
fn versions_of_a_directory_need_no_weights() {
    let folder = tempfile::tempdir().unwrap();
    let spec = preset("tiny").unwrap();
    let model = folder.path().join("my-model");
    std::fs::create_dir(&model).unwrap();
    write_gpt2(&model, &spec, &kprof::pass::MemoryWeights::default(), "");
    for path in ["my-model", "my-model/config.json"] {
        let table = stdout(&kprof(folder.path(), &["versions", "--model", path]));
        assert!(table.starts_with("kprof versions  my-model f32  context 128 batch 1\n"), "{table}");
    }
}
