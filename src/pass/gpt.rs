//! The GPT-2 pass: learned positions, pre-norm blocks, tanh GELU, a head tied to the token table.
//!
//! Radford et al. 2019; the arithmetic is that of Hugging Face's `GPT2LMHeadModel`.

use super::{PassError, State, WeightError, Weights};
use crate::backend::{Backend, HostTensor, KeysValues, Site};
use crate::llm::{LinearRows, ModelSpec, Phase, StepShape};

/// A GPT-2 model on a backend.
#[derive(Debug)]
pub struct Gpt<B: Backend> {
    spec: ModelSpec,
    tokens: B::Table,
    positions: B::Table,
    blocks: Vec<Block<B>>,
    norm: B::Norm,
    head: B::Linear,
}

#[derive(Debug)]
struct Block<B: Backend> {
    norm_1: B::Norm,
    qkv: B::Linear,
    /// The Q columns of `qkv`: all that a layer which borrows K and V computes.
    q: B::Linear,
    attention_out: B::Linear,
    norm_2: B::Norm,
    up: B::Linear,
    down: B::Linear,
}

/// The logits of a step, still on the device, and the shape they belong to.
#[derive(Clone, Debug)]
pub struct Logits<T> {
    /// `[batch, vocab]` for the last positions, `[batch x new, vocab]` for all.
    pub tensor: T,
    /// The step they came from.
    pub shape: StepShape,
}

impl<B: Backend> Gpt<B> {
    /// Builds the model from tensors with Hugging Face's GPT-2 names and layouts (`Conv1D`: `[input, output]`).
    /// `progress` is told how many of all blocks are loaded.
    ///
    /// # Errors
    /// When a tensor is missing or misshapen, or the device has no room.
    pub fn load(
        backend: &B,
        spec: &ModelSpec,
        weights: &dyn Weights,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, PassError> {
        let hidden = spec.hidden_size;
        let tokens = backend.load_table(weights.tensor("wte.weight", &[spec.vocab_size, hidden])?)?;
        let positions =
            backend.load_table(weights.tensor("wpe.weight", &[spec.max_position_embeddings, hidden])?)?;
        let mut blocks = Vec::with_capacity(spec.num_hidden_layers);
        for layer in 0..spec.num_hidden_layers {
            progress(layer, spec.num_hidden_layers);
            blocks.push(Block::load(backend, spec, weights, layer)?);
        }
        let norm = load_norm(backend, spec, weights, "ln_f")?;
        let head = backend.tied_head(&tokens)?;
        progress(spec.num_hidden_layers, spec.num_hidden_layers);
        Ok(Self { spec: spec.clone(), tokens, positions, blocks, norm, head })
    }

    /// The model's shape.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Runs `ids` (`batch x new`, sequence by sequence) and gives the logits of the last or of all positions.
    ///
    /// Without a cache the whole sequence is computed again, `ids` being appended to it.
    ///
    /// # Errors
    /// When an id is outside the vocabulary, the sequence too long, or the backend fails.
    pub fn forward(
        &self,
        backend: &mut B,
        state: &mut State<B>,
        ids: &[u32],
        rows: LinearRows,
    ) -> Result<Logits<B::Tensor>, PassError> {
        self.check(state, ids)?;
        let (shape, ids) = state.advance(ids);
        let mut x = backend.embed(
            Site { phase: Phase::Embedding, layer: None, label: "embed" },
            &shape,
            &ids,
            &self.tokens,
            &self.positions,
        )?;
        for layer in 0..self.blocks.len() {
            x = self.attention(backend, state, &shape, layer, &x)?;
            x = self.mlp(backend, &shape, layer, &x)?;
        }
        let site = |label| Site { phase: Phase::Head, layer: None, label };
        let x = backend.norm(site("head.norm"), &shape, &x, &self.norm, rows)?;
        let tensor = backend.linear(site("head.logits"), &shape, &x, &self.head, rows)?;
        Ok(Logits { tensor, shape })
    }

    /// The most likely next token of each sequence.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn choose(&self, backend: &mut B, logits: &Logits<B::Tensor>) -> Result<Vec<u32>, PassError> {
        let site = Site { phase: Phase::Head, layer: None, label: "head.argmax" };
        Ok(backend.argmax(site, &logits.shape, &logits.tensor)?)
    }

    fn check(&self, state: &State<B>, ids: &[u32]) -> Result<(), PassError> {
        let vocab = self.spec.vocab_size;
        if let Some(id) = ids.iter().copied().find(|id| *id as usize >= vocab) {
            return Err(PassError::TokenRange { id, vocab });
        }
        let (needed, limit) = (state.tokens + ids.len() / state.batch, self.spec.max_position_embeddings);
        if needed > limit {
            return Err(PassError::TooLong { needed, model: self.spec.name.clone(), limit });
        }
        Ok(())
    }

