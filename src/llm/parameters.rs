//! How many parameters a model has, by component.

use super::layout::Ranks;
use super::{ModelSpec, NormKind};

/// Numbers of parameters; a head tied to the token table counts once, as embedding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The token table.
    pub embedding: u64,
    /// The table of learned positions.
    pub positions: u64,
    /// The linears of attention.
    pub attention: u64,
    /// The linears of dense MLPs.
    pub dense_mlp: u64,
    /// The linears of all experts, the shared ones not counted.
    pub experts: u64,
    /// The linears of shared experts, and their gates.
    pub shared_experts: u64,
    /// What sends tokens to experts.
    pub router: u64,
    /// All norms.
    pub norms: u64,
    /// The head, where it is not the token table, and its bias.
    pub head: u64,
}

impl Parameters {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.total_without_experts() + self.experts
    }

    fn total_without_experts(&self) -> u64 {
        self.embedding
            + self.positions
            + self.attention
            + self.dense_mlp
            + self.shared_experts
            + self.router
            + self.norms
            + self.head
    }
}

impl ModelSpec {
    /// The number of parameters (GPT-2: 124,439,808).
    pub fn parameters(&self) -> u64 {
        self.parameter_table().total()
    }

    /// The parameters that one token's pass multiplies with: of the experts, those that it is sent to.
    pub fn active_parameters(&self) -> u64 {
        let table = self.parameter_table();
        let of_experts = self
            .moe
            .as_ref()
            .map_or(0, |moe| table.experts / moe.num_experts as u64 * moe.num_experts_per_tok as u64);
        table.total_without_experts() + of_experts
    }

    /// The number of parameters of every component.
    pub fn parameter_table(&self) -> Parameters {
        let hidden = self.hidden_size as u64;
        let mlp = |inner: usize| -> u64 {
            if inner == 0 { 0 } else { self.mlp(inner, Ranks::ONE).iter().map(|l| l.parameters()).sum() }
        };
        let moe_layers = self.moe.as_ref().map_or(0, |moe| moe.layers.len());
        let of_moe = |count: &dyn Fn(&super::Moe) -> u64| -> u64 {
            self.moe.as_ref().map_or(0, |moe| moe_layers as u64 * count(moe))
        };
        let layers = self.num_hidden_layers as u64;
        let attention: u64 = self.attention_in(Ranks::ONE).iter().map(|l| l.parameters()).sum();
        let head = self.head(Ranks::ONE);
        Parameters {
            embedding: self.vocab_size as u64 * hidden,
            positions: if self.rope.is_some() { 0 } else { self.max_position_embeddings as u64 * hidden },
            attention: layers * (attention + self.attention_out(Ranks::ONE).parameters()),
            dense_mlp: (layers - moe_layers as u64) * mlp(self.intermediate_size),
            experts: of_moe(&|moe| moe.num_experts as u64 * mlp(moe.moe_intermediate_size)),
            shared_experts: of_moe(&|moe| {
                mlp(moe.shared_intermediate_size) + if moe.shared_gate { hidden } else { 0 }
            }),
            router: of_moe(&|moe| self.router(moe).parameters()),
            norms: self.norm_parameters(),
            head: if self.tie_word_embeddings {
                head.parameters() - (head.input * head.output) as u64
            } else {
                head.parameters()
            },
        }
    }

    /// Gain, and for layer norm bias, of every norm, the final one included.
    fn norm_parameters(&self) -> u64 {
        let vectors = match self.norm {
            NormKind::Layer => 2,
            NormKind::Rms => 1,
        };
        let inner: usize = self.inner_norms().iter().sum();
        let block = self.norms_per_block() * self.hidden_size + inner;
        (vectors * (self.num_hidden_layers * block + self.hidden_size)) as u64
    }
}
