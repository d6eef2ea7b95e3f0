//! The candle backend's KV caches: preallocated, of a floating-point type or quantised in groups.

use crate::backend::{BackendError, CacheSpec};
use crate::llm::{KvElement, KvStorage};
use candle_core::{CpuStorage, D, DType as CandleDType, Device, Storage, Tensor};
use std::ops::Range;

/// The smallest positive f16, so that a group of zeros has a scale to divide by.
const SMALLEST_SCALE: f64 = 5.960_464_477_539_063e-8;

/// K or V of one layer: `[batch, kv_heads, capacity, head_dim]`, two codes to a byte where they have 4 bits; with
/// `[batch, kv_heads, capacity, scales per head]` scales where quantised.
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
    pub(in crate::backend) spec: CacheSpec,
}

impl CandleCache {
    pub(super) fn new(spec: CacheSpec, device: &Device) -> Result<Self, BackendError> {
        if spec.storage.element == KvElement::Int4 && !spec.head_dim.is_multiple_of(2) {
            let what = format!("a 4-bit KV cache for heads of {}: two codes share a byte", spec.head_dim);
            return Err(BackendError::Unsupported { backend: "candle", what });
        }
        Ok(Self { k: Half::new(&spec, device)?, v: Half::new(&spec, device)?, spec })
    }

    /// The bytes of both halves with their scales, capacity included.
    pub(super) fn allocated_bytes(&self) -> f64 {
        let bytes = |t: &Tensor| (t.elem_count() * t.dtype().size_in_bytes()) as f64;
        [&self.k, &self.v]
            .into_iter()
            .map(|half| bytes(&half.values) + half.scales.as_ref().map_or(0.0, bytes))
            .sum()
    }

    /// Where codes and scales of both halves stand.
    pub(super) fn places(&self) -> Vec<Range<usize>> {
        let halves = [&self.k, &self.v].into_iter();
        halves
            .flat_map(|half| [Some(&half.values), half.scales.as_ref()])
            .flatten()
            .filter_map(place)
            .collect()
    }

    /// Writes `k` and `v`, `[batch, kv_heads, new, head_dim]`, from token `position` on.
    pub(super) fn append(&mut self, k: &Tensor, v: &Tensor, position: usize) -> Result<(), BackendError> {
        let needed = position + k.dim(2)?;
        if needed > self.spec.capacity {
            return Err(BackendError::CacheFull { capacity: self.spec.capacity, needed });
        }
        self.k.write(k, position, self.spec.storage)?;
        self.v.write(v, position, self.spec.storage)
    }

    /// K and V of `tokens` tokens from token `from` on, in `dtype`; a view where they are stored so already.
    pub(super) fn read(
        &self,
        from: usize,
        tokens: usize,
        dtype: CandleDType,
    ) -> Result<(Tensor, Tensor), BackendError> {
        let read = |half: &Half| half.read(from, tokens, &self.spec, dtype);
        Ok((read(&self.k)?, read(&self.v)?))
    }
}

impl Half {
    fn new(spec: &CacheSpec, device: &Device) -> Result<Self, BackendError> {
        let CacheSpec { batch, kv_heads, head_dim, capacity, storage } = *spec;
        let zeros = |width: usize, dtype: CandleDType| {
            Tensor::zeros((batch, kv_heads, capacity, width), dtype, device)
        };
        let (width, dtype) = match storage.element {
            KvElement::F32 => (head_dim, CandleDType::F32),
            KvElement::Bf16 => (head_dim, CandleDType::BF16),
            KvElement::F16 => (head_dim, CandleDType::F16),
            KvElement::Fp8 => {
                let what = "a KV cache of 8-bit floating point".to_string();
                return Err(BackendError::Unsupported { backend: "candle", what });
            }
            KvElement::Int8 => (head_dim, CandleDType::U8),
            KvElement::Int4 => (head_dim / 2, CandleDType::U8),
        };
        let scales = storage.scales_per_head(head_dim);
        let scales = (scales > 0).then(|| zeros(scales, CandleDType::F16)).transpose()?;
        Ok(Self { values: zeros(width, dtype)?, scales })
    }

    fn write(&mut self, x: &Tensor, position: usize, storage: KvStorage) -> Result<(), BackendError> {
        let Some(scales) = &self.scales else {
            let x = x.to_dtype(self.values.dtype())?.contiguous()?;
            self.values.slice_set(&x, 2, position)?;
            return Ok(());
        };
        let (codes, scale) = quantise(x, storage)?;
        let codes = if storage.element == KvElement::Int4 { pack(&codes)? } else { codes };
        self.values.slice_set(&codes.to_dtype(CandleDType::U8)?.contiguous()?, 2, position)?;
        scales.slice_set(&scale, 2, position)?;
        Ok(())
    }

