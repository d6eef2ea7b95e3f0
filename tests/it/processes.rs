//! Runs of several processes, schedules, commands measured in turns, and traces, end to end.

use assert_cmd::Command;
use kprof::profile::{CacheState, Ended, Record, Run, read_run};
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

fn ok(output: Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

const FAKE: [&str; 8] = ["phase", "--device", "fake", "--version", "v0", "v1", "-n", "3"];

/// A run on the fake device.
fn phase(folder: &Path, name: &str, more: &[&str]) -> Run {
    ok(kprof(folder, &[&FAKE[..], &["-q", "-o", name], more].concat()));
    read_run(&folder.join(name)).unwrap()
}

#[test]
fn processes_become_one_run_whose_repetitions_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let run = phase(folder.path(), "run.jsonl", &["--processes", "3", "-r", "5"]);
    assert!(run.complete);
    let firsts: Vec<usize> = run.processes.iter().map(|p| p.first_repetition).collect();
    assert_eq!(firsts, [0, 5, 10]);
    assert_eq!(run.schedules.len(), 3);
    // 3 processes x 5 repetitions x 2 versions x 2 twins x 3 steps.
    assert_eq!(run.steps.len(), 180);
    assert_eq!(run.steps.iter().map(|s| s.repetition).max(), Some(14));
    assert!(
        run.manifest.is_some() && !run.ceilings.is_empty() && run.plans.len() == 4 && run.caches.len() == 2
    );
    let manifests = std::fs::read_to_string(folder.path().join("run.jsonl")).unwrap();
    assert_eq!(manifests.matches("\"type\":\"manifest\"").count(), 1);
    // A run like it is compared by its processes, and the same clock says the same.
    phase(folder.path(), "again.jsonl", &["--processes", "4", "-r", "5"]);
    phase(folder.path(), "more.jsonl", &["--processes", "4", "-r", "5"]);
    let json = ok(kprof(folder.path(), &["compare", "again.jsonl", "more.jsonl", "--export-json", "-"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    for time in json["pairs"][0]["times"].as_array().unwrap() {
        assert_eq!((&time["method"], &time["verdict"]), (&"process_ranks".into(), &"same".into()), "{time}");
    }
}

#[test]
fn a_baseline_takes_further_runs_as_processes_and_refuses_unlike_ones() {
    let folder = tempfile::tempdir().unwrap();
    phase(folder.path(), "a.jsonl", &["-r", "5", "--save-baseline", "main"]);
    phase(folder.path(), "b.jsonl", &["-r", "6", "--add-to-baseline", "main"]);
    let baseline = read_run(&folder.path().join("profiles/baselines/main.jsonl")).unwrap();
    assert!(baseline.complete);
    let firsts: Vec<usize> = baseline.processes.iter().map(|p| p.first_repetition).collect();
    assert_eq!(firsts, [0, 5]);
    ok(kprof(folder.path(), &["regress", "b.jsonl", "--baseline", "main"]));
    let unlike = kprof(
        folder.path(),
        &[&FAKE[..], &["-q", "-b", "2", "-o", "c.jsonl", "--add-to-baseline", "main"]].concat(),
    );
    assert_eq!(unlike.status.code(), Some(2));
    assert!(text(&unlike.stderr).contains("unlike in batch (1 against 2)"), "{}", text(&unlike.stderr));
    let absent = kprof(folder.path(), &["phase", "--load", "a.jsonl", "--add-to-baseline", "none"]);
    assert!(text(&absent.stderr).contains("there is no baseline 'none'"), "{}", text(&absent.stderr));
}

#[test]
fn a_schedule_is_saved_with_what_ended_it() {
    let folder = tempfile::tempdir().unwrap();
    let between = phase(folder.path(), "a.jsonl", &[]);
    let schedule = &between.schedules[0];
    // Scripted times are all alike: five warm-ups tell that they are steady, and five repetitions are enough.
    assert_eq!((schedule.warmups, schedule.repetitions, schedule.ended), (5, 5, Ended::Precision));
    assert_eq!((schedule.least, schedule.most, schedule.precision), (5, 30, Some(0.02)));
    let exactly = phase(folder.path(), "b.jsonl", &["-r", "7", "--warmup", "0"]);
    let schedule = &exactly.schedules[0];
    assert_eq!((schedule.warmups, schedule.repetitions, schedule.ended), (0, 7, Ended::Count));
    for (args, expected) in [
        (["-r", "9-3"], "ends before it begins"),
        (["--precision", "3"], "a fraction from 0 to under 1"),
        (["--processes", "0"], "--processes is at least 1"),
    ] {
        let output = kprof(folder.path(), &[&FAKE[..], &args[..]].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
}

#[cfg(unix)]
#[test]
fn commands_are_measured_in_turns_and_the_runs_that_they_write_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let program = assert_cmd::cargo::cargo_bin("kprof");
    let program = program.display();
    let old = format!("{program} phase --device fake --version v1 -n 3 -r 5 -q -o {{run}}");
    // The new one's times are made short: a step is said to take 10 µs.
    let shorten = r#"s/"time_s":0\.00[0-9]*/"time_s":0.00001/"#;
    let new = format!("{old} && sed -i.old '{shorten}' {{run}}");
    let args = ["compare", "--command", &old, "--command", &new, "-r", "6", "--warmup", "0", "-q"];
    let json = ok(kprof(folder.path(), &[&args[..], &["--export-json", "-"]].concat()));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["commands"]["commands"][1]["times_s"].as_array().unwrap().len(), 6);
    assert_eq!(json["commands"]["schedule"]["repetitions"], 6);
    let pairs = json["pairs"].as_array().unwrap();
    assert_eq!((&pairs[0]["times"][0]["what"], &pairs[0]["paired"]), (&"wall".into(), &true.into()));
    assert_eq!((&pairs[1]["old"], &pairs[1]["new"]), (&"command 1:v1".into(), &"command 2:v1".into()));
    let decode = &pairs[1]["times"][1];
    assert_eq!((&decode["what"], &decode["verdict"]), (&"decode".into(), &"faster".into()), "{decode}");
    assert_eq!(decode["method"], "process_ranks");
    assert!(!pairs[1]["stages"].as_array().unwrap().is_empty());
    let table = ok(kprof(
        folder.path(),
        &[&["compare", "--command", "true", "--command", "true"], &args[5..]].concat(),
    ));
    assert!(table.starts_with("command 1: true\ncommand 2: true\n6 rounds in a seeded order"), "{table}");
    assert!(table.contains("whole command") && !table.contains("KV cache"), "{table}");
}

#[cfg(unix)]
#[test]
fn commands_that_cannot_be_compared_are_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    for (args, code, expected) in [
        (vec!["--command", "true"], 2, "one --command has nothing to be held against"),
        (
            vec!["--command", "true", "--command", "false"],
            1,
            "'false' failed in the warm-up (exit status: 1)",
        ),
        (vec!["--command", "true", "--command", "no-such-program"], 1, "cannot run 'no-such-program'"),
        (vec!["--command", "true", "run.jsonl"], 2, "cannot be used with"),
        (vec!["--prepare", "true", "run.jsonl"], 2, "name them with --command"),
        (vec![], 2, "RUN[:VERSION]"),
    ] {
        let output = kprof(folder.path(), &[&["compare"], &args[..]].concat());
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(expected), "{args:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_trace_is_valid_json_with_every_stage_step_and_op() {
    let folder = tempfile::tempdir().unwrap();
    let run = phase(folder.path(), "run.jsonl", &["-r", "2", "--export-trace", "t.json"]);
    let trace: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("t.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let of = |category: &str| events.iter().filter(|e| e["cat"] == category).collect::<Vec<_>>();
    assert_eq!(of("step").len(), run.steps.len());
    assert_eq!(of("op").len(), run.steps.iter().map(|s| s.op_time_s.len()).sum::<usize>());
    let sum = |category: &str| of(category).iter().map(|e| e["dur"].as_f64().unwrap()).sum::<f64>() / 1e6;
    let steps: f64 = run.steps.iter().map(|s| s.time_s).sum();
    assert!((sum("stage") / steps - 1.0).abs() < 1e-9 && (sum("step") / steps - 1.0).abs() < 1e-9);
    // Every layer of every instrumented step; a phase lies in its layer.
    assert!(of("layer").len() >= 2 * run.steps.len() / 2 && !of("phase").is_empty());
    assert_eq!(trace["otherData"]["kprof_left_out"], Value::Null);
}

#[test]
fn versions_are_held_against_each_other_in_latency_cache_and_perplexity() {
    let folder = tempfile::tempdir().unwrap();
    phase(folder.path(), "run.jsonl", &[]);
    let table = ok(kprof(folder.path(), &["compare", "run.jsonl"]));
    let row = |table: &str, name: &str| {
        let at = table.find("trade-off of").expect("there is a trade-off");
        table[at..]
            .lines()
            .find(|l| l.starts_with(name))
            .unwrap()
            .split_whitespace()
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    assert!(row(&table, "run.jsonl:v1").contains(&"n/a".to_string()), "{table}");
    // A run of perplexities beside it, in which v1 is worse.
    let manifest = std::fs::read_to_string(folder.path().join("run.jsonl")).unwrap();
    let mut lines = vec![manifest.lines().next().unwrap().to_string()];
    for (version, nll) in [("v0", 2.0), ("v1", 2.1)] {
        for segment in 0..12 {
            lines.push(
                serde_json::json!({"type": "quality", "version": version, "segment": segment, "first_token": 0,
                    "nll_nat": [nll, nll + 0.01 * f64::from(segment)]})
                .to_string(),
            );
        }
    }
    lines.push(serde_json::to_string(&Record::End { wall_s: 1.0 }).unwrap());
    std::fs::write(folder.path().join("quality.jsonl"), lines.join("\n") + "\n").unwrap();
    let table = ok(kprof(folder.path(), &["compare", "run.jsonl", "quality.jsonl"]));
    // The mean is 2 + 0.055 / 2 and 0.1 more: exp of it is 7.595 and 8.394, 10.5 % more.
    assert!(table.contains("perplexity: 7.5951 -> 8.3939, +10.5 % [+10.5, +10.5]"), "{table}");
    assert!(row(&table, "run.jsonl:v0").contains(&"none".to_string()), "{table}");
}

#[test]
fn cold_caches_are_told_and_not_compared_with_hot_ones() {
    let folder = tempfile::tempdir().unwrap();
    let real = [
        "phase",
        "--preset",
        "tiny",
        "--version",
        "v1",
        "-n",
        "3",
        "-r",
        "1",
        "--warmup",
        "0",
        "--threads",
        "1",
    ];
    let quiet = ["-q", "--no-ceilings", "--no-telemetry"];
    let args = [&real[..], &quiet[..], &["--cache", "cold", "-o", "cold.jsonl"]].concat();
    let table = ok(kprof(folder.path(), &args));
    assert!(table.contains("caches cold: flushed before every step"), "{table}");
    let run = read_run(&folder.path().join("cold.jsonl")).unwrap();
    assert_eq!(run.cache_state(), CacheState::Cold);
    assert!(run.ceilings.is_empty());
    let hot = ok(kprof(folder.path(), &[&real[..], &quiet[..], &["-o", "hot.jsonl"]].concat()));
    assert!(!hot.contains("caches cold"), "{hot}");
    let output = kprof(folder.path(), &["compare", "hot.jsonl", "cold.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("unlike in cache (hot against cold)"), "{}", text(&output.stderr));
    let fake = kprof(folder.path(), &[&FAKE[..], &["--cache", "cold"]].concat());
    assert_eq!(fake.status.code(), Some(2));
    assert!(text(&fake.stderr).contains("the fake device has no caches"), "{}", text(&fake.stderr));
}
