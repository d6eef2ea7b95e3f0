//! An independent Llama in plain f64 loops: what the passes are checked against. It shares no code with them.
//!
//! Every head has its own copy of K and V, rotary angles are recomputed for every element, and the cache's rounding is
//! done on lists of numbers.

use kprof::backend::HostTensor;
use kprof::llm::ModelSpec;
use kprof::pass::{RandomWeights, WeightError, Weights};

/// How the reference keeps an element of K and V.
#[derive(Clone, Copy, Debug)]
pub enum Kept {
    /// As it is.
    Exact,
    /// Rounded to f16.
    F16,
    /// Rounded to bfloat16.
    Bf16,
    /// Rounded to codes up to the first number, each group of so many channels with an f16 scale.
    Codes(f64, usize),
}

/// How the reference keeps K and V.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Layers that share K and V of their group's first.
    pub share: usize,
    /// How elements are kept.
    pub kept: Kept,
    /// How many of the latest tokens a token sees.
    pub window: usize,
}

/// Everything kept exactly, by every layer, and seen.
pub const EXACT: Policy = Policy { share: 1, kept: Kept::Exact, window: usize::MAX };

fn keep(head: &[f64], kept: Kept) -> Vec<f64> {
    match kept {
        Kept::Exact => head.to_vec(),
        Kept::F16 => head.iter().map(|x| half::f16::from_f64(*x).to_f64()).collect(),
        Kept::Bf16 => head.iter().map(|x| half::bf16::from_f64(*x).to_f64()).collect(),
        Kept::Codes(largest_code, group) => head
            .chunks(group)
            .flat_map(|group| {
                let largest = group.iter().fold(0.0f64, |m, x| m.max(x.abs()));
                let scale = half::f16::from_f64(largest / largest_code).to_f64();
                group.iter().map(move |x| (x / scale).round() * scale).collect::<Vec<_>>()
            })
            .collect(),
    }
}

fn tensor(weights: &dyn Weights, name: &str, shape: &[usize]) -> Vec<f64> {
    let HostTensor { data, .. } = weights.tensor(name, shape).unwrap();
    data.into_iter().map(f64::from).collect()
}

/// `W x + b`, W being `[outputs, x.len()]`.
fn linear(weights: &dyn Weights, name: &str, outputs: usize, bias: bool, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let inputs = x[0].len();
    let w = tensor(weights, &format!("{name}.weight"), &[outputs, inputs]);
    let b = if bias { tensor(weights, &format!("{name}.bias"), &[outputs]) } else { vec![0.0; outputs] };
    x.iter()
        .map(|row| {
            (0..outputs)
                .map(|o| b[o] + (0..inputs).map(|i| w[o * inputs + i] * row[i]).sum::<f64>())
                .collect()
        })
        .collect()
}

fn rms(x: &[f64], gain: &[f64], eps: f64) -> Vec<f64> {
    let mean_square = x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64;
    x.iter().zip(gain).map(|(v, g)| v / (mean_square + eps).sqrt() * g).collect()
}

/// Element i of a head at a position, as `x cos + rotate_half(x) sin` has it.
fn rotated(head: &[f64], i: usize, position: usize, theta: f64) -> f64 {
    let half = head.len() / 2;
    let angle = position as f64 / theta.powf((i % half) as f64 / half as f64);
    let other = if i < half { -head[i + half] } else { head[i - half] };
    head[i] * angle.cos() + other * angle.sin()
}

/// Of every token, every head's channels.
type Heads = Vec<Vec<Vec<f64>>>;

