//! What control groups allow this process: versions 1, 2 and both, inside and outside of containers.
//!
//! A limit holds for everything below it, so the tightest of a group and of all above it is the one that counts.

use super::system::System;
use crate::profile::Limit;

/// Where a controller's files are: of each version at most one folder, with those above it, the own one first.
#[derive(Clone, Debug, Default, PartialEq)]
struct Groups {
    v1: Vec<String>,
    v2: Vec<String>,
}

/// The limits and what they did.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CgroupLimits {
    pub(super) versions: Option<String>,
    pub(super) cpus: Limit,
    pub(super) memory_bytes: Limit,
    pub(super) memory_used_bytes: Option<f64>,
}

/// A limit of version 1 at or above this is none: the kernel writes the largest multiple of a page.
const V1_UNLIMITED: f64 = 9e18;

/// Reads all limits.
pub(super) fn limits(system: &System) -> CgroupLimits {
    let (cpu, memory) = (groups(system, "cpu"), groups(system, "memory"));
    let (memory_bytes, memory_used_bytes) = memory_limit(system, &memory);
    let version = |v1: bool, v2: bool| match (v1, v2) {
        (true, true) => Some("v1+v2".to_string()),
        (true, false) => Some("v1".to_string()),
        (false, true) => Some("v2".to_string()),
        (false, false) => None,
    };
    CgroupLimits {
        versions: version(
            !cpu.v1.is_empty() || !memory.v1.is_empty(),
            !cpu.v2.is_empty() || !memory.v2.is_empty(),
        ),
        cpus: cpu_limit(system, &cpu),
        memory_bytes,
        memory_used_bytes,
    }
}

/// How long threads of the own group were kept from running by a CPU limit, in seconds; a limit further up is
/// accounted for there, so the largest of all counts. `None` where no group has a limit or says.
pub(super) fn throttled_s(system: &System) -> Option<f64> {
    let groups = groups(system, "cpu");
    let of = |folder: &String, key: &str, unit: f64| {
        let stat = system.text(&format!("{folder}/cpu.stat"))?;
        let value = stat
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse::<f64>().ok());
        value.map(|value| value * unit)
    };
    let v2 = groups.v2.iter().filter_map(|folder| of(folder, "throttled_usec", 1e-6));
    let v1 = groups.v1.iter().filter_map(|folder| of(folder, "throttled_time", 1e-9));
    v2.chain(v1).reduce(f64::max)
}

/// The folders of the group that `controller` puts this process in.
fn groups(system: &System, controller: &str) -> Groups {
    let own = system.text("proc/self/cgroup").unwrap_or_default();
    let mounts = system.text("proc/self/mountinfo").unwrap_or_default();
    let mut groups = Groups::default();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(names), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        if number == "0" && names.is_empty() {
            groups.v2 = folders(system, &mounts, "cgroup2", None, path);
        } else if names.split(',').any(|name| name == controller) {
            groups.v1 = folders(system, &mounts, "cgroup", Some(controller), path);
        }
    }
    groups
}

/// The folder of `path` and those above it up to the mount, own first; only those that are there.
///
/// A line of mountinfo is `ID parent major:minor root mountpoint options … - type source options` (proc(5)). A
/// container may see the mount of its own group alone, whose root is then `path` or above it.
fn folders(system: &System, mounts: &str, kind: &str, controller: Option<&str>, path: &str) -> Vec<String> {
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let after: Vec<&str> = after.split(' ').collect();
        let has = |name: &str| after.last().is_some_and(|options| options.split(',').any(|o| o == name));
        (after.first() == Some(&kind) && controller.is_none_or(has))
            .then(|| Some((*before.get(3)?, *before.get(4)?)))?
    });
    let Some((root, point)) = mount else { return Vec::new() };
    let below = path.strip_prefix(root.trim_end_matches('/')).unwrap_or(path);
    let mut parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty() && *part != "..").collect();
    let mut found = Vec::new();
    loop {
        let folder = std::iter::once(point).chain(parts.iter().copied()).collect::<Vec<_>>().join("/");
        if system.exists(&folder) {
            found.push(folder);
        }
        if parts.pop().is_none() {
            return found;
        }
    }
}

/// The least of some limits: unknown where none of them says.
fn tightest(limits: impl Iterator<Item = Limit>) -> Limit {
    limits.fold(Limit::Unknown, |least, next| match (least, next) {
        (Limit::At(a), Limit::At(b)) => Limit::At(a.min(b)),
        (Limit::At(a), _) | (_, Limit::At(a)) => Limit::At(a),
        (Limit::Unlimited, _) | (_, Limit::Unlimited) => Limit::Unlimited,
        (Limit::Unknown, Limit::Unknown) => Limit::Unknown,
    })
}

