//! Kernels traced and counted by CUPTI, on a machine without a GPU: a stand-in for the library tells of the kernels of the
//! stand-in for the driver.

use crate::cuda::{shared_library, stand_in, text};
use assert_cmd::Command;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Output;
use std::sync::OnceLock;

/// The libraries: as it should be, one as before CUDA 12.6, and one without a function.
fn libraries() -> Result<&'static [PathBuf; 3], String> {
    static MADE: OnceLock<Result<[PathBuf; 3], String>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let files = ["cupti", "cupti-old", "cupti-lacks"].map(|f| (f, "libcupti.so.12"));
        let folder = stand_in()?;
        let files = files.map(|(below, name)| folder.join(below).join(name));
        for (file, extra) in files.iter().zip([&[][..], &["-DLACKS_RANGES"], &["-DLACKS_FLUSH"]]) {
            shared_library("libcupti.cpp", "libcupti.so.12", file, extra)?;
        }
        Ok(files)
    });
    made.as_ref().map_err(String::clone)
}

/// What `kprof phase` says with these counters; `None`, and a word about it, where there can be no stand-in.
fn phase(what: &str, environment: &[(&str, &str)], extra: &[&str]) -> Option<(Output, Vec<Value>)> {
    let mut command = crate::cuda::kprof("cupti")?;
    let files = match libraries() {
        Ok(files) => files,
        Err(why) => {
            println!("skipped: cupti: {why}");
            return None;
        }
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    command.current_dir(folder.path()).env("KPROF_LEAST_PROBES", "1").env("KPROF_CUPTI", &files[0]);
    command.envs(environment.iter().copied());
    let base = [
        "phase",
        "--device",
        "cuda",
        "--preset",
        "tiny-llama",
        "--dtype",
        "bf16",
        "-p",
        "9",
        "-n",
        "3",
        "-r",
        "1",
    ];
    let schedule = [
        "--warmup",
        "1",
        "--max-time",
        "900s",
        "-q",
        "--no-telemetry",
        "-o",
        "run.jsonl",
        "--counters",
        what,
    ];
    let output = command.args(base).args(schedule).args(extra).output().expect("kprof runs");
    let lines = std::fs::read_to_string(folder.path().join("run.jsonl")).unwrap_or_default();
    let records = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    Some((output, records))
}

fn of<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|r| r["type"] == kind).collect()
}

#[test]
fn every_op_of_a_step_has_its_kernels_with_how_they_were_launched() {
    for mode in ["eager", "graph"] {
        let extra = ["--version", "v0-v4", "--exec", mode];
        let Some((output, records)) = phase("kernels", &[], &extra) else { return };
        assert!(output.status.success(), "{}", text(&output.stderr));
        let described = records[0]["config"]["counters"].as_str().expect("who counts");
        assert!(described.starts_with("CUPTI (API version 24, "), "{described}");
        let kernels = of(&records, "kernel");
        for plan in of(&records, "plan") {
            let same = |k: &&&Value| k["version"] == plan["version"] && k["stage"] == plan["stage"];
            let own: Vec<&&Value> = kernels.iter().filter(same).collect();
            // Of this model every op is one kernel; they ran in the order of the plan.
            let ops = plan["ops"].as_array().expect("ops");
            assert_eq!(own.len(), ops.len(), "{mode} {} {}", plan["version"], plan["stage"]);
            for (kernel, op) in own.iter().zip(ops) {
                assert_eq!(kernel["phase"], op["phase"], "{kernel} {op}");
                let path = kernel["nvtx"][0].as_str().expect("the op's range");
                assert!(path.ends_with(op["label"].as_str().expect("a label")), "{path} {op}");
                assert_eq!(
                    (&kernel["registers"], &kernel["static_shared_bytes"]),
                    (&40.into(), &1024.into())
                );
                assert!(kernel["time"]["value"].as_f64().is_some_and(|t| t > 0.0), "{kernel}");
                assert!(kernel["dram_bytes"].is_null() && kernel["flops"]["fp32"].is_null(), "{kernel}");
                assert!(kernel["grid"].as_str().is_some_and(|g| g.starts_with('(')), "{kernel}");
            }
        }
        let flash =
            kernels.iter().find(|k| k["kernel"] == "kprof_flash64_bf16").expect("a prompt's attention");
        // Five tiles of 64 x 64 halves.
        assert_eq!(
            (&flash["dynamic_shared_bytes"], &flash["block"]),
            (&40_960.into(), &"(128, 1, 1)".into())
        );
        let begun: Vec<f64> = kernels.iter().filter_map(|k| k["timeline"]["start_s"].as_f64()).collect();
        assert!(begun.len() == kernels.len() && begun[0] == 0.0 && begun.is_sorted());
        // What was timed is as it is without: two twins of three tokens.
        assert_eq!(of(&records, "step").len(), 30);
    }
}

