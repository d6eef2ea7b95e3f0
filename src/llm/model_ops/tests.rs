//! Ops of whole models, against parameter counts and published tables.

use super::super::{DType, KvStorage, LinearRows, WeightFormat, preset, preset_names};
use super::*;

fn deployment(weights: &str) -> Deployment {
    Deployment::new(weights.parse().unwrap())
}

fn decode(batch: usize, context: usize) -> StepShape {
    StepShape { batch, new_tokens: 1, context }
}

fn prefill(batch: usize, tokens: usize) -> StepShape {
    StepShape { batch, new_tokens: tokens, context: tokens }
}

fn cost(name: &str, deployment: &Deployment, stage: Stage, step: &StepShape) -> Cost {
    preset(name).unwrap().ops(deployment, stage).iter().map(|op| op.cost(step)).sum()
}

#[test]
fn the_stored_weights_of_every_preset_are_its_parameters() {
    for name in preset_names() {
        let model = preset(&name).unwrap();
        let bytes = model.weight_bytes(&deployment("f32")).0;
        assert_eq!(bytes, model.parameters() as f64 * 4.0, "{name}");
    }
}

#[test]
fn ranks_share_linears_and_copy_norms() {
    let model = preset("llama-2-70b").unwrap();
    let one = deployment("bf16");
    let eight = Deployment { tensor_parallel: 8, ..one };
    let table = model.parameter_table();
    let shared = (table.total() - table.norms) as f64 * 2.0 / 8.0;
    assert_eq!(model.weight_bytes(&eight).0, shared + table.norms as f64 * 2.0);
    let step = decode(4, 1000);
    let flops = |d: &Deployment| {
        model
            .ops(d, Stage::Decode)
            .iter()
            .map(|op| op.cost(&step).work.matmul_flops)
            .sum::<crate::units::Flops>()
    };
    assert_eq!(flops(&eight).0 * 8.0, flops(&one).0);
    // 8 K/V heads: 8 ranks have one each, 16 a copy each.
    let sixteen = Deployment { tensor_parallel: 16, ..one };
    let kv = |d: &Deployment| model.kv_bytes(d, 100).0;
    assert_eq!((kv(&eight), kv(&sixteen)), (kv(&one) / 8.0, kv(&one) / 8.0));
}

#[test]
fn a_decode_step_reads_every_weight_but_the_token_table() {
    let d = deployment("bf16");
    let step = decode(1, 1);
    // Llama-2-7B: 6,738,415,616 parameters without 32,000 x 4,096 of the table, and the one row of the token.
    let read = cost("llama-2-7b", &d, Stage::Decode, &step);
    assert_eq!(read.weight_bytes.0, (6_738_415_616.0 - 131_072_000.0 + 4096.0) * 2.0);
    // Qwen2.5-0.5B ties its head to the table, which is read for the head.
    let tied = cost("qwen2.5-0.5b", &d, Stage::Decode, &step);
    assert_eq!(tied.weight_bytes.0, (494_032_768.0 + 896.0) * 2.0);
}

#[test]
fn matrix_flops_are_two_per_weight_and_token_and_attention_beside() {
    // Llama-2-7B, 2048 tokens: linears of blocks 32 (4 * 4096^2 + 3 * 4096 * 11008) = 6,476,005,376 weights;
    // attention 4 * 4096 * 32 * 2048 * 2049 / 2; head 2 * 32,000 * 4096 for the last position.
    let step = prefill(1, 2048);
    let flops = cost("llama-2-7b", &deployment("bf16"), Stage::Prefill, &step).work.matmul_flops.0;
    let expected = 2.0 * 6_476_005_376.0 * 2048.0 + 4.0 * 4096.0 * 32.0 * 2_098_176.0 + 2.0 * 131_072_000.0;
    assert_eq!(flops, expected);
}

#[test]
fn cache_bytes_per_token_are_those_of_published_tables() {
    // DeepSeek-AI 2025 (arXiv 2505.09343), table 1, bf16: DeepSeek-V3 70.272 KB. Of the same formula, GQA with 80
    // layers and 8 heads of 128 (as its Qwen-2.5 72B, 327.680 KB) is Llama-3.1-70B's cache.
    let d = deployment("bf16");
    for (name, bytes) in [("deepseek-v3", 70_272.0), ("llama-3.1-70b", 327_680.0), ("llama-2-7b", 524_288.0)]
    {
        assert_eq!(preset(name).unwrap().kv_bytes(&d, 1).0, bytes, "{name}");
    }
    let fp8 = Deployment { kv: KvStorage::FP8, ..d };
    assert_eq!(preset("llama-2-7b").unwrap().kv_bytes(&fp8, 1).0, 262_144.0);
    let int8 = Deployment { kv: KvStorage::int8(None), ..d };
    // One f16 per head and token, K and V apart: 2 * 32 layers * 32 heads * (128 + 2).
    assert_eq!(preset("llama-2-7b").unwrap().kv_bytes(&int8, 1).0, 266_240.0);
}

#[test]
fn training_flops_per_token_of_deepseek_v3_are_the_published_ones() {
    // DeepSeek-AI 2025 (arXiv 2505.09343), table 2: 250 GFLOPs per token at 4096 tokens, forward and backward, which
    // is three times forward; there every position has logits, here the last one.
    let model = preset("deepseek-v3").unwrap();
    let tokens = 4096.0;
    let forward =
        cost("deepseek-v3", &deployment("fp8"), Stage::Prefill, &prefill(1, 4096)).work.matmul_flops.0;
    let logits = 2.0 * (model.vocab_size * model.hidden_size) as f64;
    let per_token = 3.0 * (forward / tokens + logits * (tokens - 1.0) / tokens) / 1e9;
    assert!((per_token - 250.0).abs() < 0.5, "{per_token}");
}

