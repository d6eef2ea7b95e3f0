//! A thread pool whose fork-join waits for work, not for workers.
//!
//! Tasks are claimed one by one from a counter, and a join waits until every task is finished. A worker that sleeps or
//! was preempted before it claimed anything delays nobody: on a shared machine that is what matters (measured with
//! two CPU hogs on four cores: five times the throughput of a pool that waits for all its workers).

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often an idle worker looks for work before it sleeps: some 100 µs, longer than the gap between two ops.
const SPINS: u32 = 3000;
/// A sleeper wakes by itself after this, in case the wake-up was missed.
const NAP: Duration = Duration::from_millis(50);

/// The bits of a task's index, and of the number of tasks, in the claim word; the rest counts jobs.
const BITS: u32 = 24;
const MASK: u64 = (1 << BITS) - 1;

/// The most tasks of one job; room is left for each worker's failed claims.
const MOST_TASKS: usize = (1 << BITS) - 4096;

type Call = unsafe fn(*const (), usize);

/// Keeps a field off its neighbours' cache lines.
#[repr(align(128))]
struct Apart<T>(T);

struct Shared {
    /// The job's number, its count of tasks, and the next task to claim.
    claim: Apart<AtomicU64>,
    /// Tasks finished.
    done: Apart<AtomicUsize>,
    /// A task panicked: the join panics too, instead of giving a half-written result.
    failed: AtomicBool,
    job: UnsafeCell<(Call, *const ())>,
    asleep: Vec<Apart<AtomicBool>>,
    /// Workers that have started.
    started: AtomicUsize,
    stop: AtomicBool,
}

// SAFETY: `job` is written only while no task is claimable or running (see `Pool::run`), and read only by a thread that
// has claimed a task of that job; the claim word's release and acquire order the two. The rest is atomic.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Threads that run the tasks of one job at a time together with the caller.
pub(in crate::backend::cpu) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

/// Counts a task as finished even where it panics, so that the join ends.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::Relaxed);
        }
        self.0.done.0.fetch_add(1, Ordering::Release);
    }
}

impl Shared {
    /// Whether a task can be claimed.
    fn has_work(&self, ordering: Ordering) -> bool {
        let word = self.claim.0.load(ordering);
        word & MASK < word >> BITS & MASK
    }

    /// Runs tasks until none can be claimed; whether any ran.
    fn work(&self) -> bool {
        let mut any = false;
        while self.has_work(Ordering::Relaxed) {
            let word = self.claim.0.fetch_add(1, Ordering::AcqRel);
            let (index, count) = (word & MASK, word >> BITS & MASK);
            if index >= count {
                break;
            }
            let finish = Finish(self);
            // SAFETY: the claimed task is not finished, so `Pool::run` has not returned: the job it wrote before it
            // stored the claim word is there, and the closure behind the pointer alive.
            unsafe {
                let (call, data) = *self.job.get();
                call(data, index as usize);
            }
            drop(finish);
            any = true;
        }
        any
    }

    fn serve(&self, worker: usize) {
        let mut idle = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if self.work() {
                idle = 0;
                continue;
            }
            idle += 1;
            if idle < SPINS {
                std::hint::spin_loop();
                continue;
            }
            let asleep = &self.asleep[worker].0;
            asleep.store(true, Ordering::SeqCst);
            if !self.has_work(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst) {
                std::thread::park_timeout(NAP);
            }
            asleep.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }
}

unsafe fn call<F: Fn(usize) + Sync>(data: *const (), index: usize) {
    // SAFETY: `Pool::run` stored this function together with a pointer to an `F` that outlives the job.
    unsafe { (*data.cast::<F>())(index) }
}

