//! One line of results, with the names that the benchmark gives its fields.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A line. Only what the kind of its benchmark needs must be there: the file has changed over the benchmark's life.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Line {
    pub(super) benchmark_name: Option<String>,
    pub(super) implementation_name: Option<String>,
    pub(super) gpu_name: Option<String>,
    pub(super) gpu_total_vram: Option<f64>,
    pub(super) python_version: Option<String>,
    pub(super) pytorch_version: Option<String>,
    pub(super) cuda_version: Option<String>,
    pub(super) dtype: Option<String>,
    #[serde(default)]
    pub(super) model_config: Map<String, Value>,
    pub(super) pretrained: Option<String>,
    pub(super) prompt_length: Option<usize>,
    pub(super) batch_size: Option<usize>,
    pub(super) seed: Option<u64>,
    pub(super) version: Option<String>,
    pub(super) version_description: Option<String>,
    pub(super) use_cache: Option<bool>,
    pub(super) kv_cache_quant: Option<bool>,
    pub(super) cross_layer_sharing: Option<bool>,
    #[serde(rename = "T")]
    pub(super) t: Option<usize>,
    #[serde(rename = "T_star")]
    pub(super) t_star: Option<usize>,
    pub(super) time_total_ms_median: Option<f64>,
    pub(super) time_total_ms_mean: Option<f64>,
    pub(super) time_total_ms_std: Option<f64>,
    pub(super) n_samples: Option<usize>,
    pub(super) peak_memory_bytes: Option<f64>,
    pub(super) peak_activation_bytes: Option<f64>,
    pub(super) baseline_memory_bytes: Option<f64>,
    #[serde(default)]
    pub(super) time_phase_ms: BTreeMap<String, f64>,
    pub(super) dataset: Option<String>,
    pub(super) eval_mode: Option<String>,
    pub(super) num_tokens_evaluated: Option<usize>,
    pub(super) perplexity: Option<f64>,
    pub(super) loss: Option<f64>,
}

impl Line {
    /// Reads a line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|e| format!("it is not JSON as the benchmark writes it: {e}"))
    }

    /// The version's name; results from before there were versions have that of their implementation.
    pub(super) fn version(&self) -> Result<String, String> {
        let name = self.version.as_ref().or(self.implementation_name.as_ref());
        name.cloned().ok_or_else(|| "it has neither a version nor an implementation_name".to_string())
    }
}
