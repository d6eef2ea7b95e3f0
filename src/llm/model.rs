//! The shape of a model: read from a Hugging Face config.json, or a preset.

use super::nearest_first;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const PRESETS: &str = include_str!("presets.toml");

/// The family of a model, which decides its pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// GPT-2: learned positions, pre-norm layer norm, tanh GELU, tied head.
    Gpt2,
}

/// A model's dimensions, named as in a Hugging Face config.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// K/V heads: equal to the query heads (MHA), fewer (GQA) or one (MQA).
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Inner width of the MLP.
    pub intermediate_size: usize,
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// The longest sequence.
    pub max_position_embeddings: usize,
    /// The epsilon of the norms.
    pub norm_eps: f64,
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
    /// A model that kprof has no pass for.
    #[error("config.json: model_type is {found}; kprof has a pass for: gpt2")]
    UnknownFamily {
        /// What `model_type` says.
        found: String,
    },
    /// A field is absent or contradicts another.
    #[error("config.json: {0}")]
    Field(String),
}

#[derive(Deserialize)]
struct PresetRow {
    model_type: Family,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
}

fn presets() -> BTreeMap<String, PresetRow> {
    toml::from_str(PRESETS).expect("the built-in presets.toml is valid: a test reads it")
}

/// The names of all presets.
pub fn preset_names() -> Vec<String> {
    presets().into_keys().collect()
}

/// The shape of a preset.
///
/// # Errors
/// When there is none of that name: the message lists the known ones, nearest first.
pub fn preset(name: &str) -> Result<ModelSpec, SpecError> {
    let mut all = presets();
    let Some(row) = all.remove(name) else {
        let known = nearest_first(name, all.keys().map(String::as_str)).join(", ");
        return Err(SpecError::UnknownPreset { name: name.to_string(), known });
    };
    Ok(ModelSpec {
        name: name.to_string(),
        model_type: row.model_type,
        hidden_size: row.hidden_size,
        num_hidden_layers: row.num_hidden_layers,
        num_attention_heads: row.num_attention_heads,
        num_key_value_heads: row.num_attention_heads,
        head_dim: row.hidden_size / row.num_attention_heads,
        intermediate_size: row.intermediate_size,
        vocab_size: row.vocab_size,
        max_position_embeddings: row.max_position_embeddings,
        norm_eps: 1e-5,
    })
}

/// The fields of a GPT-2 config.json (Hugging Face `GPT2Config`; the `n_*` names are its own).
#[derive(Deserialize)]
struct Gpt2Config {
    #[serde(alias = "hidden_size")]
    n_embd: usize,
    #[serde(alias = "num_hidden_layers")]
    n_layer: usize,
    #[serde(alias = "num_attention_heads")]
    n_head: usize,
    #[serde(default)]
    n_inner: Option<usize>,
    vocab_size: usize,
    #[serde(alias = "max_position_embeddings", alias = "n_ctx")]
    n_positions: usize,
    #[serde(default = "default_eps")]
    layer_norm_epsilon: f64,
    #[serde(default = "default_activation")]
    activation_function: String,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
    #[serde(default = "yes")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
}

fn default_eps() -> f64 {
    1e-5
}
fn default_activation() -> String {
    "gelu_new".to_string()
}
fn yes() -> bool {
    true
}

impl ModelSpec {
    /// Reads the text of a config.json; `name` is what the model is to be called.
    ///
    /// # Errors
    /// When it is no JSON, of a family without a pass, or asks for a variant that the pass does not compute.
    pub fn from_config_json(name: &str, text: &str) -> Result<Self, SpecError> {
        // n_positions and n_ctx stand side by side in GPT-2's own files: keep the former.
        let mut json: serde_json::Value = serde_json::from_str(text)?;
        if let Some(object) = json.as_object_mut()
            && object.contains_key("n_positions")
        {
            object.remove("n_ctx");
            object.remove("max_position_embeddings");
        }
        match json.get("model_type").and_then(|t| t.as_str()) {
            Some("gpt2") => gpt2_spec(name, serde_json::from_value(json)?),
            other => Err(SpecError::UnknownFamily {
                found: other.map_or("absent".to_string(), |t| format!("'{t}'")),
            }),
        }
    }

