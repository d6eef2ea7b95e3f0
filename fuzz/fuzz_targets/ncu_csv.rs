//! Any bytes as an export of Nsight Compute: an error or a run, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = kprof::ingest::ncu::read_bytes("fuzz.csv", bytes);
});
