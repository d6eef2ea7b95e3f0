//! `kprof ncu` with a stand-in for Nsight Compute, which says what the real one says.

use crate::ncu::report_bytes::whole;
use assert_cmd::Command;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// A folder with the stand-in's results, and how kprof is called there.
pub(super) struct Place {
    pub(super) folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn stand_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/attach/ncu")
}

impl Place {
    pub(super) fn new(what: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("results"), whole()).expect("it is written");
        let names =
            "Chip ga102\ngpu__time_duration x\ndram__bytes x\nsm__ops_path_tensor_src_fp16_dst_fp32 x\n";
        std::fs::write(folder.path().join("metrics"), names).expect("it is written");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let variables = vec![
            ("STAND_IN", what.to_string()),
            ("STAND_IN_RESULTS", path("results")),
            ("STAND_IN_METRICS", path("metrics")),
            ("STAND_IN_CALL", path("call")),
            ("TMPDIR", path("tmp")),
        ];
        std::fs::create_dir(folder.path().join("tmp")).expect("a folder");
        Self { folder, variables }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.retain(|(n, _)| *n != name);
        self.variables.push((name, value.to_string()));
        self
    }

    pub(super) fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
        command.current_dir(self.folder.path()).env("COLUMNS", "120").env("KPROF_NCU", stand_in());
        // A machine that runs the tests may have a driver that forbids counters.
        command.envs(self.variables.iter().cloned()).args(["ncu", "--no-check"]).args(args);
        command.output().expect("kprof runs")
    }

    /// The arguments that the stand-in was called with.
    fn call(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("call")).expect("it was called");
        text.lines().map(str::to_string).collect()
    }

    fn temporary_files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("tmp")).expect("a folder").count()
    }
}

