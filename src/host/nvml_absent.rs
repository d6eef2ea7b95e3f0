//! Where NVIDIA's management library is not known to be: no GPU answers.

use crate::profile::{Gpu, GpuSample, Nvml as NvmlInfo};

/// The library, which cannot be opened.
pub(super) enum Gpus {}

impl Gpus {
    pub(super) fn open() -> Result<Self, String> {
        Err(format!("there is no NVML for {}", std::env::consts::OS))
    }

    pub(super) fn info(&self) -> NvmlInfo {
        match *self {}
    }

    pub(super) fn gpus(&self) -> Vec<Gpu> {
        match *self {}
    }

    pub(super) fn sample(&self) -> Vec<GpuSample> {
        match *self {}
    }

    pub(super) fn energy(&self) -> Vec<(String, f64)> {
        match *self {}
    }
}
