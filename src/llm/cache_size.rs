//! How large KV caches are in theory: by version, for a model, a context and a batch.

use super::latent::cached_bytes;
use super::{DType, KnownVersion, ModelSpec, Version, VersionError};
use crate::units::Bytes;

impl Version {
    /// Layers that keep a cache of their own, with the tokens each has to keep of `tokens`: its window's, or that of
    /// the widest layer that borrows from it.
    fn kept(&self, model: &ModelSpec, tokens: usize) -> impl Iterator<Item = usize> {
        let seen = move |layer: usize| {
            let windows = self.window.into_iter().chain(model.window(layer));
            windows.chain([tokens]).min().unwrap_or(tokens)
        };
        let layers = model.num_hidden_layers;
        (0..layers).filter(|layer| self.owns_cache(*layer)).map(move |first| {
            let group = first..layers.min(first + self.share_layers);
            group.map(seen).max().unwrap_or(tokens)
        })
    }

    /// Bytes of one token in one layer's cache, scales counted: K and V of every K/V head, or one latent vector.
    fn layer_bytes(&self, model: &ModelSpec, dtype: DType) -> f64 {
        let storage = self.storage(dtype);
        match &model.mla {
            Some(mla) => cached_bytes(&storage, mla.cached_elements()),
            None => storage.bytes_per_token(model.num_key_value_heads, model.head_dim),
        }
    }

    /// Bytes that one more token of one sequence takes in all layers while no window is full, scales counted:
    /// 2 x caching layers x kv_heads x head_dim x element bits / 8, plus the scales. 0 without a cache.
    pub fn bytes_per_token(&self, model: &ModelSpec, dtype: DType) -> Bytes {
        Bytes(self.kept(model, 1).count() as f64 * self.layer_bytes(model, dtype))
    }

    /// Theoretical KV cache bytes: the sum over caching layers of a token's bytes x tokens kept x batch, scales
    /// counted. A layer keeps all tokens, or those of its window. 0 without a cache.
    pub fn cache_bytes(&self, model: &ModelSpec, dtype: DType, tokens: usize, batch: usize) -> Bytes {
        let kept: usize = self.kept(model, tokens).sum();
        Bytes(kept as f64 * batch as f64 * self.layer_bytes(model, dtype))
    }

    /// KV cache bytes as kprof's backends allocate them: every caching layer holds every token, windows or not.
    pub fn held_bytes(&self, model: &ModelSpec, dtype: DType, tokens: usize, batch: usize) -> Bytes {
        self.bytes_per_token(model, dtype) * (tokens as f64 * batch as f64)
    }

    /// Whether caches of this version can hold the heads of `model`.
    ///
    /// # Errors
    /// When two 4-bit codes would have to share a byte across heads.
    pub fn check_model(&self, model: &ModelSpec) -> Result<(), VersionError> {
        let four_bits = self.use_cache && self.kv_dtype == super::KvDType::Int4;
        if four_bits && model.mla.is_none() && !model.head_dim.is_multiple_of(2) {
            return Err(VersionError::OddHeads {
                name: self.name.clone(),
                model: model.name.clone(),
                head_dim: model.head_dim,
            });
        }
        Ok(())
    }
}

/// The size of a version's cache.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheSize {
    /// The version and where it comes from.
    pub known: KnownVersion,
    /// [`Version::bytes_per_token`].
    pub bytes_per_token: Bytes,
    /// [`Version::cache_bytes`] of all tokens and sequences.
    pub total: Bytes,
    /// [`Version::held_bytes`] of all tokens and sequences.
    pub held: Bytes,
    /// The total over that of `v1`; `None` where there is no v1 among the versions.
    pub of_v1: Option<f64>,
}

