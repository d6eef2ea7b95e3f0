//! The work of every op, with the arithmetic by hand.

use super::*;
use crate::llm::Work;
use crate::units::Flops;

const F32: KvStorage = KvStorage::plain(DType::F32);

fn attention(masked_computed: bool) -> Op {
    windowed(masked_computed, None)
}

fn windowed(masked_computed: bool, window: Option<usize>) -> Op {
    let dtype = DType::F32;
    Op::Attention { heads: 2, kv_heads: 2, head_dim: 8, dtype, kv: F32, masked_computed, window }
}

fn step(batch: usize, new_tokens: usize, context: usize) -> StepShape {
    StepShape { batch, new_tokens, context }
}

#[test]
fn a_linear_counts_two_flops_per_multiply_add_and_each_operand_once() {
    let op = Op::Linear {
        input: 3,
        output: 5,
        bias: true,
        rows: LinearRows::All,
        dtype: DType::F32,
        weights: None,
    };
    let work = op.work(&step(2, 4, 4));
    // 8 rows: 2 * 8 * 3 * 5 = 240; bias 8 * 5; read (24 + 15 + 5) * 4 B; written 40 * 4 B.
    assert_eq!(work.matmul_flops, Flops(240.0));
    assert_eq!(work.elementwise_flops, Flops(40.0));
    assert_eq!(work.bytes_read, Bytes(176.0));
    assert_eq!(work.bytes_written, Bytes(160.0));
}

#[test]
fn causal_attention_counts_the_pairs_it_computes() {
    // 3 new tokens after 2: visible 3 + 4 + 5 = 12 of 15 pairs; 4 * 2 heads * 8 * 12 = 768.
    let shape = step(1, 3, 5);
    assert_eq!(attention(false).work(&shape).matmul_flops, Flops(768.0));
    assert_eq!(attention(true).work(&shape).matmul_flops, Flops(960.0));
    // One token sees all of its context either way.
    let decode = step(1, 1, 5);
    assert_eq!(attention(false).work(&decode), attention(true).work(&decode));
}

#[test]
fn attention_reads_the_cache_in_its_storage_type() {
    let int8 = KvStorage::int8(None);
    let op = Op::Attention {
        heads: 2,
        kv_heads: 2,
        head_dim: 8,
        dtype: DType::F32,
        kv: int8,
        masked_computed: false,
        window: None,
    };
    // Per token: K and V, 2 heads, 8 bytes + a 2-byte scale = 40 B; context 10 -> 400 B; Q 16 * 4 B.
    assert_eq!(op.work(&step(1, 1, 10)).bytes_read, Bytes(464.0));
}

#[test]
fn a_prefill_of_one_token_is_a_decode_step_at_position_zero() {
    let prefill = step(3, 1, 1);
    let decode = StepShape { batch: 3, new_tokens: 1, context: 1 };
    assert_eq!(attention(true).work(&prefill), attention(true).work(&decode));
}

#[test]
fn the_head_works_on_the_last_position_only() {
    let op = Op::Linear {
        input: 4,
        output: 10,
        bias: false,
        rows: LinearRows::Last,
        dtype: DType::Bf16,
        weights: None,
    };
    assert_eq!(op.work(&step(2, 100, 100)).matmul_flops, Flops(160.0));
}

#[test]
fn a_window_limits_the_pairs_and_the_bytes_of_keys_and_values() {
    // 3 new tokens after 2, window 4: the last three positions see 3, 4 and 4 of 5 keys, all 5 between them.
    let shape = step(1, 3, 5);
    assert_eq!(windowed(false, Some(4)).work(&shape).matmul_flops, Flops(4.0 * 2.0 * 8.0 * 11.0));
    assert_eq!(windowed(false, Some(4)).work(&shape).bytes_read, attention(false).work(&shape).bytes_read);
    // Decode at 100 with a window of 10: 10 keys, K and V of 2 heads of 8 in f32, and Q.
    let work = windowed(true, Some(10)).work(&step(1, 1, 100));
    assert_eq!(work.bytes_read, Bytes(10.0 * 2.0 * 16.0 * 4.0 + 16.0 * 4.0));
    assert_eq!(work.matmul_flops, Flops(4.0 * 2.0 * 8.0 * 10.0));
    // A prefill of 6 with a window of 2: 1 + 2 + 2 + 2 + 2 + 2 pairs; a window as long as the context is none.
    let prefill = step(1, 6, 6);
    assert_eq!(prefill.pairs(false, Some(2)), 11.0);
    assert_eq!(prefill.pairs(false, Some(6)), prefill.pairs(false, None));
    assert_eq!(prefill.pairs(false, None), 21.0);
}

