//! What machine this is and which kprof runs on it: the provenance that manifests carry, and what `kprof doctor` says.
//!
//! Everything is read from files of the system; what it does not say is `None`, and nothing here fails.

mod beside;
mod cgroups;
mod clock;
mod config;
mod cpu;
mod cputime;
pub mod doctor;
mod energy;
mod identity;
#[cfg(any(target_os = "linux", windows))]
mod nvml;
// The wrapper of NVML knows the library's name on these two systems alone.
#[cfg(not(any(target_os = "linux", windows)))]
#[path = "nvml_absent.rs"]
mod nvml;
mod resident;
mod smbios;
mod system;
mod verdicts;
mod watch;

pub use beside::ceilings_moved;
pub use config::config_folder;
pub use identity::{kprof_info, now_rfc3339};
pub use resident::{resident_bytes, resident_peak, restart_resident_peak};
pub use system::System;
pub use verdicts::{interference, throttling};
pub use watch::{Reading, Watch, WatchOptions};

use crate::profile::HostInfo;
use std::path::Path;

/// This machine: from `/proc` and `/sys` on Linux; elsewhere only what the standard library knows.
pub fn environment() -> HostInfo {
    HostInfo {
        hostname: line("/proc/sys/kernel/hostname"),
        os: Some(os()),
        cpu: cpu::cpu_info(),
        memory_bytes: read("/proc/meminfo").as_deref().and_then(total_memory),
    }
}

/// The distribution and the kernel, e.g. `Debian GNU/Linux 13, Linux 6.12.0`; elsewhere the family's name.
fn os() -> String {
    let distribution = read("/etc/os-release").as_deref().and_then(pretty_name);
    let kernel = match (line("/proc/sys/kernel/ostype"), line("/proc/sys/kernel/osrelease")) {
        (Some(name), Some(release)) => Some(format!("{name} {release}")),
        _ => None,
    };
    let parts: Vec<String> = [distribution, kernel].into_iter().flatten().collect();
    if parts.is_empty() { std::env::consts::OS.to_string() } else { parts.join(", ") }
}

fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches('"').to_string())
}

/// `MemTotal` of `/proc/meminfo`, in bytes; the kernel's `kB` are KiB.
fn total_memory(meminfo: &str) -> Option<f64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// A file of one line, without its end.
fn line(path: impl AsRef<Path>) -> Option<String> {
    read(path).map(|text| text.trim().to_string()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_files_are_read_as_the_kernel_writes_them() {
        assert_eq!(total_memory("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16384.0 * 1024.0));
        assert_eq!(total_memory("nothing"), None);
        assert_eq!(pretty_name("NAME=x\nPRETTY_NAME=\"Debian 13\"\n").as_deref(), Some("Debian 13"));
    }

    #[test]
    fn the_environment_names_the_architecture_and_at_least_one_cpu() {
        let host = environment();
        assert_eq!(host.cpu.arch, std::env::consts::ARCH);
        assert!(host.cpu.logical_cores >= 1);
        assert!(host.os.is_some());
        #[cfg(target_os = "linux")]
        assert!(host.memory_bytes.unwrap() > 1e6);
    }
}
