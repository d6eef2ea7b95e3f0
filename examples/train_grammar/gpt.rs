//! A GPT-2 with gradients: the same arithmetic as kprof's pass, written in candle's differentiable ops.

use crate::ops::{CausalSoftmax, Gelu, Normalise};
use candle_core::{D, DType, Device, Result, Tensor, Var};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// Every byte is a token.
const VOCAB: usize = 256;
/// Tokens of a window.
pub(crate) const POSITIONS: usize = 256;
const EPS: f32 = 1e-5;
/// Of matrices at first, times the root of the width: twice GPT-2's 0.02 x sqrt(768). Projections back into the residual
/// stream are divided by the root of their number, as there.
const SPREAD: f64 = 0.6;

/// The model's dimensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
}

impl Shape {
    pub(crate) fn new(layers: usize, hidden: usize, heads: usize) -> Self {
        Self { layers, hidden, heads }
    }

    /// The names and dimensions of all tensors, as Hugging Face's `GPT2LMHeadModel` has them.
    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (h, inner) = (self.hidden, 4 * self.hidden);
        let of_layer = |layer: usize| {
            [
                ("ln_1.weight", vec![h]),
                ("ln_1.bias", vec![h]),
                ("attn.c_attn.weight", vec![h, 3 * h]),
                ("attn.c_attn.bias", vec![3 * h]),
                ("attn.c_proj.weight", vec![h, h]),
                ("attn.c_proj.bias", vec![h]),
                ("ln_2.weight", vec![h]),
                ("ln_2.bias", vec![h]),
                ("mlp.c_fc.weight", vec![h, inner]),
                ("mlp.c_fc.bias", vec![inner]),
                ("mlp.c_proj.weight", vec![inner, h]),
                ("mlp.c_proj.bias", vec![h]),
            ]
            .map(|(part, shape)| (format!("h.{layer}.{part}"), shape))
        };
        let mut all =
            vec![("wte.weight".to_string(), vec![VOCAB, h]), ("wpe.weight".to_string(), vec![POSITIONS, h])];
        all.extend((0..self.layers).flat_map(of_layer));
        all.extend([("ln_f.weight".to_string(), vec![h]), ("ln_f.bias".to_string(), vec![h])]);
        all
    }
}

/// The model.
pub(crate) struct Gpt {
    pub(crate) shape: Shape,
    parameters: Vec<(String, Var)>,
}

