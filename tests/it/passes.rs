//! The passes compute GPT-2, under every version, and say truthfully what they did.

use crate::reference_gpt::{LoudWeights, Policy, logits as reference_logits};
use kprof::backend::{Backend, CandleBackend, HostTensor};
use kprof::llm::{
    DType, LinearRows, ModelSpec, Op, Phase, Stage, StepShape, Version, builtin_versions, find_version,
    preset,
};
use kprof::pass::{MemoryWeights, Model, RandomWeights, State, WeightError, Weights, read_model_dir};
use std::collections::HashMap;

const IDS: [u32; 11] = [3, 141, 59, 26, 53, 58, 97, 93, 23, 84, 62];

fn tiny() -> ModelSpec {
    let mut spec = preset("tiny").unwrap();
    spec.hidden_size = 32;
    spec.head_dim = 8;
    spec.intermediate_size = 96;
    spec
}

fn version(name: &str) -> Version {
    find_version(&builtin_versions(), name).unwrap().clone()
}

fn weights() -> LoudWeights {
    LoudWeights(RandomWeights::new(7))
}

fn load(spec: &ModelSpec, dtype: DType, weights: &dyn Weights) -> (CandleBackend, Model<CandleBackend>) {
    let backend = CandleBackend::new(dtype);
    let model = Model::load(&backend, spec, weights, &mut |_, _| {}).unwrap();
    (backend, model)
}

/// Logits of every position: the first `prefill` ids in one pass, the others one by one.
fn run(
    spec: &ModelSpec,
    dtype: DType,
    weights: &dyn Weights,
    version: &Version,
    prefill: usize,
) -> Vec<Vec<f32>> {
    let (mut backend, model) = load(spec, dtype, weights);
    let mut state = State::new(&backend, spec, version, 1, IDS.len()).unwrap();
    let mut rows = Vec::new();
    let mut take = |backend: &mut CandleBackend, state: &mut State<_>, ids: &[u32]| {
        let logits = model.forward(backend, state, ids, LinearRows::All).unwrap();
        let host = backend.to_host(&logits.tensor).unwrap();
        // v0 gives the whole sequence again: the new positions are its last.
        let all: Vec<Vec<f32>> = host.data.chunks(spec.vocab_size).map(<[f32]>::to_vec).collect();
        rows.extend_from_slice(&all[all.len() - ids.len()..]);
    };
    take(&mut backend, &mut state, &IDS[..prefill]);
    for id in &IDS[prefill..] {
        take(&mut backend, &mut state, &[*id]);
    }
    rows
}

fn largest_difference<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[Vec<A>], b: &[Vec<B>]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .flatten()
        .zip(b.iter().flatten())
        .map(|(x, y)| ((*x).into() - (*y).into()).abs())
        .fold(0.0, f64::max)
}

fn spread(logits: &[Vec<f64>]) -> f64 {
    let all: Vec<f64> = logits.iter().flatten().copied().collect();
    (all.iter().map(|x| x * x).sum::<f64>() / all.len() as f64).sqrt()
}

#[test]
fn candle_computes_what_an_independent_gpt2_computes_under_every_version() {
    let spec = tiny();
    for (name, policy) in [
        ("v0", Policy { share: 1, int8: false }),
        ("v1", Policy { share: 1, int8: false }),
        ("v2", Policy { share: 1, int8: true }),
        ("v3", Policy { share: 2, int8: false }),
        ("v4", Policy { share: 2, int8: true }),
    ] {
        let expected = reference_logits(&spec, &weights(), &IDS, policy);
        for prefill in [IDS.len(), 4, 1] {
            let found = run(&spec, DType::F32, &weights(), &version(name), prefill);
            let difference = largest_difference(&found, &expected) / spread(&expected);
            // f32 against f64 over 4 layers; INT8 may round an element near .5 the other way, a step of 1/127.
            let bound = if policy.int8 { 2e-2 } else { 2e-5 };
            assert!(difference < bound, "{name}, {prefill} in one pass: {difference:e}");
        }
    }
}

#[test]
fn the_versions_of_the_reference_differ_from_each_other() {
    // Otherwise the test above could not tell them apart.
    let spec = tiny();
    let of = |share, int8| reference_logits(&spec, &weights(), &IDS, Policy { share, int8 });
    let plain = of(1, false);
    assert!(largest_difference(&plain, &of(2, false)) / spread(&plain) > 0.5);
    assert!(largest_difference(&plain, &of(1, true)) / spread(&plain) > 1e-4);
}

