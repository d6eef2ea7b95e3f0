//! A backend with a defect in its cache positions, to see whether measurements notice.

use kprof::backend::{
    AttentionSpec, Backend, BackendError, CacheSpec, HostTensor, KeysValues, Marks, Site, WeightOrder,
};
use kprof::llm::{Activation, DType, LinearRows, NormKind, StepShape};

/// What a decode step gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// K and V are written one place early, over the last token's.
    WritesOneEarly,
    /// The token gets the position of the one before it.
    PositionOneEarly,
    /// The newest token, its own, is not read.
    ReadsOneTooFew,
}

/// `inner` with a fault; everything else is passed on.
pub struct Faulty<B> {
    pub inner: B,
    pub fault: Fault,
}

fn earlier(step: &StepShape) -> StepShape {
    StepShape { context: step.context - 1, ..*step }
}

impl<B> Faulty<B> {
    /// Whether this is a decode step of a backend with `fault`.
    fn applies(&self, fault: Fault, step: &StepShape) -> bool {
        self.fault == fault && step.new_tokens == 1 && step.context > 1
    }
}

type Result<T> = std::result::Result<T, BackendError>;

impl<B: Backend> Backend for Faulty<B> {
    type Tensor = B::Tensor;
    type Table = B::Table;
    type Linear = B::Linear;
    type Norm = B::Norm;
    type Rope = B::Rope;
    type Cache = B::Cache;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn dtype(&self) -> DType {
        self.inner.dtype()
    }

    fn threads(&self) -> Option<usize> {
        self.inner.threads()
    }

    fn load_table(&self, table: HostTensor) -> Result<B::Table> {
        self.inner.load_table(table)
    }

    fn load_linear(
        &self,
        weight: HostTensor,
        order: WeightOrder,
        bias: Option<HostTensor>,
    ) -> Result<B::Linear> {
        self.inner.load_linear(weight, order, bias)
    }

    fn load_norm(
        &self,
        kind: NormKind,
        gain: HostTensor,
        bias: Option<HostTensor>,
        eps: f64,
    ) -> Result<B::Norm> {
        self.inner.load_norm(kind, gain, bias, eps)
    }

    fn load_rope(&self, cos: HostTensor, sin: HostTensor) -> Result<B::Rope> {
        self.inner.load_rope(cos, sin)
    }

    fn tied_head(&self, table: &B::Table) -> Result<B::Linear> {
        self.inner.tied_head(table)
    }

    fn first_outputs(&self, linear: &B::Linear, outputs: usize) -> Result<B::Linear> {
        self.inner.first_outputs(linear, outputs)
    }

    fn new_cache(&self, spec: CacheSpec) -> Result<B::Cache> {
        self.inner.new_cache(spec)
    }

    fn cache_bytes(&self, cache: &B::Cache) -> f64 {
        self.inner.cache_bytes(cache)
    }

    fn embed(
        &mut self,
        site: Site,
        step: &StepShape,
        ids: &[u32],
        tokens: &B::Table,
        positions: Option<&B::Table>,
    ) -> Result<B::Tensor> {
        let step = if self.applies(Fault::PositionOneEarly, step) { earlier(step) } else { *step };
        self.inner.embed(site, &step, ids, tokens, positions)
    }

    fn norm(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &B::Tensor,
        norm: &B::Norm,
        rows: LinearRows,
    ) -> Result<B::Tensor> {
        self.inner.norm(site, step, x, norm, rows)
    }

    fn linear(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &B::Tensor,
        linear: &B::Linear,
        rows: LinearRows,
    ) -> Result<B::Tensor> {
        self.inner.linear(site, step, x, linear, rows)
    }

    fn gelu(&mut self, site: Site, step: &StepShape, x: &B::Tensor) -> Result<B::Tensor> {
        self.inner.gelu(site, step, x)
    }

    fn head_norm(
        &mut self,
        site: Site,
        step: &StepShape,
        x: B::Tensor,
        norm: &B::Norm,
        first_head: usize,
        heads: usize,
    ) -> Result<B::Tensor> {
        self.inner.head_norm(site, step, x, norm, first_head, heads)
    }

    fn rope(
        &mut self,
        site: Site,
        step: &StepShape,
        x: B::Tensor,
        rope: &B::Rope,
        heads: usize,
        head_dim: usize,
    ) -> Result<B::Tensor> {
        self.inner.rope(site, step, x, rope, heads, head_dim)
    }

    fn gate(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &B::Tensor,
        activation: Activation,
    ) -> Result<B::Tensor> {
        self.inner.gate(site, step, x, activation)
    }

    fn residual(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &B::Tensor,
        branch: &B::Tensor,
    ) -> Result<B::Tensor> {
        self.inner.residual(site, step, x, branch)
    }

    fn cache_append(
        &mut self,
        site: Site,
        step: &StepShape,
        qkv: &B::Tensor,
        spec: &AttentionSpec,
        cache: &mut B::Cache,
    ) -> Result<()> {
        let step = if self.applies(Fault::WritesOneEarly, step) { earlier(step) } else { *step };
        self.inner.cache_append(site, &step, qkv, spec, cache)
    }

    fn attention(
        &mut self,
        site: Site,
        step: &StepShape,
        q: &B::Tensor,
        spec: &AttentionSpec,
        keys_values: KeysValues<'_, Self>,
    ) -> Result<B::Tensor> {
        let step = if self.applies(Fault::ReadsOneTooFew, step) { earlier(step) } else { *step };
        let keys_values = match keys_values {
            KeysValues::Activations => KeysValues::Activations,
            KeysValues::Cache(cache) => KeysValues::Cache(cache),
        };
        self.inner.attention(site, &step, q, spec, keys_values)
    }

    fn argmax(&mut self, site: Site, step: &StepShape, logits: &B::Tensor, ids: &mut Vec<u32>) -> Result<()> {
        self.inner.argmax(site, step, logits, ids)
    }

    fn to_host(&mut self, x: &B::Tensor) -> Result<HostTensor> {
        self.inner.to_host(x)
    }

    fn now(&mut self) -> f64 {
        self.inner.now()
    }

    fn marks(&mut self) -> &mut Marks {
        self.inner.marks()
    }
}