    fn read(
        &self,
        from: usize,
        tokens: usize,
        spec: &CacheSpec,
        dtype: CandleDType,
    ) -> Result<Tensor, BackendError> {
        let values = self.values.narrow(2, from, tokens)?;
        let Some(scales) = &self.scales else {
            return Ok(values.to_dtype(dtype)?);
        };
        let codes = values.to_dtype(CandleDType::F32)?;
        let codes = if spec.storage.element == KvElement::Int4 { unpack(&codes)? } else { codes };
        dequantise(&codes, &scales.narrow(2, from, tokens)?, spec.storage, dtype)
    }
}

/// Where a tensor's memory stands; `None` off the CPU.
fn place(tensor: &Tensor) -> Option<Range<usize>> {
    let (storage, _) = tensor.storage_and_layout();
    let Storage::Cpu(cpu) = &*storage else { return None };
    let start = match cpu {
        CpuStorage::F32(all) => all.as_ptr().addr(),
        CpuStorage::BF16(all) => all.as_ptr().addr(),
        CpuStorage::F16(all) => all.as_ptr().addr(),
        CpuStorage::U8(all) => all.as_ptr().addr(),
        _ => return None,
    };
    Some(start..start + tensor.elem_count() * tensor.dtype().size_in_bytes())
}

/// The largest code of a quantised storage. candle has no signed bytes: codes are kept with this plus 1 added.
fn largest_code(storage: KvStorage) -> f64 {
    f64::from(storage.element.largest_code().unwrap_or(0))
}

/// `[.., head_dim]` as `[.., groups, channels per scale]`; the last group is filled up with zeros.
fn grouped(x: &Tensor, storage: KvStorage) -> Result<Tensor, BackendError> {
    let (batch, heads, tokens, head_dim) = x.dims4()?;
    let (groups, channels) = (storage.scales_per_head(head_dim), storage.channels_per_scale(head_dim));
    let filled = x.pad_with_zeros(D::Minus1, 0, groups * channels - head_dim)?;
    Ok(filled.reshape((batch, heads, tokens, groups, channels))?)
}

/// Groups side by side again, without what filled the last one up.
fn ungrouped(x: &Tensor, head_dim: usize) -> Result<Tensor, BackendError> {
    Ok(x.flatten_from(3)?.narrow(D::Minus1, 0, head_dim)?)
}

/// Symmetric quantisation per group: scale = max |x| / largest code rounded to f16, code = round(x / scale) + offset,
/// in f32.
///
/// The codes use the rounded scale, which is what reading multiplies by. Rounding the scale down could push
/// the group's largest element to 127.06 (or 7.004), which rounds to 127 (or 7) still.
fn quantise(x: &Tensor, storage: KvStorage) -> Result<(Tensor, Tensor), BackendError> {
    let (head_dim, largest) = (x.dim(D::Minus1)?, largest_code(storage));
    let groups = grouped(&x.to_dtype(CandleDType::F32)?, storage)?;
    let scale = (groups.abs()?.max_keepdim(D::Minus1)? / largest)?.maximum(SMALLEST_SCALE)?;
    let scale = scale.to_dtype(CandleDType::F16)?;
    let codes =
        groups.broadcast_div(&scale.to_dtype(CandleDType::F32)?)?.round()?.clamp(-largest, largest)?;
    let codes = ungrouped(&(codes + (largest + 1.0))?, head_dim)?;
    Ok((codes, scale.squeeze(D::Minus1)?.contiguous()?))
}

fn dequantise(
    codes: &Tensor,
    scales: &Tensor,
    storage: KvStorage,
    dtype: CandleDType,
) -> Result<Tensor, BackendError> {
    let head_dim = codes.dim(D::Minus1)?;
    let codes = grouped(&(codes - (largest_code(storage) + 1.0))?, storage)?;
    let values = codes.broadcast_mul(&scales.to_dtype(CandleDType::F32)?.unsqueeze(D::Minus1)?)?;
    Ok(ungrouped(&values, head_dim)?.to_dtype(dtype)?)
}

/// Neighbouring codes 1 to 15 in one number: the even channel in the low four bits.
fn pack(codes: &Tensor) -> Result<Tensor, BackendError> {
    let (batch, heads, tokens, head_dim) = codes.dims4()?;
    let pairs = codes.reshape((batch, heads, tokens, head_dim / 2, 2))?;
    let channel = |i: usize| pairs.narrow(4, i, 1)?.squeeze(4);
    Ok((channel(0)? + (channel(1)? * 16.0)?)?)
}

