//! Whether the driver lets this process read the GPU's counters, asked before anything is started.
//!
//! By default the driver gives them to administrators only (`RmProfilingAdminOnly: 1`, since 2019). An administrator
//! has the capability CAP_SYS_ADMIN in the host's own user namespace; being root in a container is not enough.

use std::fmt;
use std::path::Path;

/// The number of CAP_SYS_ADMIN (capability.h).
const CAP_SYS_ADMIN: u32 = 21;

/// What the system says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// Whether counters are for administrators only; `None` where the driver does not say, or there is none.
    pub restricted: Option<bool>,
    /// Whether a configuration file says that they are for all: it holds from the next loading of the driver on.
    pub lifted_in: Option<String>,
    /// Whether this process has CAP_SYS_ADMIN; `None` where the system does not say.
    pub admin: Option<bool>,
    /// Whether this is a user namespace of its own, in which capabilities say little.
    pub own_namespace: bool,
    /// What kind of container this is in.
    pub container: Option<String>,
    /// Whether a driver is loaded.
    pub driver: bool,
}

impl Permission {
    /// What the system with this root says (`/`, but for tests).
    pub fn read(root: &Path) -> Self {
        let text = |path: &str| std::fs::read_to_string(root.join(path)).ok();
        let params = text("proc/driver/nvidia/params");
        let status = text("proc/self/status");
        let uid_map = text("proc/self/uid_map");
        Self {
            restricted: params.as_deref().and_then(restricted),
            lifted_in: lifted_in(root),
            admin: status.as_deref().and_then(has_admin),
            own_namespace: uid_map.is_some_and(|map| !is_whole_range(&map)),
            container: container(root),
            driver: params.is_some() || text("proc/driver/nvidia/version").is_some(),
        }
    }

    /// Whether the driver will certainly refuse: counters are restricted, and this process is no administrator.
    pub fn is_forbidden(&self) -> bool {
        self.restricted == Some(true) && self.admin == Some(false)
    }
}

/// `RmProfilingAdminOnly: 1` among the driver's parameters.
fn restricted(params: &str) -> Option<bool> {
    let value = params.lines().find_map(|l| l.strip_prefix("RmProfilingAdminOnly:"))?;
    Some(value.trim() != "0")
}

/// `CapEff: 000001ffffffffff`, bit 21.
fn has_admin(status: &str) -> Option<bool> {
    let value = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    let mask = u64::from_str_radix(value.trim(), 16).ok()?;
    Some(mask >> CAP_SYS_ADMIN & 1 == 1)
}

