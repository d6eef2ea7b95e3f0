//! Every kernel against arithmetic in f64 on the host, on small shapes with ragged edges: on a GPU that is new to kprof, and
//! in tests on a machine without one.

mod attention;
mod linears;
mod reference;
mod rows;

use super::arena::Arena;
use super::blas::{Blas, Gemm, Step};
use super::driver::Gpu;
use super::error::CudaError;
use super::launch::Launch;
use super::tensor::{CudaTensor, decode, encode};
use crate::backend::BackendError;
use crate::llm::DType;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::rc::Rc;

/// How one kernel did on one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelCheck {
    /// The kernel.
    pub kernel: String,
    /// The shape.
    pub case: String,
    /// The largest error as a share of what is allowed: above 1 the kernel is wrong.
    pub error: f64,
}

/// Runs every kernel of `dtype` on `gpu`, and the products of the library that `gemm` means.
///
/// # Errors
/// When the device fails; a wrong result is no error but a [`KernelCheck`] above 1.
pub fn check_kernels(gpu: &Rc<Gpu>, dtype: DType, gemm: Gemm) -> Result<Vec<KernelCheck>, BackendError> {
    let mut bench = Bench {
        gpu: Rc::clone(gpu),
        blas: Blas::choose(gpu, gemm)?.0,
        arena: Arena::new(gpu),
        dtype,
        rng: Xoshiro256PlusPlus::seed_from_u64(7),
        checks: Vec::new(),
    };
    rows::check(&mut bench)?;
    linears::check(&mut bench)?;
    attention::check(&mut bench)?;
    Ok(bench.checks)
}

/// What a check needs: a device, numbers, and where results go.
struct Bench {
    gpu: Rc<Gpu>,
    blas: Option<Blas>,
    arena: Arena,
    dtype: DType,
    rng: Xoshiro256PlusPlus,
    checks: Vec<KernelCheck>,
}

impl Bench {
    /// `n` numbers, uniform between -1 and 1, as they are in the storage type.
    fn numbers(&mut self, n: usize) -> Vec<f32> {
        let draw = |rng: &mut Xoshiro256PlusPlus| (rng.next_u64() >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        let raw: Vec<f32> = (0..n).map(|_| draw(&mut self.rng)).collect();
        self.rounded(&raw)
    }

    fn rounded(&self, data: &[f32]) -> Vec<f32> {
        decode(&encode(data, self.dtype), self.dtype)
    }

    /// Rows on the device.
    fn tensor(&self, data: &[f32], width: usize) -> Result<CudaTensor, CudaError> {
        let tensor = self.blank(data.len() / width, width)?;
        tensor.block.upload(&self.gpu, &encode(data, self.dtype))?;
        Ok(tensor)
    }

    /// Rows that nothing was written to yet.
    fn blank(&self, rows: usize, width: usize) -> Result<CudaTensor, CudaError> {
        let bytes = (rows * width).next_multiple_of(8) * self.dtype.bytes() as usize;
        Ok(CudaTensor { block: self.arena.block(bytes)?, rows, width })
    }

    fn run(&self, launch: &Launch) -> Result<(), CudaError> {
        self.gpu.launch(launch)?;
        self.gpu.wait()
    }

    /// Runs what a library's product is made of.
    fn run_steps(&self, blas: &Blas, steps: &[Step]) -> Result<(), CudaError> {
        steps.iter().try_for_each(|step| match step {
            Step::Product(product) => blas.run(product),
            Step::Launch(launch) => self.gpu.launch(launch),
        })?;
        self.gpu.wait()
    }

    fn read(&self, x: &CudaTensor) -> Result<Vec<f32>, CudaError> {
        let mut bytes = vec![0u8; x.rows * x.width * self.dtype.bytes() as usize];
        x.block.download(&self.gpu, &mut bytes)?;
        Ok(decode(&bytes, self.dtype))
    }

    /// Runs `launch`, whose result is `y`, and holds it against `want`.
    fn compare(
        &mut self,
        launch: &Launch,
        case: String,
        y: &CudaTensor,
        want: &[f64],
    ) -> Result<(), CudaError> {
        self.compare_within(1.0, launch, case, y, want)
    }

    /// The same where `times` the usual error is allowed.
    fn compare_within(
        &mut self,
        times: f64,
        launch: &Launch,
        case: String,
        y: &CudaTensor,
        want: &[f64],
    ) -> Result<(), CudaError> {
        self.run(launch)?;
        let found = self.read(y)?;
        self.note(launch.kernel, case, &found, want);
        if let Some(check) = self.checks.last_mut() {
            check.error /= times;
        }
        Ok(())
    }

    /// An element may be off by a few roundings of the storage type, of itself and of a typical element: sums of many
    /// products are rounded relative to what cancels in them. A wrong index is off by a typical element.
    fn note(&mut self, kernel: &str, case: String, found: &[f32], want: &[f64]) {
        assert_eq!(found.len(), want.len(), "{kernel} {case}");
        let square = want.iter().map(|w| w * w).sum::<f64>() / want.len().max(1) as f64;
        let unit = match self.dtype {
            DType::F32 => 16.0 * 2f64.powi(-24),
            DType::Bf16 => 2f64.powi(-9),
            DType::F16 => 2f64.powi(-12),
        };
        let of = |(f, w): (&f32, &f64)| {
            let error = (f64::from(*f) - w).abs() / (4.0 * unit * (w.abs() + square.sqrt()) + 1e-30);
            // What is no number is wrong, and would otherwise vanish in a maximum.
            if error.is_nan() { f64::INFINITY } else { error }
        };
        let error = found.iter().zip(want).map(of).fold(0.0, f64::max);
        self.checks.push(KernelCheck { kernel: kernel.to_string(), case, error });
    }
}
