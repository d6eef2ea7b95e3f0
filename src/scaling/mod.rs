//! What benchmarks over lengths, contexts and batches say: how time and memory grow, what fits, where one version
//! overtakes another. Records in, reports out; nothing is measured here.

mod capacity;
mod crossover;
mod latency;
mod memory;
mod ranks;

pub use capacity::{CAPACITY_SCHEMA_VERSION, CapacityReport, VersionCapacity};
pub use crossover::{
    BatchCrossover, CROSSOVER_SCHEMA_VERSION, CacheDominates, CrossoverPoint, CrossoverReport, Pays,
    StagePoint,
};
pub use latency::{LATENCY_SCHEMA_VERSION, LatencyPoint, LatencyReport, VersionLatency};

pub use memory::{MEMORY_SCHEMA_VERSION, MemoryPoint, MemoryReport, PerToken, VersionMemory};
pub use ranks::{
    RankFigure, RankFigures, RankPlace, RankQuantity, RankValue, batches, generation_times, peaks, step_times,
};

use crate::profile::Run;

use crate::stats::REPORT_SEED as SEED;

/// The versions that `has` records of: in the order asked for, then any other as first met.
fn versions<'a>(run: &'a Run, recorded: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let recorded: Vec<&str> = recorded.collect();
    let asked = run.manifest.iter().filter_map(|m| m.config.as_ref()).flat_map(|c| &c.versions);
    let asked = asked.map(|v| v.name.as_str()).filter(|name| recorded.contains(name));
    let mut names: Vec<&str> = asked.collect();
    for name in &recorded {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names
}

/// The values of `of`, ascending, each once.
fn ascending(of: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut values: Vec<usize> = of.collect();
    values.sort_unstable();
    values.dedup();
    values
}

#[cfg(test)]
pub(crate) mod tests {
    pub(crate) use super::capacity::tests::capacity_run;
    pub(crate) use super::crossover::tests::crossover_run;
    pub(crate) use super::latency::tests::latency_run;
    pub(crate) use super::memory::tests::memory_run;
}
