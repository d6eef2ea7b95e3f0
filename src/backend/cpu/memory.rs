//! Memory of the CPU backend: aligned to pages, zeroed, in huge pages where the system has them.

use super::simd::{Plain, cast, cast_mut};
use crate::backend::BackendError;
use memmap2::MmapMut;

/// From this size on, whole huge pages are asked for: with 4 KiB pages the page walks, not the memory, bound a stream.
/// No less than a quarter of one, as what is given back is used again for no less than a quarter of its size.
#[cfg(target_os = "linux")]
const HUGE: usize = HUGE_PAGE / 4;
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;

/// A fixed number of bytes.
#[derive(Debug)]
pub(super) struct Memory(MmapMut);

impl Memory {
    /// `bytes` zeroes.
    pub(super) fn zeroed(bytes: usize) -> Result<Self, BackendError> {
        let refused = |source| {
            let what = crate::units::format_iec(bytes as f64, "B") + " of memory";
            BackendError::System { what, source }
        };
        #[cfg(target_os = "linux")]
        let bytes = if bytes >= HUGE { bytes.next_multiple_of(HUGE_PAGE) } else { bytes };
        let map = MmapMut::map_anon(bytes.max(64)).map_err(refused)?;
        #[cfg(target_os = "linux")]
        if bytes >= HUGE {
            // A system without huge pages refuses; then small ones have to do.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        crate::alloc::note_mapping(map.len() as i64);
        Ok(Self(map))
    }

    /// All of it, as `T`s.
    pub(super) fn of<T: Plain>(&self) -> &[T] {
        cast::<u8, T>(&self.0)
    }

    /// All of it, as `T`s to write.
    pub(super) fn of_mut<T: Plain>(&mut self) -> &mut [T] {
        cast_mut::<u8, T>(&mut self.0)
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        crate::alloc::note_mapping(-(self.0.len() as i64));
    }
}
