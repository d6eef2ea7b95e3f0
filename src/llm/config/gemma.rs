//! Gemma 1, 2 and 3 (the text model).

use super::super::{Activation, BlockLayout, Family, ModelSpec, NormKind, SlidingWindow, SpecError};
use super::keys::Keys;
use super::{llama, rope};

/// What the nested `text_config` of a Gemma 3 file leaves out: the values of Hugging Face's `Gemma3TextConfig`.
const TEXT_DEFAULTS: &[(&str, usize)] = &[
    ("num_attention_heads", 8),
    ("num_key_value_heads", 4),
    ("head_dim", 256),
    ("vocab_size", 262_208),
    ("max_position_embeddings", 131_072),
    ("sliding_window", 4096),
];

pub(super) fn read(name: &str, keys: &Keys<'_>) -> Result<ModelSpec, SpecError> {
    match keys.inside("text_config")? {
        Some(inside) => read_text(name, &inside.with_defaults(TEXT_DEFAULTS)),
        None => read_text(name, keys),
    }
}

fn read_text(name: &str, keys: &Keys<'_>) -> Result<ModelSpec, SpecError> {
    let heads = keys.count(&["num_attention_heads"])?;
    let layers = keys.count(&["num_hidden_layers"])?;
    let head_dim = keys.count(&["head_dim"])?;
    let bias = keys.flag("attention_bias", false)?;
    let default_eps = 1e-6;
    Ok(ModelSpec {
        name: name.to_string(),
        model_type: keys.family,
        hidden_size: keys.count(&["hidden_size"])?,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: keys.count(&["num_key_value_heads"])?,
        head_dim,
        intermediate_size: keys.count(&["intermediate_size"])?,
        vocab_size: keys.count(&["vocab_size"])?,
        max_position_embeddings: keys.count(&["max_position_embeddings"])?,
        norm_eps: keys.number("rms_norm_eps")?.unwrap_or(default_eps),
        norm: NormKind::Rms,
        block: if keys.family == Family::Gemma { BlockLayout::PreNorm } else { BlockLayout::Sandwich },
        // hidden_act says "gelu" in files of Gemma 1 that were trained with tanh; hidden_activation says which.
        hidden_act: super::activation(keys, &["hidden_activation"], Activation::GeluTanh)?,
        gated_mlp: true,
        rope: Some(rope::read(keys, head_dim)?),
        qkv_bias: bias,
        attention_out_bias: bias,
        mlp_bias: false,
        qk_norm: keys.family == Family::Gemma3,
        tie_word_embeddings: keys.flag("tie_word_embeddings", true)?,
        head_bias: false,
        sliding_window: sliding_window(keys, layers)?,
        mla: None,
        moe: None,
        other_settings: other_settings(keys)?,
    })
}

/// Gemma 2 windows every other layer, from the first; Gemma 3 all but every `sliding_window_pattern`th.
fn sliding_window(keys: &Keys<'_>, layers: usize) -> Result<Option<SlidingWindow>, SpecError> {
    let full_every = match keys.family {
        Family::Gemma2 => 2,
        Family::Gemma3 => keys.optional_count("sliding_window_pattern")?.unwrap_or(6),
        _ => return Ok(None),
    };
    let Some(tokens) = keys.optional_count("sliding_window")? else { return Ok(None) };
    let windowed = match llama::listed_layers(keys, layers)? {
        Some(listed) => listed,
        None => (0..layers).filter(|layer| !(layer + 1).is_multiple_of(full_every)).collect(),
    };
    Ok((!windowed.is_empty()).then_some(SlidingWindow { tokens, layers: windowed }))
}

fn other_settings(keys: &Keys<'_>) -> Result<Vec<String>, SpecError> {
    let mut settings = vec!["the scaling of embeddings by sqrt(hidden_size)".to_string()];
    for key in ["attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar"] {
        if let Some(value) = keys.number(key)? {
            settings.push(format!("{key} {value}"));
        }
    }
    Ok(settings)
}
