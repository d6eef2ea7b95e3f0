//! The activity API: a record of every kernel that ran, with the op that launched it.
//!
//! CUPTI asks for buffers and gives them back full, on threads of its own and without any word of whose they are: what they
//! hold goes into one place of the process, and so only one trace is on at a time.

#![allow(unsafe_code)]

use super::error::CuptiError;
use super::library::Library;
use super::sys::{
    ActivityExternalCorrelation, ActivityKernel, EXTERNAL_CUSTOM0, FLUSH_FORCED, KIND_CONCURRENT_KERNEL,
    KIND_DRIVER, KIND_EXTERNAL_CORRELATION, KIND_KERNEL, KIND_RUNTIME, MAX_LIMIT_REACHED, Opaque, SUCCESS,
    Tracing,
};
use std::alloc::Layout;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A kernel that ran.
#[derive(Clone, Debug, PartialEq)]
pub struct TracedKernel {
    /// Its name as the library has it, which may be mangled.
    pub name: String,
    /// The op that launched it, as it was announced; `None` where it was launched outside of any.
    pub op: Option<usize>,
    /// When it began and ended, in ns of the device.
    pub interval_ns: [u64; 2],
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of shared memory of a block: fixed by the kernel, and asked for with the launch.
    pub shared_bytes: [u32; 2],
    /// The device, the context and the stream.
    pub place: [u32; 3],
    /// What ties it to the call that launched it.
    pub correlation: u32,
}

/// Bytes of a buffer: some ten thousand records.
const BUFFER: usize = 4 << 20;
/// CUPTI wants its buffers aligned so.
const ALIGNMENT: usize = 8;

/// What was recorded and not yet taken.
#[derive(Debug, Default)]
struct Recorded {
    functions: Option<Tracing>,
    kernels: Vec<TracedKernel>,
    /// Correlation IDs with the ops around the calls.
    ops: Vec<(u32, u64)>,
    dropped: usize,
    /// Buffers that could not be read to their end.
    broken: usize,
}

static RECORDED: Mutex<Recorded> =
    Mutex::new(Recorded { functions: None, kernels: Vec::new(), ops: Vec::new(), dropped: 0, broken: 0 });

fn recorded() -> MutexGuard<'static, Recorded> {
    RECORDED.lock().unwrap_or_else(PoisonError::into_inner)
}

const LAYOUT: Option<Layout> = match Layout::from_size_align(BUFFER, ALIGNMENT) {
    Ok(layout) => Some(layout),
    Err(_) => None,
};

unsafe extern "C" fn requested(buffer: *mut *mut u8, bytes: *mut usize, most: *mut usize) {
    // SAFETY: not of size zero; given back in `completed`.
    let made = LAYOUT.map_or(std::ptr::null_mut(), |layout| unsafe { std::alloc::alloc(layout) });
    // SAFETY: CUPTI gives the places for its answer. Where there is no memory it is told of none, and drops records, which
    // it counts.
    unsafe {
        buffer.write(made);
        bytes.write(if made.is_null() { 0 } else { BUFFER });
        most.write(0);
    }
}

unsafe extern "C" fn completed(context: Opaque, stream: u32, buffer: *mut u8, _bytes: usize, valid: usize) {
    let mut recorded = recorded();
    if let Some(functions) = recorded.functions {
        if !buffer.is_null() && valid > 0 {
            recorded.read(&functions, buffer, valid);
        }
        let mut dropped = 0;
        // SAFETY: `dropped` is written; context and stream are those CUPTI names.
        if unsafe { (functions.cuptiActivityGetNumDroppedRecords)(context, stream, &raw mut dropped) }
            == SUCCESS
        {
            recorded.dropped += dropped;
        }
    }
    if let Some(layout) = LAYOUT.filter(|_| !buffer.is_null()) {
        // SAFETY: allocated by `requested` with this layout, and CUPTI is done with it.
        unsafe { std::alloc::dealloc(buffer, layout) };
    }
}

impl Recorded {
    fn read(&mut self, functions: &Tracing, buffer: *mut u8, valid: usize) {
        let mut record: *mut u32 = std::ptr::null_mut();
        loop {
            // SAFETY: a buffer that CUPTI filled so far; `record` is null for the first, then what CUPTI set it to.
            let result = unsafe { (functions.cuptiActivityGetNextRecord)(buffer, valid, &raw mut record) };
            if result == MAX_LIMIT_REACHED {
                return;
            }
            if result != SUCCESS || record.is_null() {
                self.broken += 1;
                return;
            }
            // SAFETY: every record begins with its kind.
            match unsafe { record.read_unaligned() } {
                KIND_CONCURRENT_KERNEL | KIND_KERNEL => {
                    // SAFETY: a record of a kernel begins with these fields in every version that `Library` takes.
                    self.kernels.push(kernel(&unsafe { record.cast::<ActivityKernel>().read_unaligned() }));
                }
                KIND_EXTERNAL_CORRELATION => {
                    // SAFETY: the record of this kind.
                    let of = unsafe { record.cast::<ActivityExternalCorrelation>().read_unaligned() };
                    if of.external_kind == EXTERNAL_CUSTOM0 {
                        self.ops.push((of.correlation, of.external));
                    }
                }
                _ => {}
            }
        }
    }
}

