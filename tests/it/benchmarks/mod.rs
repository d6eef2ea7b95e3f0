//! The benchmarks through the real program, small: what their records hold, never how long anything took.

mod config;
mod latency;
mod memory;
mod results;
mod run;

use assert_cmd::Command;
use kprof::profile::{Run, read_run};
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

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("stdout is JSON and nothing else")
}

/// Runs a benchmark into `run.jsonl` of a new folder and reads it.
fn run_of(args: &[&str]) -> (tempfile::TempDir, Output, Run) {
    let folder = tempfile::tempdir().unwrap();
    let output = kprof(folder.path(), &[args, &["-q", "-o", "run.jsonl"]].concat());
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    let run = read_run(&folder.path().join("run.jsonl")).unwrap();
    assert!(run.complete, "{args:?}");
    (folder, output, run)
}

/// Every case exits with 2 and says what is expected, and nothing is measured.
fn refused(cases: &[(&[&str], &str)]) {
    let folder = tempfile::tempdir().unwrap();
    for (args, expected) in cases {
        let output = kprof(folder.path(), args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
    }
    assert!(!folder.path().join("profiles").exists(), "nothing was measured or written");
}
