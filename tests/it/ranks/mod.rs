//! Ranks of a launch: recognised, kept apart in their files, merged, and shown beside each other, through the program.

mod readers;

use assert_cmd::Command;
use kprof::profile::{OffsetMethod, RunFile, read_run, read_run_file};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

/// What launchers set, so that the machine that runs the tests (it may be a task of Slurm) does not matter.
const VARIABLES: [&str; 16] = [
    "KPROF_LAUNCHER",
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "PMIX_RANK",
    "PMIX_NAMESPACE",
    "PMI_RANK",
    "PMI_SIZE",
    "MPI_LOCALRANKID",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_STEP_ID",
    "SLURM_STEP_NUM_TASKS",
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn command(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    VARIABLES.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.current_dir(folder);
    command
}

fn kprof(folder: &Path, args: &[&str]) -> Output {
    command(folder).args(args).output().expect("kprof runs")
}

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The exit code and what is said of it.
fn failure(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = kprof(folder, args);
    (output.status.code(), text(&output.stderr))
}

fn torchrun(rank: usize, size: usize) -> Vec<(&'static str, String)> {
    vec![("RANK", rank.to_string()), ("WORLD_SIZE", size.to_string()), ("LOCAL_RANK", rank.to_string())]
}

/// A measurement by every rank at once, each a process of its own; gives the output of each.
fn launched(folder: &Path, size: usize, args: &[&str]) -> Vec<Output> {
    std::thread::scope(|scope| {
        let start = |rank| {
            scope.spawn(move || {
                command(folder).envs(torchrun(rank, size)).args(args).output().expect("kprof runs")
            })
        };
        let all: Vec<_> = (0..size).map(start).collect();
        all.into_iter().map(|process| process.join().expect("it ends")).collect()
    })
}

const FAKE: [&str; 10] = ["phase", "--device", "fake", "--version", "v0", "v1", "-n", "3", "-r", "2"];

/// Run files of a launch on the fake device: `run.rank0.jsonl` and on.
fn fake(folder: &Path, size: usize, more: &[&str]) -> Vec<Output> {
    let outputs = launched(folder, size, &[&FAKE[..], &["-q", "-o", "run.jsonl"], more].concat());
    outputs.iter().for_each(|output| {
        ok(output);
    });
    outputs
}

/// A launch on the fake device as the merged file `name`.
fn merged(folder: &Path, name: &str) -> PathBuf {
    let sub = folder.join(format!("of-{name}"));
    std::fs::create_dir(&sub).expect("a folder");
    fake(&sub, 2, &[]);
    let files = [sub.join("run.rank0.jsonl"), sub.join("run.rank1.jsonl")].map(|f| f.display().to_string());
    ok(&kprof(folder, &["merge", &files[1], &files[0], "-o", name]));
    folder.join(name)
}

#[test]
fn every_rank_writes_files_of_its_own_and_says_which_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let outputs = fake(folder.path(), 3, &["--export-json", "phases.json", "--log-file", "log.jsonl"]);
    for (rank, output) in outputs.iter().enumerate() {
        let run = read_run(&folder.path().join(format!("run.rank{rank}.jsonl"))).expect("a run");
        let info = run.rank().expect("a rank");
        assert_eq!((info.rank, info.world_size, info.local_rank), (rank, Some(3), Some(rank)));
        assert_eq!(info.launcher, "torchrun");
        assert!(
            text(&output.stdout).contains(&format!("\nrank {rank} of 3 by torchrun, host ")),
            "{output:?}"
        );
        for name in [format!("run.rank{rank}.phases.svg"), format!("log.rank{rank}.jsonl")] {
            assert!(folder.path().join(&name).is_file(), "{name} of {:?}", std::fs::read_dir(folder.path()));
        }
        let json = std::fs::read(folder.path().join(format!("phases.rank{rank}.json"))).expect("an export");
        let json: Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json["manifest"]["rank"]["rank"], rank);
    }
    for name in ["run.jsonl", "phases.json", "log.jsonl"] {
        assert!(!folder.path().join(name).exists(), "{name} would be written by every rank");
    }
    // Without a name too, in the same second.
    launched(folder.path(), 2, &[&FAKE[..], &["-q"]].concat()).iter().for_each(|output| {
        ok(output);
    });
    let names = std::fs::read_dir(folder.path().join("profiles/runs")).expect("runs").flatten();
    let names: Vec<String> = names.map(|n| n.file_name().to_string_lossy().into_owned()).collect();
    for rank in ["rank0", "rank1"] {
        assert_eq!(names.iter().filter(|n| n.ends_with(&format!(".{rank}.jsonl"))).count(), 1, "{names:?}");
    }
}

