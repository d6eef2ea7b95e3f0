//! What a launch demands of each unit and precision, as its counts say; what arithmetic demands which.

use super::attainable::Demand;
use crate::hw::{ComputeUnit, Precision};
use crate::llm::Arithmetic;
use crate::profile::{KernelFlops, Measured};

/// What operands a unit multiplies for an arithmetic.
pub(in crate::roofline) fn precision(arithmetic: Arithmetic) -> Precision {
    match arithmetic {
        Arithmetic::F32 => Precision::Fp32,
        Arithmetic::Bf16 => Precision::Bf16,
        Arithmetic::F16 => Precision::Fp16,
        Arithmetic::Fp8 => Precision::Fp8,
        Arithmetic::Int8 => Precision::Int8,
    }
}

pub(super) fn demands(flops: &KernelFlops) -> Vec<Demand> {
    let vector = |part: &Option<Measured>, precision| {
        let flops = part.as_ref()?.value;
        Some(Demand { unit: ComputeUnit::Vector, precision, accumulate: None, flops })
    };
    let mut demands: Vec<Demand> = [
        vector(&flops.fp64, Precision::Fp64),
        vector(&flops.fp32, Precision::Fp32),
        vector(&flops.fp16_packed, Precision::Fp16),
    ]
    .into_iter()
    .flatten()
    .collect();
    let typed: f64 = flops.tensor_by_type.values().map(|m| m.value).sum();
    for (name, measured) in &flops.tensor_by_type {
        let (precision, accumulate) = operand_type(name);
        demands.push(Demand { unit: ComputeUnit::Matrix, precision, accumulate, flops: measured.value });
    }
    // Counted by instruction, whose operands are not known: fp16, the commonest, at its highest rate.
    let untyped = flops.tensor.as_ref().map_or(0.0, |t| t.value) - typed;
    if untyped > 1e-6 * typed.max(1.0) {
        let unit = ComputeUnit::Matrix;
        demands.push(Demand { unit, precision: Precision::Fp16, accumulate: None, flops: untyped });
    }
    demands
}

/// Reads `fp16_dst_fp32`. Where a metric covers several operand types (`fp16_bf16_tf32_dst_fp32`), the first is
/// the fastest or as fast as the others, as a bound needs it.
fn operand_type(name: &str) -> (Precision, Option<Precision>) {
    // Names are a few bytes long and read once per launch: comparing at each place beats preparing a search.
    let find =
        |name: &str, part: &str| name.as_bytes().windows(part.len()).position(|w| w == part.as_bytes());
    let name = find(name, "_sparsity").map_or(name, |at| &name[..at]);
    let (from, to) = find(name, "_dst_").map_or((name, None), |at| (&name[..at], Some(&name[at + 5..])));
    let parse = |text: &str| Precision::ALL.into_iter().find(|p| p.name() == text);
    let first = from.split('_').find_map(parse).unwrap_or(Precision::Fp16);
    (first, to.and_then(parse))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensor_types_are_read_from_their_metric_names() {
        assert_eq!(operand_type("fp16_dst_fp32"), (Precision::Fp16, Some(Precision::Fp32)));
        assert_eq!(operand_type("fp16_bf16_tf32_dst_fp32"), (Precision::Fp16, Some(Precision::Fp32)));
        assert_eq!(operand_type("int8_sparsity_off"), (Precision::Int8, None));
        assert_eq!(operand_type("fp4_fp6_fp8_dst_fp16"), (Precision::Fp4, Some(Precision::Fp16)));
    }
}
