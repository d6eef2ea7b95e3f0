//! Estimates against arithmetic by hand and published figures.

use super::*;
use crate::hw::find_device;
use crate::llm::{KvStorage, preset};
use crate::roofline::Level;

fn run(model: &str, device: &str, weights: &str, ranks: usize, batch: usize, context: usize) -> Estimate {
    let model = preset(model).unwrap();
    let deployment = Deployment { tensor_parallel: ranks, ..Deployment::new(weights.parse().unwrap()) };
    let device = find_device(device).unwrap();
    let (batches, contexts) = ([batch], [context]);
    let request = EstimateRequest {
        model: &model,
        deployment,
        device,
        batches: &batches,
        contexts: &contexts,
        prompt: None,
    };
    estimate(&request).unwrap()
}

fn close(a: f64, b: f64) {
    assert!((a / b - 1.0).abs() < 1e-9, "{a} {b}");
}

#[test]
fn decoding_at_batch_1_takes_the_time_to_read_weights_and_cache() {
    // Llama-2-7B bf16, H100 SXM 3.35 TB/s. Weights without the token table: (6,738,415,616 - 32,000 * 4096 + 4096) * 2 B
    // = 13,214,695,424 B, 3.94 ms; the table's 0.26 GB would make it 13.48 GB, 4.02 ms. Cache: 4096 tokens and one new,
    // 524,288 B each: 2.15 GB, 0.64 ms.
    let e = run("llama-2-7b", "H100 SXM", "bf16", 1, 1, 4096);
    let point = &e.points[0];
    close(point.tpot_floor_s, (13_214_695_424.0 + 4097.0 * 524_288.0) / 3.35e12);
    assert_eq!(point.decode.total.bound, Bound::Memory);
    close(point.max_tokens_per_s, 1.0 / point.tpot_floor_s);
    assert_eq!(point.decode.phases.iter().map(|p| p.phase).collect::<Vec<_>>(), Phase::ALL);
    let phases: f64 = point.decode.phases.iter().map(|p| p.work.floor_s).sum();
    close(phases, point.tpot_floor_s);
}

#[test]
fn the_share_of_the_floor_that_gpt_fast_reaches_is_the_published_one() {
    // gpt-fast's README: Llama-2-7B bf16 on an A100-80GB 104.9 tokens/s at 1397 GB/s, of 2039 GB/s 68.5 %.
    let e = run("llama-2-7b", "A100 SXM 80GB", "bf16", 1, 1, 100);
    let reached = 104.9 / e.points[0].max_tokens_per_s;
    assert!((reached - 0.685).abs() < 0.01, "{reached}");
}

#[test]
fn a_long_prompt_takes_the_time_to_compute_it() {
    let e = run("llama-2-7b", "H100 SXM", "bf16", 1, 1, 2048);
    let prefill = &e.points[0].prefill;
    // 989.4 TFLOP/s: linears 2 * 6,476,005,376 * 2048, attention 4 * 4096 * 32 * 2048 * 2049 / 2. At 3.35 TB/s: the head's
    // 32,000 x 4096 and the norms' 65 x 4096 weights, 2048 rows of the table, and the cache that is written.
    let flops = 2.0 * 6_476_005_376.0 * 2048.0 + 4.0 * 4096.0 * 32.0 * 2_098_176.0;
    let bytes = (131_072_000.0 + 65.0 * 4096.0 + 2048.0 * 4096.0) * 2.0 + 2048.0 * 524_288.0;
    close(prefill.total.floor_s, flops / 989.4e12 + bytes / 3.35e12);
    assert_eq!(prefill.total.bound, Bound::Compute);
    assert_eq!(prefill.phases[3].work.bound, Bound::Memory, "the head works on one position");
}

#[test]
fn the_ridge_batch_is_where_arithmetic_takes_as_long_as_reading_weights() {
    let ridge = |weights: &str| run("llama-2-7b", "H100 SXM", weights, 1, 1, 1).ridge_batch.unwrap();
    // 2 B / 989.4e12 >= 2 / 3.35e12 gives B >= 295.3; 4.125 bits per weight in bf16 arithmetic give 76.1.
    assert_eq!((ridge("bf16"), ridge("int4")), (296, 77));
    // Qwen3-30B-A3B: 8 of 128 experts; all 128 are read long before each has 295 tokens, 4725 tokens in all; linears that
    // every token goes through are busy earlier, so that it lies below.
    let moe = run("qwen3-30b-a3b", "H100 SXM", "bf16", 1, 1, 1).ridge_batch.unwrap();
    assert!(moe > 3000 && moe < 4725, "{moe}");
}

