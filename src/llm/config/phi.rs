//! Phi 1, 1.5 and 2 (`phi`): attention and MLP side by side, biases everywhere, partial rotary positions.

use super::super::{Activation, BlockLayout, Family, ModelSpec, NormKind, SpecError};
use super::keys::Keys;
use super::rope;

pub(super) fn read(name: &str, keys: &Keys<'_>) -> Result<ModelSpec, SpecError> {
    let hidden = keys.count(&["hidden_size"])?;
    let heads = keys.count(&["num_attention_heads"])?;
    let head_dim = super::head_dim(keys, hidden, heads)?;
    let default_eps = 1e-5;
    let normed = keys.flag("qk_layernorm", false)?;
    Ok(ModelSpec {
        name: name.to_string(),
        model_type: Family::Phi,
        hidden_size: hidden,
        num_hidden_layers: keys.count(&["num_hidden_layers"])?,
        num_attention_heads: heads,
        num_key_value_heads: keys.optional_count("num_key_value_heads")?.unwrap_or(heads),
        head_dim,
        intermediate_size: keys.count(&["intermediate_size"])?,
        vocab_size: keys.count(&["vocab_size"])?,
        max_position_embeddings: keys.count(&["max_position_embeddings"])?,
        norm_eps: keys.number("layer_norm_eps")?.unwrap_or(default_eps),
        norm: NormKind::Layer,
        block: BlockLayout::Parallel,
        hidden_act: super::activation(keys, &["hidden_act"], Activation::GeluTanh)?,
        gated_mlp: false,
        rope: Some(rope_of(keys, head_dim)?),
        qkv_bias: true,
        attention_out_bias: true,
        mlp_bias: true,
        qk_norm: normed,
        tie_word_embeddings: keys.flag("tie_word_embeddings", false)?,
        head_bias: true,
        sliding_window: None,
        mla: None,
        moe: None,
        other_settings: Vec::new(),
    })
}

/// `PhiConfig` rotates half of a head where no key says otherwise; Phi 2's file says 0.4.
fn rope_of(keys: &Keys<'_>, head_dim: usize) -> Result<super::super::Rope, SpecError> {
    let says = keys.get("partial_rotary_factor").or_else(|| keys.get("rope_parameters")).is_some();
    let mut rope = rope::read(keys, head_dim)?;
    if !says {
        rope.rotary_dim = head_dim / 2;
    }
    Ok(rope)
}