#[test]
fn grouped_queries_read_the_cache_once_per_kv_head() {
    let of = |kv_heads: usize| {
        let (dtype, masked_computed, window) = (DType::Bf16, false, None);
        let kv = KvStorage::plain(dtype);
        Op::Attention { heads: 8, kv_heads, head_dim: 4, dtype, kv, masked_computed, window }
            .work(&step(1, 1, 10))
    };
    // Q is 8 * 4 elements; K and V 2 * 10 * 2 * 4 for 2 heads and four times that for 8. The products do not change.
    assert_eq!(of(2).bytes_read, Bytes((32.0 + 160.0) * 2.0));
    assert_eq!(of(8).bytes_read, Bytes((32.0 + 640.0) * 2.0));
    assert_eq!(of(2).matmul_flops, of(8).matmul_flops);
}

#[test]
fn the_ops_of_a_llama_block_follow_their_formulas() {
    let (shape, dtype) = (step(2, 3, 5), DType::Bf16);
    let rope = Op::Rope { heads: 6, channels: 8, dtype }.work(&shape);
    // 6 tokens x 48 channels = 288: 3 FLOPs each; angles 3 positions x 4 pairs x 2 x 4 B.
    assert_eq!(rope.elementwise_flops, Flops(864.0));
    assert_eq!((rope.bytes_read, rope.bytes_written), (Bytes(576.0 + 96.0), Bytes(576.0)));
    let gate = Op::Gate { width: 10, activation: Activation::Silu, dtype }.work(&shape);
    assert_eq!(gate.elementwise_flops, Flops(60.0 * 4.0));
    assert_eq!((gate.bytes_read, gate.bytes_written), (Bytes(240.0), Bytes(120.0)));
    let norm = Op::HeadNorm { heads: 4, head_dim: 8, dtype }.work(&shape);
    assert_eq!(norm.elementwise_flops, Flops(4.0 * 192.0));
    assert_eq!((norm.bytes_read, norm.bytes_written), (Bytes(384.0 + 16.0), Bytes(384.0)));
    let rms = Op::Norm { norm: NormKind::Rms, hidden: 32, rows: LinearRows::Last, dtype }.work(&shape);
    assert_eq!(rms.elementwise_flops, Flops(4.0 * 64.0));
    assert_eq!(rms.bytes_read, Bytes((64.0 + 32.0) * 2.0));
}

#[test]
fn a_fused_op_sums_flops_and_counts_no_bytes_between_its_parts() {
    let (dtype, rows, weights) = (DType::F32, LinearRows::All, None);
    let shape = step(1, 2, 2);
    let norm = Op::Norm { norm: NormKind::Layer, hidden: 3, rows, dtype };
    let linear = Op::Linear { input: 3, output: 5, bias: true, rows, dtype, weights };
    let gelu = Op::Gelu { width: 5, dtype };
    let work = Op::Fused { ops: vec![norm.clone(), linear.clone(), gelu.clone()] }.work(&shape);
    let parts: Work = [&norm, &linear, &gelu].into_iter().map(|op| op.work(&shape)).sum();
    assert_eq!((work.matmul_flops, work.elementwise_flops), (parts.matmul_flops, parts.elementwise_flops));
    // Read: x 2 * 3, gain and bias 2 * 3, W 15, b 5; written: 2 * 5; 4 B each.
    assert_eq!((work.bytes_read, work.bytes_written), (Bytes(32.0 * 4.0), Bytes(40.0)));
    // A residual reads x beside the branch: (2 * 3 + 15 + 5 + 2 * 5) * 4 B.
    let residual = Op::Residual { hidden: 5, dtype };
    assert_eq!(Op::Fused { ops: vec![linear, residual] }.work(&shape).bytes_read, Bytes(36.0 * 4.0));
}

#[test]
fn int8_weights_count_their_codes_and_scales() {
    let of = |weights: &str| {
        let weights = Some(weights.parse().unwrap());
        let (dtype, rows) = (DType::Bf16, LinearRows::All);
        Op::Linear { input: 100, output: 10, bias: false, rows, dtype, weights }.work(&step(1, 1, 1))
    };
    // Activations in and out are 100 and 10 bf16. 100 inputs are 4 blocks of 32: 1000 codes and 40 f16 scales.
    assert_eq!(of("bf16").bytes_read, Bytes(200.0 + 2000.0));
    assert_eq!(of("int8:32").bytes_read, Bytes(200.0 + 1000.0 + 80.0));
    assert_eq!(of("int8").bytes_read, Bytes(200.0 + 1000.0 + 20.0));
}
