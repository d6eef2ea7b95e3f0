//! The CPU's ceilings: what is run, how often, and what becomes of the repetitions.

use super::buffer::{Buffer, fill};
use super::plan::{CHUNK, Stream, streams, thread_counts};
use super::simd::{self, BLOCK, Chain, Streams};
use super::team::{self, Load};
use crate::hw::{Ceiling, CeilingKind, CeilingSource, CpuTopology, MeasuredCeiling, MemoryLevel, Operation};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How much to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Reads and arithmetic on all threads: what a run needs beside it, in about a second.
    Quick,
    /// Triads and one thread as well, with more repetitions.
    Thorough,
}

impl Depth {
    /// The time that suits it, in seconds.
    pub fn usual_budget_s(self) -> f64 {
        match self {
            Self::Quick => 1.2,
            Self::Thorough => 12.0,
        }
    }

    /// How long one repetition should take, in seconds: long against the barrier's some 10 µs.
    fn repetition_s(self) -> f64 {
        match self {
            Self::Quick => 4e-3,
            Self::Thorough => 15e-3,
        }
    }

    /// Repetitions of each measurement in a row; rounds over all measurements spread them over time.
    fn repetitions(self) -> usize {
        match self {
            Self::Quick => 4,
            Self::Thorough => 5,
        }
    }
}

/// How to probe.
#[derive(Clone, Copy, Debug)]
pub struct ProbeOptions {
    /// Threads of the many-threaded measurements; at least 1.
    pub threads: usize,
    /// What to measure.
    pub depth: Depth,
    /// No round over the measurements is begun that would end after this time, in seconds. The first round always
    /// runs, so that there is a value of each.
    pub budget_s: f64,
}

impl ProbeOptions {
    /// All hardware threads this process may use, and the usual time.
    pub fn new(depth: Depth) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads, depth, budget_s: depth.usual_budget_s() }
    }
}

/// What is being measured: for a line of progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// E.g. `DRAM read, 4 threads`.
    pub what: String,
    /// Steps done of this round.
    pub done: usize,
    /// Steps of a round.
    pub of: usize,
    /// The round, from 1.
    pub round: usize,
}

/// The ceilings of this CPU that bound inference: reads per memory level and arithmetic per precision, with all
/// of `options.threads` threads.
pub fn cpu_ceilings(options: &ProbeOptions) -> Vec<Ceiling> {
    bounds(&measure_cpu(options, &mut |_| ()), options.threads)
}

/// The ceilings among `measured` that bound inference on `threads` threads: of each kind the highest.
pub fn bounds(measured: &[MeasuredCeiling], threads: usize) -> Vec<Ceiling> {
    let mut bounds: Vec<Ceiling> = Vec::new();
    for m in measured.iter().filter(|m| m.is_bound() && m.ceiling.threads == Some(threads)) {
        match bounds.iter_mut().find(|bound| bound.kind == m.ceiling.kind) {
            Some(bound) if bound.value < m.ceiling.value => *bound = m.ceiling.clone(),
            Some(_) => {}
            None => bounds.push(m.ceiling.clone()),
        }
    }
    bounds
}

/// Measures this CPU. A level whose memory cannot be allocated is left out.
pub fn measure_cpu(options: &ProbeOptions, progress: &mut dyn FnMut(&Progress)) -> Vec<MeasuredCeiling> {
    let start = Instant::now();
    let options = ProbeOptions { threads: options.threads.max(1), ..*options };
    let mut probes = probes(&options);
    let of = probes.len();
    let budget = Duration::from_secs_f64(options.budget_s.max(0.0));
    let mut round = 0;
    loop {
        round += 1;
        let round_start = Instant::now();
        for (done, probe) in probes.iter_mut().enumerate() {
            progress(&Progress { what: probe.what(), done, of, round });
            probe.run(&options);
        }
        if start.elapsed() + round_start.elapsed() > budget {
            break;
        }
    }
    probes.into_iter().filter_map(|probe| probe.finish(options.threads)).collect()
}

/// One thing to measure and what it gave so far.
struct Probe {
    task: Task,
    threads: usize,
    samples: Vec<f64>,
}

enum Task {
    Cache { stream: Stream, kernel: Streams, memory: Vec<Mutex<Buffer>> },
    Dram { stream: Stream, kernel: Streams, memory: std::sync::Arc<Mutex<Buffer>> },
    Chain(Chain),
}

fn probes(options: &ProbeOptions) -> Vec<Probe> {
    let thorough = options.depth == Depth::Thorough;
    let topology = CpuTopology::detect();
    let kernel = simd::streams();
    let mut dram = None;
    let mut probes: Vec<Probe> = streams(&topology, options.threads, thorough)
        .into_iter()
        .filter_map(|stream| {
            let task = match stream.level {
                MemoryLevel::Dram => {
                    let memory = dram.get_or_insert_with(|| dram_memory(stream.bytes, options.threads));
                    Task::Dram { stream, kernel, memory: memory.clone()? }
                }
                _ => Task::Cache { stream, kernel, memory: cache_memory(stream)? },
            };
            Some(Probe { task, threads: stream.threads, samples: Vec::new() })
        })
        .collect();
    for chain in simd::chains() {
        for threads in thread_counts(options.threads, thorough) {
            probes.push(Probe { task: Task::Chain(chain), threads, samples: Vec::new() });
        }
    }
    probes
}

