//! Reading run files: older formats are read, newer ones refused, interrupted ones read up to where they end.

use super::{FORMAT_VERSION, Finding, FindingCode, Record, Run};
use std::io;
use std::path::{Path, PathBuf};

/// Why a run file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record cannot be written as JSON.
    #[error("a record cannot be written as JSON")]
    Encode {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The first line is no manifest.
    #[error("{}:1: no kprof run: the first line is not a manifest record", path.display())]
    NotARun {
        /// The file.
        path: PathBuf,
    },
    /// A line in the middle is damaged.
    #[error("{}:{line}: damaged record", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The file is of a later format.
    #[error("{}:1: format version {found}, but this kprof reads up to {FORMAT_VERSION}: update kprof", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
}

/// Whether `head`, the beginning of a file, is that of a run file.
pub fn looks_like_run(head: &[u8]) -> bool {
    head.starts_with(br#"{"type":"manifest""#)
}

/// Reads a run file. A last line cut short is dropped, and a run without an `end` record has a finding that says so.
///
/// # Errors
/// When the file cannot be read, is no run, is damaged before its last line, or is of a later format.
pub fn read_run(path: &Path) -> Result<Run, ProfileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ProfileError::Read { path: path.to_path_buf(), source })?;
    check_format(path, &text)?;
    let mut run = Run { file: path.display().to_string(), ..Run::default() };
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        match serde_json::from_str::<Record>(line) {
            Ok(record) => run.push(record),
            // An interrupted writer leaves at most its last line short.
            Err(_) if index > 0 && index + 1 == lines.len() && !text.ends_with('\n') => break,
            Err(source) => {
                let path = path.to_path_buf();
                return Err(ProfileError::Damaged { path, line: index + 1, source });
            }
        }
    }
    if !run.complete {
        let message = "the run ended before it was complete; what was measured until then is shown";
        run.findings.push(Finding::new(FindingCode::Partial, run.file.clone(), message));
    }
    Ok(run)
}

/// The format version is checked before the rest is decoded: a later format may not decode at all.
fn check_format(path: &Path, text: &str) -> Result<(), ProfileError> {
    let first = text.lines().next().unwrap_or_default();
    let not_a_run = || ProfileError::NotARun { path: path.to_path_buf() };
    let value: serde_json::Value = serde_json::from_str(first).map_err(|_| not_a_run())?;
    if value.get("type").and_then(|t| t.as_str()) != Some("manifest") {
        return Err(not_a_run());
    }
    match value.get("format_version").and_then(serde_json::Value::as_u64) {
        Some(found) if found > u64::from(FORMAT_VERSION) => {
            Err(ProfileError::Newer { path: path.to_path_buf(), found })
        }
        Some(_) => Ok(()),
        None => Err(not_a_run()),
    }
}
