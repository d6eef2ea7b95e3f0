//! The program's path to a GPU on a machine without one: a stand-in for the driver's library, compiled here with g++ from
//! tests/cuda, runs the kernels' own sources on the CPU.

use assert_cmd::Command;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Compiles tests/cuda/`source` as the library `soname`; `Err` where there is no compiler.
pub(crate) fn shared_library(source: &str, soname: &str, file: &Path, extra: &[&str]) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(file.parent().expect("a file in a folder")).expect("a folder for tests");
    // Under a name of its own until it is whole: tests may be run twice at once.
    let unfinished = file.with_extension(std::process::id().to_string());
    let mut compiler = std::process::Command::new("g++");
    // Kernels read memory as other types than it was written as, which GPUs allow.
    compiler.args(["-std=c++17", "-O2", "-fno-strict-aliasing", "-Wno-unknown-pragmas", "-shared", "-fPIC"]);
    compiler.arg("-I").arg(root.join("kernels")).arg("-I").arg(root.join("tests/cuda")).args(extra);
    compiler.arg(root.join("tests/cuda").join(source));
    compiler.arg(format!("-Wl,-soname,{soname}")).args(["-ldl", "-o"]).arg(&unfinished);
    let output = compiler.output().map_err(|e| format!("no g++: {e}"))?;
    assert!(output.status.success(), "{}", text(&output.stderr));
    std::fs::rename(&unfinished, file).expect("a file can be renamed");
    Ok(())
}

/// The folder with the stand-in; `Err` with the reason where it cannot be made.
pub(crate) fn stand_in() -> Result<&'static Path, String> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = FOLDER.get_or_init(|| {
        if !cfg!(target_os = "linux") {
            return Err("the stand-in is for Linux".to_string());
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        if !root.join("kernels/device.cuh").exists() {
            return Err("kernels/ is not there".to_string());
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda");
        shared_library("libcuda.cpp", "libcuda.so.1", &folder.join("libcuda.so.1"), &[])?;
        Ok(folder)
    });
    made.as_deref().map_err(String::clone)
}

/// kprof with the stand-in for a driver; `None`, and a word about it, where there can be none.
pub(crate) fn kprof(test: &str) -> Option<Command> {
    match stand_in() {
        Ok(folder) => {
            let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
            command.env("LD_LIBRARY_PATH", folder).env_remove("CUDA_LAUNCH_BLOCKING");
            // What of CUDA this machine may have is not for the stand-in.
            command.env("KPROF_CUBLASLT", folder.join("none"));
            Some(command)
        }
        Err(why) => {
            println!("skipped: {test}: {why}");
            None
        }
    }
}

pub(crate) fn ran(command: &mut Command) -> Output {
    let output = command.output().expect("kprof runs");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    output
}

#[test]
fn every_kernel_gives_what_arithmetic_on_the_host_gives() {
    let Some(mut command) = kprof("kernels") else { return };
    let output = text(&ran(command.args(["kernels", "--all"])).stdout);
    assert!(output.starts_with("kprof stand-in: "), "{output}");
    for kernel in [
        "kprof_flash128_bf16",
        "kprof_flash64_f32",
        "kprof_flash128_f32",
        "kprof_gemm128_f16",
        "kprof_gemm64_f32",
        "kprof_gemm128_f32",
        "kprof_gemm_fma_f32",
        "kprof_attend8_int8",
        "kprof_gemv8_f32",
    ] {
        assert!(output.contains(kernel), "{kernel} is not among\n{output}");
    }
    assert!(output.trim_end().ends_with(" 0 wrong"), "{output}");
}

/// The logits that `args` give, read from the file.
pub(crate) fn logits(command: &mut Command, folder: &Path, args: &[&str]) -> Vec<f32> {
    let file = folder.join("logits.safetensors");
    let ids = "1,2,3,17,99,4,5,250,7,31,32";
    ran(command.args(["logits", "--ids", ids, "--out"]).arg(&file).args(args));
    let bytes = std::fs::read(file).expect("it was written");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let tensor = tensors.tensor("logits").expect("the logits");
    tensor.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// The largest difference, as a share of the largest logit.
pub(crate) fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(0f32, |m, x| m.max(x.abs()));
    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    apart.fold(0f32, |m, x| if x.is_nan() { f32::INFINITY } else { m.max(x) }) / largest
}

