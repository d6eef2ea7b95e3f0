//! The work of multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).

use super::{DType, KvStorage, StepShape, Work, op::per_element};
use crate::units::{Bytes, Flops};
use serde::{Deserialize, Serialize};

/// Attention over cached latents, causal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LatentAttention {
    /// Query heads.
    pub heads: usize,
    /// Width of the latent of keys and values.
    pub latent: usize,
    /// Width of the key that carries positions, one for all heads.
    pub rope: usize,
    /// Width of the part of a head's key that is made from the latent.
    pub nope: usize,
    /// Width of a head's value.
    pub value: usize,
    /// Whether the projections from the latent are moved to the queries and results (section 2.1.2), so that all
    /// heads attend to the latents themselves: what decoding does. Otherwise keys and values are made first.
    pub absorbed: bool,
    /// Storage type of the activations.
    pub dtype: DType,
    /// How the cache stores latents.
    pub kv: KvStorage,
}

/// Bytes of one token's latent and rotated key in a cache of one layer: one vector, where heads have K and V.
pub(super) fn cached_bytes(kv: &KvStorage, elements: usize) -> f64 {
    kv.bytes_per_token(1, elements) / 2.0
}

impl LatentAttention {
    /// Bytes of the cache that a step of shape `step` reads.
    pub(super) fn cache_read(&self, step: &StepShape) -> f64 {
        (step.batch * step.context) as f64 * cached_bytes(&self.kv, self.latent + self.rope)
    }

    /// Per query-key pair and head 2 FLOPs for every element of a key and of a value: keys of latent + rope and
    /// values of latent elements when absorbed, of nope + rope and of `value` otherwise. Queries and results have
    /// those widths; keys and values made first are activations of all heads.
    pub(super) fn work(&self, step: &StepShape) -> Work {
        let (heads, b) = (self.heads as f64, self.dtype.bytes());
        let (key, value) = if self.absorbed {
            (self.latent + self.rope, self.latent)
        } else {
            (self.nope + self.rope, self.value)
        };
        let scores = step.batch as f64 * heads * step.pairs(false, None);
        let tokens = (step.batch * step.new_tokens) as f64;
        let keys = (step.batch * step.context) as f64;
        let made = if self.absorbed { 0.0 } else { keys * heads * (self.nope + self.value) as f64 * b };
        Work {
            matmul_flops: Flops(2.0 * scores * (key + value) as f64),
            elementwise_flops: Flops(per_element::SOFTMAX * scores),
            bytes_read: Bytes(tokens * heads * key as f64 * b + made + self.cache_read(step)),
            bytes_written: Bytes(tokens * heads * value as f64 * b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attention(absorbed: bool) -> LatentAttention {
        let (dtype, kv) = (DType::Bf16, KvStorage::plain(DType::Bf16));
        LatentAttention { heads: 4, latent: 16, rope: 4, nope: 8, value: 8, absorbed, dtype, kv }
    }

    #[test]
    fn decoding_reads_one_latent_per_token_whatever_the_number_of_heads() {
        let step = StepShape { batch: 2, new_tokens: 1, context: 10 };
        let work = attention(true).work(&step);
        // 2 * 4 * 10 = 80 scores: 2 * 80 * (16 + 4 + 16); queries 2 * 4 * 20; cache 20 tokens of 20 elements.
        assert_eq!(work.matmul_flops, Flops(5760.0));
        assert_eq!(work.bytes_read, Bytes((160.0 + 400.0) * 2.0));
        assert_eq!(work.bytes_written, Bytes(128.0 * 2.0));
    }

    #[test]
    fn a_prefill_makes_keys_and_values_of_each_head_first() {
        let step = StepShape { batch: 1, new_tokens: 3, context: 3 };
        let work = attention(false).work(&step);
        // 6 pairs in 4 heads: 2 * 24 * (12 + 8); queries 3 * 4 * 12, keys and values 3 * 4 * 16, cache 3 * 20.
        assert_eq!(work.matmul_flops, Flops(960.0));
        assert_eq!(work.bytes_read, Bytes((144.0 + 192.0 + 60.0) * 2.0));
    }
}
