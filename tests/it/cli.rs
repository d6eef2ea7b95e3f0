//! The real program, end to end, on the fake device: measure, read again, draw; and what it says of mistakes.

use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn kprof(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.current_dir(folder).args(args).output().expect("kprof runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("stdout is JSON and nothing else")
}

fn fake_phase(folder: &Path, more: &[&str]) -> Output {
    let base = ["phase", "--device", "fake", "-n", "4", "-r", "3", "-q"];
    kprof(folder, &[&base, more].concat())
}

#[test]
fn phase_on_the_fake_device_gives_the_times_known_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let json = json(&fake_phase(folder.path(), &["--version", "v0", "v1", "--export-json", "-"]));
    let stage = |version: &str, stage: &str| {
        let found = json["stages"]
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["version"] == version && s["stage"] == stage);
        found.unwrap_or_else(|| panic!("{version} {stage}")).clone()
    };
    let decode = stage("v1", "decode");
    // Embedding of one token, tiny (hidden 64, f32): reads 4 + 256 + 256 B, writes 256 B: 772 B at 100 GB/s, + 1 us.
    let embedding = decode["phases"]["embedding"]["time_s"].as_f64().unwrap();
    assert!((embedding - (1e-6 + 772.0 / 1e11)).abs() < 1e-12, "{embedding}");
    // Head: norm, logits and argmax, 3 us and their bytes: 4*(64*2+64*2) + 4*(64+64*256+256) + 4*256+4.
    let bytes = 4.0 * (128.0 + 128.0) + 4.0 * (64.0 + 64.0 * 256.0 + 256.0) + 4.0 * 256.0 + 4.0;
    let head = decode["phases"]["head"]["time_s"].as_f64().unwrap();
    assert!((head - (3e-6 + bytes / 1e11)).abs() < 1e-12, "{head}");
    let sum: f64 = ["embedding", "attention", "mlp", "head", "other"]
        .iter()
        .map(|phase| decode["phases"][phase]["time_s"].as_f64().unwrap())
        .sum();
    let total = decode["phases"]["total"]["time_s"].as_f64().unwrap();
    assert!((sum / total - 1.0).abs() < 1e-9, "{sum} {total}");
    // 10 us of every step are outside its ops, and so is a mark of 10 ns per op.
    let other = decode["phases"]["other"]["time_s"].as_f64().unwrap();
    let ops = 1.0 + 4.0 * 11.0 + 3.0;
    assert!((other - (10e-6 + ops * 10e-9)).abs() < 1e-11, "{other}");
    let tpot = decode["tpot_s"].as_f64().unwrap();
    assert!((tpot - (total - ops * 10e-9)).abs() < 1e-11, "{tpot} {total}");
    assert!((decode["tokens_per_s"].as_f64().unwrap() * tpot - 1.0).abs() < 1e-9);
    assert_eq!(stage("v0", "decode")["kv_cache_bytes"]["theoretical"], 0.0);
    // 2 * 4 layers * 4 heads * 16 * 4 B * (32 + 3) tokens.
    assert_eq!(decode["kv_cache_bytes"]["theoretical"], 71680.0);
    assert_eq!(decode["kv_cache_bytes"]["allocated"], 71680.0);
}

