//! The shortest time that ceilings allow for a piece of work, and what bounds it.
//!
//! Formulas, with FLOPs w of each precision p on each unit u, bytes b, peaks P and bandwidth B:
//!
//! * memory floor = b / B
//! * compute floor = max over units u of (sum over p of w(u, p) / P(u, p)), since precisions share a unit's
//!   issue slots while vector and matrix units run side by side
//! * time floor = max(memory floor, compute floor); an aggregate's floor is the sum of its members'
//! * attainable rate = FLOPs / time floor; fraction of the ceiling = time floor / time
//!
//! With one precision and one unit this is the roofline of Williams, Waterman and Patterson (2009):
//! attainable = min(P, intensity x B). It ignores integer and address arithmetic, caches, launch gaps
//! and dependencies, so it is a bound, not a prediction.

use super::ceilings::CeilingSet;
use crate::hw::{ComputeUnit, Precision};
use serde::Serialize;
use std::fmt;
use std::iter::Sum;
use std::ops::Add;

/// A point is latency-bound when its time floor is under this part of its time: then neither moving its data
/// nor its arithmetic explains a tenth of the time. 0.1 is a convention of this tool, below the 0.2 to 0.6
/// at which Yang et al. (2020, "Hierarchical Roofline") still discuss kernels as bandwidth- or compute-limited.
pub const LATENCY_BOUND_BELOW: f64 = 0.1;

/// Parts of the FLOPs smaller than this may lack a ceiling without taking the floor away: compilers emit a few
/// half-precision instructions as moves in single-precision kernels.
const NEGLIGIBLE: f64 = 0.01;

/// FLOPs of one precision on one unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// The unit that executes them.
    pub unit: ComputeUnit,
    /// The operands' format.
    pub precision: Precision,
    /// The accumulator's, where it matters and is known.
    pub accumulate: Option<Precision>,
    /// How many.
    pub flops: f64,
}

/// What bounds a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Left of the ridge point: moving data takes longer than the arithmetic.
    Memory,
    /// Right of the ridge point.
    Compute,
    /// Far under both ceilings: see [`LATENCY_BOUND_BELOW`].
    Latency,
    /// FLOPs are incomplete, or no ceiling is known.
    Unknown,
}

impl Bound {
    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Compute => "compute",
            Self::Latency => "latency",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The shortest time that ceilings allow, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Floor {
    /// The floor itself: of each member the larger of its two, summed.
    pub time_s: f64,
    /// The part of it whose members are bound by bandwidth.
    pub memory_bound_s: f64,
    /// The part of it whose members are bound by arithmetic.
    pub compute_bound_s: f64,
}

impl Floor {
    /// The floor of one member.
    pub fn of(memory_s: f64, compute_s: f64) -> Self {
        if memory_s >= compute_s {
            Self { time_s: memory_s, memory_bound_s: memory_s, compute_bound_s: 0.0 }
        } else {
            Self { time_s: compute_s, memory_bound_s: 0.0, compute_bound_s: compute_s }
        }
    }

    /// This floor times `factor`.
    pub fn scaled(self, factor: f64) -> Self {
        Self {
            time_s: self.time_s * factor,
            memory_bound_s: self.memory_bound_s * factor,
            compute_bound_s: self.compute_bound_s * factor,
        }
    }

    /// What bounds work of this floor that took `time_s`; without a time, the side of the ridge point.
    /// An aggregate is bound by what bounds most of its floor.
    pub fn bound(&self, time_s: Option<f64>) -> Bound {
        match time_s {
            _ if self.time_s <= 0.0 => Bound::Unknown,
            Some(time) if self.time_s < LATENCY_BOUND_BELOW * time => Bound::Latency,
            _ if self.memory_bound_s >= self.compute_bound_s => Bound::Memory,
            _ => Bound::Compute,
        }
    }
}

impl Add for Floor {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            time_s: self.time_s + other.time_s,
            memory_bound_s: self.memory_bound_s + other.memory_bound_s,
            compute_bound_s: self.compute_bound_s + other.compute_bound_s,
        }
    }
}

impl Sum for Floor {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), Add::add)
    }
}

/// The time floor of moving `bytes` through DRAM and executing `demands`; `None` where a ceiling that matters
/// is missing.
pub(super) fn floor(bytes: f64, demands: &[Demand], ceilings: &CeilingSet) -> Option<Floor> {
    let memory_s = if bytes > 0.0 { bytes / ceilings.dram()?.value } else { 0.0 };
    Some(Floor::of(memory_s, compute_floor(demands, ceilings)?))
}

