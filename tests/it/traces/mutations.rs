//! Damaged traces: whatever stands in them, reading ends with a run or an error, and with no more memory than the
//! file gives reason for.

use super::write;
use kprof::ingest::read_any;
use tempfile::TempDir;

/// A fixed sequence (xorshift), so that a failure can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Reads `bytes` and, if that is no error, looks at all that came of it.
fn survives(folder: &TempDir, bytes: &[u8]) -> bool {
    match read_any(&write(folder, "mutant", bytes)) {
        Ok(run) => {
            assert!(run.kernels.len() <= bytes.len() && run.copies.len() <= bytes.len());
            assert!(run.kernels.iter().all(|k| k.time.as_ref().is_none_or(|t| t.value.is_finite())));
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// Cuts and flips `original`; gives how many of the mutants could be read.
pub(super) fn mutate(original: &[u8], rounds: usize, seed: u64) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(seed);
    let mut read = 0;
    for round in 0..rounds {
        let mut bytes = original.to_vec();
        match round % 3 {
            0 => bytes.truncate(random.below(original.len())),
            1 => {
                for _ in 0..=random.below(4) {
                    let at = random.below(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                }
            }
            _ => {
                let (from, to) = (random.below(bytes.len()), random.below(bytes.len()));
                let length = random.below(64).min(bytes.len() - from.max(to));
                bytes.copy_within(from..from + length, to);
            }
        }
        read += usize::from(survives(&folder, &bytes));
    }
    read
}

#[test]
fn damaged_json_is_an_error_or_a_run() {
    let original = include_bytes!("../../fixtures/traces/vllm.json");
    let read = mutate(original, 1200, 0x9E37_79B9_7F4A_7C15);
    assert!(read > 40, "only {read} mutants could be read: the mutations are too coarse to test much");
}

#[test]
fn damaged_databases_are_an_error_or_a_run() {
    let original = include_bytes!("../../fixtures/traces/nsys.sqlite");
    let read = mutate(original, 600, 0xD1B5_4A32_D192_ED03);
    assert!(read > 40, "only {read} mutants could be read: the mutations are too coarse to test much");
}
