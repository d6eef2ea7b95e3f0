//! Which rank this process measures as, and what that makes of the names of its files.
//!
//! Ranks run the same command line, so each puts its rank into the name of every file that it writes.

use crate::exit::usage;
use kprof::attach::{Rank, RankError, rank_of_process};
use kprof::profile::RankInfo;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

fn found() -> &'static Result<Option<Rank>, RankError> {
    static FOUND: OnceLock<Result<Option<Rank>, RankError>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let found = rank_of_process();
        if let Ok(Some(rank)) = &found
            && !rank.overruled.is_empty()
        {
            let (name, launcher) = (rank.info.name(), &rank.info.launcher);
            eprintln!("note: {name}, as {launcher} says ({})", rank.overruled.join(", "));
        }
        found
    })
}

/// The rank of this process; `None` where nothing launched it.
///
/// # Errors
/// When its variables contradict each other.
pub(crate) fn rank() -> anyhow::Result<Option<&'static RankInfo>> {
    match found() {
        Ok(rank) => Ok(rank.as_ref().map(|r| &r.info)),
        Err(error) => Err(usage(error)),
    }
}

/// The rank, where it is one of several.
pub(crate) fn one_of_several() -> Option<&'static RankInfo> {
    // What contradicts itself is refused where the device is chosen.
    rank().ok().flatten().filter(|rank| !rank.is_alone())
}

static MEASURES: AtomicBool = AtomicBool::new(false);

/// From here on this process measures: what it writes is a rank's.
pub(crate) fn will_measure() {
    MEASURES.store(true, Ordering::Relaxed);
}

/// Whether it measures: reports of files that exist are nobody's in particular.
pub(crate) fn measures() -> bool {
    MEASURES.load(Ordering::Relaxed)
}

/// The folder of this rank, where it is one of several.
pub(crate) fn folder(path: &Path) -> PathBuf {
    one_of_several().map_or_else(|| path.to_path_buf(), |rank| tagged(path, &rank.file_tag()))
}

/// Where this rank writes what is to go to `path`: `run.rank3.jsonl` for `run.jsonl`; to stdout, a device or a pipe, and as
/// the only rank, there itself.
pub(crate) fn file(path: &Path) -> PathBuf {
    let special = path == Path::new("-") || (path.exists() && !path.is_file());
    match one_of_several().filter(|_| !special) {
        Some(rank) => tagged(path, &rank.file_tag()),
        None => path.to_path_buf(),
    }
}

fn tagged(path: &Path, tag: &str) -> PathBuf {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    // What was named after the run file has its rank already.
    if name.split('.').any(|part| part == tag) {
        return path.to_path_buf();
    }
    match name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()) {
        Some((stem, kind)) => path.with_file_name(format!("{stem}.{tag}.{kind}")),
        None => path.with_file_name(format!("{name}.{tag}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_stands_before_the_end_of_a_name_and_once() {
        for (given, expected) in [
            ("runs/a.jsonl", "runs/a.rank3.jsonl"),
            ("runs.d/a", "runs.d/a.rank3"),
            (".hidden", ".hidden.rank3"),
            ("a.rank3.phases.svg", "a.rank3.phases.svg"),
        ] {
            assert_eq!(tagged(Path::new(given), "rank3"), Path::new(expected));
        }
    }
}
