//! `kprof compare`, `kprof regress` and baselines, end to end on the fake device and on runs altered by hand.

use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn kprof(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.current_dir(folder).args(args).output().expect("kprof runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with `run.jsonl` (v0 and v1, six repetitions), saved as the baseline `main`, and `slow.jsonl`, whose every step
/// takes `factor` times as long.
fn folder(factor: f64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let args = ["phase", "--device", "fake", "--version", "v0", "v1", "-n", "4", "-r", "6", "-q"];
    let more = ["--output", "run.jsonl", "--save-baseline", "main"];
    let output = kprof(folder.path(), &[&args[..], &more[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("saved baseline 'main'"));
    alter(folder.path(), "slow.jsonl", |record| {
        if record["type"] == "step" {
            record["time_s"] = (record["time_s"].as_f64().unwrap() * factor).into();
        }
    });
    folder
}

/// Writes run.jsonl under another name with every record changed so.
fn alter(folder: &Path, name: &str, change: impl Fn(&mut Value)) {
    let whole = std::fs::read_to_string(folder.join("run.jsonl")).unwrap();
    let lines = whole.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        change(&mut record);
        format!("{record}\n")
    });
    std::fs::write(folder.join(name), lines.collect::<String>()).unwrap();
}

#[test]
fn versions_of_a_run_are_compared_and_the_parts_add_up_to_the_change() {
    let folder = folder(1.1);
    let output = kprof(folder.path(), &["compare", "run.jsonl:v0", "run.jsonl:v1", "--export-json", "-"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let pair = &json["pairs"][0];
    assert_eq!((&pair["paired"], &pair["unlike"]), (&Value::from(true), &Value::from(Vec::<Value>::new())));
    let time = |what: &str| pair["times"].as_array().unwrap().iter().find(|t| t["what"] == what).unwrap();
    assert_eq!(time("decode")["verdict"], "faster");
    let decode = pair["stages"].as_array().unwrap().iter().find(|s| s["stage"] == "decode").unwrap();
    let change = |row: &Value| row["change_s"].as_f64().unwrap();
    let phases = decode["phases"].as_array().unwrap();
    let whole =
        time("decode")["new"]["median"].as_f64().unwrap() - time("decode")["old"]["median"].as_f64().unwrap();
    let sum: f64 = phases[..5].iter().map(change).sum();
    assert!((sum / whole - 1.0).abs() < 1e-9, "{sum} {whole}");
    assert!((change(&phases[5]) / whole - 1.0).abs() < 1e-9);
    let ops: f64 = decode["ops"].as_array().unwrap().iter().map(change).sum();
    assert!(((ops + change(&phases[4])) / whole - 1.0).abs() < 1e-9, "{ops}");
    let speedup = json["comparison"]["generation"]["speedup"].as_f64().unwrap();
    let reduction = json["comparison"]["generation"]["latency_reduction_percent"].as_f64().unwrap();
    assert!(speedup > 1.0 && (reduction - 100.0 * (1.0 - 1.0 / speedup)).abs() < 1e-9);
    // v0 has no cache and v1 has 71680 B: memory grows by 0.07168 MB, and by no percentage of nothing.
    assert_eq!(json["comparison"]["inference"]["memory_reduction_mb"], -0.07168);
    assert_eq!(json["comparison"]["inference"]["memory_reduction_percent"], Value::Null);
}

#[test]
fn every_export_of_compare_is_what_its_name_says_and_the_table_fits_80_columns() {
    let folder = folder(1.1);
    let args = ["compare", "run.jsonl", "slow.jsonl", "--export-csv", "c.csv", "--export-markdown", "c.md"];
    let mut command = Command::cargo_bin("kprof").unwrap();
    let output = command.env("COLUMNS", "80").current_dir(folder.path()).args(args).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    // Two versions, three durations each, all 10 % slower.
    assert_eq!(stdout.matches("slower").count(), 6, "{stdout}");
    let tables = stdout.lines().filter(|l| !l.contains(':'));
    assert!(tables.clone().count() > 20 && tables.into_iter().all(|l| l.chars().count() <= 80), "{stdout}");
    let csv = std::fs::read_to_string(folder.path().join("c.csv")).unwrap();
    assert!(csv.starts_with("old,new,stage,level,name,old_s,new_s"), "{csv}");
    assert_eq!(csv.lines().filter(|l| l.contains(",time,")).count(), 6);
    assert!(std::fs::read_to_string(folder.path().join("c.md")).unwrap().contains("| decode (TPOT) |"));
}

#[test]
fn a_regression_exits_with_3_and_is_told_to_whoever_waits() {
    let folder = folder(1.1);
    let regress = |more: &[&str]| kprof(folder.path(), &[&["regress"], more].concat());
    let same = regress(&["run.jsonl", "--baseline", "main", "--fail-on", "unclear"]);
    assert_eq!(same.status.code(), Some(0), "{}{}", text(&same.stdout), text(&same.stderr));
    let slow = regress(&["slow.jsonl", "--baseline", "main", "--github", "--export-junit", "j.xml"]);
    assert_eq!(slow.status.code(), Some(3), "{}", text(&slow.stdout));
    assert!(text(&slow.stderr).contains("6 confirmed regressions"), "{}", text(&slow.stderr));
    assert_eq!(text(&slow.stdout).matches("::error title=kprof regress::slower").count(), 6);
    assert!(text(&slow.stdout).contains("+10.0 %25 time"), "{}", text(&slow.stdout));
    let junit = std::fs::read_to_string(folder.path().join("j.xml")).unwrap();
    assert!(junit.contains("<testsuites tests=\"6\" failures=\"6\" skipped=\"0\">"), "{junit}");
    assert_eq!(junit.matches("<failure message=").count(), 6);
    let lenient = regress(&["slow.jsonl", "--baseline", "main", "--threshold", "20%"]);
    assert_eq!(lenient.status.code(), Some(0), "{}", text(&lenient.stdout));
}

#[test]
fn an_unclear_verdict_exits_with_4_only_where_asked() {
    let folder = folder(1.1);
    // Every other repetition takes 10 % longer.
    alter(folder.path(), "noisy.jsonl", |record| {
        if record["type"] == "step" && record["repetition"].as_u64().unwrap() % 2 == 1 {
            record["time_s"] = (record["time_s"].as_f64().unwrap() * 1.1).into();
        }
    });
    let args = ["regress", "noisy.jsonl", "--baseline", "main"];
    let lenient = kprof(folder.path(), &args);
    assert_eq!(lenient.status.code(), Some(0), "{}", text(&lenient.stdout));
    assert!(text(&lenient.stdout).contains("crosses the threshold of 5.00 %"), "{}", text(&lenient.stdout));
    let strict = kprof(folder.path(), &[&args[..], &["--fail-on", "unclear"]].concat());
    assert_eq!(strict.status.code(), Some(4), "{}", text(&strict.stderr));
}

#[test]
fn what_cannot_be_compared_is_one_clear_line() {
    let folder = folder(1.1);
    alter(folder.path(), "batch.jsonl", |record| {
        if record["type"] == "manifest" {
            record["config"]["batch"] = 4.into();
            record["device"]["name"] = "another".into();
        }
    });
    alter(folder.path(), "later.jsonl", |record| {
        if record["type"] == "manifest" {
            record["format_version"] = 9.into();
        }
    });
    for (args, code, expected) in [
        (vec!["compare", "run.jsonl", "run.jsonl"], 2, "run.jsonl:v0 is compared with itself"),
        (vec!["compare", "run.jsonl:v1"], 2, "is the only thing named"),
        (vec!["compare", "run.jsonl:v7", "run.jsonl"], 2, "has no version 'v7'; it has: v0, v1"),
        (
            vec!["compare", "run.jsonl", "batch.jsonl"],
            2,
            "unlike in batch (1 against 4), device (fake device (scripted clock) against another); compare them nevertheless \
             with --allow batch,device",
        ),
        (vec!["compare", "run.jsonl", "later.jsonl"], 1, "format version 9, but this kprof reads up to 1"),
        (vec!["compare", "run.jsonl", "absent.jsonl"], 1, "cannot read absent.jsonl"),
        (vec!["compare", "run.jsonl", "slow.jsonl", "--allow", "colour"], 2, "known: model, dtype"),
        (vec!["compare", "run.jsonl", "slow.jsonl", "--threshold", "5"], 2, "such as 5% or 0.05"),
        (
            vec!["regress", "run.jsonl", "--baseline", "absent"],
            2,
            "there is no baseline 'absent' (profiles/baselines/absent.jsonl); make it: kprof phase … --save-baseline absent",
        ),
        (vec!["regress", "run.jsonl", "--baseline", "../x"], 2, "'../x' is no name for a baseline"),
    ] {
        let output = kprof(folder.path(), &args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
    let allowed = kprof(folder.path(), &["compare", "run.jsonl", "batch.jsonl", "--allow", "batch,device"]);
    assert!(
        allowed.status.success() && text(&allowed.stdout).contains("unlike, allowed: batch (1 against 4)")
    );
}

#[test]
fn an_unfinished_run_is_compared_as_partial_and_is_no_baseline() {
    let folder = folder(1.1);
    let whole = std::fs::read_to_string(folder.path().join("run.jsonl")).unwrap();
    let cut: String =
        whole.lines().filter(|l| !l.contains("\"type\":\"end\"")).map(|l| format!("{l}\n")).collect();
    std::fs::write(folder.path().join("cut.jsonl"), cut).unwrap();
    let output = kprof(folder.path(), &["compare", "run.jsonl", "cut.jsonl"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("cut.jsonl: the run ended before it was complete"));
    let output = kprof(folder.path(), &["phase", "--load", "cut.jsonl", "--save-baseline", "cut"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is no baseline"), "{}", text(&output.stderr));
    assert!(!folder.path().join("profiles/baselines/cut.jsonl").exists());
}
