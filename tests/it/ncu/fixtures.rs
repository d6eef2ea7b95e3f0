//! Where the hand-made exports are, and short ways to read them.

use kprof::ingest::ncu::{self, NcuError};
use kprof::profile::{Finding, FindingCode, KernelRecord, Measured, Run};
use std::path::PathBuf;

pub(super) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ncu").join(name)
}

pub(super) fn read(name: &str) -> Run {
    ncu::read(&path(name)).unwrap_or_else(|e| panic!("{e}"))
}

/// The error of reading a fixture, and its message with the folder removed.
pub(super) fn refused(name: &str) -> (NcuError, String) {
    let error = ncu::read(&path(name)).expect_err(name);
    let folder = format!("{}/", path("").display().to_string().trim_end_matches('/'));
    let message = error.to_string().replace(&folder, "");
    (error, message)
}

pub(super) fn value(measured: &Option<Measured>) -> f64 {
    measured.as_ref().map_or(f64::NAN, |m| m.value)
}

/// Equal but for the rounding of a scaling by a power of ten.
pub(super) fn assert_close(ours: &Option<Measured>, expected: f64) {
    let ours = value(ours);
    assert!((ours - expected).abs() <= 1e-12 * expected.abs(), "{ours} is not {expected}");
}

pub(super) fn find(findings: &[Finding], code: FindingCode) -> Option<&Finding> {
    findings.iter().find(|f| f.code == code)
}

pub(super) fn only(run: &Run) -> &KernelRecord {
    assert_eq!(run.kernels.len(), 1);
    &run.kernels[0]
}
