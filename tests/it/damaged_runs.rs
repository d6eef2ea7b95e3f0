//! No bytes make the reader of run files panic: a run cut off, with bits flipped, lines shuffled, numbers made absurd
//! and hostile nesting.

use assert_cmd::Command;
use kprof::profile::read_run;
use std::time::{Duration, Instant};

/// A small generator (splitmix64): the test must do the same on every machine.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as usize
}

/// A run of the fake device, as the program writes it.
fn run_file() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::cargo_bin("kprof").unwrap();
    let args = ["phase", "--device", "fake", "-n", "2", "-r", "2", "-q", "--output", "run.jsonl"];
    let output = command.current_dir(folder.path()).args(args).output().unwrap();
    match std::fs::read(folder.path().join("run.jsonl")) {
        Ok(bytes) => bytes,
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn variant(bytes: &[u8], state: &mut u64) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = next(state) % changed.len();
    match next(state) % 5 {
        0 => changed.truncate(at),
        1 => changed[at] ^= 1 << (next(state) % 8),
        2 => changed.splice(at..at, *b"1e999").for_each(drop),
        3 => {
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
            let (a, b) = (next(state) % lines.len(), next(state) % lines.len());
            lines.swap(a, b);
            changed = lines.concat();
        }
        _ => {
            let end = (at + next(state) % 400).min(changed.len());
            changed.drain(at..end);
        }
    }
    changed
}

fn read(bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let _ = read_run(file.path());
}

#[test]
fn no_damage_makes_the_reader_of_runs_panic() {
    let bytes = run_file();
    let (mut state, start) = (1, Instant::now());
    for _ in 0..1000 {
        read(&variant(&bytes, &mut state));
        if start.elapsed() > Duration::from_secs(4) {
            break;
        }
    }
}

#[test]
fn hostile_nesting_and_lengths_are_refused_in_bounded_time() {
    let manifest = br#"{"type":"manifest","format_version":1,"x":"#;
    let start = Instant::now();
    for inner in [b"[".repeat(1_000_000), b"{\"a\":".repeat(200_000), b"9".repeat(1_000_000), b"\"".to_vec()]
    {
        read(&[manifest.as_slice(), &inner].concat());
        read(&inner);
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
