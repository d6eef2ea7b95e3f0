//! `kprof perplexity` through the real program.

use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn kprof(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    let all = [&["perplexity"], args].concat();
    command.current_dir(folder).env("XDG_CONFIG_HOME", folder).args(all).output().expect("kprof runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The one line of a refusal, and its exit code; nothing was begun.
fn refusal(folder: &Path, args: &[&str]) -> (String, i32) {
    let output = kprof(folder, args);
    let message = text(&output.stderr);
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    assert!(!folder.join("profiles").exists(), "nothing was begun");
    (message, output.status.code().unwrap())
}

#[test]
fn a_quick_run_is_scored_recorded_and_reported_again() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--quick", "-n", "300", "--threads", "2", "-o", "run.jsonl", "--json", "-q"];
    let output = kprof(folder.path(), &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let versions = json["versions"].as_array().unwrap();
    let names: Vec<&str> = versions.iter().map(|v| v["version"].as_str().unwrap()).collect();
    assert_eq!(names, ["v0", "v1", "v2", "v3", "v4"]);
    // One story: 15 bytes of the rule after its first, and 240.
    assert!(versions.iter().all(|v| v["tokens"] == 255 && v["bits_per_byte"].as_f64().unwrap() > 0.3));
    assert_eq!(json["text"]["name"], "grammar, seed 42, 1 stories");
    assert_eq!((&json["text"]["context"], &json["text"]["stride"]), (&256.into(), &240.into()));
    assert!(json["text"]["best_perplexity"].as_f64().unwrap() > 1.2);
    assert_eq!(versions[1]["change"], Value::Null);
    assert_eq!(versions[2]["change"]["reference"], "v1");

    let run = std::fs::read_to_string(folder.path().join("run.jsonl")).unwrap();
    let records: Vec<Value> = run.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records[0]["config"]["benchmark"], "perplexity");
    assert_eq!(records[0]["config"]["weights"]["name"], "grammar");
    let qualities: Vec<&Value> = records.iter().filter(|r| r["type"] == "quality").collect();
    assert_eq!(qualities.len(), 5);
    for quality in qualities {
        let length = |key: &str| quality[key].as_array().map_or(0, Vec::len);
        assert_eq!((length("nll_nat"), length("teacher_forced_nll_nat")), (255, 255));
        let compared = if quality["version"] == "v1" { 0 } else { 255 };
        assert_eq!((length("kl_nat"), length("same_top1")), (compared, compared));
        assert_eq!((&quality["bytes"], &quality["first_token"]), (&255.into(), &1.into()));
    }
    assert_eq!(records.last().unwrap()["type"], "end");

    let again = kprof(folder.path(), &["--load", "run.jsonl", "--export-csv", "-"]);
    let csv = text(&again.stdout);
    assert!(csv.starts_with("version,tokens,perplexity,one_pass_perplexity,bits_per_byte"), "{csv}");
    assert_eq!(csv.lines().count(), 6);
    let table = text(&kprof(folder.path(), &["--load", "run.jsonl"]).stdout);
    assert!(table.starts_with("kprof perplexity  grammar f32 on cpu"), "{table}");
    assert!(table.contains("best possible perplexity") && table.contains("vs v1"), "{table}");
}

#[test]
fn the_reference_is_measured_whether_asked_for_or_not_on_any_implementation_and_type() {
    let folder = tempfile::tempdir().unwrap();
    let args =
        ["--version", "v2", "-n", "255", "--implementation", "candle", "--dtype", "bf16", "--json", "-q"];
    let output = kprof(folder.path(), &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&Value> = json["versions"].as_array().unwrap().iter().map(|v| &v["version"]).collect();
    assert_eq!(names, ["v1", "v2"]);
}

#[test]
fn a_text_of_the_users_is_scored_in_windows() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "Kifa: blue drum\nKifa: blue drum\nKifa: blue drum\n")
        .unwrap();
    let args = ["--text", "a.txt", "--version", "v1", "--context", "32", "--stride", "16", "--json", "-q"];
    let output = kprof(folder.path(), &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["versions"][0]["tokens"], 47);
    assert_eq!(json["text"]["best_perplexity"], Value::Null);
    let codes: Vec<&Value> = json["findings"].as_array().unwrap().iter().map(|f| &f["code"]).collect();
    assert_eq!(codes, ["too_few_samples"]);
}

#[test]
fn what_cannot_be_scored_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
    write("latin1.txt", b"caf\xe9");
    write("one.txt", b"x");
    write("fine.txt", b"some text");
    for (args, message, code) in [
        (&["--preset", "gpt2"][..], "gpt2 has random weights, whose quality says nothing", 2),
        (&["--text", "latin1.txt"], "latin1.txt: not UTF-8: byte 0xe9 at offset 3", 1),
        (&["--text", "one.txt"], "one.txt is too short: 1 tokens", 2),
        (&["--text", "none.txt"], "cannot read none.txt", 1),
        (
            &["--text", "fine.txt", "--tokenizer", "gpt2"],
            "the tokenizer gpt2 does not match grammar: it has 50257 tokens",
            2,
        ),
        (&["--context", "300"], "--context 300: grammar has 256 positions", 2),
        (&["--context", "64", "--stride", "65"], "--stride 65 is more than the context of 64", 2),
        (&["--version", "v9"], "unknown version 'v9'; known: ", 2),
    ] {
        let (found, status) = refusal(folder.path(), args);
        assert!(found.contains(message) && status == code, "{args:?}: {status} {found}");
    }
}
