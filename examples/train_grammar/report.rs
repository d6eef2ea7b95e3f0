//! What is written beside the weights: settings, the loss curve, and what was reached beside what is possible.

use crate::Args;
use crate::data::{HELD_OUT_STORIES, held_out};
use crate::gpt::{Gpt, POSITIONS};
use kprof::pass::{STORY_BYTES, story_bits};
use kprof::profile::write_atomically;
use serde::Serialize;
use serde_json::json;
use std::path::Path;

/// A point of the loss curve, in bits per byte.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) step: usize,
    /// Of this step's batch.
    #[serde(rename = "training")]
    pub(crate) bits_per_byte: f64,
    /// Of the held-out text, every layer with K and V of its own.
    #[serde(rename = "held_out")]
    pub(crate) plain: f64,
    /// The same with shared K and V.
    #[serde(rename = "held_out_shared", skip_serializing_if = "Option::is_none")]
    pub(crate) shared: Option<f64>,
}

/// The report in the making.
pub(crate) struct Report {
    settings: serde_json::Value,
    parameters: usize,
    best: f64,
    curve: Vec<Point>,
}

impl Report {
    pub(crate) fn new(args: &Args, model: &Gpt) -> Self {
        let parameters = model.parameters().iter().map(|(_, var)| var.elem_count()).sum();
        let best = held_out().bits / (HELD_OUT_STORIES * STORY_BYTES) as f64;
        let entropy = story_bits() / STORY_BYTES as f64;
        println!(
            "{parameters} parameters; entropy {entropy:.4} bits per byte, of the held-out text {best:.4}"
        );
        let settings = serde_json::to_value(args).unwrap_or_default();
        Self { settings, parameters, best, curve: Vec::new() }
    }

    pub(crate) fn add(&mut self, point: Point, elapsed_s: f64) {
        let shared = point.shared.map(|bits| format!(", shared {bits:.4}")).unwrap_or_default();
        println!(
            "step {:5}  {elapsed_s:6.0} s  training {:.4}  held out {:.4}{shared}  (best {:.4})",
            point.step, point.bits_per_byte, point.plain, self.best
        );
        self.curve.push(point);
    }

    pub(crate) fn write(&self, folder: &Path, model: &Gpt) -> anyhow::Result<()> {
        let stored = model.stored()?;
        let weights = safetensors::serialize(stored.iter().map(|(name, t)| (name.as_str(), t)), None)?;
        write_atomically(&folder.join("model.safetensors"), &weights)?;
        let shape = model.shape;
        let config = json!({
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "n_embd": shape.hidden,
            "n_layer": shape.layers,
            "n_head": shape.heads,
            "n_inner": 4 * shape.hidden,
            "n_positions": POSITIONS,
            "vocab_size": 256,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5,
            "tie_word_embeddings": true,
            "torch_dtype": "bfloat16",
        });
        write_json(&folder.join("config.json"), &config)?;
        let perplexity = |bits: f64| bits.exp2();
        let last = self.curve.last();
        let report = json!({
            "made_by": "examples/train_grammar",
            "settings": self.settings,
            "parameters": self.parameters,
            "unit": "bits per byte",
            "entropy_of_the_grammar": story_bits() / STORY_BYTES as f64,
            "held_out_best": self.best,
            "held_out_best_perplexity": perplexity(self.best),
            "held_out_perplexity": last.map(|p| perplexity(p.plain)),
            "held_out_perplexity_shared": last.and_then(|p| p.shared).map(perplexity),
            "curve": self.curve,
        });
        write_json(&folder.join("training.json"), &report)
    }
}

fn write_json(path: &Path, value: &serde_json::Value) -> anyhow::Result<()> {
    Ok(write_atomically(path, format!("{value:#}\n").as_bytes())?)
}