/// Version 2 writes `max 100000` or `150000 100000`; version 1 a quota, -1 for none, and a period, all in µs. The root
/// group has no such file: it has no limit.
fn cpu_limit(system: &System, groups: &Groups) -> Limit {
    let v2 = groups.v2.iter().map(|folder| {
        let Some(text) = system.line(&format!("{folder}/cpu.max")) else { return Limit::Unknown };
        match text.split_once(' ').map(|(quota, period)| (quota.parse::<f64>(), period.parse::<f64>())) {
            Some((Ok(quota), Ok(period))) => Limit::At(quota / period),
            _ if text.starts_with("max") => Limit::Unlimited,
            _ => Limit::Unknown,
        }
    });
    let v1 = groups.v1.iter().map(|folder| {
        let number = |name: &str| system.number::<f64>(&format!("{folder}/{name}"));
        match (number("cpu.cfs_quota_us"), number("cpu.cfs_period_us")) {
            (Some(quota), _) if quota < 0.0 => Limit::Unlimited,
            (Some(quota), Some(period)) => Limit::At(quota / period),
            _ => Limit::Unknown,
        }
    });
    tightest(v2.chain(v1))
}

/// The tightest limit, and what is in use where it is set.
fn memory_limit(system: &System, groups: &Groups) -> (Limit, Option<f64>) {
    let v2 = groups.v2.iter().map(|folder| {
        let limit = match system.line(&format!("{folder}/memory.max")).as_deref() {
            Some("max") => Limit::Unlimited,
            Some(text) => text.parse().map_or(Limit::Unknown, Limit::At),
            None => Limit::Unknown,
        };
        (limit, system.number(&format!("{folder}/memory.current")))
    });
    let v1 = groups.v1.iter().map(|folder| {
        let limit = match system.number::<f64>(&format!("{folder}/memory.limit_in_bytes")) {
            Some(bytes) if bytes >= V1_UNLIMITED => Limit::Unlimited,
            Some(bytes) => Limit::At(bytes),
            None => Limit::Unknown,
        };
        (limit, system.number(&format!("{folder}/memory.usage_in_bytes")))
    });
    let all: Vec<(Limit, Option<f64>)> = v2.chain(v1).collect();
    let limit = tightest(all.iter().map(|(limit, _)| *limit));
    let used = all.iter().find(|(l, _)| *l == limit && limit.value().is_some()).and_then(|(_, used)| *used);
    (limit, used)
}

#[cfg(test)]
mod tests {
    use super::super::system::system_of;
    use super::*;

    const V2: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_tightest_group_above_counts() {
        let (_folder, system) = system_of(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/cgroup.controllers", "cpu memory"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/a/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/a/b/memory.current", "1048576\n"),
            ("sys/fs/cgroup/a/cpu.stat", "usage_usec 5\nnr_throttled 2\nthrottled_usec 1500000\n"),
        ]);
        let found = limits(&system);
        assert_eq!(found.versions.as_deref(), Some("v2"));
        assert_eq!((found.cpus, found.memory_bytes), (Limit::At(1.5), Limit::At(1073741824.0)));
        assert_eq!(found.memory_used_bytes, Some(1048576.0));
        assert_eq!(throttled_s(&system), Some(1.5));
    }

    #[test]
    fn version_1_has_a_mount_for_each_controller_and_containers_see_their_own_group_as_root() {
        let mounts = "33 31 0:30 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let (_folder, system) = system_of(&[
            ("proc/self/cgroup", "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n"),
            ("proc/self/mountinfo", mounts),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            (
                "sys/fs/cgroup/cpu,cpuacct/cpu.stat",
                "nr_periods 9\nnr_throttled 1\nthrottled_time 250000000\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        let found = limits(&system);
        assert_eq!(found.versions.as_deref(), Some("v1"));
        assert_eq!((found.cpus, found.memory_bytes), (Limit::At(2.0), Limit::Unlimited));
        assert_eq!((found.memory_used_bytes, throttled_s(&system)), (None, Some(0.25)));
    }

    #[test]
    fn a_quota_of_minus_one_is_none_and_silence_is_unknown() {
        let mounts = "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        let (_folder, system) = system_of(&[
            ("proc/self/cgroup", "1:cpu:/\n"),
            ("proc/self/mountinfo", mounts),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
        ]);
        assert_eq!(limits(&system).cpus, Limit::Unlimited);
        assert_eq!(limits(&system).memory_bytes, Limit::Unknown);
        let (_folder, nothing) = system_of(&[]);
        assert_eq!((limits(&nothing), throttled_s(&nothing)), (CgroupLimits::default(), None));
    }
}