/// Variables, the run file that they give, and the launcher and rank that it says.
type Launched = (&'static [(&'static str, &'static str)], &'static str, Option<(&'static str, usize)>);

#[test]
fn launchers_are_told_apart_and_one_rank_alone_keeps_its_name() {
    let cases: [Launched; 5] = [
        (
            &[("OMPI_COMM_WORLD_RANK", "2"), ("OMPI_COMM_WORLD_SIZE", "11"), ("PMIX_RANK", "2")],
            "run.rank02.jsonl",
            Some(("openmpi", 2)),
        ),
        (&[("PMI_RANK", "1"), ("PMI_SIZE", "2")], "run.rank1.jsonl", Some(("pmi", 1))),
        (
            &[("SLURM_PROCID", "1"), ("SLURM_STEP_NUM_TASKS", "2"), ("SLURM_STEP_ID", "0")],
            "run.rank1.jsonl",
            Some(("slurm", 1)),
        ),
        // A batch script is no task of srun; one process alone is no rank of several.
        (&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "2")], "run.jsonl", None),
        (&[("RANK", "0"), ("WORLD_SIZE", "1")], "run.jsonl", Some(("torchrun", 0))),
    ];
    for (variables, file, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut command = command(folder.path());
        command.envs(variables.iter().copied()).args(FAKE).args(["-q", "-o", "run.jsonl"]);
        ok(&command.output().expect("kprof runs"));
        let run = read_run(&folder.path().join(file)).expect("a run");
        let found = run.rank().map(|rank| (rank.launcher.as_str(), rank.rank));
        assert_eq!(found, expected, "{variables:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path());
    command.envs([("RANK", "2"), ("WORLD_SIZE", "2")]).args(FAKE).args(["-q", "-o", "run.jsonl"]);
    let output = command.output().expect("kprof runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("RANK=2 is none of 2 ranks (WORLD_SIZE)"), "{output:?}");
}

#[test]
fn merged_ranks_keep_every_record_with_its_rank_and_stand_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let measured =
        ["phase", "--device", "cpu", "--preset", "tiny", "--threads", "1", "--version", "v1", "-n", "3"];
    let more = ["-r", "2", "--warmup", "1", "--no-ceilings", "-q", "-o", "run.jsonl"];
    for output in launched(folder.path(), 3, &[&measured[..], &more].concat()) {
        ok(&output);
    }
    let files = ["run.rank2.jsonl", "run.rank0.jsonl", "run.rank1.jsonl"];
    let said = ok(&kprof(folder.path(), &[&["merge"], &files[..], &["-o", "m.jsonl"]].concat()));
    assert!(said.starts_with("3 of 3 ranks by torchrun\n"), "{said}");

    let lines = std::fs::read_to_string(folder.path().join("m.jsonl")).expect("a file");
    let mut of_ranks: Vec<Vec<String>> = vec![Vec::new(); 3];
    for line in lines.lines().skip(1) {
        let mut record: Value = serde_json::from_str(line).expect("JSON");
        let rank = record.as_object_mut().expect("a record").shift_remove("of_rank");
        let rank = rank.and_then(|r| r.as_u64()).expect("its rank") as usize;
        of_ranks[rank].push(line.to_string());
    }
    for (rank, lines) in of_ranks.iter().enumerate() {
        let own =
            std::fs::read_to_string(folder.path().join(format!("run.rank{rank}.jsonl"))).expect("a file");
        assert_eq!(own.lines().count(), lines.len());
        let tag = format!(",\"of_rank\":{rank}}}");
        for (line, own) in lines.iter().zip(own.lines()) {
            assert_eq!(line.strip_suffix(&tag), own.strip_suffix('}'));
        }
    }

    let RunFile::Ranks(ranks) = read_run_file(&folder.path().join("m.jsonl")).expect("ranks") else {
        panic!("it is merged")
    };
    for (rank, run) in ranks.ranks() {
        let alone = read_run(&folder.path().join(format!("run.rank{}.jsonl", rank.rank))).expect("a run");
        assert_eq!((&run.steps, &run.manifest, &run.usage), (&alone.steps, &alone.manifest, &alone.usage));
        #[cfg(target_os = "linux")]
        {
            let method = if rank.rank == 0 { OffsetMethod::Reference } else { OffsetMethod::MonotonicClock };
            assert_eq!(rank.clock.method, method);
            assert!(
                rank.clock.offset_s.is_some_and(|s| s.abs() < 600.0) && rank.clock.uncertainty_s.is_some()
            );
        }
    }

    let shown = ok(&kprof(folder.path(), &["phase", "--load", "m.jsonl"]));
    for rank in 0..3 {
        assert!(shown.contains(&format!("rank {rank} of 3 by torchrun, host ")), "{shown}");
    }
    assert!(shown.contains("max/mean") && shown.contains("ranks are not pooled"), "{shown}");
    let json = ok(&kprof(folder.path(), &["phase", "--load", "m.jsonl", "--export-json", "-"]));
    let json: Value = serde_json::from_str(&json).expect("JSON");
    for imbalance in json["imbalances"].as_array().expect("a list") {
        let times: Vec<f64> =
            imbalance["time_s"].as_array().unwrap().iter().map(|t| t.as_f64().unwrap()).collect();
        let most = times.iter().copied().fold(0.0, f64::max);
        let expected = most / (times.iter().sum::<f64>() / times.len() as f64);
        assert!((imbalance["max_over_mean"].as_f64().unwrap() - expected).abs() < 1e-12, "{imbalance}");
        assert_eq!(times[imbalance["slowest"].as_u64().unwrap() as usize], most);
    }
    assert_eq!(json["phases"].as_array().map(Vec::len), Some(3));
    let csv = ok(&kprof(folder.path(), &["phase", "--load", "m.jsonl", "--export-csv", "-"]));
    assert!(csv.starts_with("rank,version,") && csv.lines().any(|l| l.starts_with("2,v1,decode")), "{csv}");
    let trace = ok(&kprof(folder.path(), &["phase", "--load", "m.jsonl", "--export-trace", "-"]));
    let trace: Value = serde_json::from_str(&trace).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    for process in 1..=3 {
        let offset = ranks.head.ranks[process - 1].clock.offset_s.unwrap_or_default();
        let stage = events.iter().find(|e| e["pid"] == process && e["cat"] == "stage").expect("a stage");
        let at = ranks.runs[process - 1].usage[0].at_s;
        #[cfg(target_os = "linux")]
        assert!((stage["ts"].as_f64().unwrap() / 1e6 - (at + offset)).abs() < 1e-6, "{stage}");
        let _ = (stage, at, offset);
    }
}

#[test]
fn what_are_no_ranks_of_one_launch_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fake(at, 3, &[]);
    for (name, size, more) in
        [("other", 3, &["-b", "2"][..]), ("smaller", 2, &[]), ("prompts", 3, &["-p", "8"])]
    {
        std::fs::create_dir(at.join(name)).unwrap();
        fake(&at.join(name), size, more);
    }
    ok(&kprof(at, &[&FAKE[..], &["-q", "-o", "alone.jsonl"]].concat()));
    std::fs::write(at.join("taken.jsonl"), "").unwrap();
    let own = std::fs::read_to_string(at.join("run.rank2.jsonl")).unwrap();
    let cut: Vec<&str> = own.lines().filter(|line| !line.starts_with("{\"type\":\"end\"")).collect();
    std::fs::write(at.join("cut.jsonl"), cut.join("\n") + "\n").unwrap();
    let cases: [(&[&str], &str); 9] = [
        (&["run.rank0.jsonl", "run.rank1.jsonl"], "rank 2 of 3 is missing"),
        (&["run.rank1.jsonl"], "ranks 0, 2 of 3 are missing"),
        (&["run.rank0.jsonl", "run.rank0.jsonl", "run.rank2.jsonl"], "are both of rank 0"),
        (
            &["run.rank0.jsonl", "other/run.rank1.jsonl", "run.rank2.jsonl"],
            "they differ in the batch (1 against 2)",
        ),
        (&["run.rank0.jsonl", "smaller/run.rank1.jsonl"], "they differ in the number of ranks (3 against 2)"),
        (
            &["run.rank0.jsonl", "prompts/run.rank1.jsonl", "run.rank2.jsonl"],
            "they differ in the prompt length (32 against 8)",
        ),
        (&["run.rank0.jsonl", "alone.jsonl"], "alone.jsonl says no rank"),
        (&["run.rank0.jsonl", "run.rank1.jsonl", "cut.jsonl"], "cut.jsonl ended before it was complete"),
        (
            &["run.rank0.jsonl", "run.rank1.jsonl", "run.rank2.jsonl", "-o", "taken.jsonl"],
            "taken.jsonl exists",
        ),
    ];
    for (files, says) in cases {
        let place: &[&str] = if files.contains(&"-o") { &[] } else { &["-o", "out.jsonl"] };
        let (code, error) = failure(at, &[&["merge"], files, place].concat());
        assert_eq!((code, error.matches("error:").count()), (Some(2), 1), "{files:?}: {error}");
        assert!(error.contains(says), "{files:?}: {error}");
        assert!(!at.join("out.jsonl").exists());
    }
    let partial = ["merge", "run.rank0.jsonl", "cut.jsonl", "--partial", "-o", "out.jsonl"];
    assert!(ok(&kprof(at, &partial)).starts_with("2 of 3 ranks by torchrun; missing: 1\n"));
    let shown = ok(&kprof(at, &["phase", "--load", "out.jsonl"]));
    assert!(shown.contains("missing: 1") && shown.contains("ended before it was complete"), "{shown}");
}

#[test]
fn clocks_of_different_machines_are_said_to_be_unsure_and_unknown_ones_n_a() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let run = |rank: usize, clocks: &str| {
        fake_rank(at, rank);
        let file = at.join(format!("run.rank{rank}.jsonl"));
        let own = std::fs::read_to_string(&file).unwrap();
        let (first, rest) = own.split_once('\n').unwrap();
        std::fs::write(&file, format!("{first}\n{clocks}{rest}")).unwrap();
    };
    let clock = |at_ns: u64, monotonic: u64, name: &str, wall: u64| {
        format!(
            "{{\"type\":\"clock\",\"at_ns\":{at_ns},\"monotonic_ns\":{monotonic},\"monotonic_clock\":\"{name}\",\
             \"wall_unix_ns\":{wall},\"within_ns\":300}}\n"
        )
    };
    run(0, &clock(1_000_000_000, 50_000_000_000, "a", 1_800_000_001_000_000_000));
    // Began 2.5 s after rank 0 on the same clock.
    run(1, &clock(500_000_000, 52_000_000_000, "a", 1_800_000_003_000_000_000));
    // Another machine: its wall clock says 4 s later, and was moved by 10 ms while it measured.
    let moved = clock(2_000_000_000, 8_000_000_000, "b", 1_800_000_005_010_000_000);
    run(2, &(clock(1_000_000_000, 7_000_000_000, "b", 1_800_000_004_000_000_000) + &moved));
    run(3, "");
    let files = ["run.rank0.jsonl", "run.rank1.jsonl", "run.rank2.jsonl", "run.rank3.jsonl"];
    let said = ok(&kprof(at, &[&["merge"], &files[..], &["--json", "-o", "m.jsonl"]].concat()));
    let json: Value = serde_json::from_str(&said).unwrap();
    let of = |rank: usize| json["ranks"][rank]["clock"].clone();
    assert_eq!((&of(0)["method"], &of(0)["offset_s"]), (&"reference".into(), &0.0.into()));
    assert_eq!((&of(1)["method"], &of(1)["offset_s"]), (&"monotonic_clock".into(), &2.5.into()));
    assert!((of(1)["uncertainty_s"].as_f64().unwrap() - 6e-7).abs() < 1e-15);
    assert_eq!((&of(2)["method"], &of(2)["offset_s"]), (&"wall_clock".into(), &3.0.into()));
    assert!(of(2)["uncertainty_s"].is_null() && of(2)["wall_moved_s"] == 0.01, "{}", of(2));
    assert!(of(3)["method"] == "unknown" && of(3)["offset_s"].is_null(), "{}", of(3));
    let output = kprof(at, &["phase", "--load", "m.jsonl", "--export-trace", "trace.json"]);
    let shown = ok(&output);
    for words in ["how far they agree is n/a", "wall clock moved by 10", "clock offsets n/a"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let note = "not in the trace, for want of a common clock: m.jsonl@3";
    assert!(text(&output.stderr).contains(note), "{output:?}");
}

fn fake_rank(folder: &Path, rank: usize) {
    let mut command = command(folder);
    command.envs(torchrun(rank, 4)).args(FAKE).args(["-q", "-o", "run.jsonl"]);
    ok(&command.output().expect("kprof runs"));
}

#[test]
fn the_schema_has_the_head_of_merged_files_and_the_rank_of_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let schema = ok(&kprof(folder.path(), &["schema", "merged"]));
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert!(schema["$defs"]["MergedRecord"]["properties"]["ranks"].is_object(), "{schema}");
    assert!(schema["properties"]["of_rank"].is_null(), "{schema}");
    let step: Value = serde_json::from_str(&ok(&kprof(folder.path(), &["schema", "step"]))).unwrap();
    assert_eq!(step["properties"]["of_rank"]["type"], "integer");
}

#[test]
fn several_processes_and_baselines_know_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for output in launched(at, 2, &[&FAKE[..], &["-q", "-o", "run.jsonl", "--processes", "2"]].concat()) {
        ok(&output);
    }
    for rank in 0..2 {
        let run = read_run(&at.join(format!("run.rank{rank}.jsonl"))).expect("a run");
        assert_eq!((run.processes.len(), run.rank().map(|r| r.rank)), (2, Some(rank)));
    }
    let mut baseline = command(at);
    baseline.envs(torchrun(0, 2)).args(FAKE).args(["-q", "--save-baseline", "main"]);
    let output = baseline.output().expect("kprof runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("a baseline is one file, and this is rank 0 of 2"), "{output:?}");
}
