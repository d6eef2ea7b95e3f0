//! Ending a program together with what it started: profilers are wrappers around wrappers around the program.

use std::path::Path;

/// How firmly to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// As Ctrl-C does: a profiler writes what it has.
    Interrupt,
    /// To end in order.
    Terminate,
    /// Without a choice.
    Kill,
}

/// Sends a signal to `pid` and everything below it, the leaves last; those that are gone already are no failure.
#[cfg(unix)]
pub(super) fn signal(pid: u32, ask: Ask) {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = match ask {
        Ask::Interrupt => Signal::INT,
        Ask::Terminate => Signal::TERM,
        Ask::Kill => Signal::KILL,
    };
    for pid in tree(Path::new("/proc"), pid) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Elsewhere a program is told by its handle alone.
#[cfg(not(unix))]
pub(super) fn signal(_pid: u32, _ask: Ask) {}

/// A process and its descendants, parents first; where there is no `/proc`, the process alone.
fn tree(proc: &Path, root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir(proc)
        .map(|all| all.flatten().filter_map(|e| parent(&e.path())).collect())
        .unwrap_or_default();
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let children = parents.iter().filter(|(_, parent)| *parent == found[at]).map(|(pid, _)| *pid);
        let new: Vec<u32> = children.filter(|pid| !found.contains(pid)).collect();
        found.extend(new);
        at += 1;
    }
    found
}

/// The process of a folder under `/proc`, and its parent: the fourth field of `stat`, after a name in parentheses
/// that may hold anything (proc(5)).
fn parent(folder: &Path) -> Option<(u32, u32)> {
    let pid = folder.file_name()?.to_str()?.parse().ok()?;
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    let after = &stat[stat.rfind(')')? + 1..];
    Some((pid, after.split_whitespace().nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_all_descendants_and_nobody_else() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, stat) in
            [(10, "10 (ncu) S 1 1"), (11, "11 (a b) c) S 10 1"), (12, "12 (x) S 11 1"), (13, "13 (y) S 1 1")]
        {
            let folder = proc.path().join(pid.to_string());
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("stat"), stat).unwrap();
        }
        assert_eq!(tree(proc.path(), 10), [10, 11, 12]);
        assert_eq!(tree(&proc.path().join("none"), 7), [7]);
    }
}
