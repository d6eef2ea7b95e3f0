//! `kprof convert`, as a user runs it.

use super::report_bytes::whole;
use assert_cmd::Command;
use std::process::Output;

fn kprof(args: &[&str]) -> Output {
    Command::cargo_bin("kprof").expect("built with the tests").args(args).output().expect("kprof runs")
}

fn stdout(args: &[&str]) -> String {
    let output = kprof(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A report in a folder, and its path.
fn report() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The content tells what it is, not the name.
    let path = folder.path().join("v1_decode.bin");
    std::fs::write(&path, whole()).expect("it can be written");
    let path = path.to_str().expect("a plain path").to_string();
    (folder, path)
}

#[test]
fn a_report_becomes_one_row_per_launch() {
    let (_folder, path) = report();
    let text = stdout(&["convert", &path, "--to", "csv"]);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().expect("a header").clone();
    let at = |name: &str| header.iter().position(|h| h == name).expect(name);
    let rows: Vec<csv::StringRecord> = reader.records().map(|r| r.expect("a row")).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[1][at("kernel")], &rows[1][at("dram_bytes")]), ("second(int)", "8192"));
    assert_eq!((&rows[0][at("version")], &rows[0][at("stage")]), ("v1", "decode"));
    assert!((rows[1][at("time_s")].parse::<f64>().expect("a number") - 2e-6).abs() < 1e-18);
}

#[test]
fn json_keeps_every_metric_where_asked() {
    let (_folder, path) = report();
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&["convert", &path, "--to", "json", "--metrics", "all"])).expect("JSON");
    let metrics = &json["launches"][0]["metrics"];
    assert_eq!(metrics["sm__warps_active.avg"], 3.5);
    assert_eq!(metrics["gpu__time_duration.sum"], 1000);
    assert_eq!(metrics["device__attribute_display_name"], "Test GPU");
    assert_eq!(json["files"][0]["profiler"]["name"], "Nsight Compute");
    let lines = stdout(&["convert", &path, "--to", "jsonl"]);
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["kernel"], first.get("metrics")), (&"first(int)".into(), None));
}

#[test]
fn parquet_is_written_or_says_how_to_build_it() {
    let (folder, path) = report();
    let to = folder.path().join("launches.parquet");
    let output = kprof(&["convert", &path, "--to", "parquet", "--output", to.to_str().expect("plain")]);
    if cfg!(feature = "parquet") {
        assert!(std::fs::read(to).expect("it was written").starts_with(b"PAR1"));
    } else {
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("--features parquet"));
    }
}

#[test]
fn what_cannot_be_converted_is_a_mistake_of_usage() {
    let (folder, path) = report();
    let code = |args: &[&str]| kprof(args).status.code();
    assert_eq!(code(&["convert", &path, "--to", "csv", "--metrics", "all"]), Some(2));
    let export = folder.path().join("x.csv");
    std::fs::copy(super::fixtures::path("long.csv"), &export).expect("it can be copied");
    let export = export.to_str().expect("plain");
    assert_eq!(code(&["convert", export, "--to", "json", "--metrics", "all"]), Some(2));
    assert_eq!(code(&["convert", export, "--to", "csv"]), Some(0));
    assert_eq!(code(&["convert", "no-such-file", "--to", "csv"]), Some(1));
}

#[test]
fn a_report_can_be_drawn() {
    let (_folder, path) = report();
    let table = stdout(&["roofline", &path]);
    assert!(table.contains("first") && table.contains("second"), "{table}");
}
