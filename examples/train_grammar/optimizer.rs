//! AdamW (Loshchilov and Hutter, 2019) with a warm-up and a cosine, and gradients clipped by their global norm.

use candle_core::{Device, Result, Tensor, Var};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.95;
const EPS: f64 = 1e-8;
/// Of matrices only: norms and biases do not decay.
const DECAY: f64 = 0.05;
/// The largest norm of all gradients together.
const CLIP: f64 = 1.0;
/// What is left of the largest rate at the end.
const LAST: f64 = 0.05;

/// The learning rate, step by step.
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

/// First and second moments of each parameter's gradient.
pub(crate) struct AdamW {
    moments: Vec<(Vec<f64>, Vec<f64>)>,
    steps: i32,
}

impl AdamW {
    pub(crate) fn new(parameters: &[(String, Var)]) -> Self {
        let zeros = |(_, var): &(String, Var)| (vec![0.0; var.elem_count()], vec![0.0; var.elem_count()]);
        Self { moments: parameters.iter().map(zeros).collect(), steps: 0 }
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
        let (bias_1, bias_2) = (1.0 - BETA_1.powi(self.steps), 1.0 - BETA_2.powi(self.steps));
        for (((_, var), gradient), (first, second)) in parameters.iter().zip(gradients).zip(&mut self.moments)
        {
            let decay = if var.rank() > 1 { DECAY } else { 0.0 };
            let mut values = var.flatten_all()?.to_vec1::<f32>()?;
            for (((value, g), m), v) in values.iter_mut().zip(gradient).zip(first).zip(second) {
                let g = clip * f64::from(*g);
                *m = BETA_1 * *m + (1.0 - BETA_1) * g;
                *v = BETA_2 * *v + (1.0 - BETA_2) * g * g;
                let w = f64::from(*value);
                *value = (w - rate * (*m / bias_1 / ((*v / bias_2).sqrt() + EPS) + decay * w)) as f32;
            }
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu)?)?;
        }
        Ok(())
    }
}