impl Pool {
    /// `threads` threads, the caller's included; `on_start` is run by each worker first, with its number from 1.
    pub(in crate::backend::cpu) fn new(
        threads: usize,
        on_start: impl Fn(usize) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let others = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            claim: Apart(AtomicU64::new(0)),
            done: Apart(AtomicUsize::new(0)),
            failed: AtomicBool::new(false),
            job: UnsafeCell::new((call::<fn(usize)>, std::ptr::null())),
            asleep: (0..others).map(|_| Apart(AtomicBool::new(false))).collect(),
            started: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let on_start = Arc::new(on_start);
        let mut pool = Self { shared, workers: Vec::with_capacity(others) };
        for worker in 0..others {
            let (shared, on_start) = (Arc::clone(&pool.shared), Arc::clone(&on_start));
            let builder = std::thread::Builder::new().name(format!("kprof-cpu-{}", worker + 1));
            pool.workers.push(builder.spawn(move || {
                on_start(worker + 1);
                shared.started.fetch_add(1, Ordering::Release);
                // A panic in a task reaches the caller by `failed`; the worker lives on.
                while std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shared.serve(worker))).is_err()
                {
                }
            })?);
        }
        // What a thread allocates when it starts is done before the first job.
        while pool.shared.started.load(Ordering::Acquire) < others {
            std::thread::yield_now();
        }
        Ok(pool)
    }

    /// Threads, the caller's included.
    pub(in crate::backend::cpu) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `task(i)` for every `i` below `tasks`, each once, on all threads, and returns when all are finished.
    /// `&mut` as one job runs at a time.
    pub(in crate::backend::cpu) fn run<F: Fn(usize) + Sync>(&mut self, tasks: usize, task: F) {
        if tasks <= 1 || self.workers.is_empty() {
            (0..tasks).for_each(task);
            return;
        }
        assert!(tasks <= MOST_TASKS, "{tasks} tasks are more than a job can have");
        let shared = &*self.shared;
        shared.done.0.store(0, Ordering::Relaxed);
        shared.failed.store(false, Ordering::Relaxed);
        // SAFETY: the last job is finished (this borrow is exclusive, and `run` waits for its tasks), so no thread
        // reads `job`: one that still looks at the old claim word finds no task in it.
        unsafe { *shared.job.get() = (call::<F>, (&raw const task).cast()) }
        let number = (shared.claim.0.load(Ordering::Relaxed) >> (2 * BITS)).wrapping_add(1);
        let word = number << (2 * BITS) | (tasks as u64) << BITS;
        shared.claim.0.store(word, Ordering::SeqCst);
        for (asleep, worker) in shared.asleep.iter().zip(&self.workers) {
            if asleep.0.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        let waiting = Join { shared, tasks };
        shared.work();
        drop(waiting);
        assert!(!shared.failed.load(Ordering::Relaxed), "a task of the CPU backend panicked");
    }
}

/// Waits for all tasks when dropped, also while a panic of the caller's own task unwinds: the closure that workers run
/// is on its stack.
struct Join<'a> {
    shared: &'a Shared,
    tasks: usize,
}

impl Drop for Join<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The caller's own task panicked: nobody else may be there to claim the rest.
            let claim = &self.shared.claim.0;
            while self.shared.has_work(Ordering::Relaxed) {
                let word = claim.fetch_add(1, Ordering::AcqRel);
                if word & MASK < word >> BITS & MASK {
                    self.shared.done.0.fetch_add(1, Ordering::Release);
                }
            }
        }
        let mut spins = 0u32;
        while self.shared.done.0.load(Ordering::Acquire) != self.tasks {
            spins += 1;
            if spins < 2000 {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker's panic was already reported by the job that caused it.
            let _ = worker.join();
        }
    }
}

/// How a matrix of `[rows, stride]` is cut into tiles: bands of rows that do not cross a group, and columns.
#[derive(Clone, Copy, Debug)]
pub(in crate::backend::cpu) struct Grid {
    /// Rows in all.
    pub(in crate::backend::cpu) rows: usize,
    /// Rows of a group: a sequence's, or all.
    pub(in crate::backend::cpu) group: usize,
    /// Rows of a tile.
    pub(in crate::backend::cpu) tile_rows: usize,
    /// Columns that are cut; those up to the stride belong to the last tile's rows but are never written.
    pub(in crate::backend::cpu) columns: usize,
    /// Columns of a tile.
    pub(in crate::backend::cpu) tile_columns: usize,
    /// Elements from a row to the next.
    pub(in crate::backend::cpu) stride: usize,
}

impl Grid {
    fn bands_per_group(&self) -> usize {
        self.group.div_ceil(self.tile_rows)
    }

    fn across(&self) -> usize {
        self.columns.div_ceil(self.tile_columns)
    }

    /// How many tiles there are.
    pub(in crate::backend::cpu) fn tiles(&self) -> usize {
        self.rows / self.group * self.bands_per_group() * self.across()
    }
}

/// A part of a matrix that one task writes.
pub(in crate::backend::cpu) struct Tile<'a, T> {
    first: *mut T,
    stride: usize,
    /// Its first row in the matrix.
    pub(in crate::backend::cpu) row: usize,
    /// Its rows.
    pub(in crate::backend::cpu) rows: usize,
    /// Its first column in the matrix.
    pub(in crate::backend::cpu) column: usize,
    /// Its columns.
    pub(in crate::backend::cpu) columns: usize,
    matrix: PhantomData<&'a mut T>,
}

