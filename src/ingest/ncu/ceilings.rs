//! Ceilings that the report itself has: peak per cycle x the clock of that launch.
//!
//! ncu locks clocks to their base by default, so these are often under the datasheet's. Only dense peaks are
//! taken: on chips with structured sparsity a name without `_sparsity_off` carries the sparse one.

use super::evaluate::Context;
use super::metrics::{CLOCKS, Quantity};
use super::tensor::{Form, Sparsity, TensorName};
use crate::hw::{Ceiling, CeilingKind, CeilingSource, ComputeUnit, MemoryLevel, Precision};
use crate::profile::ComputeCapability;
use std::collections::BTreeMap;

/// The ceilings of one launch.
pub(super) fn ceilings(context: &Context<'_, '_>, capability: Option<ComputeCapability>) -> Vec<Ceiling> {
    let vector = |precision| CeilingKind::Compute { precision, unit: ComputeUnit::Vector, accumulate: None };
    let bandwidth = |level| CeilingKind::Bandwidth { level };
    let rows = [
        (Quantity::CeilingFp64, vector(Precision::Fp64)),
        (Quantity::CeilingFp32, vector(Precision::Fp32)),
        (Quantity::CeilingFp16, vector(Precision::Fp16)),
        (Quantity::CeilingDram, bandwidth(MemoryLevel::Dram)),
        (Quantity::CeilingL2, bandwidth(MemoryLevel::L2)),
        (Quantity::CeilingL1, bandwidth(MemoryLevel::L1)),
    ];
    let simple = rows.into_iter().filter_map(|(quantity, kind)| {
        let measured = context.quantity(quantity).filter(|m| m.value > 0.0)?;
        Some(ceiling(kind, measured.value, measured.source))
    });
    simple.chain(tensor(context, capability)).collect()
}

fn ceiling(kind: CeilingKind, value: f64, metric: String) -> Ceiling {
    Ceiling { kind, value, source: CeilingSource::Report { metric }, threads: None }
}

/// Dense peaks of matrix units: of several instructions for one type, the fastest.
fn tensor(context: &Context<'_, '_>, capability: Option<ComputeCapability>) -> Vec<Ceiling> {
    let Some(clock) = context.readings.value(CLOCKS[1]) else { return Vec::new() };
    let mut best: BTreeMap<(Precision, Option<Precision>), (f64, String)> = BTreeMap::new();
    for reading in context.readings.available() {
        let peak =
            TensorName::parse(reading.metric).filter(|n| n.form == Form::Peak && is_dense(n, capability));
        let (Some(name), Some(value)) = (peak, reading.value) else { continue };
        let Some(precision) = precision(name.types) else { continue };
        let key = (precision, name.accumulate.and_then(precision_word));
        let rate = value * clock;
        if best.get(&key).is_none_or(|(old, _)| rate > *old) && rate > 0.0 {
            best.insert(key, (rate, format!("{} x {}", reading.metric, CLOCKS[1])));
        }
    }
    let kind =
        |precision, accumulate| CeilingKind::Compute { precision, unit: ComputeUnit::Matrix, accumulate };
    best.into_iter().map(|((p, a), (value, metric))| ceiling(kind(p, a), value, metric)).collect()
}

fn is_dense(name: &TensorName<'_>, capability: Option<ComputeCapability>) -> bool {
    let never_sparse = matches!(name.types, "fp64" | "int1") || capability.is_some_and(|c| c.major < 8);
    match name.sparsity {
        Sparsity::Off => true,
        Sparsity::On => false,
        Sparsity::Both => never_sparse,
    }
}

/// The precision of operand types; a mix is as fast as its widest narrow float.
fn precision(types: &str) -> Option<Precision> {
    types.split('_').filter_map(precision_word).min()
}

fn precision_word(word: &str) -> Option<Precision> {
    Precision::ALL.into_iter().find(|p| p.name() == word)
}
