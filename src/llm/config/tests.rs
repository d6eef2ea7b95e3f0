//! Shapes of real models from the keys of their config.json, against what is published about them.

use super::super::{
    Activation, BlockLayout, Family, ModelSpec, RopeScaling, SlidingWindow, SpecError, preset, preset_names,
};

fn read(text: &str) -> Result<ModelSpec, SpecError> {
    ModelSpec::from_config_json("m", text)
}

fn error(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

const LLAMA: &str = r#"{"model_type":"llama","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,
    "num_key_value_heads":2,"intermediate_size":176,"vocab_size":256,"max_position_embeddings":128}"#;

/// `LLAMA` with `from` replaced by `to`.
fn llama_with(from: &str, to: &str) -> String {
    assert!(LLAMA.contains(from), "{from}");
    LLAMA.replace(from, to)
}

#[test]
fn presets_have_the_published_numbers_of_parameters() {
    // Radford et al. 2019 and the checkpoints of gpt2; for the others the number of elements in the safetensors
    // files of the repositories that presets.toml names (huggingface.co, "Model size").
    for (name, expected) in [
        ("gpt2", 124_439_808_u64),
        ("gpt2-4k", 124_439_808 + 3072 * 768),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("llama-2-7b", 6_738_415_616),
        ("llama-2-13b", 13_015_864_320),
        ("llama-2-70b", 68_976_648_192),
        ("llama-3.1-8b", 8_030_261_248),
        ("llama-3.1-70b", 70_553_706_496),
        ("mistral-7b", 7_241_732_096),
        ("mixtral-8x7b", 46_702_792_704),
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen2.5-1.5b", 1_543_714_304),
        ("qwen2.5-7b", 7_615_616_512),
        ("qwen3-8b", 8_190_735_360),
        ("qwen3-30b-a3b", 30_532_122_624),
        ("gemma-2b", 2_506_172_416),
        ("gemma-2-9b", 9_241_705_984),
        ("gemma-3-1b", 999_885_952),
        ("phi-2", 2_779_683_840),
        ("phi-3-mini", 3_821_079_552),
        ("deepseek-v2-lite", 15_706_484_224),
        ("deepseek-v3", 671_026_419_200),
    ] {
        assert_eq!(preset(name).unwrap().parameters(), expected, "{name}");
    }
}

#[test]
fn experts_that_a_token_is_sent_to_are_the_active_parameters() {
    // Published: Mixtral 12.9 B of 46.7 B; DeepSeek-V3 37 B of 671 B (arXiv 2412.19437); Qwen3-30B-A3B 3.3 B of
    // 30.5 B (arXiv 2505.09388), each rounded.
    for (name, billions) in [("mixtral-8x7b", 12.88), ("deepseek-v3", 37.55), ("qwen3-30b-a3b", 3.35)] {
        let active = preset(name).unwrap().active_parameters() as f64 / 1e9;
        assert!((active - billions).abs() < 0.006, "{name}: {active}");
    }
    let dense = preset("llama-2-7b").unwrap();
    assert_eq!(dense.active_parameters(), dense.parameters());
}

#[test]
fn every_preset_can_be_read_and_survives_a_run_file() {
    for name in preset_names() {
        let spec = preset(&name).unwrap();
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ModelSpec>(&json).unwrap(), spec, "{name}");
    }
}

#[test]
fn a_run_file_of_before_other_families_is_a_gpt2() {
    let old = r#"{"name":"gpt2","model_type":"gpt2","hidden_size":768,"num_hidden_layers":12,
        "num_attention_heads":12,"num_key_value_heads":12,"head_dim":64,"intermediate_size":3072,
        "vocab_size":50257,"max_position_embeddings":1024,"norm_eps":1e-5}"#;
    assert_eq!(serde_json::from_str::<ModelSpec>(old).unwrap(), preset("gpt2").unwrap());
}

#[test]
fn the_config_of_gpt2_gives_the_preset() {
    let text = r#"{"activation_function":"gelu_new","model_type":"gpt2","n_ctx":1024,"n_embd":768,
        "n_head":12,"n_layer":12,"n_positions":1024,"vocab_size":50257,"layer_norm_epsilon":1e-05}"#;
    assert_eq!(ModelSpec::from_config_json("gpt2", text).unwrap(), preset("gpt2").unwrap());
}

