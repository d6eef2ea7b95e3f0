//! GPT-2's weights: learned positions, layer norms, plain MLPs with tanh GELU, a head tied to the token table.
//!
//! Radford et al. 2019; names and layouts (`Conv1D`: `[input, output]`) are those of Hugging Face's `GPT2LMHeadModel`.

use super::model::{Block, Mlp, Model};
use super::{PassError, Weights};
use crate::backend::{Backend, WeightOrder};
use crate::llm::{ModelSpec, NormKind};

pub(super) fn load<B: Backend>(
    backend: &B,
    spec: &ModelSpec,
    weights: &dyn Weights,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Model<B>, PassError> {
    let hidden = spec.hidden_size;
    let tokens = backend.load_table(weights.tensor("wte.weight", &[spec.vocab_size, hidden])?)?;
    let positions =
        backend.load_table(weights.tensor("wpe.weight", &[spec.max_position_embeddings, hidden])?)?;
    let mut blocks = Vec::with_capacity(spec.num_hidden_layers);
    for layer in 0..spec.num_hidden_layers {
        progress(layer, spec.num_hidden_layers);
        blocks.push(block(backend, spec, weights, layer)?);
    }
    let norm = norm(backend, spec, weights, "ln_f")?;
    let head = backend.tied_head(&tokens)?;
    progress(spec.num_hidden_layers, spec.num_hidden_layers);
    Ok(Model { spec: spec.clone(), tokens, positions: Some(positions), rope: None, blocks, norm, head })
}

fn block<B: Backend>(
    backend: &B,
    spec: &ModelSpec,
    weights: &dyn Weights,
    layer: usize,
) -> Result<Block<B>, PassError> {
    let (hidden, inner) = (spec.hidden_size, spec.intermediate_size);
    let linear = |name: &str, input: usize, output: usize| -> Result<B::Linear, PassError> {
        let weight = weights.tensor(&format!("h.{layer}.{name}.weight"), &[input, output])?;
        let bias = weights.tensor(&format!("h.{layer}.{name}.bias"), &[output])?;
        Ok(backend.load_linear(weight, WeightOrder::InputOutput, Some(bias))?)
    };
    let qkv = linear("attn.c_attn", hidden, 3 * hidden)?;
    Ok(Block {
        attention_norm: norm(backend, spec, weights, &format!("h.{layer}.ln_1"))?,
        q: backend.first_outputs(&qkv, hidden)?,
        qkv,
        head_norms: None,
        attention_out: linear("attn.c_proj", hidden, hidden)?,
        mlp_norm: norm(backend, spec, weights, &format!("h.{layer}.ln_2"))?,
        mlp: Mlp::Plain {
            up: linear("mlp.c_fc", hidden, inner)?,
            down: linear("mlp.c_proj", inner, hidden)?,
        },
    })
}

fn norm<B: Backend>(
    backend: &B,
    spec: &ModelSpec,
    weights: &dyn Weights,
    name: &str,
) -> Result<B::Norm, PassError> {
    let vector = |part: &str| weights.tensor(&format!("{name}.{part}"), &[spec.hidden_size]);
    Ok(backend.load_norm(NormKind::Layer, vector("weight")?, Some(vector("bias")?), spec.norm_eps)?)
}
