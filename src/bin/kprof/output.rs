//! Where results go: stdout or files written whole; and how wide and how colourful a terminal is.

use crate::exit::usage;
use crate::rank;
use crate::wrap::wrapped;
use anyhow::Context as _;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// The width of a table when stdout is no terminal.
const PLAIN_WIDTH: usize = 120;

/// The width of the terminal, `COLUMNS` where it is set, or that of a file.
pub(crate) fn width() -> usize {
    let of_env = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let of_terminal = || terminal_size::terminal_size().map(|(w, _)| usize::from(w.0));
    let on_terminal = std::io::stdout().is_terminal();
    of_env.or_else(|| of_terminal().filter(|_| on_terminal)).unwrap_or(PLAIN_WIDTH).max(40)
}

/// Where prose is broken on stdout: the terminal's width; in a file, nowhere, so that it can be searched.
pub(crate) fn wrap_width() -> Option<usize> {
    std::io::stdout().is_terminal().then(width)
}

/// Where prose is broken on stderr.
pub(crate) fn stderr_width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| usize::from(width.0).max(40))
}

/// Whether stdout takes colour: a terminal, unless NO_COLOR says otherwise (no-color.org).
pub(crate) fn color() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Writes to stdout, for a terminal with prose broken at spaces; a closed pipe comes back as an error, not as a panic.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    if std::io::stdout().is_terminal() {
        return write_stdout(wrapped(text, width()).as_bytes());
    }
    write_stdout(text.as_bytes())
}

/// Writes to stdout what is broken into lines already.
pub(crate) fn print_as_is(text: &str) -> anyhow::Result<()> {
    write_stdout(text.as_bytes())
}

fn write_stdout(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// One `--export-*` flag.
pub(crate) struct Export<'a> {
    pub(crate) path: &'a Option<PathBuf>,
    pub(crate) make: &'a dyn Fn() -> anyhow::Result<Vec<u8>>,
}

/// Whether any export goes to stdout, so that the table must not.
pub(crate) fn takes_stdout(exports: &[Export<'_>]) -> bool {
    exports.iter().any(|e| e.path.as_deref() == Some(Path::new("-")))
}

/// Makes and writes what was asked for; `-` is stdout ([`check_writable`] sees to it that only one is). Says on stderr what was written.
pub(crate) fn write_exports(exports: &[Export<'_>]) -> anyhow::Result<()> {
    for export in exports {
        let Some(path) = export.path else { continue };
        let path = if rank::measures() { &rank::file(path) } else { path };
        let bytes = (export.make)()?;
        if path.as_path() == Path::new("-") {
            write_stdout(&bytes)?;
        } else {
            kprof::profile::write_atomically(path, &bytes).context("export failed")?;
            eprintln!("wrote {}", path.display());
        }
    }
    Ok(())
}

/// Fails if any of `paths` could not be written to, so that this is said before the measuring starts.
pub(crate) fn check_writable<'a>(paths: impl IntoIterator<Item = &'a Path>) -> anyhow::Result<()> {
    let (stdout, files): (Vec<&Path>, Vec<&Path>) = paths.into_iter().partition(|p| *p == Path::new("-"));
    if stdout.len() > 1 {
        return Err(usage("only one export can go to stdout ('-')"));
    }
    for path in files {
        if path.is_dir() {
            anyhow::bail!("cannot write {}: it is a folder", path.display());
        }
        if path.exists() && !path.is_file() {
            continue; // A device or a pipe: nothing to try without writing to it.
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)
            .and_then(|()| tempfile::Builder::new().prefix(".kprof-").tempfile_in(folder))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
