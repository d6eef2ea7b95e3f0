//! What becomes of a small export of Nsight Systems, which `make_nsys.py` beside it made, and of damaged ones.

use super::write;
use kprof::ingest::{IngestError, TraceError, read_any};
use kprof::profile::{CopyKind, Run};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/traces").join(name)
}

fn run() -> Run {
    read_any(&fixture("nsys.sqlite")).unwrap()
}

#[test]
fn kernels_of_a_table_of_many_pages_come_with_names_that_overflow_theirs() {
    let run = run();
    assert_eq!(run.kernels.len(), 200);
    let time: f64 = run.kernels.iter().map(|k| k.time.as_ref().unwrap().value).sum();
    assert!((time - 400e-6).abs() < 1e-12, "{time}");
    let [gemm, long] = [&run.kernels[0], &run.kernels[1]];
    assert_eq!(gemm.kernel, "gemm_kernel(int)");
    assert!(long.kernel.starts_with("void long_kernel<Type0, ") && long.kernel.ends_with("Type299>(int)"));
    assert_eq!((long.grid.as_deref(), long.block.as_deref()), (Some("(1, 2, 3)"), Some("(32, 1, 1)")));
    assert_eq!(
        (gemm.registers, gemm.static_shared_bytes, gemm.dynamic_shared_bytes),
        (Some(168), Some(1024), Some(98_304))
    );
    assert_eq!((gemm.shared_total(), long.registers, long.shared_total()), (Some(99_328), None, None));
    // The process's device 0 is the machine's device 2.
    assert_eq!((gemm.device.as_deref(), gemm.process.as_deref()), (Some("NVIDIA A10"), Some("100")));
    let timeline = gemm.timeline.as_ref().unwrap();
    assert_eq!(
        (timeline.device, timeline.correlation, timeline.launch_time_s),
        (Some(2), Some(1), Some(500e-9))
    );
    // Counted from the range that begins first, at 800 us.
    assert_eq!((timeline.start_s, timeline.launch_start_s), (Some(200e-6), Some(198e-6)));
}

#[test]
fn ranges_of_thread_and_process_enclose_the_calls_of_kernels() {
    let run = run();
    assert_eq!(run.kernels[0].nvtx, ["prefill", "aten::_scaled_dot_product_flash_attention"]);
    assert_eq!(run.kernels[2].nvtx, ["whole process", "prefill"]);
    assert_eq!(run.kernels[199].nvtx, ["whole process", "decode"]);
    let steps: Vec<_> = run.ranges.iter().filter(|r| r.step.is_some()).map(|r| r.name.as_str()).collect();
    assert_eq!(steps, ["prefill", "decode"]);
    let endless = run.ranges.iter().find(|r| r.name == "whole process").unwrap();
    assert_eq!(endless.time_s, None);
    assert_eq!(run.traces[0].matmuls.len(), 1);
    assert_eq!((run.traces[0].matmuls[0].rows, run.traces[0].matmuls[0].columns), (16, 32));
    let copies: Vec<_> = run.copies.iter().map(|c| (c.kind, c.bytes, c.memory.as_deref())).collect();
    assert_eq!(
        copies,
        [
            (CopyKind::HostToDevice, Some(8192.0), Some("Pinned -> Device")),
            (CopyKind::Set, Some(64.0), Some("Device"))
        ]
    );
    assert_eq!(run.traces[0].format_version.as_deref(), Some("3.17.0"));
}

#[test]
fn text_in_another_encoding_is_the_same_text() {
    let wide = read_any(&fixture("nsys_utf16.sqlite")).unwrap();
    let plain = run();
    let kernels =
        |run: &Run| run.kernels.iter().map(|k| (k.kernel.clone(), k.nvtx.clone())).collect::<Vec<_>>();
    assert_eq!(kernels(&wide), kernels(&plain));
}

/// The fixture with `from` replaced by `to`, of the same length, wherever it stands.
fn patched(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(fixture("nsys.sqlite")).unwrap();
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, w)| *w == from.as_bytes())
        .map(|(i, _)| i)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

fn error(bytes: &[u8]) -> TraceError {
    let folder = tempfile::tempdir().unwrap();
    match read_any(&write(&folder, "x.sqlite", bytes)) {
        Err(IngestError::Trace(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_read_is_one_clear_error() {
    let whole = std::fs::read(fixture("nsys.sqlite")).unwrap();
    let cut = error(&whole[..whole.len() / 2]).to_string();
    assert!(cut.contains("cut short") && cut.contains("bytes are missing"), "{cut}");
    let none = error(&patched("CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_KERNAL")).to_string();
    assert!(none.contains("no GPU kernel") && none.contains("NVTX_EVENTS"), "{none}");
    // A schema without start times.
    let other = error(&patched("start INTEGER NOT NULL, end", "begin INTEGER NOT NULL, end"));
    assert!(matches!(&other, TraceError::Schema { tables, .. } if tables.contains("StringIds")), "{other}");
    assert!(other.to_string().contains("has no column start"), "{other}");
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "x.sqlite", &whole);
    write(&folder, "x.sqlite-wal", b"pending");
    let pending = read_any(&path).unwrap_err().to_string();
    assert!(pending.contains("a write-ahead log lies beside it"), "{pending}");
}
