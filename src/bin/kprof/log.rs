//! Results in the format of the nanoGPT benchmark: a log that runs append to, and exports.

use crate::args::LogArgs;
use crate::exit::usage;
use crate::rank;
use anyhow::Context as _;
use kprof::profile::Run;
use kprof::render;
use std::io::Write;
use std::path::Path;

/// Says what could not be written, and clears the log where that is asked for.
pub(crate) fn check(args: &LogArgs) -> anyhow::Result<()> {
    let Some(path) = &args.log_file else {
        return if args.clear_log {
            Err(usage("--clear-log needs --log-file, or log_file in a configuration"))
        } else {
            Ok(())
        };
    };
    let path = &rank::file(path);
    open(path)?;
    if args.clear_log {
        std::fs::write(path, b"").with_context(|| format!("cannot clear {}", path.display()))?;
        eprintln!("cleared {}", path.display());
    }
    Ok(())
}

/// The run as lines of the format; an error where it has none.
pub(crate) fn jsonl(run: &Run) -> anyhow::Result<Vec<u8>> {
    let text = render::nanogpt_jsonl(run);
    if text.is_empty() {
        anyhow::bail!("{} has nothing that the nanoGPT benchmark has a line for", run.file);
    }
    Ok(text.into_bytes())
}

/// Appends the run's lines to the log.
pub(crate) fn append(args: &LogArgs, run: &Run) -> anyhow::Result<()> {
    let Some(path) = &args.log_file else { return Ok(()) };
    let path = &rank::file(path);
    let lines = render::nanogpt_jsonl(run);
    if lines.is_empty() {
        return Ok(());
    }
    open(path)?.write_all(lines.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("appended {} lines to {}", lines.lines().count(), path.display());
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<std::fs::File> {
    let fail = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(fail)?;
    }
    std::fs::OpenOptions::new().create(true).append(true).open(path).with_context(fail)
}
