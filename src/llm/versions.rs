//! KV-cache versions: rows of `versions.toml`, and finding them by name.

use super::version_file::parse_versions;
use super::{DType, KvElement, KvStorage, ScaleGranularity, nearest_first};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const BUILTIN: &str = include_str!("versions.toml");

/// What a cache stores its elements as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KvDType {
    /// The type of the model's weights and activations.
    #[default]
    Model,
    /// IEEE binary32.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE binary16.
    F16,
    /// Symmetric 8-bit codes with scales.
    Int8,
    /// Symmetric 4-bit codes with scales.
    Int4,
}

impl KvDType {
    /// Every one, as the documentation lists them.
    pub const ALL: [Self; 6] = [Self::Model, Self::F32, Self::Bf16, Self::F16, Self::Int8, Self::Int4];

    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }
}

/// One KV-cache policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Its name, e.g. `v1`; the table's key in the file.
    #[serde(default)]
    pub name: String,
    /// One line for tables and help.
    pub description: String,
    /// Whether K and V are kept between steps.
    pub use_cache: bool,
    /// What the cache stores.
    #[serde(default)]
    pub kv_dtype: KvDType,
    /// How many values share a scale.
    #[serde(default)]
    pub scale: ScaleGranularity,
    /// How many consecutive layers share one cache.
    #[serde(default = "one")]
    pub share_layers: usize,
    /// How many of the latest tokens are attended to; `None` is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
}

fn one() -> usize {
    1
}

/// A plain cache of its own for every layer, over all tokens: what a file's row is until its keys say otherwise.
impl Default for Version {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            use_cache: true,
            kv_dtype: KvDType::Model,
            scale: ScaleGranularity::TokenHead,
            share_layers: 1,
            window: None,
        }
    }
}

impl Version {
    /// How K and V are stored for a model of `dtype`.
    pub fn storage(&self, dtype: DType) -> KvStorage {
        let element = match self.kv_dtype {
            KvDType::Model => KvElement::from(dtype),
            KvDType::F32 => KvElement::F32,
            KvDType::Bf16 => KvElement::Bf16,
            KvDType::F16 => KvElement::F16,
            KvDType::Int8 => KvElement::Int8,
            KvDType::Int4 => KvElement::Int4,
        };
        let group = match self.scale {
            ScaleGranularity::ChannelGroup(channels) if element.largest_code().is_some() => Some(channels),
            _ => None,
        };
        KvStorage { element, group }
    }

    /// Whether layer `layer` keeps a cache of its own; the others borrow that of their group's first.
    pub fn owns_cache(&self, layer: usize) -> bool {
        self.use_cache && layer.is_multiple_of(self.share_layers)
    }

    /// The layer whose K and V layer `layer` attends to.
    pub fn owner(&self, layer: usize) -> usize {
        layer - layer % self.share_layers
    }
}

/// Why a version could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// The name is not known.
    #[error("unknown version '{name}'; known: {known}")]
    Unknown {
        /// As given.
        name: String,
        /// Known names, nearest first.
        known: String,
    },
    /// A range such as `v3-v1` or `v0-x`.
    #[error("'{text}' is no range of versions; write it like v0-v4")]
    Range {
        /// As given.
        text: String,
    },
    /// A file of versions cannot be read.
    #[error("cannot read the versions of {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A mistake in a file of versions.
    #[error("{file}:{line}: {message}")]
    File {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// 4-bit codes and heads that do not go together.
    #[error(
        "version '{name}' packs two 4-bit codes into a byte; the heads of {model} have {head_dim} channels, an odd number"
    )]
    OddHeads {
        /// The version.
        name: String,
        /// The model.
        model: String,
        /// Its heads' width.
        head_dim: usize,
    },
    /// A user's version has the name of a built-in one.
    #[error("{file}: version '{name}' is built into kprof; give yours another name")]
    BuiltinName {
        /// The file.
        file: String,
        /// The name.
        name: String,
    },
}

/// The versions of `versions.toml`, by name.
pub fn builtin_versions() -> Vec<Version> {
    parse_versions("versions.toml", BUILTIN).expect("the built-in versions.toml is valid: a test reads it")
}

/// The version called `name`.
///
/// # Errors
/// When there is none: the message lists the known ones, nearest first.
pub fn find_version<'a>(known: &'a [Version], name: &str) -> Result<&'a Version, VersionError> {
    known.iter().find(|v| v.name == name).ok_or_else(|| {
        let names = nearest_first(name, known.iter().map(|v| v.name.as_str()));
        VersionError::Unknown { name: name.to_string(), known: names.join(", ") }
    })
}