#[test]
fn windows_end_the_growth_of_the_cache_and_of_attention() {
    let d = deployment("bf16");
    let mistral = preset("mistral-7b").unwrap();
    assert_eq!(mistral.kv_bytes(&d, 4096), mistral.kv_bytes(&d, 30_000));
    // Gemma 2: 21 of 42 layers are windowed to 4096: at 8192 tokens they keep half of what the others do.
    let gemma = preset("gemma-2-9b").unwrap();
    assert_eq!(gemma.kv_bytes(&d, 8192).0, gemma.kv_bytes(&d, 4096).0 * 1.5);
    let read = |context| cost("gemma-2-9b", &d, Stage::Decode, &decode(1, context)).cache_bytes.0;
    let appended = read(1) / 2.0;
    assert_eq!(read(8192) - appended, (read(4096) - appended) * 1.5);
}

#[test]
fn a_step_reads_the_experts_that_its_tokens_are_expected_to_touch() {
    let d = deployment("bf16");
    let model = preset("mixtral-8x7b").unwrap();
    let experts = model.parameter_table().experts as f64 * 2.0;
    let weights = |batch| cost("mixtral-8x7b", &d, Stage::Decode, &decode(batch, 1)).weight_bytes.0;
    // One token: 2 of 8. Two: 8 (1 - (3/4)^2) = 3.5 of 8, and one more row of the token table.
    let row = 4096.0 * 2.0;
    assert!((weights(2) - weights(1) - row - experts * 1.5 / 8.0).abs() < 1.0);
    let flops = |batch| cost("mixtral-8x7b", &d, Stage::Decode, &decode(batch, 1)).work.matmul_flops.0;
    assert_eq!(flops(2), 2.0 * flops(1));
    // Two FLOPs per active weight that multiplies: not the table of 32,000 x 4096, nor norms; and 1 key's attention.
    let multiplied = (model.active_parameters() - model.parameter_table().norms - 131_072_000) as f64;
    assert_eq!(flops(1), 2.0 * multiplied + 4.0 * 32.0 * 4096.0);
}

#[test]
fn quantised_weights_leave_table_norms_and_head_as_they_are() {
    let model = preset("llama-2-7b").unwrap();
    let table = model.parameter_table();
    let linears = (table.attention + table.dense_mlp) as f64;
    let rest = (table.total() as f64 - linears) * 2.0;
    // Groups of 128: 4 + 16 / 128 bits per weight, all widths being multiples of 128.
    assert_eq!(model.weight_bytes(&deployment("int4")).0, rest + linears * 4.125 / 8.0);
    let int4 = cost("llama-2-7b", &deployment("int4"), Stage::Decode, &decode(1, 1));
    let bf16 = cost("llama-2-7b", &deployment("bf16"), Stage::Decode, &decode(1, 1));
    assert_eq!(int4.activation_bytes(), bf16.activation_bytes());
    assert_eq!((bf16.weight_bytes.0 - int4.weight_bytes.0) / linears, 2.0 - 4.125 / 8.0);
}

#[test]
fn prefill_of_one_token_is_a_decode_step_at_the_start() {
    let d = deployment("bf16");
    for name in ["gpt2", "llama-2-7b", "phi-2", "gemma-2-9b", "mixtral-8x7b"] {
        let step = decode(3, 1);
        assert_eq!(cost(name, &d, Stage::Prefill, &step), cost(name, &d, Stage::Decode, &step), "{name}");
    }
}

#[test]
fn decoding_latents_costs_flops_and_saves_bytes() {
    let d = deployment("fp8");
    let step = decode(1, 4096);
    let of = |stage| cost("deepseek-v3", &d, stage, &step);
    let (absorbed, made) = (of(Stage::Decode), of(Stage::Prefill));
    // Per pair and head 2 (576 + 512) against 2 (192 + 128) FLOPs: 3.4 times.
    let attention = |stage| {
        let ops = preset("deepseek-v3").unwrap().ops(&d, stage);
        ops.iter().find(|op| op.label == "attention").unwrap().cost(&step).work
    };
    assert_eq!(attention(Stage::Decode).matmul_flops.0 / attention(Stage::Prefill).matmul_flops.0, 3.4);
    assert!(attention(Stage::Decode).bytes().0 < attention(Stage::Prefill).bytes().0 / 10.0);
    assert_eq!(absorbed.cache_bytes, made.cache_bytes);
}

#[test]
fn ops_are_labelled_and_ordered_as_a_pass_runs_them() {
    let labels = |name: &str| -> Vec<&str> {
        preset(name).unwrap().ops(&deployment("bf16"), Stage::Decode).iter().map(|op| op.label).collect()
    };
    assert_eq!(
        labels("gpt2"),
        [
            "embed",
            "attn.norm",
            "attn.qkv",
            "cache_append",
            "attention",
            "attn.proj",
            "attn.residual",
            "mlp.norm",
            "mlp.up",
            "mlp.gelu",
            "mlp.down",
            "mlp.residual",
            "head.norm",
            "head.logits",
            "head.argmax"
        ]
    );
    let deepseek = labels("deepseek-v2-lite");
    assert_eq!(deepseek.iter().filter(|l| **l == "attention").count(), 2, "dense and expert layers");
    assert!(deepseek.contains(&"attn.kv_a_norm") && deepseek.contains(&"mlp.shared.down"));
    let head = preset("gpt2").unwrap().ops(&deployment("bf16"), Stage::Prefill);
    let head = &head.iter().find(|op| op.label == "head.logits").unwrap().op;
    assert!(matches!(head, Op::Linear { rows: LinearRows::Last, dtype: DType::Bf16, .. }));
    assert_eq!(deployment("bf16").weights, WeightFormat::plain(DType::Bf16));
}
