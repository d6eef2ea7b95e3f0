//! `kprof run` and `kprof crossover`.

use super::{json, kprof, refused, run_of, text};
use kprof::llm::Stage;

const QUICK: [&str; 5] = ["--preset", "tiny", "--quick", "--threads", "2"];

#[test]
fn all_benchmarks_run_and_one_that_fails_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), "[capacity]\ncontext = 500\n").unwrap();
    let args = [
        "run",
        "memory",
        "capacity",
        "latency",
        "--output-dir",
        "out",
        "--config",
        "c.toml",
        "--version",
        "v1",
    ];
    let output = kprof(folder.path(), &[&args[..], &["--preset", "tiny", "-q"]].concat());
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("--context 500 need 500 positions; tiny has 128"), "{stderr}");
    assert!(stderr.contains("1 of 3 benchmarks failed: capacity"), "{stderr}");
    assert!(stderr.contains("kprof run --resume out"), "{stderr}");
    for word in ["memory      measured", "capacity    failed, exit code 2", "latency     measured"] {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
    assert!(
        folder.path().join("out/memory.jsonl").exists() && folder.path().join("out/latency.jsonl").exists()
    );
    // What was wrong is mended in the folder's own copy, an unfinished file is set aside, and what is complete stays.
    std::fs::write(folder.path().join("out/config.toml"), "[capacity]\ncontext = 32\nbudget = \"8MiB\"\n")
        .unwrap();
    let latency = folder.path().join("out/latency.jsonl");
    let whole = std::fs::read_to_string(&latency).unwrap();
    let cut: String = whole.lines().take(3).map(|l| format!("{l}\n")).collect();
    std::fs::write(&latency, cut).unwrap();
    let output = kprof(folder.path(), &["run", "--resume", "out", "-q"]);
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for word in ["memory      was complete", "capacity    measured", "latency     measured"] {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
    assert!(folder.path().join("out/latency.partial-1.jsonl").exists());
    let run = kprof::profile::read_run(&latency).unwrap();
    assert!(run.complete && run.latencies.iter().all(|l| l.version == "v1"));
}

#[test]
fn mistakes_are_said_before_the_first_benchmark_runs() {
    refused(&[
        (&["run", "latnecy"], "unknown benchmark 'latnecy'; known: latency"),
        (&["run", "latency", "--preset", "tiny", "--dtype", "f8"], "invalid value 'f8'"),
        (&["run", "--resume", "nowhere"], "nowhere is no folder of `kprof run`"),
        (&["crossover", "v1", "v1"], "v1 is compared with itself"),
        (&["crossover", "v1", "w2"], "unknown version 'w2'; known: v2"),
        (&["crossover", "--preset", "tiny", "--contexts", "500"], "need 500 positions; tiny has 128"),
        (&["crossover", "--preset", "tiny", "--contexts", "1"], "a decode step attends to 2 tokens at least"),
    ]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("out")).unwrap();
    std::fs::write(folder.path().join("out/run.json"), "{}").unwrap();
    let output = kprof(folder.path(), &["run", "--output-dir", "out"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("go on with it: kprof run --resume out"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_crossover_has_both_versions_at_every_context_and_batch_and_both_stages_against_their_ceilings() {
    let args = ["crossover", "v0", "v1", "--contexts", "8,32,100", "--batches", "1,2", "-r", "3"];
    let (folder, output, run) = run_of(
        &[&args[..], &["--device", "fake", "--steps", "2", "--warmup", "1", "--refine", "0"]].concat(),
    );
    assert_eq!(run.decode_points.len(), 2 * 3 * 2 * 3);
    assert!(run.decode_points.iter().all(|p| p.steps == 2));
    let prefills = run.steps.iter().filter(|s| s.stage == Stage::Prefill).count();
    assert_eq!(prefills, 2 * 3 * 2);
    let report = json(&kprof(folder.path(), &["crossover", "--load", "run.jsonl", "--json"]));
    let of_batch_1 = &report["batches"][0];
    // On the fake device appending to a cache takes 1 us in each of 4 layers: at 8 tokens that is more than it saves.
    assert_eq!((&of_batch_1["pays_from"], &of_batch_1["up_to"]), (&32.into(), &100.into()));
    let speedup = |i: usize| of_batch_1["points"][i]["speedup"].as_f64().unwrap();
    assert!(speedup(0) < 1.0 && 1.0 < speedup(1) && speedup(1) < speedup(2));
    // v1: K and V of 4 layers of 64 in f32 are 2048 B per token. A step of tiny (tied) reads all of its weights but the
    // table's rows of positions, which are counted: 222,848 parameters x 4 B.
    let parameters = 4.0 * (12.0 * 4096.0 + 13.0 * 64.0) + 384.0 * 64.0 + 128.0;
    let of_v1 = &report["cache_dominates"][1];
    assert_eq!(of_v1["cache_bytes_per_token"], 2048.0);
    assert_eq!(of_v1["weight_bytes"].as_f64().unwrap(), 4.0 * parameters);
    assert!((of_v1["context_by_batch"][1][1].as_f64().unwrap() - 4.0 * parameters / 4096.0).abs() < 1e-9);
    let stages = report["stages"].as_array().unwrap();
    // Two versions, two stages, six cells.
    assert_eq!(stages.len(), 24);
    for stage in stages {
        let share = stage["of_ceiling"].as_f64().unwrap();
        // The fake device adds 1 us to every op and 10 us to every step.
        assert!(share > 0.0 && share < 1.0, "{stage}");
    }
    let stdout = text(&output.stdout);
    assert!(stdout.contains("ANALYTIC: v1's cache outweighs"), "{stdout}");
    let backwards = json(&kprof(folder.path(), &["crossover", "--load", "run.jsonl", "--json"]));
    assert_eq!(backwards, report);
}

#[test]
fn a_crossover_is_looked_for_between_contexts_where_it_does_not_pay_and_does() {
    let args =
        ["crossover", "v0", "v1", "--contexts", "8,32,100", "--batches", "1", "-r", "6", "--device", "fake"];
    let (_folder, output, run) =
        run_of(&[&args[..], &["--steps", "2", "--warmup", "1", "--refine", "2"]].concat());
    let mut contexts: Vec<usize> = run.decode_points.iter().map(|p| p.context).collect();
    contexts.dedup();
    // In the order measured: half-way between 8, where it does not pay, and 32, and of the half with the step again.
    assert_eq!(contexts[..4], [8, 32, 100, 20], "{contexts:?}");
    assert!(contexts.len() == 5 && [14, 26].contains(&contexts[4]), "{contexts:?}");
    let stdout = text(&output.stdout);
    assert!(stdout.contains("batch 1: v1 pays from"), "{stdout}");
}

#[test]
fn where_the_new_version_never_pays_the_largest_context_is_said() {
    let args =
        ["crossover", "v1", "v0", "--contexts", "8,32", "--batches", "1,2", "-r", "3", "--device", "fake"];
    let (_folder, output, _) = run_of(&args);
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains("batch 1: no crossover up to 32 tokens: v0 is not faster than v1 there"),
        "{stdout}"
    );
    assert!(stdout.contains("no crossover up to a batch of 2"), "{stdout}");
}

#[test]
fn run_takes_its_benchmarks_from_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kprof.toml"), "benchmarks = [\"memory\"]\nversions = [\"v2\"]\n")
        .unwrap();
    let output = kprof(folder.path(), &[&["run", "-q", "--output-dir", "out"], &QUICK[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let run = kprof::profile::read_run(&folder.path().join("out/memory.jsonl")).unwrap();
    assert!(run.memory.iter().all(|m| m.version == "v2") && run.memory.len() == 2);
    assert!(!folder.path().join("out/latency.jsonl").exists());
}
