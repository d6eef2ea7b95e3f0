//! Appending to every kind of cache, and attention over each and over activations.

use super::super::attention::{Cut, Scratch, Source, append, attend, uses_tensor_cores};
use super::super::tensor::CudaCache;
use super::Bench;
use super::reference;
use crate::backend::{AttentionSpec, BackendError, CacheSpec};
use crate::llm::{DType, KvElement, KvStorage, StepShape};
use half::{bf16, f16};

/// A cache that is filled, and what it should hold.
struct Filled {
    /// `[sequence][kv_head][token][channel]` of K and V, as read back through the storage.
    halves: [Vec<f64>; 2],
    tokens: usize,
    spec: AttentionSpec,
}

impl Filled {
    /// Rows of the tokens that query `position` of `sequence` sees through K/V head `head`.
    fn seen(&self, half: usize, sequence: usize, head: usize, position: usize) -> Vec<Vec<f64>> {
        let oldest = self.spec.window.map_or(0, |w| (position + 1).saturating_sub(w));
        let dim = self.spec.head_dim;
        let at = |token: usize| ((sequence * self.spec.kv_heads + head) * self.tokens + token) * dim;
        (oldest..=position).map(|token| self.halves[half][at(token)..at(token) + dim].to_vec()).collect()
    }
}

pub(super) fn check(bench: &mut Bench) -> Result<(), BackendError> {
    let spec = |heads, kv_heads, head_dim, window| AttentionSpec { heads, kv_heads, head_dim, window };
    let int8 = KvStorage::int8(None);
    let own = KvStorage::plain(bench.dtype);
    for (spec, storage, batch) in [
        (spec(2, 2, 64, None), own, 2),
        (spec(6, 2, 80, None), int8, 1),
        (spec(7, 1, 128, None), own, 1),
        (spec(7, 1, 48, None), int8, 1),
        (spec(4, 2, 16, Some(37)), int8, 2),
        (spec(2, 2, 64, None), KvStorage::plain(DType::F32), 1),
        (spec(2, 1, 256, Some(20)), KvStorage::plain(DType::Bf16), 1),
        (spec(1, 1, 8, None), KvStorage::plain(DType::F16), 1),
        (spec(3, 3, 104, Some(20)), KvStorage::plain(DType::Bf16), 2),
        (spec(4, 1, 128, None), KvStorage::plain(DType::F16), 1),
    ] {
        cached(bench, spec, storage, batch)?;
    }
    over_activations(bench, spec(4, 2, 24, None))
}

/// The words of a step, on the device.
fn step_words(bench: &Bench, step: &StepShape) -> Result<super::super::handles::Memory, BackendError> {
    let words = [step.context - step.new_tokens, step.context, 0, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|w| (*w as u32).to_le_bytes()).collect();
    Ok(bench.gpu.upload(&bytes, "a check")?)
}

/// A prompt of 70 tokens and three of decode, appended and attended to.
fn cached(
    bench: &mut Bench,
    spec: AttentionSpec,
    storage: KvStorage,
    batch: usize,
) -> Result<(), BackendError> {
    let AttentionSpec { heads, kv_heads, head_dim, .. } = spec;
    let cache_spec = CacheSpec { batch, kv_heads, head_dim, capacity: 80, storage };
    let cache = CudaCache::new(&bench.gpu, cache_spec)?;
    let width = (heads + 2 * kv_heads) * head_dim;
    let mut filled = Filled { halves: [Vec::new(), Vec::new()], tokens: 0, spec };
    for (new_tokens, context) in [(70, 70), (1, 71), (2, 73)] {
        let step = StepShape { batch, new_tokens, context };
        let qkv = bench.numbers(batch * new_tokens * width);
        let dqkv = bench.tensor(&qkv, width)?;
        let words = step_words(bench, &step)?;
        let launch = append(bench.dtype, &step, &dqkv, &spec, &cache, words.address);
        bench.run(&launch)?;
        extend(&mut filled, &qkv, width, &step, storage);
        if new_tokens == 1 {
            let case = format!("{spec:?}");
            note_cache(bench, launch.kernel, case, &cache, &filled)?;
        }
        for splits in if new_tokens == 1 { &[1, 5][..] } else { &[1] } {
            attention_case(bench, &step, (&qkv, width), &dqkv, Source::cache(&cache), &filled, *splits)?;
        }
    }
    Ok(())
}

