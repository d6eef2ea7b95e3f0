//! The arithmetic of the candle backend's ops, on tensors alone: attention, norms, rotary positions.

use crate::backend::BackendError;
use crate::llm::{Activation, StepShape};
use candle_core::{D, DType as CandleDType, Device, Tensor};

/// 0 where a query may look and -inf where not: `[new, visible]` in f32, for the latest `visible` keys.
pub(super) fn mask(step: &StepShape, window: Option<usize>, device: &Device) -> Result<Tensor, BackendError> {
    let visible = step.visible(window);
    let (first_query, first_key) = (step.context - step.new_tokens, step.context - visible);
    let data: Vec<f32> = (first_query..step.context)
        .flat_map(|query| {
            let oldest = window.map_or(0, |w| (query + 1).saturating_sub(w));
            let seen = move |key: usize| (oldest..=query).contains(&key);
            (first_key..step.context).map(move |key| if seen(key) { 0.0 } else { f32::NEG_INFINITY })
        })
        .collect();
    Ok(Tensor::from_vec(data, (step.new_tokens, visible), device)?)
}

/// softmax over the last dimension of f32 scores.
fn softmax(scores: &Tensor) -> Result<Tensor, BackendError> {
    let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?;
    let exp = shifted.exp()?;
    let sum = exp.sum_keepdim(D::Minus1)?;
    Ok(exp.broadcast_div(&sum)?)
}

/// softmax(Q K^T / sqrt(head_dim) + mask) V as `[rows, heads x head_dim]`; the softmax is in f32.
///
/// Q is `[batch, heads, new, head_dim]`, K and V `[batch, kv_heads, keys, head_dim]`. The query heads that share
/// a K/V head stand one under the other in one product, so that K and V are not repeated.
pub(super) fn attend(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
) -> Result<Tensor, BackendError> {
    let (batch, heads, new_tokens, head_dim) = q.dims4()?;
    let (_, kv_heads, keys, _) = k.dims4()?;
    let shared = (batch, kv_heads, heads / kv_heads * new_tokens, ());
    let scores = q.reshape(shared)?.matmul(&k.transpose(2, 3)?)?.to_dtype(CandleDType::F32)?;
    let scores = (scores / (head_dim as f64).sqrt())?;
    let mut scores = scores.reshape((batch, heads, new_tokens, keys))?;
    if let Some(mask) = mask {
        scores = scores.broadcast_add(mask)?;
    }
    let weights = softmax(&scores)?.to_dtype(q.dtype())?.reshape(shared)?;
    let y = weights.matmul(v)?.reshape((batch, heads, new_tokens, head_dim))?;
    Ok(y.transpose(1, 2)?.reshape((batch * new_tokens, heads * head_dim))?)
}

/// x / sqrt(mean(x²) + eps) x gain over the last dimension of f32 rows.
pub(super) fn rms_norm(x: &Tensor, gain: &Tensor, eps: f64) -> Result<Tensor, BackendError> {
    let root = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    Ok(x.broadcast_div(&root)?.broadcast_mul(gain)?)
}

/// (x - mean) / sqrt(variance + eps) x gain + bias over the last dimension of f32 rows.
pub(super) fn layer_norm(
    x: &Tensor,
    gain: &Tensor,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor, BackendError> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let y = rms_norm(&centred, gain, eps)?;
    Ok(bias.map_or_else(|| Ok(y.clone()), |bias| y.broadcast_add(bias))?)
}

/// Turns pairs of channels of `x`, `[batch, new, heads, head_dim]`, by the angles of its positions.
///
/// Channel i of the first half of the turned ones is paired with channel i of their second half, as Hugging
/// Face's `rotate_half` does; channels beyond twice the angles' width stay as they are. `cos` and `sin` are
/// `[new, pairs]` in f32, and so is the arithmetic.
pub(super) fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor, BackendError> {
    let (_, new_tokens, _, head_dim) = x.dims4()?;
    let pairs = cos.dim(1)?;
    let wide = x.to_dtype(CandleDType::F32)?;
    let (a, b) = (wide.narrow(3, 0, pairs)?, wide.narrow(3, pairs, pairs)?);
    let cos = cos.reshape((1, new_tokens, 1, pairs))?;
    let sin = sin.reshape((1, new_tokens, 1, pairs))?;
    let turned_a = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let turned_b = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    let mut parts = vec![turned_a, turned_b];
    if head_dim > 2 * pairs {
        parts.push(wide.narrow(3, 2 * pairs, head_dim - 2 * pairs)?);
    }
    Ok(Tensor::cat(&parts, 3)?.to_dtype(x.dtype())?)
}

/// `activation(a) x b` of the two halves of the rows of `x`, in f32, rounded once.
pub(super) fn gate(x: &Tensor, activation: Activation) -> Result<Tensor, BackendError> {
    let width = x.dim(D::Minus1)? / 2;
    let half = |from: usize| x.narrow(D::Minus1, from, width)?.to_dtype(CandleDType::F32);
    let (a, b) = (half(0)?, half(width)?);
    let a = match activation {
        Activation::GeluTanh => a.gelu()?,
        Activation::Gelu => a.gelu_erf()?,
        Activation::Silu => a.silu()?,
        Activation::Relu => a.relu()?,
    };
    Ok((a * b)?.to_dtype(x.dtype())?)
}
