//! What a GPU is asked for between the events that steps are timed by, behind the stand-in for the driver, which tells it line
//! by line: cold caches, and what must be in no time.

use crate::cuda::{kprof, ran, text};
use std::path::Path;

/// A measurement's log in the parts that events divide it into, and what was said.
struct Log {
    parts: Vec<Vec<String>>,
    said: String,
}

/// The kernels that a step begins and ends with.
const FIRST: &str = "kprof_embed";
const LAST: &str = "kprof_argmax";

impl Log {
    /// Of `kprof phase` of tiny with `args`; `None` where there is no stand-in.
    fn of(args: &[&str], library: Option<&Path>) -> Option<Self> {
        let mut command = kprof("log")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("log");
        let base = ["phase", "--device", "cuda", "--preset", "tiny", "-p", "9", "-n", "4", "-r", "1"];
        let quiet = ["--no-ceilings", "--no-telemetry", "-q", "-o", "run.jsonl"];
        command.env("KPROF_STAND_IN_LOG", &file).current_dir(folder.path());
        if let Some(library) = library {
            command.env("KPROF_CUBLASLT", library);
        }
        let said = text(&ran(command.args(base).args(quiet).args(args)).stdout);
        let lines = std::fs::read_to_string(file).expect("it was told");
        let mut parts = vec![Vec::new()];
        for line in lines.lines() {
            match line {
                "event" => parts.push(Vec::new()),
                other => parts.last_mut().expect("one at least").push(other.to_string()),
            }
        }
        Some(Self { parts, said })
    }

    fn count(&self, what: impl Fn(&str) -> bool) -> usize {
        self.parts.iter().flatten().filter(|line| what(line)).count()
    }
}

fn is_of_a_step(line: &str) -> bool {
    line.starts_with("kprof_") && line != "kprof_probe_read" || line == "stand_in_gemm"
}

#[test]
fn cold_caches_are_flushed_before_every_step_and_outside_of_its_events() {
    // Four times the 1 MiB of L2.
    let flush = ["memset 4194304".to_string(), "kprof_probe_read".to_string()];
    for exec in ["eager", "graph"] {
        let args = ["--version", "v0", "v1", "--cache", "cold", "--warmup", "1", "--exec", exec];
        let Some(log) = Log::of(&args, None) else { return };
        // A warm-up and the twins of two versions, four steps each; once more when the memory is made.
        let steps = log.count(|line| line.starts_with(FIRST));
        assert!(steps >= 2 * 3 * 4 && steps == log.count(|line| line.starts_with(LAST)), "{steps}");
        assert_eq!(log.count(|line| line == flush[0]), steps + 1);
        assert_eq!(log.count(|line| line == flush[1]), steps);
        for (at, part) in log.parts.iter().enumerate() {
            let flushes = part.contains(&flush[1]);
            assert!(!flushes || !part.iter().any(|line| is_of_a_step(line)), "{exec}: {part:?}");
            if part.iter().any(|line| line.starts_with(FIRST)) {
                // The part before a step, empty ones left out, is its flush and nothing else.
                let before = log.parts[..at].iter().rev().find(|p| !p.is_empty()).expect("a flush");
                assert!(before.ends_with(&flush), "{exec}: {before:?}");
            }
        }
        let cold = "caches cold: flushed before every step, by 4.00 MiB streamed through them";
        assert!(log.said.contains(cold), "{}", log.said);
    }
    let hot = Log::of(&["--version", "v1", "--warmup", "1"], None).expect("as before");
    assert_eq!((hot.count(|line| line == flush[0]), hot.count(|line| line == flush[1])), (0, 0));
    assert!(!hot.said.contains("caches cold"));
}

#[test]
fn heuristics_are_asked_before_the_step_that_needs_them_even_before_the_very_first() {
    let Some(library) = crate::cublaslt::library() else { return };
    // Without a cache every step has other shapes, and its head has two rows, which no library multiplies: four linears of a
    // block, four steps. Nine sequences have products of many rows in decode steps too: a block's and the head's of a prompt,
    // then a block's; layers that share a cache compute Q alone, which is one shape more of each.
    let versions: [(&[&str], &str, usize, usize); 2] =
        [(&["v0"], "2", 4 * 4, 4 * 4), (&["v1", "v3"], "9", 5 + 4 + 2, 4 * 4 + 1)];
    for (versions, batch, shapes, products) in versions {
        let schedule = ["--warmup", "0", "-b", batch, "--version"];
        let log = Log::of(&[&schedule, versions].concat(), Some(library)).expect("as before");
        let of_steps = log.parts.iter().filter(|part| part.iter().any(|line| is_of_a_step(line)));
        let asking: Vec<&Vec<String>> =
            of_steps.filter(|p| p.iter().any(|line| line == "heuristic")).collect();
        assert!(asking.is_empty(), "{versions:?}: {asking:?}");
        assert_eq!(log.count(|line| line == "heuristic"), shapes, "{versions:?}");
        // What is rehearsed is not computed: twins, steps of each version, and what a step multiplies.
        assert_eq!(
            log.count(|line| line == "stand_in_gemm"),
            2 * 4 * versions.len() * products,
            "{versions:?}"
        );
    }
}
