//! Products of many rows by cuBLASLt, on a machine without a GPU: a stand-in for the library computes what its descriptors
//! say, on the stand-in for the driver.

use crate::cuda::{count, difference, logits, shared_library, stand_in, text};
use assert_cmd::Command;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

/// The libraries: as it should be, and one without a function.
fn libraries() -> Result<&'static [PathBuf; 2], String> {
    static MADE: OnceLock<Result<[PathBuf; 2], String>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = stand_in()?;
        let files =
            [folder.join("cublaslt/libcublasLt.so.12"), folder.join("cublaslt-lacks/libcublasLt.so.12")];
        shared_library("libcublaslt.cpp", "libcublasLt.so.12", &files[0], &[])?;
        shared_library("libcublaslt.cpp", "libcublasLt.so.12", &files[1], &["-DLACKS_CREATE"])?;
        Ok(files)
    });
    made.as_ref().map_err(String::clone)
}

/// The library as it should be; `None` where there can be none.
pub(crate) fn library() -> Option<&'static Path> {
    libraries().ok().map(|[library, _]| library.as_path())
}

/// kprof with both stand-ins; `None`, and a word about it, where there can be none.
fn kprof(test: &str) -> Option<Command> {
    let mut command = crate::cuda::kprof(test)?;
    match libraries() {
        Ok([library, _]) => {
            command.env("KPROF_CUBLASLT", library);
            Some(command)
        }
        Err(why) => {
            println!("skipped: {test}: {why}");
            None
        }
    }
}

fn output(command: &mut Command, args: &[&str]) -> Output {
    command.args(args).output().expect("kprof runs")
}

#[test]
fn every_version_agrees_with_the_reference_and_the_prompt_goes_through_the_library() {
    if kprof("versions").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let products = folder.path().join("products");
    // gpt2's shape has biases, GELU and residuals, llama's a gate.
    for (model, dtype, allowed) in [
        ("tiny", "f32", 3e-6),
        ("tiny-llama", "f32", 3e-6),
        ("tiny", "f16", 0.01),
        ("tiny-llama", "bf16", 0.03),
    ] {
        for version in ["v0", "v1", "v2", "v3", "v4"] {
            let what = ["--preset", model, "--dtype", dtype, "--version", version, "--feed", "prefill"];
            let run = |extra: &[&str]| {
                let mut command = kprof("versions").expect("it was there before");
                command.env("KPROF_STAND_IN_PRODUCTS", &products);
                logits(&mut command, folder.path(), &[&what[..], extra].concat())
            };
            let reference = run(&["--device", "cpu", "--implementation", "candle"]);
            assert!(!products.exists());
            let with = run(&["--device", "cuda", "--gemm", "cublaslt"]);
            let apart = difference(&reference, &with);
            assert!(apart <= allowed, "{model} {dtype} {version}: {apart}");
            // Four linears in each of the layers, and the head; their shapes are those of one layer and of the head.
            let (asked, computed) = (count(&products, "heuristics"), count(&products, "products"));
            assert!(computed >= 9 && computed % 4 == 1 && (5..=6).contains(&asked), "{computed} {asked}");
            std::fs::remove_file(&products).expect("it was counted");
        }
    }
}

#[test]
fn the_library_is_checked_like_a_kernel_and_whole_models_as_graphs_too() {
    let Some(mut command) = kprof("checks") else { return };
    let found = output(&mut command, &["kernels", "--all", "--preset", "tiny-llama", "--gemm", "cublaslt"]);
    let said = text(&found.stdout);
    assert!(found.status.success(), "{said}{}", text(&found.stderr));
    assert!(said.lines().next().is_some_and(|l| l.ends_with("products also by cuBLASLt 12.0.1")), "{said}");
    assert_eq!(said.lines().filter(|l| l.starts_with("ok") && l.contains("  cuBLASLt 12.0.1  ")).count(), 21);
    assert!(said.contains("tiny-llama bf16 v4 graph"), "{said}");
}

/// Runs `kprof phase` on nine sequences, whose decode steps are products of many rows too.
fn phase(environment: &[(&str, &str)], extra: &[&str]) -> Option<(Vec<serde_json::Value>, String)> {
    phase_of("9", environment, extra)
}

/// Runs `kprof phase` and gives its records and what was counted.
fn phase_of(
    batch: &str,
    environment: &[(&str, &str)],
    extra: &[&str],
) -> Option<(Vec<serde_json::Value>, String)> {
    let mut command = kprof("phase")?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let products = folder.path().join("products");
    command.current_dir(folder.path()).env("KPROF_LEAST_PROBES", "1").envs(environment.iter().copied());
    command.env("KPROF_STAND_IN_PRODUCTS", &products);
    let base = [
        "phase", "--device", "cuda", "--preset", "tiny", "--dtype", "bf16", "-p", "11", "-n", "2", "-b",
        batch,
    ];
    let schedule = ["-r", "2", "--warmup", "1", "-q", "--no-telemetry", "--version", "v1", "-o", "run.jsonl"];
    let found = output(&mut command, &[&base[..], &schedule, extra].concat());
    assert!(found.status.success(), "{}", text(&found.stderr));
    let lines = std::fs::read_to_string(folder.path().join("run.jsonl")).expect("it was written");
    let counts = std::fs::read_to_string(&products).unwrap_or_default();
    Some((lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect(), counts))
}

