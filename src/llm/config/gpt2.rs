//! `gpt2` (Hugging Face `GPT2Config`; the `n_*` names are its own).

use super::super::{Activation, BlockLayout, Family, ModelSpec, NormKind, SpecError};
use super::keys::Keys;

pub(super) fn read(name: &str, keys: &Keys<'_>) -> Result<ModelSpec, SpecError> {
    let hidden = keys.count(&["n_embd", "hidden_size"])?;
    let heads = keys.count(&["n_head", "num_attention_heads"])?;
    if !hidden.is_multiple_of(heads) {
        return Err(SpecError::Field(format!("n_embd {hidden} is no multiple of n_head {heads}")));
    }
    let inner = match keys.optional_count("n_inner")? {
        Some(inner) => inner,
        None => keys.optional_count("intermediate_size")?.unwrap_or(4 * hidden),
    };
    let default_eps = 1e-5;
    Ok(ModelSpec {
        name: name.to_string(),
        model_type: Family::Gpt2,
        hidden_size: hidden,
        num_hidden_layers: keys.count(&["n_layer", "num_hidden_layers"])?,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        head_dim: hidden / heads,
        intermediate_size: inner,
        vocab_size: keys.count(&["vocab_size"])?,
        // n_positions and n_ctx stand side by side in GPT-2's own files: the former counts.
        max_position_embeddings: keys.count(&["n_positions", "max_position_embeddings", "n_ctx"])?,
        norm_eps: keys.number("layer_norm_epsilon")?.unwrap_or(default_eps),
        norm: NormKind::Layer,
        block: BlockLayout::PreNorm,
        hidden_act: super::activation(keys, &["activation_function"], Activation::GeluTanh)?,
        gated_mlp: false,
        rope: None,
        qkv_bias: true,
        attention_out_bias: true,
        mlp_bias: true,
        qk_norm: false,
        tie_word_embeddings: keys.flag("tie_word_embeddings", true)?,
        head_bias: false,
        sliding_window: None,
        mla: None,
        moe: None,
        other_settings: other_settings(keys)?,
    })
}

/// The GPT-2 pass scales scores by 1/sqrt(head_dim) only.
fn other_settings(keys: &Keys<'_>) -> Result<Vec<String>, SpecError> {
    let mut settings = Vec::new();
    if !keys.flag("scale_attn_weights", true)? {
        settings.push("scale_attn_weights false".to_string());
    }
    if keys.flag("scale_attn_by_inverse_layer_idx", false)? {
        settings.push("scale_attn_by_inverse_layer_idx".to_string());
    }
    Ok(settings)
}