#[test]
fn v1_equals_v0_at_every_decode_step() {
    let spec = tiny();
    let v0 = run(&spec, DType::F32, &weights(), &version("v0"), 3);
    let v1 = run(&spec, DType::F32, &weights(), &version("v1"), 3);
    assert!(largest_difference(&v0, &v1) < 1e-3 * f64::from(v0[0][0].abs().max(1.0)));
}

#[test]
fn v2_stays_within_a_stated_bound_of_v1_and_is_not_v1() {
    let spec = tiny();
    let v1 = run(&spec, DType::F32, &weights(), &version("v1"), 3);
    let v2 = run(&spec, DType::F32, &weights(), &version("v2"), 3);
    let wide: Vec<Vec<f64>> = v1.iter().map(|r| r.iter().map(|x| f64::from(*x)).collect()).collect();
    let difference = largest_difference(&v1, &v2) / spread(&wide);
    // 8 bits are steps of 1/127 of a head's largest element; with these loud weights a layer can double that.
    assert!(difference > 1e-5 && difference < 0.2, "{difference}");
}

#[test]
fn v2_gives_the_same_logits_in_one_pass_and_token_by_token() {
    let spec = tiny();
    let together = run(&spec, DType::F32, &weights(), &version("v2"), IDS.len());
    let one_by_one = run(&spec, DType::F32, &weights(), &version("v2"), 1);
    let bound = 2e-2 * f64::from(together[0].iter().fold(0f32, |m, x| m.max(x.abs())));
    assert!(largest_difference(&together, &one_by_one) < bound);
}

#[test]
fn v3_that_shares_with_nobody_is_v1() {
    let alone = Version { share_layers: 1, ..version("v3") };
    let spec = tiny();
    let a = run(&spec, DType::F32, &weights(), &alone, 3);
    let b = run(&spec, DType::F32, &weights(), &version("v1"), 3);
    assert_eq!(a, b);
}

#[test]
fn half_precision_passes_are_near_the_reference() {
    let spec = tiny();
    let quiet = RandomWeights::new(7);
    let expected = reference_logits(&spec, &quiet, &IDS, Policy { share: 1, int8: false });
    for (dtype, bound) in [(DType::Bf16, 0.1), (DType::F16, 0.02)] {
        let found = run(&spec, dtype, &quiet, &version("v1"), 3);
        let difference = largest_difference(&found, &expected) / spread(&expected);
        assert!(difference < bound, "{dtype}: {difference}");
    }
}

#[test]
fn a_batch_computes_each_of_its_sequences() {
    let spec = tiny();
    let (mut backend, model) = load(&spec, DType::F32, &weights());
    let other: Vec<u32> = IDS.iter().map(|id| 255 - id).collect();
    let both = [IDS.as_slice(), &other].concat();
    for name in ["v0", "v1", "v4"] {
        let mut logits = |ids: &[u32], batch: usize| {
            let mut state = State::new(&backend, &spec, &version(name), batch, IDS.len()).unwrap();
            let logits = model.forward(&mut backend, &mut state, ids, LinearRows::Last).unwrap();
            backend.to_host(&logits.tensor).unwrap().data
        };
        let together = logits(&both, 2);
        let apart = [logits(&IDS, 1), logits(&other, 1)].concat();
        let difference = together.iter().zip(&apart).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(difference < 1e-3, "{name}: {difference}");
    }
}

#[test]
fn a_window_hides_older_tokens() {
    let spec = tiny();
    let full = run(&spec, DType::F32, &weights(), &version("v1"), 3);
    let of = |window| {
        let version = Version { window: Some(window), ..version("v1") };
        run(&spec, DType::F32, &weights(), &version, 3)
    };
    assert_eq!(of(IDS.len()), full);
    let narrow = of(2);
    // The first two positions see everything; later ones do not.
    assert!(largest_difference(&narrow[..2], &full[..2]) < 1e-5);
    assert!(largest_difference(&narrow[4..], &full[4..]) > 1e-2);
}

