//! What of this process's memory is resident, as Linux tells it; elsewhere nothing is known.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

/// An entry of `/proc/self/pagemap` whose page is in memory (Documentation/admin-guide/mm/pagemap.rst: bit 63).
const PRESENT: u64 = 1 << 63;

/// How many bytes of `places` stand in pages that are in memory: a page counts with the part of it that a place covers.
/// `None` where the system does not say. Pages that were only read count as well, and where the system gave a huge page,
/// all of it.
pub fn resident_bytes(places: &[Range<usize>]) -> Option<f64> {
    let mut map = std::fs::File::open("/proc/self/pagemap").ok()?;
    let page = page_bytes()?;
    let mut sum = 0.0;
    for place in places.iter().filter(|place| !place.is_empty()) {
        let first = place.start / page;
        let count = place.end.div_ceil(page) - first;
        let mut entries = vec![0; count * 8];
        map.seek(SeekFrom::Start(first as u64 * 8)).ok()?;
        map.read_exact(&mut entries).ok()?;
        for (i, entry) in entries.as_chunks::<8>().0.iter().enumerate() {
            if u64::from_ne_bytes(*entry) & PRESENT != 0 {
                let from = ((first + i) * page).max(place.start);
                sum += (((first + i + 1) * page).min(place.end) - from) as f64;
            }
        }
    }
    Some(sum)
}

/// The size of a page.
#[cfg(unix)]
fn page_bytes() -> Option<usize> {
    Some(rustix::param::page_size())
}

#[cfg(not(unix))]
fn page_bytes() -> Option<usize> {
    None
}

/// Begins the peak of the resident set anew (proc(5), `clear_refs`: 5); false where the system does not let it.
pub fn restart_resident_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// The most that was resident, of the whole process, since it began or since [`restart_resident_peak`].
pub fn resident_peak() -> Option<f64> {
    super::read("/proc/self/status").as_deref().and_then(high_water_mark)
}

/// `VmHWM` of `/proc/self/status`; the kernel's `kB` are KiB.
fn high_water_mark(status: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read_as_the_kernel_writes_it() {
        assert_eq!(high_water_mark("VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\n"), Some(2048.0 * 1024.0));
        assert_eq!(high_water_mark("Name: x\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn pages_are_resident_once_they_are_written_to() {
        let page = page_bytes().unwrap();
        let mut map = memmap2::MmapMut::map_anon(64 * page).unwrap();
        // Neither huge pages nor what the system reads ahead would be told apart otherwise.
        let _ = map.advise(memmap2::Advice::NoHugePage);
        let start = map.as_ptr().addr();
        let place = start..start + 64 * page;
        assert_eq!(resident_bytes(std::slice::from_ref(&place)), Some(0.0));
        map[10 * page] = 1;
        map[20 * page + 5] = 1;
        assert_eq!(resident_bytes(std::slice::from_ref(&place)), Some(2.0 * page as f64));
        // Of a place that ends inside a page, only its own part counts.
        let part = start + 10 * page..start + 10 * page + 7;
        assert_eq!(resident_bytes(std::slice::from_ref(&part)), Some(7.0));
        assert_eq!(resident_bytes(&[]), Some(0.0));
    }
}
