//! Which units of a device a deployment's matrix products run on.

use super::super::attainable::Demand;
use super::super::ceilings::CeilingSet;
use super::super::demands::precision;
use crate::hw::{Ceiling, ComputeUnit, Precision};
use crate::llm::{Deployment, ModelOp};
use crate::profile::{Finding, FindingCode};

/// A unit and the format that it multiplies.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    unit: ComputeUnit,
    precision: Precision,
    pub(super) ceiling: Ceiling,
}

/// The units of the two kinds of matrix products.
#[derive(Clone, Debug)]
pub(super) struct Units {
    /// Of linears whose weights the deployment stores in its own format.
    pub(super) linears: Unit,
    /// Of attention, the head and what else keeps the activations' type.
    pub(super) others: Unit,
}

impl Unit {
    pub(super) fn demand(&self, flops: f64) -> Demand {
        Demand {
            unit: self.unit,
            precision: self.precision,
            accumulate: Some(accumulator(self.precision)),
            flops,
        }
    }

    /// Matrix units where the device has them for the format, else vector units.
    fn of(precision: Precision, ceilings: &CeilingSet) -> Option<Self> {
        let unit = |unit| {
            let demand = Demand { unit, precision, accumulate: Some(accumulator(precision)), flops: 0.0 };
            let ceiling = ceilings.compute(&demand)?.clone();
            Some(Self { unit, precision, ceiling })
        };
        unit(ComputeUnit::Matrix).or_else(|| unit(ComputeUnit::Vector))
    }
}

/// LLM kernels accumulate floating point in single precision, integers in 32 bits.
fn accumulator(precision: Precision) -> Precision {
    if precision == Precision::Int8 { Precision::Int32 } else { Precision::Fp32 }
}

impl Units {
    /// The units of `device`; where it lacks the deployment's arithmetic, products are held against that of the
    /// activations, and where it lacks that too, against single precision, with a finding.
    pub(super) fn resolve(
        deployment: &Deployment,
        device: &str,
        ceilings: &CeilingSet,
    ) -> Option<(Self, Vec<Finding>)> {
        let mut findings = Vec::new();
        let mut instead = |wanted: Precision, unit: Unit, of: &str| {
            if unit.precision != wanted {
                let message =
                    format!("no {wanted} peak is known, so {of} are held against {}", unit.ceiling.name());
                findings.push(Finding::new(FindingCode::NoCeiling, device, message));
            }
            unit
        };
        let widest = || Unit::of(Precision::Fp32, ceilings);
        let activations = precision(deployment.activations.into());
        let others = Unit::of(activations, ceilings).or_else(widest)?;
        let wanted = precision(deployment.arithmetic);
        let linears = Unit::of(wanted, ceilings).unwrap_or_else(|| others.clone());
        let linears = instead(wanted, linears, "linears");
        let others = instead(activations, others, "attention and the head");
        Some((Self { linears, others }, findings))
    }

    pub(super) fn of(&self, op: &ModelOp) -> &Unit {
        if op.weights.is_some() { &self.linears } else { &self.others }
    }
}
