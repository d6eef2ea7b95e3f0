//! How many sequences fit: the results of `kprof capacity`.

use super::Accounted;
use serde::{Deserialize, Serialize};

/// How it was found out whether a batch fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Whether the search ended at a limit of its own (positions, time, the largest batch asked for), so that more may fit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
}

/// One batch that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapacityProbe {
    /// Sequences.
    pub batch: usize,
    /// The most that it took.
    pub peak: Accounted,
    /// Whether that is within the budget.
    pub fits: bool,
}
