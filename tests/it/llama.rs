//! The Llama pass computes Llama, Qwen 2, Qwen 3 and Mistral, under every version and every way to store a cache.

use crate::reference_llama::{EXACT, Kept, LoudWeights, Policy, logits as reference_logits};
use kprof::backend::{Backend, CandleBackend, HostTensor};
use kprof::llm::{
    DType, Family, LinearRows, ModelSpec, Op, Phase, SlidingWindow, StepShape, Version, builtin_versions,
    find_version, parse_versions, preset,
};
use kprof::pass::{MemoryWeights, Model, RandomWeights, State, WeightError, Weights, read_model_dir};
use std::cell::RefCell;
use std::collections::HashMap;

const IDS: [u32; 11] = [3, 141, 59, 26, 53, 58, 97, 93, 23, 84, 62];

/// Every way to store a cache, as a user's file has them.
const STORAGES: &str = "
[f32]
kv_dtype = 'f32'
[bf16]
kv_dtype = 'bf16'
[f16]
kv_dtype = 'f16'
[int8_groups]
kv_dtype = 'int8'
scale = 'channel-group:3'
[int4]
kv_dtype = 'int4'
scale = 'channel-group:4'
[int4_heads]
kv_dtype = 'int4'
[int4_shared]
kv_dtype = 'int4'
scale = 'channel-group:4'
share_layers = 3
[window]
window = 4
";

/// Two query heads to a K/V head, an untied head, no biases.
fn llama() -> ModelSpec {
    let mut spec = preset("tiny-llama").unwrap();
    spec.rope.as_mut().unwrap().rotary_dim = 8;
    ModelSpec { hidden_size: 32, head_dim: 8, intermediate_size: 52, ..spec }
}

/// One K/V head for all, biases of Q, K and V, a tied head.
fn qwen2() -> ModelSpec {
    let model_type = Family::Qwen2;
    ModelSpec { model_type, num_key_value_heads: 1, qkv_bias: true, tie_word_embeddings: true, ..llama() }
}

/// Norms of heads, and heads that are wider together than the residual stream.
fn qwen3() -> ModelSpec {
    let mut spec = ModelSpec { model_type: Family::Qwen3, qk_norm: true, head_dim: 12, ..llama() };
    spec.rope.as_mut().unwrap().rotary_dim = 12;
    spec
}

/// A window in one layer.
fn mistral() -> ModelSpec {
    let sliding_window = Some(SlidingWindow { tokens: 3, layers: vec![1] });
    ModelSpec { model_type: Family::Mistral, sliding_window, ..llama() }
}

fn version(name: &str) -> Version {
    let all = [builtin_versions(), parse_versions("storages", STORAGES).unwrap()].concat();
    find_version(&all, name).unwrap().clone()
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
    for ids in std::iter::once(&IDS[..prefill]).chain(IDS[prefill..].chunks(1)) {
        let logits = model.forward(&mut backend, &mut state, ids, LinearRows::All).unwrap();
        let host = backend.to_host(&logits.tensor).unwrap();
        // v0 gives the whole sequence again: the new positions are its last.
        let all: Vec<Vec<f32>> = host.data.chunks(spec.vocab_size).map(<[f32]>::to_vec).collect();
        rows.extend_from_slice(&all[all.len() - ids.len()..]);
    }
    rows
}

fn largest_difference<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[Vec<A>], b: &[Vec<B>]) -> f64 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(x, y)| ((*x).into() - (*y).into()).abs()).fold(0.0, f64::max)
}

