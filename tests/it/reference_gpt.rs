//! An independent GPT-2 in plain f64 loops: what the passes are checked against. It shares no code with them.

use kprof::backend::HostTensor;
use kprof::llm::ModelSpec;
use kprof::pass::{RandomWeights, Weights};

/// How the reference keeps K and V.
#[derive(Clone, Copy)]
pub struct Policy {
    /// Layers that share K and V of their group's first.
    pub share: usize,
    /// Whether K and V are rounded to 8 bits with one f16 scale per token and head.
    pub int8: bool,
}

struct Matrix {
    rows: usize,
    columns: usize,
    data: Vec<f64>,
}

fn tensor(weights: &dyn Weights, name: &str, shape: &[usize]) -> Vec<f64> {
    let HostTensor { data, .. } = weights.tensor(name, shape).unwrap();
    data.into_iter().map(f64::from).collect()
}

fn matrix(weights: &dyn Weights, name: &str, rows: usize, columns: usize) -> Matrix {
    Matrix { rows, columns, data: tensor(weights, name, &[rows, columns]) }
}

fn affine(x: &[f64], w: &Matrix, b: &[f64]) -> Vec<f64> {
    (0..w.columns)
        .map(|j| b[j] + (0..w.rows).map(|i| x[i] * w.data[i * w.columns + j]).sum::<f64>())
        .collect()
}

fn layer_norm(x: &[f64], gain: &[f64], bias: &[f64], eps: f64) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    x.iter().enumerate().map(|(i, v)| (v - mean) / (variance + eps).sqrt() * gain[i] + bias[i]).collect()
}

fn gelu_new(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
}

fn through_int8(head: &[f64]) -> Vec<f64> {
    let largest = head.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let scale = f64::from(half::f16::from_f64(largest / 127.0));
    if scale == 0.0 {
        return vec![0.0; head.len()];
    }
    head.iter().map(|x| (x / scale).round().clamp(-127.0, 127.0) * scale).collect()
}

/// Logits of every position of one sequence, `[ids, vocab]`.
pub fn logits(spec: &ModelSpec, weights: &dyn Weights, ids: &[u32], policy: Policy) -> Vec<Vec<f64>> {
    let (h, inner, n) = (spec.hidden_size, spec.intermediate_size, ids.len());
    let wte = matrix(weights, "wte.weight", spec.vocab_size, h);
    let wpe = matrix(weights, "wpe.weight", spec.max_position_embeddings, h);
    let mut x: Vec<Vec<f64>> = (0..n)
        .map(|t| (0..h).map(|i| wte.data[ids[t] as usize * h + i] + wpe.data[t * h + i]).collect())
        .collect();
    let mut keys: Vec<Vec<f64>> = Vec::new();
    let mut values: Vec<Vec<f64>> = Vec::new();
    for layer in 0..spec.num_hidden_layers {
        let name = |part: &str| format!("h.{layer}.{part}");
        let vector = |part: &str, len: usize| tensor(weights, &name(part), &[len]);
        let (g1, b1) = (vector("ln_1.weight", h), vector("ln_1.bias", h));
        let (g2, b2) = (vector("ln_2.weight", h), vector("ln_2.bias", h));
        let w_qkv = matrix(weights, &name("attn.c_attn.weight"), h, 3 * h);
        let b_qkv = vector("attn.c_attn.bias", 3 * h);
        let w_proj = matrix(weights, &name("attn.c_proj.weight"), h, h);
        let b_proj = vector("attn.c_proj.bias", h);
        let w_up = matrix(weights, &name("mlp.c_fc.weight"), h, inner);
        let b_up = vector("mlp.c_fc.bias", inner);
        let w_down = matrix(weights, &name("mlp.c_proj.weight"), inner, h);
        let b_down = vector("mlp.c_proj.bias", h);

        let qkv: Vec<Vec<f64>> =
            x.iter().map(|row| affine(&layer_norm(row, &g1, &b1, spec.norm_eps), &w_qkv, &b_qkv)).collect();
        if layer % policy.share == 0 {
            let stored = |row: &[f64]| -> Vec<f64> {
                if policy.int8 {
                    row.chunks(spec.head_dim).flat_map(through_int8).collect()
                } else {
                    row.to_vec()
                }
            };
            keys = qkv.iter().map(|row| stored(&row[h..2 * h])).collect();
            values = qkv.iter().map(|row| stored(&row[2 * h..])).collect();
        }
        for t in 0..n {
            let mut y = vec![0.0; h];
            for head in 0..spec.num_attention_heads {
                let at = head * spec.head_dim..(head + 1) * spec.head_dim;
                let q = &qkv[t][at.clone()];
                let scores: Vec<f64> = (0..=t)
                    .map(|s| {
                        let dot: f64 = q.iter().zip(&keys[s][at.clone()]).map(|(a, b)| a * b).sum();
                        (dot / (spec.head_dim as f64).sqrt()).exp()
                    })
                    .collect();
                let sum: f64 = scores.iter().sum();
                for (s, score) in scores.iter().enumerate() {
                    for (i, v) in at.clone().zip(&values[s][at.clone()]) {
                        y[i] += score / sum * v;
                    }
                }
            }
            let branch = affine(&y, &w_proj, &b_proj);
            x[t].iter_mut().zip(branch).for_each(|(a, b)| *a += b);
        }
        for row in &mut x {
            let inner: Vec<f64> = affine(&layer_norm(row, &g2, &b2, spec.norm_eps), &w_up, &b_up)
                .into_iter()
                .map(gelu_new)
                .collect();
            let branch = affine(&inner, &w_down, &b_down);
            row.iter_mut().zip(branch).for_each(|(a, b)| *a += b);
        }
    }
    let (gain, bias) = (tensor(weights, "ln_f.weight", &[h]), tensor(weights, "ln_f.bias", &[h]));
    x.iter()
        .map(|row| {
            let row = layer_norm(row, &gain, &bias, spec.norm_eps);
            wte.data.chunks(h).map(|token| token.iter().zip(&row).map(|(a, b)| a * b).sum()).collect()
        })
        .collect()
}

/// Random weights scaled up, so that attention is far from uniform and a wrong mask or head shows.
pub struct LoudWeights(pub RandomWeights);

impl Weights for LoudWeights {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor, kprof::pass::WeightError> {
        let mut tensor = self.0.tensor(name, shape)?;
        if shape.len() == 2 {
            tensor.data.iter_mut().for_each(|x| *x *= 8.0);
        }
        Ok(tensor)
    }
}
