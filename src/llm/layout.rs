//! Which linears and norms a model is made of, whole or as one rank of a tensor-parallel group holds them.
//!
//! The one place where a model's weights are listed: their number ([`super::Parameters`]) and the work of a step
//! both follow from it.

use super::{BlockLayout, ModelSpec, Moe};

/// A linear, as one rank holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinearShape {
    /// What it is called in records: that of the passes.
    pub(super) label: &'static str,
    /// Input width.
    pub(super) input: usize,
    /// Output width.
    pub(super) output: usize,
    /// Whether a bias is added.
    pub(super) bias: bool,
}

impl LinearShape {
    /// Weights and bias.
    pub(super) fn parameters(&self) -> u64 {
        let bias = if self.bias { self.output } else { 0 };
        (self.input * self.output + bias) as u64
    }
}

/// How many ranks share the model; every rank has the residual stream whole (Shoeybi et al. 2019, Megatron-LM).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ranks(pub(super) usize);

impl Ranks {
    /// The one rank that holds all.
    pub(super) const ONE: Self = Self(1);

    /// The largest share of `whole` that a rank holds.
    pub(super) fn share(self, whole: usize) -> usize {
        whole.div_ceil(self.0)
    }
}

impl ModelSpec {
    /// K/V heads of a rank: where there are fewer heads than ranks, ranks hold copies.
    pub(super) fn kv_heads_of(&self, ranks: Ranks) -> usize {
        ranks.share(self.num_key_value_heads)
    }

    /// The linears of attention, in the order they run, up to the one that makes Q, K and V complete.
    pub(super) fn attention_in(&self, ranks: Ranks) -> Vec<LinearShape> {
        let (hidden, heads) = (self.hidden_size, ranks.share(self.num_attention_heads));
        let linear = |label, input, output| LinearShape { label, input, output, bias: self.qkv_bias };
        let Some(mla) = &self.mla else {
            let outputs = (heads + 2 * self.kv_heads_of(ranks)) * self.head_dim;
            return vec![linear("attn.qkv", hidden, outputs)];
        };
        // The b projections never have a bias (modeling_deepseek.py).
        let unbiased = |label, input, output| LinearShape { label, input, output, bias: false };
        let queries = heads * (mla.qk_nope_head_dim + mla.qk_rope_head_dim);
        let mut linears = match mla.q_lora_rank {
            Some(rank) => {
                vec![linear("attn.q_a", hidden, rank), unbiased("attn.q_b", rank, queries)]
            }
            None => vec![unbiased("attn.q", hidden, queries)],
        };
        linears.push(linear("attn.kv_a", hidden, mla.cached_elements()));
        let from_latent = heads * (mla.qk_nope_head_dim + mla.v_head_dim);
        linears.push(unbiased("attn.kv_b", mla.kv_lora_rank, from_latent));
        linears
    }

    /// The linear out of attention.
    pub(super) fn attention_out(&self, ranks: Ranks) -> LinearShape {
        let value = self.mla.map_or(self.head_dim, |mla| mla.v_head_dim);
        LinearShape {
            label: "attn.proj",
            input: ranks.share(self.num_attention_heads) * value,
            output: self.hidden_size,
            bias: self.attention_out_bias,
        }
    }

    /// The two steps of an MLP of inner width `inner`; a gate and its partner are one linear.
    pub(super) fn mlp(&self, inner: usize, ranks: Ranks) -> [LinearShape; 2] {
        let inner = ranks.share(inner);
        let (label, widths) = if self.gated_mlp { ("mlp.gate_up", 2) } else { ("mlp.up", 1) };
        let (hidden, bias) = (self.hidden_size, self.mlp_bias);
        [
            LinearShape { label, input: hidden, output: widths * inner, bias },
            LinearShape { label: "mlp.down", input: inner, output: hidden, bias },
        ]
    }

    /// What sends tokens to experts: the whole router on every rank.
    pub(super) fn router(&self, moe: &Moe) -> LinearShape {
        let (input, output) = (self.hidden_size, moe.num_experts);
        LinearShape { label: "mlp.router", input, output, bias: moe.router_bias }
    }

    /// The head; its weights are the token table where they are tied.
    pub(super) fn head(&self, ranks: Ranks) -> LinearShape {
        let (input, output) = (self.hidden_size, ranks.share(self.vocab_size));
        LinearShape { label: "head.logits", input, output, bias: self.head_bias }
    }

    /// Norms of the width of the residual stream in a block.
    pub(super) fn norms_per_block(&self) -> usize {
        match self.block {
            BlockLayout::Parallel => 1,
            BlockLayout::PreNorm => 2,
            BlockLayout::Sandwich => 4,
        }
    }

    /// Widths of the norms inside attention: of heads of Q and K, and of latents.
    pub(super) fn inner_norms(&self) -> Vec<usize> {
        let of_heads = if self.qk_norm { vec![self.head_dim; 2] } else { Vec::new() };
        let of_latents =
            self.mla.iter().flat_map(|mla| mla.q_lora_rank.into_iter().chain([mla.kv_lora_rank]));
        of_heads.into_iter().chain(of_latents).collect()
    }
}
