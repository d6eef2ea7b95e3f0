//! How much memory a run will take, so that what does not fit is said before anything is allocated.

use crate::llm::{DType, Deployment, ModelSpec, Version, WeightFormat};
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
    /// Whether the candle implementation computes, which keeps all scores of attention in memory and widens 16-bit
    /// weights to f32 for every product.
    pub is_reference: bool,
    /// Whether a GPU computes, which keeps activations in the run's type and needs no packed copy of a tied head.
    pub on_gpu: bool,
    /// How the weights of linears are stored, where it is not the run's type.
    pub weights: Option<WeightFormat>,
}

/// The memory that a run takes, by what takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryNeed {
    /// All parameters as they are stored; a tied head once more where it is packed for products.
    pub weights: Bytes,
    /// What loading takes beside them: the largest linear or table in f32, which it is made in or stored from, and where
    /// weights have 16 bits half of it again, for the part that is being joined to it. Measured on 4 layers of
    /// llama-2-7b in bf16: 2.69 GB at most, where this and the weights are 2.93 GB.
    pub loading: Bytes,
    /// The caches of all versions, which stand side by side, as allocated.
    pub caches: Bytes,
    /// An estimate of the largest pass's activations: per row four times the residual stream and three times the widest
    /// linear's outputs in f32 (on a GPU in the run's type) and the logits twice; of the candle implementation also three copies of all scores, and
    /// the largest linear in f32 where weights have 16 bits.
    pub activations: Bytes,
}

impl MemoryNeed {
    /// What a run of `versions` of `model` takes.
    pub fn of(model: &ModelSpec, dtype: DType, versions: &[Version], shape: &MemoryShape) -> Self {
        let f32_bytes = DType::F32.bytes();
        let caches = versions.iter().map(|v| v.held_bytes(model, dtype, shape.capacity, shape.batch));
        let recomputes = versions.iter().any(|v| !v.use_cache);
        let new_tokens = if recomputes { shape.capacity } else { shape.new_tokens };
        let element_bytes = if shape.on_gpu { dtype.bytes() } else { f32_bytes };
        let rows = shape.batch as f64 * new_tokens as f64;
        let per_row = (4 * model.hidden_size + 3 * widest_outputs(model)) as f64;
        let logit_rows = if shape.all_logits { rows } else { shape.batch as f64 };
        let logits = 2.0 * logit_rows * model.vocab_size as f64;
        let scores = 3.0 * rows * model.num_attention_heads as f64 * shape.capacity as f64;
        let is_wide = dtype == DType::F32;
        let widened = if is_wide { 0.0 } else { largest_tensor(model) };
        let of_reference = if shape.is_reference { scores + widened } else { 0.0 };
        let copies = if is_wide { 1.0 } else { 1.5 };
        let stored = shape.weights.unwrap_or(WeightFormat::plain(dtype));
        let packs_table = model.tie_word_embeddings && !shape.is_reference && !shape.on_gpu;
        let packed = if packs_table { stored.bytes(model.hidden_size, model.vocab_size) } else { 0.0 };
        let packed_head = Bytes(packed);
        let deployment = Deployment { activations: dtype, ..Deployment::new(stored) };
        Self {
            weights: model.weight_bytes(&deployment) + packed_head,
            loading: Bytes(copies * largest_tensor(model) * f32_bytes),
            caches: caches.sum(),
            activations: Bytes((rows * per_row + logits + of_reference) * element_bytes),
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

    const SHAPE: MemoryShape = MemoryShape {
        batch: 2,
        new_tokens: 10,
        capacity: 30,
        all_logits: false,
        is_reference: true,
        on_gpu: false,
        weights: None,
    };

    #[test]
    fn the_need_counts_weights_caches_of_all_versions_and_the_largest_pass() {
        let model = preset("tiny-llama").unwrap();
        let versions = builtin_versions();
        let of = |which: &[Version], shape| MemoryNeed::of(&model, DType::Bf16, which, shape);
        let need = of(&versions[1..2], &SHAPE);
        assert_eq!(need.weights, Bytes(2.0 * model.parameters() as f64));
        // K and V of 4 layers, 2 heads of 16, 2 B, 30 tokens, 2 sequences.
        assert_eq!(need.caches, Bytes(2.0 * 4.0 * 32.0 * 2.0 * 60.0));
        // 20 rows of 4 x 64 + 3 x 352; logits 2 x 2 x 256; scores 3 x 20 x 4 x 30; a linear of 64 x 352; in f32.
        let linear = 64.0 * 352.0;
        assert_eq!(need.activations, Bytes(4.0 * (20.0 * 1312.0 + 1024.0 + 7200.0 + linear)));
        assert_eq!(need.loading, Bytes(4.0 * 1.5 * linear));
        let wide = MemoryNeed::of(&model, DType::F32, &versions[1..2], &SHAPE);
        assert_eq!(wide.activations, Bytes(4.0 * (20.0 * 1312.0 + 1024.0 + 7200.0)));
        assert_eq!(wide.loading, Bytes(4.0 * linear));
        // v0 computes all 30 tokens at once, and v1 and v3 keep caches side by side.
        assert_eq!(
            of(&versions[..1], &SHAPE).activations,
            Bytes(4.0 * (60.0 * 1312.0 + 1024.0 + 21600.0 + linear))
        );
        assert_eq!(of(&[versions[1].clone(), versions[3].clone()], &SHAPE).caches.0, 1.5 * need.caches.0);
        let eight_bits = MemoryShape { weights: Some("int8:32".parse().unwrap()), ..SHAPE };
        let smaller = of(&versions[1..2], &eight_bits);
        // Q, K, V and output 64 x 192 and three linears of 64 x 176 in each of 4 layers; the head keeps its type, and 176
        // inputs are 5 blocks of 32 and a half, which has a scale of its own.
        let in_blocks = 4.0 * (64.0 * (192.0 + 3.0 * 176.0) * (2.0 - (1.0 + 2.0 / 32.0)) - 64.0);
        assert_eq!(need.weights.0 - smaller.weights.0, in_blocks);
        let tied = preset("gpt2").unwrap();
        let shape = MemoryShape { is_reference: false, ..SHAPE };
        let weights = |shape| MemoryNeed::of(&tied, DType::F32, &versions[1..2], shape).weights.0;
        assert_eq!(weights(&shape) - weights(&SHAPE), 4.0 * 768.0 * 50257.0);
        // On a GPU a tied head is the table, and activations have two bytes.
        let on_gpu = MemoryShape { on_gpu: true, ..shape };
        assert_eq!(weights(&on_gpu), weights(&SHAPE));
        let halved = of(&versions[1..2], &on_gpu).activations.0;
        assert_eq!(2.0 * halved, of(&versions[1..2], &shape).activations.0);
        let plain = MemoryShape { is_reference: false, all_logits: true, ..SHAPE };
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
            error.starts_with("llama-2-70b in bf16 needs 141 GB of memory and 16.0 GB are available"),
            "{error}"
        );
        assert!(error.contains("weights 138 GB"), "{error}");
        // A layer has 855,654,400 parameters, table and head 524,288,000: 1.711 GB each and 1.049 GB; 2.82 GB of
        // loading: (16 - 3.87) / 1.711 = 7.1.
        assert!(error.ends_with("--layers 7 of its 80 would fit"), "{error}");
        assert!(check(1.0).unwrap_err().to_string().contains("not even one of its layers"));
    }
}
