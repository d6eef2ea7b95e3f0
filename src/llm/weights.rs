//! How the weights of linears are stored, and the bytes that follow.

use super::{DType, nearest_first};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The type of a stored weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WeightElement {
    /// IEEE binary32.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE binary16.
    F16,
    /// 8-bit floating point (E4M3).
    Fp8,
    /// 8-bit integers.
    Int8,
    /// 4-bit integers, two to a byte.
    Int4,
}

/// Which weights share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WeightScales {
    /// None, or one for a whole tensor: not counted.
    Tensor,
    /// All of one output.
    Output,
    /// This many neighbouring inputs of one output.
    Group(usize),
    /// Blocks of this many outputs and inputs (DeepSeek-V3: 128 x 128).
    Block(usize, usize),
}

/// How weights of linears are stored. Tables, norms, biases, routers and the head keep the activations' type, as
/// in the checkpoints that AWQ, GPTQ and llm-compressor write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WeightFormat {
    /// The type of one weight.
    pub element: WeightElement,
    /// Which weights share a scale.
    pub scales: WeightScales,
}

impl WeightElement {
    /// Every type, widest first.
    pub const ALL: [Self; 6] = [Self::F32, Self::Bf16, Self::F16, Self::Fp8, Self::Int8, Self::Int4];

    /// The size of one weight in bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::F32 => 32,
            Self::Bf16 | Self::F16 => 16,
            Self::Fp8 | Self::Int8 => 8,
            Self::Int4 => 4,
        }
    }

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Fp8 => "fp8",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }

    /// Bits of a scale: f32 beside fp8 (compressed-tensors, DeepSeek-V3), f16 beside integers (AWQ, GPTQ).
    fn scale_bits(self) -> f64 {
        match self {
            Self::Fp8 => 32.0,
            _ => 16.0,
        }
    }
}

impl fmt::Display for WeightElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl WeightFormat {
    /// Weights as they are, without scales.
    pub const fn plain(dtype: DType) -> Self {
        let element = match dtype {
            DType::F32 => WeightElement::F32,
            DType::Bf16 => WeightElement::Bf16,
            DType::F16 => WeightElement::F16,
        };
        Self { element, scales: WeightScales::Tensor }
    }

    /// `element` with its usual scales: one per output for 8 bits, one per 128 inputs for 4 bits (AWQ and GPTQ).
    pub const fn usual(element: WeightElement) -> Self {
        let scales = match element {
            WeightElement::F32 | WeightElement::Bf16 | WeightElement::F16 => WeightScales::Tensor,
            WeightElement::Fp8 | WeightElement::Int8 => WeightScales::Output,
            WeightElement::Int4 => WeightScales::Group(128),
        };
        Self { element, scales }
    }

    /// Bytes of an `input x output` matrix: input x output x bits / 8, plus its scales.
    pub fn bytes(&self, input: usize, output: usize) -> f64 {
        let scales = match self.scales {
            WeightScales::Tensor => 0,
            WeightScales::Output => output,
            WeightScales::Group(inputs) => output * input.div_ceil(inputs.max(1)),
            WeightScales::Block(outputs, inputs) => {
                output.div_ceil(outputs.max(1)) * input.div_ceil(inputs.max(1))
            }
        };
        let elements = input as f64 * output as f64;
        (elements * f64::from(self.element.bits()) + scales as f64 * self.element.scale_bits()) / 8.0
    }

    /// The type of activations that go with these weights where nothing else is said.
    pub fn activations(&self) -> DType {
        match self.element {
            WeightElement::F32 => DType::F32,
            WeightElement::F16 => DType::F16,
            _ => DType::Bf16,
        }
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scales {
            _ if *self == Self::usual(self.element) => f.pad(self.element.name()),
            WeightScales::Tensor => write!(f, "{}:tensor", self.element),
            WeightScales::Output => write!(f, "{}:output", self.element),
            WeightScales::Group(inputs) => write!(f, "{}:{inputs}", self.element),
            WeightScales::Block(outputs, inputs) => write!(f, "{}:{outputs}x{inputs}", self.element),
        }
    }
}

impl FromStr for WeightFormat {
    type Err = String;

    /// Accepts kprof's names, PyTorch's, and after a colon what shares a scale: `int4:64`, `fp8:128x128`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, scales) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let element = element(name).ok_or_else(|| {
            let known = nearest_first(name, WeightElement::ALL.map(WeightElement::name)).join(", ");
            format!("unknown dtype '{name}'; known: {known}; int4:64 has a scale per 64 weights")
        })?;
        let usual = Self::usual(element);
        let Some(scales) = scales else { return Ok(usual) };
        let wrong =
            || format!("'{scales}' says no group of weights; write int4:64, int8:output or fp8:128x128");
        if usual.scales == WeightScales::Tensor {
            return Err(format!(
                "{element} weights have no scales, so '{text}' means nothing; write {element}"
            ));
        }
        let count = |text: &str| text.parse().ok().filter(|n| *n > 0).ok_or_else(wrong);
        let scales = match (scales, scales.split_once('x')) {
            ("tensor", _) => WeightScales::Tensor,
            ("output", _) => WeightScales::Output,
            (_, Some((outputs, inputs))) => WeightScales::Block(count(outputs)?, count(inputs)?),
            (inputs, None) => WeightScales::Group(count(inputs)?),
        };
        Ok(Self { element, scales })
    }
}

fn element(name: &str) -> Option<WeightElement> {
    let plain = name.parse::<DType>().ok().map(|dtype| WeightFormat::plain(dtype).element);
    plain.or(match name {
        "fp8" | "f8" | "fp8_e4m3" | "float8_e4m3fn" => Some(WeightElement::Fp8),
        "int8" | "i8" => Some(WeightElement::Int8),
        "int4" | "i4" => Some(WeightElement::Int4),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_weights_and_scales() {
        let bytes = |text: &str| text.parse::<WeightFormat>().unwrap().bytes(256, 100);
        assert_eq!(bytes("f32"), 102_400.0);
        assert_eq!(bytes("bf16"), 51_200.0);
        // One f32 per output beside fp8, one f16 beside int8; two f16 per output for groups of 128 of 256.
        assert_eq!(bytes("fp8"), 25_600.0 + 400.0);
        assert_eq!(bytes("int8"), 25_600.0 + 200.0);
        assert_eq!(bytes("int4"), 12_800.0 + 400.0);
        assert_eq!(bytes("int4:64"), 12_800.0 + 800.0);
        assert_eq!(bytes("fp8:128x128"), 25_600.0 + 2.0 * 4.0);
        assert_eq!(bytes("fp8:tensor"), 25_600.0);
    }

    #[test]
    fn formats_parse_from_what_they_print() {
        for text in ["f32", "bf16", "f16", "fp8", "int8", "int4", "int4:32", "fp8:128x128", "int8:tensor"] {
            assert_eq!(text.parse::<WeightFormat>().unwrap().to_string(), text);
        }
        assert_eq!("int4:128".parse::<WeightFormat>().unwrap().to_string(), "int4");
        assert_eq!("bfloat16".parse::<WeightFormat>().unwrap(), WeightFormat::plain(DType::Bf16));
    }

    #[test]
    fn mistakes_are_named_with_what_is_known_nearest_first() {
        let error = |text: &str| text.parse::<WeightFormat>().unwrap_err();
        assert!(error("fp9").starts_with("unknown dtype 'fp9'; known: fp8, "), "{}", error("fp9"));
        assert!(error("int4:0").contains("'0' says no group"));
        assert!(error("bf16:64").contains("have no scales"));
    }
}