    /// The number of parameters, the tied head counted once (GPT-2: 124,439,808).
    pub fn parameters(&self) -> u64 {
        let (h, i) = (self.hidden_size as u64, self.intermediate_size as u64);
        let block = (h * 3 * h + 3 * h) + (h * h + h) + (h * i + i) + (i * h + h) + 4 * h;
        let tables = (self.vocab_size + self.max_position_embeddings) as u64 * h;
        tables + self.num_hidden_layers as u64 * block + 2 * h
    }
}

fn gpt2_spec(name: &str, c: Gpt2Config) -> Result<ModelSpec, SpecError> {
    let refuse = |message: String| Err(SpecError::Field(message));
    if c.n_embd == 0 || c.n_layer == 0 || c.n_head == 0 || c.vocab_size == 0 || c.n_positions == 0 {
        return refuse("n_embd, n_layer, n_head, vocab_size and n_positions are at least 1".into());
    }
    if !c.n_embd.is_multiple_of(c.n_head) {
        return refuse(format!("n_embd {} is no multiple of n_head {}", c.n_embd, c.n_head));
    }
    if !matches!(c.activation_function.as_str(), "gelu_new" | "gelu_pytorch_tanh") {
        return refuse(format!(
            "activation_function is '{}'; the GPT-2 pass computes gelu_new (tanh)",
            c.activation_function
        ));
    }
    if !c.tie_word_embeddings {
        return refuse("tie_word_embeddings is false; the GPT-2 pass ties the head to wte".into());
    }
    if !c.scale_attn_weights || c.scale_attn_by_inverse_layer_idx {
        return refuse("the GPT-2 pass scales scores by 1/sqrt(head_dim) only".into());
    }
    Ok(ModelSpec {
        name: name.to_string(),
        model_type: Family::Gpt2,
        hidden_size: c.n_embd,
        num_hidden_layers: c.n_layer,
        num_attention_heads: c.n_head,
        num_key_value_heads: c.n_head,
        head_dim: c.n_embd / c.n_head,
        intermediate_size: c.n_inner.unwrap_or(4 * c.n_embd),
        vocab_size: c.vocab_size,
        max_position_embeddings: c.n_positions,
        norm_eps: c.layer_norm_epsilon,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_published_numbers_of_parameters() {
        // Radford et al. 2019 and the checkpoints: 124,439,808; 354,823,168; 774,030,080; 1,557,611,200.
        for (name, expected) in [
            ("gpt2", 124_439_808),
            ("gpt2-medium", 354_823_168),
            ("gpt2-large", 774_030_080),
            ("gpt2-xl", 1_557_611_200),
        ] {
            assert_eq!(preset(name).unwrap().parameters(), expected, "{name}");
        }
    }

    #[test]
    fn the_config_of_gpt2_gives_the_preset() {
        let text = r#"{"activation_function":"gelu_new","model_type":"gpt2","n_ctx":1024,"n_embd":768,
            "n_head":12,"n_layer":12,"n_positions":1024,"vocab_size":50257,"layer_norm_epsilon":1e-05}"#;
        assert_eq!(ModelSpec::from_config_json("gpt2", text).unwrap(), preset("gpt2").unwrap());
    }

    #[test]
    fn a_family_or_variant_without_a_pass_is_refused_by_name() {
        let bert = ModelSpec::from_config_json("m", r#"{"model_type":"bert"}"#).unwrap_err();
        assert!(bert.to_string().contains("'bert'"), "{bert}");
        let text =
            r#"{"model_type":"gpt2","n_embd":10,"n_head":3,"n_layer":1,"vocab_size":5,"n_positions":8}"#;
        let error = ModelSpec::from_config_json("m", text).unwrap_err().to_string();
        assert!(error.contains("n_embd 10 is no multiple of n_head 3"), "{error}");
    }

    #[test]
    fn an_unknown_preset_lists_the_nearest_first() {
        let error = preset("gpt2-medum").unwrap_err().to_string();
        assert!(error.starts_with("unknown preset 'gpt2-medum'; known: gpt2-medium,"), "{error}");
    }
}
