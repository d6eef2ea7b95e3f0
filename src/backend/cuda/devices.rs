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
    /// How many this process sees.
    pub visible: usize,
    /// Its name.
    pub name: String,
    /// Its UUID as nvidia-smi prints it: `GPU-xxxxxxxx-...`, or `MIG-...` of a MIG instance.
    pub uuid: String,
    /// The profile of a MIG instance, e.g. `1g.10gb`, which the driver has in its name; `None` where it is a whole device.
    pub mig_profile: Option<String>,
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

/// `CUDA_VISIBLE_DEVICES`, which the driver goes by when it starts; `None` where it is not set.
pub fn cuda_visible_devices() -> Option<String> {
    std::env::var_os(VISIBLE).map(|value| value.to_string_lossy().into_owned())
}

const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// Starts the driver: its library is looked for before anything of it is called, which would panic.
fn start() -> Result<i32, CudaError> {
    if !has_library() {
        return Err(CudaError::NoDriver);
    }
    let mut version = 0;
    // SAFETY: `version` is written; callable before cuInit.
    // A library that stands in for the driver's where programs are linked (the toolkit's stubs) fails at this already.
    let asked = call!(cuDriverGetVersion(&raw mut version));
    asked.map_err(|error| CudaError::NoDevice { reason: reason(error) })?;
    if version < LOWEST_CUDA {
        return Err(CudaError::DriverTooOld { found: version });
    }
    // SAFETY: no arguments that could be wrong.
    let started = call!(cuInit(0));
    started.map_err(|error| CudaError::NoDevice { reason: reason(error) })?;
    Ok(version)
}

/// Whether the driver's library is there.
#[cfg(not(feature = "candle-cuda"))]
fn has_library() -> bool {
    // SAFETY: loads the library and runs its initialisers, as anything that uses CUDA does.
    unsafe { sys::is_culib_present() }
}

/// candle links the driver's library: without it the program would not have started.
#[cfg(feature = "candle-cuda")]
fn has_library() -> bool {
    true
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
    (0..count as usize).map(|ordinal| introduce(ordinal, count as usize, driver)).collect()
}

fn introduce(ordinal: usize, visible: usize, driver: i32) -> Result<CudaDevice, CudaError> {
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
    let mig_profile = mig_profile(&name);
    let kind = if mig_profile.is_some() { "MIG" } else { "GPU" };
    Ok(CudaDevice {
        ordinal,
        visible,
        name,
        uuid: uuid_text(kind, &uuid.bytes.map(|b| b as u8)),
        mig_profile,
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

/// The profile that a MIG instance has in its name: `NVIDIA H100 80GB HBM3 MIG 1g.10gb`.
fn mig_profile(name: &str) -> Option<String> {
    let (_, profile) = name.rsplit_once(" MIG ")?;
    Some(profile.trim().to_string()).filter(|profile| !profile.is_empty())
}

/// As nvidia-smi prints it.
fn uuid_text(kind: &str, bytes: &[u8; 16]) -> String {
    let hex = |range: std::ops::Range<usize>| -> String {
        bytes[range].iter().map(|b| format!("{b:02x}")).collect()
    };
    format!("{kind}-{}-{}-{}-{}-{}", hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16))
}

pub(super) fn handle(ordinal: usize) -> Result<sys::CUdevice, CudaError> {
    let mut device = 0;
    // SAFETY: `device` is written.
    call!(cuDeviceGet(&raw mut device, ordinal as i32)).map(|()| device)
}

/// The device that `which` names: nothing for the first, a number among those that this process sees, or a UUID or the
/// beginning of one that no other has, with `GPU-` or `MIG-` or, from four digits on, without.
///
/// # Errors
/// As [`cuda_devices`], and when there is no such device, or more than one.
pub fn cuda_device(which: Option<&str>) -> Result<CudaDevice, CudaError> {
    let devices = cuda_devices()?;
    which.map_or(Ok(&devices[0]), |asked| named(&devices, asked)).cloned()
}

/// The least digits of a UUID that are taken for one without `GPU-` before them.
const LEAST_DIGITS: usize = 4;

fn named<'a>(devices: &'a [CudaDevice], asked: &str) -> Result<&'a CudaDevice, CudaError> {
    if let Some(device) = devices.iter().find(|d| asked.parse() == Ok(d.ordinal)) {
        return Ok(device);
    }
    let wanted = asked.to_ascii_lowercase();
    let begins_so = |d: &&CudaDevice| {
        let uuid = d.uuid.to_ascii_lowercase();
        let has_kind = wanted.starts_with("gpu-") || wanted.starts_with("mig-");
        let bare = uuid.split_once('-').map_or("", |(_, digits)| digits);
        (has_kind && uuid.starts_with(&wanted)) || (wanted.len() >= LEAST_DIGITS && bare.starts_with(&wanted))
    };
    let found: Vec<&CudaDevice> = devices.iter().filter(begins_so).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(CudaError::UnknownDevice {
            asked: asked.to_string(),
            known: list(devices.iter()),
            why: not_seen(asked),
        }),
        several => {
            Err(CudaError::AmbiguousDevice { asked: asked.to_string(), which: list(several.iter().copied()) })
        }
    }
}

