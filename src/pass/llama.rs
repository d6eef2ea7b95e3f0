//! The weights of Llama and what differs from it in settings alone (Mistral, Qwen 2 and 3): rotary positions, RMS norms,
//! grouped queries, gated MLPs.
//!
//! Touvron et al. 2023; names and layouts (`Linear`: `[output, input]`) are those of Hugging Face's `LlamaForCausalLM`,
//! `Qwen2ForCausalLM`, `Qwen3ForCausalLM` and `MistralForCausalLM`, without the prefix `model.`.

use super::model::{Block, Mlp, Model};
use super::rope::angles;
use super::{PassError, Weights};
use crate::backend::{Backend, HostTensor, WeightOrder};
use crate::llm::{ModelSpec, NormKind};

pub(super) fn load<B: Backend>(
    backend: &B,
    spec: &ModelSpec,
    weights: &dyn Weights,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Model<B>, PassError> {
    let loader = Loader { backend, spec, weights };
    let layers = spec.num_hidden_layers;
    progress(0, layers);
    let table = [spec.vocab_size, spec.hidden_size];
    let tokens = backend.load_table(weights.tensor("embed_tokens.weight", &table)?)?;
    let mut blocks = Vec::with_capacity(layers);
    for layer in 0..layers {
        progress(layer, layers);
        blocks.push(loader.block(layer)?);
    }
    let norm = loader.norm("norm", spec.hidden_size)?;
    let head = if spec.tie_word_embeddings {
        backend.tied_head(&tokens)?
    } else {
        loader.linear("", &[("lm_head", spec.vocab_size)], spec.hidden_size, false)?
    };
    let rope = spec.rope.as_ref().map(|rope| {
        let (cos, sin) = angles(rope, spec.max_position_embeddings);
        backend.load_rope(cos, sin)
    });
    progress(layers, layers);
    Ok(Model { spec: spec.clone(), tokens, positions: None, rope: rope.transpose()?, blocks, norm, head })
}

/// Where weights come from and where they go.
struct Loader<'a, B: Backend> {
    backend: &'a B,
    spec: &'a ModelSpec,
    weights: &'a dyn Weights,
}

impl<B: Backend> Loader<'_, B> {
    fn block(&self, layer: usize) -> Result<Block<B>, PassError> {
        let spec = self.spec;
        let (hidden, inner) = (spec.hidden_size, spec.intermediate_size);
        let queries = spec.num_attention_heads * spec.head_dim;
        let keys = spec.num_key_value_heads * spec.head_dim;
        let attention = format!("layers.{layer}.self_attn.");
        let mlp = format!("layers.{layer}.mlp.");
        let norm = |name: &str, width: usize| self.norm(&format!("layers.{layer}.{name}"), width);
        let qkv = self.linear(
            &attention,
            &[("q_proj", queries), ("k_proj", keys), ("v_proj", keys)],
            hidden,
            spec.qkv_bias,
        )?;
        let head_norms = if spec.qk_norm {
            Some([norm("self_attn.q_norm", spec.head_dim)?, norm("self_attn.k_norm", spec.head_dim)?])
        } else {
            None
        };
        Ok(Block {
            attention_norm: norm("input_layernorm", hidden)?,
            q: self.backend.first_outputs(&qkv, queries)?,
            qkv,
            head_norms,
            attention_out: self.linear(
                &attention,
                &[("o_proj", hidden)],
                queries,
                spec.attention_out_bias,
            )?,
            mlp_norm: norm("post_attention_layernorm", hidden)?,
            mlp: Mlp::Gated {
                gate_up: self.linear(
                    &mlp,
                    &[("gate_proj", inner), ("up_proj", inner)],
                    hidden,
                    spec.mlp_bias,
                )?,
                activation: spec.hidden_act,
                down: self.linear(&mlp, &[("down_proj", hidden)], inner, spec.mlp_bias)?,
            },
        })
    }

    fn norm(&self, name: &str, width: usize) -> Result<B::Norm, PassError> {
        let gain = self.weights.tensor(&format!("{name}.weight"), &[width])?;
        Ok(self.backend.load_norm(NormKind::Rms, gain, None, self.spec.norm_eps)?)
    }

    /// One linear of the named ones, each with its outputs, side by side.
    fn linear(
        &self,
        prefix: &str,
        parts: &[(&str, usize)],
        input: usize,
        bias: bool,
    ) -> Result<B::Linear, PassError> {
        let weight = self.stacked(prefix, parts, "weight", &[input])?;
        let bias = if bias { Some(self.stacked(prefix, parts, "bias", &[])?) } else { None };
        Ok(self.backend.load_linear(weight, WeightOrder::OutputInput, bias)?)
    }

    /// The tensors `PREFIX name.kind` of `[outputs, ..inner]` one under the other.
    fn stacked(
        &self,
        prefix: &str,
        parts: &[(&str, usize)],
        kind: &str,
        inner: &[usize],
    ) -> Result<HostTensor, PassError> {
        let outputs: usize = parts.iter().map(|(_, outputs)| outputs).sum();
        let tensor = |(name, outputs): &(&str, usize)| {
            let shape: Vec<usize> = [*outputs].iter().chain(inner).copied().collect();
            self.weights.tensor(&format!("{prefix}{name}.{kind}"), &shape)
        };
        let (first, others) = parts.split_first().expect("a linear has at least one part");
        let mut stacked = tensor(first)?;
        stacked.data.reserve_exact((outputs - first.1) * inner.iter().product::<usize>());
        for part in others {
            stacked.data.extend_from_slice(&tensor(part)?.data);
        }
        stacked.shape[0] = outputs;
        Ok(stacked)
    }
}
