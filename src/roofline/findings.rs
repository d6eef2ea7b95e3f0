//! What is odd about points: incomplete FLOPs, no ceiling, above a ceiling.

use super::attainable::{Bound, Demand};
use super::point::{Level, Origin, Point};
use crate::hw::{Ceiling, ComputeUnit, Precision};
use crate::profile::{Finding, FindingCode, KernelRecord, Measured, suggests_matrix_units};
use crate::units::{ByteRate, FlopRate, format_si};
use std::collections::HashSet;

/// The findings that the launches carry themselves, each once.
#[derive(Debug, Default)]
pub(super) struct OfKernels {
    findings: Vec<Finding>,
    seen: HashSet<Finding>,
}

impl OfKernels {
    pub(super) fn push(&mut self, kernel: &KernelRecord) {
        for finding in kernel.findings.iter().filter(|f| f.code != FindingCode::FlopsIncomplete) {
            if self.seen.insert(finding.clone()) {
                self.findings.push(finding.clone());
            }
        }
    }

    pub(super) fn finish(self) -> Vec<Finding> {
        self.findings
    }
}

/// The findings that follow from the points.
pub(super) fn of_points(points: &[Point]) -> Vec<Finding> {
    let one = |f: fn(&Point) -> Option<Finding>| points.iter().filter_map(f);
    let checks =
        [incomplete, above_ceiling, above_one_ceiling, no_matrix_work, implausible_intensity, no_ceiling];
    checks.into_iter().flat_map(one).collect()
}

fn incomplete(point: &Point) -> Option<Finding> {
    // That a trace has no counters is said once, beside the table.
    if point.flops_complete || (point.traced && point.flops.total.is_none()) {
        return None;
    }
    let by_name = point.flops.tensor.is_none() && point.kernel.as_deref().is_some_and(suggests_matrix_units);
    let what = if by_name {
        "its name suggests that it computes on tensor cores, and no tensor metric was collected: its FLOPs are far \
         too low, and its place on a roofline means nothing"
    } else if point.flops.total.is_some() || point.achieved_flop_rate().is_some() {
        "not every precision of the chip was counted: FLOPs are a lower bound, so the bound is unknown"
    } else {
        "no FLOPs were counted: there is no point on the roofline, and the bound is unknown"
    };
    let metrics = if point.missing.is_empty() {
        "the sm__ops_path_tensor_src_* metrics that `ncu --query-metrics` lists for the chip".to_string()
    } else {
        point.missing.join(",")
    };
    let remedy = if point.missing.is_empty() {
        format!("collect {metrics}")
    } else {
        format!(
            "collect what is missing: ncu --csv --page raw --print-units base --metrics \
             gpu__time_duration.sum,dram__bytes.sum,{metrics} ./app > ncu.csv (with the metrics collected so far)"
        )
    };
    Some(Finding::new(FindingCode::FlopsIncomplete, point.name(), what).with_remedy(remedy))
}

fn above_ceiling(point: &Point) -> Option<Finding> {
    let fraction =
        point.fraction_of_ceiling().filter(|f| *f > 1.0 && point.ceilings.simulated().is_none())?;
    let cause = match point.byte_origin {
        Origin::Analytic => {
            "its data may stay in a cache, which the DRAM ceiling does not bound; or the ceiling is too low"
        }
        Origin::Counter => {
            "the ceiling may be of another device or clock, or a count includes what the time does not"
        }
    };
    let message = format!("reaches {:.0} % of its ceiling, which cannot be: {cause}", fraction * 100.0);
    let remedy = match point.byte_origin {
        Origin::Analytic => "compare the working set with the caches; measure again with `kprof ceilings`",
        Origin::Counter => "name the device with --device, or its ceilings with --device-spec",
    };
    Some(Finding::new(FindingCode::AboveCeiling, point.name(), message).with_remedy(remedy))
}

