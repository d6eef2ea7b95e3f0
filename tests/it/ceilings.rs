//! `kprof ceilings`, as a user runs it.

use assert_cmd::Command;

fn kprof(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.args(args);
    command
}

#[test]
fn quick_ceilings_are_exported_with_their_samples_and_the_machine() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let csv = folder.path().join("ceilings.csv");
    let csv_arg = csv.to_str().expect("a plain path");
    let args = ["ceilings", "--quick", "--threads", "2", "--export-json", "-", "--export-csv", csv_arg];
    let output = kprof(&args).output().expect("kprof runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stderr = String::from_utf8_lossy(&output.stderr);
    // On a slow machine there is a plain line of progress every few seconds, and none is drawn over another.
    let expected =
        |line: &str| ["wrote ", "warning: ", "ceilings, round "].iter().any(|start| line.starts_with(start));
    assert!(stderr.lines().all(expected) && !stderr.contains('\r'), "{stderr}");
    let json: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("stdout is JSON and nothing else");
    assert_eq!(json["kprof"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["host"]["cpu"]["arch"], std::env::consts::ARCH);
    let ceilings = json["ceilings"].as_array().expect("a list");
    let dram = ceilings.iter().find(|c| c["level"] == "dram").expect("DRAM is measured");
    assert_eq!((&dram["unit"], &dram["threads"]), (&"B/s".into(), &2.into()));
    let best = dram["value"].as_f64().expect("a number");
    let samples = dram["samples"].as_array().expect("repetitions");
    assert!(samples.iter().all(|s| s.as_f64().is_some_and(|s| s > 0.0 && s <= best)));
    let csv = std::fs::read_to_string(csv).expect("the CSV was written");
    assert!(csv.starts_with("ceiling,operation,threads,unit,best,"), "{csv}");
    assert_eq!(csv.lines().count(), ceilings.len() + 1);
}

#[test]
fn mistakes_on_the_command_line_exit_with_2() {
    let twice =
        kprof(&["ceilings", "--quick", "--export-json", "-", "--export-csv", "-"]).output().expect("runs");
    assert_eq!(twice.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("only one export can go to stdout"));
    let none = kprof(&["ceilings", "--threads", "0"]).output().expect("runs");
    assert_eq!(none.status.code(), Some(2));
}
