//! kprof's ranges as a profiler hears them: with a stand-in for its library, compiled here.

use assert_cmd::Command;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The stand-in as a library; `None`, and why, where no compiler is at hand.
fn library() -> Result<&'static Path, String> {
    static LIBRARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = LIBRARY.get_or_init(|| {
        // Cargo compiled this test with some rustc: its own variable names it, else the PATH has it.
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/attach/injection.rs");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let name = format!("{}kprof_stand_in{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let path = folder.join(name);
        let mut command = std::process::Command::new(rustc);
        command.args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "kprof_stand_in", "-o"]);
        let output = command.arg(&path).arg(source).output().map_err(|e| format!("no rustc: {e}"))?;
        assert!(output.status.success(), "{}", text(&output.stderr));
        Ok(path)
    });
    built.as_deref().map_err(String::clone)
}

/// Runs `kprof phase` on the fake device under the stand-in; what it printed, and what the stand-in heard.
fn under_stand_in(args: &[&str], refuses: bool) -> Option<(Output, Vec<String>)> {
    let library = match library() {
        Ok(library) => library,
        Err(why) => {
            println!("skipped: kprof's ranges as a profiler hears them: {why}");
            return None;
        }
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let heard = folder.path().join("heard");
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.current_dir(folder.path()).env("NVTX_INJECTION64_PATH", library).env("STAND_IN_HEARD", &heard);
    if refuses {
        command.env("STAND_IN_REFUSES", "1");
    }
    let base = ["phase", "--device", "fake", "-n", "2", "-r", "1", "-q", "--output", "run.jsonl"];
    let output = command.args(base).args(args).output().expect("kprof runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let heard = std::fs::read_to_string(heard).unwrap_or_default();
    Some((output, heard.lines().map(str::to_string).collect()))
}

#[test]
fn a_profiler_hears_the_ranges_of_steps_layers_phases_and_ops_in_kprof_s_domain() {
    let Some((_, heard)) = under_stand_in(&["--version", "v1"], false) else { return };
    assert_eq!(heard[..2], ["initialize", "domain kprof"]);
    // One repetition of two twins of two steps, of four layers; no warm-up among them.
    let prefill: Vec<&str> =
        heard[2..].iter().map(String::as_str).take_while(|l| !l.contains("decode")).collect();
    let ops = |path: &str, ops: &[&str]| {
        let op = |op: &&str| [format!("push {path}/{op}"), "pop".into()];
        let ops = ops.iter().flat_map(op);
        std::iter::once(format!("push {path}")).chain(ops).chain(["pop".into()]).collect::<Vec<_>>()
    };
    let attention = ["attn.norm", "attn.qkv", "cache_append", "attention", "attn.proj", "attn.residual"];
    let mlp = ["mlp.norm", "mlp.up", "mlp.gelu", "mlp.down", "mlp.residual"];
    let step = "kprof/v1/prefill";
    let mut expected = vec![format!("push {step}")];
    expected.extend(ops(&format!("{step}/embedding"), &["embed"]));
    for n in 0..4 {
        let layer = format!("{step}/layer {n}");
        expected.push(format!("push {layer}"));
        expected.extend(ops(&format!("{layer}/attention"), &attention));
        expected.extend(ops(&format!("{layer}/mlp"), &mlp));
        expected.push("pop".into());
    }
    expected.extend(ops(&format!("{step}/head"), &["head.norm", "head.logits", "head.argmax"]));
    expected.push("pop".into());
    assert_eq!(prefill, expected);
    let count = |line: &str| heard.iter().filter(|l| *l == line).count();
    assert_eq!((count("push kprof/v1/prefill"), count("push kprof/v1/decode")), (2, 2));
    let pushes = heard.iter().filter(|l| l.starts_with("push")).count();
    assert_eq!(pushes, count("pop"));
}

#[test]
fn a_step_for_the_profiler_is_one_more_generation_and_the_run_says_so() {
    let Some((output, heard)) = under_stand_in(&["--version", "v1", "v2", "--profile-step=decode"], false)
    else {
        return;
    };
    let count = |line: &str| heard.iter().filter(|l| *l == line).count();
    assert_eq!((count("push kprof/v1/decode"), count("push kprof/v2/decode")), (3, 3));
    let out = text(&output.stdout);
    assert!(out.contains("PROFILED: timed under an NVTX tool"), "{out}");
    assert!(out.contains("its cost is in every time"), "{out}");
}

#[test]
fn a_run_under_a_profiler_says_so_in_its_file_and_on_its_charts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = |tool: bool| {
        let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
        let args = [
            "phase",
            "--device",
            "fake",
            "--version",
            "v1",
            "-n",
            "3",
            "-r",
            "1",
            "-q",
            "--profile-step",
            "-o",
            "r.jsonl",
        ];
        command.current_dir(folder.path()).args(args).env_remove("NVTX_INJECTION64_PATH");
        if tool {
            command.env("NSYS_PROFILING_SESSION_ID", "7");
        }
        assert!(command.output().expect("kprof runs").status.success());
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("it was written");
        let manifest: serde_json::Value =
            serde_json::from_str(read("r.jsonl").lines().next().expect("a line")).expect("JSON");
        (manifest["profiled"].clone(), read("r.phases.svg").contains("timed under Nsight Systems"))
    };
    let steps = serde_json::json!({"tool": null, "stages": ["prefill", "decode"], "decode_step": 2});
    assert_eq!(run(false), (steps, false));
    std::fs::remove_file(folder.path().join("r.jsonl")).expect("it was there");
    let (profiled, on_chart) = run(true);
    assert_eq!(profiled["tool"], "Nsight Systems");
    assert!(on_chart);
}

#[test]
fn a_library_that_does_not_attach_is_a_finding_and_nothing_else() {
    let Some((output, heard)) = under_stand_in(&["--version", "v1"], true) else { return };
    assert!(heard.is_empty());
    assert!(text(&output.stdout).contains("it refused to attach"), "{}", text(&output.stdout));
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    let folder = tempfile::tempdir().expect("a temporary folder");
    command.current_dir(folder.path()).env("NVTX_INJECTION64_PATH", "/no/such/library.so");
    let args = ["phase", "--device", "fake", "-n", "2", "-r", "1", "-q"];
    let output = command.args(args).output().expect("kprof runs");
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("gets no ranges: NVTX_INJECTION64_PATH=/no/such/library.so"));
}

#[test]
fn a_step_to_profile_must_exist_and_be_warm() {
    let code = |args: &[&str]| {
        let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
        command.args(["phase", "--device", "fake"]).args(args).output().expect("kprof runs").status.code()
    };
    assert_eq!(code(&["--profile-step", "--warmup", "0"]), Some(2));
    assert_eq!(code(&["--profile-step=decode", "-n", "1"]), Some(2));
    assert_eq!(code(&["--profile-step=middle"]), Some(2));
}