/// Logits of every position of one sequence, `[ids, vocab]`.
pub fn logits(spec: &ModelSpec, weights: &dyn Weights, ids: &[u32], policy: Policy) -> Vec<Vec<f64>> {
    let (h, d, inner, n) = (spec.hidden_size, spec.head_dim, spec.intermediate_size, ids.len());
    let (heads, kv_heads) = (spec.num_attention_heads, spec.num_key_value_heads);
    let theta = spec.rope.as_ref().unwrap().theta;
    let table = tensor(weights, "embed_tokens.weight", &[spec.vocab_size, h]);
    let mut x: Vec<Vec<f64>> =
        ids.iter().map(|id| table[*id as usize * h..(*id as usize + 1) * h].to_vec()).collect();
    let norm = |name: String, x: &[Vec<f64>]| -> Vec<Vec<f64>> {
        let gain = tensor(weights, &format!("{name}.weight"), &[h]);
        x.iter().map(|row| rms(row, &gain, spec.norm_eps)).collect()
    };
    let (mut keys, mut values): (Heads, Heads) = (Vec::new(), Vec::new());
    for layer in 0..spec.num_hidden_layers {
        let name = |part: &str| format!("layers.{layer}.{part}");
        let normed = norm(name("input_layernorm"), &x);
        // [token][head][channel], normed by head where the model does, then turned by position.
        let project = |part: &str, count: usize, head_norm: Option<&str>, turn: bool| -> Heads {
            let rows =
                linear(weights, &name(&format!("self_attn.{part}")), count * d, spec.qkv_bias, &normed);
            let gain = head_norm.map(|n| tensor(weights, &name(&format!("self_attn.{n}.weight")), &[d]));
            let one = |position: usize, head: &[f64]| -> Vec<f64> {
                let head = gain.as_ref().map_or(head.to_vec(), |g| rms(head, g, spec.norm_eps));
                let turned = |i: usize| if turn { rotated(&head, i, position, theta) } else { head[i] };
                (0..d).map(turned).collect()
            };
            rows.iter().enumerate().map(|(p, row)| row.chunks(d).map(|head| one(p, head)).collect()).collect()
        };
        let normed_heads = |n: &'static str| spec.qk_norm.then_some(n);
        let q = project("q_proj", heads, normed_heads("q_norm"), true);
        if layer % policy.share == 0 {
            let kept = |rows: Heads| -> Heads {
                let of = |row: &Vec<Vec<f64>>| row.iter().map(|head| keep(head, policy.kept)).collect();
                rows.iter().map(of).collect()
            };
            keys = kept(project("k_proj", kv_heads, normed_heads("k_norm"), true));
            values = kept(project("v_proj", kv_heads, None, false));
        }
        let window = policy.window.min(spec.window(layer).unwrap_or(usize::MAX));
        let attended: Vec<Vec<f64>> = (0..n)
            .map(|t| {
                let mut row = Vec::new();
                for (head, q) in q[t].iter().enumerate() {
                    let kv = head / (heads / kv_heads);
                    let first = (t + 1).saturating_sub(window);
                    let scores: Vec<f64> = (first..=t)
                        .map(|s| {
                            let dot: f64 = (0..d).map(|i| q[i] * keys[s][kv][i]).sum();
                            (dot / (d as f64).sqrt()).exp()
                        })
                        .collect();
                    let sum: f64 = scores.iter().sum();
                    let mixed = |i: usize| {
                        (first..=t).map(|s| scores[s - first] / sum * values[s][kv][i]).sum::<f64>()
                    };
                    row.extend((0..d).map(mixed));
                }
                row
            })
            .collect();
        let branch = linear(weights, &name("self_attn.o_proj"), h, spec.attention_out_bias, &attended);
        add(&mut x, &branch);
        let normed = norm(name("post_attention_layernorm"), &x);
        let gate = linear(weights, &name("mlp.gate_proj"), inner, spec.mlp_bias, &normed);
        let up = linear(weights, &name("mlp.up_proj"), inner, spec.mlp_bias, &normed);
        let silu = |v: f64| v / (1.0 + (-v).exp());
        let gated: Vec<Vec<f64>> =
            gate.iter().zip(&up).map(|(g, u)| g.iter().zip(u).map(|(g, u)| silu(*g) * u).collect()).collect();
        add(&mut x, &linear(weights, &name("mlp.down_proj"), h, spec.mlp_bias, &gated));
    }
    let x = norm("norm".to_string(), &x);
    let head = if spec.tie_word_embeddings { "embed_tokens" } else { "lm_head" };
    linear(weights, head, spec.vocab_size, false, &x)
}

fn add(x: &mut [Vec<f64>], branch: &[Vec<f64>]) {
    for (row, branch) in x.iter_mut().zip(branch) {
        row.iter_mut().zip(branch).for_each(|(a, b)| *a += b);
    }
}

/// Random weights scaled up, so that a wrong mask, head, angle, bias or gain shows.
pub struct LoudWeights(pub RandomWeights);

impl Weights for LoudWeights {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor, WeightError> {
        let mut tensor = self.0.tensor(name, shape)?;
        let louder = |x: &f32| match shape.len() {
            2 => 8.0 * x,
            _ if name.ends_with("bias") => 20.0 * x,
            _ => 1.0 + 10.0 * (x - 1.0),
        };
        tensor.data = tensor.data.iter().map(louder).collect();
        Ok(tensor)
    }
}
