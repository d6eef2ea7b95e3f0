//! Figures and reports of what the commands themselves record: every benchmark is run once, small, by the real program.

use super::{SIZES, collision, options};
use assert_cmd::Command;
use kprof::profile::{Run, read_run};
use kprof::render::plot::{FIGURES, Figure, FigureInput, Theme};
use kprof::roofline::Ceilings;
use std::path::Path;
use std::process::Output;
use std::sync::OnceLock;

const TINY: [&str; 3] = ["--preset", "tiny", "--quick"];

fn kprof(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
    command.current_dir(folder).args(args).output().expect("kprof runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with a run file of each benchmark, and of `kprof phase` at two batches.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let record = || {
        let folder = tempfile::tempdir().unwrap();
        let record = |file: &str, args: &[&str]| {
            let output = kprof(folder.path(), &[args, &["-q", "-o", file]].concat());
            assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        };
        let tiny = |args: &[&'static str]| [args, &TINY[..]].concat();
        record("latency.jsonl", &tiny(&["latency", "--version", "v0-v2"]));
        record("memory.jsonl", &tiny(&["memory", "--version", "v0-v4"]));
        record("capacity.jsonl", &tiny(&["capacity", "--version", "v0-v2"]));
        record("crossover.jsonl", &tiny(&["crossover", "v1", "v2"]));
        record("perplexity.jsonl", &["perplexity", "--quick"]);
        record("phase.jsonl", &tiny(&["phase", "--version", "v0-v2", "-n", "6"]));
        record("again.jsonl", &tiny(&["phase", "--version", "v0-v2", "-n", "6"]));
        record("batch.jsonl", &tiny(&["phase", "--version", "v1", "v2", "-b", "8", "-n", "6"]));
        record(
            "grammar.jsonl",
            &["phase", "--preset", "grammar", "--version", "v1-v4", "--quick", "-n", "4"],
        );
        folder
    };
    FOLDER.get_or_init(record).path()
}

fn read(names: &[&str]) -> Vec<Run> {
    names.iter().map(|name| read_run(&folder().join(name)).unwrap()).collect()
}

/// A figure of these files, none of whose labels covers another at any size.
fn drawn(figure: &str, names: &[&str]) -> Figure {
    let input = FigureInput::new(read(names), &[], Ceilings::default());
    let kind = FIGURES.iter().find(|f| f.name == figure).unwrap();
    for size in SIZES {
        let figure = kind.draw(&input, &options(Theme::Light, size)).unwrap_or_else(|e| panic!("{e}"));
        if let Some(what) = collision(&figure) {
            panic!("{} at {size:?}: {what}", kind.name);
        }
    }
    kind.draw(&input, &options(Theme::Light, None)).unwrap()
}

fn says(figure: &Figure, what: &str) -> bool {
    figure.texts.iter().any(|t| t.text.contains(what))
}

#[test]
fn each_benchmark_s_figure_is_drawn_of_its_own_records() {
    for (figure, file, said) in [
        ("latency", "latency.jsonl", "output tokens T"),
        ("memory", "memory.jsonl", "caches, allocated"),
        ("capacity", "capacity.jsonl", "largest batch [sequences]"),
        ("crossover", "crossover.jsonl", "v1 / v2 [x]"),
        ("perplexity", "perplexity.jsonl", "perplexity over v1's, less 1 [%]"),
    ] {
        let found = drawn(figure, &[file]);
        assert!(says(&found, said), "{figure}: {:?}", found.texts);
        // The other benchmarks' files have no part in it, and are not in its provenance.
        let out = format!("out-{figure}");
        let all = [
            "phase.jsonl",
            "latency.jsonl",
            "memory.jsonl",
            "capacity.jsonl",
            "crossover.jsonl",
            "perplexity.jsonl",
        ];
        let output = kprof(folder(), &[&["plot"][..], &all, &["--figure", figure, "--out", &out]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let svg = std::fs::read_to_string(folder().join(&out).join(format!("{figure}.svg"))).unwrap();
        let named = all.iter().filter(|name| svg.contains(**name)).collect::<Vec<_>>();
        assert_eq!(named, [&file], "{figure}");
    }
}

#[test]
fn the_trade_off_takes_times_of_one_run_and_perplexities_of_another() {
    let found = drawn("pareto", &["grammar.jsonl", "perplexity.jsonl"]);
    assert!(says(&found, "perplexity [per token]") && says(&found, "time of a decode step (TPOT)"));
    assert!(["v1: ", "v2: ", "v3: ", "v4: "].iter().all(|v| says(&found, v)), "{:?}", found.texts);
    let alone = drawn("pareto", &["grammar.jsonl"]);
    assert!(says(&alone, "quality was not scored") && !says(&alone, "perplexity"), "{:?}", alone.texts);
}

#[test]
fn rooflines_go_along_the_batch_or_the_context_whichever_differs() {
    let batches = drawn("roofline-trajectory", &["phase.jsonl", "batch.jsonl"]);
    assert!(says(&batches, "Decode steps as the batch grows"), "{:?}", batches.texts);
    let contexts = drawn("roofline-trajectory", &["crossover.jsonl"]);
    assert!(says(&contexts, "Decode steps as the context grows"), "{:?}", contexts.texts);
    assert!(says(&contexts, "v2 batch 4 at 64"), "{:?}", contexts.texts);
    let changed = drawn("roofline-changes", &["phase.jsonl", "again.jsonl"]);
    assert!(says(&changed, "arrows: from phase.jsonl to a later file"), "{:?}", changed.texts);
}

#[test]
fn what_records_a_missing_figure_is_named() {
    for (figure, command) in [
        ("perplexity", "kprof perplexity --version v0-v4 -o quality.jsonl"),
        ("crossover", "kprof crossover v1 v2 -o crossover.jsonl"),
        ("pareto", "kprof perplexity --version v1-v4"),
    ] {
        let output = kprof(folder(), &["plot", "memory.jsonl", "--figure", figure, "--out", "none"]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("record them with: ") && stderr.contains(command), "{stderr}");
    }
}

/// The sentences of a page.
fn verdict(args: &[&str]) -> Vec<String> {
    let output = kprof(folder(), &[&["report"], args, &["-o", "-"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let html = text(&output.stdout);
    let list = html.split("<ul class=\"verdict\">").nth(1).unwrap().split("</ul>").next().unwrap();
    list.split("<li>").skip(1).map(|s| s.split("</li>").next().unwrap().replace("&#39;", "'")).collect()
}

#[test]
fn a_report_says_in_words_what_each_benchmark_found() {
    for (file, said) in [
        ("latency.jsonl", "x as fast as v0"),
        ("memory.jsonl", " in caches ("),
        ("capacity.jsonl", "sequences of 64 tokens fit into"),
        ("crossover.jsonl", "Batch 1: "),
        ("perplexity.jsonl", "v3 vs v1: perplexity +"),
    ] {
        let all = verdict(&[file]);
        assert!(all.iter().any(|s| s.contains(said)), "{file}: {all:#?}");
        assert!(
            !all.iter().any(|s| s.contains("hold nothing") || s.contains("to the first token")),
            "{all:#?}"
        );
    }
}

#[test]
fn a_report_of_two_runs_begins_with_what_changed_and_leaves_out_what_cannot_be_compared() {
    let all = verdict(&["phase.jsonl", "again.jsonl", "--label", "before,after"]);
    assert!(all[0].starts_with("v0 of after against v0 of before: prefill "), "{all:#?}");
    // Three repetitions bear no verdict, which is said once for all of a pair.
    assert_eq!(all[0].matches("a verdict needs 5").count(), 1, "{}", all[0]);
    let unlike = verdict(&["phase.jsonl", "batch.jsonl", "crossover.jsonl", "perplexity.jsonl"]);
    assert!(
        !unlike.iter().any(|s| s.contains(".jsonl against")
            && !s.contains(" of phase.jsonl against")
            && !s.contains(" of batch.jsonl against v1 of batch.jsonl")),
        "{unlike:#?}"
    );
    let html = text(&kprof(folder(), &["report", "phase.jsonl", "batch.jsonl", "-o", "-"]).stdout);
    assert!(
        html.contains(
            "batch.jsonl is not compared with phase.jsonl: they are unlike in batch (1 against 8)."
        )
    );
    // A perplexity of another model is none of theirs.
    assert!(!unlike.iter().any(|s| s.contains("against") && s.contains("perplexity")), "{unlike:#?}");
}

#[test]
fn the_table_of_phases_has_bars_where_there_is_room_for_them() {
    let table = |columns: &str, args: &[&str]| {
        let mut command = Command::cargo_bin("kprof").unwrap();
        command.current_dir(folder()).env("COLUMNS", columns).args(["phase", "--load", "phase.jsonl"]);
        text(&command.args(args).output().unwrap().stdout)
    };
    let (wide, ascii, narrow) = (table("120", &[]), table("120", &["--ascii"]), table("80", &[]));
    assert!(wide.contains('█') && !wide.contains('#'), "{wide}");
    assert!(ascii.contains("###") && !ascii.contains('█'), "{ascii}");
    assert!(!narrow.contains('█') && narrow.contains("attention"), "{narrow}");
    let table_lines = |text: &str| {
        text.lines().take_while(|l| !l.contains("TTFT")).skip(2).map(|l| l.chars().count()).max()
    };
    assert!(table_lines(&narrow).unwrap() <= 80 && table_lines(&wide).unwrap() <= 120, "{narrow}");
}
