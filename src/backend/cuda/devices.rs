//! Which devices there are, as the driver introduces them, and which one a flag means.

#![allow(unsafe_code)]

use super::call::call;
use super::error::{CudaError, LOWEST_CUDA};
use cudarc::driver::sys;
use std::ffi::CStr;

/// A CUDA device as it introduces itself.
#[derive(Clone, Debug, PartialEq)]
pub struct CudaDevice {
    /// Its number among those that this process sees.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// Its UUID, `GPU-xxxxxxxx-...`, as nvidia-smi prints it; of a MIG instance the driver gives that of the instance.
    pub uuid: String,
    /// Its compute capability.
    pub capability: (i32, i32),
    /// Multiprocessors.
    pub multiprocessors: usize,
    /// Bytes of L2.
    pub l2_bytes: f64,
    /// Bytes of memory.
    pub memory_bytes: f64,
    /// The CUDA version that the driver supports, as 1000 x major + 10 x minor.
    pub driver: i32,
}

/// Starts the driver: its library is looked for before anything of it is called, which would panic.
fn start() -> Result<i32, CudaError> {
    // SAFETY: loads the library and runs its initialisers, as anything that uses CUDA does.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::NoDriver);
    }
    let mut version = 0;
    // SAFETY: `version` is written; callable before cuInit.
    call!(cuDriverGetVersion(&raw mut version))?;
    if version < LOWEST_CUDA {
        return Err(CudaError::DriverTooOld { found: version });
    }
    // SAFETY: no arguments that could be wrong.
    let started = call!(cuInit(0));
    started.map_err(|error| CudaError::NoDevice { reason: reason(error) })?;
    Ok(version)
}

fn reason(error: CudaError) -> String {
    match error {
        CudaError::Call { reason, .. } => reason,
        other => other.to_string(),
    }
}

/// Every device that this process sees.
///
/// # Errors
/// When there is no driver, one too old, or none.
pub fn cuda_devices() -> Result<Vec<CudaDevice>, CudaError> {
    let driver = start()?;
    let mut count = 0;
    // SAFETY: `count` is written.
    call!(cuDeviceGetCount(&raw mut count))?;
    if count == 0 {
        return Err(CudaError::NoDevice { reason: "none is visible".to_string() });
    }
    (0..count as usize).map(|ordinal| introduce(ordinal, driver)).collect()
}

fn introduce(ordinal: usize, driver: i32) -> Result<CudaDevice, CudaError> {
    use sys::CUdevice_attribute as A;
    let device = handle(ordinal)?;
    let attribute = |which: A| {
        let mut value = 0;
        // SAFETY: a device that the driver gave, and a value that is written.
        call!(cuDeviceGetAttribute(&raw mut value, which, device)).map(|()| value)
    };
    let mut name = [0u8; 128];
    // SAFETY: at most as many bytes as there are, with a zero among them.
    call!(cuDeviceGetName(name.as_mut_ptr().cast(), name.len() as i32, device))?;
    let name =
        CStr::from_bytes_until_nul(&name).map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut uuid = sys::CUuuid { bytes: [0; 16] };
    // SAFETY: `uuid` is written.
    call!(cuDeviceGetUuid_v2(&raw mut uuid, device))?;
    let mut bytes = 0usize;
    // SAFETY: `bytes` is written.
    call!(cuDeviceTotalMem_v2(&raw mut bytes, device))?;
    Ok(CudaDevice {
        ordinal,
        name,
        uuid: uuid_text(&uuid.bytes.map(|b| b as u8)),
        capability: (
            attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        multiprocessors: attribute(A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize,
        l2_bytes: f64::from(attribute(A::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?),
        memory_bytes: bytes as f64,
        driver,
    })
}

/// As nvidia-smi prints it.
fn uuid_text(bytes: &[u8; 16]) -> String {
    let hex = |range: std::ops::Range<usize>| -> String {
        bytes[range].iter().map(|b| format!("{b:02x}")).collect()
    };
    format!("GPU-{}-{}-{}-{}-{}", hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16))
}

pub(super) fn handle(ordinal: usize) -> Result<sys::CUdevice, CudaError> {
    let mut device = 0;
    // SAFETY: `device` is written.
    call!(cuDeviceGet(&raw mut device, ordinal as i32)).map(|()| device)
}

/// The device that `which` names: nothing for the first, a number, or a UUID or the beginning of one.
///
/// # Errors
/// As [`cuda_devices`], and when there is no such device.
pub fn cuda_device(which: Option<&str>) -> Result<CudaDevice, CudaError> {
    let devices = cuda_devices()?;
    let Some(asked) = which else { return Ok(devices[0].clone()) };
    let wanted = asked.to_ascii_lowercase();
    let named = |d: &&CudaDevice| {
        let uuid = d.uuid.to_ascii_lowercase();
        let bare = uuid.trim_start_matches("gpu-");
        asked.parse() == Ok(d.ordinal)
            || wanted.len() >= 4 && (uuid.starts_with(&wanted) || bare.starts_with(&wanted))
    };
    let known = || {
        let all: Vec<String> =
            devices.iter().map(|d| format!("cuda:{} {} ({})", d.ordinal, d.name, d.uuid)).collect();
        all.join(", ")
    };
    let found = devices.iter().find(named).cloned();
    found.ok_or_else(|| CudaError::UnknownDevice { asked: asked.to_string(), known: known() })
}
