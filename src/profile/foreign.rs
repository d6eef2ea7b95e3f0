//! What other benchmarks say that has no place elsewhere in a run.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The environment of an import, under the names of the file that it comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ForeignRecord {
    /// Whose names they are: `nanogpt`.
    pub schema: String,
    /// The fields, as they stood there.
    pub fields: serde_json::Map<String, serde_json::Value>,
}

/// Times of the phases of a whole generation, summed over its steps, as another benchmark gives them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseTotalsRecord {
    /// The version.
    pub version: String,
    /// Output tokens per sequence: T*.
    pub tokens: usize,
    /// Seconds by phase: `embedding`, `attention`, `mlp`, `head`, and `other` and `total`.
    pub time_s: BTreeMap<String, f64>,
    /// Which statistic over repetitions they are: `median`.
    pub statistic: String,
}
