//! The cpu backend computes what candle computes: every version, storage type, instruction set, in one pass and token
//! by token.

use crate::reference_gpt::LoudWeights;
use kprof::backend::{Backend, CandleBackend, CpuBackend, CpuOptions, Isa};
use kprof::llm::{
    DType, Family, LinearRows, ModelSpec, SlidingWindow, Version, WeightFormat, builtin_versions,
    find_version, parse_versions, preset,
};
use kprof::pass::{Model, RandomWeights, State, Weights};

/// Sizes that are no multiples of vectors, panels or tiles, and more tokens than a block of the cache has.
fn odd() -> ModelSpec {
    let mut spec = preset("tiny").unwrap();
    spec.hidden_size = 60;
    spec.num_attention_heads = 3;
    spec.num_key_value_heads = 3;
    spec.head_dim = 20;
    spec.intermediate_size = 90;
    spec.vocab_size = 211;
    spec
}

fn version(name: &str) -> Version {
    find_version(&builtin_versions(), name).unwrap().clone()
}

fn ids(count: usize, vocab: usize) -> Vec<u32> {
    (0..count).map(|i| (i * 7919 % vocab) as u32).collect()
}

fn cpu(dtype: DType, isa: Isa, threads: usize) -> CpuBackend {
    let options = CpuOptions { isa: Some(isa), threads: Some(threads), ..CpuOptions::new(dtype) };
    CpuBackend::new(options).unwrap()
}

#[test]
fn a_run_names_only_instructions_that_its_type_has_a_use_for() {
    for isa in Isa::available() {
        let named = |dtype| cpu(dtype, isa, 1).instructions().unwrap();
        assert_eq!(named(DType::Bf16), isa.name());
        let dots_of_bf16 = isa == Isa::Avx512Bf16;
        assert_eq!(named(DType::F32), if dots_of_bf16 { "avx512" } else { isa.name() });
    }
}

/// Logits of the last `rows` positions after `prefill` ids in one pass and the others one by one.
fn logits<B: Backend>(
    mut backend: B,
    spec: &ModelSpec,
    weights: &dyn Weights,
    version: &Version,
    (batch, ids, prefill): (usize, &[u32], usize),
) -> Vec<f32> {
    let model = Model::load(&backend, spec, weights, &mut |_, _| {}).unwrap();
    let length = ids.len() / batch;
    let mut state = State::new(&backend, spec, version, batch, length).unwrap();
    let part = |range: std::ops::Range<usize>| -> Vec<u32> {
        ids.chunks(length).flat_map(|sequence| sequence[range.clone()].to_vec()).collect()
    };
    let mut all = Vec::new();
    let mut from = 0;
    for to in std::iter::once(prefill).chain(prefill + 1..=length) {
        let logits = model.forward(&mut backend, &mut state, &part(from..to), LinearRows::Last).unwrap();
        let host = backend.to_host(&logits.tensor).unwrap();
        assert_eq!(host.shape, [batch, spec.vocab_size]);
        all.extend(host.data);
        from = to;
    }
    all
}

/// The root mean square of the difference, in that of the expected.
fn error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let difference: f64 =
        found.iter().zip(expected).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let size: f64 = expected.iter().map(|x| square(f64::from(*x))).sum();
    (difference / size).sqrt()
}

#[test]
fn the_cpu_backend_gives_candles_logits_under_every_version_and_instruction_set() {
    let spec = odd();
    let weights = LoudWeights(RandomWeights::new(3));
    let ids = ids(45, spec.vocab_size);
    for name in ["v0", "v1", "v2", "v3", "v4"] {
        for prefill in [45, 37, 1] {
            let run = (1, ids.as_slice(), prefill);
            let expected = logits(CandleBackend::new(DType::F32), &spec, &weights, &version(name), run);
            for isa in Isa::available() {
                let found = logits(cpu(DType::F32, isa, 3), &spec, &weights, &version(name), run);
                // f32 sums in another order; with INT8 an element near .5 may round the other way.
                let bound = if matches!(name, "v2" | "v4") { 1e-2 } else { 1e-5 };
                let error = error(&found, &expected);
                assert!(error < bound, "{name}, {prefill} in one pass, {isa}: {error:e}");
            }
        }
    }
}

#[test]
fn half_precision_stays_as_near_to_f32_as_candles_does() {
    let spec = odd();
    let weights = RandomWeights::new(3);
    let ids = ids(45, spec.vocab_size);
    for prefill in [45, 37] {
        let run = (1, ids.as_slice(), prefill);
        let exact = logits(CandleBackend::new(DType::F32), &spec, &weights, &version("v1"), run);
        for dtype in [DType::Bf16, DType::F16] {
            let candle = logits(CandleBackend::new(dtype), &spec, &weights, &version("v1"), run);
            let reference = error(&candle, &exact);
            for isa in Isa::available() {
                for name in ["v0", "v1"] {
                    let found = logits(cpu(dtype, isa, 2), &spec, &weights, &version(name), run);
                    let error = error(&found, &exact);
                    assert!(error < 1.2 * reference, "{name} {dtype} {isa}: {error:e}, candle {reference:e}");
                }
            }
        }
    }
}