/// Adds the K and V of a step to what a cache should hold.
fn extend(filled: &mut Filled, qkv: &[f32], width: usize, step: &StepShape, storage: KvStorage) {
    let AttentionSpec { heads, kv_heads, head_dim, .. } = filled.spec;
    for half in 0..2 {
        let mut all = Vec::new();
        for sequence in 0..step.batch {
            for head in 0..kv_heads {
                let at = (sequence * kv_heads + head) * filled.tokens * head_dim;
                all.extend_from_slice(&filled.halves[half][at..at + filled.tokens * head_dim]);
                for token in 0..step.new_tokens {
                    let column = (heads + half * kv_heads + head) * head_dim;
                    let row = &qkv[(sequence * step.new_tokens + token) * width + column..][..head_dim];
                    all.extend(stored(row, storage));
                }
            }
        }
        filled.halves[half] = all;
    }
    filled.tokens = step.context;
}

/// A head as its storage gives it back. INT8: scale = max |x| / 127 in f16, code = x / scale to nearest.
fn stored(row: &[f32], storage: KvStorage) -> Vec<f64> {
    let of = |f: fn(f32) -> f32| row.iter().map(|x| f64::from(f(*x))).collect();
    match storage.element {
        KvElement::Bf16 => of(|x| bf16::from_f32(x).to_f32()),
        KvElement::F16 => of(|x| f16::from_f32(x).to_f32()),
        KvElement::Int8 => {
            let largest = row.iter().fold(0f32, |m, x| m.max(x.abs()));
            let scale =
                f16::from_f32((largest * (1.0 / 127.0)).max(f16::MIN_POSITIVE_SUBNORMAL.to_f32())).to_f32();
            row.iter().map(|x| f64::from((x / scale).round().clamp(-127.0, 127.0) * scale)).collect()
        }
        _ => of(|x| x),
    }
}

/// Holds a cache, read back whole, against what it should hold.
fn note_cache(
    bench: &mut Bench,
    kernel: &str,
    case: String,
    cache: &CudaCache,
    filled: &Filled,
) -> Result<(), BackendError> {
    let CacheSpec { batch, kv_heads, head_dim, capacity, storage } = cache.spec;
    for (half, memory) in [&cache.k, &cache.v].into_iter().enumerate() {
        let mut bytes = vec![0u8; memory.bytes];
        bench.gpu.download(memory, &mut bytes)?;
        let mut scales = vec![0u8; 2 * batch * kv_heads * capacity];
        if let Some(memory) = &cache.scales {
            bench.gpu.download(&memory[half], &mut scales)?;
        }
        let scale = |at: usize| f16::from_le_bytes(scales.as_chunks().0[at / head_dim]).to_f32();
        let value = |at: usize| match storage.element {
            KvElement::F32 => f32::from_le_bytes(bytes.as_chunks().0[at]),
            KvElement::Bf16 => bf16::from_le_bytes(bytes.as_chunks().0[at]).to_f32(),
            KvElement::F16 => f16::from_le_bytes(bytes.as_chunks().0[at]).to_f32(),
            _ => f32::from(bytes[at] as i8) * scale(at),
        };
        let found: Vec<f32> = (0..batch * kv_heads)
            .flat_map(|head| (0..filled.tokens * head_dim).map(move |i| head * capacity * head_dim + i))
            .map(value)
            .collect();
        // What is stored has no tolerance beyond that of f32: the same roundings give the same numbers.
        let dtype = std::mem::replace(&mut bench.dtype, DType::F32);
        bench.note(kernel, format!("{case}, {}", ["K", "V"][half]), &found, &filled.halves[half]);
        bench.dtype = dtype;
    }
    Ok(())
}

