//! `kprof latency`.

use super::{json, kprof, refused, run_of, text};
use kprof::profile::TimingMethod;

const FAKE: [&str; 7] = ["latency", "--device", "fake", "--version", "v0", "v1", "--warmup=0"];

#[test]
fn every_version_is_timed_at_every_length_in_every_repetition() {
    let (_folder, output, run) =
        run_of(&[&FAKE[..], &["-r", "2", "-b", "3", "-p", "5", "-T", "2,4,8,16"]].concat());
    assert_eq!(run.latencies.len(), 2 * 4 * 2);
    for version in ["v0", "v1"] {
        for tokens in [2, 4, 8, 16] {
            let found: Vec<_> =
                run.latencies.iter().filter(|l| l.version == version && l.tokens == tokens).collect();
            let mut repetitions: Vec<usize> = found.iter().map(|l| l.repetition).collect();
            repetitions.sort_unstable();
            assert_eq!(repetitions, [0, 1], "{version} {tokens}");
            // The scripted clock has no noise; the whole is the prefill and the decode steps after it.
            assert!((found[0].time_s / found[1].time_s - 1.0).abs() < 1e-9);
            assert!(found[0].ttft_s.unwrap() < found[0].time_s);
            assert_eq!((found[0].batch, found[0].prompt_length), (3, 5));
            assert_eq!(found[0].method, TimingMethod::Scripted);
        }
    }
    let config = run.manifest.unwrap().config.unwrap();
    assert_eq!((config.benchmark.as_str(), config.tokens), ("latency", 16));
    assert_eq!(config.lengths, [2, 4, 8, 16]);
    let stdout = text(&output.stdout);
    for word in ["v0", "v1", "TPOT", "quadratic", "linear", "exponent"] {
        assert!(stdout.contains(word), "{word} is missing:\n{stdout}");
    }
    assert!(text(&output.stderr).contains("wrote run.jsonl"));
}

#[test]
fn without_noise_the_cacheless_version_grows_faster_than_the_cached_one() {
    let (folder, _, _) = run_of(&[&FAKE[..], &["-r", "1", "-T", "8,16,32,64,96"]].concat());
    let report = json(&kprof(folder.path(), &["latency", "--load", "run.jsonl", "--json"]));
    let exponent = |i: usize| report["versions"][i]["decode_exponent"]["value"].as_f64().unwrap();
    assert!(exponent(0) > exponent(1) && (exponent(1) - 1.0).abs() < 0.02, "{} {}", exponent(0), exponent(1));
    let share = |i: usize| report["versions"][i]["growth"]["quadratic_share"].as_f64().unwrap();
    assert!(share(0) > share(1), "{} {}", share(0), share(1));
    // T = 96 of v0 over v1, both in the same order as asked for.
    let last = &report["versions"][1]["points"][4];
    let of_v0 = report["versions"][0]["points"][4]["time"]["median"].as_f64().unwrap();
    let of_v1 = last["time"]["median"].as_f64().unwrap();
    assert!((last["speedup"].as_f64().unwrap() - of_v0 / of_v1).abs() < 1e-9);
    assert!((last["time_per_token_s"].as_f64().unwrap() - of_v1 / 96.0).abs() < 1e-12);
}

#[test]
fn a_run_is_reported_again_in_every_format() {
    let (folder, output, _) = run_of(&[&FAKE[..], &["-r", "1", "-T", "2,4,8,16"]].concat());
    let again = kprof(
        folder.path(),
        &["latency", "--load", "run.jsonl", "--export-csv", "l.csv", "--export-markdown", "l.md"],
    );
    assert_eq!(text(&again.stdout), text(&output.stdout));
    let csv = std::fs::read_to_string(folder.path().join("l.csv")).unwrap();
    assert!(csv.starts_with("version,tokens,time_s"), "{csv}");
    assert_eq!(csv.lines().count(), 9);
    assert!(std::fs::read_to_string(folder.path().join("l.md")).unwrap().contains("| v1 |"));
    // A run of another benchmark is said to be one.
    let other = ["phase", "--device", "fake", "-n", "2", "-r", "1", "-q", "-o", "phase.jsonl"];
    assert!(kprof(folder.path(), &other).status.success());
    let output = kprof(folder.path(), &["latency", "--load", "phase.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no run of `kprof latency`"));
}

#[test]
fn mistakes_are_said_before_anything_is_measured() {
    refused(&[
        (&["latency", "--preset", "tiny", "-T", "16,200"], "need 231 positions; tiny has 128"),
        (&["latency", "--preset", "tiny", "-T", "0"], "'0' is no count"),
        (&["latency", "--preset", "tiny", "-T", "8-4*2"], "ends before it begins"),
        (&["latency", "--preset", "tiny", "-p", "0"], "--prompt-length is at least 1"),
        (&["latency", "--preset", "tiny", "--version", "w2"], "unknown version 'w2'; known: v2"),
        (&["latency", "--preset", "tinny"], "known: tiny"),
        (&["latency", "--preset", "tiny", "-r", "0"], "'0' is no count"),
        (&["latency", "--json", "--export-csv", "-"], "only one export can go to stdout"),
    ]);
}
