//! What a sequence in progress keeps between steps: caches, or for v0 the tokens themselves.

use super::PassError;
use crate::backend::{AttentionSpec, Backend, CacheSpec};
use crate::llm::{ModelSpec, StepShape, Version};
use std::ops::Range;

/// The state of `batch` sequences under one version.
#[derive(Debug)]
pub struct State<B: Backend> {
    pub(super) version: Version,
    pub(super) batch: usize,
    /// One per layer; `None` for layers that borrow, and for all without a cache.
    pub(super) caches: Vec<Option<B::Cache>>,
    /// Tokens of each sequence so far, kept only where they must be computed again.
    pub(super) history: Vec<Vec<u32>>,
    /// The tokens of the pass that runs.
    ids: Vec<u32>,
    /// Tokens per sequence so far.
    pub(super) tokens: usize,
}

impl<B: Backend> State<B> {
    /// An empty state for `batch` sequences of up to `capacity` tokens.
    ///
    /// # Errors
    /// When the model has no positions for `capacity` tokens, or the backend no room.
    pub fn new(
        backend: &B,
        spec: &ModelSpec,
        version: &Version,
        batch: usize,
        capacity: usize,
    ) -> Result<Self, PassError> {
        let limit = spec.max_position_embeddings;
        if capacity > limit {
            return Err(PassError::TooLong { needed: capacity, model: spec.name.clone(), limit });
        }
        let cache_spec = CacheSpec {
            batch,
            kv_heads: spec.num_key_value_heads,
            head_dim: spec.head_dim,
            capacity,
            storage: version.storage(backend.dtype()),
        };
        let caches = (0..spec.num_hidden_layers)
            .map(|layer| version.owns_cache(layer).then(|| backend.new_cache(cache_spec)).transpose())
            .collect::<Result<_, _>>()?;
        let history = vec![Vec::new(); if version.use_cache { 0 } else { batch }];
        Ok(Self { version: version.clone(), batch, caches, history, ids: Vec::new(), tokens: 0 })
    }

    /// The shape of the pass that so many more ids (of all sequences) would be.
    pub fn next_shape(&self, ids: usize) -> StepShape {
        let new_tokens = ids / self.batch;
        let context = self.tokens + new_tokens;
        StepShape {
            batch: self.batch,
            new_tokens: if self.version.use_cache { new_tokens } else { context },
            context,
        }
    }

    /// Takes `ids` in and gives the shape of the pass to run over [`Self::ids`].
    pub(super) fn advance(&mut self, ids: &[u32]) -> StepShape {
        let shape = self.next_shape(ids.len());
        self.tokens = shape.context;
        self.ids.clear();
        if self.version.use_cache {
            self.ids.extend_from_slice(ids);
            return shape;
        }
        let new_tokens = ids.len() / self.batch;
        for (sequence, new) in self.history.iter_mut().zip(ids.chunks(new_tokens.max(1))) {
            sequence.extend_from_slice(new);
            self.ids.extend_from_slice(sequence);
        }
        shape
    }

    /// The tokens of the pass to run, sequence by sequence.
    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The attention of layer `layer`: of two windows, the model's and the version's, the narrower one.
    pub(super) fn attention(&self, spec: &ModelSpec, layer: usize) -> AttentionSpec {
        AttentionSpec {
            heads: spec.num_attention_heads,
            kv_heads: spec.num_key_value_heads,
            head_dim: spec.head_dim,
            window: self.version.window.into_iter().chain(spec.window(layer)).min(),
        }
    }

    /// Tokens per sequence so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Forgets all tokens; caches stay allocated.
    pub fn reset(&mut self) {
        self.tokens = 0;
        self.history.iter_mut().for_each(Vec::clear);
    }

    /// Takes `tokens` tokens per sequence as if they had been fed: caches keep what they hold, zeros when new, and without
    /// a cache the sequences begin with so many tokens 0. For what a later step takes, not for what it says.
    pub fn assume(&mut self, tokens: usize) {
        self.tokens = tokens;
        self.history.iter_mut().for_each(|sequence| {
            sequence.clear();
            sequence.resize(tokens, 0);
        });
    }

    /// Forgets all tokens but the first `tokens` of each sequence, so that a step can be run again; more than there are
    /// changes nothing.
    pub fn truncate(&mut self, tokens: usize) {
        self.tokens = self.tokens.min(tokens);
        self.history.iter_mut().for_each(|sequence| sequence.truncate(tokens));
    }

    /// The addresses of the caches in this process's memory.
    pub fn cache_places(&self, backend: &B) -> Vec<Range<usize>> {
        self.caches.iter().flatten().flat_map(|cache| backend.cache_places(cache)).collect()
    }

    /// The bytes that the caches allocated, capacity included.
    pub fn allocated_bytes(&self, backend: &B) -> f64 {
        self.caches.iter().flatten().fold(0.0, |sum, cache| sum + backend.cache_bytes(cache))
    }
}
