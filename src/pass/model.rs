//! A model on a backend and its forward pass: what GPT-2 and Llama-style models have in common, which is nearly all.
//!
//! Blocks are pre-norm: attention and MLP each read a normed copy of the residual stream and add to it. Families differ
//! in their positions (learned, or rotary), their norms, their MLP (plain, or gated), and in the names and layouts of
//! their weights, which the family's own file knows.

use super::{PassError, State, Weights, gpt, llama};
use crate::backend::{AttentionSpec, Backend, KeysValues, Site};
use crate::llm::{Activation, Family, LinearRows, ModelSpec, Phase, StepShape};

/// A model on a backend.
#[derive(Debug)]
pub struct Model<B: Backend> {
    pub(super) spec: ModelSpec,
    pub(super) tokens: B::Table,
    /// Learned positions.
    pub(super) positions: Option<B::Table>,
    /// Rotary positions.
    pub(super) rope: Option<B::Rope>,
    pub(super) blocks: Vec<Block<B>>,
    pub(super) norm: B::Norm,
    pub(super) head: B::Linear,
}

#[derive(Debug)]
pub(super) struct Block<B: Backend> {
    pub(super) attention_norm: B::Norm,
    /// Q, K and V side by side.
    pub(super) qkv: B::Linear,
    /// The Q columns of `qkv`: all that a layer which borrows K and V computes.
    pub(super) q: B::Linear,
    /// Norms of every head of Q and of K, where the model has them.
    pub(super) head_norms: Option<[B::Norm; 2]>,
    pub(super) attention_out: B::Linear,
    pub(super) mlp_norm: B::Norm,
    pub(super) mlp: Mlp<B>,
}

#[derive(Debug)]
pub(super) enum Mlp<B: Backend> {
    /// `gelu(x U) D`.
    Plain { up: B::Linear, down: B::Linear },
    /// `(activation(x G) x (x U)) D`, G and U side by side.
    Gated { gate_up: B::Linear, activation: Activation, down: B::Linear },
}

/// The logits of a step, still on the device, and the shape they belong to.
#[derive(Clone, Debug)]
pub struct Logits<T> {
    /// `[batch, vocab]` for the last positions, `[batch x new, vocab]` for all.
    pub tensor: T,
    /// The step they came from.
    pub shape: StepShape,
}

impl<B: Backend> Model<B> {
    /// Builds the model from tensors with the names and layouts that Hugging Face gives its family.
    /// `progress` is told how many of all blocks are loaded.
    ///
    /// # Errors
    /// When the model has no pass, a tensor is missing or misshapen, or the device has no room.
    pub fn load(
        backend: &B,
        spec: &ModelSpec,
        weights: &dyn Weights,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, PassError> {
        spec.require_pass()?;
        match spec.model_type {
            Family::Gpt2 => gpt::load(backend, spec, weights, progress),
            Family::Llama | Family::Mistral | Family::Qwen2 | Family::Qwen3 => {
                llama::load(backend, spec, weights, progress)
            }
            _ => Err(spec.no_pass().into()),
        }
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
        let shape = state.advance(ids);
        let ids = state.ids();
        backend.marks().enter(None, Phase::Embedding);
        let site = Site { phase: Phase::Embedding, layer: None, label: "embed" };
        let mut x = backend.embed(site, &shape, ids, &self.tokens, self.positions.as_ref())?;
        for layer in 0..self.blocks.len() {
            x = self.attention(backend, state, &shape, layer, &x)?;
            x = self.mlp(backend, &shape, layer, &x)?;
        }
        backend.marks().enter(None, Phase::Head);
        let site = |label| Site { phase: Phase::Head, layer: None, label };
        let sites = [site("head.norm"), site("head.logits")];
        let tensor = backend.norm_linear(sites, &shape, &x, &self.norm, &self.head, rows)?;
        Ok(Logits { tensor, shape })
    }

    /// Goes through the pass over `ids` without computing it, where the backend wants to before it is timed; the state stays as it
    /// is.
    ///
    /// # Errors
    /// When the pass itself would fail before it computes anything.
    pub fn rehearse(&self, backend: &mut B, state: &mut State<B>, ids: &[u32]) -> Result<(), PassError> {
        if !backend.wants_rehearsal(&state.next_shape(ids.len())) {
            return Ok(());
        }
        let tokens = state.tokens();
        backend.rehearse(true);
        let passed = self.forward(backend, state, ids, LinearRows::Last);
        backend.rehearse(false);
        state.truncate(tokens);
        passed.map(drop)
    }

    /// Puts the most likely next token of each sequence into `ids`, in place of what was there.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn choose(
        &self,
        backend: &mut B,
        logits: &Logits<B::Tensor>,
        ids: &mut Vec<u32>,
    ) -> Result<(), PassError> {
        let site = Site { phase: Phase::Head, layer: None, label: "head.argmax" };
        Ok(backend.argmax(site, &logits.shape, &logits.tensor, ids)?)
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
        backend.marks().enter(Some(layer), Phase::Attention);
        let site = |label| Site { phase: Phase::Attention, layer: Some(layer), label };
        let block = &self.blocks[layer];
        let attention = state.attention(&self.spec, layer);
        let y = if let Some(cache) = state.caches[layer].as_mut() {
            let qkv = self.project(backend, shape, layer, x, &attention, Columns::All)?;
            backend.cache_append(site("cache_append"), shape, &qkv, &attention, cache)?;
            backend.attention(site("attention"), shape, &qkv, &attention, KeysValues::Cache(cache))?
        } else if let Some(cache) = state.caches[state.version.owner(layer)].as_ref() {
            let q = self.project(backend, shape, layer, x, &attention, Columns::Queries)?;
            backend.attention(site("attention"), shape, &q, &attention, KeysValues::Cache(cache))?
        } else {
            let qkv = self.project(backend, shape, layer, x, &attention, Columns::All)?;
            backend.attention(site("attention"), shape, &qkv, &attention, KeysValues::Activations)?
        };
        let sites = [site("attn.proj"), site("attn.residual")];
        Ok(backend.linear_residual(sites, shape, &y, &block.attention_out, x)?)
    }