#[test]
fn a_batch_gives_what_its_sequences_give_alone() {
    let spec = odd();
    let weights = LoudWeights(RandomWeights::new(5));
    let both = ids(2 * 40, spec.vocab_size);
    for name in ["v0", "v1", "v2", "v4"] {
        for prefill in [40, 38] {
            let run = |batch: usize, ids: &[u32]| {
                let version = version(name);
                logits(cpu(DType::F32, Isa::best(), 2), &spec, &weights, &version, (batch, ids, prefill))
            };
            let together = run(2, &both);
            let (first, second) = (run(1, &both[..40]), run(1, &both[40..]));
            let alone: Vec<f32> = first
                .chunks(spec.vocab_size)
                .zip(second.chunks(spec.vocab_size))
                .flat_map(|(a, b)| [a, b].concat())
                .collect();
            let bound = if matches!(name, "v2" | "v4") { 1e-2 } else { 1e-5 };
            let error = error(&together, &alone);
            assert!(error < bound, "{name}, {prefill} in one pass: {error:e}");
        }
    }
}

#[test]
fn int8_weights_stay_near_the_weights_they_stand_for() {
    let spec = odd();
    let weights = RandomWeights::new(3);
    let ids = ids(40, spec.vocab_size);
    for prefill in [40, 38] {
        let run = (1, ids.as_slice(), prefill);
        let exact = logits(CandleBackend::new(DType::F32), &spec, &weights, &version("v1"), run);
        for format in ["int8:32", "int8"].map(|f| f.parse::<WeightFormat>().unwrap()) {
            for dtype in DType::ALL {
                for isa in Isa::available() {
                    let options =
                        CpuOptions { isa: Some(isa), weights: Some(format), ..CpuOptions::new(dtype) };
                    let backend = CpuBackend::new(options).unwrap();
                    let found = logits(backend, &spec, &weights, &version("v1"), run);
                    let error = error(&found, &exact);
                    // A code is within 1/254 of a block's largest weight, about 1/150 of the root mean square.
                    assert!(error < 0.02, "{format} {dtype} {isa}, {prefill} in one pass: {error:e}");
                    assert!(error > 1e-4, "{format} {dtype} {isa}: too near to be INT8: {error:e}");
                }
            }
        }
    }
}

/// Ways to store a cache beside the built-in versions'.
const STORAGES: &str = "
[f32]
kv_dtype = 'f32'
[bf16]
kv_dtype = 'bf16'
[f16]
kv_dtype = 'f16'
[int8_groups]
kv_dtype = 'int8'
scale = 'channel-group:16'
[int4]
kv_dtype = 'int4'
scale = 'channel-group:4'
share_layers = 3
[window]
window = 5
";

/// Llama with an odd MLP; then what Qwen 2, Qwen 3 and Mistral change: one K/V head for six, biases and a tied head;
/// norms of heads; a window in one layer.
fn llamas() -> [ModelSpec; 4] {
    let mut llama = preset("tiny-llama").unwrap();
    llama.rope.as_mut().unwrap().rotary_dim = 20;
    let llama = ModelSpec {
        hidden_size: 60,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        head_dim: 20,
        intermediate_size: 91,
        vocab_size: 211,
        ..llama
    };
    let qwen2 = ModelSpec {
        model_type: Family::Qwen2,
        num_key_value_heads: 1,
        qkv_bias: true,
        tie_word_embeddings: true,
        ..llama.clone()
    };
    let qwen3 = ModelSpec { model_type: Family::Qwen3, qk_norm: true, ..llama.clone() };
    let sliding_window = Some(SlidingWindow { tokens: 7, layers: vec![1] });
    let mistral = ModelSpec { model_type: Family::Mistral, sliding_window, ..llama.clone() };
    [llama, qwen2, qwen3, mistral]
}

#[test]
fn llama_and_its_relatives_are_candles_with_every_cache() {
    let versions = [builtin_versions(), parse_versions("storages", STORAGES).unwrap()].concat();
    let weights = LoudWeights(RandomWeights::new(9));
    for spec in llamas() {
        let ids = ids(2 * 39, spec.vocab_size);
        for version in &versions {
            let run = (2, ids.as_slice(), 36);
            let expected = logits(CandleBackend::new(DType::F32), &spec, &weights, version, run);
            for isa in Isa::available() {
                let found = logits(cpu(DType::F32, isa, 2), &spec, &weights, version, run);
                // As above: codes of INT8, and of narrower types more, may round the other way.
                let bound = match version.storage(DType::F32).element.bits() {
                    4 => 5e-2,
                    8 => 1e-2,
                    16 => 2e-3,
                    _ => 1e-5,
                };
                let error = error(&found, &expected);
                assert!(error < bound, "{:?}, {}, {isa}: {error:e}", spec.model_type, version.name);
            }
        }
    }
}