fn spread<A: Copy + Into<f64>>(logits: &[Vec<A>]) -> f64 {
    let squares: Vec<f64> = logits.iter().flatten().map(|x| (*x).into().powi(2)).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

#[test]
fn candle_computes_what_an_independent_llama_computes_under_every_version_and_storage() {
    let spec = llama();
    let coded = |share, largest, group| Policy { share, kept: Kept::Codes(largest, group), ..EXACT };
    // f32 against f64 over 4 layers; a number near the middle of two codes or two 16-bit values may round the other
    // way: a step of 1/127 or 1/7 of a group's largest, or of 2^-8 or 2^-11.
    for (name, policy, bound) in [
        ("v0", EXACT, 2e-5),
        ("v1", EXACT, 2e-5),
        ("v2", coded(1, 127.0, 8), 2e-2),
        ("v3", Policy { share: 2, ..EXACT }, 2e-5),
        ("v4", coded(2, 127.0, 8), 2e-2),
        ("f32", EXACT, 2e-5),
        ("bf16", Policy { kept: Kept::Bf16, ..EXACT }, 2e-2),
        ("f16", Policy { kept: Kept::F16, ..EXACT }, 2e-3),
        ("int8_groups", coded(1, 127.0, 3), 2e-2),
        ("int4", coded(1, 7.0, 4), 5e-2),
        ("int4_heads", coded(1, 7.0, 8), 5e-2),
        ("int4_shared", coded(3, 7.0, 4), 5e-2),
        ("window", Policy { window: 4, ..EXACT }, 2e-5),
    ] {
        let expected = reference_logits(&spec, &weights(), &IDS, policy);
        for prefill in [IDS.len(), 4, 1] {
            let found = run(&spec, DType::F32, &weights(), &version(name), prefill);
            let difference = largest_difference(&found, &expected) / spread(&expected);
            assert!(difference < bound, "{name}, {prefill} in one pass: {difference:e}");
        }
    }
}

#[test]
fn the_policies_of_the_reference_differ_from_each_other() {
    // Otherwise the test above could not tell them apart.
    let spec = llama();
    let of = |policy| reference_logits(&spec, &weights(), &IDS, policy);
    let plain = of(EXACT);
    for (kept, least) in [
        (Kept::F16, 1e-5),
        (Kept::Bf16, 1e-4),
        (Kept::Codes(127.0, 8), 1e-4),
        (Kept::Codes(7.0, 4), 5e-2),
        (Kept::Codes(7.0, 8), 5e-2),
    ] {
        let difference = largest_difference(&plain, &of(Policy { kept, ..EXACT })) / spread(&plain);
        assert!(difference > least, "{kept:?}: {difference:e}");
    }
    assert!(largest_difference(&plain, &of(Policy { share: 2, ..EXACT })) / spread(&plain) > 0.5);
    assert!(largest_difference(&plain, &of(Policy { window: 4, ..EXACT })) / spread(&plain) > 1e-2);
}

#[test]
fn biases_head_norms_tied_heads_and_windows_of_layers_are_computed_too() {
    for spec in [qwen2(), qwen3(), mistral()] {
        let expected = reference_logits(&spec, &weights(), &IDS, EXACT);
        let shared = reference_logits(&spec, &weights(), &IDS, Policy { share: 2, ..EXACT });
        for (name, expected) in [("v0", &expected), ("v1", &expected), ("v3", &shared)] {
            for prefill in [IDS.len(), 3] {
                let found = run(&spec, DType::F32, &weights(), &version(name), prefill);
                let difference = largest_difference(&found, expected) / spread(expected);
                assert!(difference < 2e-5, "{} {name}: {difference:e}", spec.model_type);
            }
        }
    }
    // Each of these settings matters: without it the logits are others.
    let base = reference_logits(&llama(), &weights(), &IDS, EXACT);
    for spec in [qwen2(), ModelSpec { head_dim: 8, ..qwen3() }, mistral()] {
        assert!(largest_difference(&base, &reference_logits(&spec, &weights(), &IDS, EXACT)) > 1e-2);
    }
}

#[test]
fn v1_equals_v0_at_every_decode_step() {
    for spec in [llama(), qwen2()] {
        let v0 = run(&spec, DType::F32, &weights(), &version("v0"), 3);
        let v1 = run(&spec, DType::F32, &weights(), &version("v1"), 3);
        assert!(largest_difference(&v0, &v1) / spread(&v0) < 2e-5);
    }
}

#[test]
fn quantised_caches_stay_within_stated_bounds_of_v1_and_are_not_v1() {
    let spec = llama();
    let v1 = run(&spec, DType::F32, &weights(), &version("v1"), 3);
    // 8 bits are steps of 1/127 of a group's largest element and 4 bits of 1/7; these loud weights carry an error on.
    for (name, least, most) in [("v2", 1e-4, 0.2), ("int8_groups", 1e-5, 0.2), ("int4", 1e-2, 3.0)] {
        let found = run(&spec, DType::F32, &weights(), &version(name), 3);
        let difference = largest_difference(&v1, &found) / spread(&v1);
        assert!(difference > least && difference < most, "{name}: {difference}");
    }
}

#[test]
fn half_precision_passes_are_near_the_reference() {
    let spec = qwen3();
    let quiet = RandomWeights::new(7);
    let expected = reference_logits(&spec, &quiet, &IDS, EXACT);
    for (dtype, bound) in [(DType::Bf16, 0.1), (DType::F16, 0.02)] {
        for name in ["v0", "v1", "f32"] {
            let found = run(&spec, dtype, &quiet, &version(name), 3);
            let difference = largest_difference(&found, &expected) / spread(&expected);
            assert!(difference < bound, "{dtype} {name}: {difference}");
        }
    }
}

/// The tensors that a load of `spec` asks for.
fn in_memory(spec: &ModelSpec) -> MemoryWeights {
    struct Recording(LoudWeights, RefCell<HashMap<String, HostTensor>>);
    impl Weights for Recording {
        fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor, WeightError> {
            let tensor = self.0.tensor(name, shape)?;
            self.1.borrow_mut().insert(name.to_string(), tensor.clone());
            Ok(tensor)
        }
    }
    let recording = Recording(weights(), RefCell::default());
    load(spec, DType::F32, &recording);
    MemoryWeights { tensors: recording.1.into_inner() }
}

#[test]
fn grouped_queries_are_many_heads_with_keys_and_values_repeated() {
    let grouped = llama();
    let many = ModelSpec { num_key_value_heads: grouped.num_attention_heads, ..grouped.clone() };
    let mut repeated = in_memory(&grouped);
    let (d, group) = (grouped.head_dim, grouped.num_attention_heads / grouped.num_key_value_heads);
    for (name, tensor) in &mut repeated.tensors {
        if name.contains("k_proj") || name.contains("v_proj") {
            let head = d * grouped.hidden_size;
            tensor.data = tensor
                .data
                .chunks(head)
                .flat_map(|head| std::iter::repeat_n(head, group))
                .flatten()
                .copied()
                .collect();
            tensor.shape[0] *= group;
        }
    }
    for name in ["v0", "v1", "v2", "v4", "int4"] {
        let a = run(&grouped, DType::F32, &weights(), &version(name), 4);
        let b = run(&many, DType::F32, &repeated, &version(name), 4);
        assert!(largest_difference(&a, &b) / spread(&a) < 2e-5, "{name}");
    }
}

#[test]
fn a_batch_computes_each_of_its_sequences() {
    let spec = qwen2();
    let (mut backend, model) = load(&spec, DType::F32, &weights());
    let other: Vec<u32> = IDS.iter().map(|id| 255 - id).collect();
    let both = [IDS.as_slice(), &other].concat();
    for name in ["v0", "v1", "v4", "int4", "window"] {
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

/// Writes a model directory as Hugging Face lays it out: two shards and their index.
fn write_model(folder: &std::path::Path, spec: &ModelSpec, weights: &MemoryWeights) {
    let config = serde_json::json!({
        "model_type": spec.model_type.name(), "hidden_size": spec.hidden_size, "head_dim": spec.head_dim,
        "num_hidden_layers": spec.num_hidden_layers, "num_attention_heads": spec.num_attention_heads,
        "num_key_value_heads": spec.num_key_value_heads, "intermediate_size": spec.intermediate_size,
        "vocab_size": spec.vocab_size, "max_position_embeddings": spec.max_position_embeddings,
        "rms_norm_eps": spec.norm_eps, "rope_theta": spec.rope.as_ref().unwrap().theta,
        "tie_word_embeddings": spec.tie_word_embeddings, "hidden_act": "silu",
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let full_name = |name: &str| {
        if name.starts_with("lm_head") { name.to_string() } else { format!("model.{name}") }
    };
    let mut named: Vec<(String, View<'_>)> =
        weights.tensors.iter().map(|(name, tensor)| (full_name(name), View(tensor))).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    let second = named.split_off(named.len() / 2);
    let mut map = serde_json::Map::new();
    for (i, shard) in [named, second].into_iter().enumerate() {
        let file = format!("model-0000{}-of-00002.safetensors", i + 1);
        map.extend(shard.iter().map(|(name, _)| (name.clone(), file.clone().into())));
        let bytes = safetensors::serialize(shard, Some(HashMap::new())).unwrap();
        std::fs::write(folder.join(file), bytes).unwrap();
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

#[test]
fn a_pass_over_sharded_safetensors_equals_one_over_the_same_numbers_in_memory() {
    for spec in [llama(), qwen2(), qwen3()] {
        let folder = tempfile::tempdir().unwrap();
        let memory = in_memory(&spec);
        write_model(folder.path(), &spec, &memory);
        let (read_spec, from_files) = read_model_dir(folder.path()).unwrap();
        assert_eq!(ModelSpec { name: spec.name.clone(), ..read_spec }, spec);
        let a = run(&spec, DType::F32, &from_files, &version("v1"), 3);
        let b = run(&spec, DType::F32, &memory, &version("v1"), 3);
        assert_eq!(a, b);
    }
}

#[test]
fn a_shard_that_the_index_names_and_the_folder_lacks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &llama(), &in_memory(&llama()));
    // Files beside those of the index are none of the model's.
    std::fs::write(folder.path().join("adapter.safetensors"), "no such format").unwrap();
    read_model_dir(folder.path()).unwrap();
    std::fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    let message = read_model_dir(folder.path()).err().unwrap().to_string();
    assert!(message.contains("the shard model-00002-of-00002.safetensors, which model.saf"), "{message}");
    std::fs::write(folder.path().join("model.safetensors.index.json"), "{}").unwrap();
    let message = read_model_dir(folder.path()).err().unwrap().to_string();
    assert!(message.contains("model.safetensors.index.json: missing field `weight_map`"), "{message}");
}

#[test]
fn a_missing_or_misshapen_tensor_is_named_with_its_shapes() {
    let spec = qwen2();
    let backend = CandleBackend::new(DType::F32);
    let error = |m: &MemoryWeights| Model::load(&backend, &spec, m, &mut |_, _| {}).unwrap_err().to_string();
    let mut memory = in_memory(&spec);
    memory.tensors.get_mut("layers.1.mlp.up_proj.weight").unwrap().shape = vec![32, 52];
    let message = error(&memory);
    assert!(
        message.contains("'layers.1.mlp.up_proj.weight' has shape [32, 52]; expected [52, 32]"),
        "{message}"
    );
    let mut memory = in_memory(&spec);
    memory.tensors.remove("layers.3.self_attn.k_proj.bias");
    let message = error(&memory);
    assert!(message.contains("'layers.3.self_attn.k_proj.bias' is missing; expected shape [8]"), "{message}");
}

/// The ops that a pass marks, with the shape of its step.
fn marked(spec: &ModelSpec, version: &Version, ids: &[u32]) -> (StepShape, Vec<(Phase, Op)>) {
    let (mut backend, model) = load(spec, DType::F32, &RandomWeights::new(1));
    let mut state = State::new(&backend, spec, version, 1, ids.len()).unwrap();
    backend.marks().instrument(true);
    let logits = model.forward(&mut backend, &mut state, ids, LinearRows::Last).unwrap();
    let ops = backend.marks().take().into_iter().map(|s| (s.site.phase, s.op)).collect();
    (logits.shape, ops)
}

#[test]
fn the_matrix_flops_of_llama_2_7b_per_token_are_twice_its_parameters_and_the_attention_term() {
    // Kaplan et al. 2020, section 2.1: C = 2 N + 2 n_layer n_ctx d_attn per token for causally masked attention, and
    // twice the second term where every pair is counted, as for the last token of a context. N leaves out the token
    // table, which is looked up; of Llama-2-7B's 6,738,415,616 parameters (huggingface.co/meta-llama/Llama-2-7b-hf)
    // 131,072,000 are the table and 266,240 gains of norms. The true shape, of few layers, marks the ops; one block
    // is counted 32 times.
    let full = preset("llama-2-7b").unwrap();
    let shape = StepShape { batch: 1, new_tokens: 1, context: 4096 };
    let slim = ModelSpec {
        num_hidden_layers: 1,
        hidden_size: 64,
        intermediate_size: 96,
        vocab_size: 50,
        ..full.clone()
    };
    let (_, ops) = marked(&slim, &version("v1"), &[1]);
    let flops: f64 = ops
        .iter()
        .map(|(phase, op)| {
            let blocks = if *phase == Phase::Head { 1.0 } else { 32.0 };
            blocks * widened(op, &slim, &full).work(&shape).matmul_flops.0
        })
        .sum();
    let multiplied = 6_738_415_616.0 - 131_072_000.0 - 266_240.0;
    assert_eq!(full.parameters(), 6_738_415_616);
    assert_eq!(flops, 2.0 * multiplied + 4.0 * 32.0 * 4096.0 * 4096.0);
}

/// A linear of the slim model with the widths that the full one has there.
fn widened(op: &Op, slim: &ModelSpec, full: &ModelSpec) -> Op {
    let width = |narrow: usize| match narrow {
        n if n == slim.hidden_size => full.hidden_size,
        n if n == slim.intermediate_size => full.intermediate_size,
        n if n == 2 * slim.intermediate_size => 2 * full.intermediate_size,
        n if n == slim.vocab_size => full.vocab_size,
        other => other,
    };
    match op {
        Op::Linear { input, output, bias, rows, dtype, weights } => Op::Linear {
            weights: *weights,
            input: width(*input),
            output: width(*output),
            bias: *bias,
            rows: *rows,
            dtype: *dtype,
        },
        other => other.clone(),
    }
}

#[test]
fn a_step_marks_the_ops_of_a_llama_block_and_a_borrowing_layer_fewer() {
    let names = |spec: &ModelSpec, name: &str| -> Vec<&str> {
        let (_, ops) = marked(spec, &version(name), &IDS[..4]);
        ops.iter().map(|(_, op)| op.name()).collect::<Vec<_>>()
    };
    let block = |kv: &[&'static str]| {
        let attention = [&["norm", "linear", "rope"], kv, &["attention", "linear", "residual"]].concat();
        [attention, vec!["norm", "linear", "gate", "linear", "residual"]].concat()
    };
    let expected = |kv: &[&'static str], borrowed: &[&'static str]| {
        let pair = [block(kv), block(borrowed)].concat();
        [vec!["embed"], pair.clone(), pair, vec!["norm", "linear"]].concat()
    };
    assert_eq!(names(&llama(), "v1"), expected(&["cache_append"], &["cache_append"]));
    let widening = ["cache_append", "cache_dequantise"];
    assert_eq!(names(&llama(), "int4"), expected(&widening, &widening));
    // A cache of another floating-point type is converted; of the model's own it is not.
    assert_eq!(names(&llama(), "bf16"), expected(&widening, &widening));
    assert_eq!(names(&llama(), "f32"), expected(&["cache_append"], &["cache_append"]));
    assert_eq!(names(&llama(), "v3"), expected(&["cache_append"], &[]));
    let count = |name: &str, op: &str| names(&qwen3(), name).iter().filter(|n| **n == op).count();
    assert_eq!((count("v1", "head_norm"), count("v3", "head_norm")), (8, 6));
}

#[test]
fn models_that_no_pass_computes_are_refused_by_name() {
    let backend = CandleBackend::new(DType::F32);
    let error =
        |spec: &ModelSpec| Model::load(&backend, spec, &weights(), &mut |_, _| {}).unwrap_err().to_string();
    let mixtral = error(&preset("mixtral-8x7b").unwrap());
    assert!(mixtral.contains("mixtral") && mixtral.contains("llama"), "{mixtral}");
    let mut yarn = llama();
    yarn.rope.as_mut().unwrap().scaling = kprof::llm::RopeScaling::Other { name: "yarn".into() };
    assert!(error(&yarn).contains("does not compute rope_scaling yarn"), "{}", error(&yarn));
}