impl<T> Tile<'_, T> {
    /// Row `i` of the tile.
    pub(in crate::backend::cpu) fn row_mut(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.rows, "row {i} of a tile of {}", self.rows);
        // SAFETY: `Pool::tiles` made the tile from a matrix that has these rows and columns, and gave no other task a
        // tile that overlaps it; the borrow of the tile is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(i * self.stride), self.columns) }
    }
}

struct Base<T>(*mut T);
// SAFETY: only used to make tiles of disjoint elements, which are sent where `T` may be.
unsafe impl<T: Send> Sync for Base<T> {}

impl<T> Base<T> {
    /// A method, so that closures capture the wrapper and not the pointer in it.
    fn pointer(&self) -> *mut T {
        self.0
    }
}

impl Pool {
    /// Runs `task` for every tile of `matrix`, bands of rows outermost, last to first: in causal attention the last
    /// rows are the longest work.
    pub(in crate::backend::cpu) fn tiles<T: Send, F>(&mut self, matrix: &mut [T], grid: Grid, task: F)
    where
        F: Fn(Tile<'_, T>) + Sync,
    {
        let Grid { rows, group, tile_rows, columns, tile_columns, stride } = grid;
        assert!(columns <= stride && rows % group.max(1) == 0 && rows * stride <= matrix.len());
        let (bands, across) = (grid.bands_per_group(), grid.across());
        let base = Base(matrix.as_mut_ptr());
        self.run(grid.tiles(), |index| {
            let index = grid.tiles() - 1 - index;
            let (band, column) = (index / across, index % across * tile_columns);
            let row = band / bands * group + band % bands * tile_rows;
            let tile = Tile {
                // SAFETY: row and column are within the matrix, whose length was checked.
                first: unsafe { base.pointer().add(row * stride + column) },
                stride,
                row,
                rows: tile_rows.min(group - band % bands * tile_rows),
                column,
                columns: tile_columns.min(columns - column),
                matrix: PhantomData,
            };
            task(tile);
        });
    }

    /// Runs `task` for every chunk of `chunk` elements, with its index.
    pub(in crate::backend::cpu) fn chunks<T: Send, F>(&mut self, data: &mut [T], chunk: usize, task: F)
    where
        F: Fn(usize, &mut [T]) + Sync,
    {
        let columns = data.len();
        let grid = Grid { rows: 1, group: 1, tile_rows: 1, columns, tile_columns: chunk, stride: columns };
        self.tiles(data, grid, |mut tile| {
            let index = tile.column / chunk;
            task(index, tile.row_mut(0));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> Pool {
        Pool::new(threads, |_| {}).unwrap()
    }

    #[test]
    fn every_task_runs_once_whatever_the_number_of_threads() {
        for threads in [1, 2, 5] {
            let mut pool = pool(threads);
            for tasks in [0, 1, 2, 7, 1000] {
                let ran: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, |i| {
                    ran[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    ran.iter().all(|n| n.load(Ordering::Relaxed) == 1),
                    "{threads} threads, {tasks} tasks"
                );
            }
        }
    }

    #[test]
    fn many_short_jobs_and_sleeping_workers_lose_nothing() {
        let mut pool = pool(4);
        let sum = AtomicUsize::new(0);
        for job in 0..20_000 {
            pool.run(5, |i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            if job % 5000 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        assert_eq!(sum.into_inner(), 20_000 * 10);
    }

    #[test]
    fn tiles_cover_the_matrix_once_and_stay_in_their_group() {
        // Two groups of 5 rows in bands of 2; 7 of 8 columns in tiles of 3.
        let grid = Grid { rows: 10, group: 5, tile_rows: 2, columns: 7, tile_columns: 3, stride: 8 };
        let mut matrix = vec![0u32; 80];
        pool(3).tiles(&mut matrix, grid, |mut tile| {
            assert_eq!(tile.row / 5, (tile.row + tile.rows - 1) / 5);
            for i in 0..tile.rows {
                let row = tile.row + i;
                for x in tile.row_mut(i) {
                    *x += 1 + row as u32;
                }
            }
        });
        assert_eq!(grid.tiles(), 2 * 3 * 3);
        for (i, x) in matrix.iter().enumerate() {
            assert_eq!(*x, if i % 8 == 7 { 0 } else { 1 + (i / 8) as u32 });
        }
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_the_pool_lives_on() {
        let mut pool = pool(3);
        for bad in [0, 17, 39] {
            let run = std::panic::AssertUnwindSafe(|| pool.run(40, |i| assert!(i != bad, "task {i}")));
            assert!(std::panic::catch_unwind(run).is_err());
            let count = AtomicUsize::new(0);
            pool.run(40, |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 40);
        }
    }
}
