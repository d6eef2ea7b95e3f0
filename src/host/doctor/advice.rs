//! From facts to advice: each finding with its cause and what mends it. Facts that are not known give none.

use crate::attach::ncu::Permission;
use crate::profile::{Advice, Diagnosis, EnergyAccess, Gpu};
use crate::units::{format_iec, format_si};

/// Load by others, in CPUs per CPU, from which times are no longer one's own.
const BUSY: f64 = 0.1;
/// Time stolen since boot worth a word.
const STOLEN: f64 = 0.01;
/// Free memory under which runs fail or swap.
const LITTLE_MEMORY: f64 = 1024.0 * 1024.0 * 1024.0;

/// Everything that is worth changing or knowing before a measurement.
pub fn advice(found: &Diagnosis, permission: &Permission) -> Vec<Advice> {
    let of_machine = [
        attached(found),
        governor(found),
        load(found),
        stolen(found),
        cpu_limit(found),
        throttled(found),
        memory(found),
        swap(found),
        huge_pages(found),
        energy(found),
        no_driver(found),
        no_nvml(found),
        versions(found),
        no_cuda(found),
        counters(permission),
        ncu(found),
    ];
    let gpus = found.nvidia.gpus.iter().flatten().flat_map(of_gpu);
    of_machine.into_iter().flatten().chain(gpus).collect()
}

fn advise(about: &str, found: String, cause: &str, fix: &str, command: Option<&str>) -> Option<Advice> {
    Some(Advice {
        about: about.to_string(),
        found,
        cause: cause.to_string(),
        fix: fix.to_string(),
        command: command.map(str::to_string),
    })
}

fn attached(d: &Diagnosis) -> Option<Advice> {
    let tool = d.tools.attached.as_ref()?;
    advise(
        "profiler",
        format!("{tool} is attached to this process"),
        "its cost is in every time that is taken under it",
        "take times from a run without it, and kernels from its own report",
        None,
    )
}

fn governor(d: &Diagnosis) -> Option<Advice> {
    let governors = d.processor.governors.as_ref()?;
    if governors.iter().all(|g| g == "performance") {
        return None;
    }
    advise(
        "governor",
        format!("the frequency governor is {}", governors.join(" and ")),
        "clocks rise only after load has come, so that the first steps are slower and times vary",
        "choose the governor performance while measuring",
        Some("sudo cpupower frequency-set -g performance"),
    )
}

fn load(d: &Diagnosis) -> Option<Advice> {
    let (load, cpus) = (d.processor.load?[0], d.processor.online? as f64);
    if load / cpus < BUSY {
        return None;
    }
    advise(
        "load",
        format!("over the last minute {load:.2} threads ran or waited on {cpus:.0} CPUs"),
        "other programs take CPU time, caches and memory bandwidth from what is measured",
        "end them, or measure when they are done",
        Some("top -o %CPU"),
    )
}

fn stolen(d: &Diagnosis) -> Option<Advice> {
    let share = d.processor.steal_share.filter(|share| *share > STOLEN)?;
    advise(
        "steal",
        format!("the hypervisor took {:.1} % of the CPU time since boot", share * 100.0),
        "this virtual machine shares its CPUs with others",
        "choose an instance with dedicated CPUs; `kprof phase` says which samples were hit",
        None,
    )
}

fn cpu_limit(d: &Diagnosis) -> Option<Advice> {
    let (limit, cpus) = (d.limits.cpus.value()?, d.processor.allowed? as f64);
    if limit >= cpus {
        return None;
    }
    let threads = limit.floor().max(1.0);
    advise(
        "CPU limit",
        format!("a control group allows {limit:.2} CPUs' time, and {cpus:.0} CPUs can be seen"),
        "with more threads than that, all of them are stopped for the rest of every period (usually 0.1 s)",
        "use no more threads than the limit, or give the container whole CPUs (docker run --cpuset-cpus)",
        Some(&format!("kprof phase --threads {threads:.0}")),
    )
}

