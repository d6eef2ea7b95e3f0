//! How much main memory this process may still take.

use std::path::Path;

/// Bytes of main memory that can be had without swapping: the least of `MemAvailable` (proc(5)) and of what the control
/// groups of this process leave, file cache that can be dropped counted as free. `None` where the system does not say.
pub fn available_memory() -> Option<f64> {
    let of_machine = read(Path::new("/proc/meminfo")).as_deref().and_then(mem_available);
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let of_groups = left_by_groups(&groups, Path::new("/sys/fs/cgroup"));
    of_machine.into_iter().chain(of_groups).reduce(f64::min)
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The kernel's `kB` are KiB.
fn mem_available(meminfo: &str) -> Option<f64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// What the tightest group of `/proc/self/cgroup` leaves: of version 2 (`0::/path`) this group and all above it, of
/// version 1 the memory controller's.
fn left_by_groups(groups: &str, root: &Path) -> Option<f64> {
    let path = |line: &str| line.splitn(3, ':').nth(2).unwrap_or("/").trim_start_matches('/').to_string();
    let unified = groups.lines().filter(|line| line.starts_with("0::")).flat_map(|line| {
        let own = root.join(path(line));
        let above: Vec<_> =
            own.ancestors().take_while(|p| p.starts_with(root)).map(Path::to_path_buf).collect();
        above
            .into_iter()
            .filter_map(|folder| left(&folder, ["memory.max", "memory.current"], "inactive_file"))
            .collect::<Vec<_>>()
    });
    let first_version = groups.lines().filter(|line| line.contains(":memory:")).filter_map(|line| {
        let folder = root.join("memory").join(path(line));
        // Inside a container the path may be the host's, and the files stand at the root.
        let folder = if folder.is_dir() { folder } else { root.join("memory") };
        left(&folder, ["memory.limit_in_bytes", "memory.usage_in_bytes"], "total_inactive_file")
    });
    unified.chain(first_version).reduce(f64::min)
}

/// Limit less use, with the file cache that can be dropped; `None` without a limit.
fn left(folder: &Path, [limit, usage]: [&str; 2], droppable: &str) -> Option<f64> {
    let number = |name: &str| read(&folder.join(name))?.trim().parse::<f64>().ok();
    let limit = number(limit)?;
    let stat = read(&folder.join("memory.stat")).unwrap_or_default();
    let dropped = stat.lines().find_map(|line| line.strip_prefix(droppable)?.trim().parse::<f64>().ok());
    Some(limit - number(usage)? + dropped.unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_kibibytes_are_read() {
        assert_eq!(mem_available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2048.0 * 1024.0));
        assert_eq!(mem_available("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn the_tightest_control_group_counts_and_file_cache_is_free() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("a/b/memory.max", "max\n");
        write("a/b/memory.current", "5\n");
        assert_eq!(left_by_groups("0::/a/b\n", root.path()), None);
        write("a/memory.max", "1000\n");
        write("a/memory.current", "400\n");
        write("a/memory.stat", "anon 1\ninactive_file 50\n");
        assert_eq!(left_by_groups("0::/a/b\n", root.path()), Some(650.0));
        write("a/b/memory.max", "100\n");
        assert_eq!(left_by_groups("0::/a/b\n", root.path()), Some(95.0));
        write("memory/memory.limit_in_bytes", "80\n");
        write("memory/memory.usage_in_bytes", "10\n");
        assert_eq!(left_by_groups("4:memory:/docker/xyz\n0::/\n", root.path()), Some(70.0));
        assert_eq!(left_by_groups("", root.path()), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_says_how_much_there_is() {
        assert!(available_memory().unwrap() > 0.0);
    }
}
