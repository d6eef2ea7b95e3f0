//! CUPTI, found at run time: its functions and its version.

#![allow(unsafe_code)]

use super::error::{CuptiError, KNOWN};
use super::sys::{Profiling, SUCCESS, Tracing};
use crate::backend::cuda::library::{Place, Surroundings, open};
use std::ffi::CStr;
use std::path::{Path, PathBuf};

/// Where it is.
const PLACE: Place = Place {
    names: &["libcupti.so.13", "libcupti.so.12"],
    toolkit: &["extras/CUPTI/lib64", "lib64", "targets/x86_64-linux/lib"],
    wheels: &["cu13/lib", "cuda_cupti/lib"],
    variable: "KPROF_CUPTI",
};

/// What CUPTI opens by their bare names when it counts, from wherever it was itself: they must be in the process by then.
const BESIDE: [&str; 2] = ["libnvperf_host.so", "libnvperf_target.so"];

/// CUPTI_API_VERSION of the libraries whose structs were checked: CUDA 12.0 to 12.9, and 13.0 to 13.5.
const VERSIONS: [std::ops::RangeInclusive<u32>; 2] = [18..=28, 130_000..=130_599];

/// The library.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) tracing: Tracing,
    /// What only a newer one has.
    pub(super) profiling: Option<Profiling>,
    version: u32,
    path: PathBuf,
    /// Keep the functions where they are. CUPTI's own threads outlive everything: it is never closed.
    _library: std::mem::ManuallyDrop<libloading::Library>,
    _beside: Vec<std::mem::ManuallyDrop<libloading::Library>>,
}

impl Library {
    /// The first that serves; `flag` is where the user says that it is.
    pub(super) fn find(flag: Option<&Path>, driver: i32) -> Result<Self, CuptiError> {
        let here = Surroundings::of_process(&PLACE, flag);
        let mut refused = Vec::new();
        for path in here.candidates(&PLACE) {
            // One that is for a newer driver would only fail.
            let newer = path.to_string_lossy().ends_with(".13") && driver < 13_000;
            if newer && here.given.is_none() {
                continue;
            }
            let named = path.components().count() > 1;
            match open(&path) {
                // A name alone that the loader does not know is no finding.
                Err(_) if !named => {}
                Err(why) => refused.push(format!("{}: {why}", path.display())),
                Ok(library) => match Self::new(&path, library) {
                    Ok(library) => return Ok(library),
                    Err(why) => refused.push(format!("{}: {why}", path.display())),
                },
            }
        }
        if refused.is_empty() {
            return Err(CuptiError::NotFound { looked: here.looked(&PLACE) });
        }
        Err(CuptiError::Unusable { refused })
    }

    fn new(path: &Path, library: libloading::Library) -> Result<Self, String> {
        let tracing = Tracing::take(&library).map_err(|name| format!("it has no function {name}"))?;
        let mut version = 0;
        // SAFETY: `version` is written.
        let result = unsafe { (tracing.cuptiGetVersion)(&raw mut version) };
        if result != SUCCESS {
            return Err(format!("it does not say its version (cuptiGetVersion: {result})"));
        }
        if !VERSIONS.iter().any(|known| known.contains(&version)) {
            let age = if version < 18 { "too old" } else { "newer than this kprof" };
            return Err(format!(
                "its API version {version} is {age}: the records of {KNOWN} are known, and others could be read wrongly"
            ));
        }
        // What came with it lies beside it; the loader's own folders are searched by CUPTI itself.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let beside = BESIDE.iter().filter_map(|name| open(&folder?.join(name)).ok());
        let _beside = beside.map(std::mem::ManuallyDrop::new).collect();
        Ok(Self {
            profiling: Profiling::take(&library).ok(),
            tracing,
            version,
            path: path.to_path_buf(),
            _library: std::mem::ManuallyDrop::new(library),
            _beside,
        })
    }

    /// Its name with the CUDA version that it is of, and where it is.
    pub(super) fn describe(&self) -> String {
        format!("CUPTI (API version {}, {})", self.version, self.path.display())
    }

    /// Names the function where it failed.
    pub(super) fn check(&self, call: &'static str, result: i32) -> Result<(), CuptiError> {
        if result == SUCCESS { Ok(()) } else { Err(CuptiError::of(call, result, self.name(result))) }
    }

    fn name(&self, result: i32) -> String {
        let mut text = std::ptr::null();
        // SAFETY: `text` is written, or left null.
        let known = unsafe { (self.tracing.cuptiGetResultString)(result, &raw mut text) };
        if known != SUCCESS || text.is_null() {
            return format!("result {result}");
        }
        // SAFETY: a constant string of the library.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}