/// A single rate above its ceiling: seen also where FLOPs are a lower bound, so that there is no fraction.
fn above_one_ceiling(point: &Point) -> Option<Finding> {
    let said = point.fraction_of_ceiling().is_some_and(|f| f > 1.0);
    if said || point.byte_origin == Origin::Analytic || point.ceilings.simulated().is_some() {
        return None;
    }
    let (what, rate, ceiling, unit) = flop_rates(point)
        .into_iter()
        .map(|(name, rate, ceiling)| (name, rate, ceiling, FlopRate::UNIT))
        .chain(byte_rate(point).map(|(rate, ceiling)| ("DRAM traffic", rate, ceiling, ByteRate::UNIT)))
        .find(|(_, rate, ceiling, _)| *rate > ceiling.value)?;
    let message = format!(
        "its {what} of {} is above the ceiling {} of {} ({}), which cannot be: the ceiling may be of another device or \
         clock, or counters and time are of different replays",
        format_si(rate, unit),
        ceiling.name(),
        ceiling.value_text(),
        ceiling.source.label()
    );
    let remedy = "name the device with --device, or its ceilings with --device-spec";
    Some(Finding::new(FindingCode::AboveCeiling, point.name(), message).with_remedy(remedy))
}

fn flop_rates(point: &Point) -> Vec<(&'static str, f64, &Ceiling)> {
    let Some(time) = point.time.as_ref().map(|t| t.value).filter(|t| *t > 0.0) else { return Vec::new() };
    let flops = &point.flops;
    let rows: [(&str, Precision, &Option<Measured>); 3] = [
        ("fp64 rate", Precision::Fp64, &flops.fp64),
        ("fp32 rate", Precision::Fp32, &flops.fp32),
        ("fp16 rate", Precision::Fp16, &flops.fp16_packed),
    ];
    let rate = |(name, precision, count): (&'static str, Precision, &Option<Measured>)| {
        let flops = count.as_ref()?.value;
        let demand = Demand { unit: ComputeUnit::Vector, precision, accumulate: None, flops };
        Some((name, flops / time, point.ceilings.compute(&demand)?))
    };
    rows.into_iter().filter_map(rate).collect()
}

fn byte_rate(point: &Point) -> Option<(f64, &Ceiling)> {
    Some((point.achieved_byte_rate()?, point.ceilings.dram()?))
}

/// Tensor metrics were collected and are zero, in a kernel that by its name works on tensor cores.
fn no_matrix_work(point: &Point) -> Option<Finding> {
    let zero = point.flops.tensor.as_ref().is_some_and(|t| t.value == 0.0);
    if !zero || !point.kernel.as_deref().is_some_and(suggests_matrix_units) {
        return None;
    }
    let message = "its name suggests that it computes on tensor cores, and the tensor metrics collected are zero: \
                   they may be of other operand types than it uses";
    let remedy =
        "collect the sm__ops_path_tensor_src_* metrics that `ncu --query-metrics` lists for the chip";
    Some(Finding::new(FindingCode::Disagreement, point.name(), message).with_remedy(remedy))
}

/// An intensity above this is none: the largest matrix product that fits a device's memory has less. With n = 10^5
/// in half precision, 2 n^3 FLOPs over 3 x 2 n^2 bytes are n / 3 = 3 x 10^4 FLOP/B.
const IMPLAUSIBLE_INTENSITY: f64 = 3e4;

fn implausible_intensity(point: &Point) -> Option<Finding> {
    let intensity = point.intensity_dram().filter(|i| *i > IMPLAUSIBLE_INTENSITY)?;
    let message = format!(
        "an intensity of {intensity:.1e} FLOP/B is beyond any matrix product: hardly any DRAM traffic was counted, as \
         the data stayed in the caches"
    );
    let remedy = "see --levels l2,l1 for the levels that carry the traffic; profile with --cache-control all";
    Some(Finding::new(FindingCode::ImplausibleBytes, point.name(), message).with_remedy(remedy))
}