fn throttled(d: &Diagnosis) -> Option<Advice> {
    // Without a limit now, what was throttled in the past says nothing about the next run.
    d.limits.cpus.value()?;
    let time = d.limits.throttled_s.filter(|time| *time > 0.0)?;
    advise(
        "CPU limit",
        format!("threads of this control group were held back for {} so far", format_si(time, "s")),
        "the group's CPU limit was reached",
        "raise the limit (docker run --cpus), or use fewer threads",
        None,
    )
}

fn memory(d: &Diagnosis) -> Option<Advice> {
    let free = d.memory.available_bytes.filter(|free| *free < LITTLE_MEMORY)?;
    advise(
        "memory",
        format!("{} of memory can be had", format_iec(free, "B")),
        "a model that does not fit is refused, or swapped",
        "end other programs, or raise the container's memory limit",
        Some("ps aux --sort=-rss | head"),
    )
}

fn swap(d: &Diagnosis) -> Option<Advice> {
    let used = d.memory.swap_used_bytes.filter(|used| *used > 0.0)?;
    advise(
        "swap",
        format!("{} of swap is in use", format_iec(used, "B")),
        "pages that come back from disk cost milliseconds in the middle of a step",
        "free memory, then empty the swap",
        Some("sudo swapoff -a && sudo swapon -a"),
    )
}

fn huge_pages(d: &Diagnosis) -> Option<Advice> {
    let mode = d.memory.transparent_huge_pages.as_ref().filter(|mode| *mode == "never")?;
    advise(
        "huge pages",
        format!("transparent huge pages: {mode}"),
        "weights are read through 4 KiB pages, whose translations do not fit the TLB",
        "allow huge pages to programs that ask for them",
        Some("echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"),
    )
}

fn energy(d: &Diagnosis) -> Option<Advice> {
    if d.processor.energy != EnergyAccess::Denied {
        return None;
    }
    advise(
        "energy",
        "the processor's energy counters (RAPL) cannot be read".to_string(),
        "since Linux 5.10 they are for administrators only (CVE-2020-8694), so Joules per token are n/a",
        "allow everybody to read them until the next boot, unless other users must not learn from them what you compute",
        Some("sudo chmod -R a+r /sys/class/powercap/intel-rapl*"),
    )
}

fn no_driver(d: &Diagnosis) -> Option<Advice> {
    let on_bus = d.nvidia.on_bus.as_ref().filter(|all| !all.is_empty() && !d.nvidia.driver_loaded)?;
    advise(
        "NVIDIA driver",
        format!("an NVIDIA GPU is on the bus ({}), and no driver is loaded", on_bus.join(", ")),
        "the driver is not installed, was not built for this kernel, or another one (nouveau, vfio) has the GPU",
        "load it, or install it from the distribution's packages",
        Some("sudo modprobe nvidia && nvidia-smi"),
    )
}

/// Whether there is reason to expect a GPU.
fn expects_gpu(d: &Diagnosis) -> bool {
    d.nvidia.driver_loaded || !d.nvidia.device_files.is_empty()
}

fn no_nvml(d: &Diagnosis) -> Option<Advice> {
    let error = d.nvidia.nvml.error.as_ref().filter(|_| expects_gpu(d))?;
    let (cause, fix, command) = if error.contains("different versions") {
        (
            "the driver was updated, and the old one is still loaded",
            "reboot, or load the new one",
            "sudo reboot",
        )
    } else if error.contains("did not answer") {
        (
            "without persistence mode the driver wakes every GPU anew",
            "let the driver keep GPUs initialised",
            "sudo nvidia-smi -pm 1",
        )
    } else {
        (
            "in a container: it was started without NVIDIA's libraries; elsewhere: the driver is not installed whole",
            "start the container with the GPU and its utilities, or install the driver's library",
            "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility …",
        )
    };
    advise("NVML", format!("NVML: {error}"), cause, fix, Some(command))
}

