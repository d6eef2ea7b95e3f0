//! A linear with what stands around it, as a product by cuBLASLt and, where its epilogues do not reach, a kernel of kprof's.

use super::plan::Shape;
use super::{Blas, Product, epilogue};
use crate::backend::cuda::arena::{Arena, Block};
use crate::backend::cuda::error::CudaError;
use crate::backend::cuda::launch::Launch;
use crate::backend::cuda::linear::Around;
use crate::backend::cuda::rowwise;
use crate::backend::cuda::tensor::{CudaLinear, CudaTensor};
use crate::llm::DType;
use std::rc::Rc;

/// What is asked for, in order.
#[derive(Clone, Copy, Debug)]
pub(in crate::backend::cuda) enum Step {
    Product(Product),
    Launch(Launch),
}

/// What the product itself does of the surroundings.
struct Cut {
    shape: Shape,
    /// Whether an activation or a gate comes after it, from memory.
    after: bool,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(in crate::backend::cuda) struct Asked<'a> {
    /// Where scratch memory comes from.
    pub(in crate::backend::cuda) arena: &'a Arena,
    /// The type of everything.
    pub(in crate::backend::cuda) dtype: DType,
    /// Whether every step asks for this product, over all its rows.
    pub(in crate::backend::cuda) every_step: bool,
}

/// The steps of a linear; `None` where the library knows no way, or the surroundings are not a linear's of many rows.
///
/// # Errors
/// When there is no room for what lies between the steps.
pub(in crate::backend::cuda) fn steps(
    blas: &Blas,
    asked: Asked<'_>,
    x: &CudaTensor,
    linear: &CudaLinear,
    around: Around<'_>,
    y: &CudaTensor,
) -> Result<Option<Vec<Step>>, CudaError> {
    let Asked { arena, dtype, .. } = asked;
    let Some((plan, after)) = plan(blas, asked, x, linear, around) else { return Ok(None) };
    let bytes = blas.plans.borrow().get(&plan).map_or(0, |plan| plan.workspace_bytes);
    // Both blocks are free again when this returns: whatever takes them comes later on the stream.
    let workspace: Option<Rc<Block>> = if bytes == 0 { None } else { Some(arena.block(bytes)?) };
    let full = match after {
        false => y.clone(),
        true => {
            let size = y.rows * linear.outputs * dtype.bytes() as usize;
            CudaTensor { block: arena.block(size)?, rows: y.rows, width: linear.outputs }
        }
    };
    let product = Product {
        plan,
        x: x.address(),
        weight: linear.weight.address,
        bias: linear.bias.as_ref().map_or(0, |b| b.address),
        residual: around.residual.map_or(0, CudaTensor::address),
        y: full.address(),
        workspace: workspace.as_ref().map_or(0, |block| block.address),
    };
    let mut steps = vec![Step::Product(product)];
    if after {
        let launch = match (around.activation, around.gate) {
            (Some(activation), true) => rowwise::gate(dtype, &full, activation, y),
            (activation, _) => rowwise::activation(dtype, &full, activation, y),
        };
        steps.push(Step::Launch(launch));
    }
    Ok(Some(steps))
}

/// The plan, and whether something comes after it.
fn plan(
    blas: &Blas,
    Asked { dtype, every_step, .. }: Asked<'_>,
    x: &CudaTensor,
    linear: &CudaLinear,
    around: Around<'_>,
) -> Option<(usize, bool)> {
    // A norm before and a residual behind an activation are ways of kprof's own kernels alone.
    let alone = around.norm.is_some() || (around.residual.is_some() && around.activation.is_some());
    if alone || (around.gate && around.activation.is_none()) {
        return None;
    }
    let shape = Shape {
        dtype,
        rows: x.rows,
        inputs: linear.inputs,
        outputs: linear.outputs,
        bias: linear.bias.is_some(),
        activation: None,
        residual: around.residual.is_some(),
    };
    let bias = linear.bias.as_ref().map_or(0, |b| b.address);
    let plain = Cut { shape, after: around.activation.is_some() };
    let fuses = !around.gate && plain.after && epilogue(around.activation).is_some();
    let fused =
        fuses.then_some(Cut { shape: Shape { activation: around.activation, ..shape }, after: false });
    fused.into_iter().chain([plain]).find_map(|cut| {
        if every_step {
            blas.learn(cut.shape, bias);
        }
        blas.plan(cut.shape, bias).map(|plan| (plan, cut.after))
    })
}
