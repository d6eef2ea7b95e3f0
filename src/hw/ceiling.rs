//! One upper bound of a device, of computing or of moving data, and where it was taken from.

use crate::units::{ByteRate, FlopRate, format_si};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A numeric format that arithmetic is done in.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// IEEE binary64.
    Fp64,
    /// IEEE binary32.
    Fp32,
    /// TensorFloat-32: 32-bit operands with a 10-bit mantissa.
    Tf32,
    /// IEEE binary16.
    Fp16,
    /// bfloat16.
    Bf16,
    /// 8-bit floating point, E4M3 or E5M2.
    Fp8,
    /// 6-bit floating point.
    Fp6,
    /// 4-bit floating point.
    Fp4,
    /// 8-bit integers.
    Int8,
    /// 32-bit integers, as an accumulator.
    Int32,
    /// 4-bit integers.
    Int4,
    /// Single bits.
    Int1,
}

impl Precision {
    /// Every precision, widest first.
    pub const ALL: [Self; 12] = [
        Self::Fp64,
        Self::Fp32,
        Self::Tf32,
        Self::Fp16,
        Self::Bf16,
        Self::Fp8,
        Self::Fp6,
        Self::Fp4,
        Self::Int32,
        Self::Int8,
        Self::Int4,
        Self::Int1,
    ];

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp64 => "fp64",
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8",
            Self::Fp6 => "fp6",
            Self::Fp4 => "fp4",
            Self::Int8 => "int8",
            Self::Int32 => "int32",
            Self::Int4 => "int4",
            Self::Int1 => "int1",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which part of the processor does the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ComputeUnit {
    /// Vector units: CUDA cores, SIMD lanes.
    Vector,
    /// Matrix units: tensor cores, AMX; dense operands.
    Matrix,
}

/// A level of the memory hierarchy whose traffic a bandwidth bounds.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum MemoryLevel {
    /// Device or main memory.
    Dram,
    /// Third-level cache.
    L3,
    /// Second-level cache.
    L2,
    /// First-level cache.
    L1,
}

impl MemoryLevel {
    /// The name shown in tables and charts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dram => "DRAM",
            Self::L3 => "L3",
            Self::L2 => "L2",
            Self::L1 => "L1",
        }
    }
}

/// What a ceiling bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum CeilingKind {
    /// A rate of arithmetic in FLOP/s (for integers: operations per second); dense, never with sparsity.
    Compute {
        /// The operands' format.
        precision: Precision,
        /// Vector or matrix units.
        unit: ComputeUnit,
        /// The accumulator's format where the rate depends on it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accumulate: Option<Precision>,
    },
    /// A rate of data in B/s.
    Bandwidth {
        /// The memory level.
        level: MemoryLevel,
    },
}

/// Where a ceiling's value was taken from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "source", rename_all = "lowercase")]
pub enum CeilingSource {
    /// The manufacturer's document.
    Datasheet {
        /// Where it can be read.
        url: String,
    },
    /// Measured by kprof on the machine.
    Probe {
        /// What was run, e.g. `read, dynamic 1 MiB chunks, 4 threads`.
        method: String,
    },
    /// The profiler's own export.
    Report {
        /// The metrics that gave it.
        metric: String,
    },
    /// The user's `--device-spec` file.
    User {
        /// The file.
        file: String,
    },
    /// Another device than that of the measurement, whose ceilings the user asked to see instead (`--sim`).
    Simulated {
        /// That device.
        device: String,
    },
}

impl CeilingSource {
    /// One word for tables and legends.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Datasheet { .. } => "datasheet",
            Self::Probe { .. } => "probe",
            Self::Report { .. } => "report",
            Self::User { .. } => "user",
            Self::Simulated { .. } => "SIMULATED",
        }
    }
}

/// An upper bound with its name and source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Ceiling {
    /// What it bounds.
    #[serde(flatten)]
    pub kind: CeilingKind,
    /// The bound in base units: FLOP/s or B/s.
    pub value: f64,
    /// Where the value comes from.
    #[serde(flatten)]
    pub source: CeilingSource,
    /// How many threads the probe used; `None` for a whole device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
}

impl Ceiling {
    /// The bound as a FLOP rate, if it is one.
    pub fn flop_rate(&self) -> Option<FlopRate> {
        matches!(self.kind, CeilingKind::Compute { .. }).then_some(FlopRate(self.value))
    }

    /// The bound as a byte rate, if it is one.
    pub fn byte_rate(&self) -> Option<ByteRate> {
        matches!(self.kind, CeilingKind::Bandwidth { .. }).then_some(ByteRate(self.value))
    }

    /// What it bounds, in words: `DRAM bandwidth`, `bf16 matrix (fp32 accumulate)`.
    pub fn name(&self) -> String {
        match &self.kind {
            CeilingKind::Bandwidth { level } => format!("{} bandwidth", level.name()),
            CeilingKind::Compute { precision, unit, accumulate } => {
                let unit = match unit {
                    ComputeUnit::Vector => "vector",
                    ComputeUnit::Matrix => "matrix",
                };
                match accumulate {
                    Some(a) => format!("{precision} {unit} ({a} accumulate)"),
                    None => format!("{precision} {unit}"),
                }
            }
        }
    }

    /// The bound with its unit and prefix.
    pub fn value_text(&self) -> String {
        match self.kind {
            CeilingKind::Bandwidth { .. } => format_si(self.value, ByteRate::UNIT),
            CeilingKind::Compute { .. } => format_si(self.value, FlopRate::UNIT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_names_what_it_bounds_and_survives_json() {
        let ceiling = Ceiling {
            kind: CeilingKind::Compute {
                precision: Precision::Bf16,
                unit: ComputeUnit::Matrix,
                accumulate: Some(Precision::Fp32),
            },
            value: 989.4e12,
            source: CeilingSource::Datasheet { url: "https://example.org".into() },
            threads: None,
        };
        assert_eq!(ceiling.name(), "bf16 matrix (fp32 accumulate)");
        assert_eq!(ceiling.value_text(), "989 TFLOP/s");
        let json = serde_json::to_string(&ceiling).unwrap();
        assert_eq!(serde_json::from_str::<Ceiling>(&json).unwrap(), ceiling);
    }
}
