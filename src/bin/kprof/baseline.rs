//! Baselines: runs kept under a name, as profiles/baselines/NAME.jsonl.

use crate::exit::usage;
use anyhow::Context as _;
use kprof::profile::{Run, write_atomically};
use std::path::{Path, PathBuf};

/// Where the baseline `name` is kept.
///
/// # Errors
/// When the name would be no plain file name.
pub(crate) fn path(name: &str) -> anyhow::Result<PathBuf> {
    let plain = |c: char| c.is_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(usage(format!(
            "'{name}' is no name for a baseline: letters, digits, dots, dashes and underscores are"
        )));
    }
    Ok(Path::new("profiles").join("baselines").join(format!("{name}.jsonl")))
}

/// Where the baseline `name` is, if it exists.
pub(crate) fn existing(name: &str) -> anyhow::Result<PathBuf> {
    let path = path(name)?;
    if path.is_file() {
        return Ok(path);
    }
    Err(usage(format!(
        "there is no baseline '{name}' ({}); make it: kprof phase … --save-baseline {name}",
        path.display()
    )))
}

/// Keeps the file of `run` as the baseline `name`, in the place of an earlier one.
pub(crate) fn save(name: &str, run: &Run) -> anyhow::Result<()> {
    let path = path(name)?;
    if !run.complete {
        anyhow::bail!("{} ended before it was complete and is no baseline", run.file);
    }
    let bytes = std::fs::read(&run.file).with_context(|| format!("cannot read {}", run.file))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot write {}", path.display()))?;
    }
    write_atomically(&path, &bytes).context("the baseline is not saved")?;
    eprintln!("saved baseline '{name}' ({})", path.display());
    Ok(())
}
