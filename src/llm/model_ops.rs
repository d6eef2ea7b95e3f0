//! The ops of a model's step, as one rank runs them: what [`super::ModelSpec`] and a [`Deployment`] make of it.
//!
//! Labels and order are those of the passes, so that an estimate and a measured run name the same things. What an op
//! costs is [`Op::work`]'s to say; here weights are stored otherwise where the deployment says so.

use super::deployment::Deployment;
use super::latent::cached_bytes;
use super::layout::LinearShape;
use super::{
    BlockLayout, ExpertLinear, LatentAttention, LinearRows, Mla, ModelSpec, Moe, Op, Phase, Stage, StepShape,
    WeightFormat, Work,
};
use crate::units::Bytes;
use std::iter::Sum;
use std::ops::Add;

/// An op, and in how many layers a step runs it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelOp {
    /// The phase that it belongs to.
    pub phase: Phase,
    /// What it is called in records.
    pub label: &'static str,
    /// How many layers run it; 1 outside of them.
    pub layers: usize,
    /// The op.
    pub op: Op,
    /// How its weights are stored; `None` is as its activations.
    pub weights: Option<WeightFormat>,
    /// Bytes of device memory that its weights take, in all layers; 0 for a head that is the token table.
    pub stored: Bytes,
}

/// The analytic cost of ops: their work, and which of its bytes no implementation can do without.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// FLOPs and bytes; each op's inputs and outputs once.
    pub work: Work,
    /// The bytes that are weights.
    pub weight_bytes: Bytes,
    /// The bytes that are read from or written to the KV cache.
    pub cache_bytes: Bytes,
}

impl Cost {
    /// Bytes of weights and cache: what has to come from device memory, since it is not in a cache at the start of
    /// a step. Activations may stay on the chip.
    pub fn compulsory_bytes(&self) -> Bytes {
        self.weight_bytes + self.cache_bytes
    }

    /// Bytes of activations.
    pub fn activation_bytes(&self) -> Bytes {
        self.work.bytes() - self.compulsory_bytes()
    }
}

impl Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            work: self.work + other.work,
            weight_bytes: self.weight_bytes + other.weight_bytes,
            cache_bytes: self.cache_bytes + other.cache_bytes,
        }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), Add::add)
    }
}

impl ModelOp {
    /// What all layers' instances of this op cost together in a step of shape `step`.
    pub fn cost(&self, step: &StepShape) -> Cost {
        let mut work = self.op.work(step);
        let plain = self.op.weight_elements(step) * self.op.dtype().bytes();
        let weights = match (&self.op, &self.weights) {
            (Op::Linear { input, output, bias, dtype, .. }, Some(format)) => {
                let bias = if *bias { *output as f64 * dtype.bytes() } else { 0.0 };
                format.bytes(*input, *output) + bias
            }
            (Op::ExpertLinear(experts), Some(format)) => {
                experts.touched(step) * format.bytes(experts.input, experts.output)
            }
            _ => plain,
        };
        work.bytes_read = work.bytes_read - Bytes(plain) + Bytes(weights);
        let (read, written) = self.op.cache_bytes(step);
        let layers = self.layers as f64;
        Cost {
            work: work.scaled(layers),
            weight_bytes: Bytes(weights * layers),
            cache_bytes: (read + written) * layers,
        }
    }
}

/// Layers that are alike.
struct Group<'a> {
    layers: usize,
    window: Option<usize>,
    moe: Option<&'a Moe>,
}

impl ModelSpec {
    /// The ops of one step of `stage`, as one rank of `deployment` runs them, in order; layers that are alike are
    /// one entry. The head works on the last position of each sequence.
    pub fn ops(&self, deployment: &Deployment, stage: Stage) -> Vec<ModelOp> {
        let mut ops = Builder { spec: self, deployment, stage, layers: 1, ops: Vec::new() };
        ops.embedding();
        for group in self.groups() {
            ops.layers = group.layers;
            ops.attention(group.window);
            ops.mlp(group.moe);
        }
        ops.layers = 1;
        ops.head();
        ops.ops
    }

