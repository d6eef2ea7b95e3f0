//! Every op of the cpu backend computes what candle computes in f32 from the same stored numbers: random shapes, odd
//! sizes, batches, every storage type, every instruction set of this machine.

use kprof::backend::{
    AttentionSpec, Backend, CacheSpec, CandleBackend, CpuBackend, CpuOptions, HostTensor, Isa, KeysValues,
    Site, WeightOrder,
};
use kprof::llm::{Activation, DType, KvStorage, LinearRows, NormKind, Phase, StepShape};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

const SITE: Site = Site { phase: Phase::Mlp, layer: None, label: "test" };

/// Something computed from stored numbers on any backend.
trait Case {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32>;
}

/// Random shapes and numbers; the numbers are exact in the storage type, so that both sides start from the same.
struct Random {
    source: Xoshiro256PlusPlus,
    dtype: DType,
}

impl Random {
    fn below(&mut self, n: usize) -> usize {
        (self.source.next_u64() % n as u64) as usize
    }

    fn size(&mut self, range: std::ops::RangeInclusive<usize>) -> usize {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    fn number(&mut self) -> f32 {
        // The sum of four uniform numbers, of variance 4 / 12: near enough to a normal one.
        let uniform = |r: &mut Self| (r.source.next_u32() >> 8) as f32 / (1 << 24) as f32 - 0.5;
        let x: f32 = (0..4).map(|_| uniform(self)).sum::<f32>() * 1.7;
        match self.dtype {
            DType::F32 => x,
            DType::Bf16 => half::bf16::from_f32(x).to_f32(),
            DType::F16 => half::f16::from_f32(x).to_f32(),
        }
    }

    fn tensor(&mut self, shape: &[usize]) -> HostTensor {
        let data = (0..shape.iter().product()).map(|_| self.number()).collect();
        HostTensor { shape: shape.to_vec(), data }
    }

    fn maybe(&mut self, shape: &[usize]) -> Option<HostTensor> {
        (self.below(2) == 0).then(|| self.tensor(shape))
    }
}

/// Root mean square and largest difference, in units of the root mean square of the expected.
fn errors(found: &[f32], expected: &[f32]) -> (f64, f64) {
    assert_eq!(found.len(), expected.len());
    let n = expected.len() as f64;
    let size = (expected.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / n).sqrt();
    let differences: Vec<f64> =
        found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).collect();
    assert!(differences.iter().all(|d| d.is_finite()), "not finite");
    let mean = (differences.iter().map(|d| d * d).sum::<f64>() / n).sqrt();
    (mean / size, differences.into_iter().fold(0.0, f64::max) / size)
}

/// Relative rounding of a storage type, times what an op may add to it: a fused op rounds between its parts as often as
/// its parts do, and f32 sums of up to 300 products differ by their order.
fn bound(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => 32.0 * f64::from(f32::EPSILON) / 2.0,
        DType::Bf16 => 2.0 / 256.0,
        DType::F16 => 2.0 / 2048.0,
    }
}

/// Runs `make`'s cases on all storage types and instruction sets against candle in f32.
fn check<C: Case + std::fmt::Debug>(cases: usize, make: impl Fn(&mut Random) -> C) {
    for dtype in DType::ALL {
        let mut random = Random { source: Xoshiro256PlusPlus::seed_from_u64(11), dtype };
        for _ in 0..cases {
            let case = make(&mut random);
            let expected = case.run(&mut CandleBackend::new(DType::F32));
            let threads = random.size(1..=3);
            for isa in Isa::available() {
                let options = CpuOptions { isa: Some(isa), threads: Some(threads), ..CpuOptions::new(dtype) };
                let found = case.run(&mut CpuBackend::new(options).unwrap());
                let (mean, largest) = errors(&found, &expected);
                let bound = bound(dtype);
                assert!(
                    mean < bound && largest < 10.0 * bound,
                    "{dtype} {isa}: rms {mean:e}, largest {largest:e}, bound {bound:e}: {case:?}"
                );
            }
        }
    }
}

fn step(batch: usize, new_tokens: usize, context: usize) -> StepShape {
    StepShape { batch, new_tokens, context }
}

/// A tensor on the backend: rows of a table.
fn upload<B: Backend>(backend: &mut B, x: &HostTensor) -> B::Tensor {
    let rows = x.shape[0];
    let ids: Vec<u32> = (0..rows as u32).collect();
    let table = backend.load_table(x.clone()).unwrap();
    backend.embed(SITE, &step(1, rows, rows), &ids, &table, None).unwrap()
}