    /// Q, K and V, or Q alone, as attention wants them: projected, normed by head, turned by their positions.
    fn project(
        &self,
        backend: &mut B,
        shape: &StepShape,
        layer: usize,
        x: &B::Tensor,
        attention: &AttentionSpec,
        columns: Columns,
    ) -> Result<B::Tensor, PassError> {
        let site = |label| Site { phase: Phase::Attention, layer: Some(layer), label };
        let block = &self.blocks[layer];
        let AttentionSpec { heads, kv_heads, head_dim, .. } = *attention;
        let (label, linear, keys) = match columns {
            Columns::All => ("attn.qkv", &block.qkv, kv_heads),
            Columns::Queries => ("attn.q", &block.q, 0),
        };
        let sites = [site("attn.norm"), site(label)];
        let norm = &block.attention_norm;
        let mut x = backend.norm_linear(sites, shape, x, norm, linear, LinearRows::All)?;
        if let Some([q_norm, k_norm]) = &block.head_norms {
            x = backend.head_norm(site("attn.q_norm"), shape, x, q_norm, 0, heads)?;
            if keys > 0 {
                x = backend.head_norm(site("attn.k_norm"), shape, x, k_norm, heads, keys)?;
            }
        }
        if let Some(rope) = &self.rope {
            x = backend.rope(site("attn.rope"), shape, x, rope, heads + keys, head_dim)?;
        }
        Ok(x)
    }

    fn mlp(
        &self,
        backend: &mut B,
        shape: &StepShape,
        layer: usize,
        x: &B::Tensor,
    ) -> Result<B::Tensor, PassError> {
        backend.marks().enter(Some(layer), Phase::Mlp);
        let site = |label| Site { phase: Phase::Mlp, layer: Some(layer), label };
        let block = &self.blocks[layer];
        let norm = &block.mlp_norm;
        let (inner, down) = match &block.mlp {
            Mlp::Plain { up, down } => {
                let sites = [site("mlp.norm"), site("mlp.up"), site("mlp.gelu")];
                (backend.norm_linear_gelu(sites, shape, x, norm, up)?, down)
            }
            Mlp::Gated { gate_up, activation, down } => {
                let sites = [site("mlp.norm"), site("mlp.gate_up"), site("mlp.gate")];
                (backend.norm_linear_gate(sites, shape, x, norm, gate_up, *activation)?, down)
            }
        };
        Ok(backend.linear_residual([site("mlp.down"), site("mlp.residual")], shape, &inner, down, x)?)
    }
}

/// Which columns of Q, K and V a layer computes.
#[derive(Clone, Copy)]
enum Columns {
    All,
    Queries,
}
