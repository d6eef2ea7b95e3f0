//! A ledger of the memory that this process holds: the heap, by an allocator that counts, and the mappings that the
//! backends make, which an allocator does not see.
//!
//! It counts only between [`start`] and [`stop`], so that nothing else pays for it but a load per allocation. What was
//! allocated before and is freed meanwhile counts as negative: every figure is the change since [`start`].
//!
//! A program that wants the heap counted declares [`Counting`] its allocator; without, [`Held::heap`] is `None`.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

static COUNTS: AtomicBool = AtomicBool::new(false);
/// Whether this process's allocator is [`Counting`]: it says so with its first allocation.
static IS_ALLOCATOR: AtomicBool = AtomicBool::new(false);
static HEAP: AtomicI64 = AtomicI64::new(0);
static MAPPED: AtomicI64 = AtomicI64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, with every byte counted while the ledger is open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

// SAFETY: hands everything on to the system's allocator, whose promises are those asked for here; counting allocates
// nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note_heap(layout.size() as i64);
        // SAFETY: the caller's promises are those that `System` asks for; as below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note_heap(layout.size() as i64);
        // SAFETY: as above. The system's own zeroing leaves large pages untouched until they are written.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note_heap(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note_heap(size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn note_heap(change: i64) {
    if COUNTS.load(Ordering::Relaxed) {
        IS_ALLOCATOR.store(true, Ordering::Relaxed);
        HEAP.fetch_add(change, Ordering::Relaxed);
        note(change);
    }
}

/// Notes a mapping that was made (`change` above 0) or given back.
pub(crate) fn note_mapping(change: i64) {
    if COUNTS.load(Ordering::Relaxed) {
        MAPPED.fetch_add(change, Ordering::Relaxed);
        note(change);
    }
}

fn note(change: i64) {
    let live = LIVE.fetch_add(change, Ordering::Relaxed) + change;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

/// What is held, in bytes, as changes since [`start`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// On the heap; `None` where the program's allocator does not count.
    pub heap: Option<f64>,
    /// In mappings of the backends.
    pub mapped: f64,
    /// Both together.
    pub live: f64,
    /// The most that both together were since [`start`] or the last [`restart_peak`].
    pub peak: f64,
}

/// Opens the ledger, at 0.
pub fn start() {
    stop();
    for counter in [&HEAP, &MAPPED, &LIVE, &PEAK] {
        counter.store(0, Ordering::Relaxed);
    }
    COUNTS.store(true, Ordering::Relaxed);
}

/// Closes it: from here on nothing is counted.
pub fn stop() {
    COUNTS.store(false, Ordering::Relaxed);
}

/// Begins the peak anew, from what is held now.
pub fn restart_peak() {
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// What the ledger says.
pub fn held() -> Held {
    let read = |counter: &AtomicI64| counter.load(Ordering::Relaxed) as f64;
    let heap = IS_ALLOCATOR.load(Ordering::Relaxed).then(|| read(&HEAP));
    Held { heap, mapped: read(&MAPPED), live: read(&LIVE), peak: read(&PEAK) }
}