fn no_ceiling(point: &Point) -> Option<Finding> {
    let known = point.flops_complete && point.bytes.is_some() && point.bound == Bound::Unknown;
    if !known || point.floor.is_some() {
        return None;
    }
    let device = point.device.as_deref().unwrap_or("a device that the file does not name");
    let missing = match point.ceilings.dram() {
        None => "DRAM bandwidth",
        Some(_) => "a precision that it uses",
    };
    let remedy = match point.level {
        Level::Launch | Level::Kernel | Level::Group => {
            "name the device with --device, or its ceilings with --device-spec"
        }
        Level::Phase | Level::Stage => "measure them with `kprof ceilings`, or give --device-spec",
    };
    let message =
        format!("no ceiling is known for {missing} of {device}: so there is no bound, and no fraction");
    Some(Finding::new(FindingCode::NoCeiling, point.name(), message).with_remedy(remedy))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bandwidth, kernel, reference_prefill, vector};
    use super::super::{By, Ceilings, analyse};
    use super::*;
    use crate::hw::Precision;
    use crate::profile::Run;

    fn findings(record: KernelRecord, chosen: Vec<crate::hw::Ceiling>) -> Vec<Finding> {
        let run = Run { kernels: vec![record], ..Run::default() };
        analyse(&[run], By::Kernel, &Ceilings { chosen, by_device: vec![] }).findings
    }

    #[test]
    fn incomplete_flops_name_the_metrics_and_the_command() {
        let found = findings(reference_prefill(), vec![]);
        assert_eq!(found[0].code, FindingCode::FlopsIncomplete);
        let remedy = found[0].remedy.as_ref().unwrap();
        assert!(remedy.contains("ncu --csv") && remedy.contains("sm__ops_path_tensor_src_"), "{remedy}");
    }

    #[test]
    fn above_a_ceiling_is_shown_unclamped_with_likely_causes() {
        // 1 GB in 5 ms is 200 GB/s of 100 GB/s.
        let found =
            findings(kernel("k", 0.005, 1e9, 1e6), vec![bandwidth(100e9), vector(Precision::Fp32, 1e12)]);
        assert_eq!(found[0].code, FindingCode::AboveCeiling);
        assert!(found[0].message.contains("200 %"), "{}", found[0].message);
    }

    #[test]
    fn a_rate_above_its_ceiling_is_found_although_other_flops_are_missing() {
        // 10 GFLOP in 5 ms are 2 TFLOP/s of 1; FLOPs of tensor cores were not collected.
        let record = KernelRecord { flops_complete: false, ..kernel("k", 0.005, 1e8, 10e9) };
        let found = findings(record, vec![bandwidth(100e9), vector(Precision::Fp32, 1e12)]);
        let above = found.iter().find(|f| f.code == FindingCode::AboveCeiling).unwrap();
        assert!(above.message.starts_with("its fp32 rate of 2.00 TFLOP/s is above"), "{}", above.message);
    }

    #[test]
    fn intensities_out_of_range_and_tensor_kernels_without_tensor_work_are_found() {
        let codes = |record| findings(record, vec![]).iter().map(|f| f.code).collect::<Vec<_>>();
        assert!(codes(kernel("k", 1.0, 32.0, 1e9)).contains(&FindingCode::ImplausibleBytes));
        assert!(!codes(kernel("k", 1.0, 1e6, 1e9)).contains(&FindingCode::ImplausibleBytes));
        assert!(codes(kernel("ampere_s16816gemm", 1.0, 1e6, 1e9)).contains(&FindingCode::Disagreement));
        let mut uncounted = reference_prefill();
        uncounted.kernel = "flash_fwd_kernel".into();
        assert!(findings(uncounted, vec![])[0].message.contains("tensor cores, and no tensor metric"));
    }

    #[test]
    fn a_missing_ceiling_is_named() {
        let found = findings(kernel("k", 0.005, 1e9, 1e6), vec![vector(Precision::Fp32, 1e12)]);
        assert_eq!(found[0].code, FindingCode::NoCeiling);
        assert!(found[0].message.contains("DRAM bandwidth"));
    }
}
