//! What of a multiprocessor a launch takes: registers of a thread, shared memory of a block.
//!
//! | of | metric | label in "Launch Statistics" (registers also in "Occupancy") |
//! |---|---|---|
//! | registers of a thread | `launch__registers_per_thread` | Registers Per Thread |
//! | bytes that the kernel has | `launch__shared_mem_per_block_static` | Static Shared Memory Per Block |
//! | bytes asked for with the launch | `launch__shared_mem_per_block_dynamic` | Dynamic Shared Memory Per Block |
//!
//! Other profilers give these three as well. What ncu adds is left out, so that one launch has the same numbers from
//! any of them: `launch__shared_mem_per_block_driver` (1 KiB of every block since compute capability 8.0), and
//! `launch__shared_mem_per_block` and the `_allocated` ones, which contain it or are rounded up to what is allocated.

use super::readings::Readings;
use crate::profile::KernelRecord;

/// The metrics: registers, static and dynamic shared memory.
pub(super) const METRICS: [&str; 3] = [
    "launch__registers_per_thread",
    "launch__shared_mem_per_block_static",
    "launch__shared_mem_per_block_dynamic",
];

/// Whether a metric is one of [`METRICS`].
pub(super) fn is_resource(metric: &str) -> bool {
    METRICS.contains(&metric)
}

/// Sets what the readings of a launch say.
pub(super) fn set(record: &mut KernelRecord, readings: &Readings<'_>) {
    let [registers, own, asked] = METRICS.map(|metric| readings.value(metric).and_then(whole));
    record.registers = registers;
    record.static_shared_bytes = own.map(u64::from);
    record.dynamic_shared_bytes = asked.map(u64::from);
}

/// Sets those of a record that are known to the `next` values; false when there are too few.
pub(super) fn refill(record: &mut KernelRecord, mut next: impl FnMut() -> Option<f64>) -> bool {
    let mut value = || next().and_then(whole);
    let mut complete = true;
    if record.registers.is_some() {
        record.registers = value();
        complete &= record.registers.is_some();
    }
    for bytes in [&mut record.static_shared_bytes, &mut record.dynamic_shared_bytes] {
        if bytes.is_some() {
            *bytes = value().map(u64::from);
            complete &= bytes.is_some();
        }
    }
    complete
}

/// A whole number, but for what scaling a decimal prefix away left; the largest is far below 2^32.
pub(super) fn whole(value: f64) -> Option<u32> {
    let rounded = value.round();
    ((value - rounded).abs() < 1e-6 && (0.0..=f64::from(u32::MAX)).contains(&rounded))
        .then_some(rounded as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_count() {
        assert_eq!((whole(40.0), whole(4.096 * 1e3), whole(0.0)), (Some(40), Some(4096), Some(0)));
        assert_eq!((whole(40.5), whole(-1.0), whole(1e10), whole(f64::NAN)), (None, None, None, None));
    }

    #[test]
    fn what_is_not_known_takes_no_value() {
        let mut record =
            KernelRecord { registers: Some(1), dynamic_shared_bytes: Some(2), ..KernelRecord::default() };
        let mut values = [32.0, 4096.0].into_iter();
        assert!(refill(&mut record, || values.next()));
        assert_eq!(
            (record.registers, record.static_shared_bytes, record.dynamic_shared_bytes),
            (Some(32), None, Some(4096))
        );
        assert!(!refill(&mut record, || None));
    }
}
