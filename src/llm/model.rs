//! The shape of a model: what its passes, its size and its analytic work follow from.

use super::config::read_config;
use super::{Activation, Family, NormKind};
use serde::{Deserialize, Serialize};

/// A model's dimensions, named as in a Hugging Face config.json where that has a name.
///
/// Fields that GPT-2 has no key for default to what GPT-2 does: run files of before they existed hold GPT-2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ModelSpec {
    /// The preset's name, or the directory's.
    pub name: String,
    /// The family.
    pub model_type: Family,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// K/V heads: equal to the query heads (MHA), fewer (GQA) or one (MQA). With [`Self::mla`], the query heads.
    pub num_key_value_heads: usize,
    /// Width of a head of Q and K, and of V unless [`Self::mla`] says otherwise.
    pub head_dim: usize,
    /// Inner width of the dense MLP.
    pub intermediate_size: usize,
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// The longest sequence.
    pub max_position_embeddings: usize,
    /// The epsilon of the norms.
    pub norm_eps: f64,
    /// The kind of the norms.
    #[serde(default = "layer_norm")]
    pub norm: NormKind,
    /// Which norms a block has and whether attention and MLP run one after the other.
    #[serde(default)]
    pub block: BlockLayout,
    /// The MLP's activation.
    #[serde(default)]
    pub hidden_act: Activation,
    /// Whether the MLP multiplies the activated gate with a second projection.
    #[serde(default)]
    pub gated_mlp: bool,
    /// Rotary positions; `None` is a learned table of [`Self::max_position_embeddings`] rows.
    #[serde(default)]
    pub rope: Option<Rope>,
    /// Whether the projections to Q, K and V have biases.
    #[serde(default = "yes")]
    pub qkv_bias: bool,
    /// Whether the projection out of attention has a bias.
    #[serde(default = "yes")]
    pub attention_out_bias: bool,
    /// Whether the MLP's linears have biases.
    #[serde(default = "yes")]
    pub mlp_bias: bool,
    /// Whether every head of Q and of K is normalised before positions are put in.
    #[serde(default)]
    pub qk_norm: bool,
    /// Whether the head is the token table.
    #[serde(default = "yes")]
    pub tie_word_embeddings: bool,
    /// Whether the head has a bias.
    #[serde(default)]
    pub head_bias: bool,
    /// The layers that attend to the latest tokens only; `None` where none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sliding_window: Option<SlidingWindow>,
    /// Multi-head latent attention (DeepSeek); `None` is heads of K and V.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mla: Option<Mla>,
    /// Experts; `None` where every MLP is dense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moe: Option<Moe>,
    /// Settings of config.json that change the results and not the work, by key: a pass refuses those that it
    /// does not compute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_settings: Vec<String>,
}

fn layer_norm() -> NormKind {
    NormKind::Layer
}
fn yes() -> bool {
    true
}

/// The norms of a block and the order of its halves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockLayout {
    /// A norm before attention and one before the MLP.
    #[default]
    PreNorm,
    /// One norm, which attention and MLP both read; their results are added together (Phi).
    Parallel,
    /// Norms before and after attention, and before and after the MLP (Gemma 2 and 3).
    Sandwich,
}

/// Rotary positions (Su et al. 2021).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Rope {
    /// The base of the wavelengths: `rope_theta`.
    pub theta: f64,
    /// How many elements of a head are rotated: all, or `partial_rotary_factor` of them.
    pub rotary_dim: usize,
    /// How positions beyond the trained ones are reached.
    pub scaling: RopeScaling,
}

/// `rope_scaling` of a config.json.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "rope_type", rename_all = "lowercase")]
pub enum RopeScaling {
    /// None.
    #[default]
    Default,
    /// Positions divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Llama 3.1: long wavelengths divided by a factor, short ones kept, those between blended.
    Llama3 {
        /// The factor of long wavelengths.
        factor: f64,
        /// Wavelengths longer than the trained context divided by this are long.
        low_freq_factor: f64,
        /// Wavelengths shorter than the trained context divided by this are short.
        high_freq_factor: f64,
        /// The trained context.
        original_max_position_embeddings: usize,
    },
    /// One that kprof knows by name only: the work is the same.
    Other {
        /// What the config.json calls it.
        name: String,
    },
}

/// Layers that attend to the latest tokens only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SlidingWindow {
    /// How many tokens, the current one included.
    pub tokens: usize,
    /// The layers, from 0, in order.
    pub layers: Vec<usize>,
}

/// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): the cache holds one latent vector
/// and one rotated key per token, which all heads share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Mla {
    /// Width of the queries' latent; `None` projects queries in one step.
    pub q_lora_rank: Option<usize>,
    /// Width of the latent of keys and values.
    pub kv_lora_rank: usize,
    /// Width of the part of a key that carries positions, shared by all heads.
    pub qk_rope_head_dim: usize,
    /// Width of the part of a head's key that is made from the latent.
    pub qk_nope_head_dim: usize,
    /// Width of a head's value.
    pub v_head_dim: usize,
}

