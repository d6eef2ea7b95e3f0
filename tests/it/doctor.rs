//! `kprof doctor` on whatever machine the tests run on, and with stand-ins for NVML, ncu and nsys.

use assert_cmd::Command;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn doctor() -> Command {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.arg("doctor");
    command
}

fn json(command: &mut Command) -> Value {
    let output = command.arg("--json").output().expect("kprof runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The stand-in for NVML as a library; `None`, having said so, where no compiler is at hand.
pub(crate) fn nvml(folder: &Path) -> Option<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/host/nvml.rs");
    let path = folder.join("libnvidia-ml.so.1");
    let mut command = std::process::Command::new(rustc);
    command.args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "stand_in_nvml", "-o"]);
    match command.arg(&path).arg(source).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(path)
        }
        Err(error) => {
            println!("skipped: GPUs as NVML describes them: no rustc: {error}");
            None
        }
    }
}

fn commands_of(found: &Value, about: &str) -> Vec<String> {
    let advice = found["advice"].as_array().expect("a list");
    let of = advice.iter().filter(|a| a["about"] == about);
    of.map(|a| a["command"].as_str().unwrap_or_default().to_string()).collect()
}

#[test]
fn this_machine_is_described_within_the_time_that_slow_answers_are_given() {
    let found = json(doctor().env("KPROF_NVML", "/nonexistent/libnvidia-ml.so.1"));
    assert_eq!(found["schema_version"], 1);
    assert!(found["took_s"].as_f64().unwrap() > 0.0);
    assert_eq!(found["host"]["cpu"]["arch"], std::env::consts::ARCH);
    assert!(found["nvidia"]["gpus"].is_null());
    assert_eq!(found["nvidia"]["nvml"]["error"], "/nonexistent/libnvidia-ml.so.1: the library was not found");
    for advice in found["advice"].as_array().unwrap() {
        assert!(
            ["found", "cause", "fix"].iter().all(|key| !advice[key].as_str().unwrap().is_empty()),
            "{advice}"
        );
    }
    #[cfg(target_os = "linux")]
    {
        let allowed = found["processor"]["allowed"].as_u64().unwrap();
        assert!(allowed >= 1 && allowed <= found["processor"]["online"].as_u64().unwrap());
        assert!(found["processor"]["load"].is_array() && found["memory"]["available_bytes"].is_f64());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn gpus_are_described_as_far_as_nvml_answers() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = nvml(folder.path()) else { return };
    let found = json(doctor().env("KPROF_NVML", &library));
    let nvml = &found["nvidia"]["nvml"];
    assert_eq!((&nvml["driver"], &nvml["cuda"]), (&"535.104.05".into(), &"12.2".into()));
    assert!(nvml["version"].is_null() && nvml["error"].is_null());
    let gpu = &found["nvidia"]["gpus"][0];
    assert_eq!(gpu["name"], "Stand-in 80GB");
    assert_eq!((&gpu["sm_clock_hz"], &gpu["memory_clock_hz"]), (&345e6.into(), &1593e6.into()));
    assert_eq!((&gpu["max_sm_clock_hz"], &gpu["power_w"]), (&1980e6.into(), &71.5.into()));
    assert_eq!(gpu["throttle_reasons"], serde_json::json!(["gpu_idle", "sw_power_cap"]));
    for unknown in
        ["max_memory_clock_hz", "mig", "temperature_c", "ecc", "processes", "uuid", "clocks_locked"]
    {
        assert!(gpu[unknown].is_null(), "{unknown}: {}", gpu[unknown]);
    }
    let commands = commands_of(&found, "GPU 0");
    for part in ["-i 0 -pm 1", "-i 0 -lgc", "PERFORMANCE", "-i 0 -pl 700"] {
        assert!(commands.iter().any(|c| c.contains(part)), "{part}: {commands:?}");
    }
    let text = doctor().env("KPROF_NVML", &library).output().unwrap().stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("Stand-in 80GB, compute capability n/a"), "{text}");
    let without = json(doctor().env("KPROF_NVML", &library).env("STAND_IN_HAS_NO_DRIVER", "1"));
    let error = without["nvidia"]["nvml"]["error"].as_str().unwrap();
    assert!(error.ends_with("the NVIDIA driver is not loaded"), "{error}");
}

#[cfg(unix)]
#[test]
fn profilers_are_found_with_their_versions_and_slow_ones_are_not_waited_for() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let program = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let ncu = program("ncu", "echo 'Version 2024.1.0.0 (build 1)'");
    program("nsys", "echo 'NVIDIA Nsight Systems version 2023.1.2.43-32377213v0'");
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let tools = |found: Value| found["tools"].clone();
    let found = tools(json(doctor().env("PATH", &path).env_remove("KPROF_NCU")));
    assert_eq!(
        (&found["ncu"]["version"], &found["nsys"]["version"]),
        (&"2024.1.0".into(), &"2023.1.2.43".into())
    );
    assert_eq!(found["ncu"]["path"], ncu.display().to_string());
    // `exec`, so that what goes on sleeping is the program that was started.
    program("ncu", "exec sleep 30");
    let found = json(doctor().env("PATH", &path).env_remove("KPROF_NCU"));
    assert!(found["took_s"].as_f64().unwrap() < 30.0);
    assert!(found["tools"]["ncu"]["error"].as_str().unwrap().contains("did not answer within 1.5 s"));
    assert!(found["tools"]["ncu"]["path"].is_null());
}

#[test]
fn strict_refuses_a_machine_with_findings_and_a_profiler_is_one() {
    let output = doctor().args(["--strict"]).env("NV_TPS_LAUNCH_TOKEN", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Finding  profiler: Nsight Compute is attached"), "{text}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--strict"));
}
