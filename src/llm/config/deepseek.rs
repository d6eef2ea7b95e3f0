//! DeepSeek V2 and V3: latent attention and experts with shared ones.

use super::super::{Activation, BlockLayout, Family, Mla, ModelSpec, Moe, NormKind, SpecError};
use super::keys::Keys;
use super::rope;

pub(super) fn read(name: &str, keys: &Keys<'_>) -> Result<ModelSpec, SpecError> {
    let heads = keys.count(&["num_attention_heads"])?;
    let layers = keys.count(&["num_hidden_layers"])?;
    let mla = Mla {
        q_lora_rank: keys.optional_count("q_lora_rank")?,
        kv_lora_rank: keys.count(&["kv_lora_rank"])?,
        qk_rope_head_dim: keys.count(&["qk_rope_head_dim"])?,
        qk_nope_head_dim: keys.count(&["qk_nope_head_dim"])?,
        v_head_dim: keys.count(&["v_head_dim"])?,
    };
    let default_eps = 1e-6;
    let bias = keys.flag("attention_bias", false)?;
    Ok(ModelSpec {
        name: name.to_string(),
        model_type: keys.family,
        hidden_size: keys.count(&["hidden_size"])?,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        // num_key_value_heads stands in the files and means nothing: all heads share one latent.
        num_key_value_heads: heads,
        head_dim: mla.qk_nope_head_dim + mla.qk_rope_head_dim,
        intermediate_size: keys.count(&["intermediate_size"])?,
        vocab_size: keys.count(&["vocab_size"])?,
        max_position_embeddings: keys.count(&["max_position_embeddings"])?,
        norm_eps: keys.number("rms_norm_eps")?.unwrap_or(default_eps),
        norm: NormKind::Rms,
        block: BlockLayout::PreNorm,
        hidden_act: super::activation(keys, &["hidden_act"], Activation::Silu)?,
        gated_mlp: true,
        rope: Some(rope::read(keys, mla.qk_rope_head_dim)?),
        qkv_bias: bias,
        attention_out_bias: bias,
        mlp_bias: false,
        qk_norm: false,
        tie_word_embeddings: keys.flag("tie_word_embeddings", false)?,
        head_bias: false,
        sliding_window: None,
        mla: Some(mla),
        moe: experts(keys, layers)?,
        other_settings: Vec::new(),
    })
}

/// Layers from `first_k_dense_replace` on, every `moe_layer_freq`th; without `n_routed_experts` all are dense.
fn experts(keys: &Keys<'_>, layers: usize) -> Result<Option<Moe>, SpecError> {
    let Some(num_experts) = keys.optional_count("n_routed_experts")? else { return Ok(None) };
    let width = keys.count(&["moe_intermediate_size"])?;
    let shared = keys.optional_whole("n_shared_experts")?.unwrap_or(0);
    let missing = |key: &str| SpecError::MissingKey { key: key.to_string(), family: keys.family };
    let first =
        keys.optional_whole("first_k_dense_replace")?.ok_or_else(|| missing("first_k_dense_replace"))?;
    let every = keys.optional_count("moe_layer_freq")?.unwrap_or(1);
    Ok(Some(Moe {
        num_experts,
        num_experts_per_tok: keys.count(&["num_experts_per_tok"])?,
        moe_intermediate_size: width,
        shared_intermediate_size: shared * width,
        shared_gate: false,
        router_bias: keys.family == Family::DeepseekV3,
        layers: (first..layers).filter(|layer| layer.is_multiple_of(every)).collect(),
    }))
}
