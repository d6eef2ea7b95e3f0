//! How much memory a run will take, so that what does not fit is said before anything is allocated.

use crate::llm::{DType, ModelSpec, Version};
use crate::units::Bytes;

/// The token dimensions that a run's memory follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShape {
    /// Sequences side by side.
    pub batch: usize,
    /// Tokens per sequence in the largest pass: the prompt, or without a cache all.
    pub new_tokens: usize,
    /// Tokens per sequence that caches are made for.
    pub capacity: usize,
    /// Whether logits of every position are asked for, and not of the last alone.
    pub all_logits: bool,
    /// Whether attention keeps all scores in memory, as the candle implementation does.
    pub keeps_scores: bool,
}

/// The memory that a run takes, by what takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryNeed {
    /// Parameters x element bytes.
    pub weights: Bytes,
    /// What loading takes beside them: the largest linear or table twice in f32, as it is made before it is stored.
    pub loading: Bytes,
    /// The caches of all versions, which stand side by side, as allocated.
    pub caches: Bytes,
    /// An estimate of the largest pass's activations: per row four times the residual stream and three times the widest
    /// linear's outputs in f32, the logits twice in f32, and, where they are kept, three copies of all scores in f32.
    pub activations: Bytes,
}

impl MemoryNeed {
    /// What a run of `versions` of `model` takes.
    pub fn of(model: &ModelSpec, dtype: DType, versions: &[Version], shape: &MemoryShape) -> Self {
        let f32_bytes = DType::F32.bytes();
        let caches = versions.iter().map(|v| v.held_bytes(model, dtype, shape.capacity, shape.batch));
        let recomputes = versions.iter().any(|v| !v.use_cache);
        let new_tokens = if recomputes { shape.capacity } else { shape.new_tokens };
        let rows = shape.batch as f64 * new_tokens as f64;
        let per_row = (4 * model.hidden_size + 3 * widest_outputs(model)) as f64;
        let logit_rows = if shape.all_logits { rows } else { shape.batch as f64 };
        let logits = 2.0 * logit_rows * model.vocab_size as f64;
        let scores = 3.0 * rows * model.num_attention_heads as f64 * shape.capacity as f64;
        let scores = if shape.keeps_scores { scores } else { 0.0 };
        Self {
            weights: Bytes(model.parameters() as f64 * dtype.bytes()),
            loading: Bytes(2.0 * largest_tensor(model) * f32_bytes),
            caches: caches.sum(),
            activations: Bytes((rows * per_row + logits + scores) * f32_bytes),
        }
    }

    /// The most at any time: weights beside what loading them takes, or beside caches and activations.
    pub fn peak(&self) -> Bytes {
        Bytes(self.weights.0 + self.loading.0.max(self.caches.0 + self.activations.0))
    }
}

/// Outputs of the widest linear inside a block.
fn widest_outputs(model: &ModelSpec) -> usize {
    let qkv = (model.num_attention_heads + 2 * model.num_key_value_heads) * model.head_dim;
    let up = if model.gated_mlp { 2 } else { 1 } * model.intermediate_size;
    qkv.max(up)
}

/// Elements of the largest linear or table.
fn largest_tensor(model: &ModelSpec) -> f64 {
    model.hidden_size as f64 * widest_outputs(model).max(model.vocab_size) as f64
}

/// A run that memory has no room for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{model} in {dtype} needs {peak} of memory and {available} are available: weights {}, KV caches {}, activations \
     {}, and while loading {}; {remedy}",
    need.weights, need.caches, need.activations, need.loading, peak = need.peak()
)]
pub struct NoRoom {
    model: String,
    dtype: DType,
    need: MemoryNeed,
    available: Bytes,
    remedy: String,
}

/// Whether a run of `versions` of `model` fits into `available` memory.
///
/// # Errors
/// When it does not: with the numbers, and how many of the model's layers would fit.
pub fn check_memory(
    model: &ModelSpec,
    dtype: DType,
    versions: &[Version],
    shape: &MemoryShape,
    available: Bytes,
) -> Result<(), NoRoom> {
    let need = |model: &ModelSpec| MemoryNeed::of(model, dtype, versions, shape);
    if need(model).peak() <= available {
        return Ok(());
    }
    let layers = model.num_hidden_layers;
    let fits = |n: &usize| model.first_layers(*n).is_ok_and(|slice| need(&slice).peak() <= available);
    let remedy = match (1..layers).rev().find(fits) {
        Some(fitting) => format!("--layers {fitting} of its {layers} would fit"),
        None => "not even one of its layers would fit: use a smaller batch or fewer tokens".to_string(),
    };
    Err(NoRoom { model: model.name.clone(), dtype, need: need(model), available, remedy })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{builtin_versions, preset};

    const SHAPE: MemoryShape =
        MemoryShape { batch: 2, new_tokens: 10, capacity: 30, all_logits: false, keeps_scores: true };

    #[test]
    fn the_need_counts_weights_caches_of_all_versions_and_the_largest_pass() {
        let model = preset("tiny-llama").unwrap();
        let versions = builtin_versions();
        let of = |which: &[Version], shape| MemoryNeed::of(&model, DType::Bf16, which, shape);
        let need = of(&versions[1..2], &SHAPE);
        assert_eq!(need.weights, Bytes(2.0 * model.parameters() as f64));
        // K and V of 4 layers, 2 heads of 16, 2 B, 30 tokens, 2 sequences.
        assert_eq!(need.caches, Bytes(2.0 * 4.0 * 32.0 * 2.0 * 60.0));
        // 20 rows of 4 x 64 + 3 x 352; logits 2 x 2 x 256; scores 3 x 20 x 4 x 30; in f32.
        assert_eq!(need.activations, Bytes(4.0 * (20.0 * 1312.0 + 1024.0 + 7200.0)));
        assert_eq!(need.loading, Bytes(4.0 * 2.0 * 64.0 * 352.0));
        // v0 computes all 30 tokens at once, and v1 and v3 keep caches side by side.
        assert_eq!(of(&versions[..1], &SHAPE).activations, Bytes(4.0 * (60.0 * 1312.0 + 1024.0 + 21600.0)));
        assert_eq!(of(&[versions[1].clone(), versions[3].clone()], &SHAPE).caches.0, 1.5 * need.caches.0);
        let plain = MemoryShape { keeps_scores: false, all_logits: true, ..SHAPE };
        assert_eq!(of(&versions[1..2], &plain).activations, Bytes(4.0 * (20.0 * 1312.0 + 10240.0)));
    }

    #[test]
    fn what_does_not_fit_is_said_with_the_numbers_and_the_layers_that_would() {
        let model = preset("llama-2-70b").unwrap();
        let versions = &builtin_versions()[1..2];
        let check = |gb: f64| check_memory(&model, DType::Bf16, versions, &SHAPE, Bytes(gb * 1e9));
        assert_eq!(check(150.0), Ok(()));
        let error = check(16.0).unwrap_err().to_string();
        assert!(
            error.starts_with("llama-2-70b in bf16 needs 142 GB of memory and 16.0 GB are available"),
            "{error}"
        );
        assert!(error.contains("weights 138 GB"), "{error}");
        // A layer has 855,654,400 parameters, table and head 524,288,000: 1.711 GB each and 1.049 GB; 3.76 GB of
        // loading: (16 - 4.81) / 1.711 = 6.5.
        assert!(error.ends_with("--layers 6 of its 80 would fit"), "{error}");
        assert!(check(1.0).unwrap_err().to_string().contains("not even one of its layers"));
    }
}
