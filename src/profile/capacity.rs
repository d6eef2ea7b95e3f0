//! How many sequences fit: the results of `kprof capacity`.

use super::Accounted;
use serde::{Deserialize, Serialize};

/// How it was found out whether a batch fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CapacityMethod {
    /// Caches were allocated and a step ran, and what it took at most was compared with the budget.
    Ran,
    /// Caches were allocated and steps ran for small batches; larger ones are on the line through them.
    Extrapolated,
    /// By the formulas that also refuse runs which memory has no room for.
    Accounted,
}

/// The largest batch of a version in a budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CapacityRecord {
    /// The version.
    pub version: String,
    /// Tokens per sequence.
    pub context: usize,
    /// The budget for everything: weights, caches, activations.
    pub budget_bytes: f64,
    /// The largest batch that fits; 0 where not even one sequence does.
    pub batch: usize,
    /// How that was found out.
    pub method: CapacityMethod,
    /// The largest batch in theory: (budget - weights) / one sequence's cache by the formula, rounded down; `None` without
    /// a cache, whose batch activations alone limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theoretical_batch: Option<usize>,
    /// What was tried, in the order tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<CapacityProbe>,
    /// Whether the search ended at a limit of its own (positions, time, the largest batch asked for, the most rows that
    /// kernels take), so that more may fit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// Where the budget is not what was asked for, but what a device had free: its figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_budget: Option<DeviceBudget>,
}

/// A budget that is a device's free memory less a reserve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DeviceBudget {
    /// Bytes that the driver said were free before anything of the model was there.
    pub free_bytes: f64,
    /// Bytes of the device.
    pub total_bytes: f64,
    /// Bytes of the free ones that are left alone: for what is in no allocation of the model's (code of kernels, graphs,
    /// pages that are not full), and for others.
    pub reserve_bytes: f64,
}

/// The reserve of a [`DeviceBudget`]: a chosen margin, not a measured one. What a process takes outside its pool are tens of
/// MiB on the devices that their vendors tell of.
const RESERVE_BYTES: f64 = 256.0 * 1024.0 * 1024.0;
/// Of little free memory the reserve is this part.
const RESERVE_PART: f64 = 1.0 / 16.0;

impl DeviceBudget {
    /// Of a device with so much free memory: 256 MiB are left alone, or a sixteenth where that is less.
    pub fn of(free_bytes: f64, total_bytes: f64) -> Self {
        Self { free_bytes, total_bytes, reserve_bytes: RESERVE_BYTES.min(free_bytes * RESERVE_PART) }
    }

    /// Free less reserve.
    pub fn bytes(&self) -> f64 {
        self.free_bytes - self.reserve_bytes
    }
}

/// One batch that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CapacityProbe {
    /// Sequences.
    pub batch: usize,
    /// The most that it took; where memory ran out, what was held with the allocation that was refused: it needs at least
    /// that.
    pub peak: Accounted,
    /// Whether that is within the budget, and memory did not run out.
    pub fits: bool,
    /// Whether the device had no more memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out_of_memory: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_256_mib_or_a_sixteenth_of_what_is_free() {
        let large = DeviceBudget::of(80e9, 85e9);
        assert_eq!(large.bytes(), 80e9 - 268_435_456.0);
        assert_eq!(DeviceBudget::of(1600.0, 3200.0).bytes(), 1500.0);
    }
}
