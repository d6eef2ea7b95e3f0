//! What is measured, with which working sets: from the sizes of the caches.

use crate::hw::{CpuTopology, MemoryLevel, Operation, available_memory};

/// The unit of DRAM streams that threads claim.
pub(super) const CHUNK: usize = 1 << 20;

/// Cache sizes where the system names none: small enough for every CPU of the last decade.
const USUAL: [(u32, usize); 3] = [(1, 32 << 10), (2, 512 << 10), (3, 16 << 20)];

/// One stream to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) level: MemoryLevel,
    pub(super) operation: Operation,
    pub(super) threads: usize,
    /// How many regions of a chunk are read side by side: 1, or 4.
    pub(super) side_by_side: usize,
    /// Of each thread for caches, of all together for DRAM.
    pub(super) bytes: usize,
}

/// The streams of a probe with `threads` threads: each level, and in a thorough one also triads and one thread.
pub(super) fn streams(topology: &CpuTopology, threads: usize, thorough: bool) -> Vec<Stream> {
    let mut streams = Vec::new();
    for level in [MemoryLevel::L1, MemoryLevel::L2, MemoryLevel::L3, MemoryLevel::Dram] {
        for count in thread_counts(threads, thorough) {
            let Some(bytes) = working_set(topology, level, count, thorough) else { continue };
            let stream = Stream { level, operation: Operation::Read, threads: count, side_by_side: 1, bytes };
            streams.push(stream);
            if level == MemoryLevel::Dram {
                // Which of the two is faster depends on the CPU's prefetchers: 30 % one way or the other.
                streams.push(Stream { side_by_side: 4, ..stream });
            }
            if thorough {
                streams.push(Stream { operation: Operation::Triad, ..stream });
            }
        }
    }
    streams
}

/// One thread and all of them, or only all.
pub(super) fn thread_counts(threads: usize, thorough: bool) -> Vec<usize> {
    if thorough && threads > 1 { vec![1, threads] } else { vec![threads] }
}

/// The bytes to stream through so that they come from `level`; `None` where no size does.
///
/// L1 and L2: half of one core's. L3: twice the L2, so that a cyclic stream never finds its data there, if that
/// is at most three quarters of all threads' share. DRAM: see [`dram_bytes`].
fn working_set(topology: &CpuTopology, level: MemoryLevel, threads: usize, thorough: bool) -> Option<usize> {
    let size = |level: u32| {
        let usual = || topology.caches.is_empty().then(|| USUAL[level as usize - 1].1);
        topology.cache_bytes(level).or_else(usual)
    };
    match level {
        MemoryLevel::L1 => size(1).map(|bytes| bytes / 2),
        MemoryLevel::L2 => size(2).map(|bytes| bytes / 2),
        MemoryLevel::L3 => {
            let shared_by = topology.caches.iter().find(|c| c.level == 3).map_or(threads, |c| c.shared_by);
            let share = size(3)? * 3 / 4 / threads.min(shared_by.max(1));
            let beyond_l2 = 2 * size(2)?;
            (beyond_l2 <= share).then_some(beyond_l2)
        }
        MemoryLevel::Dram => {
            Some(dram_bytes(topology, thorough, available_memory().map(|bytes| bytes as usize)))
        }
    }
}

/// Four times the last-level caches, within 256 MiB and 512 MiB for a quick probe, which has to touch them first, or
/// 2 GiB for a thorough one; twice the caches in any case, and at most a quarter of the memory that is free.
pub(super) fn dram_bytes(topology: &CpuTopology, thorough: bool, free: Option<usize>) -> usize {
    let cached = topology.last_level_bytes().unwrap_or(64 << 20);
    let most = if thorough { 2 << 30 } else { 512 << 20 };
    let wanted = cached.saturating_mul(4).clamp(256 << 20, most).max(cached.saturating_mul(2));
    let affordable = free.map_or(wanted, |free| wanted.min(free / 4));
    // Whole chunks for each of a triad's three arrays, and at least one.
    (affordable / (3 * CHUNK)).max(1) * (3 * CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::CpuCache;

    fn machine(l3: usize, shared_by: usize, cpus: usize) -> CpuTopology {
        let cache = |level, bytes, shared_by| CpuCache { level, bytes, shared_by };
        CpuTopology {
            caches: vec![cache(1, 48 << 10, 1), cache(2, 2 << 20, 1), cache(3, l3, shared_by)],
            physical_cores: Some(cpus),
            logical_cpus: Some(cpus),
        }
    }

    #[test]
    fn working_sets_fit_their_level_and_exceed_the_one_before() {
        let topology = machine(96 << 20, 4, 4);
        let set = |level| working_set(&topology, level, 4, true).unwrap();
        assert_eq!(set(MemoryLevel::L1), 24 << 10);
        assert_eq!(set(MemoryLevel::L2), 1 << 20);
        assert_eq!(set(MemoryLevel::L3), 4 << 20);
    }

    #[test]
    fn dram_streams_exceed_all_caches_and_leave_most_of_the_memory_free() {
        let mib = |bytes: usize| bytes >> 20;
        assert_eq!(mib(dram_bytes(&CpuTopology::default(), false, None)), 255);
        // 4 x 96 MiB; two sockets of 12 x 32 MiB want 1.5 GiB even of a quick probe.
        assert_eq!(mib(dram_bytes(&machine(96 << 20, 4, 4), false, None)), 384);
        assert_eq!(mib(dram_bytes(&machine(32 << 20, 8, 192), false, None)), 1536);
        assert_eq!(mib(dram_bytes(&machine(96 << 20, 4, 4), true, Some(400 << 20))), 99);
    }

    #[test]
    fn an_l3_too_small_for_all_threads_is_left_out() {
        // 8 MiB for 4 threads: three quarters are 1.5 MiB each, under twice the 2 MiB of L2.
        assert_eq!(working_set(&machine(8 << 20, 4, 4), MemoryLevel::L3, 4, true), None);
    }

    #[test]
    fn a_quick_probe_reads_on_all_threads_only() {
        let quick = streams(&machine(96 << 20, 4, 4), 4, false);
        assert_eq!(quick.len(), 5);
        assert!(quick.iter().all(|s| s.threads == 4 && s.operation == Operation::Read));
        assert_eq!(streams(&machine(96 << 20, 4, 4), 4, true).len(), 18);
        assert_eq!(streams(&CpuTopology::default(), 1, true).len(), 9);
    }
}
