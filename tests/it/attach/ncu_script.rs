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
