//! Every op of the cpu backend computes what candle computes in f32 from the same stored numbers: random shapes, odd
//! sizes, batches, every storage type, every instruction set of this machine.

mod attention;
mod linears;

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
use debug_shapes;

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
