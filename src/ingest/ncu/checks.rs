//! Checks of a launch against itself: two sources of one quantity must agree.

use super::evaluate::Context;
use super::launches::Launch;
use crate::hw::{CeilingKind, ComputeUnit, Precision};
use crate::profile::{Finding, FindingCode, KernelFlops, KernelRecord};

/// How far read + write may be from the total: they may come from different replays.
const BYTES_TOLERANCE: f64 = 0.02;
/// DRAM counters tick in sectors of 32 B; below this difference nothing is said.
const BYTES_FLOOR: f64 = 65_536.0;
/// The rule prints whole per cents.
const RULE_TOLERANCE: f64 = 1.5;

/// What does not fit together in one launch.
pub(super) fn check(launch: &Launch<'_>, context: &Context<'_, '_>, record: &KernelRecord) -> Vec<Finding> {
    let about = super::record::about(record);
    let mut findings = Vec::new();
    findings.extend(total_against_parts(&about, context));
    findings.extend(bytes_and_flops(&about, record));
    if let Some(rule) = &launch.rule {
        findings.extend(rule_against_flops(&about, rule, record));
    }
    findings
}

fn total_against_parts(about: &str, context: &Context<'_, '_>) -> Option<Finding> {
    let value = |metric| context.readings.value(metric);
    let total = value("dram__bytes.sum")?;
    let parts = value("dram__bytes_read.sum")? + value("dram__bytes_write.sum")?;
    let difference = (total - parts).abs();
    (difference > BYTES_FLOOR && difference > BYTES_TOLERANCE * total.max(parts)).then(|| {
        let message = format!(
            "dram__bytes.sum is {total} B, but dram__bytes_read.sum + dram__bytes_write.sum is {parts} B"
        );
        Finding::new(FindingCode::Disagreement, about, message)
    })
}

fn bytes_and_flops(about: &str, record: &KernelRecord) -> Option<Finding> {
    let bytes = record.dram_bytes.as_ref()?.value;
    (bytes == 0.0 && record.flops.total().is_some_and(|f| f > 0.0)).then(|| {
        let message = "no DRAM traffic was counted, so there is no intensity: the data stayed in the caches";
        Finding::new(FindingCode::ImplausibleBytes, about, message)
            .with_remedy("profile with --cache-control all to start from cold caches")
    })
}

/// NVIDIA's rule says which part of the peak was achieved; it is computed from the same counters.
pub(super) fn rule_against_flops(about: &str, rule: &str, record: &KernelRecord) -> Vec<Finding> {
    let rows = [
        ("fp32", Precision::Fp32, percent_before(rule, "fp32 peak")),
        ("fp64", Precision::Fp64, percent_before(rule, "fp64 peak")),
    ];
    rows.into_iter()
        .filter_map(|(name, precision, says)| {
            let ours = percent_of_ceiling(record, precision)?;
            let says = says?;
            ((ours - says).abs() > RULE_TOLERANCE).then(|| {
                let message =
                    format!("the profiler says {says} % of the {name} peak, its counters give {ours:.1} %");
                Finding::new(FindingCode::Disagreement, about, message)
            })
        })
        .collect()
}

fn percent_of_ceiling(record: &KernelRecord, precision: Precision) -> Option<f64> {
    let wanted = CeilingKind::Compute { precision, unit: ComputeUnit::Vector, accumulate: None };
    let ceiling = record.ceilings.iter().find(|c| c.kind == wanted)?.value;
    let of = |flops: &KernelFlops| {
        let measured = if precision == Precision::Fp64 { &flops.fp64 } else { &flops.fp32 };
        measured.as_ref().filter(|m| !m.lower_bound).map(|m| m.value)
    };
    let rate = match (&record.time, &record.rates) {
        (Some(time), _) if time.value > 0.0 => of(&record.flops)? / time.value,
        (None, Some(rates)) => of(&rates.flops)?,
        _ => return None,
    };
    (ceiling > 0.0).then(|| 100.0 * rate / ceiling)
}

/// The number in `achieved 36% of this device's fp32 peak`, whatever the case; `close to 0%` is 0.
fn percent_before(rule: &str, what: &str) -> Option<f64> {
    let rule = rule.to_ascii_lowercase();
    let before = &rule[..rule.find(what)?];
    let before = &before[..before.rfind('%')?];
    let without = before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    before[without.len()..].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_sentence_gives_its_percentages() {
        let rule = "The ratio of peak float (fp32) to double (fp64) performance on this device is 64:1. The kernel \
                    achieved 36% of this device's fp32 peak performance and close to 0% of its fp64 peak performance.";
        assert_eq!(percent_before(rule, "fp32 peak"), Some(36.0));
        assert_eq!(percent_before(rule, "fp64 peak"), Some(0.0));
        assert_eq!(percent_before(&rule.to_uppercase(), "fp32 peak"), Some(36.0));
        assert_eq!(percent_before("nothing", "fp32 peak"), None);
        assert_eq!(percent_before("achieved \u{fffd}7% of the fp32 peak", "fp32 peak"), Some(7.0));
    }
}
