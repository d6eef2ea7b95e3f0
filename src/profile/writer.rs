//! Writing run files line by line, and every other output whole or not at all.

use super::{ProfileError, Record};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Appends records to a run file: whole lines, flushed, so that an interrupted run can be read up to there.
#[derive(Debug)]
pub struct RunWriter {
    path: PathBuf,
    out: BufWriter<File>,
}

impl RunWriter {
    /// Creates the file, and the folders above it.
    ///
    /// # Errors
    /// When the file exists, or the place cannot be written to.
    pub fn create(path: &Path) -> Result<Self, ProfileError> {
        let fail = |source| ProfileError::Write { path: path.to_path_buf(), source };
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(fail)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(fail)?;
        Ok(Self { path: path.to_path_buf(), out: BufWriter::new(file) })
    }

    /// Where it writes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one record as one line.
    ///
    /// # Errors
    /// When the disk is full or the file gone.
    pub fn append(&mut self, record: &Record) -> Result<(), ProfileError> {
        let line = serde_json::to_string(record).map_err(|source| ProfileError::Encode { source })?;
        self.out
            .write_all(line.as_bytes())
            .and_then(|()| self.out.write_all(b"\n"))
            .and_then(|()| self.out.flush())
            .map_err(|source| ProfileError::Write { path: self.path.clone(), source })
    }
}

/// Writes `bytes` to a temporary file beside `path` and renames it there, so that nothing is ever half-written.
///
/// # Errors
/// When the folder cannot be made or written to.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ProfileError> {
    let fail = |source| ProfileError::Write { path: path.to_path_buf(), source };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(fail)?;
    let mut file = tempfile::Builder::new()
        .prefix(".kprof-")
        .suffix(".tmp")
        .permissions_like_a_new_file()
        .tempfile_in(folder)
        .map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.flush()).map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// A temporary file is private (0600); what is renamed into place should be as readable as any new file.
trait LikeANewFile {
    fn permissions_like_a_new_file(&mut self) -> &mut Self;
}

impl LikeANewFile for tempfile::Builder<'_, '_> {
    #[cfg(unix)]
    fn permissions_like_a_new_file(&mut self) -> &mut Self {
        use std::os::unix::fs::PermissionsExt;
        // The process's umask still applies.
        self.permissions(std::fs::Permissions::from_mode(0o666))
    }

    #[cfg(not(unix))]
    fn permissions_like_a_new_file(&mut self) -> &mut Self {
        self
    }
}
