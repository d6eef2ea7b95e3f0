//! What each command makes of a file of several ranks.

use super::*;

/// Multiplies the times of the steps of one rank in a merged file.
fn slower(folder: &Path, name: &str, factor: f64, rank: usize) {
    let of_rank = |record: &Value| record["type"] == "step" && record["of_rank"] == rank;
    altered(folder, name, name, |record| {
        if of_rank(record) {
            record["time_s"] = (record["time_s"].as_f64().unwrap() * factor).into();
        }
    });
}

/// Writes a run file under another name, with every record changed so.
fn altered(folder: &Path, name: &str, to: &str, change: impl Fn(&mut Value)) {
    let whole = std::fs::read_to_string(folder.join(name)).unwrap();
    let line = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        change(&mut record);
        format!("{record}\n")
    };
    std::fs::write(folder.join(to), whole.lines().map(line).collect::<String>()).unwrap();
}

/// Another day of the same launch, in which `rank` took `factor` times as long.
fn on_day(folder: &Path, day: u32, factor: f64, rank: usize) {
    altered(folder, "main.jsonl", &format!("day{day}.jsonl"), |record| {
        if record["type"] == "manifest" {
            record["started"] = format!("2026-01-{day:02}T00:00:00Z").into();
        } else if record["type"] == "step" && record["of_rank"] == rank {
            record["time_s"] = (record["time_s"].as_f64().unwrap() * factor).into();
        }
    });
}

/// A launch of `size` ranks of a command that is no `kprof phase`, merged as `run.jsonl`.
fn merged_benchmark(folder: &Path, size: usize, args: &[&str]) {
    for output in launched(folder, size, &[args, &["-q", "-o", "run.jsonl"]].concat()) {
        ok(&output);
    }
    let files: Vec<String> = (0..size).map(|rank| format!("run.rank{rank}.jsonl")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    ok(&kprof(folder, &[&["merge"], &files[..], &["-o", "run.jsonl"]].concat()));
}

/// The JSON that a command prints.
fn json(folder: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&ok(&kprof(folder, args))).expect("JSON")
}

