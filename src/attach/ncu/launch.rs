//! Runs ncu and its program to the end, follows its log, and hands on what the program prints.

use super::command::{Output, command};
use super::error::AttachError;
use super::find::Ncu;
use super::log::{Follower, Progress};
use crate::attach::process::{Ask, signal};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often the log is looked at.
const EVERY: Duration = Duration::from_millis(50);
/// How long ncu has to write its report after it was asked to stop.
const TO_STOP: Duration = Duration::from_secs(15);
/// How long the program has to end after it was told to.
const TO_END: Duration = Duration::from_secs(5);

/// What is seen while it runs.
#[derive(Debug)]
pub enum Seen<'a> {
    /// ncu is further than before.
    Progress(&'a Progress),
    /// The program, or ncu itself, wrote this to its stderr.
    Stderr(&'a [u8]),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// The user stopped it.
    Interrupted,
    /// It took too long.
    TimedOut,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// How it ended.
    pub ending: Ending,
    /// The log, and what ncu said on stderr: its lines that begin with `==`, or all when it wrote no log.
    pub log: String,
    /// How far it came.
    pub progress: Progress,
}

/// How to run it.
pub struct Launch<'a> {
    /// Where the program's stdout goes.
    pub stdout: Stdio,
    /// When to end it.
    pub timeout: Option<Duration>,
    /// Set by another thread when the user wants to stop. Ctrl-C on a terminal reaches ncu by itself.
    pub stop: &'a AtomicBool,
    /// Is told what is seen.
    pub seen: &'a mut dyn FnMut(Seen<'_>),
}

/// Runs `ncu` with `arguments`, whose output is `output`.
///
/// # Errors
/// When it cannot be started.
pub fn launch(
    ncu: &Ncu,
    arguments: &[OsString],
    output: &Output,
    how: Launch<'_>,
) -> Result<Ended, AttachError> {
    // What another run left would be taken for this one's.
    for old in [output.results(), output.log()] {
        if old.exists() {
            std::fs::remove_file(old).map_err(|source| AttachError::Io {
                what: format!("cannot replace {}", old.display()),
                source,
            })?;
        }
    }
    let mut command = command(ncu, arguments);
    command.stdout(how.stdout).stderr(Stdio::piped());
    let failed = |source| AttachError::CannotRun { path: ncu.path.clone(), source };
    let mut child = command.spawn().map_err(failed)?;
    let stderr = read_in_background(child.stderr.take());
    let mut run = Running {
        log: LogFile::new(output.log()),
        follower: Follower::default(),
        said: Vec::new(),
        seen: how.seen,
    };
    let ending = run.follow(&mut child, &stderr, how.timeout, how.stop).map_err(failed)?;
    Ok(run.finish(ending))
}

/// Hands over a stream piece by piece; the channel closes where it ends.
fn read_in_background(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    if let Some(mut stream) = stream {
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n) = stream.read(&mut buffer) {
                if n == 0 || sender.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

struct Running<'a> {
    log: LogFile,
    follower: Follower,
    said: Vec<u8>,
    seen: &'a mut dyn FnMut(Seen<'_>),
}

