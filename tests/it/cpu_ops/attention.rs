//! Attention over every kind of cache, and without one.

use super::*;

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
