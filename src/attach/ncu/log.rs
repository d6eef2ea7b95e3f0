//! Reads ncu's log: how far it is, and what went wrong. Its exit code tells neither: it is 0 when nothing was profiled.
//!
//! What is wrong is data, in `problems.toml`: what ncu says, the cause, the fix.

use super::permission::Permission;
use crate::profile::{Finding, FindingCode};
use regex::Regex;
use serde::Deserialize;
use std::fmt;
use std::sync::OnceLock;

const PROBLEMS: &str = include_str!("problems.toml");

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProblemsFile {
    problem: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    when: String,
    cause: String,
    #[serde(default)]
    fix: String,
    #[serde(default)]
    refused: bool,
    #[serde(default)]
    harmless: bool,
}

/// The rows, each with its expression.
fn rows() -> &'static [(Regex, Row)] {
    static ROWS: OnceLock<Vec<(Regex, Row)>> = OnceLock::new();
    ROWS.get_or_init(|| {
        // OK because a test reads them all; without them a log is shown as it is.
        let file: ProblemsFile = toml::from_str(PROBLEMS).unwrap_or_default();
        file.problem.into_iter().filter_map(|row| Some((Regex::new(&row.when).ok()?, row))).collect()
    })
}

/// What went wrong, by ncu's own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What happened.
    pub cause: String,
    /// What to do about it; empty where that is for the user to judge.
    pub fix: String,
    /// The line that says so.
    pub line: String,
    /// Whether the machine refused: no other filter or program would help.
    pub refused: bool,
    /// Whether results are right in spite of it.
    pub harmless: bool,
    /// Its place in the table: the lower, the better it explains.
    rank: usize,
    /// The kernels that ran, where ncu lists them.
    available: Vec<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (ncu: {})", self.cause, self.line)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        if self.available.is_empty() {
            Ok(())
        } else {
            write!(f, "; kernels that ran: {}", self.available.join(", "))
        }
    }
}

impl Problem {
    /// As a finding beside results.
    pub fn finding(&self) -> Finding {
        let message = format!("{} (ncu: {})", self.cause, self.line);
        let finding = Finding::new(FindingCode::ProfilerMessage, "ncu", message);
        if self.fix.is_empty() { finding } else { finding.with_remedy(self.fix.clone()) }
    }
}

/// Everything in a log that is wrong, what explains best first, each once.
///
/// `permission` is what the fix of a refusal says; it is what this machine's check found.
pub fn problems(log: &str, permission: &Permission) -> Vec<Problem> {
    let mut found: Vec<Problem> = Vec::new();
    for line in log.lines().map(str::trim) {
        let Some(problem) = problem(line, permission) else { continue };
        if !found.iter().any(|p| p.cause == problem.cause) {
            found.push(problem);
        }
    }
    found.sort_by_key(|p| p.rank);
    for problem in found.iter_mut().filter(|p| p.line.contains("No kernels were profiled")) {
        problem.available = available(log);
    }
    found
}

fn problem(line: &str, permission: &Permission) -> Option<Problem> {
    let text = message(line).unwrap_or(line);
    let known = rows().iter().enumerate().find_map(|(rank, (regex, row))| {
        let captures = regex.captures(text)?;
        let expand = |template: &str| {
            let mut out = String::new();
            captures.expand(template, &mut out);
            out
        };
        let fix = if row.fix == "PERMISSION" { permission.to_string() } else { expand(&row.fix) };
        let (cause, line) = (expand(&row.cause), text.to_string());
        let (refused, harmless) = (row.refused, row.harmless);
        Some(Problem { cause, fix, line, refused, harmless, rank, available: Vec::new() })
    });
    // An error that no row has is shown as it is.
    known.or_else(|| {
        let text = line.strip_prefix("==ERROR==")?.trim();
        let cause = "ncu reported an error".to_string();
        let line = text.to_string();
        let rank = rows().len();
        Some(Problem {
            cause,
            fix: String::new(),
            line,
            refused: false,
            harmless: false,
            rank,
            available: Vec::new(),
        })
    })
}

/// What follows `==ERROR==` and the like.
fn message(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("==")?;
    rest.split_once("==").map(|(_, text)| text.trim())
}

/// The names under `Available Kernels:`, each numbered.
fn available(log: &str) -> Vec<String> {
    let after = log.lines().skip_while(|l| !l.trim_start().starts_with("Available Kernels")).skip(1);
    let numbered = after.map_while(|l| l.trim().split_once(". "));
    let is_number = |n: &str| n.bytes().all(|b| b.is_ascii_digit());
    numbered.filter(|(n, _)| is_number(n)).map(|(_, name)| name.to_string()).collect()
}

/// How far ncu is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Kernels begun.
    pub kernels: usize,
    /// The last one's name.
    pub kernel: String,
    /// How far that one is, in per cent.
    pub percent: u32,
    /// Passes over it, once known.
    pub passes: Option<u32>,
    /// Processes connected so far.
    pub processes: usize,
}

/// Follows a log while it is written: lines come in pieces.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    line: String,
    progress: Progress,
}

