//! The data caches and cores of this machine's CPU, as the operating system names them.

use std::collections::BTreeSet;
use std::path::Path;

/// A data or unified cache of the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuCache {
    /// 1, 2 or 3.
    pub level: u32,
    /// Size of one instance, in bytes.
    pub bytes: usize,
    /// How many of the machine's CPUs share one instance.
    pub shared_by: usize,
}

/// What the operating system says of the CPU; lists are empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuTopology {
    /// Data caches of the first CPU, nearest first.
    pub caches: Vec<CpuCache>,
    /// Cores, counting hardware threads of one core once.
    pub physical_cores: Option<usize>,
    /// Hardware threads of the machine.
    pub logical_cpus: Option<usize>,
}

impl CpuTopology {
    /// Reads Linux' `/sys/devices/system/cpu`; elsewhere nothing is known.
    pub fn detect() -> Self {
        Self::read(Path::new("/sys/devices/system/cpu"))
    }

    fn read(root: &Path) -> Self {
        let cpus = cpu_folders(root);
        let cores: BTreeSet<String> = cpus.iter().filter_map(|cpu| core_key(&root.join(cpu))).collect();
        let mut caches: Vec<CpuCache> =
            (0..8).filter_map(|index| read_cache(&root.join(format!("cpu0/cache/index{index}")))).collect();
        caches.sort_by_key(|cache| cache.level);
        Self {
            caches,
            physical_cores: (!cores.is_empty()).then_some(cores.len()),
            logical_cpus: (!cpus.is_empty()).then_some(cpus.len()),
        }
    }

    /// The size in bytes of one instance of the data cache of `level`.
    pub fn cache_bytes(&self, level: u32) -> Option<usize> {
        self.caches.iter().find(|c| c.level == level).map(|c| c.bytes)
    }

    /// The sum in bytes of all instances of the last-level cache: what data in DRAM has to exceed.
    pub fn last_level_bytes(&self) -> Option<usize> {
        let last = self.caches.last()?;
        let cpus = self.logical_cpus.unwrap_or(1);
        Some(last.bytes * cpus.div_ceil(last.shared_by.max(1)))
    }
}

fn cpu_folders(root: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let is_cpu = |name: &String| name.strip_prefix("cpu").is_some_and(|n| n.parse::<usize>().is_ok());
    // An offline CPU has no topology folder.
    names.filter(is_cpu).filter(|name| root.join(name).join("topology").is_dir()).collect()
}

/// The CPUs of one core share this text.
fn core_key(cpu: &Path) -> Option<String> {
    let read = |name: &str| std::fs::read_to_string(cpu.join("topology").join(name)).ok();
    read("core_cpus_list").or_else(|| read("thread_siblings_list"))
}

fn read_cache(folder: &Path) -> Option<CpuCache> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok().map(|t| t.trim().to_string());
    if read("type")? == "Instruction" {
        return None;
    }
    Some(CpuCache {
        level: read("level")?.parse().ok()?,
        bytes: parse_size(&read("size")?)?,
        shared_by: read("shared_cpu_list").map_or(1, |list| count_cpus(&list)),
    })
}

/// `48K`, `2M` or plain bytes, as the kernel writes them.
fn parse_size(text: &str) -> Option<usize> {
    let (digits, factor) = match text.chars().last()? {
        'K' => (&text[..text.len() - 1], 1 << 10),
        'M' => (&text[..text.len() - 1], 1 << 20),
        'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok().map(|n| n * factor)
}

/// How many CPUs a kernel list such as `0-3,8` names.
fn count_cpus(list: &str) -> usize {
    let parts = list.split(',').filter(|part| !part.trim().is_empty());
    parts
        .map(|part| match part.trim().split_once('-') {
            Some((first, last)) => match (first.parse::<usize>(), last.parse::<usize>()) {
                (Ok(first), Ok(last)) if last >= first => last - first + 1,
                _ => 1,
            },
            None => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: std::path::PathBuf, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn caches_and_cores_are_read_as_the_kernel_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for cpu in 0..4 {
            let siblings = if cpu % 2 == 0 { "0,2" } else { "1,3" };
            write(root.join(format!("cpu{cpu}/topology/core_cpus_list")), siblings);
        }
        write(root.join("cpufreq/x"), "");
        for (index, level, kind, size, shared) in [
            (0, "1", "Data", "48K", "0,2"),
            (1, "1", "Instruction", "32K", "0,2"),
            (2, "2", "Unified", "2048K", "0,2"),
            (3, "3", "Unified", "32M", "0-1"),
        ] {
            let cache = root.join(format!("cpu0/cache/index{index}"));
            let files = [("level", level), ("type", kind), ("size", size), ("shared_cpu_list", shared)];
            files.iter().for_each(|(name, text)| write(cache.join(name), &format!("{text}\n")));
        }
        let found = CpuTopology::read(root);
        assert_eq!((found.physical_cores, found.logical_cpus), (Some(2), Some(4)));
        assert_eq!(found.cache_bytes(1), Some(48 << 10));
        assert_eq!(found.cache_bytes(2), Some(2 << 20));
        // Four CPUs, two to each instance: two instances of 32 MiB.
        assert_eq!(found.last_level_bytes(), Some(64 << 20));
    }

    #[test]
    fn a_system_that_says_nothing_gives_nothing() {
        let nothing = CpuTopology::read(Path::new("/nonexistent"));
        assert_eq!(nothing, CpuTopology::default());
        assert_eq!(nothing.last_level_bytes(), None);
    }
}
