//! How the processor and the memory are set up, from `/proc` and `/sys`.

use crate::host::cputime::CpuTime;
use crate::host::energy;
use crate::host::smbios;
use crate::host::system::{System, cpu_list};
use crate::profile::{Memory, Processor};

const CPUS: &str = "sys/devices/system/cpu";

pub(super) fn processor(system: &System) -> Processor {
    let online = system.line(&format!("{CPUS}/online")).map(|text| cpu_list(&text));
    let cpus = online.clone().unwrap_or_default();
    Processor {
        online: online.map(|cpus| cpus.len()),
        allowed: system.allowed_cpus().map(|cpus| cpus.len()),
        numa_nodes: system
            .names("sys/devices/system/node")
            .map(|names| names.iter().filter(|n| is_node(n)).count()),
        governors: governors(system, &cpus),
        scaling_driver: system.line(&format!("{CPUS}/cpu0/cpufreq/scaling_driver")),
        // The kernel writes kHz.
        min_clock_hz: system
            .number::<f64>(&format!("{CPUS}/cpu0/cpufreq/scaling_min_freq"))
            .map(|khz| khz * 1e3),
        boost: boost(system),
        smt_active: system.number::<u8>(&format!("{CPUS}/smt/active")).map(|active| active == 1),
        virtual_machine: system.text("proc/cpuinfo").as_deref().and_then(virtual_machine),
        load: system.line("proc/loadavg").as_deref().and_then(load),
        steal_share: CpuTime::read(system, None).and_then(CpuTime::steal_share),
        cpu_pressure: system.text("proc/pressure/cpu").as_deref().and_then(pressure),
        energy: energy::access(system),
        perf_event_paranoid: system.number("proc/sys/kernel/perf_event_paranoid"),
    }
}

pub(super) fn memory(system: &System, available_bytes: Option<f64>) -> Memory {
    let meminfo = system.text("proc/meminfo").unwrap_or_default();
    let kib = |name: &str| {
        let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().trim_end_matches("kB").trim().parse::<f64>().ok()
    };
    let pages = system.line("sys/kernel/mm/transparent_hugepage/enabled");
    Memory {
        available_bytes,
        transparent_huge_pages: pages.as_deref().and_then(chosen).map(str::to_string),
        huge_pages: kib("HugePages_Total").map(|pages| pages as u64),
        swap_used_bytes: kib("SwapTotal").zip(kib("SwapFree")).map(|(total, free)| (total - free) * 1024.0),
        modules: smbios::modules(system),
    }
}

fn is_node(name: &str) -> bool {
    name.strip_prefix("node").is_some_and(|n| n.parse::<u32>().is_ok())
}

/// Each governor once; `None` where the system has none, as in most virtual machines.
fn governors(system: &System, cpus: &[usize]) -> Option<Vec<String>> {
    let of = |cpu: &usize| system.line(&format!("{CPUS}/cpu{cpu}/cpufreq/scaling_governor"));
    let mut names: Vec<String> = cpus.iter().filter_map(of).collect();
    names.sort();
    names.dedup();
    (!names.is_empty()).then_some(names)
}

/// acpi-cpufreq and amd-pstate have `boost`, intel_pstate its opposite.
fn boost(system: &System) -> Option<bool> {
    let boost = system.number::<u8>(&format!("{CPUS}/cpufreq/boost")).map(|on| on == 1);
    boost.or_else(|| system.number::<u8>(&format!("{CPUS}/intel_pstate/no_turbo")).map(|off| off == 0))
}

/// The flag `hypervisor`; `None` where processors have no flags, as on Arm.
fn virtual_machine(cpuinfo: &str) -> Option<bool> {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'))?.1;
    Some(flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

/// `0.61 0.49 0.54 2/1024 777`.
fn load(loadavg: &str) -> Option<[f64; 3]> {
    let values: Vec<f64> = loadavg.split(' ').take(3).filter_map(|v| v.parse().ok()).collect();
    values.try_into().ok()
}

/// `some avg10=1.23 …`, in per cent.
fn pressure(text: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix("some avg10="))?.split(' ').next()?;
    value.parse::<f64>().ok().map(|percent| percent / 100.0)
}

/// Of `always [madvise] never`, the one in brackets.
fn chosen(text: &str) -> Option<&str> {
    Some(text.split_once('[')?.1.split_once(']')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::system::system_of;
    use crate::profile::EnergyAccess;

    #[test]
    fn a_machine_is_read_as_the_kernel_writes_it() {
        let (_folder, system) = system_of(&[
            ("sys/devices/system/cpu/online", "0-1\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "intel_pstate\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq", "800000\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"),
            ("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n"),
            ("sys/devices/system/cpu/smt/active", "1\n"),
            ("sys/devices/system/node/node0/cpulist", "0-1"),
            ("sys/devices/system/node/possible", "0"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu hypervisor\n"),
            ("proc/loadavg", "1.50 0.49 0.54 2/1024 777\n"),
            ("proc/stat", "cpu0 80 0 0 10 0 0 0 10 0 0\n"),
            ("proc/pressure/cpu", "some avg10=12.50 avg60=0.00 avg300=0.00 total=1\n"),
            ("proc/meminfo", "SwapTotal: 2048 kB\nSwapFree: 1024 kB\nHugePages_Total:       3\n"),
        ]);
        let found = processor(&system);
        assert_eq!((found.online, found.allowed, found.numa_nodes), (Some(2), None, Some(1)));
        assert_eq!(found.governors.unwrap(), ["performance", "powersave"]);
        assert_eq!(
            (found.boost, found.smt_active, found.virtual_machine),
            (Some(false), Some(true), Some(true))
        );
        assert_eq!((found.min_clock_hz, found.load), (Some(8e8), Some([1.5, 0.49, 0.54])));
        assert_eq!((found.steal_share, found.cpu_pressure), (Some(0.1), Some(0.125)));
        let memory = memory(&system, Some(1.0));
        assert_eq!(memory.transparent_huge_pages.as_deref(), Some("madvise"));
        assert_eq!((memory.huge_pages, memory.swap_used_bytes), (Some(3), Some(1024.0 * 1024.0)));
    }

    #[test]
    fn a_system_that_says_nothing_gives_no_facts() {
        let (_folder, system) = system_of(&[]);
        assert_eq!(processor(&system), Processor { energy: EnergyAccess::Absent, ..Processor::default() });
        assert_eq!(memory(&system, None), Memory::default());
    }
}
