//! Reading a Hugging Face config.json, and the rows of `presets.toml`, which have the same keys.
//!
//! One file per group of families. What a family's files leave out is filled in as its Hugging Face class does;
//! a key that the shape follows from and that has no such value is an error that names it.

mod deepseek;
mod experts;
mod gemma;
mod gpt2;
mod keys;
mod llama;
mod phi;
mod rope;
mod stored;

pub use stored::stored_weights;

use super::{Activation, Family, ModelSpec, SpecError};
use keys::Keys;
use serde_json::Value;

/// The shape that a config.json describes.
pub(super) fn read_config(name: &str, json: &Value) -> Result<ModelSpec, SpecError> {
    let found = json.get("model_type").and_then(Value::as_str);
    let Some(family) = found.and_then(Family::from_model_type) else {
        return Err(SpecError::UnknownFamily {
            found: found.map_or("absent".to_string(), |t| format!("'{t}'")),
            known: Family::names_nearest(found.unwrap_or_default()),
        });
    };
    let Some(map) = json.as_object() else {
        return Err(SpecError::Field("no JSON object".to_string()));
    };
    let keys = Keys::new(map, family);
    let spec = match family {
        Family::Gpt2 => gpt2::read(name, &keys),
        Family::Gemma | Family::Gemma2 | Family::Gemma3 => gemma::read(name, &keys),
        Family::Phi => phi::read(name, &keys),
        Family::DeepseekV2 | Family::DeepseekV3 => deepseek::read(name, &keys),
        Family::Llama
        | Family::Mistral
        | Family::Mixtral
        | Family::Qwen2
        | Family::Qwen2Moe
        | Family::Qwen3
        | Family::Qwen3Moe
        | Family::Phi3 => llama::read(name, &keys),
    }?;
    check(&spec)?;
    Ok(spec)
}

/// What no family may contradict.
fn check(spec: &ModelSpec) -> Result<(), SpecError> {
    let (heads, kv_heads) = (spec.num_attention_heads, spec.num_key_value_heads);
    if !heads.is_multiple_of(kv_heads) {
        return Err(SpecError::Field(format!(
            "num_attention_heads {heads} is no multiple of num_key_value_heads {kv_heads}"
        )));
    }
    if let Some(moe) = spec.moe.as_ref().filter(|moe| moe.num_experts_per_tok > moe.num_experts) {
        return Err(SpecError::Field(format!(
            "num_experts_per_tok {} is more than the {} experts",
            moe.num_experts_per_tok, moe.num_experts
        )));
    }
    if !(spec.norm_eps.is_finite() && spec.norm_eps >= 0.0) {
        return Err(SpecError::Field(format!("the epsilon of the norms is {}", spec.norm_eps)));
    }
    Ok(())
}

/// The width of a head: `head_dim`, or the residual stream's share.
fn head_dim(keys: &Keys<'_>, hidden: usize, heads: usize) -> Result<usize, SpecError> {
    if let Some(dim) = keys.optional_count("head_dim")? {
        return Ok(dim);
    }
    if !hidden.is_multiple_of(heads) {
        return Err(SpecError::Field(format!(
            "no head_dim, and hidden_size {hidden} is no multiple of num_attention_heads {heads}"
        )));
    }
    Ok(hidden / heads)
}

/// The activation called by the first of `names` that is there.
fn activation(keys: &Keys<'_>, names: &[&'static str], default: Activation) -> Result<Activation, SpecError> {
    for key in names {
        if let Some(name) = keys.text(key)? {
            let wanted = "an activation that kprof knows (gelu_new, gelu_pytorch_tanh, gelu, silu, relu)";
            return Activation::from_config(name).ok_or_else(|| keys.wrong(key, wanted));
        }
    }
    Ok(default)
}

#[cfg(test)]
mod tests;
