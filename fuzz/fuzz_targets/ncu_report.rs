//! Any bytes as a binary report of Nsight Compute: an error or a run, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write as _;

fuzz_target!(|bytes: &[u8]| {
    let made = tempfile::Builder::new().suffix(".ncu-rep").tempfile();
    let mut file = made.expect("a temporary file can be made");
    file.write_all(bytes).expect("it can be written");
    let _ = kprof::ingest::read_any(file.path());
});