#[test]
fn a_report_goes_straight_to_the_table_and_the_chart_and_nothing_is_left_behind() {
    let place = Place::new("ok");
    let output = place.run(&["--export-svg", "roofline.svg", "--", "/bin/echo", "the program's own words"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert!(out.contains("first") && out.contains("second") && !out.contains("own words"), "{out}");
    assert!(err.contains("the program's own words") && err.contains("Nsight Compute 2024.3.0: "), "{err}");
    assert!(place.folder.path().join("roofline.svg").exists());
    assert_eq!(place.temporary_files(), 0);
    assert!(err.contains("--output FOLDER keeps it"), "{err}");
    let call = place.call();
    let metrics = &call[call.iter().position(|a| a == "--metrics").expect("metrics") + 1];
    assert!(metrics.starts_with("gpu__time_duration.sum,dram__bytes.sum,"), "{metrics}");
    assert_eq!(call[call.len() - 2..], ["/bin/echo", "the program's own words"]);
}

#[test]
fn wishes_reach_ncu_and_results_are_kept_where_the_user_says() {
    let place = Place::new("ok");
    let args = [
        "--kernel",
        "gemm|f.*",
        "--nvtx",
        "D@my/range",
        "--launch-skip",
        "3",
        "--launch-count",
        "2",
        "--metrics",
        "memory",
        "--ncu-arg=--replay-mode=application",
        "--output",
        "kept",
        "--export-json",
        "-",
        "--stage",
        "decode",
        "--",
        "/bin/true",
    ];
    let output = place.run(&args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("stdout is JSON and nothing else");
    assert!(json["points"].as_array().expect("points").iter().all(|p| p["stage"] == "decode"));
    let call = place.call();
    for pair in [
        ["--kernel-name", "regex:gemm|f.*"],
        ["--nvtx-include", "D@my\\/range/"],
        ["--launch-skip", "3"],
        ["--launch-count", "2"],
        ["--export", "kept/report.ncu-rep"],
        ["--replay-mode=application", "/bin/true"],
    ] {
        assert!(call.windows(2).any(|w| w == pair), "{pair:?} {call:?}");
    }
    assert!(place.folder.path().join("kept/report.ncu-rep").exists());
    assert!(place.folder.path().join("kept/ncu.log").exists());
}

#[test]
fn a_table_is_read_as_well_as_a_report() {
    let csv = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ncu/raw.csv");
    let place = Place::new("ok").with("STAND_IN_RESULTS", csv.to_str().expect("a plain path"));
    let output = place.run(&["--output", "kept.csv", "--export-json", "-", "--", "/bin/true"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("stdout is JSON");
    assert!(!json["points"].as_array().expect("points").is_empty());
    assert!(place.call().windows(2).any(|w| w == ["--log-file", "kept.csv"]));
}

#[test]
fn a_real_report_is_shown_as_roofline_shows_it() {
    let real = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/ncu/rep/NVIDIA__CuVectorAddDrv__a4addf3.ncu-rep");
    let Ok(real) = real.canonicalize() else {
        println!(
            "skipped: a_real_report_is_shown_as_roofline_shows_it: no ../shared/ncu beside the checkout"
        );
        return;
    };
    let place = Place::new("ok").with("STAND_IN_RESULTS", real.to_str().expect("a plain path"));
    let output = place.run(&["--", "/bin/true"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("VecAdd"), "{}", text(&output.stdout));
}

#[test]
fn each_failure_has_its_cause_its_fix_and_its_code() {
    for (what, code, cause, fix) in [
        (
            "forbidden",
            5,
            "refused access to the GPU's performance counters",
            "NVreg_RestrictProfilingToAdminUsers=0",
        ),
        ("no-kernels", 1, "no kernels were profiled", "kernels that ran: gemm, softmax"),
        ("unknown-metric", 1, "has no metric sm__nonsense.sum", "--query-metrics"),
        ("busy", 5, "another program holds the GPU's counters", "dcgmi profile --pause"),
        ("silent", 1, "ended with exit status: 9", "Connected to process 4242"),
    ] {
        let place = Place::new(what);
        let output = place.run(&["--", "/bin/echo", "hi"]);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{what}: {err}");
        assert!(output.stdout.is_empty(), "{what}");
        let message = err.lines().last().unwrap_or_default();
        assert!(
            message.starts_with("error: ") && message.contains(cause) && message.contains(fix),
            "{what}: {err}"
        );
        assert_eq!(place.temporary_files(), 0, "{what}");
    }
}

#[test]
fn a_program_that_crashes_leaves_what_was_profiled_until_then_and_code_1() {
    let output = Place::new("crash").run(&["--", "/bin/true"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("first"));
    assert!(text(&output.stderr).contains("the program crashed (exit code 11"), "{}", text(&output.stderr));
    let output = Place::new("ok").run(&["--", "/bin/sh", "-c", "exit 3"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the program ended with exit code 3"), "{}", text(&output.stderr));
}

#[test]
fn a_program_that_takes_too_long_is_ended_and_what_there_is_is_shown() {
    let place = Place::new("hang");
    let output = place.run(&["--timeout", "300ms", "--", "/bin/true"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("first"));
    assert!(text(&output.stderr).contains("--timeout ended the program"), "{}", text(&output.stderr));
    assert_eq!(place.temporary_files(), 0);
}

#[test]
fn an_old_ncu_a_missing_one_and_what_is_none_are_refused_before_anything_runs() {
    let place = Place::new("ok").with("STAND_IN_VERSION", "2019.5.0");
    let output = place.run(&["--", "/bin/true"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stderr).contains("2019.5.0, and kprof needs 2021.1.0"), "{}", text(&output.stderr));
    let output = place.run(&["--ncu", "no/such/ncu", "--", "/bin/true"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stderr).contains("cannot run no/such/ncu"), "{}", text(&output.stderr));
    let output = place.run(&["--ncu", "/bin/echo", "--", "/bin/true"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stderr).contains("/bin/echo is no Nsight Compute"), "{}", text(&output.stderr));
    assert!(!place.folder.path().join("call").exists());
}

#[test]
fn a_dry_run_prints_the_command_and_does_nothing() {
    let place = Place::new("ok");
    let output = place.run(&["--dry-run", "--device-chip", "9.0", "--output", "kept", "--", "./app", "a b"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    assert_eq!(out.lines().count(), 1);
    assert!(out.contains(" --export kept/report.ncu-rep ") && out.ends_with("./app 'a b'\n"), "{out}");
    assert!(!place.folder.path().join("call").exists() && !place.folder.path().join("kept").exists());
    // Also where there is no ncu at all.
    let output = place.run(&["--dry-run", "--ncu", "no/such/ncu", "--device-chip", "gh100", "--", "./app"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).starts_with("ncu --force-overwrite "), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("sm__ops_path_tensor_src_bf16_dst_fp32.sum"));
    assert!(text(&output.stderr).contains("it could not be run here: cannot run no/such/ncu"));
}

#[test]
fn mistakes_in_the_flags_are_usage_errors() {
    let place = Place::new("ok");
    for args in [
        &["--metrics", "rofline", "--", "/bin/true"][..],
        &["--device-chip", "h100", "--", "/bin/true"],
        &["--stage", "middle", "--", "/bin/true"],
        &["--timeout", "0s", "--", "/bin/true"],
        &["--kernel", "(", "--", "/bin/true"],
    ] {
        let output = place.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?} {}", text(&output.stderr));
    }
    let output = place.run(&["--", "no-such-program"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no-such-program"), "{}", text(&output.stderr));
    assert!(!place.folder.path().join("call").exists());
}

#[test]
fn a_stage_that_no_launch_is_known_to_be_of_is_an_error_that_says_how_to_tell() {
    let output = Place::new("ok").run(&["--stage", "prefill", "--", "/bin/true"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("name the NVTX range"), "{}", text(&output.stderr));
}

#[test]
fn without_a_program_kprof_s_own_passes_are_profiled_one_step_per_stage() {
    let place = Place::new("ok");
    let output = place.run(&[
        "--output", "kept", "--stage", "decode", "--", "phase", "--device", "fake", "-n", "3", "-r", "1",
    ]);
    let err = text(&output.stderr);
    assert!(output.status.success(), "{err}");
    let call = place.call();
    assert!(call.windows(2).any(|w| w == ["--profile-from-start", "off"]), "{call:?}");
    assert!(call.contains(&"--profile-step=decode".to_string()));
    let run = std::fs::read_to_string(place.folder.path().join("kept/report.run.jsonl")).expect("a run file");
    assert!(run.contains(r#""decode_step":2"#), "{}", &run[..400]);
    // The report of the stand-in has no ranges: so it is shown, and cannot be checked against the run.
    let out = text(&output.stdout);
    assert!(out.contains("first") && out.contains("known to be of v0 decode, v1 decode"), "{out}");
}

#[test]
fn mistakes_in_the_flags_of_our_own_passes_are_found_before_ncu_starts() {
    let place = Place::new("ok");
    for flags in [
        &["phase", "--nonsense"][..],
        &["phase", "--load", "x.jsonl"],
        &["phase", "--device", "tpu"],
        &["phase", "--preset", "gtp2"],
    ] {
        let output = place.run(&[&["--"][..], flags].concat());
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }
    assert!(!place.folder.path().join("call").exists());
}

#[test]
fn passes_on_the_cpu_have_nothing_to_count_and_that_is_found_before_ncu_starts() {
    let place = Place::new("ok");
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.current_dir(place.folder.path()).env("KPROF_NCU", stand_in());
    command.envs(place.variables.iter().cloned());
    let output = command.args(["ncu", "--", "phase", "--device", "cpu"]).output().expect("kprof runs");
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stderr).contains("counts on GPUs alone"), "{}", text(&output.stderr));
    assert!(!place.folder.path().join("call").exists());
}