#[test]
fn a_llama_has_what_its_keys_say() {
    let spec = read(LLAMA).unwrap();
    assert_eq!((spec.model_type, spec.head_dim, spec.num_key_value_heads), (Family::Llama, 16, 2));
    assert_eq!((spec.hidden_act, spec.gated_mlp), (Activation::Silu, true));
    assert!(!spec.qkv_bias && !spec.attention_out_bias && !spec.tie_word_embeddings);
    let rope = spec.rope.unwrap();
    assert_eq!((rope.theta, rope.rotary_dim, rope.scaling), (10_000.0, 16, RopeScaling::Default));
    // Files of Llama 1 have no num_key_value_heads: every head has its own.
    let old = read(&llama_with(r#""num_key_value_heads":2,"#, "")).unwrap();
    assert_eq!(old.num_key_value_heads, 4);
    let biased = read(&llama_with(r#""vocab_size""#, r#""attention_bias":true,"vocab_size""#)).unwrap();
    assert!(biased.qkv_bias && biased.attention_out_bias);
}

#[test]
fn rotary_positions_are_read_from_old_keys_and_new_ones() {
    let with = |keys: &str| read(&llama_with(r#""vocab_size""#, &format!(r#"{keys},"vocab_size""#))).unwrap();
    let new = with(r#""rope_parameters":{"rope_theta":500000.0,"rope_type":"default"}"#).rope.unwrap();
    assert_eq!((new.theta, new.scaling), (500_000.0, RopeScaling::Default));
    let old = with(r#""rope_theta":1e6,"rope_scaling":{"type":"linear","factor":2.0}"#).rope.unwrap();
    assert_eq!((old.theta, old.scaling), (1e6, RopeScaling::Linear { factor: 2.0 }));
    let named = with(r#""rope_scaling":{"rope_type":"yarn","factor":4.0}"#).rope.unwrap();
    assert_eq!(named.scaling, RopeScaling::Other { name: "yarn".into() });
    let llama3 = preset("llama-3.1-8b").unwrap().rope.unwrap();
    assert!(matches!(llama3.scaling, RopeScaling::Llama3 { factor: 8.0, .. }), "{llama3:?}");
}

#[test]
fn windows_are_on_the_layers_that_the_family_puts_them_on() {
    assert_eq!(preset("mistral-7b").unwrap().sliding_window.unwrap().layers.len(), 32);
    // Gemma 2 windows layers 0, 2, 4, ...; Gemma 3 all but 5, 11, 17, 23 of 26.
    let gemma2 = preset("gemma-2-9b").unwrap();
    assert_eq!((gemma2.window(0), gemma2.window(1)), (Some(4096), None));
    let gemma3 = preset("gemma-3-1b").unwrap();
    let full: Vec<usize> = (0..26).filter(|l| gemma3.window(*l).is_none()).collect();
    assert_eq!(full, [5, 11, 17, 23]);
    // Qwen names a window and does not use it unless told to.
    let qwen = |used: &str| {
        let text = LLAMA.replace("\"llama\"", "\"qwen2\"").replace(
            r#""vocab_size""#,
            &format!(r#""sliding_window":32,"max_window_layers":1,"use_sliding_window":{used},"vocab_size""#),
        );
        read(&text).unwrap().sliding_window
    };
    assert_eq!(qwen("false"), None);
    assert_eq!(qwen("true"), Some(SlidingWindow { tokens: 32, layers: vec![1] }));
}

#[test]
fn the_text_model_inside_gemma_3_is_read_with_the_values_that_its_file_leaves_out() {
    // google/gemma-3-4b-pt: 4 K/V heads, 8 heads of 256 and the vocabulary are the class's own values.
    let text = r#"{"model_type":"gemma3","text_config":{"hidden_size":2560,"intermediate_size":10240,
        "model_type":"gemma3_text","num_hidden_layers":34,"sliding_window":1024,
        "rope_scaling":{"factor":8.0,"rope_type":"linear"}},"vision_config":{"hidden_size":1152}}"#;
    let spec = read(text).unwrap();
    assert_eq!((spec.num_attention_heads, spec.num_key_value_heads, spec.head_dim), (8, 4, 256));
    assert_eq!((spec.vocab_size, spec.block, spec.qk_norm), (262_208, BlockLayout::Sandwich, true));
    // 4,300,079,472 in the file, of which 419,816,304 are the vision tower and its projection to text.
    assert_eq!(spec.parameters(), 3_880_263_168);
}

#[test]
fn latent_attention_and_shared_experts_are_read() {
    let spec = preset("deepseek-v3").unwrap();
    let mla = spec.mla.unwrap();
    // DeepSeek-V2, section 2.1.4: the cache is (d_c + d_h^R) per token and layer, 512 + 64.
    assert_eq!((mla.cached_elements(), spec.head_dim), (576, 192));
    let moe = spec.moe.as_ref().unwrap();
    assert_eq!((moe.layers.first(), moe.layers.len(), moe.shared_intermediate_size), (Some(&3), 58, 2048));
    assert!(spec.experts(2).is_none() && spec.experts(3).is_some());
}

#[test]
fn a_missing_key_is_named_with_the_family_that_needs_it() {
    for key in [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
    ] {
        let text = LLAMA.replace(&format!("\"{key}\""), "\"unrelated\"");
        let expected = format!("config.json: no '{key}', which the shape of a llama model needs");
        assert_eq!(error(&text), expected);
    }
    let experts = LLAMA.replace("\"llama\"", "\"mixtral\"");
    assert!(error(&experts).contains("no 'num_local_experts', which the shape of a mixtral model needs"));
    let latent = LLAMA.replace("\"llama\"", "\"deepseek_v3\"");
    assert!(error(&latent).contains("no 'kv_lora_rank'"), "{}", error(&latent));
    let scaled = llama_with(r#""vocab_size""#, r#""rope_scaling":{"type":"linear"},"vocab_size""#);
    assert!(error(&scaled).contains("no 'rope_scaling.factor'"), "{}", error(&scaled));
}

#[test]
fn values_of_the_wrong_kind_and_contradictions_are_named() {
    let negative = error(&llama_with(r#""hidden_size":64"#, r#""hidden_size":-1"#));
    assert!(negative.contains("'hidden_size' is -1, not a whole number"), "{negative}");
    let text = error(&llama_with(r#""vocab_size":256"#, r#""vocab_size":"256""#));
    assert!(text.contains("'vocab_size' is \"256\", not"), "{text}");
    let zero = error(&llama_with(r#""num_hidden_layers":2"#, r#""num_hidden_layers":0"#));
    assert!(zero.contains("'num_hidden_layers' is 0, not a whole number of at least 1"), "{zero}");
    let heads = error(&llama_with(r#""num_key_value_heads":2"#, r#""num_key_value_heads":3"#));
    assert!(heads.contains("num_attention_heads 4 is no multiple of num_key_value_heads 3"), "{heads}");
    let width = error(&llama_with(r#""num_attention_heads":4"#, r#""num_attention_heads":6"#));
    assert!(width.contains("hidden_size 64 is no multiple of num_attention_heads 6"), "{width}");
    let act = error(&llama_with(r#""vocab_size""#, r#""hidden_act":"mish","vocab_size""#));
    assert!(act.contains("'hidden_act' is \"mish\", not an activation that kprof knows"), "{act}");
    let gpt2 = r#"{"model_type":"gpt2","n_embd":10,"n_head":3,"n_layer":1,"vocab_size":5,"n_positions":8}"#;
    assert!(error(gpt2).contains("n_embd 10 is no multiple of n_head 3"));
    assert!(error("[1]").contains("model_type is absent"));
    assert!(matches!(read("{"), Err(SpecError::Json(_))));
}

#[test]
fn an_unknown_family_lists_the_known_ones_nearest_first() {
    let bert = error(r#"{"model_type":"bert"}"#);
    assert!(bert.starts_with("config.json: model_type is 'bert'; known: "), "{bert}");
    assert!(error(r#"{"model_type":"qwen33"}"#).contains("known: qwen3, "));
}

#[test]
fn an_unknown_preset_lists_the_nearest_first() {
    let error = preset("gpt2-medum").unwrap_err().to_string();
    assert!(error.starts_with("unknown preset 'gpt2-medum'; known: gpt2-medium,"), "{error}");
}

#[test]
fn a_model_that_kprof_does_not_compute_is_refused_by_what_asks_for_a_pass() {
    preset("gpt2").unwrap().require_pass().unwrap();
    let gemma = preset("gemma-2b").unwrap().require_pass().unwrap_err().to_string();
    assert!(gemma.starts_with("gemma-2b is of the family gemma, which kprof estimates"), "{gemma}");
    let gpt2 = |key: &str| {
        let text =
            r#"{"model_type":"gpt2","n_embd":8,"n_head":2,"n_layer":1,"vocab_size":5,"n_positions":8,"#;
        read(&format!("{text}{key}}}")).unwrap().require_pass().unwrap_err().to_string()
    };
    assert!(gpt2(r#""tie_word_embeddings":false"#).contains("does not compute tie_word_embeddings false"));
    assert!(gpt2(r#""activation_function":"relu""#).contains("activation_function relu"));
    assert!(gpt2(r#""scale_attn_by_inverse_layer_idx":true"#).contains("scale_attn_by_inverse_layer_idx"));
}
