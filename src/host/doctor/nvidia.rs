//! NVIDIA's driver, device files and libraries, as far as files tell.

use crate::attach::ncu::{Permission, Places};
use crate::host::system::System;
use crate::profile::{Counters, Library, Nvidia};
use std::path::{Path, PathBuf};

/// NVIDIA's number on the PCI bus.
const VENDOR: &str = "0x10de";

/// What to look for: the beginning of a file's name, and what it is.
const LIBRARIES: &[(&str, &str)] = &[
    ("libcuda.so", "CUDA driver API"),
    ("libnvidia-ml.so", "NVML"),
    ("libcudart.so", "CUDA runtime"),
    ("libcublas.so", "cuBLAS"),
    ("libcublasLt.so", "cuBLASLt"),
    ("libcudnn.so", "cuDNN"),
    ("libnvrtc.so", "NVRTC"),
    ("libcupti.so", "CUPTI"),
    ("libnccl.so", "NCCL"),
];

/// Where libraries are besides the loader's own list; a `*` stands for any name.
const FOLDERS: &[&str] = &[
    "lib64",
    "usr/lib64",
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib",
    "usr/local/lib",
    "usr/lib/wsl/lib",
    "run/opengl-driver/lib",
    "usr/local/cuda/lib64",
    "usr/local/cuda-*/lib64",
    "usr/local/cuda/extras/CUPTI/lib64",
    "opt/cuda/lib64",
];

/// Everything but what NVML says.
pub(super) fn nvidia(
    system: &System,
    places: &Places,
    permission: &Permission,
    search: &[PathBuf],
) -> Nvidia {
    let version = system.text("proc/driver/nvidia/version");
    Nvidia {
        on_bus: on_bus(system),
        driver_loaded: permission.driver,
        driver: version.as_deref().and_then(driver_version),
        device_files: device_files(system),
        libraries: libraries(system, places, search),
        counters: Counters {
            admin_only: permission.restricted,
            cap_sys_admin: permission.admin,
            allowed: allowed(permission),
        },
        ..Nvidia::default()
    }
}

/// Counters are for all, or this is an administrator; a container with a user namespace of its own is left open, as
/// there capabilities say little.
fn allowed(permission: &Permission) -> Option<bool> {
    match (permission.restricted?, permission.admin) {
        (false, _) => Some(true),
        (true, Some(false)) => Some(false),
        (true, Some(true)) if !permission.own_namespace => Some(true),
        (true, _) => None,
    }
}

/// Display controllers (class 0x03) of NVIDIA.
fn on_bus(system: &System) -> Option<Vec<String>> {
    let devices = system.names("sys/bus/pci/devices")?;
    let is_gpu = |address: &String| {
        let line = |file: &str| system.line(&format!("sys/bus/pci/devices/{address}/{file}"));
        line("vendor").as_deref() == Some(VENDOR)
            && line("class").is_some_and(|class| class.starts_with("0x03"))
    };
    Some(devices.into_iter().filter(is_gpu).collect())
}

/// The first word that is a version with two dots or one: `NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05 …`.
fn driver_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.contains("NVRM"))?;
    let is_version = |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    line.split_whitespace().find(is_version).map(str::to_string)
}

fn device_files(system: &System) -> Vec<String> {
    let names = system.names("dev").unwrap_or_default();
    let of_nvidia = names
        .into_iter()
        .filter(|name| name.starts_with("nvidia") && !system.path(&format!("dev/{name}")).is_dir());
    of_nvidia.map(|name| format!("/dev/{name}")).collect()
}

/// Each library once per file that its names lead to.
fn libraries(system: &System, places: &Places, search: &[PathBuf]) -> Vec<Library> {
    let cuda = places.cuda.iter().map(|folder| folder.join("lib64"));
    let standard = FOLDERS.iter().flat_map(|pattern| folders(system, pattern));
    let mut found: Vec<Library> = Vec::new();
    for folder in search.iter().cloned().chain(cuda).chain(standard) {
        for library in in_folder(&folder) {
            if !found.iter().any(|known| known.path == library.path) {
                found.push(library);
            }
        }
    }
    let rank = |library: &Library| LIBRARIES.iter().position(|(_, what)| *what == library.what);
    found.sort_by_key(rank);
    let root = system.root().to_string_lossy().trim_end_matches('/').to_string();
    found.iter_mut().for_each(|l| l.path = l.path.strip_prefix(&root).unwrap_or(&l.path).to_string());
    found
}

