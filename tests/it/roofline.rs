//! `kprof roofline`, as a user runs it.

use assert_cmd::Command;
use std::path::Path;

const PREFILL: &str = "tests/fixtures/ncu/v0_prefill.csv";

fn kprof(args: &[&str]) -> std::process::Output {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("COLUMNS", "100").arg("roofline").args(args);
    command.output().expect("kprof runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_reference_system_s_prefill_is_a_lower_bound_of_unknown_bound() {
    let output = kprof(&[PREFILL, "--device", "RTX A6000", "--export-json", "-"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("stdout is JSON and nothing else");
    let points = json["points"].as_array().expect("a list");
    let total: f64 = points.iter().filter_map(|p| p["flops"]["total"].as_f64()).sum();
    // Counted are 2.32 GFLOP; executed were about 335.
    assert!((2.2e9..2.4e9).contains(&total), "{total}");
    for point in points {
        assert_eq!((&point["flops_complete"], &point["bound"]), (&false.into(), &"unknown".into()));
        assert!(point["flops"]["tensor"].is_null() && point["fraction_of_ceiling"].is_null());
    }
    let findings = json["findings"].as_array().expect("a list");
    let incomplete = findings.iter().find(|f| f["code"] == "flops_incomplete").expect("a finding");
    let remedy = incomplete["remedy"].as_str().expect("a remedy");
    assert!(remedy.contains("sm__ops_path_tensor") && remedy.contains("ncu --csv"), "{remedy}");
}

#[test]
fn the_table_goes_to_stdout_and_the_way_to_the_chart_to_stderr() {
    let output = kprof(&[PREFILL, "--top", "3"]);
    assert!(output.status.success());
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(out.contains("Finding") && out.contains("unknown") && out.contains("lower bound"), "{out}");
    assert!(err.contains("--export-svg") && err.lines().count() == 1, "{err}");
}

#[test]
fn charts_and_tables_are_written_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_string();
    let names = ["c.svg", "c.png", "c.csv", "c.md"].map(path);
    let [svg, png, csv, md] = &names;
    let args = ["--export-svg", svg, "--export-png", png, "--export-csv", csv, "--export-markdown", md];
    let output = kprof(&[&[PREFILL, "--device", "RTX A6000", "--title", "Prefill"], &args[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let read = |p: &str| std::fs::read(Path::new(p)).expect("it was written");
    assert!(text(&read(svg)).contains("Prefill") && read(png).starts_with(b"\x89PNG"));
    assert!(text(&read(csv)).starts_with("file,level,") && text(&read(md)).starts_with("| # |"));
}

#[test]
fn an_unknown_device_lists_the_known_ones_nearest_first_and_exits_with_2() {
    let output = kprof(&[PREFILL, "--device", "RTX 4091"]);
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(error.contains("unknown device 'RTX 4091'; known: 'NVIDIA GeForce RTX 4090'"), "{error}");
    let output = kprof(&[PREFILL, "--device", "A100"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("could be any of"));
}

#[test]
fn a_missing_file_and_two_exports_to_stdout_are_errors() {
    let output = kprof(&["no-such-file.csv"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no-such-file.csv"));
    let output = kprof(&[PREFILL, "--export-json", "-", "--export-csv", "-"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn kernels_are_kept_by_name_and_shown_short_unless_asked_for_in_full() {
    const TABLE: &str = "tests/fixtures/ncu/tensor-ampere-overlap.csv";
    let names = |args: &[&str]| -> Vec<String> {
        let output = kprof(&[args, &["--export-json", "-"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("stdout is JSON");
        let points = json["points"].as_array().expect("a list");
        points.iter().map(|p| p["name"].as_str().expect("a name").to_string()).collect()
    };
    let all = names(&[TABLE]);
    let pattern = format!("^{}$", regex::escape(&all[0]));
    assert_eq!(names(&[TABLE, "--kernel", &pattern]), all[..1]);
    assert_eq!(names(&[TABLE, "--by", "file"]), ["tensor-ampere-overlap.csv"]);
    for by in ["launch", "kernel", "name-base", "grid", "nvtx", "phase"] {
        assert!(!names(&[TABLE, "--by", by]).is_empty(), "{by}");
    }
}

#[test]
fn a_filter_that_matches_nothing_lists_what_there_is_and_exits_with_1() {
    let output = kprof(&[PREFILL, "--kernel", "no such kernel"]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("no kernel matches 'no such kernel'; the files have:\n  "), "{error}");
    let output = kprof(&["tests/fixtures/ncu/nvtx.csv", "--nvtx", "nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("NVTX range 'nowhere'; the files have:\n  "),
        "{}",
        text(&output.stderr)
    );
    let output = kprof(&[PREFILL, "--kernel", "("]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_table_for_80_columns_leaves_out_columns_before_it_shortens_names() {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("COLUMNS", "80").args(["roofline", PREFILL]);
    let output = command.output().expect("kprof runs");
    let out = text(&output.stdout);
    let rows: Vec<&str> = out.lines().take_while(|l| !l.is_empty()).collect();
    assert!(rows.iter().all(|l| l.chars().count() <= 80), "{out}");
    assert!(!out.contains("attainable"), "{out}");
}

#[test]
fn an_explanation_names_metrics_formulas_and_what_is_missing() {
    let output = kprof(&[PREFILL, "--device", "RTX A6000", "--top", "1", "--explain", "."]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    for part in
        ["FLOPs / bytes =", "DRAM bandwidth 768 GB/s (datasheet http", "missing", "collect with      ncu "]
    {
        assert!(out.contains(part), "{part}\n{out}");
    }
    let output = kprof(&[PREFILL, "--explain", "no such kernel"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn strict_turns_findings_into_exit_code_4_after_writing_everything() {
    let output = kprof(&[PREFILL, "--strict"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stdout).contains("Finding") && text(&output.stderr).contains("--strict:"));
}

#[test]
fn two_files_are_compared_under_their_labels() {
    let args = [PREFILL, "tests/fixtures/ncu/v0_prefill.csv", "--label", "before"];
    let output = kprof(&args);
    assert_eq!(output.status.code(), Some(2), "one label for two files");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copy = folder.path().join("again.csv");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(PREFILL), &copy).expect("a copy");
    let output =
        kprof(&[PREFILL, copy.to_str().expect("a plain path"), "--label", "before", "after", "--top", "2"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    assert!(out.contains("Changes against before") && out.contains("[new/old]"), "{out}");
}

#[test]
fn rules_say_what_kernels_are_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = folder.path().join("rules.toml");
    let path = rules.to_str().expect("a plain path");
    std::fs::write(&rules, "[[rule]]\nkernel = '.'\nphase = 'head'\nclass = 'mine'").expect("it is written");
    let output = kprof(&[PREFILL, "--rules", path, "--by", "class", "--export-json", "-"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("stdout is JSON");
    assert_eq!(json["points"][0]["name"], "mine");
    std::fs::write(&rules, "[[rule]]\nkernel = '('\nclass = 'x'").expect("it is written");
    let output = kprof(&[PREFILL, "--rules", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("rules.toml: rule 1:"), "{}", text(&output.stderr));
}

#[test]
fn a_trace_shows_how_kernels_were_launched_in_every_form() {
    const NSYS: &str = "tests/fixtures/traces/nsys.sqlite";
    let shown = |args: &[&str]| {
        let output = kprof(&[&[NSYS], args].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let table = shown(&[]);
    let rows: Vec<&str> =
        table.split("/thread").nth(1).expect("a table of launches").lines().skip(1).collect();
    assert!(rows[0].contains("gemm_kernel") && rows[0].contains("(256, 1, 1)"), "{table}");
    assert!(rows[0].ends_with("168    1024    98304      99328"), "{table}");
    assert!(rows[2].contains("(1, 2, 3)") && rows[2].matches("n/a").count() == 4, "{table}");
    assert!(!shown(&["--by", "class"]).contains("/thread"), "a class is no kernel");
    let json: serde_json::Value = serde_json::from_str(&shown(&["--export-json", "-"])).expect("JSON");
    let [gemm, long] = [&json["points"][0]["launched"], &json["points"][2]["launched"]];
    assert_eq!(
        (&gemm["registers"], &gemm["shared_bytes"], &gemm["grid"]),
        (&168.into(), &99_328.into(), &"(8, 1, 1)".into())
    );
    assert!(
        long["registers"].is_null()
            && long["shared_bytes"].is_null()
            && long["varying"] == serde_json::json!([])
    );
    let csv = shown(&["--export-csv", "-"]);
    assert!(
        csv.lines()
            .next()
            .is_some_and(|h| h.contains(",registers,static_shared_bytes,dynamic_shared_bytes,")),
        "{csv}"
    );
    assert!(csv.contains("\"(8, 1, 1)\",\"(256, 1, 1)\",168,1024,98304,99328,"), "{csv}");
    assert!(csv.contains("\"(1, 2, 3)\",\"(32, 1, 1)\",,,,,"), "{csv}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let page = folder.path().join("report.html");
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    let output = command.args(["report", NSYS, "-o"]).arg(&page).output().expect("kprof runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let page = std::fs::read_to_string(page).expect("it was written");
    let row = page.split("<tr data-id=\"0\"").nth(1).expect("a row").lines().next().unwrap_or_default();
    assert!(
        page.contains("<th class=\"n\">registers [/thread]</th>") && row.contains("<td class=\"n\">168</td>"),
        "{row}"
    );
    let markdown = shown(&["--export-markdown", "-"]);
    assert!(markdown.contains("| (8, 1, 1) | (256, 1, 1) | 168 | 1024 | 98304 | 99328 |"), "{markdown}");
    assert!(markdown.contains("| (1, 2, 3) | (32, 1, 1) | n/a | n/a | n/a | n/a |"), "{markdown}");
}
