//! `scripts/ncu.sh` asks for what `kprof ncu` asks for, on every chip.

use assert_cmd::Command;
use kprof::ingest::ncu::chips;
use std::path::Path;

/// The arguments that the script gives to ncu for a compute capability.
fn of_script(folder: &Path, capability: &str) -> Option<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = format!("{}:{}", root.join("tests/fixtures/attach").display(), std::env::var("PATH").ok()?);
    let call = folder.join("call");
    let output = std::process::Command::new("bash")
        .arg(root.join("scripts/ncu.sh"))
        .args(["r.ncu-rep", "/bin/true"])
        .current_dir(folder)
        .env("PATH", path)
        .env("CHIP", capability)
        .env("NO_CHECK", "1")
        .env("STAND_IN_RESULTS", "/dev/null")
        .env("STAND_IN_CALL", &call)
        .output()
        .ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(std::fs::read_to_string(call).expect("ncu was called").lines().map(str::to_string).collect())
}

/// Those that `kprof ncu --dry-run` prints.
fn of_kprof(folder: &Path, capability: &str) -> Vec<String> {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    let args = [
        "ncu",
        "--dry-run",
        "--ncu",
        "none",
        "--device-chip",
        capability,
        "-o",
        "r.ncu-rep",
        "--",
        "/bin/true",
    ];
    let output = command.current_dir(folder).args(args).output().expect("kprof runs");
    let line = String::from_utf8(output.stdout).expect("text");
    line.split_whitespace().skip(1).map(str::to_string).collect()
}

#[test]
fn the_script_and_the_program_call_ncu_alike_for_every_chip() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for chip in chips() {
        let capability = chip.capability.to_string();
        let Some(script) = of_script(folder.path(), &capability) else {
            println!("skipped: the_script_and_the_program_call_ncu_alike_for_every_chip: no bash");
            return;
        };
        assert_eq!(script, of_kprof(folder.path(), &capability), "compute capability {capability}");
    }
}

/// The code that the script ends with, and what it says, where ncu does `what`.
fn ended(folder: &Path, what: &str, program: &[&str]) -> Option<(Option<i32>, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = format!("{}:{}", root.join("tests/fixtures/attach").display(), std::env::var("PATH").ok()?);
    let mut command = std::process::Command::new("bash");
    command.arg(root.join("scripts/ncu.sh")).arg("r.ncu-rep").args(program).current_dir(folder);
    command.env("PATH", path).env("CHIP", "9.0").env("NO_CHECK", "1");
    command.env("STAND_IN", what).env("STAND_IN_RESULTS", "/dev/null");
    let output = command.output().ok()?;
    Some((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn the_script_ends_with_the_codes_of_the_program() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program: &[&str] = &["/bin/true"];
    for (what, program, code, says) in [
        ("ok", program, 0, "wrote r.ncu-rep"),
        ("ok", &["/bin/sh", "-c", "exit 3"], 1, "error code (3)"),
        ("forbidden", program, 5, "ERR_NVGPUCTRPERM"),
        ("busy", program, 5, "driver resource was unavailable"),
        ("no-kernels", program, 1, "No kernels were profiled"),
        ("unknown-metric", program, 1, "Failed to find metric sm__nonsense.sum"),
        ("crash", program, 1, "error code (11)"),
        ("silent", program, 1, ""),
    ] {
        let Some((ended, err)) = ended(folder.path(), what, program) else {
            println!("skipped: the_script_ends_with_the_codes_of_the_program: no bash");
            return;
        };
        assert_eq!(ended, Some(code), "{what}: {err}");
        assert!(err.contains(says), "{what}: {err}");
    }
}
