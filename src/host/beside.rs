//! Ceilings probed again after a run: whether the machine was still the one that was probed before it.

use crate::hw::Ceiling;
use crate::profile::{Finding, FindingCode};

/// A probe's best of a few repetitions varies by some per cent on a quiet machine; twice that is the machine's doing.
const LEAST_MOVE: f64 = 0.1;

/// One finding on the ceiling that moved the most from `before` to `after` the run, where any moved by a tenth.
pub fn ceilings_moved(before: &[Ceiling], after: &[Ceiling]) -> Option<Finding> {
    let moved = before.iter().filter_map(|old| {
        let new = after.iter().find(|new| new.kind == old.kind && new.threads == old.threads)?;
        Some((old, new, new.value / old.value - 1.0)).filter(|m| m.2.is_finite())
    });
    let (old, new, change) =
        moved.max_by(|a, b| a.2.abs().total_cmp(&b.2.abs())).filter(|m| m.2.abs() >= LEAST_MOVE)?;
    let message = format!(
        "was {} before the run and {} after it ({:+.0} %): the machine did not stay the same, and times changed with it",
        old.value_text(),
        new.value_text(),
        change * 100.0
    );
    Some(Finding::new(FindingCode::CeilingMoved, format!("ceiling {}", old.name()), message).with_remedy(
        "measure again when it is quiet (`kprof doctor` shows the load and the clocks), or compare interleaved",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::{CeilingKind, CeilingSource, MemoryLevel};

    fn bandwidth(level: MemoryLevel, value: f64) -> Ceiling {
        let source = CeilingSource::Probe { method: "read".into() };
        Ceiling { kind: CeilingKind::Bandwidth { level }, value, source, threads: Some(4) }
    }

    #[test]
    fn the_ceiling_that_moved_the_most_is_named_with_both_values() {
        let at = |dram: f64, l1: f64| [bandwidth(MemoryLevel::Dram, dram), bandwidth(MemoryLevel::L1, l1)];
        assert_eq!(ceilings_moved(&at(50e9, 900e9), &at(47e9, 940e9)), None);
        let found = ceilings_moved(&at(50e9, 900e9), &at(40e9, 800e9)).unwrap();
        assert!(found.message.contains("(-20 %)"), "{found}");
        assert!(found.message.starts_with("was 50.0 GB/s before the run and 40.0 GB/s after it"), "{found}");
        assert_eq!(ceilings_moved(&at(50e9, 900e9), &[]), None);
    }
}
