//! A ceiling that was measured, with every repetition behind it.

use super::{Ceiling, CeilingKind};
use serde::{Deserialize, Serialize};

/// What was run to measure a ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Every byte read once.
    Read,
    /// `a[i] = b[i] + s * c[i]`: two reads and a write, 12 bytes per f32 element, as STREAM counts them.
    Triad,
    /// `a[i] = b[i]`: a read and a write.
    Copy,
    /// Independent chains of multiply-adds in registers.
    Fma,
    /// Independent chains of widening dot products in registers.
    Dot,
}

impl Operation {
    /// The name used in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Triad => "triad",
            Self::Copy => "copy",
            Self::Fma => "fma",
            Self::Dot => "dot",
        }
    }
}

/// A measured bound: the best repetition is the ceiling's value, because whatever else the machine does can only
/// make a repetition slower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MeasuredCeiling {
    /// The best repetition as a ceiling.
    #[serde(flatten)]
    pub ceiling: Ceiling,
    /// What was run.
    pub operation: Operation,
    /// The rate of every repetition in the order run, in FLOP/s or B/s; at least one.
    pub samples: Vec<f64>,
}

impl MeasuredCeiling {
    /// The base unit of the value and the samples.
    pub fn unit(&self) -> &'static str {
        match self.ceiling.kind {
            CeilingKind::Compute { .. } => crate::units::FlopRate::UNIT,
            CeilingKind::Bandwidth { .. } => crate::units::ByteRate::UNIT,
        }
    }

    /// Whether it bounds inference, which mostly reads: triads and copies are shown, and are no ceiling of a roofline.
    pub fn is_bound(&self) -> bool {
        !matches!(self.operation, Operation::Triad | Operation::Copy)
    }
}

/// What asking for a kernel takes on a GPU, by one that does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaunchCost {
    /// Seconds of the host's per launch, the queue not being full.
    pub host_s: f64,
    /// Seconds from one kernel to the next, launched one by one.
    pub device_s: f64,
    /// Seconds from one kernel to the next inside a graph.
    pub graph_s: f64,
}
