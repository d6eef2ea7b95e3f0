//! Whether the FLOPs of a launch are all of them, and which metrics to collect when they are not.
//!
//! A kernel whose tensor work was not collected shows few FLOPs and looks memory-bound, which is the most common
//! way to read a roofline wrongly. So a launch is complete only when every floating-point type that its chip
//! computes in was collected; integer matrix types do not count here.

use super::chips::chip_of;
use super::readings::Readings;
use super::tensor::TensorName;
use crate::profile::{ComputeCapability, Finding, FindingCode, KernelFlops, suggests_matrix_units};

/// Vector precisions: the letter of their instructions.
const VECTOR: [char; 3] = ['d', 'f', 'h'];

/// The metric names that are missing, none when the FLOPs are complete.
pub(super) fn missing(
    capability: Option<ComputeCapability>,
    flops: &KernelFlops,
    readings: &Readings<'_>,
) -> Vec<String> {
    let mut names = Vec::new();
    for (letter, measured) in VECTOR.into_iter().zip([&flops.fp64, &flops.fp32, &flops.fp16]) {
        let collected = measured.as_ref().is_some_and(|m| !m.lower_bound);
        if !collected {
            names.extend(vector_names(letter, readings));
        }
    }
    if capability.is_none_or(|c| c.major >= 7) {
        names.extend(tensor_names(capability, flops, readings));
    }
    names
}

/// The instructions of a precision that nothing was collected of; all of them where none stands out.
fn vector_names(letter: char, readings: &Readings<'_>) -> impl Iterator<Item = String> {
    let has = |op: &str| {
        let part = format!("_op_{letter}{op}_pred_on");
        readings.available().any(|r| r.metric.contains(&part) && !r.metric.ends_with(".peak_sustained"))
    };
    let all = ["add", "mul", "fma"];
    let absent: Vec<&str> = all.into_iter().filter(|op| !has(op)).collect();
    let names = if absent.is_empty() { all.to_vec() } else { absent };
    names.into_iter().map(move |op| format!("sm__sass_thread_inst_executed_op_{letter}{op}_pred_on.sum"))
}

fn tensor_names(
    capability: Option<ComputeCapability>,
    flops: &KernelFlops,
    readings: &Readings<'_>,
) -> Vec<String> {
    // Instruction counts are of every type.
    if flops.tensor.is_some() && flops.tensor_by_type.is_empty() {
        return Vec::new();
    }
    let types = types_of(capability);
    let collected: Vec<TensorName<'_>> = if flops.tensor.is_some() {
        readings.names().filter_map(TensorName::parse).collect()
    } else {
        Vec::new()
    };
    let wanted = types.iter().filter(|t| !collected.iter().any(|c| covers(c, t)));
    wanted.map(|t| tensor_metric(t)).collect()
}

/// The metric that counts the operations of matrix units on operands of `kind`.
pub fn tensor_metric(kind: &str) -> String {
    format!("sm__ops_path_tensor_src_{kind}.sum")
}

fn covers(collected: &TensorName<'_>, wanted: &str) -> bool {
    let (types, accumulate) = match wanted.split_once("_dst_") {
        Some((types, accumulate)) => (types, Some(accumulate)),
        None => (wanted, None),
    };
    collected.covers(&TensorName { op: None, types, accumulate, ..*collected })
        || (accumulate.is_none() && collected.types == types)
}

/// The types of a chip; of an unknown chip, those of the most common ones.
fn types_of(capability: Option<ComputeCapability>) -> &'static [String] {
    let capability = capability.unwrap_or(ComputeCapability { major: 8, minor: 6 });
    chip_of(capability).map_or(&[], |chip| &chip.tensor)
}

/// What to say about a launch with incomplete FLOPs; nothing when it has none at all, which the file says once.
pub(super) fn finding(about: &str, kernel: &str, flops: &KernelFlops, missing: &[String]) -> Option<Finding> {
    if missing.is_empty() {
        return None;
    }
    let tensor_missing = flops.tensor.is_none() && missing.iter().any(|m| m.contains("tensor"));
    let message = if tensor_missing && suggests_matrix_units(kernel) {
        "the kernel's name suggests that it computes on tensor cores, and no tensor metric was collected: its \
         FLOPs are far too low, and its place on a roofline means nothing"
    } else if flops.total().is_none() {
        return None;
    } else if tensor_missing {
        "FLOPs are a lower bound: no tensor metric was collected"
    } else {
        "FLOPs are a lower bound: not every precision of the chip was collected"
    };
    let remedy = format!("collect --metrics {}", missing.join(","));
    Some(Finding::new(FindingCode::FlopsIncomplete, about, message).with_remedy(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chip_has_the_types_of_the_newest_row_not_newer_than_it() {
        let of = |major, minor| types_of(Some(ComputeCapability { major, minor }));
        assert_eq!(of(8, 0).len(), 5);
        assert_eq!(of(8, 7), of(8, 6));
        assert!(of(9, 0).contains(&"fp16".to_string()));
        assert_eq!(of(12, 1), of(12, 0));
        assert_eq!(of(6, 1), of(7, 0));
    }

    #[test]
    fn a_collected_name_satisfies_what_it_covers() {
        let name = |metric| TensorName::parse(metric).unwrap();
        let off = name("sm__ops_path_tensor_src_fp16_dst_fp32_sparsity_off.sum");
        assert!(
            covers(&off, "fp16_dst_fp32") && !covers(&off, "fp16_dst_fp16") && !covers(&off, "bf16_dst_fp32")
        );
        assert!(covers(&name("sm__ops_path_tensor_src_fp16.sum"), "fp16_dst_fp16"));
        assert!(covers(&name("sm__ops_path_tensor_src_bf16_dst_fp32.sum"), "bf16"));
        // As sections of 2025 have it on chips whose own names say the accumulator.
        assert!(covers(&name("sm__ops_path_tensor_src_bf16.sum"), "bf16_dst_fp32"));
    }
}