/// Splits command-line values into names: `v0,v1` is two and `v0-v4` is five. Order is kept, repeats are dropped.
///
/// # Errors
/// When a range is malformed.
pub fn expand_names(values: &[String]) -> Result<Vec<String>, VersionError> {
    let mut names: Vec<String> = Vec::new();
    for part in values.iter().flat_map(|v| v.split(',')).filter(|p| !p.is_empty()) {
        for name in expand_range(part)? {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

fn expand_range(part: &str) -> Result<Vec<String>, VersionError> {
    let Some((first, last)) = part.split_once('-') else {
        return Ok(vec![part.to_string()]);
    };
    let number = |name: &str| name.strip_prefix('v').and_then(|n| n.parse::<u32>().ok());
    match (number(first), number(last)) {
        (Some(a), Some(b)) if a <= b => Ok((a..=b).map(|i| format!("v{i}")).collect()),
        _ => Err(VersionError::Range { text: part.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::preset;
    use super::*;

    #[test]
    fn the_builtin_file_has_the_five_versions_of_the_reference() {
        let versions = builtin_versions();
        let flags: Vec<_> = versions
            .iter()
            .map(|v| (v.name.as_str(), v.use_cache, v.kv_dtype == KvDType::Int8, v.share_layers))
            .collect();
        assert_eq!(
            flags,
            [
                ("v0", false, false, 1),
                ("v1", true, false, 1),
                ("v2", true, true, 1),
                ("v3", true, false, 2),
                ("v4", true, true, 2),
            ]
        );
    }

    #[test]
    fn cache_bytes_follow_the_formula_and_count_the_scales() {
        let model = preset("gpt2").unwrap();
        let versions = builtin_versions();
        let bytes =
            |name: &str, dtype| find_version(&versions, name).unwrap().cache_bytes(&model, dtype, 512, 1).0;
        // gpt2, bf16: 2 * 12 * 12 * 64 * 2 B * 512 = 18,874,368.
        assert_eq!(bytes("v1", DType::Bf16), 18_874_368.0);
        // int8 + one f16 per 64 elements: (64 + 2) / 128 of it, so 1.94x smaller, as published for head_dim 64.
        assert_eq!(bytes("v2", DType::Bf16), 18_874_368.0 * 66.0 / 128.0);
        assert_eq!(bytes("v3", DType::Bf16), 18_874_368.0 / 2.0);
        assert_eq!(bytes("v4", DType::Bf16), 18_874_368.0 * 66.0 / 256.0);
        assert_eq!(bytes("v0", DType::Bf16), 0.0);
        // Against f32 the ratio is 256 / 66 = 3.88, not 4.
        assert!((bytes("v1", DType::F32) / bytes("v2", DType::F32) - 256.0 / 66.0).abs() < 1e-12);
    }

    #[test]
    fn an_odd_number_of_layers_shares_with_the_last_group_alone() {
        let mut model = preset("tiny").unwrap();
        model.num_hidden_layers = 3;
        let versions = builtin_versions();
        let v1 = versions[1].cache_bytes(&model, DType::F32, 10, 1).0;
        let v3 = versions[3].cache_bytes(&model, DType::F32, 10, 1).0;
        assert_eq!(v3 / v1, 2.0 / 3.0);
        assert!(versions[3].owns_cache(2) && !versions[3].owns_cache(1));
        assert_eq!(versions[3].owner(1), 0);
    }

    #[test]
    fn names_expand_from_lists_and_ranges_in_order() {
        let expand = |v: &[&str]| expand_names(&v.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(expand(&["v0", "v1"]).unwrap(), ["v0", "v1"]);
        assert_eq!(expand(&["v0,v1", "v1"]).unwrap(), ["v0", "v1"]);
        assert_eq!(expand(&["v0-v4"]).unwrap(), ["v0", "v1", "v2", "v3", "v4"]);
        assert!(expand(&["v4-v0"]).is_err());
    }

    #[test]
    fn an_unknown_version_lists_the_known_ones_nearest_first() {
        let error = find_version(&builtin_versions(), "w2").unwrap_err().to_string();
        assert_eq!(error, "unknown version 'w2'; known: v2, v0, v1, v3, v4");
    }
}
