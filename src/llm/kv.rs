//! How a cache stores K and V: element types, which elements share a scale, and the bytes that follow.

use super::DType;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The bits of a scale: one f16.
const SCALE_BITS: u32 = 16;

/// The type of a cache's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KvElement {
    /// IEEE binary32.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE binary16.
    F16,
    /// 8-bit floating point (E4M3), as vLLM's caches: at most one scale per layer, which is not counted.
    Fp8,
    /// Symmetric 8-bit codes, -127 to 127, times a scale.
    Int8,
    /// Symmetric 4-bit codes, -7 to 7, times a scale; two to a byte.
    Int4,
}

impl KvElement {
    /// The size of one element in bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::F32 => 32,
            Self::Bf16 | Self::F16 => 16,
            Self::Fp8 | Self::Int8 => 8,
            Self::Int4 => 4,
        }
    }

    /// The name used on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Fp8 => "fp8",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }

    /// The largest code, where elements are codes times a scale; `None` where they are stored as they are.
    pub const fn largest_code(self) -> Option<u8> {
        match self {
            Self::F32 | Self::Bf16 | Self::F16 | Self::Fp8 => None,
            Self::Int8 => Some(127),
            Self::Int4 => Some(7),
        }
    }
}

impl FromStr for KvStorage {
    type Err = String;

    /// `bf16`, `fp8`, `int8`, and `int8:64` for a scale per 64 channels instead of one per head.
    fn from_str(text: &str) -> Result<Self, String> {
        let all = [
            KvElement::F32,
            KvElement::Bf16,
            KvElement::F16,
            KvElement::Fp8,
            KvElement::Int8,
            KvElement::Int4,
        ];
        let (name, group) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let plain = || name.parse::<DType>().ok().map(KvElement::from);
        let element =
            all.into_iter().find(|element| element.name() == name).or_else(plain).ok_or_else(|| {
                let known = super::nearest_first(name, all.map(KvElement::name)).join(", ");
                format!("unknown KV cache dtype '{name}'; known: {known}")
            })?;
        let Some(group) = group else { return Ok(Self { element, group: None }) };
        let channels = group.parse().ok().filter(|n: &usize| *n > 0);
        match channels {
            Some(channels) if element.largest_code().is_some() => Ok(Self { element, group: Some(channels) }),
            Some(_) => {
                Err(format!("a cache of {name} has no scales, so '{text}' means nothing; write {name}"))
            }
            None => Err(format!("'{group}' is no group; write how many channels, int8:64")),
        }
    }
}

impl From<DType> for KvElement {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::F32 => Self::F32,
            DType::Bf16 => Self::Bf16,
            DType::F16 => Self::F16,
        }
    }
}

/// Which values share a scale; always of one token and one K/V head, K and V apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub enum ScaleGranularity {
    /// `token-head`: all of a head.
    #[default]
    TokenHead,
    /// `channel-group:N`: N neighbouring channels of a head; the last group of a head may be shorter.
    ChannelGroup(usize),
}

impl fmt::Display for ScaleGranularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenHead => f.pad("token-head"),
            Self::ChannelGroup(channels) => f.pad(&format!("channel-group:{channels}")),
        }
    }
}

impl FromStr for ScaleGranularity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let group = |channels: &str| channels.parse().ok().filter(|n| *n > 0).map(Self::ChannelGroup);
        match text.split_once(':') {
            None if text == "token-head" => Ok(Self::TokenHead),
            Some(("channel-group", channels)) => group(channels)
                .ok_or_else(|| format!("'{text}' is no group; write how many channels, channel-group:32")),
            _ => Err(format!("unknown scale '{text}'; known: token-head, channel-group:N")),
        }
    }
}

impl TryFrom<String> for ScaleGranularity {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ScaleGranularity> for String {
    fn from(scale: ScaleGranularity) -> Self {
        scale.to_string()
    }
}

/// The layout of one head's K or V of one token in a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "StoredKv")]
pub struct KvStorage {
    /// What an element is stored as.
    pub element: KvElement,
    /// How many neighbouring channels share a scale, where there are scales; `None` is all of a head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
}

impl KvStorage {
    /// Elements of a floating-point type, stored as they are.
    pub const fn plain(dtype: DType) -> Self {
        let element = match dtype {
            DType::F32 => KvElement::F32,
            DType::Bf16 => KvElement::Bf16,
            DType::F16 => KvElement::F16,
        };
        Self { element, group: None }
    }

    /// 8-bit floating point.
    pub const FP8: Self = Self { element: KvElement::Fp8, group: None };

    /// 8-bit codes, one scale per head or per group of channels.
    pub const fn int8(group: Option<usize>) -> Self {
        Self { element: KvElement::Int8, group }
    }

    /// 4-bit codes, one scale per head or per group of channels.
    pub const fn int4(group: Option<usize>) -> Self {
        Self { element: KvElement::Int4, group }
    }

    /// Whether elements carry a scale.
    pub const fn is_quantised(&self) -> bool {
        self.element.largest_code().is_some()
    }

    /// How many channels of a head of `head_dim` share a scale; a group never reaches into the next head.
    pub fn channels_per_scale(&self, head_dim: usize) -> usize {
        self.group.unwrap_or(head_dim).min(head_dim)
    }

