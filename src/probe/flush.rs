//! Emptying the caches: memory of several times their size is read by all threads, so that what was in them is gone.

use super::buffer::Buffer;
use super::cpu::{dram_memory, lock};
use super::plan::{CHUNK, dram_bytes};
use super::simd;
use super::team::{self, Load};
use crate::hw::{CpuTopology, available_memory};
use std::sync::{Arc, Mutex};

/// Memory to flush caches with.
#[derive(Debug)]
pub struct Flush {
    memory: Arc<Mutex<Buffer>>,
    threads: usize,
}

impl Flush {
    /// Memory of four times the last-level caches (at least 256 MiB, less where little is free), touched by `threads` threads;
    /// `None` where it is not to be had.
    pub fn new(threads: usize) -> Option<Self> {
        let free = available_memory().map(|bytes| bytes as usize);
        let bytes = dram_bytes(&CpuTopology::detect(), false, free);
        let threads = threads.max(1);
        Some(Self { memory: dram_memory(bytes, threads)?, threads })
    }

    /// How much there is to read.
    pub fn bytes(&self) -> f64 {
        lock(&self.memory).bytes().len() as f64
    }

    /// Reads it all once. Which thread reads which part is left to chance: a core's own caches are emptied where its thread
    /// gets some times their size, as it does unless others hold it up.
    pub fn run(&self) {
        let memory = lock(&self.memory);
        let (bytes, read) = (memory.bytes(), simd::streams().read);
        let units = bytes.len() / CHUNK;
        team::run(Load { threads: self.threads, units, repetitions: 1 }, |_, unit| {
            read(&bytes[unit * CHUNK..(unit + 1) * CHUNK]);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_more_memory_than_the_caches_hold() {
        let flush = Flush::new(2).unwrap();
        let caches = CpuTopology::detect().last_level_bytes().unwrap_or(0);
        let free = available_memory().unwrap_or(1e18) as usize;
        let bytes = lock(&flush.memory).bytes().len();
        assert!(bytes >= (2 * caches).min(free / 5), "{bytes} B against caches of {caches} B");
        flush.run();
    }
}