/// A triad's arrays are this much apart beyond their size: addresses that agree in their low 12 bits make a CPU
/// take a load for one that depends on the store before it.
const STAGGER: usize = 3 * BLOCK;

fn cache_memory(stream: Stream) -> Option<Vec<Mutex<Buffer>>> {
    let room = stream.bytes + 3 * (STAGGER + BLOCK);
    (0..stream.threads).map(|_| Buffer::filled(room).ok().map(Mutex::new)).collect()
}

/// One buffer for all DRAM streams, touched by all threads at once.
pub(super) fn dram_memory(bytes: usize, threads: usize) -> Option<std::sync::Arc<Mutex<Buffer>>> {
    let mut buffer = Buffer::new(bytes).ok()?;
    let chunks = buffer.chunks(CHUNK);
    team::run(Load { threads, units: chunks.len(), repetitions: 1 }, |_, unit| {
        fill(&mut lock(&chunks[unit]))
    });
    drop(chunks);
    Some(std::sync::Arc::new(Mutex::new(buffer)))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A poisoned lock holds memory whose content does not matter.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Probe {
    fn what(&self) -> String {
        let threads = if self.threads == 1 { "1 thread".into() } else { format!("{} threads", self.threads) };
        match &self.task {
            Task::Cache { stream, .. } | Task::Dram { stream, .. } => {
                format!("{} {}, {threads}", stream.level.name(), stream.operation.name())
            }
            Task::Chain(chain) => format!("{} {}, {threads}", chain.precision, chain.operation.name()),
        }
    }

    fn run(&mut self, options: &ProbeOptions) {
        let rates = match &self.task {
            Task::Cache { stream, kernel, memory } => cache_rates(*stream, *kernel, memory, options.depth),
            Task::Dram { stream, kernel, memory } => {
                dram_rates(*stream, *kernel, &mut lock(memory), options.depth)
            }
            Task::Chain(chain) => chain_rates(*chain, self.threads, options.depth),
        };
        self.samples.extend(rates.into_iter().filter(|rate| rate.is_finite()));
    }

    fn finish(self, all: usize) -> Option<MeasuredCeiling> {
        let best = self.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (kind, operation, what) = match &self.task {
            Task::Cache { stream, kernel, .. } => {
                let size = crate::units::format_iec(stream.bytes as f64, "B");
                let what = format!("{}, {size} per thread, {}", stream.operation.name(), kernel.name);
                (CeilingKind::Bandwidth { level: stream.level }, stream.operation, what)
            }
            Task::Dram { stream, kernel, .. } => {
                let size = crate::units::format_iec(stream.bytes as f64, "B");
                let how = match (stream.operation, stream.side_by_side) {
                    (Operation::Triad, _) => " with streaming stores",
                    (_, 1) => "",
                    (..) => " in 4 streams",
                };
                let name = stream.operation.name();
                let what = format!("{name}{how}, dynamic 1 MiB chunks of {size}, {}", kernel.name);
                (CeilingKind::Bandwidth { level: stream.level }, stream.operation, what)
            }
            Task::Chain(chain) => {
                let (precision, accumulate) = (chain.precision, chain.accumulate);
                let kind = CeilingKind::Compute { precision, unit: chain.unit, accumulate };
                (kind, chain.operation, chain.name.to_string())
            }
        };
        let threads = self.threads;
        let plural = if threads == 1 { "" } else { "s" };
        let count = self.samples.len();
        let method = format!("{what}, {threads} thread{plural}, best of {count}");
        let source = CeilingSource::Probe { method };
        let ceiling = Ceiling { kind, value: best, source, threads: Some(threads.min(all)) };
        (count > 0).then_some(MeasuredCeiling { ceiling, operation, samples: self.samples })
    }
}

/// B/s from each thread's own memory: what it holds is passed over again and again.
fn cache_rates(stream: Stream, kernel: Streams, memory: &[Mutex<Buffer>], depth: Depth) -> Vec<f64> {
    let passes = (CHUNK / stream.bytes).max(1);
    let pass = |thread: usize, _unit: usize| {
        let mut buffer = lock(&memory[thread]);
        match stream.operation {
            Operation::Triad => triads(kernel, buffer.bytes_mut(), stream.bytes / 3, passes),
            _ => (0..passes).for_each(|_| (kernel.read)(&buffer.bytes()[..stream.bytes])),
        }
    };
    let bytes = match stream.operation {
        Operation::Triad => stream.bytes / 3 / BLOCK * BLOCK * 3,
        _ => stream.bytes / BLOCK * BLOCK,
    };
    rates((bytes * passes) as f64, stream.threads, depth, pass)
}

fn triads(kernel: Streams, memory: &mut [u8], array: usize, passes: usize) {
    let array = array / BLOCK * BLOCK;
    let (a, rest) = memory.split_at_mut(array + STAGGER);
    let (b, c) = rest.split_at(array + STAGGER);
    for _ in 0..passes {
        (kernel.triad)(&mut a[..array], &b[..array], &c[..array]);
    }
}

/// B/s from one large buffer, each chunk once per repetition.
fn dram_rates(stream: Stream, kernel: Streams, memory: &mut Buffer, depth: Depth) -> Vec<f64> {
    let repetitions = depth.repetitions();
    let total = (stream.bytes / CHUNK * CHUNK) as f64;
    let threads = stream.threads;
    let times = if stream.operation == Operation::Triad {
        let third = stream.bytes / CHUNK / 3;
        let (a, sources) = memory.bytes_mut().split_at_mut(third * CHUNK);
        let a: Vec<Mutex<&mut [u8]>> = a.chunks_exact_mut(CHUNK).map(Mutex::new).collect();
        team::run(Load { threads, units: third, repetitions }, |_, unit| {
            let b = &sources[unit * CHUNK..(unit + 1) * CHUNK];
            let c = &sources[(third + unit) * CHUNK..(third + unit + 1) * CHUNK];
            (kernel.triad_streaming)(&mut lock(&a[unit]), b, c);
        })
    } else {
        let bytes = memory.bytes();
        let read = if stream.side_by_side > 1 { kernel.read_four } else { kernel.read };
        team::run(Load { threads, units: stream.bytes / CHUNK, repetitions }, |_, unit| {
            read(&bytes[unit * CHUNK..(unit + 1) * CHUNK]);
        })
    };
    times.into_iter().map(|seconds| total / seconds).collect()
}

/// FLOP/s of chains of arithmetic.
fn chain_rates(chain: Chain, threads: usize, depth: Depth) -> Vec<f64> {
    // About 20 µs at 50 GFLOP/s and more: long against claiming a unit.
    const ITERATIONS: u64 = 4000;
    let flops = chain.flop_per_iteration * ITERATIONS as f64;
    rates(flops, threads, depth, |_, _| (chain.run)(ITERATIONS))
}

/// The rate of each repetition, with as many units in one as fill the depth's time.
fn rates<F: Fn(usize, usize) + Sync>(work_per_unit: f64, threads: usize, depth: Depth, work: F) -> Vec<f64> {
    // The first units warm caches, clocks and code, and tell how long one takes.
    let warm = 4 * threads;
    let seconds = team::run(Load { threads, units: warm, repetitions: 2 }, &work);
    let unit_s = seconds.into_iter().fold(f64::INFINITY, f64::min) / warm as f64;
    let units = (depth.repetition_s() / unit_s.max(1e-9)).ceil().clamp(threads as f64, 1e7) as usize;
    let times = team::run(Load { threads, units, repetitions: depth.repetitions() }, &work);
    times.into_iter().map(|time| units as f64 * work_per_unit / time).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::Precision;

    #[test]
    fn a_quick_probe_gives_dram_and_fp32_ceilings_with_their_method() {
        let options = ProbeOptions { threads: 2, depth: Depth::Quick, budget_s: 0.0 };
        let mut steps = 0;
        let measured = measure_cpu(&options, &mut |_| steps += 1);
        assert_eq!(steps, measured.len());
        let dram = measured
            .iter()
            .find(|m| m.ceiling.kind == CeilingKind::Bandwidth { level: MemoryLevel::Dram })
            .expect("DRAM is always measured");
        let CeilingSource::Probe { method } = &dram.ceiling.source else {
            panic!("{:?}", dram.ceiling.source)
        };
        assert!(
            method.contains("read, dynamic 1 MiB chunks") && method.contains("2 threads, best of 4"),
            "{method}"
        );
        let fp32 = |m: &&MeasuredCeiling| {
            matches!(m.ceiling.kind, CeilingKind::Compute { precision: Precision::Fp32, .. })
        };
        let fp32 = measured.iter().find(fp32).expect("every CPU computes in fp32");
        for m in &measured {
            assert!(m.ceiling.value > 0.0 && m.samples.iter().all(|s| *s <= m.ceiling.value), "{m:?}");
        }
        let bounds = bounds(&measured, 2);
        let of_dram = |c: &&Ceiling| c.kind == CeilingKind::Bandwidth { level: MemoryLevel::Dram };
        assert_eq!(bounds.iter().filter(of_dram).count(), 1);
        // Any CPU since 2010 reads above 0.5 GB/s and computes above 0.1 GFLOP/s, unoptimised builds included; none
        // reaches 100 TB/s or 10 PFLOP/s on two threads.
        assert!((0.5e9..1e14).contains(&dram.ceiling.value), "{:?}", dram.ceiling);
        assert!((0.1e9..1e16).contains(&fp32.ceiling.value), "{:?}", fp32.ceiling);
    }
}