#[test]
fn counters_are_those_of_each_op_by_the_formulas_of_exports() {
    let Some((output, records)) = phase("cupti", &[], &["--version", "v1", "v2"]) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    let described = records[0]["config"]["counters"].as_str().expect("who counts");
    assert!(described.contains(" metrics of GA100 in 3 passes"), "{described}");
    let kernels = of(&records, "kernel");
    let ops: usize = of(&records, "plan").iter().map(|p| p["ops"].as_array().map_or(0, Vec::len)).sum();
    assert_eq!(kernels.len(), ops);
    for kernel in &kernels {
        // 100 FFMA, 10 FADD and 5 FMUL, of thread-level instructions; 4096 B.
        assert_eq!(kernel["flops"]["fp32"]["value"], 215.0, "{kernel}");
        assert_eq!(
            (&kernel["dram_bytes"]["value"], &kernel["dram_bytes"]["source"]),
            (&4096.0.into(), &"dram__bytes.sum".into())
        );
        assert_eq!(kernel["time"]["source"], "CUPTI activity: end - start");
        // A metric that the chip does not have is missing, and neither it nor a counter without a value is 0.
        let (missing, types) = (kernel["missing"].to_string(), &kernel["flops"]["tensor_by_type"]);
        assert!(kernel["flops_complete"] == false && missing.contains("src_fp64"), "{kernel}");
        assert!(types["tf32_dst_fp32"].is_null() && types["fp16_dst_fp32"]["value"] == 0.0, "{kernel}");
    }
    let said = of(&records, "finding")
        .iter()
        .any(|f| f["message"].as_str().is_some_and(|m| m.contains("ga100 has no")));
    assert!(said, "a metric that the chip lacks is named");
}

/// What is to be counted, the environment, and what the message has.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
fn what_keeps_cupti_from_counting_is_said_before_anything_is_measured() {
    let Ok([_, old, lacks]) = libraries() else {
        println!("skipped: what keeps cupti from counting: there is no g++");
        return;
    };
    let path = |file: &PathBuf| file.to_str().expect("a path in UTF-8").to_string();
    let (old, lacks) = (path(old), path(lacks));
    let fails = "KPROF_STAND_IN_CUPTI_FAILS";
    let cases: [Case<'_>; 10] = [
        ("cupti", &[("KPROF_CUPTI", &old)], &["is too old to count", "CUDA 12.6", "--counters kernels"]),
        ("kernels", &[("KPROF_CUPTI", &lacks)], &["it has no function cuptiActivityFlushAll"]),
        ("kernels", &[("KPROF_CUPTI", "/nowhere/libcupti.so.12")], &["/nowhere/libcupti.so.12"]),
        ("kernels", &[("KPROF_STAND_IN_CUPTI", "17")], &["API version 17 is too old", "CUDA 12.0 to 13.5"]),
        ("kernels", &[("KPROF_STAND_IN_CUPTI", "140000")], &["API version 140000 is newer than this kprof"]),
        (
            "cupti",
            &[(fails, "cuptiRangeProfilerEnable=35")],
            &["INSUFFICIENT_PRIVILEGES", "NVreg_RestrictProfilingToAdminUsers=0", "inside a container"],
        ),
        ("cupti", &[(fails, "cuptiRangeProfilerSetConfig=26")], &["another profiler is at work"]),
        (
            "cupti",
            &[("KPROF_STAND_IN_CUPTI_UNSUPPORTED", "1")],
            &["kprof stand-in cannot be profiled", "this virtual GPU"],
        ),
        ("cupti", &[("NV_TPS_LAUNCH_TOKEN", "1")], &["Nsight Compute is attached"]),
        (
            "cupti",
            &[(fails, "cuptiProfilerHostInitialize=27")],
            &["cuptiProfilerHostInitialize", "cannot be profiled"],
        ),
    ];
    for (what, environment, says) in cases {
        let Some((output, records)) = phase(what, environment, &["--version", "v1"]) else { return };
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{environment:?}: {error}");
        assert!(records.is_empty(), "{environment:?}: something was measured");
        for words in says {
            assert!(error.contains(words), "{environment:?}: {words:?} is not in {error}");
        }
    }
}

#[test]
fn what_goes_wrong_while_tracing_is_an_error_and_what_was_measured_stays() {
    for (environment, code, says) in [
        (("KPROF_STAND_IN_CUPTI_FAILS", "cuptiActivityEnable=39"), 5, "another profiler is at work"),
        (("KPROF_STAND_IN_CUPTI_DROPPED", "3"), 1, "CUPTI dropped 3"),
    ] {
        let Some((output, records)) = phase("kernels", &[environment], &["--version", "v1"]) else { return };
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(says), "{error}");
        assert_eq!((of(&records, "step").len(), of(&records, "end").len()), (6, 0));
    }
}

#[test]
fn counters_are_for_one_process_on_a_gpu() {
    let run = |args: &[&str]| {
        let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
        let output = command.args(["phase", "--counters"]).args(args).output().expect("kprof runs");
        (output.status.code(), text(&output.stderr))
    };
    let (code, error) = run(&["cupti", "--device", "cpu"]);
    assert_eq!((code, error.contains("--counters cupti is for --device cuda")), (Some(2), true), "{error}");
    let (code, error) = run(&["all"]);
    assert_eq!((code, error.contains("kernels, cupti")), (Some(2), true), "{error}");
}
