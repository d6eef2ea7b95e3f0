//! Products of many rows by cuBLASLt, where it is found: NVIDIA's own kernels for the chip, without any of its headers.
//!
//! Activations x `[rows, inputs]`, weights W `[outputs, inputs]` and results y `[rows, outputs]` lie row by row, which is,
//! column by column, y^T `[outputs, rows]` = (W^T)^T x^T: the product that the library is asked for, with W transposed.
//! Products and sums are in f32 whatever the type; TF32 is not used. What to run for a shape is asked of its heuristics
//! once (of many shapes the latest are kept), before the step that needs it: steps like one that was met are prepared, and
//! the first of a generation is rehearsed. A shape for which they know nothing is left to kprof's own kernel.

#![allow(unsafe_code)]

mod library;
mod plan;
mod recent;
mod steps;

pub(super) use plan::Product;
pub(super) use steps::{Asked, Step, steps};

use super::driver::Gpu;
use super::error::CudaError;
use super::launch::Launch;
use crate::llm::{Activation, DType};
use library::{Library, Opaque};
use plan::{Plan, Shape};
use recent::Recent;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::rc::Rc;

/// Who computes products of many rows on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gemm {
    /// cuBLASLt where it can be used, kprof's own kernel where not.
    #[default]
    Auto,
    /// cuBLASLt, or an error.
    CublasLt,
    /// kprof's own kernel.
    Own,
}

impl Gemm {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::CublasLt => "cublaslt",
            Self::Own => "own",
        }
    }
}

impl std::str::FromStr for Gemm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Auto, Self::CublasLt, Self::Own]
            .into_iter()
            .find(|gemm| gemm.name() == text)
            .ok_or_else(|| format!("unknown choice '{text}'; known: auto, cublaslt, own"))
    }
}

/// Shapes that are kept at most: without a cache every step has others, five or so. A plan is some hundred bytes.
const MOST_SHAPES: usize = 4096;

/// cuBLASLt on one device.
pub(super) struct Blas {
    library: Library,
    handle: Opaque,
    /// By their numbers, which are never given twice: a captured graph is known again by them.
    plans: RefCell<HashMap<usize, Plan>>,
    next: Cell<usize>,
    /// The plan of each shape that was asked for; `None` where the heuristics know none.
    known: RefCell<Recent<Shape, Option<usize>>>,
    /// The products of whole steps, without their rows (0), and where a bias of each lies: what [`Self::prepare`] asks for.
    kinds: RefCell<HashMap<Shape, u64>>,
    notes: RefCell<Vec<String>>,
    /// The most scratch memory of a product: what NVIDIA recommends for the chip.
    most_workspace: u64,
    gpu: Rc<Gpu>,
}

impl std::fmt::Debug for Blas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name())
    }
}

impl Blas {
    /// The library, where it is to be used and can be, and why it is not used although it is there.
    ///
    /// # Errors
    /// When it is insisted on and cannot be used.
    pub(super) fn choose(gpu: &Rc<Gpu>, gemm: Gemm) -> Result<(Option<Self>, Option<String>), CudaError> {
        if gemm == Gemm::Own {
            return Ok((None, None));
        }
        match Self::open(gpu) {
            Ok(blas) => Ok((Some(blas), None)),
            Err(error) if gemm == Gemm::CublasLt => Err(error),
            // Where there is none, nothing is missing.
            Err(CudaError::NoLibrary { refused, .. }) if refused.is_empty() => Ok((None, None)),
            Err(error) => Ok((None, Some(error.to_string()))),
        }
    }

    /// The library on `gpu`.
    ///
    /// # Errors
    /// When it is not found, too old, or refuses the device.
    pub(super) fn open(gpu: &Rc<Gpu>) -> Result<Self, CudaError> {
        let library = Library::find(gpu.device.driver)?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: `handle` is written; the device's context is current on this thread.
        library.check("cublasLtCreate", unsafe { (library.functions.cublasLtCreate)(&raw mut handle) })?;
        // cuBLAS documentation, cublasSetWorkspace: 32 MiB on Hopper and newer, 4 MiB elsewhere.
        let most_workspace = if gpu.device.capability.0 >= 9 { 32 << 20 } else { 4 << 20 };
        Ok(Self {
            library,
            handle,
            plans: RefCell::default(),
            next: Cell::new(0),
            known: RefCell::new(Recent::new(MOST_SHAPES)),
            kinds: RefCell::default(),
            notes: RefCell::default(),
            most_workspace,
            gpu: Rc::clone(gpu),
        })
    }

