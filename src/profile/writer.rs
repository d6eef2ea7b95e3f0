//! Writing run files line by line, and every other output whole or not at all.

use super::{ProfileError, Record};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
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

    /// How long the file is.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn length(&mut self) -> Result<u64, ProfileError> {
        let fail = |source| ProfileError::Write { path: self.path.clone(), source };
        self.out.stream_position().map_err(fail)
    }

    /// Takes back what was appended after the file was `length` long.
    ///
    /// # Errors
    /// When the file cannot be shortened.
    pub fn take_back(&mut self, length: u64) -> Result<(), ProfileError> {
        let fail = |source| ProfileError::Write { path: self.path.clone(), source };
        self.out.seek(SeekFrom::Start(length)).and_then(|_| self.out.get_ref().set_len(length)).map_err(fail)
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
/// What is no regular file (a device, a pipe) is written to as it is; a link is followed.
///
/// # Errors
/// When the folder cannot be made or written to.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ProfileError> {
    let fail = |source| ProfileError::Write { path: path.to_path_buf(), source };
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return OpenOptions::new().write(true).open(path).and_then(|mut f| f.write_all(bytes)).map_err(fail);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_no_temporary_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.txt");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_appended_can_be_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = RunWriter::create(&folder.path().join("run.jsonl")).unwrap();
        let end = |wall_s| Record::End { wall_s };
        writer.append(&end(1.0)).unwrap();
        let length = writer.length().unwrap();
        writer.append(&end(2.0)).unwrap();
        writer.take_back(length).unwrap();
        writer.append(&end(3.0)).unwrap();
        let text = std::fs::read_to_string(writer.path()).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("1.0") && text.contains("3.0"), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_stay_devices() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_atomically(&link, b"new").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        write_atomically(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
        if Path::new("/dev/full").exists() {
            let error = write_atomically(Path::new("/dev/full"), &[0; 100]).unwrap_err();
            assert!(error.to_string().contains("cannot write /dev/full"), "{error}");
        }
    }
}
