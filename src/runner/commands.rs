//! `kprof compare --command`: commands of the shell, run in turns, each timed as a whole; a run that a command writes is read.

use super::{Rounds, Schedule, Turn};
use crate::profile::{Finding, ProfileError, Run, ScheduleRecord, findings_of_processes, read_run};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What stands in a command for the run file that it is to write.
pub const RUN_PLACE: &str = "{run}";
/// How much of what a command wrote last to stderr is repeated.
const SAID: usize = 600;

/// What to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Commands {
    /// The commands, the baseline first.
    pub commands: Vec<String>,
    /// A command to run before each of them, which is not timed.
    pub prepare: Option<String>,
    /// Whether a command may fail and be timed all the same.
    pub failures_count: bool,
    /// How often.
    pub schedule: Schedule,
}

/// What one command took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommandTimes {
    /// The command as given.
    pub command: String,
    /// Wall time of each round in seconds.
    pub times_s: Vec<f64>,
    /// The runs that it wrote, one process for each round; `None` where it was given no place for them.
    pub run: Option<Run>,
}

/// What commands took.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandsOutcome {
    /// By command.
    pub commands: Vec<CommandTimes>,
    /// How often they ran, and why that ended.
    pub schedule: ScheduleRecord,
    /// What a reader should know of it, and what the runs say.
    pub findings: Vec<Finding>,
}

/// Why commands could not be timed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It is no program.
    #[error("cannot run '{command}'")]
    Start {
        /// The command.
        command: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It failed.
    #[error("'{command}' failed in {} ({status}){}; --ignore-failure times it all the same", when(.round), after(.said))]
    Failed {
        /// The command.
        command: String,
        /// The round, from 0; `None` while warming up.
        round: Option<usize>,
        /// How it ended.
        status: ExitStatus,
        /// What it said last.
        said: String,
    },
    /// It wrote no run.
    #[error("'{command}' was given a place for a run ({RUN_PLACE}) and wrote none that can be read")]
    NoRun {
        /// The command.
        command: String,
        /// Why not.
        source: ProfileError,
    },
    /// A file that only this needs could not be made.
    #[error("there is no place for temporary files")]
    Temporary {
        /// Why not.
        source: std::io::Error,
    },
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
}

fn when(round: &Option<usize>) -> String {
    round.map_or("the warm-up".to_string(), |round| format!("round {}", round + 1))
}

fn after(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Runs the commands in turns, in an order that is shuffled in each round, and times each from its start to its end.
///
/// A command without characters that are special to a shell is started by itself, any other by `sh -c` (`cmd /C` on Windows),
/// whose start is in its time. It gets no input, and its output goes nowhere.
///
/// # Errors
/// When a command cannot be started, fails, or writes no run where it was given a place for one; or the user stops it.
pub fn measure_commands(
    what: &Commands,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str, Turn),
) -> Result<CommandsOutcome, CommandError> {
    let folder = tempfile::tempdir().map_err(|source| CommandError::Temporary { source })?;
    let mut times: Vec<CommandTimes> = what
        .commands
        .iter()
        .map(|command| CommandTimes {
            command: command.clone(),
            run: command.contains(RUN_PLACE).then(Run::default),
            ..CommandTimes::default()
        })
        .collect();
    let names = (1..=what.commands.len()).map(|i| format!("command {i}")).collect();
    let mut rounds = Rounds::new(what.schedule, names);
    let mut turn = |turn: Turn, times: &mut Vec<CommandTimes>| {
        let command = &what.commands[turn.lane];
        progress(command, turn);
        let place = folder.path().join(format!("{}.jsonl", turn.done));
        let once = Once { what, command, round: turn.repetition, place: &place, stop };
        let seconds = once.run()?;
        if turn.repetition.is_some() {
            times[turn.lane].times_s.push(seconds);
            once.read(&mut times[turn.lane])?;
        }
        // A run that is read needs no room any more; one that is not there needs none either.
        let _ = std::fs::remove_file(&place);
        Ok(vec![("", seconds)])
    };
    rounds.warm_up(|t| turn(t, &mut times))?;
    rounds.repeat(|t| turn(t, &mut times))?;
    let (schedule, mut findings) = rounds.finish();
    for run in times.iter().filter_map(|t| t.run.as_ref()) {
        findings.extend(findings_of_processes(&run.findings, schedule.repetitions));
    }
    Ok(CommandsOutcome { commands: times, schedule, findings })
}

