//! Experts as Mixtral and the Qwen families name them.

use super::super::{Family, Moe, SpecError};
use super::keys::Keys;

/// The experts of a family that has them.
pub(super) fn read(keys: &Keys<'_>, layers: usize) -> Result<Option<Moe>, SpecError> {
    let moe = match keys.family {
        Family::Mixtral => Moe {
            num_experts: keys.count(&["num_local_experts"])?,
            num_experts_per_tok: keys.count(&["num_experts_per_tok"])?,
            // Mixtral's experts are as wide as its MLP would be.
            moe_intermediate_size: keys.count(&["intermediate_size"])?,
            shared_intermediate_size: 0,
            shared_gate: false,
            router_bias: false,
            layers: (0..layers).collect(),
        },
        Family::Qwen2Moe | Family::Qwen3Moe => {
            let shared = keys.family == Family::Qwen2Moe;
            Moe {
                num_experts: keys.count(&["num_experts"])?,
                num_experts_per_tok: keys.count(&["num_experts_per_tok"])?,
                moe_intermediate_size: keys.count(&["moe_intermediate_size"])?,
                shared_intermediate_size: if shared {
                    keys.count(&["shared_expert_intermediate_size"])?
                } else {
                    0
                },
                shared_gate: shared,
                router_bias: false,
                layers: sparse_layers(keys, layers)?,
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(moe))
}

/// Every `decoder_sparse_step`th layer, without those of `mlp_only_layers`.
fn sparse_layers(keys: &Keys<'_>, layers: usize) -> Result<Vec<usize>, SpecError> {
    let step = keys.optional_count("decoder_sparse_step")?.unwrap_or(1);
    let dense: Vec<usize> = keys
        .list("mlp_only_layers")?
        .unwrap_or_default()
        .iter()
        .map(|layer| layer.as_u64().map(|l| l as usize))
        .collect::<Option<_>>()
        .ok_or_else(|| keys.wrong("mlp_only_layers", "a list of layers"))?;
    Ok((0..layers).filter(|layer| (layer + 1).is_multiple_of(step) && !dense.contains(layer)).collect())
}