#[test]
fn memory_holds_weights_and_as_many_sequences_as_fit() {
    // Llama-2-70B bf16: 137,953,296,384 B, more than 80 GiB; on each of 4 ranks norms are copied and the rest shared.
    let one = run("llama-2-70b", "H100 SXM", "bf16", 1, 1, 4096);
    assert_eq!(one.weight_bytes, 137_953_296_384.0);
    assert_eq!((one.points[0].fits, one.points[0].largest_batch), (Some(false), Some(0)));
    let four = run("llama-2-70b", "H100 SXM", "bf16", 4, 8, 4096);
    let point = &four.points[0];
    // 80 layers, 2 of 8 K/V heads of 128 on a rank: 81,920 B per token.
    assert_eq!(point.kv_bytes, 8.0 * 4096.0 * 81_920.0);
    let room = four.memory_bytes.unwrap() - four.weight_bytes;
    assert_eq!(point.largest_batch, Some((room / (4096.0 * 81_920.0)) as usize));
    assert_eq!(point.fits, Some(true));
    assert_eq!(point.decode.collectives[1].count, 160);
    assert!(one.points[0].decode.collectives.is_empty());
}

#[test]
fn a_device_without_the_arithmetic_is_held_against_what_it_has_and_says_so() {
    let e = run("llama-2-7b", "A100 SXM 80GB", "fp8", 1, 1, 100);
    assert!(e.linear_ceiling.name().contains("bf16 matrix"), "{}", e.linear_ceiling.name());
    let text = &e.findings[0].message;
    assert!(text.starts_with("no fp8 peak is known, so linears are held against bf16 matrix"), "{text}");
    let h100 = run("llama-2-7b", "H100 SXM", "fp8", 1, 1, 100);
    assert!(h100.findings.is_empty() && h100.linear_ceiling.name().contains("fp8"), "{:?}", h100.findings);
    assert!(h100.attention_ceiling.name().contains("bf16"));
}

#[test]
fn what_is_no_bound_is_said() {
    let codes = |model: &str, context| -> Vec<FindingCode> {
        run(model, "H100 SXM", "bf16", 1, 1, context).findings.iter().map(|f| f.code).collect()
    };
    assert_eq!(codes("llama-2-7b", 4096), []);
    assert_eq!(codes("llama-2-7b", 4097), [FindingCode::BeyondPositions]);
    assert_eq!(codes("mixtral-8x7b", 100), [FindingCode::Estimated]);
}

#[test]
fn what_cannot_be_estimated_is_an_error() {
    let model = preset("llama-2-7b").unwrap();
    let mut device = find_device("H100 SXM").unwrap().clone();
    let mut deployment = Deployment::new("bf16".parse().unwrap());
    let error = |deployment, device: &DeviceSpec| {
        let (batches, contexts) = ([1], [1]);
        let (model, prompt) = (&model, None);
        let request =
            EstimateRequest { model, deployment, device, batches: &batches, contexts: &contexts, prompt };
        estimate(&request).unwrap_err().to_string()
    };
    deployment.tensor_parallel = 5;
    assert!(error(deployment, &device).contains("does not divide num_attention_heads 32"));
    deployment.tensor_parallel = 1;
    device.ceilings.retain(|c| c.byte_rate().is_some());
    assert!(error(deployment, &device).starts_with("no peak of bf16 arithmetic is known for NVIDIA H100"));
    device.ceilings.clear();
    assert!(error(deployment, &device).starts_with("no DRAM bandwidth is known"));
}

#[test]
fn caches_of_8_bits_halve_what_attention_reads() {
    let model = preset("llama-3.1-8b").unwrap();
    let device = find_device("H100 SXM").unwrap();
    let of = |kv| {
        let deployment = Deployment { kv, ..Deployment::new("bf16".parse().unwrap()) };
        let (batches, contexts) = ([64], [8192]);
        let (model, prompt) = (&model, Some(128));
        let request =
            EstimateRequest { model, deployment, device, batches: &batches, contexts: &contexts, prompt };
        estimate(&request).unwrap().points.remove(0)
    };
    let (wide, narrow) = (of(KvStorage::plain(crate::llm::DType::Bf16)), of(KvStorage::FP8));
    assert_eq!(wide.decode.total.cache_bytes, 2.0 * narrow.decode.total.cache_bytes);
    assert_eq!((wide.prompt, wide.context), (128, 8192));
    assert!(narrow.largest_batch > wide.largest_batch);
}

#[test]
fn points_of_the_chart_lie_on_the_roof() {
    let e = run("llama-2-7b", "H100 SXM", "bf16", 1, 1, 4096);
    let roofline = estimate_points(&e);
    assert!(roofline.points.iter().all(|p| p.time.is_some() && p.intensity().is_some()));
    let decode =
        roofline.points.iter().find(|p| p.level == Level::Stage && p.stage == Some(Stage::Decode)).unwrap();
    let roof = decode.intensity().unwrap() * 3.35e12;
    close(decode.achieved_flop_rate().unwrap(), roof);
}