fn folders(system: &System, pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![system.path(pattern)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let names = system.names(parent).unwrap_or_default();
    let matching = names.into_iter().rev().filter(|name| name.starts_with(prefix));
    matching.map(|name| system.path(&format!("{parent}/{name}{after}"))).collect()
}

fn in_folder(folder: &Path) -> Vec<Library> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    let what = |name: &str| {
        let rest =
            |begin: &str| name.strip_prefix(begin).filter(|rest| rest.is_empty() || rest.starts_with('.'));
        LIBRARIES.iter().find(|(begin, _)| rest(begin).is_some()).map(|(_, what)| *what)
    };
    let library = |name: String| {
        let what = what(&name)?;
        // A link to nothing is no library; stubs are for linking alone.
        let file = std::fs::canonicalize(folder.join(name))
            .ok()
            .filter(|f| !f.components().any(|c| c.as_os_str() == "stubs"))?;
        Some(Library { what: what.to_string(), version: version_of(&file), path: file.display().to_string() })
    };
    names.into_iter().filter_map(library).collect()
}

/// What stands behind `.so.`; a single number is the interface's, not the library's.
fn version_of(file: &Path) -> Option<String> {
    let version = file.file_name()?.to_str()?.split_once(".so.")?.1;
    version.contains('.').then(|| version.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::system::{put, system_of};

    #[test]
    fn a_driver_is_described_by_its_files() {
        let version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version: 12.2.0\n";
        let (_folder, system) = system_of(&[
            ("proc/driver/nvidia/version", version),
            ("proc/driver/nvidia/params", "RmProfilingAdminOnly: 1\n"),
            ("proc/self/status", "CapEff:\t00000000a80425fb\n"),
            ("sys/bus/pci/devices/0000:65:00.0/vendor", "0x10de\n"),
            ("sys/bus/pci/devices/0000:65:00.0/class", "0x030200\n"),
            ("sys/bus/pci/devices/0000:65:00.1/vendor", "0x10de\n"),
            ("sys/bus/pci/devices/0000:65:00.1/class", "0x040300\n"),
            ("dev/nvidia0", ""),
            ("dev/null", ""),
        ]);
        let permission = Permission::read(system.root());
        let found = nvidia(&system, &Places::default(), &permission, &[]);
        assert_eq!(found.driver.as_deref(), Some("535.104.05"));
        assert!(found.driver_loaded);
        assert_eq!(found.on_bus.unwrap(), ["0000:65:00.0"]);
        assert_eq!(found.device_files, ["/dev/nvidia0"]);
        assert_eq!(found.counters.allowed, Some(false));
        let open =
            driver_version("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release\n");
        assert_eq!(open.as_deref(), Some("570.86.15"));
    }

    #[cfg(unix)]
    #[test]
    fn libraries_are_listed_once_by_the_file_behind_their_names() {
        let (folder, system) = system_of(&[("usr/lib/x86_64-linux-gnu/libcuda.so.535.104.05", "")]);
        let lib = folder.path().join("usr/lib/x86_64-linux-gnu");
        for name in ["libcuda.so", "libcuda.so.1"] {
            std::os::unix::fs::symlink("libcuda.so.535.104.05", lib.join(name)).unwrap();
        }
        std::os::unix::fs::symlink("gone", lib.join("libcudnn.so.9")).unwrap();
        for path in [
            "usr/local/cuda-12.4/lib64/libcudart.so.12.4.127",
            "usr/local/cuda-12.4/lib64/libcudartx.so",
            "x/libcublas.so.12",
        ] {
            put(folder.path(), path, "");
        }
        let found = libraries(&system, &Places::default(), &[folder.path().join("x")]);
        let shown: Vec<(&str, Option<&str>)> =
            found.iter().map(|l| (l.what.as_str(), l.version.as_deref())).collect();
        assert_eq!(
            shown,
            [("CUDA driver API", Some("535.104.05")), ("CUDA runtime", Some("12.4.127")), ("cuBLAS", None)]
        );
        assert!(found[1].path.ends_with("cuda-12.4/lib64/libcudart.so.12.4.127"));
    }

    #[test]
    fn whether_counters_can_be_read_is_told_only_where_it_is_certain() {
        let of = |restricted, admin, own_namespace| {
            allowed(&Permission { restricted, admin, own_namespace, ..Permission::default() })
        };
        assert_eq!(of(Some(false), None, true), Some(true));
        assert_eq!(of(Some(true), Some(false), false), Some(false));
        assert_eq!(of(Some(true), Some(true), false), Some(true));
        assert_eq!(of(Some(true), Some(true), true), None);
        assert_eq!(of(None, Some(true), false), None);
    }
}
