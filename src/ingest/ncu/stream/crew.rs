//! The threads that parse chunks side by side, and put them together in order.
//!
//! Every thread takes the next chunk that nobody has, parses it, and lays it down. Whoever lays one down while
//! nobody puts chunks together does so with all that are next in order: so no thread waits for another that parses,
//! and a processor that is busy otherwise delays only the chunk it has.

use super::chunk::{Chunk, Stop, Worker};
use super::head::Plan;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Parsed chunks that may wait for one before them, per thread: what is in memory stays bounded.
const AHEAD: u64 = 16;

/// Parses all chunks and gives them to `add` in the order of the file, the first of which begins at `start`.
pub(super) fn parse(
    plan: &Plan<'_>,
    threads: usize,
    start: u64,
    add: impl FnMut(Chunk) -> Result<(), Stop> + Send,
) -> Result<(), Stop> {
    let chunks = (plan.size - plan.start).div_ceil(plan.chunk);
    let threads = u64::try_from(threads).unwrap_or(1).clamp(1, chunks.max(1));
    let ahead = AHEAD * threads;
    let crew = Crew {
        plan,
        chunks,
        ahead,
        untaken: AtomicU64::new(0),
        laid: Mutex::default(),
        room: Condvar::new(),
    };
    let joiner = Mutex::new(Joiner { again: Worker::new(plan), at: start, add });
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| crew.work(&joiner));
        }
        crew.work(&joiner);
    });
    let laid = crew.laid.into_inner().unwrap_or_else(PoisonError::into_inner);
    let joiner = joiner.into_inner().unwrap_or_else(PoisonError::into_inner);
    match laid.stop {
        Some(stop) => Err(stop),
        None if joiner.at == plan.size => Ok(()),
        None => Err(Stop::Irregular),
    }
}

/// Chunks that are parsed and not put together yet.
#[derive(Debug, Default)]
struct Laid {
    chunks: BTreeMap<u64, Chunk>,
    /// The next to be put together.
    next: u64,
    stop: Option<Stop>,
}

/// What the threads share.
struct Crew<'p> {
    plan: &'p Plan<'p>,
    chunks: u64,
    /// How far a chunk may be ahead of the next to be put together.
    ahead: u64,
    /// The first chunk that nobody has taken.
    untaken: AtomicU64,
    laid: Mutex<Laid>,
    /// Signalled when chunks were put together, or the work stops.
    room: Condvar,
}

/// Puts chunks together.
struct Joiner<'p, F> {
    /// For chunks whose beginning was guessed wrong.
    again: Worker<'p>,
    /// Where the next chunk must begin.
    at: u64,
    add: F,
}

impl<F: FnMut(Chunk) -> Result<(), Stop>> Joiner<'_, F> {
    fn join(&mut self, index: u64, parsed: Chunk) -> Result<(), Stop> {
        let chunk = if parsed.start == self.at { parsed } else { self.again.exactly(self.at, index)? };
        self.at = chunk.end;
        (self.add)(chunk)
    }
}

/// Stops the others when its thread panics, as they would wait for its chunk.
struct StopOnPanic<'c, 'p>(&'c Crew<'p>);

impl Drop for StopOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop(Stop::Irregular);
        }
    }
}

impl Crew<'_> {
    fn work<F: FnMut(Chunk) -> Result<(), Stop>>(&self, joiner: &Mutex<Joiner<'_, F>>) {
        let _guard = StopOnPanic(self);
        let mut worker = Worker::new(self.plan);
        loop {
            let index = self.untaken.fetch_add(1, Ordering::Relaxed);
            if index >= self.chunks || !self.wait_for_room(index) {
                return;
            }
            match worker.chunk(index) {
                Ok(chunk) => {
                    self.laid().chunks.insert(index, chunk);
                }
                Err(stop) => return self.stop(stop),
            }
            self.join_all(joiner);
        }
    }

    /// Waits until the chunk is not too far ahead; false when the work has stopped.
    fn wait_for_room(&self, index: u64) -> bool {
        let far = |laid: &mut Laid| laid.stop.is_none() && index >= laid.next + self.ahead;
        let laid = self.room.wait_while(self.laid(), far).unwrap_or_else(PoisonError::into_inner);
        laid.stop.is_none()
    }

    /// Puts together what is next in order, unless another thread is at it.
    fn join_all<F: FnMut(Chunk) -> Result<(), Stop>>(&self, joiner: &Mutex<Joiner<'_, F>>) {
        // A chunk that is laid down after the last look, but before the lock is free, is found by looking again.
        while self.has_next() {
            let Ok(mut joiner) = joiner.try_lock() else { return };
            while let Some((index, chunk)) = self.take_next() {
                if let Err(stop) = joiner.join(index, chunk) {
                    return self.stop(stop);
                }
                self.room.notify_all();
            }
        }
    }

    fn has_next(&self) -> bool {
        let laid = self.laid();
        laid.stop.is_none() && laid.chunks.contains_key(&laid.next)
    }

    fn take_next(&self) -> Option<(u64, Chunk)> {
        let mut laid = self.laid();
        let index = laid.next;
        let chunk = laid.chunks.remove(&index).filter(|_| laid.stop.is_none())?;
        laid.next += 1;
        Some((index, chunk))
    }

    fn stop(&self, stop: Stop) {
        self.laid().stop.get_or_insert(stop);
        self.room.notify_all();
    }

    fn laid(&self) -> MutexGuard<'_, Laid> {
        // OK after a panic elsewhere: every change of it is whole.
        self.laid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