    /// What it is called in a run's header.
    pub(super) fn name(&self) -> String {
        format!("cuBLASLt {}", self.library.version())
    }

    /// What it could not do since the last call.
    pub(super) fn take_notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// The plan of a shape, asked for once as long as it is kept; `None` where there is none.
    fn plan(&self, shape: Shape, bias: u64) -> Option<usize> {
        if let Some(known) = self.known.borrow_mut().get(&shape) {
            return *known;
        }
        let made = Plan::new(&self.library, self.handle, (shape, bias), self.most_workspace);
        let plan = made.map(|plan| {
            let number = self.next.replace(self.next.get() + 1);
            self.plans.borrow_mut().insert(number, plan);
            number
        });
        let plan = plan.map_err(|error| {
            let message = format!("{} has nothing for {shape}: {error}", self.name());
            self.notes.borrow_mut().push(message);
        });
        let dropped = self.known.borrow_mut().insert(shape, plan.ok());
        if let Some(old) = dropped.flatten().and_then(|number| self.plans.borrow_mut().remove(&number)) {
            // What was asked for by it has its own copy of what it says.
            old.destroy(&self.library);
        }
        plan.ok()
    }

    /// Products like this one are asked for in every step, over all its rows.
    fn learn(&self, shape: Shape, bias: u64) {
        self.kinds.borrow_mut().insert(Shape { rows: 0, ..shape }, bias);
    }

    /// Asks for the plans of a step of so many rows, as far as products of such steps are known: before the step, so that
    /// asking is in no time that is measured.
    pub(super) fn prepare(&self, rows: usize) {
        let kinds: Vec<(Shape, u64)> =
            self.kinds.borrow().iter().map(|(kind, bias)| (*kind, *bias)).collect();
        for (kind, bias) in kinds {
            self.plan(Shape { rows, ..kind }, bias);
        }
    }

    /// Asks for a product.
    pub(super) fn run(&self, product: &Product) -> Result<(), CudaError> {
        let plans = self.plans.borrow();
        let plan = plans.get(&product.plan).ok_or_else(|| dropped(product))?;
        let shape = &plan.shape;
        self.gpu.asked(Launch::of_library("cublasLtMatmul", [shape.outputs, shape.rows, shape.inputs]));
        plan.ran.set(true);
        plan.run(&self.library, self.handle, product, self.gpu.stream.cast::<c_void>())
    }

    /// Runs a product that was never run, so that its kernel is loaded: not a thing to do while a stream is captured. Its
    /// result is written over when it is asked for again.
    pub(super) fn load(&self, product: &Product) -> Result<(), CudaError> {
        let loaded = self.plans.borrow().get(&product.plan).is_some_and(|plan| plan.ran.get());
        if loaded { Ok(()) } else { self.run(product) }
    }
}

/// A step asks for far fewer shapes than are kept, so that those of one are there when it runs.
fn dropped(product: &Product) -> CudaError {
    CudaError::Call { call: "cublasLtMatmul", reason: format!("plan {} is no longer kept", product.plan) }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // What was asked for may still run.
        let _ = self.gpu.wait();
        self.plans.borrow_mut().drain().for_each(|(_, plan)| plan.destroy(&self.library));
        // SAFETY: made by cublasLtCreate and destroyed once, with nothing left that uses it.
        let _ = unsafe { (self.library.functions.cublasLtDestroy)(self.handle) };
    }
}

/// The epilogue that computes an activation as kprof does; `None` where the library has none that does.
///
/// Its GELU is the approximation by tanh: XLA puts it in place of exactly that formula, and PyTorch falls back to it.
fn epilogue(activation: Option<Activation>) -> Option<u32> {
    match activation {
        None => Some(library::EPILOGUE_DEFAULT),
        Some(Activation::Relu) => Some(library::EPILOGUE_RELU),
        Some(Activation::GeluTanh) => Some(library::EPILOGUE_GELU),
        Some(Activation::Gelu | Activation::Silu) => None,
    }
}

fn data_type(dtype: DType) -> i32 {
    match dtype {
        DType::F32 => library::R_32F,
        DType::Bf16 => library::R_16BF,
        DType::F16 => library::R_16F,
    }
}