#[test]
fn every_version_agrees_with_the_reference_and_graphs_with_single_launches() {
    if kprof("versions").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Of 16-bit types also the codes of an INT8 cache differ by one here and there: 1/254 of a head's largest value.
    for (model, dtype, feeds, allowed) in [
        ("tiny", "f32", &["prefill", "decode"][..], 3e-6),
        ("tiny-llama", "f32", &["decode"], 3e-6),
        ("tiny", "bf16", &["prefill"], 0.03),
        ("tiny-llama", "f16", &["prefill", "decode"], 0.01),
    ] {
        for version in ["v0", "v1", "v2", "v3", "v4"] {
            for feed in feeds {
                let what = ["--preset", model, "--dtype", dtype, "--version", version, "--feed", feed];
                let run = |extra: &[&str]| {
                    let mut command = kprof("versions").expect("it was there before");
                    logits(&mut command, folder.path(), &[&what[..], extra].concat())
                };
                let reference = run(&["--device", "cpu", "--implementation", "candle"]);
                let eager = run(&["--device", "cuda"]);
                let apart = difference(&reference, &eager);
                assert!(apart <= allowed, "{model} {dtype} {version} {feed}: {apart}");
                if *feed == "decode" {
                    assert_eq!(
                        eager,
                        run(&["--device", "cuda", "--exec", "graph"]),
                        "{model} {dtype} {version}"
                    );
                }
            }
        }
    }
}

/// Kernels of the device that it was asked for while `args` gave logits.
fn launched(environment: &[(&str, &str)], folder: &Path, args: &[&str]) -> (Vec<f32>, Vec<String>) {
    let mut command = kprof("which kernels").expect("it was there before");
    let log = folder.join("log");
    command.env("KPROF_STAND_IN_LOG", &log).envs(environment.iter().copied());
    let logits = logits(&mut command, folder, args);
    let log = std::fs::read_to_string(log).expect("it was told");
    let mut kernels: Vec<String> =
        log.lines().filter(|line| line.starts_with("kprof_")).map(str::to_string).collect();
    kernels.sort();
    kernels.dedup();
    (logits, kernels)
}

