//! From the value of a `--model` flag to a model's shape, where nothing of it is computed.

use crate::exit::usage;
use anyhow::Context as _;
use kprof::llm::{DType, ModelSpec, WeightFormat, preset, stored_weights};
use std::path::Path;

/// The shape of a preset, or of the model that a config.json or the folder around it describes; and how that says
/// that weights are stored, bf16 where it does not.
pub(crate) fn spec_of(name: &str) -> anyhow::Result<(ModelSpec, WeightFormat)> {
    let path = Path::new(name);
    let file = if path.is_dir() { path.join("config.json") } else { path.to_path_buf() };
    let usual = WeightFormat::plain(DType::Bf16);
    if !file.is_file() {
        let looks_like_path = path.is_dir() || name.contains(['/', '\\']) || name.ends_with(".json");
        if looks_like_path {
            anyhow::bail!("cannot read {}: there is no such file", file.display());
        }
        return Ok((preset(name).map_err(usage)?, usual));
    }
    let read = || format!("cannot read {}", file.display());
    let text = std::fs::read_to_string(&file).with_context(read)?;
    let spec = ModelSpec::from_config_json(&model_name(&file), &text).with_context(read)?;
    Ok((spec, stored_weights(&text).with_context(read)?.unwrap_or(usual)))
}

/// `Llama-3.1-8B` for both `Llama-3.1-8B/config.json` and `Llama-3.1-8B.json`.
fn model_name(file: &Path) -> String {
    let whole = file.canonicalize().unwrap_or_else(|_| file.to_path_buf());
    let stem = whole.file_stem().filter(|stem| *stem != "config");
    let name = stem.or_else(|| whole.parent().and_then(Path::file_name));
    name.map_or_else(|| "model".to_string(), |name| name.to_string_lossy().into_owned())
}