fn download<B: Backend>(backend: &mut B, x: &B::Tensor) -> Vec<f32> {
    backend.to_host(x).unwrap().data
}

/// A shape without its numbers, which would fill a page.
macro_rules! debug_shapes {
    ($name:ident: $($field:ident),+) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($field), &self.$field))+.finish()
            }
        }
    };
}

struct Embed {
    step: StepShape,
    ids: Vec<u32>,
    tokens: HostTensor,
    positions: Option<HostTensor>,
}
debug_shapes!(Embed: step, ids);

impl Case for Embed {
    fn run<B: Backend>(&self, backend: &mut B) -> Vec<f32> {
        let tokens = backend.load_table(self.tokens.clone()).unwrap();
        let positions = self.positions.clone().map(|p| backend.load_table(p).unwrap());
        let x = backend.embed(SITE, &self.step, &self.ids, &tokens, positions.as_ref()).unwrap();
        download(backend, &x)
    }
}

#[test]
fn embeddings_are_rows_of_tokens_and_positions() {
    check(12, |r| {
        let (width, vocab, batch) = (r.size(1..=150), r.size(2..=40), r.size(1..=3));
        let (past, new) = (r.size(0..=5), r.size(1..=9));
        let ids = (0..batch * new).map(|_| r.below(vocab) as u32).collect();
        let positions = r.maybe(&[past + new, width]);
        Embed { step: step(batch, new, past + new), ids, tokens: r.tensor(&[vocab, width]), positions }
    });
}

/// A linear with all that can stand around it.
struct Linear {
    around: Around,
    step: StepShape,
    rows: LinearRows,
    kind: NormKind,
    activation: Activation,
    x: HostTensor,
    gain: HostTensor,
    gain_bias: Option<HostTensor>,
    order: WeightOrder,
    weight: HostTensor,
    bias: Option<HostTensor>,
    residual: HostTensor,
}
debug_shapes!(Linear: around, step, rows, kind, activation, order);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    Nothing,
    Norm,
    NormGelu,
    NormGate,
    Gelu,
    Gate,
    Residual,
    NormAlone,
    FirstOutputs,
    TiedHead,
}

impl Linear {
    fn random(r: &mut Random) -> Self {
        use Around::*;
        let all =
            [Nothing, Norm, NormGelu, NormGate, Gelu, Gate, Residual, NormAlone, FirstOutputs, TiedHead];
        let around = r.one_of(&all);
        let (batch, new) = (r.size(1..=4), r.size(1..=21));
        let (input, outputs) = (r.size(2..=300), r.size(1..=90) * if r.below(3) == 0 { 4 } else { 1 });
        Self::of(r, around, (batch, new), (input, outputs))
    }

    /// Many rows, deep and wide enough for several tasks and passes of a matrix unit.
    fn large(r: &mut Random) -> Self {
        use Around::*;
        let around = r.one_of(&[Nothing, NormGelu, Residual]);
        let (batch, new) = (r.size(1..=3), r.size(32..=150));
        let (input, outputs) = (r.size(760..=1700), r.size(30..=300));
        Self::of(r, around, (batch, new), (input, outputs))
    }

    fn of(
        r: &mut Random,
        around: Around,
        (batch, new): (usize, usize),
        (input, outputs): (usize, usize),
    ) -> Self {
        use Around::*;
        let rows = match around {
            Norm | NormAlone => r.one_of(&[LinearRows::All, LinearRows::Last]),
            _ => LinearRows::All,
        };
        let outputs = outputs.next_multiple_of(2);
        let order = match around {
            TiedHead => WeightOrder::OutputInput,
            _ => r.one_of(&[WeightOrder::InputOutput, WeightOrder::OutputInput]),
        };
        let shape = match order {
            WeightOrder::InputOutput => [input, outputs],
            WeightOrder::OutputInput => [outputs, input],
        };
        let kind = r.one_of(&[NormKind::Layer, NormKind::Rms]);
        let gain_bias = if kind == NormKind::Layer { r.maybe(&[input]) } else { None };
        let mut weight = r.tensor(&shape);
        // Results of about 1, as in a model; by a power of two, so that the numbers stay exact.
        let scale = 2f32.powi(-((input as f32).log2() / 2.0).round() as i32);
        weight.data.iter_mut().for_each(|w| *w *= scale);
        Self {
            around,
            step: step(batch, new, new + r.size(0..=3)),
            rows,
            kind,
            activation: r.one_of(&[
                Activation::GeluTanh,
                Activation::Gelu,
                Activation::Silu,
                Activation::Relu,
            ]),
            x: r.tensor(&[batch * new, input]),
            gain: r.tensor(&[input]),
            gain_bias,
            order,
            weight,
            bias: if around == TiedHead { None } else { r.maybe(&[outputs]) },
            residual: r.tensor(&[batch * new, outputs]),
        }
    }
}

