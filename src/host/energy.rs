//! The energy that the processor's own counters report: RAPL, through the kernel's powercap files.
//!
//! A counter is in µJ and starts again at 0 after `max_energy_range_uj`: at 200 W every 20 minutes or so. [`Meter`] is
//! read often enough by its users to see each turn.

use super::system::System;
use crate::profile::EnergyAccess;

const FOLDER: &str = "sys/class/powercap";

/// A counter: a package, or the DRAM beside it. Parts of a package (`core`, `uncore`) are left out, which it contains,
/// and so is `psys`, the whole platform, which contains the packages.
#[derive(Clone, Debug, PartialEq)]
struct Domain {
    folder: String,
    name: String,
    range_uj: u64,
}

/// Whether the counters are there, and can be read.
pub(super) fn access(system: &System) -> EnergyAccess {
    let found = zones(system);
    let readable = |folder: &String| system.number::<u64>(&format!("{FOLDER}/{folder}/energy_uj")).is_some();
    match found.is_empty() {
        true => EnergyAccess::Absent,
        false if found.iter().any(|(folder, _)| readable(folder)) => EnergyAccess::Readable,
        false => EnergyAccess::Denied,
    }
}

/// The folders of packages and their DRAM, with the name of each.
fn zones(system: &System) -> Vec<(String, String)> {
    let folders = system.names(FOLDER).unwrap_or_default();
    let named = folders.into_iter().filter_map(|folder| {
        let name = system.line(&format!("{FOLDER}/{folder}/name"))?;
        // `intel-rapl-mmio` shows the same package a second time.
        let counts = folder.starts_with("intel-rapl:") || folder.starts_with("amd-rapl:");
        (counts && (name.starts_with("package-") || name == "dram")).then_some((folder, name))
    });
    named.collect()
}

/// Energy since the meter was made.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    system: System,
    domains: Vec<Domain>,
    last_uj: Vec<u64>,
    total_uj: Vec<u64>,
}

impl Meter {
    /// Of all counters that can be read; there may be none.
    pub(super) fn new(system: &System) -> Self {
        let mut meter =
            Self { system: system.clone(), domains: Vec::new(), last_uj: Vec::new(), total_uj: Vec::new() };
        for (folder, name) in zones(system) {
            let number = |file: &str| system.number::<u64>(&format!("{FOLDER}/{folder}/{file}"));
            let (Some(range_uj), Some(now)) = (number("max_energy_range_uj"), number("energy_uj")) else {
                continue;
            };
            // The DRAM of package 1 is `intel-rapl:1:0`: both are named by the package's number.
            let package = folder.split(':').nth(1).unwrap_or("0");
            let name = if name == "dram" { format!("dram-{package}") } else { name };
            meter.domains.push(Domain { folder, name, range_uj });
            meter.last_uj.push(now);
            meter.total_uj.push(0);
        }
        meter
    }

    /// Joules of each counter since the meter was made, with its name; a counter that cannot be read any more stays.
    pub(super) fn read(&mut self) -> Vec<(String, f64)> {
        for (i, domain) in self.domains.iter().enumerate() {
            if let Some(now) = self.system.number::<u64>(&format!("{FOLDER}/{}/energy_uj", domain.folder)) {
                self.total_uj[i] += since(self.last_uj[i], now, domain.range_uj);
                self.last_uj[i] = now;
            }
        }
        let joules = self.total_uj.iter().map(|uj| *uj as f64 * 1e-6);
        self.domains.iter().map(|d| d.name.clone()).zip(joules).collect()
    }
}

/// What a counter that turns at `range` has gone on by.
fn since(before: u64, now: u64, range: u64) -> u64 {
    if now >= before { now - before } else { (range.saturating_sub(before)) + now }
}

#[cfg(test)]
mod tests {
    use super::super::system::{put, system_of};
    use super::*;

    #[test]
    fn a_counter_that_turns_goes_on() {
        assert_eq!((since(10, 30, 100), since(90, 5, 100), since(7, 7, 100)), (20, 15, 0));
    }

    #[test]
    fn packages_and_dram_are_metered_and_their_parts_are_not() {
        let at = |zone: &str, file: &str| format!("sys/class/powercap/{zone}/{file}");
        let zones = [
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:0:0", "dram"),
            ("intel-rapl:0:1", "core"),
            ("intel-rapl:1", "psys"),
        ];
        let mut files = Vec::new();
        for (zone, name) in zones {
            files.push((at(zone, "name"), name));
            files.push((at(zone, "max_energy_range_uj"), "262143328850"));
            files.push((at(zone, "energy_uj"), "262143000000"));
        }
        let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (p.as_str(), *t)).collect();
        let (folder, system) = system_of(&files);
        assert_eq!(access(&system), EnergyAccess::Readable);
        let mut meter = Meter::new(&system);
        assert_eq!(meter.read(), [("package-0".to_string(), 0.0), ("dram-0".to_string(), 0.0)]);
        put(folder.path(), &at("intel-rapl:0", "energy_uj"), "671150\n");
        put(folder.path(), &at("intel-rapl:0:0", "energy_uj"), "262143100000\n");
        // The package: 328,850 µJ to its turn and 671,150 after it; the DRAM 100,000.
        let joules: Vec<f64> = meter.read().into_iter().map(|(_, joules)| joules).collect();
        assert!((joules[0] - 1.0).abs() < 1e-12 && (joules[1] - 0.1).abs() < 1e-12, "{joules:?}");
    }

    #[test]
    fn counters_that_are_there_and_cannot_be_read_are_denied() {
        let (_folder, system) = system_of(&[("sys/class/powercap/intel-rapl:0/name", "package-0\n")]);
        assert_eq!(access(&system), EnergyAccess::Denied);
        assert!(Meter::new(&system).read().is_empty());
        let (_folder, nothing) = system_of(&[]);
        assert_eq!(access(&nothing), EnergyAccess::Absent);
    }
}
