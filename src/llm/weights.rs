//! How the weights of linears are stored.

use super::DType;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The storage of a linear's weights; biases, norms and tables stay in the model's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightFormat {
    /// The type of the activations.
    #[default]
    Model,
    /// Symmetric 8-bit codes, -127 to 127, with one f16 scale per 32 inputs of an output (as GGML's Q8_0).
    Int8,
    /// Symmetric 8-bit codes with one f32 scale per output.
    Int8Channel,
}

impl WeightFormat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Model, Self::Int8, Self::Int8Channel];

    /// Inputs that share a scale where weights are stored in blocks.
    pub const BLOCK: usize = 32;

    /// Whether weights are stored in the type of the activations.
    pub fn is_model(&self) -> bool {
        *self == Self::Model
    }

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Int8 => "int8",
            Self::Int8Channel => "int8-channel",
        }
    }

    /// Bytes of `[input, output]` weights in a model of `dtype`: input x output x element bytes; with INT8
    /// input x output + 2 x ceil(input / 32) x output, or + 4 x output with one scale per output.
    pub fn bytes(self, dtype: DType, input: usize, output: usize) -> f64 {
        let elements = (input * output) as f64;
        match self {
            Self::Model => elements * dtype.bytes(),
            Self::Int8 => elements + 2.0 * (input.div_ceil(Self::BLOCK) * output) as f64,
            Self::Int8Channel => elements + 4.0 * output as f64,
        }
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for WeightFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| {
            let known = super::nearest_first(text, Self::ALL.map(Self::name));
            format!("unknown weight format '{text}'; known: {}", known.join(", "))
        })
    }
}