/// One command in one round.
struct Once<'a> {
    what: &'a Commands,
    command: &'a str,
    round: Option<usize>,
    place: &'a Path,
    stop: &'a AtomicBool,
}

impl Once<'_> {
    /// Prepares, runs and times.
    fn run(&self) -> Result<f64, CommandError> {
        let place = self.place.display().to_string();
        if let Some(prepare) = &self.what.prepare {
            self.timed(&prepare.replace(RUN_PLACE, &place))?;
        }
        self.timed(&self.command.replace(RUN_PLACE, &place))
    }

    fn timed(&self, command: &str) -> Result<f64, CommandError> {
        let temporary = |source| CommandError::Temporary { source };
        let mut errors = tempfile::tempfile().map_err(temporary)?;
        let mut process = process(command);
        process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors.try_clone().map_err(temporary)?);
        let began = Instant::now();
        let status = process
            .status()
            .map_err(|source| CommandError::Start { command: command.to_string(), source })?;
        let seconds = began.elapsed().as_secs_f64();
        if self.stop.load(Ordering::Relaxed) {
            return Err(CommandError::Interrupted);
        }
        if status.success() || self.what.failures_count {
            return Ok(seconds);
        }
        let said = last_words(&mut errors);
        Err(CommandError::Failed { command: command.to_string(), round: self.round, status, said })
    }

    /// Adds the run that the command wrote, where it was asked to, as a further process.
    fn read(&self, times: &mut CommandTimes) -> Result<(), CommandError> {
        let Some(run) = &mut times.run else { return Ok(()) };
        let of = |source| CommandError::NoRun { command: self.command.to_string(), source };
        let written = read_run(&PathBuf::from(self.place)).map_err(of)?;
        run.complete = written.complete;
        for record in run.records_of(written) {
            run.push(record);
        }
        Ok(())
    }
}

/// What a shell gives a meaning to.
const SPECIAL: &[char] = &[
    '|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', '*', '?', '[', ']', '#', '~', '=', '%',
    '!', '{', '}', '\n',
];

fn process(command: &str) -> Command {
    let mut words = command.split_whitespace();
    if let Some(program) = words.next().filter(|_| !command.contains(SPECIAL)) {
        let mut process = Command::new(program);
        process.args(words);
        return process;
    }
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let mut process = Command::new(shell);
    process.arg(flag).arg(command);
    process
}

/// The end of what was written to stderr, as one line.
fn last_words(errors: &mut File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read cannot be repeated: the status says enough.
    let _ = errors.rewind().and_then(|()| errors.read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let skipped = line.chars().count().saturating_sub(SAID);
    line.chars().skip(skipped).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn commands(all: &[&str]) -> Commands {
        Commands {
            commands: all.iter().map(ToString::to_string).collect(),
            prepare: None,
            failures_count: false,
            schedule: Schedule { warmup: 0, ..Schedule::exactly(3, 1) },
        }
    }

    fn run(what: &Commands) -> Result<CommandsOutcome, CommandError> {
        measure_commands(what, &AtomicBool::new(false), &mut |_, _| ())
    }

    #[test]
    fn every_command_is_timed_once_in_each_round_after_its_preparation() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log").display().to_string();
        let what = Commands {
            prepare: Some(format!("echo p >> {log}")),
            ..commands(&[&format!("echo a >> {log}"), &format!("echo b >> {log}")])
        };
        let found = run(&what).unwrap();
        assert!(found.commands.iter().all(|c| c.times_s.len() == 3 && c.times_s.iter().all(|t| *t > 0.0)));
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        let order: String = log.split_whitespace().collect();
        assert_eq!(order.len(), 12);
        for round in order.as_bytes().chunks(4) {
            let round = String::from_utf8_lossy(round);
            assert!(round == "papb" || round == "pbpa", "{order}");
        }
    }

    #[test]
    fn a_command_that_fails_is_told_with_what_it_said_unless_that_is_allowed() {
        let what = commands(&["true", "echo one two >&2; exit 3"]);
        let text = run(&what).unwrap_err().to_string();
        assert!(text.contains("failed in round 1 (exit status: 3): one two; --ignore-failure"), "{text}");
        assert_eq!(run(&Commands { failures_count: true, ..what }).unwrap().commands[1].times_s.len(), 3);
        let text = run(&commands(&["no-such-program-as-this"])).unwrap_err().to_string();
        assert_eq!(text, "cannot run 'no-such-program-as-this'");
        let text = run(&commands(&["true {run}"])).unwrap_err().to_string();
        assert!(text.contains("wrote none that can be read"), "{text}");
    }
}
