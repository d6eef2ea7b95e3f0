//! NVIDIA's cuBLASLt, found at run time: its functions, its version, and what of its header is used here.

#![allow(unsafe_code)]

use crate::backend::cuda::error::CudaError;
use crate::backend::cuda::library::{Place, Surroundings, functions, open};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;

/// Where it is.
const PLACE: Place = Place {
    names: if cfg!(windows) {
        &["cublasLt64_13.dll", "cublasLt64_12.dll"]
    } else {
        &["libcublasLt.so.13", "libcublasLt.so.12"]
    },
    toolkit: &["lib64", "targets/x86_64-linux/lib", "bin"],
    wheels: &["cu13/lib", "cublas/lib", "cublas/bin"],
    variable: "KPROF_CUBLASLT",
};

/// The lowest version whose heuristics and epilogues these calls are written for: 12.0.
const LOWEST: usize = 120_000;

/// CUBLAS_STATUS_ALLOC_FAILED.
const ALLOC_FAILED: c_int = 3;

/// A descriptor or handle of the library.
pub(super) type Opaque = *mut c_void;

/// cublasLtMatmulAlgo_t.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Algorithm {
    pub(super) data: [u64; 8],
}

/// cublasLtMatmulHeuristicResult_t.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heuristic {
    pub(super) algorithm: Algorithm,
    pub(super) workspace_bytes: usize,
    pub(super) state: c_int,
    pub(super) waves: f32,
    pub(super) reserved: [c_int; 4],
}

const _: () = assert!(size_of::<Heuristic>() == 96, "as in cublasLt.h");

/// cudaDataType_t: CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF.
pub(super) const R_32F: c_int = 0;
pub(super) const R_16F: c_int = 2;
pub(super) const R_16BF: c_int = 14;
/// CUBLAS_COMPUTE_32F: products and sums in f32; of f32 inputs all bits count, so that TF32 is not used.
pub(super) const COMPUTE_32F: c_int = 68;
/// CUBLAS_OP_T.
pub(super) const TRANSPOSED: i32 = 1;
/// cublasLtMatmulDescAttributes_t.
pub(super) const DESC_TRANSA: c_int = 3;
pub(super) const DESC_EPILOGUE: c_int = 7;
pub(super) const DESC_BIAS_POINTER: c_int = 8;
/// cublasLtEpilogue_t, of which sums are combinations.
pub(super) const EPILOGUE_DEFAULT: u32 = 1;
pub(super) const EPILOGUE_RELU: u32 = 2;
pub(super) const EPILOGUE_BIAS: u32 = 4;
pub(super) const EPILOGUE_GELU: u32 = 32;
/// cublasLtMatmulPreferenceAttributes_t.
pub(super) const PREF_MAX_WORKSPACE_BYTES: c_int = 1;
pub(super) const PREF_REDUCTION_SCHEME_MASK: c_int = 3;
/// CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE: parts of a sum are joined in f32, never in the type of the results.
pub(super) const REDUCTION_IN_F32: u32 = 2;

functions! {
    /// What is called of it.
    Functions {
        cublasLtGetVersion() -> usize;
        cublasLtGetStatusString(c_int) -> *const c_char;
        cublasLtCreate(*mut Opaque) -> c_int;
        cublasLtDestroy(Opaque) -> c_int;
        cublasLtMatmulDescCreate(*mut Opaque, c_int, c_int) -> c_int;
        cublasLtMatmulDescDestroy(Opaque) -> c_int;
        cublasLtMatmulDescSetAttribute(Opaque, c_int, *const c_void, usize) -> c_int;
        cublasLtMatrixLayoutCreate(*mut Opaque, c_int, u64, u64, i64) -> c_int;
        cublasLtMatrixLayoutDestroy(Opaque) -> c_int;
        cublasLtMatmulPreferenceCreate(*mut Opaque) -> c_int;
        cublasLtMatmulPreferenceDestroy(Opaque) -> c_int;
        cublasLtMatmulPreferenceSetAttribute(Opaque, c_int, *const c_void, usize) -> c_int;
        cublasLtMatmulAlgoGetHeuristic(
            Opaque, Opaque, Opaque, Opaque, Opaque, Opaque, Opaque, c_int, *mut Heuristic, *mut c_int,
        ) -> c_int;
        cublasLtMatmul(
            Opaque, Opaque, *const c_void, *const c_void, Opaque, *const c_void, Opaque, *const c_void,
            *const c_void, Opaque, *mut c_void, Opaque, *const Algorithm, *mut c_void, usize, Opaque,
        ) -> c_int;
    }
}