fn kernel(of: &ActivityKernel) -> TracedKernel {
    let name = if of.name.is_null() {
        String::new()
    } else {
        // SAFETY: not null, so a string of the library's that lives at least as long as its record.
        unsafe { CStr::from_ptr(of.name) }.to_string_lossy().into_owned()
    };
    let extent = |of: [i32; 3]| of.map(|n| u32::try_from(n).unwrap_or(0));
    TracedKernel {
        name,
        op: None,
        interval_ns: [of.start, of.end],
        grid: extent(of.grid),
        block: extent(of.block),
        registers: u32::from(of.registers),
        shared_bytes: [of.static_shared, of.dynamic_shared].map(|n| u32::try_from(n).unwrap_or(0)),
        place: [of.device, of.context, of.stream],
        correlation: of.correlation,
    }
}

/// Kinds of records: kernels, and for the ops around their launches both kinds of calls, which those records stand beside.
const KINDS: [u32; 4] = [KIND_CONCURRENT_KERNEL, KIND_EXTERNAL_CORRELATION, KIND_DRIVER, KIND_RUNTIME];

/// Records from here on.
pub(super) fn start(library: &Library) -> Result<(), CuptiError> {
    *recorded() = Recorded { functions: Some(library.tracing), ..Recorded::default() };
    let f = &library.tracing;
    // Once in a process.
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if !REGISTERED.load(Ordering::Relaxed) {
        // SAFETY: two functions of the types that CUPTI wants, which live as long as the process.
        let result = unsafe { (f.cuptiActivityRegisterCallbacks)(requested, completed) };
        library.check("cuptiActivityRegisterCallbacks", result)?;
        REGISTERED.store(true, Ordering::Relaxed);
    }
    for kind in KINDS {
        // SAFETY: a kind of the header.
        let result = unsafe { (f.cuptiActivityEnable)(kind) };
        if let Err(error) = library.check("cuptiActivityEnable", result) {
            disable(library);
            return Err(error);
        }
    }
    Ok(())
}

fn disable(library: &Library) {
    for kind in KINDS {
        // SAFETY: a kind of the header; one that was not enabled is an error of no consequence.
        let _ = unsafe { (library.tracing.cuptiActivityDisable)(kind) };
    }
}

/// Ends recording, when the device is done, and gives what was recorded in the order it began.
pub(super) fn stop(library: &Library) -> Result<Vec<TracedKernel>, CuptiError> {
    // SAFETY: no arguments that could be wrong. Everything has ended, so that forcing gives no half-made record.
    let result = unsafe { (library.tracing.cuptiActivityFlushAll)(FLUSH_FORCED) };
    disable(library);
    library.check("cuptiActivityFlushAll", result)?;
    let found = std::mem::take(&mut *recorded());
    finished(found)
}

fn finished(found: Recorded) -> Result<Vec<TracedKernel>, CuptiError> {
    let Recorded { mut kernels, mut ops, dropped, broken, .. } = found;
    if dropped > 0 {
        return Err(CuptiError::Dropped { count: dropped });
    }
    let unread =
        kernels.iter().filter(|k| k.interval_ns[1] < k.interval_ns[0] || k.interval_ns[1] == 0).count();
    if broken > 0 || unread > 0 {
        let reason = format!("{broken} buffers could not be read, and {unread} kernels have no times");
        return Err(CuptiError::Call { call: "cuptiActivityGetNextRecord", reason });
    }
    ops.sort_unstable();
    for kernel in &mut kernels {
        // Ops are announced one at a time: a call has one at most.
        let at = ops.partition_point(|(correlation, _)| *correlation < kernel.correlation);
        let of = ops.get(at).filter(|(correlation, _)| *correlation == kernel.correlation);
        kernel.op = of.and_then(|(_, op)| usize::try_from(*op).ok());
    }
    kernels.sort_by_key(|k| k.interval_ns);
    Ok(kernels)
}

/// An op begins on this thread: calls from here on are its own.
pub(super) fn push(library: &Library, op: usize) -> Result<(), CuptiError> {
    // SAFETY: a kind of the header, and any number.
    let result =
        unsafe { (library.tracing.cuptiActivityPushExternalCorrelationId)(EXTERNAL_CUSTOM0, op as u64) };
    library.check("cuptiActivityPushExternalCorrelationId", result)
}

/// The op ends.
pub(super) fn pop(library: &Library) -> Result<(), CuptiError> {
    let mut last = 0;
    // SAFETY: `last` is written.
    let result =
        unsafe { (library.tracing.cuptiActivityPopExternalCorrelationId)(EXTERNAL_CUSTOM0, &raw mut last) };
    library.check("cuptiActivityPopExternalCorrelationId", result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(correlation: u32, from: u64, to: u64) -> TracedKernel {
        TracedKernel {
            name: "k".into(),
            op: None,
            interval_ns: [from, to],
            grid: [1; 3],
            block: [32, 1, 1],
            registers: 32,
            shared_bytes: [0; 2],
            place: [0, 1, 7],
            correlation,
        }
    }

    #[test]
    fn kernels_are_put_to_their_ops_by_correlation_and_in_the_order_they_began() {
        let found = Recorded {
            kernels: vec![traced(9, 30, 40), traced(7, 10, 20), traced(8, 20, 30)],
            ops: vec![(9, 1), (7, 0)],
            ..Recorded::default()
        };
        let ops: Vec<_> = finished(found).unwrap().into_iter().map(|k| (k.correlation, k.op)).collect();
        assert_eq!(ops, [(7, Some(0)), (8, None), (9, Some(1))]);
    }

    #[test]
    fn what_was_lost_is_an_error_and_no_smaller_result() {
        let lost = Recorded { kernels: vec![traced(1, 1, 2)], dropped: 3, ..Recorded::default() };
        assert_eq!(finished(lost), Err(CuptiError::Dropped { count: 3 }));
        let unfinished = Recorded { kernels: vec![traced(1, 5, 0)], ..Recorded::default() };
        assert!(finished(unfinished).is_err());
    }
}