impl Gpt {
    /// Weights as GPT-2 begins with.
    pub(crate) fn random(shape: Shape, seed: u64) -> Result<Self> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let projections = (2.0 * shape.layers as f64).sqrt();
        let parameters = shape.tensors().into_iter().map(|(name, dims)| {
            let count = dims.iter().product();
            let data: Vec<f32> = match (dims.len(), name.ends_with("weight")) {
                (1, is_gain) => vec![if is_gain { 1.0 } else { 0.0 }; count],
                _ => {
                    let all = SPREAD / (shape.hidden as f64).sqrt();
                    let stddev = if name.contains("c_proj") { all / projections } else { all };
                    (0..count).map(|_| (stddev * normal(&mut rng)) as f32).collect()
                }
            };
            Ok((name, Var::from_vec(data, dims, &Device::Cpu)?))
        });
        Ok(Self { shape, parameters: parameters.collect::<Result<_>>()? })
    }

    /// All parameters, by name, in a fixed order.
    pub(crate) fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }

    fn tensor(&self, name: &str) -> &Tensor {
        let found = self.parameters.iter().find(|(n, _)| n == name);
        found.expect("names are those of Shape::tensors").1.as_tensor()
    }

    /// The mean cross-entropy of `targets`, in nats per byte; both are `[windows, tokens]`.
    pub(crate) fn loss(&self, inputs: &Tensor, targets: &Tensor, share: usize) -> Result<Tensor> {
        let log_p = self.log_probabilities(inputs, share)?;
        log_p.gather(&targets.flatten_all()?.unsqueeze(1)?, 1)?.mean_all()?.neg()
    }

    /// log p of every byte after every token: `[windows x tokens, 256]`. Layers share the K and V of their group's first.
    pub(crate) fn log_probabilities(&self, inputs: &Tensor, share: usize) -> Result<Tensor> {
        let (windows, tokens) = inputs.dims2()?;
        let wte = self.tensor("wte.weight");
        let rows =
            wte.index_select(&inputs.flatten_all()?, 0)?.reshape((windows, tokens, self.shape.hidden))?;
        let mut x = rows.broadcast_add(&self.tensor("wpe.weight").narrow(0, 0, tokens)?)?;
        let mut keys_values = None;
        for layer in 0..self.shape.layers {
            if layer % share == 0 {
                keys_values = None;
            }
            x = (&x + self.attention(&x, layer, &mut keys_values)?)?;
            x = (&x + self.mlp(&x, layer)?)?;
        }
        let x = self.norm(&x, "ln_f")?.reshape((windows * tokens, self.shape.hidden))?;
        let logits = x.matmul(&wte.t()?)?;
        let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
        let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
        shifted.broadcast_sub(&log_sum)
    }

    fn attention(
        &self,
        x: &Tensor,
        layer: usize,
        keys_values: &mut Option<(Tensor, Tensor)>,
    ) -> Result<Tensor> {
        let Shape { hidden, heads, .. } = self.shape;
        let (windows, tokens, _) = x.dims3()?;
        let normed = self.norm(x, &format!("h.{layer}.ln_1"))?;
        let qkv = self.linear(&normed, &format!("h.{layer}.attn.c_attn"))?;
        let split = |at: usize| {
            let part = qkv.narrow(D::Minus1, at * hidden, hidden)?;
            part.reshape((windows, tokens, heads, hidden / heads))?.transpose(1, 2)?.contiguous()
        };
        let q = split(0)?;
        let (k, v) = match keys_values {
            Some(owned) => owned.clone(),
            None => keys_values.insert((split(1)?, split(2)?)).clone(),
        };
        let scale = 1.0 / ((hidden / heads) as f32).sqrt();
        let p = q.matmul(&k.t()?.contiguous()?)?.apply_op1(CausalSoftmax { scale })?;
        let y = p.matmul(&v)?.transpose(1, 2)?.contiguous()?.reshape((windows, tokens, hidden))?;
        self.linear(&y, &format!("h.{layer}.attn.c_proj"))
    }

    fn mlp(&self, x: &Tensor, layer: usize) -> Result<Tensor> {
        let normed = self.norm(x, &format!("h.{layer}.ln_2"))?;
        let inner = self.linear(&normed, &format!("h.{layer}.mlp.c_fc"))?.apply_op1(Gelu)?;
        self.linear(&inner, &format!("h.{layer}.mlp.c_proj"))
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let (weight, bias) = (self.tensor(&format!("{name}.weight")), self.tensor(&format!("{name}.bias")));
        let (windows, tokens, input) = x.dims3()?;
        let y = x.reshape((windows * tokens, input))?.matmul(weight)?.broadcast_add(bias)?;
        y.reshape((windows, tokens, ()))
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let (gain, bias) = (self.tensor(&format!("{name}.weight")), self.tensor(&format!("{name}.bias")));
        let normed = x.contiguous()?.apply_op1(Normalise { eps: EPS })?;
        normed.broadcast_mul(gain)?.broadcast_add(bias)
    }

    /// The tensors in bf16, as they are stored.
    pub(crate) fn stored(&self) -> Result<Vec<(String, Tensor)>> {
        let stored = |(name, var): &(String, Var)| Ok((name.clone(), var.as_tensor().to_dtype(DType::BF16)?));
        self.parameters.iter().map(stored).collect()
    }
}

/// Normal of mean 0 and standard deviation 1, by Box and Muller (1958).
fn normal(rng: &mut Xoshiro256PlusPlus) -> f64 {
    let mut unit = || ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let (u, v) = (unit(), unit());
    (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
}
