//! Rotary positions: `rope_theta`, `rope_scaling`, `partial_rotary_factor`, and the newer `rope_parameters`.

use super::super::{Rope, RopeScaling, SpecError};
use super::keys::Keys;

/// The base of the wavelengths where a file names none (every Hugging Face class of these families).
const DEFAULT_THETA: f64 = 10_000.0;

/// Reads the rotary positions of heads of which `rotated` elements carry positions by default.
pub(super) fn read(keys: &Keys<'_>, rotated: usize) -> Result<Rope, SpecError> {
    // Transformers 5 keeps theta, scaling and the factor together in rope_parameters.
    let newer = keys.inside("rope_parameters")?;
    let of_newer = |key: &str| newer.as_ref().map_or(Ok(None), |inside| inside.number(key));
    let theta = match keys.number("rope_theta")? {
        Some(theta) => theta,
        None => of_newer("rope_theta")?.unwrap_or(DEFAULT_THETA),
    };
    if theta <= 0.0 {
        return Err(keys.wrong("rope_theta", "a number above 0"));
    }
    let factor = match keys.number("partial_rotary_factor")? {
        Some(factor) => factor,
        None => of_newer("partial_rotary_factor")?.unwrap_or(1.0),
    };
    if !(0.0..=1.0).contains(&factor) {
        return Err(keys.wrong("partial_rotary_factor", "a part of 1"));
    }
    let scaling = match keys.inside("rope_scaling")?.or(newer) {
        Some(inside) => scaling(&inside)?,
        None => RopeScaling::Default,
    };
    // As Hugging Face computes it: int(factor * head_dim).
    Ok(Rope { theta, rotary_dim: (factor * rotated as f64) as usize, scaling })
}

fn scaling(keys: &Keys<'_>) -> Result<RopeScaling, SpecError> {
    // Older files call it `type`.
    let name = match keys.text("rope_type")? {
        Some(name) => Some(name),
        None => keys.text("type")?,
    };
    let number = |key: &str| -> Result<f64, SpecError> {
        let missing = SpecError::MissingKey { key: format!("rope_scaling.{key}"), family: keys.family };
        keys.number(key)?.filter(|n| *n > 0.0).ok_or(missing)
    };
    match name {
        None | Some("default") => Ok(RopeScaling::Default),
        Some("linear") => Ok(RopeScaling::Linear { factor: number("factor")? }),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: number("factor")?,
            low_freq_factor: number("low_freq_factor")?,
            high_freq_factor: number("high_freq_factor")?,
            original_max_position_embeddings: keys.count(&["original_max_position_embeddings"])?,
        }),
        Some(other) => Ok(RopeScaling::Other { name: other.to_string() }),
    }
}
