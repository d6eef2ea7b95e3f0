//! Element types that weights, activations and caches are stored in.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The storage type of a pass's weights and activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE binary32.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE binary16.
    F16,
}

impl DType {
    /// Every storage type.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::F16];

    /// The size of one element in bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::F32 => 32,
            Self::Bf16 | Self::F16 => 16,
        }
    }

    /// The size of one element in bytes.
    pub fn bytes(self) -> f64 {
        f64::from(self.bits()) / 8.0
    }

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DType {
    type Err = String;

    /// Accepts kprof's names and PyTorch's (`float32`, `bfloat16`, `float16`).
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" | "fp32" | "float32" => Ok(Self::F32),
            "bf16" | "bfloat16" => Ok(Self::Bf16),
            "f16" | "fp16" | "float16" => Ok(Self::F16),
            _ => {
                let known = super::nearest_first(text, Self::ALL.map(Self::name));
                Err(format!("unknown dtype '{text}'; known: {}", known.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back_and_an_unknown_one_lists_the_nearest_first() {
        for dtype in DType::ALL {
            assert_eq!(dtype.name().parse(), Ok(dtype));
        }
        assert_eq!("bfloat16".parse(), Ok(DType::Bf16));
        let error = "bf15".parse::<DType>().unwrap_err();
        assert_eq!(error, "unknown dtype 'bf15'; known: bf16, f16, f32");
    }
}