impl Follower {
    /// Takes the next piece; whether anything moved.
    pub fn feed(&mut self, piece: &str) -> bool {
        let before = self.progress.clone();
        for part in piece.split_inclusive('\n') {
            self.line.push_str(part);
            self.read();
            if self.line.ends_with('\n') {
                self.line.clear();
            }
        }
        before != self.progress
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// `==PROF== Profiling "name" - 3: 0%....50%....100% - 8 passes`, or its beginning; newer ones have ` - 3 (4/10): `.
    fn read(&mut self) {
        let Some(text) = self.line.trim_start().strip_prefix("==PROF==").map(str::trim) else { return };
        if text.starts_with("Connected to process") && self.line.ends_with('\n') {
            self.progress.processes += 1;
        }
        let Some(rest) = text.strip_prefix("Profiling \"") else { return };
        // The name may hold quotes: the last one before the number ends it.
        let Some((name, rest)) = rest.rsplit_once("\" - ") else { return };
        let Some((index, rest)) = rest.split_once(':') else { return };
        let Some(index) = index.split_whitespace().next().and_then(|n| n.parse::<usize>().ok()) else {
            return;
        };
        self.progress.kernels = self.progress.kernels.max(index + 1);
        self.progress.kernel = name.to_string();
        let numbers = rest.split('%').filter_map(|p| p.rsplit('.').next()?.trim().parse().ok());
        self.progress.percent = numbers.fold(0, |_, n| n);
        let passes = rest.rsplit_once(" - ").and_then(|(_, p)| p.split_whitespace().next()?.parse().ok());
        self.progress.passes = passes.or(self.progress.passes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(log: &str) -> Problem {
        problems(log, &Permission::default()).remove(0)
    }

    #[test]
    fn every_row_has_an_expression_that_compiles_and_a_cause() {
        let file: ProblemsFile = toml::from_str(PROBLEMS).unwrap();
        assert_eq!(file.problem.len(), rows().len());
        assert!(file.problem.iter().all(|p| !p.cause.is_empty() && (p.harmless || !p.fix.is_empty())));
    }

    #[test]
    fn what_real_logs_say_is_explained_by_the_line_that_explains_most() {
        let log = "==PROF== Connected to process 5 (/usr/bin/python3)\n\
                   ==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance \
                   Counters on the target device 0. For instructions see https://developer.nvidia.com/ERR_NVGPUCTRPERM\n\
                   ==PROF== Disconnected from process 5\n==WARNING== No kernels were profiled.\n";
        let problem = first(log);
        assert!(problem.refused && problem.line.starts_with("ERR_NVGPUCTRPERM"));
        assert!(problem.to_string().contains("NVreg_RestrictProfilingToAdminUsers=0"));
        // As 2022.3 writes it on a machine without a GPU.
        let log = "==ERROR== Nsight Compute failed to connect to the CUDA driver (stub libcuda.so[.1] on path?).\n\
                   ==ERROR== The application returned an error code (1).\n==WARNING== No kernels were profiled.\n\
                   ==WARNING== Profiling kernels launched by child processes requires the --target-processes all option.\n";
        assert!(first(log).refused && first(log).fix.contains("--gpus all"));
        assert_eq!(problems(log, &Permission::default()).len(), 4);
        let problem = first("unrecognised option '--bogus'\n\nUse --help for further details.\n");
        assert!(problem.cause.contains("option") && !problem.refused);
        let problem = first("==ERROR== Failed to find metric sm__nonsense.sum\n");
        assert!(problem.cause.ends_with("no metric sm__nonsense.sum"), "{problem}");
        let problem = first(
            "==ERROR== The application returned an error code (9).\n==WARNING== No kernels were profiled.\n",
        );
        assert_eq!(problem.cause, "the program ended with exit code 9");
        assert!(first("==ERROR== The application returned an error code (11).\n").cause.contains("crashed"));
    }

    #[test]
    fn kernels_that_ran_are_listed_when_the_filter_matched_none() {
        let log = "==WARNING== No kernels were profiled.\nAvailable Kernels:\n1. gemm\n2. softmax, 2\nbye\n";
        assert!(first(log).to_string().ends_with("kernels that ran: gemm, softmax, 2"));
    }

    #[test]
    fn an_error_that_nobody_knows_is_shown_and_a_sound_log_has_none() {
        assert!(first("==ERROR== Something new.\n").to_string().contains("(ncu: Something new.)"));
        let log = "==PROF== Connected to process 5 (/x)\n==PROF== Profiling \"k\" - 0: 0%....100% - 3 passes\n\
                   loss 0.1, error 0\n==PROF== Report: /tmp/x.ncu-rep\n";
        assert_eq!(problems(log, &Permission::default()), []);
    }

    #[test]
    fn progress_is_read_from_pieces_of_lines() {
        let mut follower = Follower::default();
        assert!(follower.feed("==PROF== Connected to process 5 (/x)\n"));
        assert!(follower.feed("==PROF== Profiling \"void gemm<\"a\" - 1>\" - 4: 0%...."));
        let p = follower.progress();
        assert_eq!((p.kernels, p.percent, p.passes, p.processes), (5, 0, None, 1));
        assert!(follower.feed("50%...."));
        assert_eq!(follower.progress().percent, 50);
        assert!(follower.feed("100% - 8 passes\n"));
        let p = follower.progress();
        assert_eq!((p.kernel.as_str(), p.percent, p.passes), ("void gemm<\"a\" - 1>", 100, Some(8)));
        assert!(!follower.feed("the program prints\n"));
        assert!(follower.feed("==PROF== Profiling \"k\" - 5 (6/10): 0%....50%"));
        assert_eq!((follower.progress().kernels, follower.progress().percent), (6, 50));
    }
}
