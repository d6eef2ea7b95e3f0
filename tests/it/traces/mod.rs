//! Timeline traces of other profilers: real ones against golden values, damaged ones, and what is made of them.

mod golden;
mod kineto;
mod mutations;
mod nsys;
mod tables;

use kprof::ingest::{IngestError, read_any};
use kprof::profile::Run;
use std::path::PathBuf;
use tempfile::TempDir;

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn read_text(name: &str, text: &str) -> Result<Run, IngestError> {
    let folder = tempfile::tempdir().unwrap();
    read_any(&write(&folder, name, text.as_bytes()))
}
