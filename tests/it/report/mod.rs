//! `kprof report`: what stands in the page, and that it does what it should in a browser.

mod browser;

use assert_cmd::Command;
use std::path::Path;
use std::process::Output;

pub(super) const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/runs/tiny.jsonl");
const KERNELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ncu/tensor-ampere-overlap.csv");

fn report(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.current_dir(folder).arg("report").args(args).output().expect("kprof runs")
}

fn page(args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = report(folder.path(), &[args, &["-o", "page.html"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(folder.path().join("page.html")).unwrap()
}

#[test]
fn a_page_has_verdict_findings_figures_tables_and_how_to_measure_again() {
    let html = page(&[RUN]);
    assert!(html.starts_with("<!DOCTYPE html>"));
    for id in ["verdict", "roofline", "phases", "versions", "samples", "machine", "again", "definitions"] {
        assert!(html.contains(&format!("<section id=\"{id}\">")), "{id}");
        assert!(html.contains(&format!("href=\"#{id}\"")), "{id}");
    }
    for sentence in ["v1 takes", "to the first token", "A decode step of v1", "v1 against v0: prefill"] {
        assert!(html.contains(sentence), "{sentence}");
    }
    for figure in [
        "roofline",
        "phases",
        "phases-share",
        "ops-layers",
        "speedup",
        "samples",
        "steps",
        "itl",
        "telemetry",
    ] {
        assert!(html.contains(&format!("<figure id=\"figure-{figure}\">")), "{figure}");
    }
    assert!(
        html.contains("kprof phase --preset tiny --version v0 v1 v2 -p 16"),
        "the command that measured it"
    );
    assert!(html.matches("<table class=\"sortable\"").count() >= 6);
}

#[test]
fn a_page_is_one_small_file_that_loads_nothing() {
    let html = page(&[RUN, KERNELS]);
    assert!(html.len() < 2_000_000, "{} bytes", html.len());
    for loads in
        ["src=", "<link", "@import", "url(h", "url(/", "import(", "fetch(", "XMLHttpRequest", "srcset"]
    {
        assert!(!html.contains(loads), "{loads}");
    }
    // What remains are names of XML, and where a ceiling's value comes from, as text.
    assert!(html.contains("default-src 'none'"));
    assert!(!html.contains("n/a0") && !html.contains(">NaN") && !html.contains(">undefined"));
}

#[test]
fn nothing_in_a_run_becomes_markup_or_script() {
    let folder = tempfile::tempdir().unwrap();
    let evil = "</script><script>alert(1)</script><b>&";
    let run = std::fs::read_to_string(RUN).unwrap();
    let run =
        run.replacen("\"name\":\"tiny\"", &format!("\"name\":{}", serde_json::to_string(evil).unwrap()), 1);
    std::fs::write(folder.path().join("evil.jsonl"), run).unwrap();
    let output = report(folder.path(), &["evil.jsonl", "--title", evil, "--label", evil]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let html = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(!html.contains("<script>alert") && !html.contains("<b>&<"), "unescaped");
    assert!(html.contains("&lt;/script&gt;"));
}

#[test]
fn several_runs_are_told_apart_and_an_interrupted_one_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read_to_string(RUN).unwrap();
    let cut: String =
        whole.lines().filter(|l| !l.contains("\"type\":\"end\"")).map(|l| format!("{l}\n")).collect();
    std::fs::write(folder.path().join("cut.jsonl"), cut).unwrap();
    let output = report(folder.path(), &[RUN, "cut.jsonl", "--label", "main,patch", "-o", "-"]);
    let html = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(html.contains("patch: The run was interrupted"), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(html.contains("v1 of patch against v1 of main"), "runs are compared version by version");
}

#[test]
fn a_profiler_s_export_makes_a_page_too() {
    let html = page(&[KERNELS]);
    assert!(html.contains("<section id=\"kernels\">") && html.contains("kernel"), "kernels");
    assert!(!html.contains("<section id=\"phases\">"));
}

#[test]
fn mistakes_are_said_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let output = report(folder.path(), &["no-such-run.jsonl", "-o", "file/report.html"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write file/report.html"));
    let output = report(folder.path(), &[RUN, "--against", "v7"]);
    assert_eq!(output.status.code(), Some(2));
}
