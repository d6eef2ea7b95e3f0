//! What a device lends: memory, pinned host memory, events and graphs, each given back when it is dropped and keeping the
//! device until then.

#![allow(unsafe_code)]

use super::call::call;
use super::driver::Gpu;
use super::error::CudaError;
use cudarc::driver::sys;
use std::rc::Rc;

/// Device memory.
#[derive(Debug)]
pub(super) struct Memory {
    /// The device that it belongs to.
    pub(super) gpu: Rc<Gpu>,
    /// Where it lies.
    pub(super) address: u64,
    /// How much there is.
    pub(super) bytes: usize,
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated by this device, freed once, behind everything on the stream that uses it.
        unsafe {
            let _ = sys::cuMemFreeAsync(self.address, self.gpu.stream);
        }
    }
}

/// Host memory that the device copies from and to without the host's help.
#[derive(Debug)]
pub(super) struct Pinned {
    /// Pinned memory belongs to the context.
    _gpu: Rc<Gpu>,
    /// Where it lies.
    pub(super) start: *mut u32,
    /// How much there is.
    pub(super) bytes: usize,
}

impl Pinned {
    pub(super) fn new(gpu: &Rc<Gpu>, bytes: usize) -> Result<Self, CudaError> {
        let mut start = std::ptr::null_mut();
        // SAFETY: `start` is written; freed by drop.
        call!(cuMemAllocHost_v2(&raw mut start, bytes))?;
        // SAFETY: as many bytes as were just allocated.
        unsafe { start.cast::<u8>().write_bytes(0, bytes) };
        Ok(Self { _gpu: Rc::clone(gpu), start: start.cast(), bytes })
    }

    /// Its contents; nothing is under way from or to it.
    pub(super) fn words(&mut self) -> &mut [u32] {
        // SAFETY: initialised, aligned (pages), and as long; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes / 4) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: allocated by cuMemAllocHost and freed once.
        unsafe {
            let _ = sys::cuMemFreeHost(self.start.cast());
        }
    }
}

/// A place in the stream with its time.
#[derive(Debug)]
pub(super) struct Event {
    /// The context outlives it.
    pub(super) _gpu: Rc<Gpu>,
    pub(super) event: sys::CUevent,
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by cuEventCreate and destroyed once.
        unsafe {
            let _ = sys::cuEventDestroy_v2(self.event);
        }
    }
}

/// Launches that were captured, to be run as one.
#[derive(Debug)]
pub(super) struct Graph {
    /// The context outlives it.
    pub(super) _gpu: Rc<Gpu>,
    pub(super) executable: sys::CUgraphExec,
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made by cuGraphInstantiate and destroyed once.
        unsafe {
            let _ = sys::cuGraphExecDestroy(self.executable);
        }
    }
}
