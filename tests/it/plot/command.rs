//! `kprof plot` itself: what it writes, and what it says of mistakes.

use assert_cmd::Command;
use std::path::Path;
use std::process::Output;

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/runs/tiny.jsonl");

fn plot(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.current_dir(folder).arg("plot").args(args).output().expect("kprof runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn all_writes_a_file_for_every_figure_and_says_what_it_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let output = plot(folder.path(), &[RUN, "--out", "out"]);
    assert!(output.status.success(), "{}", stderr(&output));
    for name in ["roofline", "phases", "speedup", "telemetry", "ops-layers", "cache"] {
        let svg = std::fs::read_to_string(folder.path().join(format!("out/{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg"), "{name}");
    }
    assert!(stderr(&output).contains("left out, for want of records:"), "{}", stderr(&output));
    assert!(stderr(&output).contains("kernels (kernel launches with times)"), "{}", stderr(&output));
}

#[test]
fn one_figure_in_two_formats_with_a_theme_and_a_size() {
    let folder = tempfile::tempdir().unwrap();
    let args = [RUN, "--figure", "steps", "--format", "svg,png", "--theme", "dark", "--size", "700x500"];
    let output = plot(folder.path(), &[&args[..], &["--out", "out", "--title", "Mine"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let svg = std::fs::read_to_string(folder.path().join("out/steps.svg")).unwrap();
    assert!(svg.contains("width=\"700\" height=\"500\"") && svg.contains("Mine"), "{}", &svg[..200]);
    assert!(std::fs::read(folder.path().join("out/steps.png")).unwrap().starts_with(b"\x89PNG"));
    assert_eq!(std::fs::read_dir(folder.path().join("out")).unwrap().count(), 2);
}

#[test]
fn a_run_without_the_records_says_which_and_what_records_them() {
    let folder = tempfile::tempdir().unwrap();
    let output = plot(folder.path(), &[RUN, "--figure", "kernels", "--out", "out"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "has no kernel launches with times, which the figure 'kernels' is drawn from; record them with: kprof ncu";
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
}

#[test]
fn an_unknown_figure_gets_the_nearest_and_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let output = plot(folder.path(), &["no-such-run.jsonl", "--figure", "phase", "--out", "out"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("unknown figure 'phase', did you mean 'phases'?"), "{text}");
    assert!(text.contains("all,") && text.contains("throughput"), "{text}");
}

#[test]
fn a_folder_that_cannot_be_written_is_said_before_any_run_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for out in ["file", "file/inside"] {
        let output = plot(folder.path(), &["no-such-run.jsonl", "--out", out]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("cannot write into file"), "{}", stderr(&output));
    }
}

#[test]
fn mistakes_in_flags_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    for (args, expected) in [
        (vec![RUN, "--against", "v9"], "no run has this version; there are: v0, v1, v2"),
        (vec![RUN, "--label", "a", "b"], "--label gives 2 names to 1 files"),
        (vec![RUN, "--size", "big"], "WIDTHxHEIGHT"),
        (vec![], "required"),
    ] {
        let output = plot(folder.path(), &args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn the_list_names_every_figure() {
    let folder = tempfile::tempdir().unwrap();
    let output = plot(folder.path(), &["--list"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(kprof::render::plot::FIGURES.iter().all(|figure| text.contains(figure.name)), "{text}");
}