impl Running<'_> {
    fn follow(
        &mut self,
        child: &mut Child,
        stderr: &Receiver<Vec<u8>>,
        timeout: Option<Duration>,
        stop: &AtomicBool,
    ) -> std::io::Result<Ending> {
        let began = Instant::now();
        let mut asked: Option<(Ending, Instant, Ask)> = None;
        loop {
            self.look(stderr);
            if let Some(status) = child.try_wait()? {
                self.drain(stderr);
                return Ok(asked.map_or(Ending::Exited(status), |(why, ..)| why));
            }
            let why = if stop.load(Ordering::Relaxed) {
                Some(Ending::Interrupted)
            } else if timeout.is_some_and(|t| began.elapsed() > t) {
                Some(Ending::TimedOut)
            } else {
                None
            };
            asked = match (asked, why) {
                (None, Some(why)) => {
                    // Ctrl-C on a terminal reached ncu already; asking twice would make it hurry.
                    if why == Ending::TimedOut || !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
                        signal(child.id(), Ask::Interrupt);
                    }
                    Some((why, Instant::now(), Ask::Interrupt))
                }
                (Some((why, since, Ask::Interrupt)), _) if since.elapsed() > TO_STOP => {
                    signal(child.id(), Ask::Terminate);
                    Some((why, Instant::now(), Ask::Terminate))
                }
                (Some((why, since, Ask::Terminate)), _) if since.elapsed() > TO_END => {
                    signal(child.id(), Ask::Kill);
                    // Where there are no signals, the handle is what there is.
                    let _ = child.kill();
                    Some((why, Instant::now(), Ask::Kill))
                }
                (asked, _) => asked,
            };
        }
    }

    /// Waits a little for output, and looks at the log.
    fn look(&mut self, stderr: &Receiver<Vec<u8>>) {
        match stderr.recv_timeout(EVERY) {
            Ok(bytes) => self.stderr(&bytes),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(EVERY),
        }
        self.read_log();
    }

    /// Takes what is left of stderr, but does not wait for processes that ncu left behind and that hold it open.
    fn drain(&mut self, stderr: &Receiver<Vec<u8>>) {
        while let Ok(bytes) = stderr.recv_timeout(EVERY) {
            self.stderr(&bytes);
        }
        self.read_log();
    }

    fn stderr(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
        (self.seen)(Seen::Stderr(bytes));
    }

    fn read_log(&mut self) {
        let piece = self.log.next();
        if !piece.is_empty() && self.follower.feed(&piece) {
            (self.seen)(Seen::Progress(self.follower.progress()));
        }
    }

    fn finish(self, ending: Ending) -> Ended {
        let written = std::fs::read(&self.log.path).unwrap_or_default();
        let said = String::from_utf8_lossy(&self.said).into_owned();
        // With a log, stderr is the program's; without one, whatever ncu had to say is there.
        let own = |line: &&str| written.is_empty() || line.starts_with("==");
        let own: String = said.lines().filter(own).map(|l| format!("{l}\n")).collect();
        let log = own + &String::from_utf8_lossy(&written);
        Ended { ending, log, progress: self.follower.progress().clone() }
    }
}

/// A file that grows.
struct LogFile {
    path: PathBuf,
    file: Option<File>,
    /// The end of the last piece, where a character was cut.
    rest: Vec<u8>,
}

impl LogFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), file: None, rest: Vec::new() }
    }

    /// What was added since the last call.
    fn next(&mut self) -> String {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let mut bytes = std::mem::take(&mut self.rest);
        if let Some(file) = &mut self.file {
            // A log that cannot be read now is read at the end.
            let _ = file.read_to_end(&mut bytes);
        }
        let valid = match std::str::from_utf8(&bytes) {
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            _ => bytes.len(),
        };
        self.rest = bytes.split_off(valid);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::attach::ncu::version::OLDEST;

    fn run(script: &str, timeout: Option<Duration>) -> (Ended, Vec<String>, Duration) {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::Csv(folder.path().join("log.csv"));
        let arguments = ["-c".into(), script.into(), "sh".into(), output.log().into()];
        let ncu = Ncu { path: "/bin/sh".into(), version: OLDEST };
        let mut events = Vec::new();
        let mut seen = |s: Seen<'_>| {
            events.push(match s {
                Seen::Progress(p) => format!("{} {}%", p.kernel, p.percent),
                Seen::Stderr(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            });
        };
        let stop = AtomicBool::new(false);
        let began = Instant::now();
        let how = Launch { stdout: Stdio::null(), timeout, stop: &stop, seen: &mut seen };
        let ended = launch(&ncu, &arguments, &output, how).unwrap();
        (ended, events, began.elapsed())
    }

    #[test]
    fn progress_and_stderr_are_seen_and_the_log_is_whole() {
        let script = "printf '==PROF== Profiling \"k\" - 0: 0%%....' > $1; echo hello >&2; \
                      echo '==ERROR== early' >&2; printf '100%% - 3 passes\\n' >> $1; exit 3";
        let (ended, events, _) = run(script, None);
        assert!(matches!(ended.ending, Ending::Exited(status) if status.code() == Some(3)));
        assert!(events.concat().contains("hello"), "{events:?}");
        assert!(events.iter().any(|e| e == "k 100%"), "{events:?}");
        assert_eq!(ended.log, "==ERROR== early\n==PROF== Profiling \"k\" - 0: 0%....100% - 3 passes\n");
        assert_eq!(ended.progress.passes, Some(3));
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended_with_all_that_it_started() {
        let (ended, _, took) = run("sh -c 'sleep 60; true'; true", Some(Duration::from_millis(100)));
        assert_eq!(ended.ending, Ending::TimedOut);
        assert!(took < Duration::from_secs(50), "{took:?}");
    }
}
