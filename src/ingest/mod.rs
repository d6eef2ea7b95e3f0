//! Readers of other programs' files: each gives a [`Run`], so that analysis need not know where numbers come from.
//!
//! [`read_any`] looks at a file's content, never at its name, and picks the reader.

pub mod ncu;
mod rules;
mod scan;

pub use rules::{Classifier, Meaning, Rules, RulesError};

use crate::profile::{KernelRecord, ProfileError, Run, looks_like_run, read_run};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A launch as a reader gives it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'r> {
    /// The launch.
    pub record: &'r KernelRecord,
    /// Launches of one reading with the same number differ at most in measured values and in ID, process, grid,
    /// block, context and stream: what follows from the rest need be found out once.
    pub alike: Option<usize>,
}

/// Why a file could not be read as any known kind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The file cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is a run file, but a damaged or newer one.
    #[error(transparent)]
    Run(#[from] ProfileError),
    /// It is no run file, and no usable export of Nsight Compute.
    #[error(transparent)]
    Ncu(#[from] ncu::NcuError),
}

/// Reads a file that kprof or a profiler wrote: a run file, or an export of Nsight Compute.
///
/// # Errors
/// When the file cannot be read, or is neither; the message says what it looks like and what to run instead.
pub fn read_any(path: &Path) -> Result<Run, IngestError> {
    if looks_like_run(&head(path)?) {
        return Ok(read_run(path)?);
    }
    Ok(ncu::read(path)?)
}

/// Reads a file like [`read_any`], but gives the launches of an export to `push` one by one, in the order of the
/// file, and does not keep them; see [`ncu::fold`].
///
/// # Errors
/// As [`read_any`].
pub fn fold_any<A: Send>(
    path: &Path,
    mut new: impl FnMut() -> A,
    push: impl FnMut(&mut A, Seen<'_>) + Send,
) -> Result<(Run, A), IngestError> {
    if looks_like_run(&head(path)?) {
        return Ok((read_run(path)?, new()));
    }
    Ok(ncu::fold(path, new, push)?)
}

/// The first bytes of a file: enough to tell its kind.
fn head(path: &Path) -> Result<Vec<u8>, IngestError> {
    let error = |source| IngestError::Read { path: path.to_path_buf(), source };
    let mut head = Vec::with_capacity(64);
    std::fs::File::open(path).map_err(error)?.take(64).read_to_end(&mut head).map_err(error)?;
    Ok(head)
}
