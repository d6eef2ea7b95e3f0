//! Puts the git revision into the program as `KPROF_REVISION`, if this is a git checkout.
//!
//! The revision is read from `.git`, so that no git program is needed; one that exists says whether the tree was
//! changed (`-dirty`). In a crate tarball there is no `.git`, and the program then has no revision.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let root = std::env::var("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let Some(git) = git_folder(&root) else { return };
    // A commit or checkout writes HEAD's log; a change of the sources can make the tree dirty.
    for watched in [git.join("HEAD"), git.join("logs/HEAD"), root.join("src"), root.join("Cargo.toml")] {
        if watched.exists() {
            println!("cargo::rerun-if-changed={}", watched.display());
        }
    }
    if let Some(revision) = revision(&git) {
        let short = &revision[..12];
        let dirty = if is_dirty(&root) { "-dirty" } else { "" };
        println!("cargo::rustc-env=KPROF_REVISION={short}{dirty}");
    }
}

/// `.git`, or where the file `.git` of a linked worktree points.
fn git_folder(root: &Path) -> Option<PathBuf> {
    let git = root.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let text = std::fs::read_to_string(&git).ok()?;
    Some(root.join(text.strip_prefix("gitdir:")?.trim()))
}

/// The full hash that HEAD names, directly or through a reference.
fn revision(git: &Path) -> Option<String> {
    let head = std::fs::read_to_string(git.join("HEAD")).ok()?;
    let hash = match head.trim().strip_prefix("ref:") {
        Some(reference) => resolve(git, reference.trim())?,
        None => head.trim().to_string(),
    };
    (hash.len() >= 40 && hash.chars().all(|c| c.is_ascii_hexdigit())).then_some(hash)
}

/// A reference from its own file, or from `packed-refs`; a linked worktree keeps both in the common folder.
fn resolve(git: &Path, reference: &str) -> Option<String> {
    let common =
        std::fs::read_to_string(git.join("commondir")).map_or(git.to_path_buf(), |c| git.join(c.trim()));
    let loose = |folder: &Path| std::fs::read_to_string(folder.join(reference)).ok();
    if let Some(hash) = loose(git).or_else(|| loose(&common)) {
        return Some(hash.trim().to_string());
    }
    let packed = std::fs::read_to_string(common.join("packed-refs")).ok()?;
    let line = packed.lines().find(|line| line.ends_with(&format!(" {reference}")))?;
    line.split_whitespace().next().map(str::to_string)
}

/// Whether git exists and says that tracked files differ from HEAD.
fn is_dirty(root: &Path) -> bool {
    let status = Command::new("git")
        .args(["--no-optional-locks", "diff-index", "--quiet", "HEAD", "--"])
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.code() == Some(1))
}
