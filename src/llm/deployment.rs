//! How a model is served: storage of weights and cache, arithmetic, and ranks that share it.

use super::layout::Ranks;
use super::{DType, KvStorage, ModelSpec, WeightElement, WeightFormat};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The type that linears multiply in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Arithmetic {
    /// Single precision.
    F32,
    /// bfloat16.
    Bf16,
    /// Half precision.
    F16,
    /// 8-bit floating point: activations are quantised too.
    Fp8,
    /// 8-bit integers: activations are quantised too.
    Int8,
}

impl Arithmetic {
    const ALL: [Self; 5] = [Self::F32, Self::Bf16, Self::F16, Self::Fp8, Self::Int8];

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Fp8 => "fp8",
            Self::Int8 => "int8",
        }
    }

    /// What goes with weights where nothing else is said: fp8 weights multiply in fp8 (vLLM's W8A8), integers are
    /// widened to the activations' type first (weight-only quantisation).
    fn usual(weights: WeightFormat) -> Self {
        match weights.element {
            WeightElement::F32 => Self::F32,
            WeightElement::F16 => Self::F16,
            WeightElement::Fp8 => Self::Fp8,
            WeightElement::Bf16 | WeightElement::Int8 | WeightElement::Int4 => Self::Bf16,
        }
    }
}

impl From<DType> for Arithmetic {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::F32 => Self::F32,
            DType::Bf16 => Self::Bf16,
            DType::F16 => Self::F16,
        }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Arithmetic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|a| a.name() == text).ok_or_else(|| {
            let known = super::nearest_first(text, Self::ALL.map(Self::name)).join(", ");
            format!("unknown arithmetic '{text}'; known: {known}")
        })
    }
}

/// How a model is served.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Deployment {
    /// How the weights of linears are stored.
    pub weights: WeightFormat,
    /// What linears multiply in.
    pub arithmetic: Arithmetic,
    /// Storage type of activations, and of what is not quantised; attention multiplies in it.
    pub activations: DType,
    /// How the cache stores K and V.
    pub kv: KvStorage,
    /// Ranks that share the model by tensor parallelism.
    pub tensor_parallel: usize,
}

/// Why a model cannot be served so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// The ranks cannot share a dimension evenly.
    #[error(
        "tensor parallelism over {ranks} ranks does not divide {dimension} {size} of {model}; {fitting} would"
    )]
    Indivisible {
        /// Ranks asked for.
        ranks: usize,
        /// The dimension's key in config.json.
        dimension: &'static str,
        /// Its size.
        size: usize,
        /// The model.
        model: String,
        /// Numbers of ranks that divide everything.
        fitting: String,
    },
}

impl Deployment {
    /// Weights of `weights` on one rank, with what usually goes with them: 16-bit activations and cache.
    pub fn new(weights: WeightFormat) -> Self {
        let activations = weights.activations();
        Self {
            weights,
            arithmetic: Arithmetic::usual(weights),
            activations,
            kv: KvStorage::plain(activations),
            tensor_parallel: 1,
        }
    }

    pub(super) fn ranks(&self) -> Ranks {
        Ranks(self.tensor_parallel)
    }

    /// Whether the ranks can share `model`: heads and inner widths are divided; K/V heads are divided, or copied
    /// where there are fewer of them than ranks; the vocabulary is padded.
    ///
    /// # Errors
    /// When a dimension is not divided evenly.
    pub fn check(&self, model: &ModelSpec) -> Result<(), DeploymentError> {
        let Some((dimension, size)) = indivisible(model, self.tensor_parallel) else { return Ok(()) };
        let fitting: Vec<String> =
            (1..=64).filter(|n| indivisible(model, *n).is_none()).map(|n| n.to_string()).collect();
        Err(DeploymentError::Indivisible {
            ranks: self.tensor_parallel,
            dimension,
            size,
            model: model.name.clone(),
            fitting: fitting.join(", "),
        })
    }
}

/// The first dimension that `ranks` do not divide.
fn indivisible(model: &ModelSpec, ranks: usize) -> Option<(&'static str, usize)> {
    let kv_heads = model.num_key_value_heads;
    if ranks == 0 || !model.num_attention_heads.is_multiple_of(ranks) {
        return Some(("num_attention_heads", model.num_attention_heads));
    }
    if !kv_heads.is_multiple_of(ranks) && !ranks.is_multiple_of(kv_heads) {
        return Some(("num_key_value_heads", kv_heads));
    }
    let moe = model.moe.as_ref();
    let all_experts = moe.is_some_and(|moe| moe.layers.len() == model.num_hidden_layers);
    let widths = [
        ("intermediate_size", if all_experts { 0 } else { model.intermediate_size }),
        ("moe_intermediate_size", moe.map_or(0, |moe| moe.moe_intermediate_size)),
        ("the shared experts' width", moe.map_or(0, |moe| moe.shared_intermediate_size)),
    ];
    widths.into_iter().find(|(_, width)| !width.is_multiple_of(ranks))
}

#[cfg(test)]
mod tests {
    use super::super::preset;
    use super::*;

    #[test]
    fn what_goes_with_weights_follows_their_type() {
        let of = |text: &str| Deployment::new(text.parse().unwrap());
        assert_eq!((of("bf16").arithmetic, of("bf16").activations), (Arithmetic::Bf16, DType::Bf16));
        assert_eq!((of("fp8").arithmetic, of("fp8").activations), (Arithmetic::Fp8, DType::Bf16));
        assert_eq!(of("int4").arithmetic, Arithmetic::Bf16);
        assert_eq!(of("f32").kv, KvStorage::plain(DType::F32));
    }

    #[test]
    fn ranks_that_do_not_divide_the_model_are_refused_with_those_that_do() {
        let error = |name: &str, ranks: usize| {
            let deployment =
                Deployment { tensor_parallel: ranks, ..Deployment::new(WeightFormat::plain(DType::Bf16)) };
            deployment.check(&preset(name).unwrap()).map_err(|e| e.to_string())
        };
        // 70B: 64 heads, 8 K/V heads: 16 ranks hold copies, 3 divide nothing.
        assert_eq!(error("llama-2-70b", 8), Ok(()));
        assert_eq!(error("llama-2-70b", 16), Ok(()));
        let three = error("llama-2-70b", 3).unwrap_err();
        assert!(
            three.starts_with("tensor parallelism over 3 ranks does not divide num_attention_heads 64"),
            "{three}"
        );
        assert!(three.ends_with("1, 2, 4, 8, 16, 32, 64 would"), "{three}");
        // Qwen2.5-0.5B: 14 heads, 2 K/V heads, 4864 = 2^8 * 19: 7 ranks divide the heads and not the K/V heads.
        assert!(error("qwen2.5-0.5b", 7).unwrap_err().contains("num_key_value_heads 2"));
        assert!(error("qwen2.5-0.5b", 0).is_err());
    }
}