#[test]
fn phase_writes_a_run_and_two_figures_and_roofline_reads_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let output = fake_phase(folder.path(), &["--version", "v1-v4", "--output", "out/run.jsonl"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    for word in ["v1", "v4", "prefill", "decode", "embedding", "attention", "mlp", "head", "other", "total"] {
        assert!(stdout.contains(word), "{word} is missing:\n{stdout}");
    }
    let stderr = text(&output.stderr);
    for file in ["out/run.jsonl", "out/run.phases.svg", "out/run.roofline.svg"] {
        assert!(stderr.contains(&format!("wrote {file}")), "{stderr}");
        assert!(folder.path().join(file).exists(), "{file}");
    }
    let json = json(&kprof(folder.path(), &["roofline", "out/run.jsonl", "--export-json", "-"]));
    let points = json["points"].as_array().unwrap();
    // Four versions, two stages, four phases and the whole.
    assert_eq!(points.len(), 4 * 2 * 5);
    let point = points.iter().find(|p| p["version"] == "v2" && p["phase"] == "mlp").unwrap();
    assert_eq!(point["dram_bytes"], Value::Null, "analytic bytes are never DRAM traffic");
    assert!(point["bytes"].as_f64().unwrap() > 0.0);
    assert_eq!(point["byte_source"], "analytic");
}

#[test]
fn every_export_of_phase_and_roofline_is_what_its_name_says() {
    let folder = tempfile::tempdir().unwrap();
    let output = fake_phase(
        folder.path(),
        &[
            "--version",
            "v0,v1",
            "--output",
            "r.jsonl",
            "--export-csv",
            "p.csv",
            "--export-markdown",
            "p.md",
            "--export-svg",
            "p.svg",
            "--export-png",
            "p.png",
            "--export-roofline-svg",
            "r.svg",
            "--export-roofline-png",
            "r.png",
        ],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let args = [
        "roofline",
        "r.jsonl",
        "--export-csv",
        "k.csv",
        "--export-markdown",
        "k.md",
        "--export-png",
        "k.png",
    ];
    assert!(kprof(folder.path(), &args).status.success());
    let starts = |name: &str, expected: &[u8]| {
        let bytes = std::fs::read(folder.path().join(name)).unwrap();
        assert!(bytes.starts_with(expected), "{name}: {}", text(&bytes[..bytes.len().min(80)]));
    };
    starts("p.csv", b"version,stage,phase,time_s");
    starts("p.svg", b"<svg");
    starts("r.svg", b"<svg");
    for png in ["p.png", "r.png", "k.png"] {
        starts(png, b"\x89PNG");
    }
    assert!(std::fs::read_to_string(folder.path().join("p.md")).unwrap().contains("| v1 "));
    let csv = std::fs::read_to_string(folder.path().join("k.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 2 * 2 * 5);
}

#[test]
fn a_run_cut_short_is_read_and_says_that_it_is_partial() {
    let folder = tempfile::tempdir().unwrap();
    assert!(fake_phase(folder.path(), &["--version", "v1", "--output", "run.jsonl"]).status.success());
    let path = folder.path().join("run.jsonl");
    let whole = std::fs::read(&path).unwrap();
    let lines: Vec<usize> =
        whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
    // After a whole line, and in the middle of the next.
    for cut in [lines[lines.len() - 4], lines[lines.len() - 4] + 25] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let output = kprof(folder.path(), &["roofline", "run.jsonl"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("ended before it was complete"), "{}", text(&output.stdout));
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_what_was_measured_and_exits_with_130() {
    let folder = tempfile::tempdir().unwrap();
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_kprof"))
        .current_dir(folder.path())
        .args(["phase", "--preset", "tiny", "--version", "v1", "-r", "1000000", "--max-time", "100s"])
        .args(["--output", "run.jsonl"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let run = folder.path().join("run.jsonl");
    let measured = || std::fs::read_to_string(&run).is_ok_and(|t| t.matches("\"twin\"").count() > 100);
    let began = std::time::Instant::now();
    while !measured() && began.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.is_ok_and(|s| s.success()));
    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("run.jsonl holds what was measured until then"), "{stderr}");
    assert!(text(&output.stdout).contains("TPOT"));
    assert!(!std::fs::read_to_string(&run).unwrap().contains("\"type\":\"end\""));
}

#[test]
fn a_run_of_a_later_format_or_with_a_damaged_line_is_refused_by_line() {
    let folder = tempfile::tempdir().unwrap();
    assert!(fake_phase(folder.path(), &["--version", "v1", "--output", "run.jsonl"]).status.success());
    let path = folder.path().join("run.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    let refuse = |content: String, expected: &str| {
        std::fs::write(&path, content).unwrap();
        let output = kprof(folder.path(), &["roofline", "run.jsonl"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    };
    let later = whole.replacen("\"format_version\":1", "\"format_version\":9", 1);
    refuse(later, "run.jsonl:1: format version 9, but this kprof reads up to 1");
    let mut lines: Vec<&str> = whole.lines().collect();
    lines[3] = "{\"type\":\"step\"";
    refuse(lines.join("\n") + "\n", "run.jsonl:4: damaged record");
}

#[test]
fn unknown_names_list_the_known_ones_nearest_first_and_exit_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for (args, expected) in [
        (vec!["phase", "--version", "v9"], "unknown version 'v9'; known: v0, v1"),
        (vec!["phase", "--version", "v3-v1"], "'v3-v1' is no range of versions"),
        (vec!["phase", "--preset", "gpt2-medum"], "unknown preset 'gpt2-medum'; known: gpt2-medium"),
        (vec!["phase", "--dtype", "bf61"], "unknown dtype 'bf61'; known: bf16"),
        (vec!["phase", "--device", "cpuu"], "unknown device 'cpuu'; known: cpu"),
        (vec!["phase", "--implementation", "candel"], "unknown implementation 'candel'; known: candle"),
        (vec!["phase", "--tokens", "0"], "--tokens is at least 1"),
        (vec!["phase", "--max-time", "0s"], "no time after the start"),
        (vec!["phase", "-p", "1020", "-n", "16"], "need 1035 positions; gpt2 has 1024"),
        (vec!["phase", "--export-json", "-", "--export-csv", "-"], "only one export can go to stdout"),
        (
            vec!["logits", "--ids", "300", "--preset", "tiny", "-o", "x"],
            "token id 300 is outside the vocabulary",
        ),
        (vec!["roofline"], "required"),
    ] {
        let output = kprof(folder.path(), &args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
    }
    assert!(!folder.path().join("profiles").exists(), "nothing was measured or written");
}

#[test]
fn an_output_that_cannot_be_written_is_said_before_the_measuring_starts() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    for args in [["--export-json", "file/x.json"], ["--output", "file/run.jsonl"], ["--export-svg", "."]] {
        let output = fake_phase(folder.path(), &args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("cannot write"), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    // A run file is never overwritten.
    std::fs::write(folder.path().join("run.jsonl"), "precious").unwrap();
    let output = fake_phase(folder.path(), &["--output", "run.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(folder.path().join("run.jsonl")).unwrap(), "precious");
}

#[test]
fn logits_are_written_as_safetensors_and_v2_is_near_v1() {
    let folder = tempfile::tempdir().unwrap();
    let logits = |file: &str, more: &[&str]| -> Vec<f32> {
        let base = ["logits", "--preset", "tiny", "--ids", "1,2,3", "--out", file];
        let output = kprof(folder.path(), &[&base, more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let bytes = std::fs::read(folder.path().join(file)).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let view = tensors.tensor("logits").unwrap();
        assert_eq!(view.shape(), [3, 256]);
        view.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let difference = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0f32, f32::max);
    let v1 = logits("v1.safetensors", &[]);
    assert!(v1.iter().any(|x| *x != 0.0));
    assert!(difference(&v1, &logits("d.safetensors", &["--feed", "decode"])) < 1e-5);
    assert!(difference(&v1, &logits("v0.safetensors", &["--version", "v0", "--feed", "decode"])) < 1e-5);
    let v2 = difference(&v1, &logits("v2.safetensors", &["--version", "v2"]));
    assert!(v2 > 0.0 && v2 < 1e-2, "{v2}");
}

#[test]
fn a_model_directory_with_a_misshapen_tensor_exits_with_1_and_both_shapes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("config.json"),
        r#"{"model_type":"gpt2","n_embd":8,"n_layer":1,"n_head":2,"vocab_size":16,"n_positions":8}"#,
    )
    .unwrap();
    let tensor =
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![16, 4], &[0; 256]).unwrap();
    let bytes = safetensors::serialize([("wte.weight", tensor)], None).unwrap();
    std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    let output = kprof(folder.path(), &["logits", "--model", ".", "--ids", "1", "--out", "x.safetensors"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("'wte.weight' has shape [16, 4]; expected [16, 8]"), "{stderr}");
    assert!(!folder.path().join("x.safetensors").exists());
}

#[test]
fn files_that_are_no_export_are_explained_and_exit_with_1() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content, expected) in [
        ("empty.csv", "", "empty"),
        (
            "perm.csv",
            "==PROF== Connected\n==ERROR== ERR_NVGPUCTRPERM - The user does not have permission\n",
            "ERR_NVGPUCTRPERM",
        ),
        (
            "none.csv",
            "==PROF== Connected to process 1\n==WARNING== No kernels were profiled.\n",
            "no kernels were profiled",
        ),
        ("poem.txt", "a line\nanother line\n", "poem.txt"),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
        let output = kprof(folder.path(), &["roofline", name]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {stderr}");
        assert!(stderr.contains(expected), "{name}: {stderr}");
    }
    let output = kprof(folder.path(), &["roofline", "absent.csv"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("absent.csv"), "{}", text(&output.stderr));
}
