//! The angles of rotary positions.

use crate::backend::HostTensor;
use crate::llm::{Rope, RopeScaling};
use std::f64::consts::TAU;

/// The cosines and sines of positions 0 to `positions`, each `[positions, rotary_dim / 2]`.
///
/// The angle of pair i at position p is p x theta^(-2i / rotary_dim) (Su et al. 2021, eq. 15), scaled as the model
/// asks; computed in f64 and rounded once.
pub(super) fn angles(rope: &Rope, positions: usize) -> (HostTensor, HostTensor) {
    let frequencies = frequencies(rope);
    let of = |function: fn(f64) -> f64| {
        let angles = (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f64 * f));
        let data = angles.map(|angle| function(angle) as f32).collect();
        HostTensor { shape: vec![positions, frequencies.len()], data }
    };
    (of(f64::cos), of(f64::sin))
}

/// Radians per position of every pair.
fn frequencies(rope: &Rope) -> Vec<f64> {
    let pairs = rope.rotary_dim / 2;
    let plain = |i: usize| rope.theta.powf(-2.0 * i as f64 / rope.rotary_dim as f64);
    (0..pairs).map(|i| scaled(plain(i), &rope.scaling)).collect()
}

/// A frequency under the model's scaling, as Hugging Face's `modeling_rope_utils` has it.
///
/// Llama 3.1's blends by how often the trained context holds the wavelength: at most `low_freq_factor` times, the
/// frequency is divided; at least `high_freq_factor` times, it is kept.
fn scaled(frequency: f64, scaling: &RopeScaling) -> f64 {
    match scaling {
        // A pass refuses the others before it comes here.
        RopeScaling::Default | RopeScaling::Other { .. } => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => {
            let held = *original_max_position_embeddings as f64 / (TAU / frequency);
            let kept = (held - low_freq_factor) / (high_freq_factor - low_freq_factor);
            if held < *low_freq_factor {
                frequency / factor
            } else if held > *high_freq_factor {
                frequency
            } else {
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(scaling: RopeScaling) -> Rope {
        Rope { theta: 10_000.0, rotary_dim: 8, scaling }
    }

    #[test]
    fn angles_grow_with_the_position_by_the_pairs_frequency() {
        let (cos, sin) = angles(&rope(RopeScaling::Default), 3);
        assert_eq!(cos.shape, [3, 4]);
        // theta^(-2i/8) of pairs 0 to 3: 1, 0.1, 0.01, 0.001.
        for (pair, frequency) in [1.0, 0.1, 0.01, 0.001].into_iter().enumerate() {
            for position in 0..3 {
                let angle = position as f64 * frequency;
                let at = position * 4 + pair;
                assert!((f64::from(cos.data[at]) - angle.cos()).abs() < 1e-7);
                assert!((f64::from(sin.data[at]) - angle.sin()).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn linear_scaling_divides_every_frequency() {
        let scaled = frequencies(&rope(RopeScaling::Linear { factor: 4.0 }));
        let plain = frequencies(&rope(RopeScaling::Default));
        assert!(scaled.iter().zip(&plain).all(|(s, p)| (s * 4.0 - p).abs() < 1e-12));
    }

    #[test]
    fn llama_3_scaling_divides_long_wavelengths_keeps_short_ones_and_blends_between() {
        // Llama 3.1's own numbers: theta 500000, 128 channels, factor 8, 1 and 4 of 8192.
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        };
        let plain = frequencies(&Rope { theta: 5e5, rotary_dim: 128, scaling: RopeScaling::Default });
        let found = frequencies(&Rope { theta: 5e5, rotary_dim: 128, scaling });
        assert_eq!(found[0], plain[0]);
        assert_eq!(found[63], plain[63] / 8.0);
        // Pair 30: wavelength 2 pi x 500000^(60/128) = 2948.3, held 2.77855 times, so kept = 0.592849 and the
        // frequency is plain x (0.407151 / 8 + 0.592849) = 0.643743 of it.
        assert!((TAU / plain[30] - 2948.3026).abs() < 1e-3);
        assert!((found[30] / plain[30] - 0.643_743_1).abs() < 1e-6, "{}", found[30] / plain[30]);
    }
}