fn compute_floor(demands: &[Demand], ceilings: &CeilingSet) -> Option<f64> {
    let total: f64 = demands.iter().map(|d| d.flops).sum();
    let mut of_unit = [0.0f64; 2];
    for demand in demands.iter().filter(|d| d.flops > 0.0) {
        match ceilings.compute(demand) {
            Some(peak) => {
                of_unit[usize::from(demand.unit == ComputeUnit::Matrix)] += demand.flops / peak.value
            }
            None if demand.flops < NEGLIGIBLE * total => {}
            None => return None,
        }
    }
    Some(of_unit[0].max(of_unit[1]))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bandwidth, matrix, vector};
    use super::*;

    fn demand(unit: ComputeUnit, precision: Precision, flops: f64) -> Demand {
        Demand { unit, precision, accumulate: None, flops }
    }

    fn device() -> CeilingSet {
        CeilingSet::new(vec![
            bandwidth(100e9),
            vector(Precision::Fp32, 1e12),
            vector(Precision::Fp64, 0.5e12),
            matrix(Precision::Fp16, 4e12),
        ])
    }

    #[test]
    fn with_one_precision_the_floor_is_the_textbook_roofline() {
        let set = device();
        // 1 GFLOP and 1 GB: 10 ms of bandwidth, 1 ms of arithmetic; attainable 1e9 / 0.01 = 1 x 100e9.
        let f = floor(1e9, &[demand(ComputeUnit::Vector, Precision::Fp32, 1e9)], &set).unwrap();
        assert_eq!((f.time_s, f.bound(Some(0.02))), (0.01, Bound::Memory));
        // 100 GFLOP: 100 ms of arithmetic.
        let f = floor(1e9, &[demand(ComputeUnit::Vector, Precision::Fp32, 100e9)], &set).unwrap();
        assert_eq!((f.time_s, f.bound(Some(0.2))), (0.1, Bound::Compute));
    }

    #[test]
    fn precisions_add_up_on_a_unit_and_units_run_side_by_side() {
        let demands = [
            demand(ComputeUnit::Vector, Precision::Fp32, 1e9),  // 1 ms
            demand(ComputeUnit::Vector, Precision::Fp64, 1e9),  // 2 ms
            demand(ComputeUnit::Matrix, Precision::Fp16, 16e9), // 4 ms
        ];
        assert!((floor(0.0, &demands, &device()).unwrap().time_s - 0.004).abs() < 1e-15);
        assert!((floor(0.0, &demands[..2], &device()).unwrap().time_s - 0.003).abs() < 1e-15);
    }

    #[test]
    fn the_floor_of_an_aggregate_is_the_sum_of_its_members_not_the_floor_of_the_sum() {
        let set = device();
        let memory = floor(1e9, &[demand(ComputeUnit::Vector, Precision::Fp32, 0.0)], &set).unwrap();
        let compute = floor(0.0, &[demand(ComputeUnit::Vector, Precision::Fp32, 9e9)], &set).unwrap();
        // 10 ms + 9 ms, where the floor of the sum would be max(10, 9) = 10 ms.
        let both = memory + compute;
        assert!((both.time_s - 0.019).abs() < 1e-15);
        assert_eq!(both.bound(Some(0.04)), Bound::Memory);
    }

    #[test]
    fn far_under_both_ceilings_is_latency_bound() {
        let f = Floor::of(0.001, 0.002);
        assert_eq!(f.bound(Some(0.0201)), Bound::Latency);
        assert_eq!(f.bound(Some(0.0199)), Bound::Compute);
        assert_eq!(Floor::default().bound(Some(1.0)), Bound::Unknown);
    }

    #[test]
    fn a_missing_ceiling_gives_no_floor_unless_what_needs_it_is_negligible() {
        let set = device();
        let fp32 = demand(ComputeUnit::Vector, Precision::Fp32, 1e9);
        let noise = demand(ComputeUnit::Vector, Precision::Fp16, 1e3);
        let half = demand(ComputeUnit::Vector, Precision::Fp16, 1e9);
        assert!(floor(1.0, &[fp32, noise], &set).is_some());
        assert!(floor(1.0, &[fp32, half], &set).is_none());
        assert!(floor(1.0, &[fp32], &CeilingSet::new(vec![vector(Precision::Fp32, 1e12)])).is_none());
    }
}