    /// Scales of one head of one token, for K and V each: ceil(head_dim / group), 0 where nothing is quantised.
    pub fn scales_per_head(&self, head_dim: usize) -> usize {
        if self.is_quantised() { head_dim.div_ceil(self.channels_per_scale(head_dim)) } else { 0 }
    }

    /// Bytes of K and V of one token in one layer:
    /// 2 x kv_heads x (head_dim x element bits + scales per head x 16) / 8.
    pub fn bytes_per_token(&self, kv_heads: usize, head_dim: usize) -> f64 {
        let elements = head_dim as f64 * f64::from(self.element.bits());
        let scales = self.scales_per_head(head_dim) as f64 * f64::from(SCALE_BITS);
        2.0 * kv_heads as f64 * (elements + scales) / 8.0
    }
}

/// A storage as files have it: now by element; runs recorded before there were groups, by bits.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
enum StoredKv {
    Element {
        element: KvElement,
        #[serde(default)]
        group: Option<usize>,
    },
    Bits {
        element_bits: u32,
        scale_bits: u32,
    },
}

impl TryFrom<StoredKv> for KvStorage {
    type Error = String;

    fn try_from(stored: StoredKv) -> Result<Self, String> {
        match stored {
            StoredKv::Element { element, group } => Ok(Self { element, group }),
            StoredKv::Bits { element_bits: 32, scale_bits: 0 } => Ok(Self::plain(DType::F32)),
            // Those runs did not say which 16-bit type; their bytes, all that is asked of them, are the same.
            StoredKv::Bits { element_bits: 16, scale_bits: 0 } => Ok(Self::plain(DType::F16)),
            StoredKv::Bits { element_bits: 8, scale_bits: SCALE_BITS } => Ok(Self::int8(None)),
            StoredKv::Bits { element_bits, scale_bits } => {
                Err(format!("no cache stores {element_bits} bits per element and {scale_bits} per scale"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_per_token_count_elements_and_scales() {
        // 2 kv heads of 64: K and V are 256 elements.
        for (storage, bytes) in [
            (KvStorage::plain(DType::F32), 1024.0),
            (KvStorage::plain(DType::Bf16), 512.0),
            (KvStorage::int8(None), 256.0 + 4.0 * 2.0),
            (KvStorage::int8(Some(32)), 256.0 + 8.0 * 2.0),
            (KvStorage::int4(Some(32)), 128.0 + 8.0 * 2.0),
            (KvStorage::int4(Some(64)), 128.0 + 4.0 * 2.0),
        ] {
            assert_eq!(storage.bytes_per_token(2, 64), bytes, "{storage:?}");
        }
    }

    #[test]
    fn storages_parse_from_the_command_line_and_mistakes_are_named() {
        let parse = |text: &str| text.parse::<KvStorage>();
        assert_eq!(parse("fp8"), Ok(KvStorage::FP8));
        assert_eq!(parse("bfloat16"), Ok(KvStorage::plain(DType::Bf16)));
        assert_eq!(parse("int8:64"), Ok(KvStorage::int8(Some(64))));
        assert!(parse("int9").unwrap_err().starts_with("unknown KV cache dtype 'int9'; known: int8, int4"));
        assert!(parse("bf16:64").unwrap_err().contains("has no scales"));
        assert!(parse("int8:x").unwrap_err().contains("'x' is no group"));
    }

    #[test]
    fn a_group_ends_with_its_head() {
        let grouped = KvStorage::int8(Some(32));
        // 80 channels are groups of 32, 32 and 16; a head of 16 has one scale.
        assert_eq!(grouped.scales_per_head(80), 3);
        assert_eq!((grouped.channels_per_scale(16), grouped.scales_per_head(16)), (16, 1));
        assert_eq!(KvStorage::plain(DType::F16).scales_per_head(64), 0);
    }

    #[test]
    fn scales_parse_from_what_they_print_and_mistakes_are_named() {
        for scale in [ScaleGranularity::TokenHead, ScaleGranularity::ChannelGroup(32)] {
            assert_eq!(scale.to_string().parse(), Ok(scale));
        }
        let error = |text: &str| text.parse::<ScaleGranularity>().unwrap_err();
        assert!(error("channel-group:0").contains("'channel-group:0' is no group"));
        assert!(error("tokenhead").contains("known: token-head, channel-group:N"));
    }

    #[test]
    fn storages_of_earlier_runs_are_read_and_new_ones_round_trip() {
        let read = |text: &str| serde_json::from_str::<KvStorage>(text);
        assert_eq!(read(r#"{"element_bits":8,"scale_bits":16}"#).unwrap(), KvStorage::int8(None));
        assert_eq!(read(r#"{"element_bits":32,"scale_bits":0}"#).unwrap(), KvStorage::plain(DType::F32));
        assert!(read(r#"{"element_bits":5,"scale_bits":0}"#).is_err());
        for storage in [KvStorage::int4(Some(32)), KvStorage::plain(DType::Bf16)] {
            assert_eq!(read(&serde_json::to_string(&storage).unwrap()).unwrap(), storage);
        }
    }
}