impl Case for Linear {
    fn run<B: Backend>(&self, b: &mut B) -> Vec<f32> {
        let x = upload(b, &self.x);
        let norm = b.load_norm(self.kind, self.gain.clone(), self.gain_bias.clone(), 1e-5).unwrap();
        let linear = match self.around {
            Around::TiedHead => {
                let table = b.load_table(self.weight.clone()).unwrap();
                b.tied_head(&table).unwrap()
            }
            _ => b.load_linear(self.weight.clone(), self.order, self.bias.clone()).unwrap(),
        };
        let (s, act) = (&self.step, self.activation);
        let y = match self.around {
            Around::Nothing | Around::TiedHead => b.linear(SITE, s, &x, &linear, LinearRows::All),
            Around::Norm => b.norm_linear([SITE; 2], s, &x, &norm, &linear, self.rows),
            Around::NormAlone => b.norm(SITE, s, &x, &norm, self.rows),
            Around::NormGelu => b.norm_linear_gelu([SITE; 3], s, &x, &norm, &linear),
            Around::NormGate => b.norm_linear_gate([SITE; 3], s, &x, &norm, &linear, act),
            Around::Gelu => b.linear_gelu([SITE; 2], s, &x, &linear),
            Around::Gate => b.linear_gate([SITE; 2], s, &x, &linear, act),
            Around::Residual => {
                let residual = upload(b, &self.residual);
                b.linear_residual([SITE; 2], s, &x, &linear, &residual)
            }
            Around::FirstOutputs => {
                let first = b.first_outputs(&linear, self.residual.shape[1] / 2).unwrap();
                b.linear(SITE, s, &x, &first, LinearRows::All)
            }
        };
        download(b, &y.unwrap())
    }
}

#[test]
fn linears_with_what_stands_around_them_are_candles() {
    check(70, Linear::random);
}

#[test]
fn large_linears_are_candles() {
    check(4, Linear::large);
}

/// Whatever a number is cut into on the way.
#[test]
fn what_is_not_finite_shows_in_its_row_and_no_other() {
    for (dtype, value) in DType::ALL.into_iter().flat_map(|d| [(d, f32::NAN), (d, f32::INFINITY)]) {
        let mut random = Random { source: Xoshiro256PlusPlus::seed_from_u64(8), dtype };
        let mut x = random.tensor(&[40, 70]);
        x.data[33 * 70 + 5] = value;
        let weight = HostTensor { shape: vec![70, 20], data: vec![0.5; 70 * 20] };
        for isa in Isa::available() {
            let options = CpuOptions { isa: Some(isa), ..CpuOptions::new(dtype) };
            let mut backend = CpuBackend::new(options).unwrap();
            let linear = backend.load_linear(weight.clone(), WeightOrder::InputOutput, None).unwrap();
            let rows = upload(&mut backend, &x);
            let y = backend.linear(SITE, &step(1, 40, 40), &rows, &linear, LinearRows::All).unwrap();
            for (row, y) in download(&mut backend, &y).chunks(20).enumerate() {
                assert!(y.iter().all(|y| y.is_finite() != (row == 33)), "{dtype} {isa} {value} {row}");
            }
        }
    }
}

/// An op on one tensor.
struct Elementwise {
    op: Unary,
    step: StepShape,
    x: HostTensor,
    other: HostTensor,
    cos: HostTensor,
    sin: HostTensor,
    gain: HostTensor,
    heads: [usize; 2],
}
debug_shapes!(Elementwise: op, step, heads);

#[derive(Clone, Copy, Debug)]
enum Unary {
    Gelu,
    Gate(Activation),
    Residual,
    Rope,
    HeadNorm,
}