    /// Layers of the same kind, in the order of their first.
    fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for layer in 0..self.num_hidden_layers {
            let (window, moe) = (self.window(layer), self.experts(layer));
            match groups.iter_mut().find(|g| g.window == window && g.moe.is_some() == moe.is_some()) {
                Some(group) => group.layers += 1,
                None => groups.push(Group { layers: 1, window, moe }),
            }
        }
        groups
    }

    /// Bytes of device memory that one rank's weights take.
    pub fn weight_bytes(&self, deployment: &Deployment) -> Bytes {
        self.ops(deployment, Stage::Decode).iter().map(|op| op.stored).sum()
    }

    /// Bytes of one rank's KV cache for a sequence of `tokens` tokens: layers x bytes per token x tokens, or as many
    /// as the window of a layer keeps. Allocation in blocks and its waste are not counted.
    pub fn kv_bytes(&self, deployment: &Deployment, tokens: usize) -> Bytes {
        let kv = &deployment.kv;
        let per_token = match &self.mla {
            Some(mla) => cached_bytes(kv, mla.cached_elements()),
            None => kv.bytes_per_token(self.kv_heads_of(deployment.ranks()), self.head_dim),
        };
        let kept = |group: &Group<'_>| group.window.map_or(tokens, |window| tokens.min(window));
        self.groups().iter().map(|group| Bytes(per_token * (group.layers * kept(group)) as f64)).sum()
    }
}

struct Builder<'a> {
    spec: &'a ModelSpec,
    deployment: &'a Deployment,
    stage: Stage,
    layers: usize,
    ops: Vec<ModelOp>,
}