/// Whether all user IDs are those of the host.
fn is_whole_range(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The configuration file that lifts the restriction.
fn lifted_in(root: &Path) -> Option<String> {
    let mut files: Vec<_> = std::fs::read_dir(root.join("etc/modprobe.d"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    files.sort();
    let lifts = |text: &str| {
        text.lines().any(|l| {
            let l = l.trim();
            !l.starts_with('#') && l.contains("NVreg_RestrictProfilingToAdminUsers=0")
        })
    };
    let file = files.into_iter().find(|f| std::fs::read_to_string(f).is_ok_and(|t| lifts(&t)))?;
    Some(
        file.strip_prefix(root)
            .map_or_else(|_| file.clone(), |f| Path::new("/").join(f))
            .display()
            .to_string(),
    )
}

/// Traces of the known container engines.
fn container(root: &Path) -> Option<String> {
    let exists = |path: &str| root.join(path).exists();
    if exists("var/run/secrets/kubernetes.io") || exists("run/secrets/kubernetes.io") {
        return Some("Kubernetes".to_string());
    }
    if exists(".dockerenv") {
        return Some("Docker".to_string());
    }
    if exists("run/.containerenv") {
        return Some("Podman".to_string());
    }
    if exists(".singularity.d") {
        return Some("Apptainer".to_string());
    }
    let groups = std::fs::read_to_string(root.join("proc/1/cgroup")).unwrap_or_default();
    let known = [("kubepods", "Kubernetes"), ("docker", "Docker"), ("libpod", "Podman"), ("lxc", "LXC")];
    known.iter().find(|(mark, _)| groups.contains(mark)).map(|(_, name)| name.to_string())
}

/// The fix on the host, which is the same for everybody.
const ON_THE_HOST: &str = "on the host, as root: put `options nvidia NVreg_RestrictProfilingToAdminUsers=0` into \
     /etc/modprobe.d/nvidia-profiling.conf, then `update-initramfs -u` (or `dracut -f`) and reboot";

impl fmt::Display for Permission {
    /// What is forbidden, why, and what mends it from where this process stands.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the driver gives the GPU's performance counters to administrators only (RmProfilingAdminOnly: 1 in \
             /proc/driver/nvidia/params), and this process has no CAP_SYS_ADMIN (ERR_NVGPUCTRPERM)",
        )?;
        if let Some(file) = &self.lifted_in {
            write!(f, "; {file} lifts that, but the driver was not loaded again since: reboot")?;
        }
        match &self.container {
            Some(kind) => write!(
                f,
                "; this is a container ({kind}): nothing done inside it can lift the driver's option, which belongs to \
                 the host. Either start the container with the capability (`docker run --cap-add SYS_ADMIN`, in \
                 Kubernetes securityContext.capabilities.add: [SYS_ADMIN]), or {ON_THE_HOST}. Where the host is not \
                 yours, as in most clouds, neither can be done: `kprof phase` and `kprof roofline` of a run or of an \
                 nsys or PyTorch trace need no counters"
            ),
            None => write!(f, "; run kprof with sudo, or {ON_THE_HOST}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(files: &[(&str, &str)]) -> Permission {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Permission::read(root.path())
    }

    const RESTRICTED: (&str, &str) =
        ("proc/driver/nvidia/params", "ResmanDebugLevel: 4294967295\nRmProfilingAdminOnly: 1\n");
    const USER: (&str, &str) = ("proc/self/status", "Name:\tkprof\nCapEff:\t00000000a80425fb\n");
    const ROOT: (&str, &str) = ("proc/self/status", "CapEff:\t000001ffffffffff\n");

    #[test]
    fn only_a_restricted_driver_and_a_plain_user_together_are_forbidden() {
        // 0xa80425fb are Docker's default capabilities: bit 21 is not among them.
        assert!(system(&[RESTRICTED, USER]).is_forbidden());
        assert!(!system(&[RESTRICTED, ROOT]).is_forbidden());
        assert!(!system(&[("proc/driver/nvidia/params", "RmProfilingAdminOnly: 0\n"), USER]).is_forbidden());
        let nothing = system(&[]);
        assert!(!nothing.is_forbidden() && !nothing.driver && nothing.admin.is_none());
    }

    #[test]
    fn a_container_is_told_what_it_cannot_do() {
        let inside = system(&[RESTRICTED, USER, (".dockerenv", "")]).to_string();
        assert!(inside.contains("container (Docker)") && inside.contains("--cap-add SYS_ADMIN"), "{inside}");
        let pod = system(&[RESTRICTED, USER, ("proc/1/cgroup", "0::/kubepods/besteffort/x")]);
        assert_eq!(pod.container.as_deref(), Some("Kubernetes"));
        let plain = system(&[RESTRICTED, USER, ("proc/self/uid_map", "0 0 4294967295\n")]);
        assert!(plain.to_string().contains("sudo") && !plain.own_namespace);
        assert!(system(&[("proc/self/uid_map", "0 1000 1\n")]).own_namespace);
    }

    #[test]
    fn a_lifted_restriction_that_waits_for_a_reboot_is_named() {
        let file = ("etc/modprobe.d/p.conf", "# x\noptions nvidia NVreg_RestrictProfilingToAdminUsers=0\n");
        let waiting = system(&[RESTRICTED, USER, file]);
        assert_eq!(waiting.lifted_in.as_deref(), Some("/etc/modprobe.d/p.conf"));
        assert!(waiting.to_string().contains("reboot"));
        let comment = ("etc/modprobe.d/p.conf", "# NVreg_RestrictProfilingToAdminUsers=0\n");
        assert_eq!(system(&[RESTRICTED, USER, comment]).lifted_in, None);
    }
}