fn findings(records: &[serde_json::Value]) -> Vec<String> {
    let fallbacks = records.iter().filter(|r| r["type"] == "finding" && r["code"] == "fallback");
    fallbacks.map(|r| r["message"].as_str().expect("a message").to_string()).collect()
}

fn gemm(records: &[serde_json::Value]) -> &serde_json::Value {
    &records[0]["config"]["gemm"]
}

#[test]
fn a_run_says_who_multiplied_and_graphs_hold_the_librarys_products() {
    for mode in ["eager", "graph"] {
        let Some((records, counts)) = phase(&[], &["--exec", mode]) else { return };
        assert_eq!(gemm(&records), "cuBLASLt 12.0.1");
        assert!(findings(&records).is_empty());
        // Nine sequences: decode steps too are products of many rows. Heuristics were asked once for each shape of the two
        // stages, but the head's, which are one: 2 x 4 + 1.
        assert!(counts.starts_with("heuristics 9\n"), "{mode}: {counts}");
    }
    let Some((records, counts)) = phase(&[], &["--gemm", "own"]) else { return };
    assert_eq!((gemm(&records).as_str(), counts.as_str()), (Some("own"), ""));
}

#[test]
fn what_the_heuristics_do_not_know_is_left_to_our_own_kernels_with_a_note() {
    let Some((records, _)) = phase(&[("KPROF_STAND_IN_CUBLASLT_LACKS", "all")], &[]) else { return };
    let notes = findings(&records);
    // Nine shapes, and with GELU twice as a product alone: five are told, and how many more there are.
    assert_eq!(notes.len(), 6, "{notes:?}");
    assert!(notes[0].contains("cuBLASLt 12.0.1 has nothing for 99 x"), "{notes:?}");
    assert!(notes[0].contains("the requested functionality is not supported"), "{notes:?}");
    assert_eq!(notes[5], "and 6 more of this kind");
    // GELU by a kernel of kprof's.
    let Some((records, counts)) = phase(&[("KPROF_STAND_IN_CUBLASLT_LACKS", "gelu")], &[]) else { return };
    assert_eq!(findings(&records).len(), 2, "of the prompt and of the decode steps");
    assert!(counts.starts_with("heuristics 11\n"), "{counts}");
}

#[test]
fn a_library_that_does_not_serve_is_named_and_not_used() {
    let Ok([_, lacks]) = libraries() else {
        println!("skipped: libraries that do not serve: there is no g++");
        return;
    };
    let lacks = lacks.to_str().expect("a path in UTF-8");
    let cases = [
        (vec![("KPROF_STAND_IN_CUBLASLT", "110501")], "it is version 11.5.1, and 12.0 or newer is needed"),
        (
            vec![("KPROF_STAND_IN_CUBLASLT", "130002")],
            "version 13.0.2 needs a driver of CUDA 13, and this one is of 12",
        ),
        (vec![("KPROF_CUBLASLT", lacks)], "it has no function cublasLtCreate"),
        (vec![("KPROF_CUBLASLT", "/nowhere/libcublasLt.so.12")], "/nowhere/libcublasLt.so.12"),
        (vec![("KPROF_STAND_IN_CUBLASLT_FAILS", "1")], "cublasLtCreate: the library was not initialized"),
    ];
    for (environment, says) in cases {
        let Some((records, _)) = phase_of("1", &environment, &[]) else { return };
        assert_eq!(gemm(&records), "own", "{environment:?}");
        let notes = findings(&records);
        assert!(notes.len() == 1 && notes[0].contains(says), "{environment:?}: {notes:?}");
        let insisted = insisted(&environment);
        let code = if says.starts_with("cublasLtCreate") { 1 } else { 5 };
        assert_eq!(insisted.status.code(), Some(code), "{}", text(&insisted.stderr));
        assert!(text(&insisted.stderr).contains(says), "{}", text(&insisted.stderr));
    }
}

/// kprof that is told to use the library.
fn insisted(environment: &[(&str, &str)]) -> Output {
    let mut command = kprof("insisting").expect("it was there before");
    command.current_dir(Path::new(env!("CARGO_TARGET_TMPDIR"))).envs(environment.iter().copied());
    output(&mut command, &["phase", "--device", "cuda", "--preset", "tiny", "-q", "--gemm", "cublaslt"])
}

#[test]
fn the_flag_is_for_a_gpu() {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    let found = output(&mut command, &["phase", "--device", "cpu", "--gemm", "own"]);
    assert_eq!(found.status.code(), Some(2));
    assert!(text(&found.stderr).contains("--gemm own is for --device cuda"));
}
