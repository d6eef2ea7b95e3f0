//! Llama and what differs from it in a few settings: Mistral, Mixtral, Qwen 2 and 3 with and without experts, Phi 3.

use super::super::{Activation, BlockLayout, Family, ModelSpec, NormKind, SlidingWindow, SpecError};
use super::keys::Keys;
use super::{experts, rope};

/// Which of the settings that config.json may leave out a family has.
struct Habits {
    /// Biases of Q, K and V where no key says so.
    qkv_bias: bool,
    /// Whether `attention_bias` means the projection out of attention too.
    bias_of_out: bool,
    /// Norms of Q and K.
    qk_norm: bool,
}

fn habits(family: Family) -> Habits {
    match family {
        Family::Qwen2 | Family::Qwen2Moe => Habits { qkv_bias: true, bias_of_out: false, qk_norm: false },
        Family::Qwen3 | Family::Qwen3Moe => Habits { qkv_bias: false, bias_of_out: true, qk_norm: true },
        _ => Habits { qkv_bias: false, bias_of_out: true, qk_norm: false },
    }
}

pub(super) fn read(name: &str, keys: &Keys<'_>) -> Result<ModelSpec, SpecError> {
    let habits = habits(keys.family);
    let hidden = keys.count(&["hidden_size"])?;
    let heads = keys.count(&["num_attention_heads"])?;
    let layers = keys.count(&["num_hidden_layers"])?;
    let head_dim = super::head_dim(keys, hidden, heads)?;
    let bias = keys.flag("attention_bias", habits.qkv_bias)?;
    let moe = experts::read(keys, layers)?;
    let default_eps = 1e-6;
    Ok(ModelSpec {
        name: name.to_string(),
        model_type: keys.family,
        hidden_size: hidden,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: keys.optional_count("num_key_value_heads")?.unwrap_or(heads),
        head_dim,
        intermediate_size: keys.count(&["intermediate_size"])?,
        vocab_size: keys.count(&["vocab_size"])?,
        max_position_embeddings: keys.count(&["max_position_embeddings"])?,
        norm_eps: keys.number("rms_norm_eps")?.unwrap_or(default_eps),
        norm: NormKind::Rms,
        block: BlockLayout::PreNorm,
        hidden_act: super::activation(keys, &["hidden_act"], Activation::Silu)?,
        gated_mlp: true,
        rope: Some(rope::read(keys, head_dim)?),
        qkv_bias: bias,
        attention_out_bias: bias && habits.bias_of_out,
        mlp_bias: keys.flag("mlp_bias", false)?,
        qk_norm: habits.qk_norm,
        tie_word_embeddings: keys.flag("tie_word_embeddings", false)?,
        head_bias: false,
        sliding_window: sliding_window(keys, layers)?,
        mla: None,
        moe,
        other_settings: other_settings(keys)?,
    })
}

/// Windowed layers: those that `layer_types` calls so; in Qwen those from `max_window_layers` on, where
/// `use_sliding_window` is set; else all where `sliding_window` is given.
pub(super) fn sliding_window(keys: &Keys<'_>, layers: usize) -> Result<Option<SlidingWindow>, SpecError> {
    let Some(tokens) = keys.optional_count("sliding_window")? else { return Ok(None) };
    let is_qwen = matches!(keys.family, Family::Qwen2 | Family::Qwen2Moe | Family::Qwen3 | Family::Qwen3Moe);
    if is_qwen && !keys.flag("use_sliding_window", false)? {
        return Ok(None);
    }
    let windowed: Vec<usize> = if let Some(listed) = listed_layers(keys, layers)? {
        listed
    } else if is_qwen {
        let first = keys.optional_whole("max_window_layers")?.ok_or_else(|| SpecError::MissingKey {
            key: "max_window_layers".to_string(),
            family: keys.family,
        })?;
        (first..layers).collect()
    } else {
        (0..layers).collect()
    };
    Ok((!windowed.is_empty()).then_some(SlidingWindow { tokens, layers: windowed }))
}

/// The layers that `layer_types` calls `sliding_attention`.
pub(super) fn listed_layers(keys: &Keys<'_>, layers: usize) -> Result<Option<Vec<usize>>, SpecError> {
    let Some(types) = keys.list("layer_types")? else { return Ok(None) };
    if types.len() != layers {
        return Err(SpecError::Field(format!(
            "layer_types names {} layers and num_hidden_layers is {layers}",
            types.len()
        )));
    }
    let mut windowed = Vec::new();
    for (layer, kind) in types.iter().enumerate() {
        match kind.as_str() {
            Some("sliding_attention") => windowed.push(layer),
            Some("full_attention") => {}
            _ => {
                return Err(SpecError::Field(format!(
                    "layer_types[{layer}] is {kind}; kprof knows full_attention and sliding_attention"
                )));
            }
        }
    }
    Ok(Some(windowed))
}

/// A scaling of rotary positions that is known by name only changes no work.
fn other_settings(keys: &Keys<'_>) -> Result<Vec<String>, SpecError> {
    let mut settings = Vec::new();
    if let Some(factor) = keys.number("embedding_multiplier")?.filter(|f| *f != 1.0) {
        settings.push(format!("embedding_multiplier {factor}"));
    }
    Ok(settings)
}
