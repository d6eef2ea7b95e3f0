//! Where ncu is: where the user says, on the PATH, or in the folders that NVIDIA's installers use, newest first.

use super::error::AttachError;
use super::version::{NcuVersion, OLDEST};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The variable that says where ncu is.
pub const VARIABLE: &str = "KPROF_NCU";

/// An Nsight Compute that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Ncu {
    /// The program.
    pub path: PathBuf,
    /// Its version.
    pub version: NcuVersion,
}

/// Folders in which installers put it: below `root`, with a `*` for versions.
const FOLDERS: &[&str] = &[
    "usr/local/cuda/bin",
    "usr/local/cuda-*/bin",
    "opt/nvidia/nsight-compute/*",
    "usr/local/NVIDIA-Nsight-Compute*",
    "opt/cuda/bin",
    "opt/cuda/nsight_compute",
    "usr/lib/nsight-compute",
    "opt/nvidia/hpc_sdk/Linux_x86_64/*/profilers/Nsight_Compute",
    "Program Files/NVIDIA Corporation/Nsight Compute *",
];

/// Names that it has in a folder.
const NAMES: &[&str] = if cfg!(windows) { &["ncu.exe", "ncu.bat"] } else { &["ncu"] };

/// Where to look.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Where the user says, by flag or variable: nowhere else is looked then.
    pub given: Option<PathBuf>,
    /// The folders of the PATH.
    pub path: Vec<PathBuf>,
    /// CUDA_HOME and CUDA_PATH.
    pub cuda: Vec<PathBuf>,
    /// The file system's root.
    pub root: PathBuf,
}

impl Places {
    /// Of this process; `flag` comes before the variable.
    pub fn of_environment(flag: Option<&Path>) -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let path: OsString = variable("PATH").unwrap_or_default();
        Self {
            given: flag.map(Path::to_path_buf).or_else(|| variable(VARIABLE).map(PathBuf::from)),
            path: std::env::split_paths(&path).collect(),
            cuda: ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(|n| variable(n)).map(PathBuf::from).collect(),
            root: PathBuf::from(if cfg!(windows) { "C:\\" } else { "/" }),
        }
    }

    /// Every ncu there is, the first to be tried first.
    fn candidates(&self) -> Vec<PathBuf> {
        self.programs(NAMES, FOLDERS)
    }

    /// Every program of one of these names on the PATH, in CUDA's folders and in `folders` below the root.
    pub(in crate::attach) fn programs(&self, names: &[&str], folders: &[&str]) -> Vec<PathBuf> {
        let in_folder = |folder: &Path| names.iter().map(|n| folder.join(n)).find(|p| is_executable(p));
        let cuda = self.cuda.iter().map(|c| c.join("bin"));
        let standard = folders.iter().flat_map(|pattern| expanded(&self.root, pattern));
        let folders = self.path.iter().cloned().chain(cuda).chain(standard);
        let mut found: Vec<PathBuf> = Vec::new();
        for path in folders.filter_map(|f| in_folder(&f)) {
            if !found.contains(&path) {
                found.push(path);
            }
        }
        found
    }

    fn looked(&self) -> Vec<String> {
        let cuda = self.cuda.iter().map(|c| c.join("bin").display().to_string());
        let standard = FOLDERS.iter().map(|f| self.root.join(f).display().to_string());
        std::iter::once("the PATH".to_string()).chain(cuda).chain(standard).collect()
    }

    /// The first ncu that is new enough.
    ///
    /// # Errors
    /// When there is none, or what the user named does not run, is no ncu, or is too old.
    pub fn find(&self) -> Result<Ncu, AttachError> {
        if let Some(given) = &self.given {
            let inside = NAMES.iter().map(|n| given.join(n)).find(|p| given.is_dir() && p.exists());
            return open(&inside.unwrap_or_else(|| given.clone()));
        }
        let mut first_error = None;
        for path in self.candidates() {
            match open(&path) {
                Ok(ncu) => return Ok(ncu),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| AttachError::NotFound { looked: self.looked() }))
    }
}

/// Asks a program for its version.
fn open(path: &Path) -> Result<Ncu, AttachError> {
    let run = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    let output = run.map_err(|source| AttachError::CannotRun { path: path.to_path_buf(), source })?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let Some(version) = NcuVersion::parse(&said) else {
        let said =
            said.lines().find(|l| !l.trim().is_empty()).unwrap_or("nothing").chars().take(200).collect();
        return Err(AttachError::NoVersion { path: path.to_path_buf(), said });
    };
    if version < OLDEST {
        return Err(AttachError::TooOld { path: path.to_path_buf(), version });
    }
    Ok(Ncu { path: path.to_path_buf(), version })
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// The folders that a pattern with at most one `*` stands for, the highest version first.
fn expanded(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![root.join(pattern)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = std::fs::read_dir(root.join(parent)).into_iter().flatten().flatten();
    let mut names: Vec<(Vec<u32>, PathBuf)> = entries
        .filter(|e| e.file_name().to_string_lossy().starts_with(prefix))
        .map(|e| {
            let folder = e.path().join(after.trim_start_matches('/'));
            (numbers(&e.file_name().to_string_lossy()), folder)
        })
        .collect();
    names.sort();
    names.into_iter().rev().map(|(_, folder)| folder).collect()
}

/// The numbers in a name: `cuda-12.4` is 12, 4.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn stand_in(folder: &Path, version: &str) {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join("ncu");
        std::fs::write(&path, format!("#!/bin/sh\necho 'Version {version} (build 1)'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_path_comes_first_then_the_newest_installation_and_old_ones_are_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let at = |folder: &str| root.path().join(folder);
        let places = |path: &[&str]| Places {
            path: path.iter().map(|p| at(p)).collect(),
            root: root.path().to_path_buf(),
            ..Places::default()
        };
        let error = places(&["bin"]).find().unwrap_err();
        assert!(error.is_environment() && error.to_string().contains("usr/local/cuda-*/bin"), "{error}");
        stand_in(&at("usr/local/cuda-9.2/bin"), "2022.1.0.0");
        stand_in(&at("usr/local/cuda-12.4/bin"), "2024.1.0.0");
        stand_in(&at("usr/local/cuda-11.8/bin"), "2022.3.0.0");
        assert_eq!(places(&["bin"]).find().unwrap().version.year, 2024);
        stand_in(&at("bin"), "2019.5.0");
        assert_eq!(places(&["bin"]).find().unwrap().version.year, 2024, "an old one on the PATH");
        stand_in(&at("bin"), "2023.1.0");
        assert_eq!(places(&["bin"]).find().unwrap().version.year, 2023);
    }

    #[test]
    fn what_the_user_names_is_used_or_refused_and_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        stand_in(&root.path().join("good"), "2024.1.0");
        stand_in(&root.path().join("old"), "2019.5.0");
        std::fs::write(root.path().join("text"), "x").unwrap();
        let find = |name: &str| {
            let given = Some(root.path().join(name));
            Places { given, path: vec![root.path().join("good")], ..Places::default() }.find()
        };
        assert!(find("good").is_ok() && find("good/ncu").is_ok());
        assert!(matches!(find("old"), Err(AttachError::TooOld { .. })));
        assert!(matches!(find("text"), Err(AttachError::CannotRun { .. })));
        assert!(matches!(find("none"), Err(AttachError::CannotRun { .. })));
    }
}
