//! No bytes make the reader panic: every fixture, and the smaller real exports, cut off and changed in many places.

use kprof::ingest::ncu::read_bytes;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Enough for hundreds of variants of each file, and no test suite to wait for.
const BUDGET: Duration = Duration::from_secs(8);
/// What a byte is replaced by: what the formats give meaning to.
const BYTES: &[u8] = b"\",\n\r=.-'(){}[]%/_ 0\x00\xFF\xC3";

fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/fixtures/ncu", "../shared/ncu/csv", "../shared/ncu/rep", "../shared/ncu/converted"];
    let entries = folders.iter().filter_map(|f| std::fs::read_dir(root.join(f)).ok()).flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|e| e.path()).collect();
    files.sort();
    files
}

/// A small generator (splitmix64): the test must do the same on every machine.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as usize
}

fn variant(bytes: &[u8], state: &mut u64) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = next(state) % changed.len();
    match next(state) % 7 {
        0 => changed.truncate(at),
        1 => changed[at] = BYTES[next(state) % BYTES.len()],
        2 => changed.insert(at, BYTES[next(state) % BYTES.len()]),
        3 => changed[at] ^= 1 << (next(state) % 8),
        4 => {
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
            let (a, b) = (next(state) % lines.len(), next(state) % lines.len());
            lines.swap(a, b);
            changed = lines.concat();
        }
        5 => {
            let cell = vec![BYTES[next(state) % BYTES.len()]; next(state) % 100_000];
            changed.splice(at..at, cell).for_each(drop);
        }
        _ => {
            let end = (at + next(state) % 200).min(changed.len());
            changed.drain(at..end);
        }
    }
    changed
}

#[test]
fn no_damage_makes_the_reader_panic() {
    let files: Vec<Vec<u8>> = files().iter().filter_map(|f| std::fs::read(f).ok()).collect();
    let small: Vec<&Vec<u8>> = files.iter().filter(|b| (1..200_000).contains(&b.len())).collect();
    let start = Instant::now();
    let mut state = 1;
    for round in 0..400 {
        for bytes in &small {
            // Files of a few KiB in every round, larger ones now and then.
            if bytes.len() < 8192 || round % 16 == 0 {
                let _ = read_bytes("damaged.csv", &variant(bytes, &mut state));
            }
        }
        if start.elapsed() > BUDGET {
            break;
        }
    }
}

#[test]
fn every_prefix_of_a_fixture_is_read_or_refused() {
    for name in ["preamble.csv", "raw.csv", "transposed.csv", "summary.csv", "utf16.csv"] {
        let bytes = std::fs::read(super::fixtures::path(name)).unwrap();
        for end in 0..bytes.len() {
            let _ = read_bytes(name, &bytes[..end]);
        }
    }
}

#[test]
fn no_prefix_of_a_quoted_export_gives_a_number_that_the_whole_does_not() {
    let bytes = std::fs::read(super::fixtures::path("long.csv")).unwrap();
    let whole = read_bytes("long.csv", &bytes).unwrap();
    for end in 0..bytes.len() {
        let Ok(run) = read_bytes("long.csv", &bytes[..end]) else { continue };
        for (kernel, full) in run.kernels.iter().zip(&whole.kernels) {
            assert!(kernel.time.is_none() || kernel.time == full.time, "cut at {end}");
            assert!(kernel.dram_bytes.is_none() || kernel.dram_bytes == full.dram_bytes, "cut at {end}");
        }
    }
}

#[test]
fn hostile_shapes_are_read_in_bounded_time() {
    let header = "ID,Process ID,Kernel Name,Metric Name,Metric Unit,Metric Value\n";
    let open_quotes = format!("{header}{}", "\"0,\"1\n".repeat(200_000));
    let warnings =
        format!("{}{header}", (0..100_000).map(|i| format!("==WARNING== {i}\n")).collect::<String>());
    let start = Instant::now();
    for text in [open_quotes, warnings, "\"".repeat(1_000_000), ",".repeat(1_000_000), header.repeat(20_000)]
    {
        let _ = read_bytes("hostile.csv", text.as_bytes());
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