impl Mla {
    /// Elements that the cache keeps per token and layer.
    pub fn cached_elements(&self) -> usize {
        self.kv_lora_rank + self.qk_rope_head_dim
    }
}

/// A mixture of experts: each token is sent to a few MLPs of many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Moe {
    /// Experts of a layer, the shared ones not counted.
    pub num_experts: usize,
    /// Experts that a token is sent to.
    pub num_experts_per_tok: usize,
    /// Inner width of an expert.
    pub moe_intermediate_size: usize,
    /// Inner width of what every token is sent to besides, all shared experts together; 0 is none.
    pub shared_intermediate_size: usize,
    /// Whether a learned gate scales the shared expert (Qwen2-MoE).
    pub shared_gate: bool,
    /// Whether the router has a bias per expert (DeepSeek-V3).
    pub router_bias: bool,
    /// The layers that have experts, from 0, in order; the others are dense.
    pub layers: Vec<usize>,
}

/// Why a model's shape could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// No such preset.
    #[error("unknown preset '{name}'; known: {known}")]
    UnknownPreset {
        /// As given.
        name: String,
        /// Known names, nearest first.
        known: String,
    },
    /// Not the JSON that a config.json is.
    #[error("config.json: {0}")]
    Json(#[from] serde_json::Error),
    /// A model whose shape kprof cannot read.
    #[error("config.json: model_type is {found}; known: {known}")]
    UnknownFamily {
        /// What `model_type` says.
        found: String,
        /// Known names, nearest first.
        known: String,
    },
    /// A key that the shape follows from is not there.
    #[error("config.json: no '{key}', which the shape of a {family} model needs")]
    MissingKey {
        /// The key.
        key: String,
        /// The family.
        family: Family,
    },
    /// A key contradicts another, or is not of its type.
    #[error("config.json: {0}")]
    Field(String),
    /// The shape is known and the computation is not.
    #[error(
        "{name} is of the family {family}, which kprof estimates and does not compute; it computes: {known}"
    )]
    NoPass {
        /// The model.
        name: String,
        /// Its family.
        family: Family,
        /// The families that have a pass.
        known: String,
    },
    /// The family has a pass, and this model a setting that the pass does not compute.
    #[error("{name}: the {family} pass does not compute {setting}")]
    Unsupported {
        /// The model.
        name: String,
        /// Its family.
        family: Family,
        /// Which setting of config.json.
        setting: String,
    },
}

impl ModelSpec {
    /// Reads the text of a config.json; `name` is what the model is to be called.
    ///
    /// # Errors
    /// When it is no JSON, of an unknown family, or a key that the shape needs is absent or contradicts another.
    pub fn from_config_json(name: &str, text: &str) -> Result<Self, SpecError> {
        read_config(name, &serde_json::from_str(text)?)
    }

    /// Whether kprof can compute this model, and not only estimate it.
    ///
    /// # Errors
    /// When the family has no pass, or its pass does not compute a setting of this model.
    pub fn require_pass(&self) -> Result<(), SpecError> {
        let unsupported = |setting: String| SpecError::Unsupported {
            name: self.name.clone(),
            family: self.model_type,
            setting,
        };
        if !self.model_type.has_pass() {
            return Err(self.no_pass());
        }
        if let Some(setting) = self.other_settings.first() {
            return Err(unsupported(setting.clone()));
        }
        match self.model_type {
            Family::Gpt2 if self.hidden_act != Activation::GeluTanh => Err(unsupported(format!(
                "activation_function {} (it computes gelu_new, by tanh)",
                self.hidden_act.name()
            ))),
            Family::Gpt2 if !self.tie_word_embeddings => {
                Err(unsupported("tie_word_embeddings false (it ties the head to wte)".to_string()))
            }
            _ => match self.rope.as_ref().map(|rope| &rope.scaling) {
                Some(RopeScaling::Other { name }) => {
                    Err(unsupported(format!("rope_scaling {name} (it computes linear and llama3)")))
                }
                _ => Ok(()),
            },
        }
    }

    /// The error that this model's family has no pass.
    pub fn no_pass(&self) -> SpecError {
        let (name, family) = (self.name.clone(), self.model_type);
        SpecError::NoPass { name, family, known: Family::names_with_pass() }
    }

    /// How many tokens layer `layer` attends to at most; `None` is all.
    pub fn window(&self, layer: usize) -> Option<usize> {
        let window = self.sliding_window.as_ref()?;
        window.layers.contains(&layer).then_some(window.tokens)
    }

    /// The experts of layer `layer`; `None` where it is dense.
    pub fn experts(&self, layer: usize) -> Option<&Moe> {
        self.moe.as_ref().filter(|moe| moe.layers.contains(&layer))
    }
}
