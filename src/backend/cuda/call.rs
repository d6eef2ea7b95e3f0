//! How the driver is called: every result is looked at, and what failed is named in the driver's words.

#![allow(unsafe_code)]

use super::error::CudaError;
use cudarc::driver::sys::{self, CUresult};
use std::ffi::CStr;

/// What the driver says a result means: its name and its text.
pub(super) fn describe(code: CUresult) -> String {
    let text = |get: unsafe fn(CUresult, *mut *const std::ffi::c_char) -> CUresult| {
        let mut text = std::ptr::null();
        // SAFETY: the function puts a pointer to a constant string into `text`, or leaves it null.
        let found = unsafe { get(code, &raw mut text) };
        // SAFETY: not null, so one of the driver's constant strings.
        (found == CUresult::CUDA_SUCCESS && !text.is_null())
            .then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    };
    let name = text(sys::cuGetErrorName).unwrap_or_else(|| format!("error {}", code as u32));
    match text(sys::cuGetErrorString) {
        Some(message) if message != name => format!("{name}, {message}"),
        _ => name,
    }
}

/// Whether a kernel faulted: whatever is called next says so, and everything after it (CUDA driver API, `CUresult`).
pub(super) fn is_fault(code: CUresult) -> bool {
    matches!(
        code,
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
    )
}

pub(super) fn check(call: &'static str, code: CUresult) -> Result<(), CudaError> {
    if code == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    if code == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        return Err(CudaError::NoRoomFor { call });
    }
    let reason = describe(code);
    Err(if is_fault(code) { CudaError::Lost { call, reason } } else { CudaError::Call { call, reason } })
}

/// Calls a function of the driver and names it where it fails.
macro_rules! call {
    ($function:ident($($arg:expr),* $(,)?)) => {
        // SAFETY: each use says why its arguments are what the function wants.
        $crate::backend::cuda::call::check(stringify!($function), unsafe {
            cudarc::driver::sys::$function($($arg),*)
        })
    };
}

pub(super) use call;
