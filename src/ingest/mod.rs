//! Readers of other programs' files: each gives a [`Run`], so that analysis need not know where numbers come from.
//!
//! [`read_any`] looks at a file's content, never at its name, and picks the reader.

mod foreign;
mod kineto;
pub mod ncu;
mod nsys;
mod results;
mod rules;
mod scan;
mod sqlite;
mod steps;
mod tables;
mod timeline;

pub use results::{Results, ResultsGroup, looks_like_results, read_results};
pub use rules::{Classifier, Meaning, Rules, RulesError};
pub use timeline::TraceError;

use crate::profile::{KernelRecord, ProfileError, Run, looks_like_run, place_of, read_run};
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
    /// It is a timeline trace that cannot be used.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// It is a file of another benchmark's results without a line that can be used.
    #[error("{file} has no result that can be used: {first}")]
    Results {
        /// The file.
        file: String,
        /// What the first line that was left out says.
        first: String,
    },
    /// It is no run file, and no usable export of Nsight Compute.
    #[error(transparent)]
    Ncu(#[from] ncu::NcuError),
}

/// Reads a file that kprof or a profiler wrote: a run file, a timeline trace, or an export of Nsight Compute.
///
/// # Errors
/// When the file cannot be read, or is none of them; the message says what it looks like and what to run instead.
pub fn read_any(path: &Path) -> Result<Run, IngestError> {
    let mut kernels = Vec::new();
    match kind(path)? {
        Kind::Run => Ok(read_run(path)?),
        Kind::Ncu => Ok(ncu::read(path)?),
        Kind::Trace(fold) => {
            let mut run = fold(path, &mut |kernel| kernels.push(kernel.clone()))?;
            run.kernels = kernels;
            Ok(run)
        }
    }
}

/// Reads a file like [`read_any`], but gives the launches of an export or trace to `push` one by one, in the order of
/// the file (of a trace: in the order they ran), and does not keep them; see [`ncu::fold`].
///
/// # Errors
/// As [`read_any`].
pub fn fold_any<A: Send>(
    path: &Path,
    mut new: impl FnMut() -> A,
    mut push: impl FnMut(&mut A, Seen<'_>) + Send,
) -> Result<(Run, A), IngestError> {
    match kind(path)? {
        Kind::Run => Ok((read_run(path)?, new())),
        Kind::Ncu => Ok(ncu::fold(path, new, push)?),
        Kind::Trace(fold) => {
            let mut all = new();
            let run = fold(path, &mut |record| push(&mut all, Seen { record, alike: None }))?;
            Ok((run, all))
        }
    }
}

/// Whether a file is one of the nanoGPT benchmark's results; false where it cannot be read, which its reader will say.
pub fn is_results(path: &Path) -> bool {
    head(path).is_ok_and(|head| looks_like_results(&head))
}

/// Whether a file is a run file of kprof; false where it cannot be read, which its reader will say.
pub fn is_run(path: &Path) -> bool {
    head(path).is_ok_and(|head| looks_like_run(&head))
}

enum Kind {
    Run,
    Ncu,
    /// A timeline trace, with what reads it.
    Trace(fn(&Path, timeline::Sink<'_>) -> Result<Run, TraceError>),
}

/// What a file is, by its first bytes.
fn kind(path: &Path) -> Result<Kind, IngestError> {
    let head = head(path)?;
    Ok(if looks_like_run(&head) {
        Kind::Run
    } else if kineto::looks_like(&head) {
        Kind::Trace(kineto::fold)
    } else if nsys::looks_like(&head) {
        Kind::Trace(nsys::fold)
    } else if tables::looks_like(&head) {
        Kind::Trace(tables::fold)
    } else {
        foreign::check(path, &head)?;
        Kind::Ncu
    })
}

/// Tables of text may have lines of the program before their header.
const HEAD: usize = 1 << 14;

/// The first bytes of a file: enough to tell its kind.
fn head(path: &Path) -> Result<Vec<u8>, IngestError> {
    // One rank of a merged file is named FILE@RANK.
    let (path, _) = &place_of(path);
    let error = |source| IngestError::Read { path: path.clone(), source };
    let mut head = Vec::with_capacity(HEAD);
    std::fs::File::open(path).map_err(error)?.take(HEAD as u64).read_to_end(&mut head).map_err(error)?;
    Ok(head)
}