impl Elementwise {
    fn random(r: &mut Random) -> Self {
        let activation =
            r.one_of(&[Activation::GeluTanh, Activation::Gelu, Activation::Silu, Activation::Relu]);
        let op =
            r.one_of(&[Unary::Gelu, Unary::Gate(activation), Unary::Residual, Unary::Rope, Unary::HeadNorm]);
        let (batch, past, new) = (r.size(1..=3), r.size(0..=4), r.size(1..=7));
        let (pairs, passed) = (r.size(1..=20), r.size(0..=5));
        let head_dim = 2 * pairs + passed;
        let (first, heads) = (r.size(0..=2), r.size(1..=3));
        let width = (first + heads + 1) * head_dim * 2;
        let gain = r.tensor(&[head_dim]);
        let (mut cos, mut sin) = (r.tensor(&[past + new, pairs]), r.tensor(&[past + new, pairs]));
        for (c, s) in cos.data.iter_mut().zip(&mut sin.data) {
            (*s, *c) = c.sin_cos();
        }
        Self {
            op,
            step: step(batch, new, past + new),
            x: r.tensor(&[batch * new, width]),
            other: r.tensor(&[batch * new, width]),
            cos,
            sin,
            gain,
            heads: [first, heads],
        }
    }
}

impl Case for Elementwise {
    fn run<B: Backend>(&self, b: &mut B) -> Vec<f32> {
        let x = upload(b, &self.x);
        let (s, head_dim, [first, heads]) = (&self.step, self.gain.shape[0], self.heads);
        let y = match self.op {
            Unary::Gelu => b.gelu(SITE, s, &x),
            Unary::Gate(activation) => b.gate(SITE, s, &x, activation),
            Unary::Residual => {
                let other = upload(b, &self.other);
                b.residual(SITE, s, &x, &other)
            }
            Unary::Rope => {
                let rope = b.load_rope(self.cos.clone(), self.sin.clone()).unwrap();
                // Shared with another holder, it must not change under them.
                let kept = x.clone();
                let y = b.rope(SITE, s, x, &rope, heads, head_dim);
                assert_eq!(download(b, &kept), self.x.data);
                y
            }
            Unary::HeadNorm => {
                let norm = b.load_norm(NormKind::Rms, self.gain.clone(), None, 1e-6).unwrap();
                b.head_norm(SITE, s, x, &norm, first, heads)
            }
        };
        download(b, &y.unwrap())
    }
}

#[test]
fn gates_sums_positions_and_norms_of_heads_are_candles() {
    check(60, Elementwise::random);
}

/// Steps of attention, over a cache or over the step's own activations.
struct Attend {
    batch: usize,
    spec: AttentionSpec,
    storage: Option<KvStorage>,
    new_tokens: Vec<usize>,
    qkv: Vec<HostTensor>,
}
debug_shapes!(Attend: batch, spec, storage, new_tokens);

impl Attend {
    fn random(r: &mut Random, storages: &[Option<&str>]) -> Self {
        let storage = r.one_of(storages).map(|text| text.parse().unwrap());
        let kv_heads = r.size(1..=3);
        let heads = kv_heads * r.one_of(&[1, 1, 2, 7, 20]);
        let head_dim = 2 * r.size(1..=40);
        let window = if r.below(3) == 0 { Some(r.size(1..=60)) } else { None };
        let batch = r.size(1..=3);
        let mut new_tokens = vec![r.size(1..=80)];
        if storage.is_some() {
            new_tokens.extend([1, r.size(1..=5), 1]);
        }
        let width = (heads + 2 * kv_heads) * head_dim;
        let qkv = new_tokens.iter().map(|new| r.tensor(&[batch * new, width])).collect();
        let spec = AttentionSpec { heads, kv_heads, head_dim, window };
        Self { batch, spec, storage, new_tokens, qkv }
    }

    /// A prompt of several rounds of 128 tokens, then a shorter one behind it.
    fn long(r: &mut Random, storages: &[Option<&str>]) -> Self {
        let storage = r.one_of(storages).map(|text| text.parse().unwrap());
        let kv_heads = r.size(1..=2);
        let heads = kv_heads * r.one_of(&[1, 2, 3]);
        let head_dim = r.one_of(&[32, 60, 64, 128]);
        let window = if r.below(3) == 0 { Some(r.size(20..=200)) } else { None };
        let mut new_tokens = vec![r.size(130..=400)];
        if storage.is_some() {
            new_tokens.push(r.size(12..=70));
        }
        let width = (heads + 2 * kv_heads) * head_dim;
        let qkv = new_tokens.iter().map(|new| r.tensor(&[*new, width])).collect();
        let spec = AttentionSpec { heads, kv_heads, head_dim, window };
        Self { batch: 1, spec, storage, new_tokens, qkv }
    }
}

