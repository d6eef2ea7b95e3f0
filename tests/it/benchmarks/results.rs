//! The nanoGPT benchmark's results, in and out.

use super::{json, kprof, run_of, text};
use serde_json::Value;
use std::path::Path;

/// Two versions of the benchmark's documentation and its published figures, with two lines that cannot be used.
const RESULTS: &str = include_str!("../../fixtures/results/nanogpt.jsonl");

fn values(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn import(folder: &Path) -> (String, kprof::profile::Run) {
    std::fs::write(folder.join("results.jsonl"), RESULTS).unwrap();
    let output = kprof(folder, &["import", "results.jsonl", "-o", "r.run.jsonl"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stderr), kprof::profile::read_run(&folder.join("r.run.jsonl")).unwrap())
}

#[test]
fn results_become_a_run_and_bad_lines_are_named_with_their_number() {
    let folder = tempfile::tempdir().unwrap();
    let (stderr, run) = import(folder.path());
    assert!(stderr.contains("results.jsonl:3: left out: it is not JSON"), "{stderr}");
    assert!(stderr.contains("results.jsonl:8: left out: its benchmark 'ttft' is not known"), "{stderr}");
    assert_eq!(
        (run.latencies.len(), run.memory.len(), run.phase_totals.len(), run.qualities.len()),
        (3, 2, 1, 1)
    );
    let v1 = run.latencies.iter().find(|l| l.version == "v1" && l.tokens == 128).unwrap();
    assert!((v1.time_s - 0.24532).abs() < 1e-15 && v1.ttft_s.is_none(), "{v1:?}");
    let config = run.manifest.as_ref().unwrap().config.as_ref().unwrap();
    assert_eq!((config.model.num_hidden_layers, config.prompt_length, config.seed), (24, 32, 42));
    assert_eq!(config.dtype.to_string(), "bf16");
    assert_eq!(run.manifest.as_ref().unwrap().device.name, "NVIDIA RTX A6000");
    // The import is reported like any run; what it does not have is n/a.
    let report = json(&kprof(folder.path(), &["latency", "--load", "r.run.jsonl", "--json"]));
    assert_eq!(report["versions"][0]["points"][0]["ttft_s"], Value::Null);
    let memory = kprof(folder.path(), &["memory", "--load", "r.run.jsonl"]);
    assert!(text(&memory.stdout).contains("by imported"), "{}", text(&memory.stdout));
}

#[test]
fn what_was_imported_is_written_as_it_came() {
    let folder = tempfile::tempdir().unwrap();
    import(folder.path());
    let args = ["latency", "--load", "r.run.jsonl", "--export-jsonl", "back.jsonl", "--schema", "nanogpt"];
    assert!(kprof(folder.path(), &args).status.success());
    let back = values(&std::fs::read_to_string(folder.path().join("back.jsonl")).unwrap());
    let mut expected = values(RESULTS);
    expected.retain(|line| line["benchmark_name"] != "ttft");
    assert_eq!(back.len(), expected.len());
    for line in &expected {
        let is_same = |b: &&Value| {
            ["benchmark_name", "version", "T", "T_star"].iter().all(|key| b.get(key) == line.get(key))
        };
        let found = back.iter().find(is_same).unwrap_or_else(|| panic!("{line}"));
        for (key, value) in line.as_object().unwrap() {
            assert!(alike(found.get(key), value), "{key}: {value} became {:?}", found.get(key));
        }
    }
    // And again, exactly.
    let again = kprof(folder.path(), &["import", "back.jsonl", "-o", "again.run.jsonl"]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    let args = ["latency", "--load", "again.run.jsonl", "--export-jsonl", "-"];
    let output = kprof(folder.path(), &args);
    assert_eq!(values(&text(&output.stdout)), back);
}

/// Numbers may differ in their last digit: milliseconds became seconds and milliseconds again.
fn alike(found: Option<&Value>, expected: &Value) -> bool {
    match (found, expected) {
        (Some(Value::Object(a)), Value::Object(b)) => b.iter().all(|(key, value)| alike(a.get(key), value)),
        (Some(a), b) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * b.abs(),
            _ => a == b,
        },
        (None, _) => expected.is_null(),
    }
}

#[test]
fn a_measured_run_is_exported_and_imported_again() {
    let (folder, _, run) = run_of(&[
        "latency",
        "--preset",
        "tiny",
        "--version",
        "v1",
        "v2",
        "-T",
        "2,4",
        "-p",
        "4",
        "-r",
        "3",
        "--export-jsonl",
        "out.jsonl",
    ]);
    let output = kprof(folder.path(), &["import", "out.jsonl", "-o", "back.jsonl"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let back = kprof::profile::read_run(&folder.path().join("back.jsonl")).unwrap();
    assert_eq!(back.latencies.len(), 4);
    for l in &back.latencies {
        let mut times: Vec<f64> = run
            .latencies
            .iter()
            .filter(|own| own.version == l.version && own.tokens == l.tokens)
            .map(|own| own.time_s)
            .collect();
        times.sort_by(f64::total_cmp);
        assert!((l.time_s / times[1] - 1.0).abs() < 1e-12, "{l:?} {times:?}");
        assert_eq!(l.summarised.as_ref().unwrap().count, Some(3));
    }
}

#[test]
fn files_that_hold_no_results_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.jsonl"), "{\"benchmark_name\": \"latency_vs_T\"}\n").unwrap();
    let output = kprof(folder.path(), &["import", "bad.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("bad.jsonl:1: left out"), "{}", text(&output.stderr));
    assert!(!folder.path().join("bad.run.jsonl").exists());
}
