//! Threads that share out equal units of work by claiming them one by one.
//!
//! A static split waits for the slowest thread, which on a shared machine halves the rate that is seen (measured:
//! 43 against 72 GB/s); with claims, a thread that was preempted costs at most one unit.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// How often and how much to run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Threads, the caller's included.
    pub(super) threads: usize,
    /// Units of work per repetition.
    pub(super) units: usize,
    /// Timed repetitions.
    pub(super) repetitions: usize,
}

/// Runs `work(thread, unit)` for every unit of every repetition and gives the seconds that each repetition took.
///
/// A repetition lasts from the last thread's arrival at the barrier, before which no unit can be claimed, to the
/// last thread's end: with one thread's clock alone, a preemption right behind the barrier would hide work that
/// others did meanwhile, and rates above the hardware's would be seen.
pub(super) fn run<F: Fn(usize, usize) + Sync>(load: Load, work: F) -> Vec<f64> {
    let next: Vec<AtomicUsize> = (0..load.repetitions).map(|_| AtomicUsize::new(0)).collect();
    let barrier = Barrier::new(load.threads);
    let member = |thread: usize| -> Vec<(Instant, Instant)> {
        let repetition = |next: &AtomicUsize| {
            let arrived = Instant::now();
            barrier.wait();
            loop {
                let unit = next.fetch_add(1, Ordering::Relaxed);
                if unit >= load.units {
                    return (arrived, Instant::now());
                }
                work(thread, unit);
            }
        };
        next.iter().map(repetition).collect()
    };
    let spans = std::thread::scope(|scope| {
        let member = &member;
        let others: Vec<_> = (1..load.threads).map(|thread| scope.spawn(move || member(thread))).collect();
        let mut spans = vec![member(0)];
        spans.extend(others.into_iter().filter_map(|other| other.join().ok()));
        spans
    });
    (0..load.repetitions)
        .filter_map(|repetition| span_s(spans.iter().map(|spans| spans[repetition])))
        .collect()
}

/// Seconds from the last arrival to the last end.
fn span_s(spans: impl Iterator<Item = (Instant, Instant)>) -> Option<f64> {
    let (start, end) = spans.reduce(|(start, end), (s, e)| (start.max(s), end.max(e)))?;
    Some(end.duration_since(start).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_done_once_per_repetition() {
        let load = Load { threads: 3, units: 100, repetitions: 4 };
        let done: Vec<AtomicUsize> = (0..load.units).map(|_| AtomicUsize::new(0)).collect();
        let times = run(load, |_, unit| {
            done[unit].fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(times.len(), 4);
        assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 4));
    }
}