/// The codes of [`pack`], in f32.
fn unpack(packed: &Tensor) -> Result<Tensor, BackendError> {
    let high = (packed / 16.0)?.floor()?;
    let low = (packed - (&high * 16.0)?)?;
    Ok(Tensor::stack(&[&low, &high], D::Minus1)?.flatten_from(3)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::DType;

    fn cache(storage: KvStorage, head_dim: usize, capacity: usize) -> CandleCache {
        CandleCache::new(CacheSpec { batch: 1, kv_heads: 1, head_dim, capacity, storage }, &Device::Cpu)
            .unwrap()
    }

    /// What comes back of one head after a pass through a cache.
    fn round_trip(storage: KvStorage, row: &[f32]) -> Vec<f32> {
        let mut cache = cache(storage, row.len(), 1);
        let x = Tensor::from_slice(row, (1, 1, 1, row.len()), &Device::Cpu).unwrap();
        cache.append(&x, &x, 0).unwrap();
        let (k, v) = cache.read(0, 1, CandleDType::F32).unwrap();
        let host = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(host(&k), host(&v));
        host(&k)
    }

    /// A head whose channels grow, so that groups have different scales.
    fn head(channels: usize) -> Vec<f32> {
        (0..channels).map(|i| ((i * 37 % 64) as f32 - 31.5) * 0.0173 * (1 + i) as f32).collect()
    }

    #[test]
    fn quantised_values_are_within_half_a_step_of_their_groups_scale() {
        for (storage, largest_code) in [
            (KvStorage::int8(None), 127.0),
            (KvStorage::int8(Some(32)), 127.0),
            (KvStorage::int4(Some(32)), 7.0),
            (KvStorage::int4(Some(64)), 7.0),
            (KvStorage::int4(None), 7.0),
        ] {
            // 80 channels end with a group that is not full.
            for channels in [64, 80, 16] {
                let row = head(channels);
                let found = round_trip(storage, &row);
                let group = storage.group.unwrap_or(channels);
                for (x, y) in row.chunks(group).zip(found.chunks(group)) {
                    let largest = x.iter().fold(0f32, |m, x| m.max(x.abs()));
                    // Half a step, plus the f16 rounding of the scale (2^-11) on the largest element.
                    let bound = largest / largest_code * 0.5 + largest * 2f32.powi(-11);
                    for (x, y) in x.iter().zip(y) {
                        assert!((x - y).abs() <= bound, "{storage:?}, {channels} channels: {x} -> {y}");
                    }
                }
            }
        }
    }

    #[test]
    fn floating_point_caches_round_once_to_their_type() {
        let row = head(64);
        assert_eq!(round_trip(KvStorage::plain(DType::F32), &row), row);
        let f16: Vec<f32> = row.iter().map(|x| half::f16::from_f32(*x).to_f32()).collect();
        assert_eq!(round_trip(KvStorage::plain(DType::F16), &row), f16);
        let bf16: Vec<f32> = row.iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect();
        assert_eq!(round_trip(KvStorage::plain(DType::Bf16), &row), bf16);
    }

    #[test]
    fn every_4_bit_code_survives_packing() {
        let row: Vec<f32> = (-7i8..=7).map(f32::from).chain([7.0]).collect();
        assert_eq!(round_trip(KvStorage::int4(None), &row), row);
    }

    #[test]
    fn zeros_and_denormals_survive_without_nan() {
        for storage in [KvStorage::int8(None), KvStorage::int4(Some(4))] {
            assert_eq!(round_trip(storage, &[0.0; 8]), [0.0; 8]);
            assert!(round_trip(storage, &[1e-30; 4]).iter().all(|x| x.is_finite()));
        }
    }

    #[test]
    fn allocated_bytes_are_the_theoretical_ones_of_the_capacity() {
        for storage in [
            KvStorage::plain(DType::F32),
            KvStorage::plain(DType::Bf16),
            KvStorage::int8(None),
            KvStorage::int8(Some(8)),
            KvStorage::int4(Some(8)),
        ] {
            let spec = CacheSpec { batch: 2, kv_heads: 3, head_dim: 16, capacity: 10, storage };
            let cache = CandleCache::new(spec, &Device::Cpu).unwrap();
            assert_eq!(cache.allocated_bytes(), storage.bytes_per_token(3, 16) * 20.0, "{storage:?}");
        }
        // int8: 2 halves * 2 * 3 * 10 * (16 + 2) bytes.
        assert_eq!(KvStorage::int8(None).bytes_per_token(3, 16) * 20.0, 2160.0);
    }

    #[test]
    fn a_full_cache_says_how_much_it_holds() {
        let mut cache = cache(KvStorage::plain(DType::F32), 4, 2);
        let x = Tensor::zeros((1, 1, 2, 4), CandleDType::F32, &Device::Cpu).unwrap();
        let error = cache.append(&x, &x, 1).unwrap_err().to_string();
        assert_eq!(error, "the KV cache holds 2 tokens per sequence, and 3 are needed");
    }

    #[test]
    fn four_bits_want_an_even_head() {
        let storage = KvStorage::int4(None);
        let spec = CacheSpec { batch: 1, kv_heads: 1, head_dim: 5, capacity: 1, storage };
        let error = CandleCache::new(spec, &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("a 4-bit KV cache for heads of 5"), "{error}");
    }
}
