//! What kernels should give, in f64 and in the plainest way.

use crate::llm::{Activation, NormKind};

/// GELU by tanh is Hendrycks and Gimpel's; by the error function, through its series.
pub(super) fn activate(x: f64, kind: Option<Activation>) -> f64 {
    match kind {
        None => x,
        Some(Activation::GeluTanh) => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
        }
        Some(Activation::Gelu) => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Some(Activation::Silu) => x / (1.0 + (-x).exp()),
        Some(Activation::Relu) => x.max(0.0),
    }
}

/// erf x = 2 / sqrt(pi) x sum of (-1)^n x^(2n + 1) / (n! (2n + 1)): for the small x of checks (Abramowitz and Stegun 7.1.5).
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..100 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

pub(super) fn norm(row: &[f64], kind: NormKind, gain: &[f32], bias: Option<&[f32]>, eps: f32) -> Vec<f64> {
    let n = row.len() as f64;
    let mean = if kind == NormKind::Layer { row.iter().sum::<f64>() / n } else { 0.0 };
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + f64::from(eps)).sqrt();
    let of = |(i, x): (usize, &f64)| {
        (x - mean) * scale * f64::from(gain[i]) + bias.map_or(0.0, |b| f64::from(b[i]))
    };
    row.iter().enumerate().map(of).collect()
}

/// x W^T + b of rows x [inputs], W [outputs, inputs].
pub(super) fn linear(x: &[f64], inputs: usize, weight: &[f32], bias: Option<&[f32]>) -> Vec<f64> {
    let rows = x.chunks(inputs).map(|row| {
        let outputs = weight.chunks(inputs).enumerate().map(move |(o, w)| {
            let dot: f64 = row.iter().zip(w).map(|(x, w)| x * f64::from(*w)).sum();
            dot + bias.map_or(0.0, |b| f64::from(b[o]))
        });
        outputs.collect::<Vec<f64>>()
    });
    rows.flatten().collect()
}

/// softmax(q k^T / sqrt(D)) v of one query over the keys it sees, K and V as `[key][channel]`.
pub(super) fn attend(q: &[f64], keys: &[Vec<f64>], values: &[Vec<f64>]) -> Vec<f64> {
    let scale = 1.0 / (q.len() as f64).sqrt();
    let dot = |k: &Vec<f64>| q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() * scale;
    let scores: Vec<f64> = keys.iter().map(dot).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let channel = |c: usize| weights.iter().zip(values).map(|(w, v)| w * v[c]).sum::<f64>() / sum;
    (0..q.len()).map(channel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_is_that_of_tables() {
        // Abramowitz and Stegun, table 7.1.
        for (x, y) in [(0.0, 0.0), (0.5, 0.520_499_877_8), (1.0, 0.842_700_792_9), (2.0, 0.995_322_265_0)] {
            assert!((erf(x) - y).abs() < 1e-9 && (erf(-x) + y).abs() < 1e-9, "{x}: {}", erf(x));
        }
    }

    #[test]
    fn one_key_is_copied_and_two_equal_keys_are_averaged() {
        let (q, k) = (vec![1.0, 2.0], vec![0.5, 0.5]);
        assert_eq!(attend(&q, std::slice::from_ref(&k), &[vec![3.0, 4.0]]), [3.0, 4.0]);
        assert_eq!(attend(&q, &[k.clone(), k], &[vec![3.0, 4.0], vec![5.0, 0.0]]), [4.0, 2.0]);
    }
}