/// The library.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) functions: Functions,
    /// As it says of itself: 10000 x major + 100 x minor + patch.
    version: usize,
    /// Keeps the functions where they are: never closed, since it has threads and handlers of its own.
    _library: std::mem::ManuallyDrop<libloading::Library>,
}

impl Library {
    /// The first that can be used with a driver of this CUDA version (1000 x major + 10 x minor).
    ///
    /// # Errors
    /// When there is none, with why those that were found cannot be used.
    pub(super) fn find(driver: i32) -> Result<Self, CudaError> {
        let here = Surroundings::of_process(&PLACE, None);
        let mut refused = Vec::new();
        for path in here.candidates(&PLACE) {
            // A name alone that the loader does not know is no finding.
            let named = path.components().count() > 1;
            match Self::open(&path, driver) {
                Ok(library) => return Ok(library),
                Err(Refusal::Absent(_)) if !named => {}
                Err(Refusal::Absent(why) | Refusal::Unusable(why)) => {
                    refused.push(format!("{}: {why}", path.display()));
                }
            }
        }
        Err(CudaError::NoLibrary { library: "cuBLASLt", looked: here.looked(&PLACE), refused })
    }

    fn open(path: &Path, driver: i32) -> Result<Self, Refusal> {
        let library = open(path).map_err(Refusal::Absent)?;
        let functions = Functions::take(&library)
            .map_err(|name| Refusal::Unusable(format!("it has no function {name}: it is older than 12.0")))?;
        // SAFETY: takes nothing and needs no handle.
        let version = unsafe { (functions.cublasLtGetVersion)() };
        let found = Self { functions, version, _library: std::mem::ManuallyDrop::new(library) };
        if version < LOWEST {
            let why = format!("it is version {}, and 12.0 or newer is needed", found.version());
            return Err(Refusal::Unusable(why));
        }
        // Within a major version any driver serves any library; across them, only an older library.
        let (major, of_driver) = (version / 10_000, driver as usize / 1000);
        if major > of_driver {
            let why = format!(
                "version {} needs a driver of CUDA {major}, and this one is of {of_driver}",
                found.version()
            );
            return Err(Refusal::Unusable(why));
        }
        Ok(found)
    }

    /// Its version, e.g. `12.8.4`.
    pub(super) fn version(&self) -> String {
        format!("{}.{}.{}", self.version / 10_000, self.version / 100 % 100, self.version % 100)
    }

    /// Names the function where it failed.
    pub(super) fn check(&self, call: &'static str, status: c_int) -> Result<(), CudaError> {
        match status {
            0 => Ok(()),
            ALLOC_FAILED => Err(CudaError::NoRoomFor { call }),
            other => Err(CudaError::Call { call, reason: self.describe(other) }),
        }
    }

    fn describe(&self, status: c_int) -> String {
        // SAFETY: any number is answered with a constant string, or with null.
        let text = unsafe { (self.functions.cublasLtGetStatusString)(status) };
        if text.is_null() {
            return format!("status {status}");
        }
        // SAFETY: not null, so a constant string of the library.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}

/// Why a file does not serve.
enum Refusal {
    /// It could not be loaded.
    Absent(String),
    /// It was, and is not what is needed.
    Unusable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_asked_for_by_the_name_it_has_in_the_header() {
        assert_eq!(Functions::NAMES.len(), 14);
        assert!(Functions::NAMES.iter().all(|name| name.starts_with("cublasLt")));
    }
}