fn versions(d: &Diagnosis) -> Option<Advice> {
    let driver = d.nvidia.driver.as_ref()?;
    let of_driver = |l: &&crate::profile::Library| l.what == "CUDA driver API" || l.what == "NVML";
    // Compatibility packages bring a newer libcuda on purpose.
    let on_purpose = |l: &&crate::profile::Library| l.path.contains("/compat/");
    let other = d
        .nvidia
        .libraries
        .iter()
        .filter(of_driver)
        .filter(|l| !on_purpose(l))
        .find(|l| l.version.as_ref().is_some_and(|version| version != driver))?;
    advise(
        "NVIDIA driver",
        format!("{} is of another version than the loaded driver, {driver}", other.path),
        "the driver was updated and not loaded again, or a container brings libraries of its own",
        "reboot; in a container, remove its own driver libraries",
        Some("sudo reboot"),
    )
}

fn no_cuda(d: &Diagnosis) -> Option<Advice> {
    let there = d.nvidia.libraries.iter().any(|l| l.what == "CUDA driver API");
    if there || !expects_gpu(d) {
        return None;
    }
    advise(
        "CUDA",
        "libcuda.so.1 was not found, and the driver is loaded".to_string(),
        "the container was started without the capability compute, or the driver is not installed whole",
        "start the container with it, or install the driver's CUDA library",
        Some("docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility …"),
    )
}

fn counters(permission: &Permission) -> Option<Advice> {
    if !permission.is_forbidden() {
        return None;
    }
    let command = permission.container.is_none().then_some("sudo kprof ncu -- PROGRAM");
    advise(
        "GPU counters",
        "this process may not read the GPU's performance counters".to_string(),
        "RmProfilingAdminOnly is 1, and CAP_SYS_ADMIN is not among its capabilities",
        &permission.to_string(),
        command,
    )
}

fn ncu(d: &Diagnosis) -> Option<Advice> {
    let error = d.tools.ncu.error.as_ref().filter(|_| expects_gpu(d))?;
    advise(
        "ncu",
        "Nsight Compute cannot be used".to_string(),
        error,
        "`kprof ncu` needs it; `kprof phase`, and `kprof roofline` of exports made elsewhere, do not",
        None,
    )
}

/// What nothing can be done about, or what is meant to be: no reason to worry.
const HARMLESS: &[&str] =
    &["gpu_idle", "applications_clocks_setting", "none", "display_clock_setting", "sync_boost"];

/// The reasons that make a GPU slower than it should be.
pub(in crate::host) fn harmful(reasons: &[String]) -> Vec<&str> {
    reasons.iter().map(String::as_str).filter(|reason| !HARMLESS.contains(reason)).collect()
}

fn of_gpu(gpu: &Gpu) -> Vec<Advice> {
    let all = [
        persistence(gpu),
        clocks(gpu),
        throttling(gpu),
        ecc(gpu),
        power(gpu),
        others(gpu),
        mig(gpu),
        lanes(gpu),
    ];
    all.into_iter().flatten().collect()
}

fn about(gpu: &Gpu) -> String {
    format!("GPU {}", gpu.index)
}

fn persistence(gpu: &Gpu) -> Option<Advice> {
    if gpu.persistence? {
        return None;
    }
    advise(
        &about(gpu),
        "persistence mode is off".to_string(),
        "the driver starts the GPU anew for every program: seconds at the start, and clock settings are lost",
        "turn it on",
        Some(&format!("sudo nvidia-smi -i {} -pm 1", gpu.index)),
    )
}

fn clocks(gpu: &Gpu) -> Option<Advice> {
    let max = gpu.max_sm_clock_hz?;
    if gpu.clocks_locked == Some(true) {
        return None;
    }
    let mhz = max / 1e6;
    advise(
        &about(gpu),
        "nothing shows that clocks are locked (NVML does not tell it of an idle GPU)".to_string(),
        "clocks follow temperature and power, so that runs minutes apart differ",
        &format!(
            "lock them at what the GPU holds under load, at most {mhz:.0} MHz; `nvidia-smi -rgc` undoes it"
        ),
        Some(&format!("sudo nvidia-smi -i {} -lgc MHZ", gpu.index)),
    )
}