#[test]
fn readers_of_steps_take_ranks_apart_or_ask_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    merged(at, "a.jsonl");
    merged(at, "b.jsonl");
    // Rank 1 of b takes twice as long, so that a pooled or crossed comparison would show.
    slower(at, "b.jsonl", 2.0, 1);
    let json = ok(&kprof(at, &["compare", "a.jsonl", "b.jsonl", "--export-json", "-"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    let pairs: Vec<(String, String, f64)> = json["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            let name = |key: &str| p[key].as_str().unwrap().to_string();
            (name("old"), name("new"), p["times"][1]["speedup"].as_f64().unwrap())
        })
        .collect();
    let pair = |rank: usize, version: &str, speedup: f64| {
        (format!("a.jsonl@{rank}:{version}"), format!("b.jsonl@{rank}:{version}"), speedup)
    };
    assert_eq!(pairs, [pair(0, "v0", 1.0), pair(0, "v1", 1.0), pair(1, "v0", 0.5), pair(1, "v1", 0.5)]);
    ok(&kprof(at, &[&FAKE[..], &["-q", "-o", "alone.jsonl"]].concat()));
    let (code, error) = failure(at, &["compare", "a.jsonl", "alone.jsonl"]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("a.jsonl has the ranks 0, 1 and alone.jsonl the ranks none"), "{error}");
    let (code, error) = failure(at, &["compare", "a.jsonl@0", "b.jsonl@1"]);
    assert_eq!(
        (code, error.contains("unlike in rank (rank 0 of 2 against rank 1 of 2)")),
        (Some(2), true),
        "{error}"
    );

    let one = ok(&kprof(at, &["phase", "--load", "b.jsonl@1"]));
    assert!(one.contains("rank 1 of 2") && !one.contains("max/mean"), "{one}");
    for (args, says) in [
        (&["latency", "--load", "a.jsonl"][..], "its runs are none of `kprof latency`"),
        (&["phase", "--load", "a.jsonl@7"], "there are 0, 1"),
        (&["phase", "--load", "alone.jsonl@0"], "the file of one run"),
        (&["merge", "a.jsonl", "-o", "c.jsonl"], "name it a.jsonl@RANK"),
    ] {
        let (code, error) = failure(at, args);
        assert_eq!(code, Some(1), "{args:?}: {error}");
        assert!(error.contains(says), "{args:?}: {error}");
    }
    let (code, error) = failure(at, &["phase", "--load", "a.jsonl", "--export-svg", "x.svg"]);
    assert_eq!((code, error.contains("--export-svg is of one run")), (Some(2), true), "{error}");

    let points = ok(&kprof(at, &["roofline", "b.jsonl", "--export-csv", "-"]));
    for rank in 0..2 {
        assert!(points.contains(&format!("b.jsonl@{rank}")), "{points}");
    }
    ok(&kprof(at, &["report", "b.jsonl", "-o", "report.html"]));
    let page = std::fs::read_to_string(at.join("report.html")).unwrap();
    for words in ["<h2>Ranks</h2>", "max/mean", "b.jsonl rank 0", "b.jsonl rank 1", "1 of 2 by torchrun"] {
        assert!(page.contains(words), "{words} is not in the page");
    }
    // Ranks of one launch are no change of each other.
    assert!(!page.contains("v1 of b.jsonl rank 1 against v1 of b.jsonl rank 0"));
    ok(&kprof(at, &["plot", "b.jsonl", "--figure", "phases", "--out", "figures"]));
    let figure = std::fs::read_to_string(at.join("figures/phases.svg")).unwrap();
    assert!(figure.contains("rank 0") && figure.contains("rank 1"), "the bars say whose they are");
}

#[test]
fn benchmarks_report_every_rank_and_the_one_that_limits_all() {
    let tiny = ["--device", "cpu", "--preset", "tiny", "--threads", "1", "--version", "v1"];
    let cases: [(&str, &[&str], &str); 3] = [
        ("latency", &["--lengths", "4,8", "-r", "2", "--warmup", "1"], "generation_time"),
        ("memory", &["--lengths", "4,8", "-r", "1"], "peak"),
        ("capacity", &["--search", "account", "--budget", "20MiB"], "batch"),
    ];
    for (command, more, quantity) in cases {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        merged_benchmark(at, 3, &[&[command], &tiny[..], more].concat());
        let shown = ok(&kprof(at, &[command, "--load", "run.jsonl"]));
        for rank in 0..3 {
            assert!(shown.contains(&format!("rank {rank} of 3 by torchrun, host ")), "{shown}");
        }
        assert!(
            shown.contains("3 of 3 ranks by torchrun: ") && shown.contains("ranks are not pooled"),
            "{shown}"
        );
        let all = json(at, &[command, "--load", "run.jsonl", "--json"]);
        assert_eq!((&all["figures"]["quantity"], &all["ranks"][2]["rank"]), (&quantity.into(), &2.into()));
        for rank in 0..3 {
            let name = format!("run.jsonl@{rank}");
            let alone = json(at, &[command, "--load", &name, "--json"]);
            assert_eq!(all["reports"][rank], alone, "{name}");
        }
        for row in all["figures"]["rows"].as_array().expect("rows") {
            let values: Vec<f64> =
                row["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            let mean = values.iter().sum::<f64>() / 3.0;
            let most = values.iter().copied().fold(f64::MIN, f64::max);
            assert!((row["max_over_mean"].as_f64().unwrap() - most / mean).abs() < 1e-12, "{row}");
            match row["worst"].as_u64() {
                Some(rank) => assert_eq!(values[rank as usize], most, "{row}"),
                None => assert!(values.iter().all(|v| *v == most), "{row}"),
            }
        }
        let csv = ok(&kprof(at, &[command, "--load", "run.jsonl", "--export-csv", "-"]));
        assert!(csv.starts_with("rank,version,") && csv.lines().any(|l| l.starts_with("2,v1,")), "{csv}");
        let markdown = ok(&kprof(at, &[command, "--load", "run.jsonl", "--export-markdown", "-"]));
        assert!(markdown.contains("| max/mean |"), "{markdown}");
        let (code, error) = failure(at, &[command, "--load", "run.jsonl", "--export-jsonl", "x.jsonl"]);
        assert_eq!((code, error.contains("--load run.jsonl@RANK")), (Some(2), true), "{error}");
        let (code, error) = failure(at, &["crossover", "--load", "run.jsonl"]);
        assert_eq!((code, error.contains("none of `kprof crossover`")), (Some(1), true), "{error}");
    }
}

#[test]
fn crossovers_of_ranks_stand_beside_each_other_with_the_slowest_at_every_context() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let args = [
        "crossover",
        "v1",
        "v2",
        "--device",
        "cpu",
        "--preset",
        "tiny",
        "--threads",
        "1",
        "--contexts",
        "8,16",
    ];
    let more = ["--batches", "1", "--refine", "0", "--steps", "2", "-r", "2", "--warmup", "1"];
    merged_benchmark(at, 2, &[&args[..], &more].concat());
    // Decode steps of rank 1 take a million times as long, so that which rank is the slowest is no chance.
    altered(at, "run.jsonl", "run.jsonl", |record| {
        if record["type"] == "decode_point" && record["of_rank"] == 1 {
            record["time_s"] = (record["time_s"].as_f64().unwrap() * 1e6).into();
        }
    });
    let shown = ok(&kprof(at, &["crossover", "--load", "run.jsonl"]));
    for rank in 0..2 {
        assert!(shown.contains(&format!("rank {rank} of 2 by torchrun, host ")), "{shown}");
    }
    assert!(
        shown.contains("2 of 2 ranks by torchrun: time of a decode step")
            && shown.contains("ranks are not pooled"),
        "{shown}"
    );
    let all = json(at, &["crossover", "--load", "run.jsonl", "--json"]);
    for rank in 0..2 {
        let alone = json(at, &["crossover", "--load", &format!("run.jsonl@{rank}"), "--json"]);
        assert_eq!(all["reports"][rank], alone, "rank {rank}");
    }
    assert_eq!(all["figures"]["quantity"], "step_time");
    let rows = all["figures"]["rows"].as_array().expect("rows");
    // Two versions at two contexts.
    assert_eq!(rows.len(), 4, "{rows:?}");
    for row in rows {
        let values: Vec<f64> =
            row["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        assert!(values[1] > 10.0 * values[0], "{row}");
        assert_eq!(row["worst"], 1, "{row}");
        let expected = values[1] / ((values[0] + values[1]) / 2.0);
        assert!((row["max_over_mean"].as_f64().unwrap() - expected).abs() < 1e-12, "{row}");
    }
    let csv = ok(&kprof(at, &["crossover", "--load", "run.jsonl", "--export-csv", "-"]));
    assert!(csv.starts_with("rank,") && csv.lines().any(|line| line.starts_with("1,")), "{csv}");
    let (code, error) = failure(at, &["latency", "--load", "run.jsonl"]);
    assert_eq!((code, error.contains("none of `kprof latency`")), (Some(1), true), "{error}");
}

#[test]
fn a_rank_that_ended_early_is_said_to_have_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let tiny = ["latency", "--device", "cpu", "--preset", "tiny", "--threads", "1", "--version", "v1"];
    merged_benchmark(at, 2, &[&tiny[..], &["--lengths", "4", "-r", "2", "--warmup", "1"]].concat());
    let own = std::fs::read_to_string(at.join("run.rank1.jsonl")).unwrap();
    std::fs::write(at.join("run.rank1.jsonl"), own.lines().next().unwrap().to_string() + "\n").unwrap();
    ok(&kprof(at, &["merge", "run.rank0.jsonl", "run.rank1.jsonl", "--partial", "-o", "cut.jsonl"]));
    let shown = ok(&kprof(at, &["latency", "--load", "cut.jsonl"]));
    assert!(shown.contains("note: rank 1 has nothing to report") && shown.contains("n/a"), "{shown}");
    let json = json(at, &["latency", "--load", "cut.jsonl", "--json"]);
    assert!(json["reports"][1].is_null() && json["figures"]["rows"][0]["values"][1].is_null(), "{json}");
    assert!(json["figures"]["rows"][0]["max_over_mean"].is_null());
}

#[test]
fn a_baseline_of_several_ranks_is_held_against_rank_by_rank() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // Six repetitions: enough for verdicts.
    merged_benchmark(at, 2, &[&FAKE[..8], &["-r", "6"]].concat());
    std::fs::rename(at.join("run.jsonl"), at.join("main.jsonl")).unwrap();
    ok(&kprof(at, &["phase", "--load", "main.jsonl", "--save-baseline", "main"]));
    assert_eq!(
        std::fs::read_to_string(at.join("profiles/baselines/main.jsonl")).unwrap(),
        std::fs::read_to_string(at.join("main.jsonl")).unwrap()
    );
    on_day(at, 2, 1.2, 1);
    let output =
        kprof(at, &["regress", "day2.jsonl", "--baseline", "main", "--github", "--export-junit", "j.xml"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{shown}{}", text(&output.stderr));
    // Two versions, three durations each, of two ranks.
    assert!(text(&output.stderr).contains("6 confirmed regressions"), "{}", text(&output.stderr));
    for (words, times) in
        [("\nslower   rank 1 v", 6), ("\nsame     rank 0 v", 6), ("rank 0 v0 decode: 0.0 % time", 1)]
    {
        assert_eq!(shown.matches(words).count(), times, "{words}: {shown}");
    }
    assert!(
        shown.contains("slowest rank: v1 decode: ") && shown.contains("(rank 1), +20.0 % time"),
        "{shown}"
    );
    // Ranks do different work: none of them beats another's version.
    let trade_off =
        shown.split("trade-off of").nth(1).expect("a table").split("\n\n").next().expect("its rows");
    assert_eq!(trade_off.matches("main.jsonl@0").count(), 2, "{trade_off}");
    assert!(trade_off.lines().all(|row| !(row.contains("@0:") && row.contains("@1:"))), "{trade_off}");
    assert_eq!(shown.matches("::error title=kprof regress::slower").count(), 6);
    let junit = std::fs::read_to_string(at.join("j.xml")).unwrap();
    assert!(junit.contains("name=\"rank 1 v1 decode\"") && junit.contains("tests=\"12\""), "{junit}");

    // One rank is held against itself, whether named or in a file of its own.
    for (name, code) in
        [("day2.jsonl@0", 0), ("day2.jsonl@1", 3), ("run.rank1.jsonl", 0), ("day2.jsonl@1:v1", 3)]
    {
        let output = kprof(at, &["regress", name, "--baseline", "main"]);
        assert_eq!(output.status.code(), Some(code), "{name}: {}", text(&output.stderr));
        assert!(!text(&output.stdout).contains("slowest rank"), "{}", text(&output.stdout));
    }
    ok(&kprof(at, &[&FAKE[..], &["-q", "-o", "alone.jsonl"]].concat()));
    let (code, error) = failure(at, &["regress", "alone.jsonl", "--baseline", "main"]);
    let said = "main.jsonl has the ranks 0, 1 and alone.jsonl the ranks none";
    assert_eq!((code, error.contains(said)), (Some(2), true), "{error}");
    // One rank as a baseline, as its own file was.
    ok(&kprof(at, &["phase", "--load", "main.jsonl@1", "--save-baseline", "one"]));
    assert_eq!(
        std::fs::read_to_string(at.join("profiles/baselines/one.jsonl")).unwrap(),
        std::fs::read_to_string(at.join("run.rank1.jsonl")).unwrap()
    );
    ok(&kprof(at, &["regress", "main.jsonl@1", "--baseline", "one"]));
    let (code, error) = failure(at, &["phase", "--load", "alone.jsonl", "--add-to-baseline", "main"]);
    assert_eq!(
        (code, error.contains("is of several ranks, and processes are added to one run")),
        (Some(2), true),
        "{error}"
    );
}

#[test]
fn a_history_is_of_one_rank_and_a_run_is_in_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    merged_benchmark(at, 2, &[&FAKE[..8], &["-r", "6"]].concat());
    std::fs::rename(at.join("run.jsonl"), at.join("main.jsonl")).unwrap();
    // Ranks of one launch differ, and that is no change of either.
    for (day, factor) in [(1, 1.0), (2, 1.0), (3, 1.5)] {
        on_day(at, day, factor, 1);
        slower(at, &format!("day{day}.jsonl"), 3.0, 0);
    }
    let args = ["history", "day3.jsonl", "day1.jsonl", "day2.jsonl"];
    let shown = ok(&kprof(at, &args));
    assert_eq!(shown.matches("slower since day3.jsonl@1: rank 1 v").count(), 6, "{shown}");
    // Rank 0 is the slowest of every launch, and did not change: nobody waits for rank 1.
    assert_eq!(shown.matches(" since ").count(), 7, "six lines and a heading: {shown}");
    assert_eq!(shown.matches("slowest (0)").count(), 6, "{shown}");
    let series = json(at, &[&args[..], &["--export-json", "-"]].concat());
    let series = series["series"].as_array().unwrap();
    assert_eq!((series.len(), &series[0]["rank"], &series[11]["rank"]), (12, &0.into(), &1.into()));
    let csv = ok(&kprof(at, &[&args[..], &["--export-csv", "-"]].concat()));
    assert!(
        csv.lines().next().unwrap().ends_with(",rank") && csv.lines().last().unwrap().ends_with(",1"),
        "{csv}"
    );

    // The files that were merged lie beside the merged one: they are the same runs.
    let shown =
        ok(&kprof(at, &["history", "main.jsonl", "day1.jsonl", "run.rank0.jsonl", "run.rank1.jsonl"]));
    assert!(shown.contains("left out: run.rank0.jsonl, the same run as main.jsonl@0"), "{shown}");
    ok(&kprof(at, &[&FAKE[..], &["-q", "-o", "alone.jsonl"]].concat()));
    let shown = ok(&kprof(at, &["history", "day1.jsonl", "day2.jsonl", "alone.jsonl"]));
    assert!(shown.contains("left out: alone.jsonl, without a run before it"), "{shown}");
}

#[test]
fn a_history_of_launches_has_the_slowest_rank_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    merged_benchmark(at, 2, &[&FAKE[..8], &["-r", "6"]].concat());
    std::fs::rename(at.join("run.jsonl"), at.join("main.jsonl")).unwrap();
    // Rank 1 becomes the slowest, and then slower still.
    for (day, factor) in [(1, 1.0), (2, 1.5), (3, 3.0)] {
        on_day(at, day, factor, 1);
        slower(at, &format!("day{day}.jsonl"), 1.2, 0);
    }
    let args = ["history", "day2.jsonl", "day1.jsonl", "day3.jsonl"];
    let shown = ok(&kprof(at, &args));
    for (words, times) in [
        ("another rank since day2.jsonl: slowest rank v", 6),
        // 1.5 over 1.2.
        ("slowest rank v1 decode +25.0 % time, rank 1 after rank 0", 1),
        ("slower since day3.jsonl: slowest rank v", 6),
        ("slowest rank v1 decode +100.0 % time, rank 1 (2026-01-03", 1),
        ("slowest (1)", 6),
    ] {
        assert_eq!(shown.matches(words).count(), times, "{words}: {shown}");
    }
    let all = json(at, &[&args[..], &["--export-json", "-"]].concat());
    let slowest = all["slowest"].as_array().expect("a list");
    assert_eq!(slowest.len(), 6);
    for series in slowest {
        let changes = series["changes"].as_array().expect("a list");
        let files: Vec<&str> = changes.iter().map(|c| c["file"].as_str().unwrap()).collect();
        assert_eq!(files, ["day2.jsonl", "day3.jsonl"]);
        assert!(changes[0]["change"].is_null() && changes[1]["change"]["verdict"] == "slower", "{series}");
        for (change, factor) in changes.iter().zip([1.25, 2.0]) {
            let ratio = change["new_s"].as_f64().unwrap() / change["old_s"].as_f64().unwrap();
            assert!((ratio - factor).abs() < 1e-9, "{change}");
        }
    }
    // A launch of which a rank is missing says nothing of the slowest.
    let files = ["run.rank0.jsonl", "--partial", "-o", "part.jsonl"];
    ok(&kprof(at, &[&["merge"], &files[..]].concat()));
    let shown = ok(&kprof(at, &["history", "part.jsonl", "day1.jsonl", "day2.jsonl"]));
    let said = "left out: part.jsonl from the history of the slowest rank: it lacks a rank";
    assert_eq!((shown.matches("slowest rank v").count(), shown.contains(said)), (6, true), "{shown}");
    // One rank of several files is no launch.
    let shown = ok(&kprof(at, &["history", "day1.jsonl@1", "day2.jsonl@1"]));
    assert!(!shown.contains("slowest"), "{shown}");
}

#[test]
fn perplexities_of_ranks_stand_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let args = ["perplexity", "--preset", "grammar", "--threads", "1", "--version", "v1", "-n", "64"];
    merged_benchmark(at, 2, &args);
    let shown = ok(&kprof(at, &["perplexity", "--load", "run.jsonl"]));
    assert!(shown.contains("rank 1 of 2 by torchrun") && shown.contains("all alike"), "{shown}");
    let all = json(at, &["perplexity", "--load", "run.jsonl", "--json"]);
    let row = &all["figures"]["rows"][0];
    assert_eq!((&row["values"][0], &row["max_over_mean"]), (&row["values"][1], &1.0.into()), "{row}");
    ok(&kprof(at, &["report", "run.jsonl", "-o", "report.html"]));
    let page = std::fs::read_to_string(at.join("report.html")).unwrap();
    assert!(page.contains("2 of 2 ranks by torchrun: perplexity"), "the page has the ranks of the benchmark");
}
