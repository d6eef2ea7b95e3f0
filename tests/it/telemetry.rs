//! What `kprof phase` records of the machine while it measures.

use assert_cmd::Command;
use kprof::profile::{Run, Twin, read_run};
use std::path::Path;

fn phase(folder: &Path, args: &[&str]) -> (Run, String) {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    let base = ["phase", "--version", "v0", "v1", "-n", "3", "-r", "2", "-q", "-o", "run.jsonl"];
    let output = command.current_dir(folder).args(base).args(args).output().expect("kprof runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run = read_run(&folder.join("run.jsonl")).expect("a run");
    (run, String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn every_stage_has_a_reading_and_every_table_its_joules_or_n_a() {
    let folder = tempfile::tempdir().unwrap();
    let (run, text) =
        phase(folder.path(), &["--preset", "tiny", "--threads", "1", "--telemetry-interval", "1ms"]);
    // Two versions, two repetitions, two twins, two stages.
    assert_eq!(run.usage.len(), 16);
    assert!(run.usage.iter().all(|u| u.wall_s > 0.0 && u.reading_s > 0.0 && u.reading_s < u.wall_s + 1.0));
    // The reading that ends a stage contains its steps.
    for usage in run.usage.iter().filter(|u| u.twin == Twin::Plain) {
        let of = |s: &&kprof::profile::StepRecord| {
            (&s.version, s.stage, s.twin, s.repetition)
                == (&usage.version, usage.stage, usage.twin, usage.repetition)
        };
        let steps: f64 = run.steps.iter().filter(of).map(|s| s.time_s).sum();
        assert!(steps > 0.0 && usage.wall_s >= steps, "{usage:?} is shorter than its steps: {steps}");
    }
    let cost = run.telemetry_cost.expect("the thread says what it cost");
    assert!(cost.samples >= 1 && cost.samples >= run.telemetry.len());
    assert!(run.telemetry.iter().all(|t| t.gpus.is_empty()), "GPUs do nothing in a run on the CPU");
    assert!(text.contains("Telemetry: ") && text.contains("of one CPU"), "{text}");
    assert!(text.contains("[J/token]"), "{text}");
    let known = run.usage.iter().any(|u| !u.energy.is_empty());
    let row = text.lines().rfind(|l| l.starts_with("v1 ") && !l.contains(" vs ")).unwrap();
    assert_eq!(row.contains("n/a / n/a"), !known, "{row}");
    #[cfg(target_os = "linux")]
    assert!(run.usage.iter().all(|u| u.own_cpu_s.is_some() && u.others_cpu_s.is_some() && u.cpus >= Some(1)));
}

#[test]
fn nothing_is_watched_when_told_so_or_on_a_scripted_clock() {
    for args in [&["--preset", "tiny", "--no-telemetry"][..], &["--device", "fake"]] {
        let folder = tempfile::tempdir().unwrap();
        let (run, text) = phase(folder.path(), args);
        assert!(run.usage.is_empty() && run.telemetry.is_empty() && run.telemetry_cost.is_none());
        assert!(!text.contains("Telemetry:") && text.contains("n/a / n/a"), "{text}");
    }
}