/// The sizes of all `versions` for `model` stored in `dtype`, at `tokens` tokens of `batch` sequences.
pub fn cache_sizes(
    versions: &[KnownVersion],
    model: &ModelSpec,
    dtype: DType,
    tokens: usize,
    batch: usize,
) -> Vec<CacheSize> {
    let total = |version: &Version| version.cache_bytes(model, dtype, tokens, batch);
    let v1 = versions.iter().find(|k| k.version.name == "v1").map(|k| total(&k.version));
    let size = |known: &KnownVersion| CacheSize {
        known: known.clone(),
        bytes_per_token: known.version.bytes_per_token(model, dtype),
        total: total(&known.version),
        held: known.version.held_bytes(model, dtype, tokens, batch),
        of_v1: v1.map(|v1| total(&known.version).0 / v1.0),
    };
    versions.iter().map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{SlidingWindow, known_versions, parse_versions, preset};
    use super::*;

    fn versions(text: &str) -> Vec<Version> {
        parse_versions("test", text).unwrap()
    }

    #[test]
    fn llama_2_7b_takes_half_a_mebibyte_per_token_in_16_bits() {
        // 2 x 32 layers x 32 heads x 128 x 2 B = 524,288 B, as Kwon et al. 2023 (PagedAttention) count for 13B: 800 kB.
        let rows = versions(
            "[v1]\n[int8]\nkv_dtype='int8'\n[g32]\nkv_dtype='int8'\nscale='channel-group:32'\n\
             [int4]\nkv_dtype='int4'\nscale='channel-group:64'\n[shared]\nshare_layers=2\n",
        );
        let of = |model: &str| -> Vec<f64> {
            let spec = preset(model).unwrap();
            rows.iter().map(|v| v.bytes_per_token(&spec, DType::F16).0).collect()
        };
        // Elements: 262,144. int8: + 2 x 32 x 32 scales of 2 B; in groups of 32: four times as many; int4 in groups
        // of 64: half the bytes and twice the scales of int8.
        let elements = 262_144.0;
        let heads = 2.0 * 32.0 * 32.0 * 2.0;
        assert_eq!(
            of("llama-2-7b"),
            [
                2.0 * elements,
                elements + heads,
                elements + 4.0 * heads,
                elements / 2.0 + 2.0 * heads,
                elements
            ]
        );
        // 2 x 40 x 40 x 128 x 2 B = 819,200 B: the 800 KB of Kwon et al.
        assert_eq!(of("llama-2-13b")[0], 819_200.0);
        // 8 of 64 heads: 2 x 80 x 8 x 128 x 2 B.
        assert_eq!(of("llama-2-70b")[0], 327_680.0);
    }

    #[test]
    fn windows_of_versions_and_of_models_limit_what_is_kept_and_not_what_is_held() {
        let mut model = preset("tiny-llama").unwrap();
        let v = versions("[all]\n[near]\nwindow = 10\n[pairs]\nshare_layers = 2\n");
        let bytes = |v: &Version, m: &ModelSpec| v.cache_bytes(m, DType::F32, 100, 3).0;
        assert_eq!(bytes(&v[1], &model), bytes(&v[0], &model) / 10.0);
        assert_eq!(v[1].held_bytes(&model, DType::F32, 100, 3).0, bytes(&v[0], &model));
        // One of four layers sees 20 of 100 tokens: 3.2 of 4; its pair's other layer sees all, so pairs keep all.
        let full = bytes(&v[0], &model);
        let pairs = bytes(&v[2], &model);
        model.sliding_window = Some(SlidingWindow { tokens: 20, layers: vec![1] });
        assert_eq!(bytes(&v[0], &model), full * 3.2 / 4.0);
        assert_eq!(bytes(&v[2], &model), pairs);
        assert_eq!(bytes(&v[1], &model), full / 10.0);
    }

    #[test]
    fn a_latent_cache_holds_one_vector_per_token_and_layer() {
        // DeepSeek-V3 (arXiv 2412.19437): 61 layers x (512 + 64) x 2 B = 70,272 B per token in 16 bits.
        let model = preset("deepseek-v3").unwrap();
        let v1 = &versions("[v1]\n")[0];
        assert_eq!(v1.bytes_per_token(&model, DType::Bf16).0, 70_272.0);
    }

    #[test]
    fn sizes_are_compared_with_v1() {
        let known = known_versions(&[]).unwrap();
        let sizes = cache_sizes(&known, &preset("gpt2").unwrap(), DType::Bf16, 512, 2);
        let of_v1: Vec<Option<f64>> = sizes.iter().map(|s| s.of_v1).collect();
        let int8 = 66.0 / 128.0;
        assert_eq!(of_v1, [0.0, 1.0, int8, 0.5, int8 / 2.0].map(Some));
        assert_eq!(sizes[1].total, Bytes(2.0 * 18_874_368.0));
        assert_eq!(cache_sizes(&known[2..], &preset("gpt2").unwrap(), DType::Bf16, 5, 1)[0].of_v1, None);
    }

    #[test]
    fn four_bits_do_not_fit_odd_heads() {
        let model = ModelSpec { head_dim: 5, ..preset("tiny").unwrap() };
        let rows = versions("[a]\nkv_dtype = 'int4'\n[b]\nkv_dtype = 'int8'\n");
        let error = rows[0].check_model(&model).unwrap_err().to_string();
        assert_eq!(
            error,
            "version 'a' packs two 4-bit codes into a byte; the heads of tiny have 5 channels, an odd number"
        );
        rows[1].check_model(&model).unwrap();
    }
}