#[test]
fn f32_prompts_go_to_tensor_cores_and_products_where_these_are_the_faster_ones() {
    if kprof("f32").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Heads of few channels, with and without a gate; an INT8 cache and none.
    for (model, version) in [("tiny", "v0"), ("tiny", "v2"), ("tiny-llama", "v1")] {
        let what = ["--preset", model, "--version", version, "--dtype", "f32", "--feed", "prefill"];
        let on = |device: &[&'static str]| [&what[..], device].concat();
        let mut command = kprof("f32").expect("it was there before");
        let reference =
            logits(&mut command, folder.path(), &on(&["--device", "cpu", "--implementation", "candle"]));
        for (capability, gemm) in
            [("80", &["kprof_gemm128_f32", "kprof_gemm64_f32"][..]), ("86", &["kprof_gemm_fma_f32"])]
        {
            let (found, kernels) = launched(
                &[("KPROF_STAND_IN_CAPABILITY", capability)],
                folder.path(),
                &on(&["--device", "cuda"]),
            );
            let apart = difference(&reference, &found);
            assert!(apart <= 3e-6, "{model} {version} {capability}: {apart}");
            let of = |part: &str| kernels.iter().filter(|k| k.contains(part)).cloned().collect::<Vec<_>>();
            assert_eq!(of("gemm"), gemm, "{kernels:?}");
            assert_eq!((of("flash"), of("attend").len()), (vec!["kprof_flash64_f32".to_string()], 0));
        }
    }
}

/// Runs `kprof phase` and gives its records.
fn phase(extra: &[&str], counts: &Path) -> Option<Vec<serde_json::Value>> {
    let mut command = kprof("phase")?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("run.jsonl");
    let base =
        ["phase", "--device", "cuda:0", "--preset", "tiny-llama", "--dtype", "bf16", "-p", "9", "-n", "3"];
    let schedule = [
        "-r",
        "1",
        "--warmup",
        "1",
        "--max-time",
        "900s",
        "-q",
        "--no-telemetry",
        "--version",
        "v0-v4",
        "-o",
    ];
    command.env("KPROF_STAND_IN_COUNTS", counts).env("KPROF_LEAST_PROBES", "1");
    ran(command.current_dir(folder.path()).args(base).args(schedule).arg(&file).args(extra));
    let lines = std::fs::read_to_string(file).expect("it was written");
    Some(lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// A count that the stand-in wrote at its end.
pub(crate) fn count(file: &Path, name: &str) -> usize {
    let text = std::fs::read_to_string(file).expect("the stand-in counts");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.expect("that is counted").parse().expect("a number")
}

#[test]
fn whole_models_are_checked_against_the_cpu() {
    let Some(mut command) = kprof("whole models") else { return };
    let output = text(&ran(command.args(["kernels", "--dtype", "bf16", "--preset", "tiny-llama"])).stdout);
    for what in ["tiny-llama bf16 v0 eager", "tiny-llama bf16 v4 graph"] {
        assert!(output.lines().any(|line| line.starts_with("ok") && line.contains(what)), "{output}");
    }
}

#[test]
fn a_run_is_timed_by_device_events_and_its_decode_steps_are_one_graph_each() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let counts = folder.path().join("counts");
    for mode in ["eager", "graph"] {
        let Some(records) = phase(&["--exec", mode], &counts) else { return };
        let of = |kind: &str| records.iter().filter(|r| r["type"] == kind).collect::<Vec<_>>();
        assert_eq!((of("manifest")[0]["device"]["kind"].as_str(), of("end").len()), (Some("cuda"), 1));
        assert_eq!(of("manifest")[0]["config"]["exec"], mode);
        for step in of("step") {
            assert_eq!(step["method"], "device_event");
            let time = step["time_s"].as_f64().expect("a time");
            let Some(ops) = step["op_time_s"].as_array() else {
                assert_eq!(step["twin"], "plain");
                continue;
            };
            assert_eq!(step["twin"], "instrumented");
            // Spans lie in their step, and none is without a time.
            let sum: f64 = ops.iter().map(|t| t.as_f64().expect("a time")).sum();
            assert!(time > 0.0 && sum <= time * 1.0001, "{sum} of {time}");
            let starts = step["op_start_s"].as_array().expect("starts").iter();
            assert!(starts.clone().all(|s| (0.0..=time).contains(&s.as_f64().expect("a start"))), "{step}");
        }
        // Steps of 5 versions x 2 twins x 3 tokens.
        assert_eq!(of("step").len(), 30);
        if mode == "graph" {
            // 4 versions with a cache decode 2 tokens in each generation: a warm-up at least, and the twins. Of each version
            // and twin there is one capture, and now and then another while the first steps still find new memory.
            let launches = count(&counts, "graph_launches");
            assert!(launches >= 4 * 2 * 3 && launches.is_multiple_of(4 * 2), "{launches}");
            assert!((8..=12).contains(&count(&counts, "captures")));
        } else {
            assert_eq!(count(&counts, "graph_launches"), 0);
        }
        assert_eq!(count(&counts, "bytes_left"), 0);
    }
}

#[test]
fn ceilings_of_a_gpu_are_of_the_whole_device_and_launches_have_a_cost() {
    let Some(mut command) = kprof("ceilings") else { return };
    command.env("KPROF_LEAST_PROBES", "1").env("KPROF_STAND_IN_MEMORY", "33554432");
    let output = ran(command.args(["ceilings", "--device", "cuda", "--export-json", "-"]));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["device"], "kprof stand-in");
    let ceilings = document["ceilings"].as_array().expect("ceilings");
    assert_eq!(ceilings.len(), 10);
    let of_pieces = ceilings.iter().filter(|c| {
        let method = c["method"].as_str().unwrap_or_default();
        c["precision"] == "fp32" && method.contains("6 products of bf16 pieces for one")
    });
    assert_eq!(of_pieces.count(), 1, "{document}");
    for ceiling in ceilings {
        assert!(ceiling["value"].as_f64().is_some_and(|v| v > 0.0), "{ceiling}");
        assert!(ceiling["threads"].is_null(), "{ceiling}");
    }
    for cost in ["host_s", "device_s", "graph_s"] {
        assert!(document["launch"][cost].as_f64().is_some_and(|s| s > 0.0), "{document}");
    }
}

/// What kprof says, and its exit code, where `environment` makes the stand-in misbehave.
pub(crate) fn failure(environment: &[(&str, &str)], args: &[&str]) -> Option<(Option<i32>, String)> {
    let mut command = kprof("errors")?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    command.current_dir(folder.path()).envs(environment.iter().copied()).env("KPROF_LEAST_PROBES", "1");
    let output = command.args(args).output().expect("kprof runs");
    Some((output.status.code(), text(&output.stderr)))
}

/// The environment, the arguments, the exit code and what the message has.
type Case = (&'static [(&'static str, &'static str)], &'static [&'static str], i32, &'static [&'static str]);

pub(crate) const PHASE: [&str; 8] =
    ["phase", "--device", "cuda", "--preset", "tiny", "-q", "--version", "v1"];

#[test]
fn what_a_machine_lacks_is_said_with_its_cause_and_a_remedy() {
    let cases: [Case; 9] = [
        (&[("KPROF_STAND_IN_DRIVER", "11080")], &PHASE, 5, &["too old: it supports CUDA 11.8", "525.60.13"]),
        (
            &[("KPROF_STAND_IN_DEVICES", "0")],
            &PHASE,
            5,
            &["no device (CUDA_ERROR_NO_DEVICE)", "--device cpu"],
        ),
        (
            &[("KPROF_STAND_IN_REFUSES", "209")],
            &PHASE,
            5,
            &["kprof stand-in (compute capability 8.0) cannot run", "NO_BINARY_FOR_GPU"],
        ),
        (
            &[("KPROF_STAND_IN_MEMORY", "400000")],
            &PHASE,
            1,
            &["out of GPU memory", "were asked for", "are free", "--batch"],
        ),
        (
            &[("KPROF_STAND_IN_FAULTS", "kprof_flash64_f32"), ("CUDA_LAUNCH_BLOCKING", "1")],
            &PHASE,
            1,
            &["CUDA_ERROR_ILLEGAL_ADDRESS: kernel kprof_flash64_f32 with grid 1 x 4 x 1, 128 threads"],
        ),
        (
            &[("KPROF_STAND_IN_FAULTS", "kprof_flash64_f32")],
            &PHASE,
            1,
            &["a kernel up to kprof_flash64_f32 with grid 1 x 4 x 1", "CUDA_LAUNCH_BLOCKING=1 names the one"],
        ),
        (
            &[],
            &["ceilings", "--device", "cuda:3"],
            2,
            &["no CUDA device '3'; there are: cuda:0 kprof stand-in (GPU-00102030-"],
        ),
        (
            &[],
            &["phase", "--device", "cuda", "--implementation", "cpu"],
            2,
            &["--implementation cpu runs on the CPU"],
        ),
        (
            &[],
            &["phase", "--device", "cuda", "--threads", "2"],
            2,
            &["--device cuda does not know --threads 2"],
        ),
    ];
    for (environment, args, code, says) in cases {
        let Some((found, error)) = failure(environment, args) else { return };
        assert_eq!(found, Some(code), "{environment:?}: {error}");
        for words in says {
            assert!(error.contains(words), "{environment:?}: {words:?} is not in {error}");
        }
    }
}

#[cfg(not(feature = "candle-cuda"))]
#[test]
fn candle_on_a_gpu_names_the_feature_that_it_needs() {
    let args = ["phase", "--device", "cuda", "--implementation", "candle"];
    let Some((code, error)) = failure(&[], &args) else { return };
    assert_eq!((code, error.matches("error:").count()), (Some(2), 1), "{error}");
    assert!(error.contains("built with --features candle-cuda"), "{error}");
}
