//! Model shapes that need no download: the rows of `presets.toml`, each with the keys of a config.json.

use super::config::read_config;
use super::{ModelSpec, SpecError, nearest_first};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const PRESETS: &str = include_str!("presets.toml");

fn presets() -> BTreeMap<String, Map<String, Value>> {
    toml::from_str(PRESETS).expect("the built-in presets.toml is valid: a test reads it")
}

/// The names of all presets.
pub fn preset_names() -> Vec<String> {
    presets().into_keys().collect()
}

/// The shape of a preset.
///
/// # Errors
/// When there is none of that name: the message lists the known ones, nearest first.
pub fn preset(name: &str) -> Result<ModelSpec, SpecError> {
    let mut all = presets();
    let Some(row) = all.remove(name) else {
        let known = nearest_first(name, all.keys().map(String::as_str)).join(", ");
        return Err(SpecError::UnknownPreset { name: name.to_string(), known });
    };
    read_config(name, &Value::Object(row))
}
