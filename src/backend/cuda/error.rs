//! What can go wrong between kprof and a GPU, each with its cause and what to do.

use super::launch::Launch;
use crate::units::Bytes;

/// The lowest CUDA version whose driver takes the committed PTX: 12.0, which is driver 525.60 on Linux.
pub(super) const LOWEST_CUDA: i32 = 12_000;

/// Why a GPU could not do what was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// The driver's library is not there.
    #[error(
        "no CUDA driver: the library {LIBRARY} is not found; install NVIDIA's driver, or in a container start it with \
         --gpus all, or use --device cpu"
    )]
    NoDriver,
    /// The driver is older than the kernels.
    #[error(
        "the driver is too old: it supports CUDA {}.{}, and kprof's kernels need 12.0 (driver 525.60.13 on Linux, \
         527.41 on Windows) or newer; update the driver, or use --device cpu",
        found / 1000, found % 1000 / 10
    )]
    DriverTooOld {
        /// What it supports, as 1000 x major + 10 x minor.
        found: i32,
    },
    /// There is a driver and no device.
    #[error(
        "the CUDA driver finds no device ({reason}); see `nvidia-smi -L` and CUDA_VISIBLE_DEVICES, or use --device cpu"
    )]
    NoDevice {
        /// The driver's word for it.
        reason: String,
    },
    /// No device of that index or UUID.
    #[error("no CUDA device '{asked}'; there are: {known}{why}")]
    UnknownDevice {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
        /// Why it may be missing; empty where nothing hints at it.
        why: String,
    },
    /// A UUID that begins like several.
    #[error("the CUDA device '{asked}' could be any of: {which}; write more of the UUID, or the number")]
    AmbiguousDevice {
        /// What was asked for.
        asked: String,
        /// What it could be.
        which: String,
    },
    /// A module that the device cannot run.
    #[error(
        "the device {device} (compute capability {major}.{minor}) cannot run kprof's kernels '{module}': {reason}; they are \
         PTX for compute capability 8.0 and newer, and need a driver of CUDA 12.0 or newer"
    )]
    Image {
        /// The device's name.
        device: String,
        /// Its compute capability.
        major: i32,
        /// Its compute capability.
        minor: i32,
        /// Which kernels.
        module: &'static str,
        /// What the driver says, and its compiler's log.
        reason: String,
    },
    /// Memory that the device does not have.
    #[error(
        "out of GPU memory: {asked} for {what} were asked for, {free} of {total} are free; lower --batch, \
         --prompt-length or --tokens, use fewer versions at once (each has its own cache), --layers N for a part of \
         the model, or --dtype bf16"
    )]
    OutOfMemory {
        /// How much was asked for.
        asked: Bytes,
        /// What for.
        what: String,
        /// How much is free.
        free: Bytes,
        /// How much there is.
        total: Bytes,
    },
    /// Memory that the driver itself needed for a call and did not find.
    #[error(
        "out of GPU memory: the driver has no room for what {call} needs beside the allocations; lower --batch, \
         --prompt-length or --tokens, or see what else runs on the GPU (nvidia-smi)"
    )]
    NoRoomFor {
        /// The function.
        call: &'static str,
    },
    /// A kernel that faulted: the context is lost.
    #[error(
        "{reason}: {which} {kernel} with {}; the device takes nothing more from this process{}",
        launch, if *exact { "" } else { "; CUDA_LAUNCH_BLOCKING=1 names the one for certain" },
        which = if *exact { "kernel" } else { "a kernel up to" }
    )]
    Fault {
        /// The driver's word for it.
        reason: String,
        /// The kernel, or the last one that was launched before the fault was seen.
        kernel: String,
        /// Its grid, block and shared memory.
        launch: String,
        /// Whether it is this one for certain.
        exact: bool,
    },
    /// A library that was asked for and is not there, or does not serve.
    #[error(
        "{library} cannot be used: {}", if refused.is_empty() { format!("it is not found; looked in {looked}") } else { refused.join("; ") }
    )]
    NoLibrary {
        /// What it is called.
        library: &'static str,
        /// Where was looked.
        looked: String,
        /// What was found, and why it does not serve.
        refused: Vec<String>,
    },
    /// A call that met what a kernel before it did: the context is lost.
    #[error(
        "{reason}, seen by {call}: a kernel before it faulted, and the device takes nothing more from this process; \
         CUDA_LAUNCH_BLOCKING=1 names it"
    )]
    Lost {
        /// The function.
        call: &'static str,
        /// The driver's word for it.
        reason: String,
    },
    /// A call that failed otherwise.
    #[error("{call}: {reason}")]
    Call {
        /// The function.
        call: &'static str,
        /// The driver's word for it.
        reason: String,
    },
}

/// What the driver's library is called.
const LIBRARY: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

impl CudaError {
    /// Whether the machine refuses, and not something that was done on it: no driver, no device, a driver too old, an
    /// image it cannot run.
    pub fn is_environment(&self) -> bool {
        matches!(
            self,
            Self::NoDriver
                | Self::DriverTooOld { .. }
                | Self::NoDevice { .. }
                | Self::Image { .. }
                | Self::NoLibrary { .. }
        )
    }

    /// The bytes that were refused for want of memory, 0 where it was the driver that needed them; `None` of every other
    /// error.
    pub fn refused_bytes(&self) -> Option<f64> {
        match self {
            Self::OutOfMemory { asked, .. } => Some(asked.0),
            Self::NoRoomFor { .. } => Some(0.0),
            _ => None,
        }
    }

    /// Whether what was asked for does not exist.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::UnknownDevice { .. } | Self::AmbiguousDevice { .. })
    }

    pub(super) fn fault(reason: String, launch: &Launch, exact: bool) -> Self {
        Self::Fault { reason, kernel: launch.kernel.to_string(), launch: launch.shape(), exact }
    }
}
