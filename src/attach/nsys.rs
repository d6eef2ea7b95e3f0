//! Where Nsight Systems is, and its version.

use super::ncu::Places;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Folders in which installers put it, below the root, with a `*` for versions.
const FOLDERS: &[&str] = &[
    "usr/local/cuda/bin",
    "usr/local/cuda-*/bin",
    "opt/nvidia/nsight-systems/*/bin",
    "opt/nvidia/nsight-systems-cli/*/bin",
    "opt/cuda/bin",
    "usr/lib/nsight-systems/bin",
    "opt/nvidia/hpc_sdk/Linux_x86_64/*/profilers/Nsight_Systems/bin",
];

/// Names that it has in a folder.
const NAMES: &[&str] = if cfg!(windows) { &["nsys.exe"] } else { &["nsys"] };

/// An Nsight Systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nsys {
    /// The program.
    pub path: PathBuf,
    /// Its version; `None` where it did not say.
    pub version: Option<String>,
}

/// The first on the PATH, in CUDA's folders, or in those of installers; `None` without one.
pub fn find(places: &Places) -> Option<Nsys> {
    let path = places.programs(NAMES, FOLDERS).into_iter().next()?;
    let said = Command::new(&path).arg("--version").stdin(Stdio::null()).output().ok();
    let version = said.and_then(|output| version(&String::from_utf8_lossy(&output.stdout)));
    Some(Nsys { path, version })
}

/// Of `NVIDIA Nsight Systems version 2022.4.2.18-32044700v0`: what comes before the build.
fn version(text: &str) -> Option<String> {
    let number = text.lines().find_map(|line| line.split_once("version "))?.1.split_whitespace().next()?;
    Some(number.split('-').next().unwrap_or(number).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stands_before_the_build() {
        let text = "NVIDIA Nsight Systems version 2022.4.2.18-32044700v0\n";
        assert_eq!(version(text).as_deref(), Some("2022.4.2.18"));
        assert_eq!(version("hello"), None);
    }

    #[cfg(unix)]
    #[test]
    fn the_newest_installation_is_found() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let places = Places { root: root.path().to_path_buf(), ..Places::default() };
        assert_eq!(find(&places), None);
        for (folder, version) in [("2022.4.2", "2022.4.2.18-1v0"), ("2024.10.1", "2024.10.1.2-3v0")] {
            let bin = root.path().join("opt/nvidia/nsight-systems").join(folder).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            let text = format!("#!/bin/sh\necho 'NVIDIA Nsight Systems version {version}'\n");
            std::fs::write(bin.join("nsys"), text).unwrap();
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(bin.join("nsys"), mode).unwrap();
        }
        assert_eq!(find(&places).unwrap().version.as_deref(), Some("2024.10.1.2"));
    }
}
