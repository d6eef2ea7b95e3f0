//! A client of NVTX v3: ranges for whatever profiler is attached, and nothing at all when none is.
//!
//! It attaches as the official header does, without libnvToolsExt (which CUDA 13 no longer has), libclang or a C
//! compiler. Only here may attach be `unsafe`.

mod profiler;
mod table;

use std::ffi::CString;
use std::sync::OnceLock;
use table::Domain;

/// The variable by which a profiler says which library to load.
pub const VARIABLE: &str =
    if cfg!(target_pointer_width = "64") { "NVTX_INJECTION64_PATH" } else { "NVTX_INJECTION32_PATH" };

/// The domain of kprof's ranges: `kprof@…` in ncu's filters.
pub const DOMAIN: &str = "kprof";

/// A profiler that takes our ranges.
#[derive(Debug)]
pub struct Nvtx(Domain);

impl Nvtx {
    /// The profiler that [`VARIABLE`] names; `Ok(None)` without one. It attaches at the first call of a process.
    ///
    /// # Errors
    /// When its library cannot be loaded or refuses; what it was is told each time.
    pub fn attached() -> Result<Option<&'static Self>, String> {
        static ATTACHED: OnceLock<Result<Option<Nvtx>, String>> = OnceLock::new();
        let attached = ATTACHED.get_or_init(|| {
            let Some(library) = std::env::var_os(VARIABLE).filter(|v| !v.is_empty()) else { return Ok(None) };
            table::attach(&library).map_err(|e| format!("{VARIABLE}={}: {e}", library.to_string_lossy()))?;
            let name = CString::new(DOMAIN).unwrap_or_default();
            Ok(Domain::create(&name).map(Self))
        });
        attached.as_ref().map(Option::as_ref).map_err(String::clone)
    }

    /// Opens a range on this thread; [`Nvtx::pop`] closes it.
    pub fn push(&self, name: &str) {
        // A name with a zero in it would end there; kprof's have none.
        self.0.push(&CString::new(name).unwrap_or_default());
    }

    /// Closes the innermost range of this thread.
    pub fn pop(&self) {
        self.0.pop();
    }
}

/// A part of the run that a profiler is to look at, from its making to its end.
#[derive(Debug)]
pub struct ProfiledPart(());

impl ProfiledPart {
    /// Tells the CUDA driver that the part begins; without a driver, nothing happens.
    pub fn begin() -> Self {
        profiler::start();
        Self(())
    }
}

impl Drop for ProfiledPart {
    fn drop(&mut self) {
        profiler::stop();
    }
}
