//! One shape of a product: its descriptors and the algorithm that the heuristics chose.

#![allow(unsafe_code)]

use super::library::{
    Algorithm, COMPUTE_32F, DESC_BIAS_POINTER, DESC_EPILOGUE, DESC_TRANSA, EPILOGUE_BIAS, EPILOGUE_DEFAULT,
    Heuristic, Library, Opaque, PREF_MAX_WORKSPACE_BYTES, PREF_REDUCTION_SCHEME_MASK, R_32F,
    REDUCTION_IN_F32, TRANSPOSED,
};
use super::{data_type, epilogue};
use crate::backend::cuda::error::CudaError;
use crate::llm::{Activation, DType};
use std::cell::Cell;
use std::ffi::c_void;
use std::fmt;

/// What an algorithm is chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) dtype: DType,
    pub(super) rows: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) bias: bool,
    pub(super) activation: Option<Activation>,
    pub(super) residual: bool,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dtype, rows, inputs, outputs, .. } = self;
        write!(f, "{rows} x {inputs} by {inputs} x {outputs} in {dtype}")?;
        if self.bias {
            write!(f, " with a bias")?;
        }
        match self.activation {
            Some(activation) => write!(f, " and {activation:?}"),
            None => Ok(()),
        }
    }
}

/// A product as it is asked for: a plan, and where everything lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::backend::cuda) struct Product {
    pub(super) plan: usize,
    pub(super) x: u64,
    pub(super) weight: u64,
    pub(super) bias: u64,
    pub(super) residual: u64,
    pub(super) y: u64,
    pub(super) workspace: u64,
}

/// A shape with its descriptors.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) shape: Shape,
    parts: Parts,
    algorithm: Algorithm,
    /// Bytes of scratch memory.
    pub(super) workspace_bytes: usize,
    /// Whether it was run, and its kernel with it loaded.
    pub(super) ran: Cell<bool>,
}

/// The descriptors, each null until it was made.
#[derive(Debug, Default)]
struct Parts {
    product: Option<Opaque>,
    weight: Option<Opaque>,
    x: Option<Opaque>,
    y: Option<Opaque>,
}

impl Parts {
    fn make(&mut self, library: &Library, shape: &Shape, bias: u64) -> Result<(), CudaError> {
        let f = &library.functions;
        let mut made = std::ptr::null_mut();
        // SAFETY: `made` is written.
        let status = unsafe { (f.cublasLtMatmulDescCreate)(&raw mut made, COMPUTE_32F, R_32F) };
        library.check("cublasLtMatmulDescCreate", status)?;
        self.product = Some(made);
        attribute(library, made, DESC_TRANSA, &TRANSPOSED)?;
        let activation = epilogue(shape.activation).unwrap_or(EPILOGUE_DEFAULT);
        let epilogue = match (activation, shape.bias) {
            (EPILOGUE_DEFAULT, true) => EPILOGUE_BIAS,
            (other, true) => other | EPILOGUE_BIAS,
            (other, false) => other,
        };
        attribute(library, made, DESC_EPILOGUE, &epilogue)?;
        if shape.bias {
            // The heuristics look at how it is aligned: as every allocation is.
            attribute(library, made, DESC_BIAS_POINTER, &bias)?;
        }
        let kind = data_type(shape.dtype);
        let layout = |rows: usize, columns: usize| {
            let mut made = std::ptr::null_mut();
            // SAFETY: `made` is written. Columns follow each other without a gap.
            let status = unsafe {
                (f.cublasLtMatrixLayoutCreate)(&raw mut made, kind, rows as u64, columns as u64, rows as i64)
            };
            library.check("cublasLtMatrixLayoutCreate", status).map(|()| made)
        };
        self.weight = Some(layout(shape.inputs, shape.outputs)?);
        self.x = Some(layout(shape.inputs, shape.rows)?);
        self.y = Some(layout(shape.outputs, shape.rows)?);
        Ok(())
    }

    fn destroy(self, library: &Library) {
        let f = &library.functions;
        if let Some(product) = self.product {
            // SAFETY: made by cublasLtMatmulDescCreate, destroyed once.
            let _ = unsafe { (f.cublasLtMatmulDescDestroy)(product) };
        }
        for layout in [self.weight, self.x, self.y].into_iter().flatten() {
            // SAFETY: made by cublasLtMatrixLayoutCreate, destroyed once.
            let _ = unsafe { (f.cublasLtMatrixLayoutDestroy)(layout) };
        }
    }

    /// All four, null where one was not made.
    fn all(&self) -> [Opaque; 4] {
        [self.product, self.weight, self.x, self.y].map(|part| part.unwrap_or(std::ptr::null_mut()))
    }
}