fn shapes(spec: &ModelSpec) -> Vec<(String, Vec<usize>)> {
    let (h, inner) = (spec.hidden_size, spec.intermediate_size);
    let mut all = vec![
        ("wte.weight".to_string(), vec![spec.vocab_size, h]),
        ("wpe.weight".to_string(), vec![spec.max_position_embeddings, h]),
        ("ln_f.weight".to_string(), vec![h]),
        ("ln_f.bias".to_string(), vec![h]),
    ];
    for layer in 0..spec.num_hidden_layers {
        for (part, shape) in [
            ("ln_1.weight", vec![h]),
            ("ln_1.bias", vec![h]),
            ("attn.c_attn.weight", vec![h, 3 * h]),
            ("attn.c_attn.bias", vec![3 * h]),
            ("attn.c_proj.weight", vec![h, h]),
            ("attn.c_proj.bias", vec![h]),
            ("ln_2.weight", vec![h]),
            ("ln_2.bias", vec![h]),
            ("mlp.c_fc.weight", vec![h, inner]),
            ("mlp.c_fc.bias", vec![inner]),
            ("mlp.c_proj.weight", vec![inner, h]),
            ("mlp.c_proj.bias", vec![h]),
        ] {
            all.push((format!("h.{layer}.{part}"), shape));
        }
    }
    all
}

fn in_memory(spec: &ModelSpec) -> MemoryWeights {
    let tensors = shapes(spec)
        .into_iter()
        .map(|(name, shape)| (name.clone(), weights().tensor(&name, &shape).unwrap()))
        .collect();
    MemoryWeights { tensors }
}

struct View<'a>(&'a HostTensor);

impl safetensors::View for View<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        safetensors::Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.0.shape
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.0.data.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>().into()
    }
    fn data_len(&self) -> usize {
        4 * self.0.data.len()
    }
}

/// Writes a model directory as Hugging Face lays it out, in two shards, with `prefix` before every name.
pub fn write_model(folder: &std::path::Path, spec: &ModelSpec, weights: &MemoryWeights, prefix: &str) {
    let config = serde_json::json!({
        "model_type": "gpt2", "n_embd": spec.hidden_size, "n_layer": spec.num_hidden_layers,
        "n_head": spec.num_attention_heads, "n_inner": spec.intermediate_size, "vocab_size": spec.vocab_size,
        "n_positions": spec.max_position_embeddings, "n_ctx": spec.max_position_embeddings,
        "layer_norm_epsilon": spec.norm_eps, "activation_function": "gelu_new",
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut named: Vec<(String, View<'_>)> =
        weights.tensors.iter().map(|(name, tensor)| (format!("{prefix}{name}"), View(tensor))).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    let second = named.split_off(named.len() / 2);
    for (i, shard) in [named, second].into_iter().enumerate() {
        let bytes = safetensors::serialize(shard, Some(HashMap::new())).unwrap();
        std::fs::write(folder.join(format!("model-0000{}-of-00002.safetensors", i + 1)), bytes).unwrap();
    }
}

#[test]
fn a_pass_over_safetensors_equals_one_over_the_same_numbers_in_memory() {
    let spec = tiny();
    let memory = in_memory(&spec);
    for prefix in ["", "transformer."] {
        let folder = tempfile::tempdir().unwrap();
        write_model(folder.path(), &spec, &memory, prefix);
        let (read_spec, from_files) = read_model_dir(folder.path()).unwrap();
        assert_eq!(ModelSpec { name: spec.name.clone(), ..read_spec }, spec);
        let a = run(&spec, DType::F32, &from_files, &version("v1"), 3);
        let b = run(&spec, DType::F32, &memory, &version("v1"), 3);
        assert_eq!(a, b);
    }
}

#[test]
fn a_missing_or_misshapen_tensor_is_named_with_its_shapes() {
    let spec = tiny();
    let mut memory = in_memory(&spec);
    memory.tensors.get_mut("h.1.mlp.c_fc.weight").unwrap().shape = vec![96, 32];
    let backend = CandleBackend::new(DType::F32);
    let error = |m: &MemoryWeights| Model::load(&backend, &spec, m, &mut |_, _| {}).unwrap_err().to_string();
    let message = error(&memory);
    assert!(message.contains("'h.1.mlp.c_fc.weight' has shape [96, 32]; expected [32, 96]"), "{message}");
    memory.tensors.remove("h.1.mlp.c_fc.weight");
    let message = error(&memory);
    assert!(message.contains("'h.1.mlp.c_fc.weight' is missing; expected shape [32, 96]"), "{message}");
}

#[test]
fn a_model_directory_without_weights_or_with_damaged_ones_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &tiny(), &in_memory(&tiny()), "");
    let shard = folder.path().join("model-00001-of-00002.safetensors");
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &bytes[..40]).unwrap();
    let damaged = read_model_dir(folder.path()).err().unwrap();
    assert!(matches!(damaged, WeightError::Format { .. }), "{damaged}");
    std::fs::remove_file(&shard).unwrap();
    std::fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    let message = read_model_dir(folder.path()).err().unwrap().to_string();
    assert!(message.contains("no *.safetensors file"), "{message}");
}