fn attention_case(
    bench: &mut Bench,
    step: &StepShape,
    (qkv, width): (&[f32], usize),
    dqkv: &super::CudaTensor,
    source: Source,
    filled: &Filled,
    splits: usize,
) -> Result<(), BackendError> {
    let spec = &filled.spec;
    let AttentionSpec { heads, kv_heads, head_dim, .. } = *spec;
    let words = step_words(bench, step)?;
    let rows = step.batch * step.new_tokens;
    let y = bench.blank(rows, heads * head_dim)?;
    let cut = Cut { splits, ..Cut::new(spec, step, source.most, 1) };
    let partial = bench.gpu.allocate(cut.partial_bytes(rows, spec), "a check")?;
    let arrived = bench.gpu.zeros(rows * cut.blocks * 4, "a check")?;
    let scratch = Scratch { partial: partial.address, arrived: arrived.address };
    let launch = attend(bench.dtype, (step, spec), dqkv, source, (cut, scratch), words.address, &y);
    // Tensor cores take K, V and the weights of V in the activations' type: the roundings of K and V are repeated here, and
    // that of the weights doubles what is allowed. In f32 nothing is rounded: pieces are the whole number.
    let tensor_cores = uses_tensor_cores(step, spec);
    let operands = |row: &[f64]| -> Vec<f64> {
        let as_f32: Vec<f32> = row.iter().map(|x| *x as f32).collect();
        let rounded = if tensor_cores { bench.rounded(&as_f32) } else { as_f32 };
        rounded.into_iter().map(f64::from).collect()
    };
    let allowed = if tensor_cores && bench.dtype != DType::F32 { 2.0 } else { 1.0 };
    let want: Vec<f64> = (0..rows * heads)
        .flat_map(|i| {
            let (row, head) = (i / heads, i % heads);
            let q: Vec<f64> =
                qkv[row * width + head * head_dim..][..head_dim].iter().map(|x| f64::from(*x)).collect();
            let position = step.context - step.new_tokens + row % step.new_tokens;
            let of = |half| {
                let rows = filled.seen(half, row / step.new_tokens, head / (heads / kv_heads), position);
                rows.iter().map(|row| operands(row)).collect::<Vec<_>>()
            };
            reference::attend(&q, &of(0), &of(1))
        })
        .collect();
    let case = format!(
        "{} new of {}, {heads} heads on {kv_heads} of {head_dim}, window {:?}, {splits} parts",
        step.new_tokens, step.context, spec.window
    );
    bench.compare_within(allowed, &launch, case.clone(), &y, &want)?;
    if !tensor_cores && splits > 1 {
        // Once more: the counters are as they were, or a graph would stop here.
        bench.compare(&launch, format!("{case}, again"), &y, &want)?;
    }
    Ok(())
}

/// Attention without a cache: K and V lie between the queries of the next row.
fn over_activations(bench: &mut Bench, spec: AttentionSpec) -> Result<(), BackendError> {
    let step = StepShape { batch: 2, new_tokens: 66, context: 66 };
    let width = (spec.heads + 2 * spec.kv_heads) * spec.head_dim;
    let qkv = bench.numbers(2 * 66 * width);
    let dqkv = bench.tensor(&qkv, width)?;
    let mut filled = Filled { halves: [Vec::new(), Vec::new()], tokens: 0, spec };
    extend(&mut filled, &qkv, width, &step, KvStorage::plain(bench.dtype));
    let source = Source::activations(&dqkv, &step, &spec, bench.dtype);
    attention_case(bench, &step, (&qkv, width), &dqkv, source, &filled, 1)
}