fn throttling(gpu: &Gpu) -> Option<Advice> {
    let reasons = harmful(gpu.throttle_reasons.as_ref()?);
    if reasons.is_empty() {
        return None;
    }
    advise(
        &about(gpu),
        format!("clocks are held back now: {}", reasons.join(", ")),
        "temperature, power or the power supply is at its limit",
        "improve cooling, wait, or lock lower clocks that it can hold",
        Some(&format!("nvidia-smi -i {} -q -d PERFORMANCE,TEMPERATURE,POWER", gpu.index)),
    )
}

fn ecc(gpu: &Gpu) -> Option<Advice> {
    if let Some(errors) = gpu.ecc_uncorrected.filter(|errors| *errors > 0) {
        return advise(
            &about(gpu),
            format!("{errors} memory errors since the driver was loaded could not be corrected"),
            "the memory is failing",
            "drain the GPU and look at its retired rows",
            Some(&format!("nvidia-smi -i {} -q -d ECC,ROW_REMAPPER", gpu.index)),
        );
    }
    let (now, then) = (gpu.ecc?, gpu.ecc_pending?);
    if now == then {
        return None;
    }
    let word = |on: bool| if on { "on" } else { "off" };
    advise(
        &about(gpu),
        format!("ECC is {} and will be {} after a reboot", word(now), word(then)),
        "bandwidth and capacity differ with it on GDDR memory",
        "reboot, so that runs before and after are comparable",
        Some("sudo reboot"),
    )
}

fn power(gpu: &Gpu) -> Option<Advice> {
    let (cap, default) = (gpu.power_cap_w?, gpu.default_power_cap_w?);
    // A watt is below what the driver's own rounding does.
    if cap > default - 1.0 {
        return None;
    }
    advise(
        &about(gpu),
        format!("power is capped at {cap:.0} W, and the GPU came with {default:.0} W"),
        "under load clocks fall to keep the cap",
        "raise the cap, or compare only with runs under the same",
        Some(&format!("sudo nvidia-smi -i {} -pl {default:.0}", gpu.index)),
    )
}

fn others(gpu: &Gpu) -> Option<Advice> {
    let own = std::process::id();
    let others = gpu.processes.as_ref()?.iter().filter(|process| process.pid != own).count();
    if others == 0 {
        return None;
    }
    advise(
        &about(gpu),
        format!("{others} other program{} on it", if others == 1 { " is" } else { "s are" }),
        "they share its SMs, bandwidth and memory",
        "end them, or choose another GPU (CUDA_VISIBLE_DEVICES)",
        Some("nvidia-smi --query-compute-apps=gpu_uuid,pid,process_name,used_memory --format=csv"),
    )
}

fn mig(gpu: &Gpu) -> Option<Advice> {
    if !gpu.mig? {
        return None;
    }
    let count = gpu.mig_instances.map_or("n/a".to_string(), |n| n.to_string());
    advise(
        &about(gpu),
        format!("MIG is on (instances: {count})"),
        "an instance has a part of the SMs and of the bandwidth: ceilings of the whole GPU do not hold for it",
        "measure one instance by its UUID, or turn MIG off for the whole GPU",
        Some(&format!("nvidia-smi -L    # or: sudo nvidia-smi -i {} -mig 0", gpu.index)),
    )
}

fn lanes(gpu: &Gpu) -> Option<Advice> {
    let (now, max) = (gpu.pcie_width?, gpu.max_pcie_width?);
    if now >= max {
        return None;
    }
    advise(
        &about(gpu),
        format!("{now} of {max} PCIe lanes are in use"),
        "the slot is shared or narrower, or the card does not sit well",
        "look at the slot; weights load slower, kernels do not",
        Some(&format!("nvidia-smi -i {} -q | grep -A 12 'GPU Link Info'", gpu.index)),
    )
}

#[cfg(test)]
mod tests;