impl Case for Attend {
    fn run<B: Backend>(&self, b: &mut B) -> Vec<f32> {
        let AttentionSpec { kv_heads, head_dim, .. } = self.spec;
        let capacity = self.new_tokens.iter().sum();
        let cache = |storage| CacheSpec { batch: self.batch, kv_heads, head_dim, capacity, storage };
        let mut cache = self.storage.map(|storage| b.new_cache(cache(storage)).unwrap());
        let (mut results, mut context) = (Vec::new(), 0);
        for (new, qkv) in self.new_tokens.iter().zip(&self.qkv) {
            context += new;
            let step = step(self.batch, *new, context);
            let qkv = upload(b, qkv);
            let keys_values = match &mut cache {
                Some(cache) => {
                    b.cache_append(SITE, &step, &qkv, &self.spec, cache).unwrap();
                    KeysValues::Cache(cache)
                }
                None => KeysValues::Activations,
            };
            let y = b.attention(SITE, &step, &qkv, &self.spec, keys_values).unwrap();
            results.extend(download(b, &y));
        }
        results
    }
}

#[test]
fn attention_over_every_cache_is_candles() {
    check(40, |r| Attend::random(r, &[None, Some("f32"), Some("f16"), Some("bf16")]));
}

#[test]
fn attention_over_quantised_caches_is_candles() {
    let storages = ["int8", "int8:16", "int8:32", "int8:3", "int8:8", "int4", "int4:4", "int4:16"].map(Some);
    check(40, |r| Attend::random(r, &storages));
}

#[test]
fn attention_of_long_prompts_is_candles() {
    let storages = [None, Some("bf16"), Some("f32"), Some("int8"), Some("int8:32"), Some("int4:16")];
    check(10, |r| Attend::long(r, &storages));
}

/// A number that is not finite in K or V of one head reaches what attends to it, and nothing else.
#[test]
fn what_is_not_finite_shows_through_a_cache() {
    let cases = [("int8", 1), ("int8", 40), ("int4:16", 3), ("bf16", 1), ("bf16", 40)];
    for ((storage, new), value) in cases.into_iter().flat_map(|case| [(case, 0), (case, 1)]) {
        let mut random = Random { source: Xoshiro256PlusPlus::seed_from_u64(3), dtype: DType::Bf16 };
        let spec = AttentionSpec { heads: 2, kv_heads: 2, head_dim: 64, window: None };
        let mut qkv = random.tensor(&[new, 6 * 64]);
        // Channel 5 of K or V of the first head of the first token.
        qkv.data[(2 + 2 * value) * 64 + 5] = f32::NAN;
        let case = Attend {
            batch: 1,
            spec,
            storage: Some(storage.parse().unwrap()),
            new_tokens: vec![new],
            qkv: vec![qkv],
        };
        for isa in Isa::available() {
            let options = CpuOptions { isa: Some(isa), ..CpuOptions::new(DType::Bf16) };
            let y = case.run(&mut CpuBackend::new(options).unwrap());
            for row in y.chunks(128) {
                assert!(row[5].is_nan(), "{storage} {new} {value} {isa}");
                assert!(row[64..].iter().all(|x| x.is_finite()), "{storage} {new} {value} {isa}");
            }
        }
    }
}

#[test]
fn the_largest_logit_is_the_first_of_equal_ones() {
    for dtype in DType::ALL {
        let mut random = Random { source: Xoshiro256PlusPlus::seed_from_u64(5), dtype };
        for width in [1, 7, 8191, 8192, 20_000] {
            let logits = random.tensor(&[3, width]);
            for isa in Isa::available() {
                let options = CpuOptions { isa: Some(isa), ..CpuOptions::new(dtype) };
                let mut backend = CpuBackend::new(options).unwrap();
                let x = upload(&mut backend, &logits);
                let mut ids = vec![9; 7];
                backend.argmax(SITE, &step(3, 1, 1), &x, &mut ids).unwrap();
                let best = |row: &[f32]| {
                    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    row.iter().position(|x| *x == largest).unwrap() as u32
                };
                let expected: Vec<u32> = logits.data.chunks(width).map(best).collect();
                assert_eq!(ids, expected, "{dtype} {isa} {width}");
            }
        }
    }
}
