//! `cuProfilerStart` and `cuProfilerStop`: what tells ncu (`--profile-from-start off`) and nsys
//! (`--capture-range=cudaProfilerApi`) which part of a run to look at.

#![allow(unsafe_code)]

use libloading::Library;
use std::ffi::c_int;
use std::sync::OnceLock;

/// The names of the driver's library.
const NAMES: &[&str] = if cfg!(windows) { &["nvcuda.dll"] } else { &["libcuda.so.1", "libcuda.so"] };

type Call = unsafe extern "C" fn() -> c_int;

/// The driver's library; `None` where there is no driver, and then there is nothing to tell.
fn driver() -> Option<&'static Library> {
    static DRIVER: OnceLock<Option<Library>> = OnceLock::new();
    // SAFETY: the library is the system's CUDA driver, which runs nothing of its own when it is loaded.
    let open = |name: &&str| unsafe { Library::new(*name) }.ok();
    DRIVER.get_or_init(|| NAMES.iter().find_map(open)).as_ref()
}

/// Calls a function of the driver that takes nothing; whether it is there and returned CUDA_SUCCESS.
fn call(name: &[u8]) -> bool {
    let Some(driver) = driver() else { return false };
    // SAFETY: both functions have this type in cudaProfiler.h.
    let Ok(function) = (unsafe { driver.get::<Call>(name) }) else { return false };
    // SAFETY: they may be called at any time; without a context they return an error.
    unsafe { function() == 0 }
}

/// Profiling begins; whether the driver took it.
pub(super) fn start() -> bool {
    call(b"cuProfilerStart\0")
}

/// Profiling ends; whether the driver took it.
pub(super) fn stop() -> bool {
    call(b"cuProfilerStop\0")
}
