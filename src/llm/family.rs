//! The families of models whose shape kprof can read.

use super::nearest_first;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The family of a model: `model_type` of its config.json. It decides how the rest is read, and the pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// GPT-2: learned positions, pre-norm layer norm, GELU, tied head.
    Gpt2,
    /// Llama 1 to 3: rotary positions, RMS norm, gated SiLU.
    Llama,
    /// Mistral: as Llama, with a sliding window.
    Mistral,
    /// Mixtral: as Mistral, with experts in every block.
    Mixtral,
    /// Qwen 2 and 2.5: as Llama, with biases of Q, K and V.
    Qwen2,
    /// Qwen 2 with experts and one shared, gated expert.
    Qwen2Moe,
    /// Qwen 3: as Llama, with norms of Q and K.
    Qwen3,
    /// Qwen 3 with experts.
    Qwen3Moe,
    /// Gemma 1: gated GELU, wide heads, tied head.
    Gemma,
    /// Gemma 2: as Gemma, with norms after attention and MLP too, and every other layer windowed.
    Gemma2,
    /// Gemma 3 (its text model): as Gemma 2, with norms of Q and K, and five of six layers windowed.
    Gemma3,
    /// Phi 1 to 2: attention and MLP side by side, partial rotary positions.
    Phi,
    /// Phi 3 to 4: as Llama.
    Phi3,
    /// DeepSeek V2: multi-head latent attention, experts with shared ones.
    DeepseekV2,
    /// DeepSeek V3 and R1: as V2, with a bias per expert in the router.
    DeepseekV3,
}

impl Family {
    /// Every family, as messages list them.
    pub const ALL: [Self; 15] = [
        Self::Gpt2,
        Self::Llama,
        Self::Mistral,
        Self::Mixtral,
        Self::Qwen2,
        Self::Qwen2Moe,
        Self::Qwen3,
        Self::Qwen3Moe,
        Self::Gemma,
        Self::Gemma2,
        Self::Gemma3,
        Self::Phi,
        Self::Phi3,
        Self::DeepseekV2,
        Self::DeepseekV3,
    ];

    /// The `model_type` that Hugging Face gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Mixtral => "mixtral",
            Self::Qwen2 => "qwen2",
            Self::Qwen2Moe => "qwen2_moe",
            Self::Qwen3 => "qwen3",
            Self::Qwen3Moe => "qwen3_moe",
            Self::Gemma => "gemma",
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3",
            Self::Phi => "phi",
            Self::Phi3 => "phi3",
            Self::DeepseekV2 => "deepseek_v2",
            Self::DeepseekV3 => "deepseek_v3",
        }
    }

    /// The family whose `model_type` is `name`; the text model inside Gemma 3 has a name of its own.
    pub fn from_model_type(name: &str) -> Option<Self> {
        match name {
            "gemma3_text" => Some(Self::Gemma3),
            _ => Self::ALL.into_iter().find(|family| family.name() == name),
        }
    }

    /// Whether kprof computes it (`kprof phase`); the shape and the analytic work of the others are known.
    pub fn has_pass(self) -> bool {
        matches!(self, Self::Gpt2 | Self::Llama | Self::Mistral | Self::Qwen2 | Self::Qwen3)
    }

    /// The names of all families, nearest to `given` first.
    pub(super) fn names_nearest(given: &str) -> String {
        nearest_first(given, Self::ALL.map(Self::name)).join(", ")
    }

    /// The names of the families that have a pass.
    pub(super) fn names_with_pass() -> String {
        let names: Vec<&str> = Self::ALL.into_iter().filter(|f| f.has_pass()).map(Self::name).collect();
        names.join(", ")
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_the_same_name_in_files_and_in_config_json() {
        for family in Family::ALL {
            assert_eq!(serde_json::to_value(family).unwrap(), family.name());
            assert_eq!(Family::from_model_type(family.name()), Some(family));
        }
    }
}