fn list<'a>(devices: impl Iterator<Item = &'a CudaDevice>) -> String {
    devices.map(|d| format!("cuda:{} {} ({})", d.ordinal, d.name, d.uuid)).collect::<Vec<_>>().join(", ")
}

/// Why a device of the machine may not be among those that the process sees.
fn not_seen(asked: &str) -> String {
    let mig = asked.to_ascii_lowercase().starts_with("mig-");
    match (cuda_visible_devices(), mig) {
        (Some(set), _) => format!("; {VISIBLE}={set} leaves these of the machine's, numbered from 0"),
        (None, true) => format!("; a process sees one MIG instance, which {VISIBLE}={asked} makes that one"),
        (None, false) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(ordinal: usize, uuid: &str) -> CudaDevice {
        CudaDevice {
            ordinal,
            visible: 3,
            name: "H100".into(),
            uuid: uuid.into(),
            mig_profile: None,
            capability: (9, 0),
            multiprocessors: 132,
            l2_bytes: 5e7,
            memory_bytes: 8e10,
            driver: 12_040,
        }
    }

    fn chosen(asked: &str) -> Result<usize, CudaError> {
        let uuids = ["GPU-3f2a0001-aa", "GPU-3f2b0002-bb", "MIG-91c20003-cc"];
        let all: Vec<CudaDevice> = uuids.iter().enumerate().map(|(i, uuid)| device(i, uuid)).collect();
        named(&all, asked).map(|d| d.ordinal)
    }

    #[test]
    fn devices_are_named_by_number_and_by_a_beginning_that_only_one_has() {
        for (asked, ordinal) in [
            ("1", 1),
            ("GPU-3f2a", 0),
            ("gpu-3F2B", 1),
            ("3f2b", 1),
            ("MIG-9", 2),
            ("91c2", 2),
            ("MIG-91c20003-cc", 2),
        ] {
            assert_eq!(chosen(asked), Ok(ordinal), "{asked}");
        }
    }

    #[test]
    fn what_could_be_two_or_none_is_refused() {
        let ambiguous = chosen("GPU-3f2").unwrap_err();
        assert!(
            ambiguous.is_usage()
                && ambiguous.to_string().contains("cuda:0")
                && ambiguous.to_string().contains("cuda:1")
        );
        assert!(matches!(chosen("GPU-"), Err(CudaError::AmbiguousDevice { .. })));
        // Too few digits without their kind, a number that is none, the other kind.
        for asked in ["3f2", "7", "MIG-3f2a", ""] {
            assert!(matches!(chosen(asked), Err(CudaError::UnknownDevice { .. })), "{asked}");
        }
    }

    #[test]
    fn a_mig_instance_is_known_by_its_name() {
        assert_eq!(mig_profile("NVIDIA H100 80GB HBM3 MIG 1g.10gb").as_deref(), Some("1g.10gb"));
        assert_eq!(mig_profile("NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb").as_deref(), Some("1c.3g.20gb"));
        assert_eq!(mig_profile("NVIDIA H100 80GB HBM3"), None);
        assert!(uuid_text("MIG", &[0xab; 16]).starts_with("MIG-abababab-abab-"));
    }
}
