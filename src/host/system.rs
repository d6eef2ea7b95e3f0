//! Files of the system below a root, so that what is read from `/proc` and `/sys` can be tested with files at hand.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The system's files.
#[derive(Clone, Debug)]
pub struct System {
    root: PathBuf,
}

impl System {
    /// This machine's.
    pub fn this() -> Self {
        Self::at("/")
    }

    /// Those below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A path with or without a leading slash, below the root.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path(path)).ok()
    }

    /// A file of one line, without its end; `None` also where it is empty.
    pub(super) fn line(&self, path: &str) -> Option<String> {
        self.text(path).map(|text| text.trim().to_string()).filter(|text| !text.is_empty())
    }

    pub(super) fn number<T: FromStr>(&self, path: &str) -> Option<T> {
        self.line(path)?.parse().ok()
    }

    /// What is in a folder, in order; `None` where there is none.
    pub(super) fn names(&self, folder: &str) -> Option<Vec<String>> {
        let entries = std::fs::read_dir(self.path(folder)).ok()?;
        let mut names: Vec<String> =
            entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        Some(names)
    }

    /// The CPUs that this process may run on.
    pub(super) fn allowed_cpus(&self) -> Option<Vec<usize>> {
        let status = self.text("proc/self/status")?;
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(cpu_list)
    }
}

/// The numbers in a list of the kernel's, such as `0-3,8`; what is no number is passed over.
pub(super) fn cpu_list(text: &str) -> Vec<usize> {
    let parts = text.trim().split(',').map(|part| part.split_once('-').unwrap_or((part, part)));
    let ranges = parts.filter_map(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    ranges.flatten().collect()
}

/// A system of these files, below a folder that lives as long as the handle.
#[cfg(test)]
pub(super) fn system_of(files: &[(&str, &str)]) -> (tempfile::TempDir, System) {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(path, text)| put(folder.path(), path, text));
    let system = System::at(folder.path());
    (folder, system)
}

/// Writes a file of a system, and the folders above it.
#[cfg(test)]
pub(super) fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
        assert_eq!(cpu_list("\t0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(cpu_list(""), [0_usize; 0]);
    }

    #[test]
    fn what_is_not_there_is_none() {
        let (_folder, system) =
            system_of(&[("sys/x", "12\n"), ("proc/self/status", "Cpus_allowed_list:\t1,3\n")]);
        assert_eq!((system.number::<u32>("sys/x"), system.number::<u32>("sys/y")), (Some(12), None));
        assert_eq!(system.names("sys").unwrap(), ["x"]);
        assert!(system.names("none").is_none());
        assert_eq!(system.allowed_cpus().unwrap(), [1, 3]);
    }
}