fn attribute<T>(library: &Library, product: Opaque, which: i32, value: &T) -> Result<(), CudaError> {
    let value: *const T = value;
    // SAFETY: a descriptor of the library's, and a value of the attribute's type and size, which is copied.
    let status = unsafe {
        (library.functions.cublasLtMatmulDescSetAttribute)(
            product,
            which,
            value.cast::<c_void>(),
            size_of::<T>(),
        )
    };
    library.check("cublasLtMatmulDescSetAttribute", status)
}

impl Plan {
    /// Asks the heuristics.
    ///
    /// # Errors
    /// When they know no algorithm for the shape.
    pub(super) fn new(
        library: &Library,
        handle: Opaque,
        (shape, bias): (Shape, u64),
        most_workspace: u64,
    ) -> Result<Self, CudaError> {
        let mut parts = Parts::default();
        let chosen =
            parts.make(library, &shape, bias).and_then(|()| best(library, handle, &parts, most_workspace));
        match chosen {
            Ok(best) => Ok(Self {
                shape,
                parts,
                algorithm: best.algorithm,
                workspace_bytes: best.workspace_bytes,
                ran: Cell::new(false),
            }),
            Err(error) => {
                parts.destroy(library);
                Err(error)
            }
        }
    }

    pub(super) fn run(
        &self,
        library: &Library,
        handle: Opaque,
        at: &Product,
        stream: Opaque,
    ) -> Result<(), CudaError> {
        let [product, weight, x, y] = self.parts.all();
        if self.shape.bias {
            attribute(library, product, DESC_BIAS_POINTER, &at.bias)?;
        }
        let alpha = 1f32;
        let (beta, added) = if self.shape.residual { (1f32, at.residual) } else { (0f32, at.y) };
        let place = |address: u64| address as *mut c_void;
        let one = |scale: &f32| std::ptr::from_ref(scale).cast::<c_void>();
        // SAFETY: descriptors of this shape, and device memory as large as they say, in use until the stream has passed;
        // the two factors are on the host, which is the default, and read before the call returns.
        let status = unsafe {
            (library.functions.cublasLtMatmul)(
                handle,
                product,
                one(&alpha),
                place(at.weight),
                weight,
                place(at.x),
                x,
                one(&beta),
                place(added),
                y,
                place(at.y),
                y,
                &raw const self.algorithm,
                place(at.workspace),
                self.workspace_bytes,
                stream,
            )
        };
        library.check("cublasLtMatmul", status)
    }

    pub(super) fn destroy(self, library: &Library) {
        self.parts.destroy(library);
    }
}

/// The first algorithm of the heuristics, which they think the fastest.
fn best(
    library: &Library,
    handle: Opaque,
    parts: &Parts,
    most_workspace: u64,
) -> Result<Heuristic, CudaError> {
    let f = &library.functions;
    let mut preference = std::ptr::null_mut();
    // SAFETY: `preference` is written.
    let status = unsafe { (f.cublasLtMatmulPreferenceCreate)(&raw mut preference) };
    library.check("cublasLtMatmulPreferenceCreate", status)?;
    let mut found = Heuristic::default();
    let mut count = 0;
    let [product, weight, x, y] = parts.all();
    let set = |which: i32, value: *const c_void, bytes: usize| {
        // SAFETY: a value of the attribute's type and size, which is copied.
        let status = unsafe { (f.cublasLtMatmulPreferenceSetAttribute)(preference, which, value, bytes) };
        library.check("cublasLtMatmulPreferenceSetAttribute", status)
    };
    let most: *const u64 = &most_workspace;
    let reduction: *const u32 = &REDUCTION_IN_F32;
    let asked = set(PREF_MAX_WORKSPACE_BYTES, most.cast(), 8)
        .and_then(|()| set(PREF_REDUCTION_SCHEME_MASK, reduction.cast(), 4))
        .and_then(|()| {
            // SAFETY: descriptors of the library's; room for one result, and how many there are is written.
            let status = unsafe {
                (f.cublasLtMatmulAlgoGetHeuristic)(
                    handle,
                    product,
                    weight,
                    x,
                    y,
                    y,
                    preference,
                    1,
                    &raw mut found,
                    &raw mut count,
                )
            };
            library.check("cublasLtMatmulAlgoGetHeuristic", status)
        });
    // SAFETY: made above, destroyed once.
    let _ = unsafe { (f.cublasLtMatmulPreferenceDestroy)(preference) };
    asked?;
    if count == 0 {
        let reason = "no algorithm".to_string();
        return Err(CudaError::Call { call: "cublasLtMatmulAlgoGetHeuristic", reason });
    }
    library.check("cublasLtMatmulAlgoGetHeuristic", found.state)?;
    Ok(found)
}
