//! The candle backend's KV caches: preallocated, plain or INT8.

use super::{BackendError, CacheSpec};
use candle_core::{D, DType as CandleDType, Device, Tensor};

/// candle has no i8: INT8 is kept in u8 with this added.
const OFFSET: f64 = 128.0;
/// The largest magnitude of a symmetric 8-bit code.
const LEVELS: f64 = 127.0;
/// The smallest positive f16, so that a head of zeros has a scale to divide by.
const SMALLEST_SCALE: f64 = 5.960_464_477_539_063e-8;

/// K or V of one layer: `[batch, kv_heads, capacity, head_dim]`, with one scale per token and head where quantised.
#[derive(Clone, Debug)]
struct Half {
    values: Tensor,
    scales: Option<Tensor>,
}

/// K and V of one layer.
#[derive(Clone, Debug)]
pub struct CandleCache {
    k: Half,
    v: Half,
    pub(super) spec: CacheSpec,
}

impl CandleCache {
    pub(super) fn new(spec: CacheSpec, plain: CandleDType) -> Result<Self, BackendError> {
        let half = || -> Result<Half, BackendError> {
            let shape = (spec.batch, spec.kv_heads, spec.capacity, spec.head_dim);
            let scale_shape = (spec.batch, spec.kv_heads, spec.capacity, 1);
            if spec.storage.is_quantised() {
                return Ok(Half {
                    values: Tensor::zeros(shape, CandleDType::U8, &Device::Cpu)?,
                    scales: Some(Tensor::zeros(scale_shape, CandleDType::F16, &Device::Cpu)?),
                });
            }
            Ok(Half { values: Tensor::zeros(shape, plain, &Device::Cpu)?, scales: None })
        };
        Ok(Self { k: half()?, v: half()?, spec })
    }

    /// The bytes of both halves with their scales, capacity included.
    pub(super) fn allocated_bytes(&self) -> f64 {
        let bytes = |t: &Tensor| (t.elem_count() * t.dtype().size_in_bytes()) as f64;
        [&self.k, &self.v]
            .into_iter()
            .map(|half| bytes(&half.values) + half.scales.as_ref().map_or(0.0, bytes))
            .sum()
    }

    /// Writes `k` and `v`, `[batch, kv_heads, new, head_dim]`, from token `position` on.
    pub(super) fn append(&mut self, k: &Tensor, v: &Tensor, position: usize) -> Result<(), BackendError> {
        let needed = position + k.dim(2)?;
        if needed > self.spec.capacity {
            return Err(BackendError::CacheFull { capacity: self.spec.capacity, needed });
        }
        self.k.write(k, position)?;
        self.v.write(v, position)
    }

    /// K and V of the first `tokens` tokens in `dtype`; a view where they are stored so already.
    pub(super) fn read(&self, tokens: usize, dtype: CandleDType) -> Result<(Tensor, Tensor), BackendError> {
        Ok((self.k.read(tokens, dtype)?, self.v.read(tokens, dtype)?))
    }
}

impl Half {
    fn write(&mut self, x: &Tensor, position: usize) -> Result<(), BackendError> {
        let Some(scales) = &self.scales else {
            let x = x.to_dtype(self.values.dtype())?.contiguous()?;
            self.values.slice_set(&x, 2, position)?;
            return Ok(());
        };
        let (codes, scale) = quantise(x)?;
        self.values.slice_set(&codes, 2, position)?;
        scales.slice_set(&scale, 2, position)?;
        Ok(())
    }

    fn read(&self, tokens: usize, dtype: CandleDType) -> Result<Tensor, BackendError> {
        let values = self.values.narrow(2, 0, tokens)?;
        match &self.scales {
            Some(scales) => dequantise(&values, &scales.narrow(2, 0, tokens)?, dtype),
            None => Ok(values.to_dtype(dtype)?),
        }
    }
}

/// Symmetric quantisation per row: scale = max |x| / 127 rounded to f16, code = round(x / scale) + 128.
///
/// The codes use the rounded scale, which is what reading multiplies by. Rounding the scale down could push
/// the row's largest element to 127.06, which rounds to 127 still.
fn quantise(x: &Tensor) -> Result<(Tensor, Tensor), BackendError> {
    let x = x.to_dtype(CandleDType::F32)?;
    let largest = x.abs()?.max_keepdim(D::Minus1)?;
    let scale = (largest / LEVELS)?.maximum(SMALLEST_SCALE)?.to_dtype(CandleDType::F16)?;
    let codes = x.broadcast_div(&scale.to_dtype(CandleDType::F32)?)?.round()?.clamp(-LEVELS, LEVELS)?;
    let codes = (codes + OFFSET)?.to_dtype(CandleDType::U8)?.contiguous()?;
    Ok((codes, scale.contiguous()?))
}

fn dequantise(codes: &Tensor, scales: &Tensor, dtype: CandleDType) -> Result<Tensor, BackendError> {
    let values = (codes.to_dtype(CandleDType::F32)? - OFFSET)?;
    Ok(values.broadcast_mul(&scales.to_dtype(CandleDType::F32)?)?.to_dtype(dtype)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::KvStorage;

    fn round_trip(row: &[f32]) -> Vec<f32> {
        let x = Tensor::from_slice(row, (1, 1, 1, row.len()), &Device::Cpu).unwrap();
        let (codes, scale) = quantise(&x).unwrap();
        dequantise(&codes, &scale, CandleDType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn an_int8_row_is_within_half_a_step_of_what_was_written() {
        let row: Vec<f32> = (0..64).map(|i| ((i * 37 % 64) as f32 - 31.5) * 0.173).collect();
        let largest = row.iter().fold(0f32, |m, x| m.max(x.abs()));
        // Half a step, plus the f16 rounding of the scale (2^-11) on the largest element.
        let bound = largest / 127.0 * 0.5 + largest * 2f32.powi(-11);
        for (x, y) in row.iter().zip(round_trip(&row)) {
            assert!((x - y).abs() <= bound, "{x} -> {y}");
        }
    }

    #[test]
    fn zeros_and_denormals_survive_without_nan() {
        assert_eq!(round_trip(&[0.0; 8]), [0.0; 8]);
        assert!(round_trip(&[1e-30; 4]).iter().all(|x| x.is_finite()));
    }

    #[test]
    fn allocated_bytes_count_codes_and_scales() {
        let storage = KvStorage { element_bits: 8, scale_bits: 16 };
        let spec = CacheSpec { batch: 2, kv_heads: 3, head_dim: 16, capacity: 10, storage };
        let cache = CandleCache::new(spec, CandleDType::F32).unwrap();
        // 2 halves * 2 * 3 * 10 * (16 + 2) bytes.
        assert_eq!(cache.allocated_bytes(), 2160.0);
        assert_eq!(cache.allocated_bytes(), storage.bytes_per_token(3, 16) * 20.0);
    }

    #[test]
    fn a_full_cache_says_how_much_it_holds() {
        let spec =
            CacheSpec { batch: 1, kv_heads: 1, head_dim: 4, capacity: 2, storage: KvStorage::plain(32) };
        let mut cache = CandleCache::new(spec, CandleDType::F32).unwrap();
        let x = Tensor::zeros((1, 1, 2, 4), CandleDType::F32, &Device::Cpu).unwrap();
        let error = cache.append(&x, &x, 1).unwrap_err().to_string();
        assert_eq!(error, "the KV cache holds 2 tokens per sequence, and 3 are needed");
    }
}