    fn attention(
        &self,
        backend: &mut B,
        state: &mut State<B>,
        shape: &StepShape,
        layer: usize,
        x: &B::Tensor,
    ) -> Result<B::Tensor, PassError> {
        let site = |label| Site { phase: Phase::Attention, layer: Some(layer), label };
        let block = &self.blocks[layer];
        let attention = state.attention;
        let normed = backend.norm(site("attn.norm"), shape, x, &block.norm_1, LinearRows::All)?;
        let y = if let Some(cache) = state.caches[layer].as_mut() {
            let qkv = backend.linear(site("attn.qkv"), shape, &normed, &block.qkv, LinearRows::All)?;
            backend.cache_append(site("cache_append"), shape, &qkv, &attention, cache)?;
            backend.attention(site("attention"), shape, &qkv, &attention, KeysValues::Cache(cache))?
        } else if let Some(cache) = state.caches[state.version.owner(layer)].as_ref() {
            let q = backend.linear(site("attn.q"), shape, &normed, &block.q, LinearRows::All)?;
            backend.attention(site("attention"), shape, &q, &attention, KeysValues::Cache(cache))?
        } else {
            let qkv = backend.linear(site("attn.qkv"), shape, &normed, &block.qkv, LinearRows::All)?;
            backend.attention(site("attention"), shape, &qkv, &attention, KeysValues::Activations)?
        };
        let sites = [site("attn.proj"), site("attn.residual")];
        Ok(backend.linear_residual(sites, shape, &y, &block.attention_out, x)?)
    }

    fn mlp(
        &self,
        backend: &mut B,
        shape: &StepShape,
        layer: usize,
        x: &B::Tensor,
    ) -> Result<B::Tensor, PassError> {
        let site = |label| Site { phase: Phase::Mlp, layer: Some(layer), label };
        let block = &self.blocks[layer];
        let normed = backend.norm(site("mlp.norm"), shape, x, &block.norm_2, LinearRows::All)?;
        let inner = backend.linear_gelu([site("mlp.up"), site("mlp.gelu")], shape, &normed, &block.up)?;
        let sites = [site("mlp.down"), site("mlp.residual")];
        Ok(backend.linear_residual(sites, shape, &inner, &block.down, x)?)
    }
}

impl<B: Backend> State<B> {
    /// Takes `ids` in: the shape of the pass to run and the ids it runs over.
    fn advance(&mut self, ids: &[u32]) -> (StepShape, Vec<u32>) {
        let (batch, new_tokens) = (self.batch, ids.len() / self.batch);
        self.tokens += new_tokens;
        let context = self.tokens;
        if self.version.use_cache {
            return (StepShape { batch, new_tokens, context }, ids.to_vec());
        }
        for (sequence, new) in self.history.iter_mut().zip(ids.chunks(new_tokens.max(1))) {
            sequence.extend_from_slice(new);
        }
        (StepShape { batch, new_tokens: context, context }, self.history.concat())
    }
}

impl<B: Backend> Block<B> {
    fn load(backend: &B, spec: &ModelSpec, weights: &dyn Weights, layer: usize) -> Result<Self, PassError> {
        let (hidden, inner) = (spec.hidden_size, spec.intermediate_size);
        let linear = |name: &str, input: usize, output: usize| -> Result<B::Linear, PassError> {
            let weight = weights.tensor(&format!("h.{layer}.{name}.weight"), &[input, output])?;
            let bias = weights.tensor(&format!("h.{layer}.{name}.bias"), &[output])?;
            Ok(backend.load_linear(weight, Some(bias))?)
        };
        let qkv = linear("attn.c_attn", hidden, 3 * hidden)?;
        Ok(Self {
            norm_1: load_norm(backend, spec, weights, &format!("h.{layer}.ln_1"))?,
            q: backend.first_outputs(&qkv, hidden)?,
            qkv,
            attention_out: linear("attn.c_proj", hidden, hidden)?,
            norm_2: load_norm(backend, spec, weights, &format!("h.{layer}.ln_2"))?,
            up: linear("mlp.c_fc", hidden, inner)?,
            down: linear("mlp.c_proj", inner, hidden)?,
        })
    }
}

fn load_norm<B: Backend>(
    backend: &B,
    spec: &ModelSpec,
    weights: &dyn Weights,
    name: &str,
) -> Result<B::Norm, PassError> {
    let vector = |part: &str| -> Result<HostTensor, WeightError> {
        weights.tensor(&format!("{name}.{part}"), &[spec.hidden_size])
    };
    Ok(backend.load_norm(vector("weight")?, vector("bias")?, spec.norm_eps)?)
}