impl Builder<'_> {
    /// Adds an op whose weights, `stored` of them, have the activations' type.
    fn push(&mut self, phase: Phase, label: &'static str, op: Op, stored: usize) {
        let bytes = stored as f64 * op.dtype().bytes() * self.layers as f64;
        let (layers, stored) = (self.layers, Bytes(bytes));
        self.ops.push(ModelOp { phase, label, layers, op, weights: None, stored });
    }

    fn plain(&mut self, phase: Phase, label: &'static str, op: Op) {
        self.push(phase, label, op, 0);
    }

    /// Adds a linear whose weights the deployment may store otherwise.
    fn linear(&mut self, phase: Phase, linear: LinearShape) {
        let LinearShape { label, input, output, bias } = linear;
        let (dtype, format) = (self.deployment.activations, self.deployment.weights);
        let op = Op::Linear { input, output, bias, rows: LinearRows::All, dtype, weights: None };
        let biases = if bias { output as f64 * dtype.bytes() } else { 0.0 };
        let stored = Bytes((format.bytes(input, output) + biases) * self.layers as f64);
        self.ops.push(ModelOp { phase, label, layers: self.layers, op, weights: Some(format), stored });
    }

    /// Adds a linear that keeps the activations' type.
    fn unquantised(&mut self, phase: Phase, linear: LinearShape, rows: LinearRows, stored: bool) {
        let LinearShape { label, input, output, bias } = linear;
        let dtype = self.deployment.activations;
        let op = Op::Linear { input, output, bias, rows, dtype, weights: None };
        let biases = if bias { output } else { 0 };
        self.push(phase, label, op, biases + if stored { input * output } else { 0 });
    }

    fn norm(&mut self, phase: Phase, label: &'static str, width: usize, rows: LinearRows) {
        let (norm, dtype) = (self.spec.norm, self.deployment.activations);
        let op = Op::Norm { norm, hidden: width, rows, dtype };
        let step = StepShape { batch: 1, new_tokens: 1, context: 1 };
        let stored = op.weight_elements(&step) as usize;
        self.push(phase, label, op, stored);
    }

    fn residual(&mut self, phase: Phase, label: &'static str) {
        let (hidden, dtype) = (self.spec.hidden_size, self.deployment.activations);
        self.plain(phase, label, Op::Residual { hidden, dtype });
    }

    fn embedding(&mut self) {
        let (spec, dtype) = (self.spec, self.deployment.activations);
        let (hidden, positions) = (spec.hidden_size, spec.rope.is_none());
        let rows = self.deployment.ranks().share(spec.vocab_size)
            + if positions { spec.max_position_embeddings } else { 0 };
        self.push(Phase::Embedding, "embed", Op::Embed { hidden, positions, dtype }, rows * hidden);
    }

    fn attention(&mut self, window: Option<usize>) {
        let (spec, ranks, phase) = (self.spec, self.deployment.ranks(), Phase::Attention);
        self.norm(phase, "attn.norm", spec.hidden_size, LinearRows::All);
        for linear in spec.attention_in(ranks) {
            self.linear(phase, linear);
            if let Some((label, width)) = latent_norm(spec.mla.as_ref(), linear.label) {
                self.norm(phase, label, width, LinearRows::All);
            }
        }
        match spec.mla {
            Some(mla) => self.latent(&mla),
            None => self.heads(window),
        }
        self.linear(phase, spec.attention_out(ranks));
        if spec.block == BlockLayout::Sandwich {
            self.norm(phase, "attn.post_norm", spec.hidden_size, LinearRows::All);
        }
        self.residual(phase, "attn.residual");
    }

    /// From Q, K and V of heads to the result of attention.
    fn heads(&mut self, window: Option<usize>) {
        let (spec, ranks, phase) = (self.spec, self.deployment.ranks(), Phase::Attention);
        let (dtype, kv, head_dim) = (self.deployment.activations, self.deployment.kv, spec.head_dim);
        let (heads, kv_heads) = (ranks.share(spec.num_attention_heads), spec.kv_heads_of(ranks));
        if spec.qk_norm {
            for (label, heads) in [("attn.q_norm", heads), ("attn.k_norm", kv_heads)] {
                self.push(phase, label, Op::HeadNorm { heads, head_dim, dtype }, head_dim);
            }
        }
        if let Some(rope) = &spec.rope {
            let op = Op::Rope { heads: heads + kv_heads, channels: rope.rotary_dim, dtype };
            self.plain(phase, "attn.rope", op);
        }
        self.plain(phase, "cache_append", Op::CacheAppend { kv_heads, head_dim, dtype, kv });
        let masked_computed = false;
        let op = Op::Attention { heads, kv_heads, head_dim, dtype, kv, masked_computed, window };
        self.plain(phase, "attention", op);
    }

    /// The same through latents: decoding attends to them as they are (see [`LatentAttention::absorbed`]).
    fn latent(&mut self, mla: &Mla) {
        let phase = Phase::Attention;
        let heads = self.deployment.ranks().share(self.spec.num_attention_heads);
        let (dtype, kv) = (self.deployment.activations, self.deployment.kv);
        // The heads' queries and the one key that carries positions.
        let op = Op::Rope { heads: heads + 1, channels: mla.qk_rope_head_dim, dtype };
        self.plain(phase, "attn.rope", op);
        let elements = mla.cached_elements();
        self.plain(phase, "cache_append", Op::LatentAppend { elements, dtype, kv });
        let op = Op::LatentAttention(LatentAttention {
            heads,
            latent: mla.kv_lora_rank,
            rope: mla.qk_rope_head_dim,
            nope: mla.qk_nope_head_dim,
            value: mla.v_head_dim,
            absorbed: self.stage == Stage::Decode,
            dtype,
            kv,
        });
        self.plain(phase, "attention", op);
    }

    fn mlp(&mut self, moe: Option<&Moe>) {
        let (spec, phase) = (self.spec, Phase::Mlp);
        if spec.block != BlockLayout::Parallel {
            self.norm(phase, "mlp.norm", spec.hidden_size, LinearRows::All);
        }
        match moe {
            Some(moe) => self.experts(moe),
            None => self.dense(spec.intermediate_size, ["mlp.gate_up", "mlp.gate", "mlp.down"]),
        }
        if spec.block == BlockLayout::Sandwich {
            self.norm(phase, "mlp.post_norm", spec.hidden_size, LinearRows::All);
        }
        self.residual(phase, "mlp.residual");
    }

    /// An MLP that every token goes through; the labels are for gated ones.
    fn dense(&mut self, inner: usize, labels: [&'static str; 3]) {
        let (spec, dtype) = (self.spec, self.deployment.activations);
        let [up, down] = spec.mlp(inner, self.deployment.ranks());
        let width = down.input;
        if spec.gated_mlp {
            self.linear(Phase::Mlp, LinearShape { label: labels[0], ..up });
            self.plain(Phase::Mlp, labels[1], Op::Gate { width, activation: spec.hidden_act, dtype });
        } else {
            self.linear(Phase::Mlp, up);
            self.plain(Phase::Mlp, "mlp.gelu", Op::Gelu { width, dtype });
        }
        self.linear(Phase::Mlp, LinearShape { label: labels[2], ..down });
    }

    fn experts(&mut self, moe: &Moe) {
        let (spec, dtype, phase) = (self.spec, self.deployment.activations, Phase::Mlp);
        let (experts, per_token) = (moe.num_experts, moe.num_experts_per_tok);
        self.unquantised(phase, spec.router(moe), LinearRows::All, true);
        self.plain(phase, "mlp.route", Op::Route { experts, per_token, dtype });
        let [up, down] = spec.mlp(moe.moe_intermediate_size, self.deployment.ranks());
        self.expert_linear("mlp.experts.gate_up", moe, up, false);
        let op = Op::Gate { width: per_token * down.input, activation: spec.hidden_act, dtype };
        self.plain(phase, "mlp.experts.gate", op);
        self.expert_linear("mlp.experts.down", moe, down, true);
        if moe.shared_intermediate_size > 0 {
            let labels = ["mlp.shared.gate_up", "mlp.shared.gate", "mlp.shared.down"];
            self.dense(moe.shared_intermediate_size, labels);
            self.residual(phase, "mlp.shared.sum");
        }
        if moe.shared_gate {
            let gate =
                LinearShape { label: "mlp.shared.scale", input: spec.hidden_size, output: 1, bias: false };
            self.unquantised(phase, gate, LinearRows::All, true);
        }
    }

    fn expert_linear(&mut self, label: &'static str, moe: &Moe, linear: LinearShape, combines: bool) {
        let (dtype, format) = (self.deployment.activations, self.deployment.weights);
        let (experts, per_token) = (moe.num_experts, moe.num_experts_per_tok);
        let LinearShape { input, output, .. } = linear;
        let op = Op::ExpertLinear(ExpertLinear { experts, per_token, input, output, combines, dtype });
        let stored = Bytes(experts as f64 * format.bytes(input, output) * self.layers as f64);
        let (phase, layers) = (Phase::Mlp, self.layers);
        self.ops.push(ModelOp { phase, label, layers, op, weights: Some(format), stored });
    }

    fn head(&mut self) {
        let (spec, dtype, phase) = (self.spec, self.deployment.activations, Phase::Head);
        self.norm(phase, "head.norm", spec.hidden_size, LinearRows::Last);
        let head = spec.head(self.deployment.ranks());
        self.unquantised(phase, head, LinearRows::Last, !spec.tie_word_embeddings);
        self.plain(phase, "head.argmax", Op::Argmax { vocab: head.output, dtype });
    }
}

/// The norm that follows a projection to a latent.
fn latent_norm(mla: Option<&Mla>, after: &str) -> Option<(&'static str, usize)> {
    let mla = mla?;
    match after {
        "attn.q_a" => Some(("attn.q_a_norm", mla.q_lora_rank?)),
        "attn.kv_a" => Some(("attn.kv_a_norm", mla.kv_lora_rank)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
