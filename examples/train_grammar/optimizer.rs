//! Muon (Jordan et al. 2024) for the matrices of the blocks, AdamW (Loshchilov and Hutter, 2019) for embeddings, norms and
//! biases; a warm-up and a cosine for both.

use candle_core::{Device, Result, Tensor, Var};

/// Of AdamW.
const BETAS: (f64, f64) = (0.9, 0.95);
const EPS: f64 = 1e-8;
/// The largest norm of all gradients together that AdamW sees; Muon's steps do not depend on it.
const CLIP: f64 = 1.0;
/// Of Muon.
const MOMENTUM: f64 = 0.95;
/// Muon's rate over AdamW's: its steps have singular values of about 1.
const MUON_RATE: f64 = 6.0;
/// Of matrices only: norms and biases do not decay.
const DECAY: f64 = 0.05;
/// What is left of the largest rate at the end.
const LAST: f64 = 0.02;

/// The learning rate of AdamW, step by step.
pub(crate) struct Schedule {
    pub(crate) largest: f64,
    pub(crate) warmup: usize,
    pub(crate) steps: usize,
}

impl Schedule {
    /// The rate of step `step`, from 1.
    pub(crate) fn rate(&self, step: usize) -> f64 {
        if step <= self.warmup {
            return self.largest * step as f64 / self.warmup as f64;
        }
        let done = (step - self.warmup) as f64 / (self.steps - self.warmup).max(1) as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        self.largest * (LAST + (1.0 - LAST) * cosine)
    }
}

/// What is kept of a parameter's gradients.
enum Memory {
    /// First and second moments.
    AdamW(Vec<f64>, Vec<f64>),
    /// Momentum, and into how many matrices side by side the parameter falls: Q, K and V are three.
    Muon(Vec<f32>, usize),
}

/// The optimiser.
pub(crate) struct Optimizer {
    memory: Vec<Memory>,
    steps: i32,
}

impl Optimizer {
    pub(crate) fn new(parameters: &[(String, Var)]) -> Self {
        let memory = |(name, var): &(String, Var)| {
            let count = var.elem_count();
            if var.rank() == 2 && name.starts_with("h.") {
                return Memory::Muon(vec![0.0; count], if name.contains("c_attn") { 3 } else { 1 });
            }
            Memory::AdamW(vec![0.0; count], vec![0.0; count])
        };
        Self { memory: parameters.iter().map(memory).collect(), steps: 0 }
    }

    /// One step at `rate`.
    pub(crate) fn step(
        &mut self,
        parameters: &[(String, Var)],
        gradients: &[Vec<f32>],
        rate: f64,
    ) -> Result<()> {
        self.steps += 1;
        let norm = gradients.iter().flatten().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let clip = if norm > CLIP { CLIP / norm } else { 1.0 };
        for (((_, var), gradient), memory) in parameters.iter().zip(gradients).zip(&mut self.memory) {
            let mut values = var.flatten_all()?.to_vec1::<f32>()?;
            match memory {
                Memory::AdamW(first, second) => {
                    let decay = if var.rank() > 1 { DECAY } else { 0.0 };
                    adamw(&mut values, gradient, (first, second), (self.steps, clip, rate, decay));
                }
                Memory::Muon(momentum, matrices) => {
                    muon(&mut values, gradient, momentum, (var.dims2()?, *matrices), MUON_RATE * rate)?;
                }
            }
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu)?)?;
        }
        Ok(())
    }
}

fn adamw(
    values: &mut [f32],
    gradient: &[f32],
    (first, second): (&mut [f64], &mut [f64]),
    (steps, clip, rate, decay): (i32, f64, f64, f64),
) {
    let (b1, b2) = BETAS;
    let (bias_1, bias_2) = (1.0 - b1.powi(steps), 1.0 - b2.powi(steps));
    for (((value, g), m), v) in values.iter_mut().zip(gradient).zip(first).zip(second) {
        let g = clip * f64::from(*g);
        *m = b1 * *m + (1.0 - b1) * g;
        *v = b2 * *v + (1.0 - b2) * g * g;
        let w = f64::from(*value);
        *value = (w - rate * (*m / bias_1 / ((*v / bias_2).sqrt() + EPS) + decay * w)) as f32;
    }
}

/// The step is the gradient's momentum made orthogonal, matrix by matrix; `(rows, columns)` fall into `matrices` of equal
/// width.
fn muon(
    values: &mut [f32],
    gradient: &[f32],
    momentum: &mut [f32],
    ((rows, columns), matrices): ((usize, usize), usize),
    rate: f64,
) -> Result<()> {
    let beta = MOMENTUM as f32;
    let mut nesterov = Vec::with_capacity(values.len());
    for (m, g) in momentum.iter_mut().zip(gradient) {
        *m = beta * *m + (1.0 - beta) * g;
        nesterov.push(beta * *m + (1.0 - beta) * g);
    }
    let all = Tensor::from_vec(nesterov, (rows, columns), &Device::Cpu)?;
    let width = columns / matrices;
    let steps = (0..matrices)
        .map(|i| orthogonal(&all.narrow(1, i * width, width)?.contiguous()?))
        .collect::<Result<Vec<_>>>()?;
    let step = Tensor::cat(&steps, 1)?.flatten_all()?.to_vec1::<f32>()?;
    // Wide outputs take larger steps, so that each output moves about as much whatever the shape.
    let scale = (width as f64 / rows as f64).max(1.0).sqrt();
    for (value, s) in values.iter_mut().zip(step) {
        let w = f64::from(*value);
        *value = (w - rate * (scale * f64::from(s) + DECAY * w)) as f32;
    }
    Ok(())
}

/// The nearest matrix of singular values about 1, by five steps of a Newton-Schulz iteration with Muon's coefficients.
fn orthogonal(matrix: &Tensor) -> Result<Tensor> {
    let (rows, columns) = matrix.dims2()?;
    let x = if rows > columns { matrix.t()?.contiguous()? } else { matrix.clone() };
    let norm = f64::from(x.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt() + 1e-12;
    let mut x = (x / norm)?;
    for _ in 0..5 {
        let a = x.matmul(&x.t()?)?;
        let b = ((&a * -4.7750)? + (a.matmul(&a)? * 2.0315)?)?;
        x = ((&x * 3.4445)? + b.matmul(&x)?)?;
    }
    if rows > columns { x.t()?.contiguous() } else { Ok(x) }
}