/// The ops that a pass of `new` tokens marks.
fn marked(
    spec: &ModelSpec,
    version: &Version,
    new: usize,
    rows: LinearRows,
) -> (StepShape, Vec<(Phase, Op)>) {
    let (mut backend, model) = load(spec, DType::F32, &RandomWeights::new(1));
    let mut state = State::new(&backend, spec, version, 1, new).unwrap();
    backend.marks().instrument(true);
    let ids: Vec<u32> = (0..new as u32).collect();
    let logits = model.forward(&mut backend, &mut state, &ids, rows).unwrap();
    model.choose(&mut backend, &logits, &mut Vec::new()).unwrap();
    let ops = backend.marks().take().into_iter().map(|s| (s.site.phase, s.op)).collect();
    (logits.shape, ops)
}

#[test]
fn the_op_flops_of_gpt2_sum_to_the_published_count() {
    // nanoGPT, transformer_sizing.ipynb: one forward pass of GPT-2 124M over 1024 tokens, logits of all
    // positions, is 291,648,307,200 FLOPs (matrix products, attention not halved for causality). Here the
    // same shape is run with one layer, and the block counted 12 times.
    let mut spec = preset("gpt2").unwrap();
    spec.num_hidden_layers = 1;
    let (shape, ops) = marked(&spec, &version("v1"), 1024, LinearRows::All);
    let flops = |phases: &[Phase]| -> f64 {
        let chosen = ops.iter().filter(|(phase, _)| phases.contains(phase));
        chosen.map(|(_, op)| op.work(&shape).matmul_flops.0).sum()
    };
    assert_eq!(flops(&[Phase::Attention]), 8_053_063_680.0);
    assert_eq!(flops(&[Phase::Mlp]), 9_663_676_416.0);
    assert_eq!(flops(&[Phase::Head]), 79_047_426_048.0);
    assert_eq!(12.0 * flops(&[Phase::Attention, Phase::Mlp]) + flops(&[Phase::Head]), 291_648_307_200.0);
}

#[test]
fn a_borrowing_layer_skips_its_key_and_value_projection() {
    let spec = tiny();
    let outputs = |name: &str| -> Vec<usize> {
        let (_, ops) = marked(&spec, &version(name), 4, LinearRows::Last);
        ops.iter()
            .filter_map(|(phase, op)| match op {
                Op::Linear { output, .. } if *phase == Phase::Attention => Some(*output),
                _ => None,
            })
            .collect()
    };
    // QKV and projection of every layer; under v3 layers 1 and 3 compute Q only.
    assert_eq!(outputs("v1"), [96, 32, 96, 32, 96, 32, 96, 32]);
    assert_eq!(outputs("v3"), [96, 32, 32, 32, 96, 32, 32, 32]);
}

#[test]
fn every_stage_is_one_phase_after_another_and_v2_marks_its_dequantisation() {
    let spec = tiny();
    let (_, ops) = marked(&spec, &version("v2"), 4, LinearRows::Last);
    assert_eq!(ops.first().unwrap().0, Phase::Embedding);
    assert_eq!(ops.last().unwrap().0, Phase::Head);
    let count = |name: &str| ops.iter().filter(|(_, op)| op.name() == name).count();
    assert_eq!((count("cache_append"), count("cache_dequantise"), count("attention")), (4, 4, 4));
    assert_eq!(Stage::ALL.map(Stage::name), ["prefill", "decode"]);
}

#[test]
fn tokens_out_of_range_and_sequences_too_long_are_refused() {
    let spec = tiny();
    let (mut backend, model) = load(&spec, DType::F32, &weights());
    let mut state = State::new(&backend, &spec, &version("v1"), 1, 128).unwrap();
    let mut error =
        |ids: &[u32]| model.forward(&mut backend, &mut state, ids, LinearRows::Last).unwrap_err().to_string();
    assert_eq!(error(&[256]), "token id 256 is outside the vocabulary of 256");
    assert_eq!(error(&[0; 129]), "129 tokens per sequence, and tiny has positions for 128");
    let error = State::new(&backend, &spec, &version("v1"), 1, 129).unwrap_err().to_string();
    assert_eq!(error, "129 tokens per sequence, and tiny has positions for 128");
}
