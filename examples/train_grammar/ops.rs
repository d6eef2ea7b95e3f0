//! Causal softmax, layer norm and GELU, each as one op with its gradient: as chains of candle's own ops they took most of
//! the time, in passes over memory.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// Row i of every `[tokens, tokens]` matrix becomes the softmax of `scale` times its first i + 1 elements; the others 0.
pub(crate) struct CausalSoftmax {
    pub(crate) scale: f32,
}

struct Gradient {
    scale: f32,
}

fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((from, to))) => Ok(&data[from..to]),
        _ => bail!("a contiguous f32 tensor is expected"),
    }
}

impl CustomOp1 for CausalSoftmax {
    fn name(&self) -> &'static str {
        "causal softmax"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let scores = floats(storage, layout)?;
        let tokens = layout.shape().dims()[layout.shape().rank() - 1];
        let mut out = vec![0.0; scores.len()];
        for (row, (scores, out)) in scores.chunks(tokens).zip(out.chunks_mut(tokens)).enumerate() {
            let visible = row % tokens + 1;
            let largest = scores[..visible].iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for (p, s) in out[..visible].iter_mut().zip(scores) {
                *p = (self.scale * (s - largest)).exp();
                sum += *p;
            }
            out[..visible].iter_mut().for_each(|p| *p /= sum);
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, _scores: &Tensor, p: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let op = Gradient { scale: self.scale };
        Ok(Some(p.apply_op2_no_bwd(&gradient.contiguous()?, &op)?))
    }
}

/// dL/ds = scale p (g - sum p g), row by row.
impl CustomOp2 for Gradient {
    fn name(&self) -> &'static str {
        "gradient of the causal softmax"
    }

    fn cpu_fwd(
        &self,
        p: &CpuStorage,
        p_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (p, g) = (floats(p, p_layout)?, floats(g, g_layout)?);
        let tokens = p_layout.shape().dims()[p_layout.shape().rank() - 1];
        let mut out = vec![0.0; p.len()];
        for (row, ((p, g), out)) in
            p.chunks(tokens).zip(g.chunks(tokens)).zip(out.chunks_mut(tokens)).enumerate()
        {
            let visible = row % tokens + 1;
            let dot: f32 = p[..visible].iter().zip(g).map(|(p, g)| p * g).sum();
            for ((out, p), g) in out[..visible].iter_mut().zip(p).zip(g) {
                *out = self.scale * p * (g - dot);
            }
        }
        Ok((CpuStorage::F32(out), p_layout.shape().clone()))
    }
}

/// Every row less its mean and over its standard deviation: a layer norm without gain and bias.
pub(crate) struct Normalise {
    pub(crate) eps: f32,
}

struct NormaliseGradient {
    eps: f32,
}

/// The mean of a row, and 1 over its standard deviation.
fn moments(row: &[f32], eps: f32) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = row.iter().sum::<f32>() / n;
    let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / n;
    (mean, 1.0 / (variance + eps).sqrt())
}

impl CustomOp1 for Normalise {
    fn name(&self) -> &'static str {
        "normalise"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let width = layout.shape().dims()[layout.shape().rank() - 1];
        let mut out = vec![0.0; x.len()];
        for (x, out) in x.chunks(width).zip(out.chunks_mut(width)) {
            let (mean, scale) = moments(x, self.eps);
            out.iter_mut().zip(x).for_each(|(out, x)| *out = (x - mean) * scale);
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _normed: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let op = NormaliseGradient { eps: self.eps };
        Ok(Some(x.contiguous()?.apply_op2_no_bwd(&gradient.contiguous()?, &op)?))
    }
}

/// dL/dx = (g - mean g - y mean(g y)) / stddev, with y the normed row.
impl CustomOp2 for NormaliseGradient {
    fn name(&self) -> &'static str {
        "gradient of normalise"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, g) = (floats(x, x_layout)?, floats(g, g_layout)?);
        let width = x_layout.shape().dims()[x_layout.shape().rank() - 1];
        let n = width as f32;
        let mut out = vec![0.0; x.len()];
        for ((x, g), out) in x.chunks(width).zip(g.chunks(width)).zip(out.chunks_mut(width)) {
            let (mean, scale) = moments(x, self.eps);
            let mean_g = g.iter().sum::<f32>() / n;
            let mean_gy = g.iter().zip(x).map(|(g, x)| g * (x - mean) * scale).sum::<f32>() / n;
            for ((out, x), g) in out.iter_mut().zip(x).zip(g) {
                *out = scale * (g - mean_g - (x - mean) * scale * mean_gy);
            }
        }
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

/// GELU by its tanh approximation.
pub(crate) struct Gelu;

struct GeluGradient;

/// The root of 2 / pi.
const ROOT: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / ((2.0 * x).exp() + 1.0)
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let gelu = |x: &f32| 0.5 * x * (1.0 + tanh(ROOT * (x + CUBIC * x * x * x)));
        let out = floats(storage, layout)?.iter().map(gelu).collect();
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.contiguous()?.apply_op2_no_bwd(&gradient.contiguous()?, &GeluGradient)?))
    }
}

/// dL/dx = g (0.5 (1 + t) + 0.5 x (1 - t^2) u'), with u = root (x + c x^3) and t = tanh u.
impl CustomOp2 for GeluGradient {
    fn name(&self) -> &'static str {
        "gradient of gelu"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let of = |(x, g): (&f32, &f32)| {
            let t = tanh(ROOT * (x + CUBIC * x * x * x));
            let slope = ROOT * (1.0 + 3.0 * CUBIC * x * x);
            g * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope)
        };
        let out = floats(x, x_layout)?.iter().zip(floats(g, g_layout)?).map(of).collect();
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}
