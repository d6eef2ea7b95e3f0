//! What is odd about points: incomplete FLOPs, no ceiling, above a ceiling.

use super::attainable::Bound;
use super::point::{Level, Origin, Point};
use crate::profile::{Finding, FindingCode, KernelRecord};

/// The findings that the launches carry themselves.
pub(super) fn of_kernels(kernels: &[&KernelRecord]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for finding in kernels.iter().flat_map(|k| &k.findings).filter(|f| f.code != FindingCode::FlopsIncomplete)
    {
        if !findings.contains(finding) {
            findings.push(finding.clone());
        }
    }
    findings
}

/// The findings that follow from the points.
pub(super) fn of_points(points: &[Point]) -> Vec<Finding> {
    let one = |f: fn(&Point) -> Option<Finding>| points.iter().filter_map(f);
    one(incomplete).chain(one(above_ceiling)).chain(one(no_ceiling)).collect()
}

fn incomplete(point: &Point) -> Option<Finding> {
    if point.flops_complete {
        return None;
    }
    let what = if point.flops.total.is_some() || point.achieved_flop_rate().is_some() {
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
    let fraction = point.fraction_of_ceiling().filter(|f| *f > 1.0)?;
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
    fn a_missing_ceiling_is_named() {
        let found = findings(kernel("k", 0.005, 1e9, 1e6), vec![vector(Precision::Fp32, 1e12)]);
        assert_eq!(found[0].code, FindingCode::NoCeiling);
        assert!(found[0].message.contains("DRAM bandwidth"));
    }
}
