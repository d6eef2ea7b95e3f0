//! The command line of ncu, from what is to be profiled.

use super::find::Ncu;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What ncu writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A report, and its log beside it.
    Report {
        /// The report.
        report: PathBuf,
        /// The log.
        log: PathBuf,
    },
    /// A table with the log in it.
    Csv(PathBuf),
}

impl Output {
    /// The file that has the results.
    pub fn results(&self) -> &Path {
        match self {
            Self::Report { report, .. } => report,
            Self::Csv(path) => path,
        }
    }

    /// The file that has the log.
    pub fn log(&self) -> &Path {
        match self {
            Self::Report { log, .. } => log,
            Self::Csv(path) => path,
        }
    }
}

/// What is to be profiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Metrics by name.
    pub metrics: Vec<String>,
    /// Kernels whose demangled name this matches.
    pub kernel: Option<String>,
    /// NVTX ranges in ncu's own syntax: launches inside any of them; see [`push_pop_range`].
    pub nvtx: Vec<String>,
    /// Launches to pass over first.
    pub launch_skip: Option<u64>,
    /// Launches to profile at most.
    pub launch_count: Option<u64>,
    /// Whether the program says with cudaProfilerStart where to begin.
    pub from_profiler_start: bool,
    /// Further arguments for ncu.
    pub more: Vec<OsString>,
    /// The program and its arguments.
    pub program: Vec<OsString>,
}

/// A push/pop range by name, as ncu's filter takes it: its own signs escaped, and `/` at the end, which says that it is
/// no start/end range. `domain@name` names the domain.
pub fn push_pop_range(name: &str) -> String {
    let (domain, range) = match name.split_once('@') {
        Some((domain, range)) => (Some(domain), range),
        None => (None, name),
    };
    let escape = |text: &str| {
        let mut out = String::new();
        for c in text.chars() {
            if "@,[]/*+".contains(c) {
                out.push('\\');
            }
            out.push(c);
        }
        out
    };
    match domain {
        Some(domain) => format!("{}@{}/", escape(domain), escape(range)),
        None => format!("{}/", escape(range)),
    }
}

/// The arguments of ncu; the program is `ncu.path`.
pub fn arguments(profile: &Profile, output: &Output) -> Vec<OsString> {
    let mut out = Arguments(Vec::new());
    match output {
        Output::Report { report, log } => {
            out.flag("--force-overwrite").pair("--export", report).pair("--log-file", log);
        }
        Output::Csv(path) => {
            out.flag("--csv").pair("--page", "raw").pair("--print-units", "base").pair("--log-file", path);
        }
    }
    // Servers compute in child processes; locked clocks would give other times than the program has.
    out.pair("--target-processes", "all").pair("--clock-control", "none").flag("--nvtx");
    for range in &profile.nvtx {
        out.pair("--nvtx-include", range);
    }
    if let Some(kernel) = &profile.kernel {
        out.pair("--kernel-name-base", "demangled").pair("--kernel-name", &format!("regex:{kernel}"));
    }
    for (name, count) in [("--launch-skip", profile.launch_skip), ("--launch-count", profile.launch_count)] {
        if let Some(count) = count {
            out.pair(name, &count.to_string());
        }
    }
    if profile.from_profiler_start {
        out.pair("--profile-from-start", "off");
    }
    out.pair("--metrics", &profile.metrics.join(","));
    out.0.extend(profile.more.iter().cloned());
    out.0.extend(profile.program.iter().cloned());
    out.0
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.into());
        self
    }

    fn pair(&mut self, name: &str, value: &(impl AsRef<OsStr> + ?Sized)) -> &mut Self {
        self.0.push(name.into());
        self.0.push(value.as_ref().to_os_string());
        self
    }
}

/// The command ready to be started.
pub(super) fn command(ncu: &Ncu, arguments: &[OsString]) -> Command {
    let mut command = Command::new(&ncu.path);
    command.args(arguments);
    command
}

/// A command as one line that a shell reads back as it is.
pub fn shown(program: &Path, arguments: &[OsString]) -> String {
    let all = std::iter::once(program.as_os_str()).chain(arguments.iter().map(OsString::as_os_str));
    all.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// A word in single quotes where it needs any (POSIX shell).
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            metrics: vec!["a__b.sum".into(), "c__d.sum".into()],
            kernel: Some("gemm|flash.*".into()),
            nvtx: vec![push_pop_range("kprof@kprof/v1/decode")],
            launch_skip: None,
            launch_count: Some(20),
            from_profiler_start: true,
            more: vec!["--replay-mode=application".into()],
            program: vec!["python3".into(), "it's.py".into()],
        }
    }

    #[test]
    fn every_wish_becomes_an_option_before_the_program() {
        let output = Output::Report { report: "o/r.ncu-rep".into(), log: "o/ncu.log".into() };
        let line = shown(Path::new("/opt/ncu"), &arguments(&profile(), &output));
        assert_eq!(
            line,
            "/opt/ncu --force-overwrite --export o/r.ncu-rep --log-file o/ncu.log --target-processes all \
             --clock-control none --nvtx --nvtx-include 'kprof@kprof\\/v1\\/decode/' --kernel-name-base demangled \
             --kernel-name 'regex:gemm|flash.*' --launch-count 20 --profile-from-start off --metrics \
             a__b.sum,c__d.sum --replay-mode=application python3 'it'\\''s.py'"
        );
        let csv = arguments(&profile(), &Output::Csv("x.csv".into()));
        assert_eq!(csv[..7].join(OsStr::new(" ")), "--csv --page raw --print-units base --log-file x.csv");
    }

    #[test]
    fn signs_of_the_filter_in_a_name_are_escaped() {
        assert_eq!(push_pop_range("decode"), "decode/");
        assert_eq!(push_pop_range("a/b[0]"), "a\\/b\\[0\\]/");
        assert_eq!(push_pop_range("D@x,y"), "D@x\\,y/");
    }
}
