//! Products with what stands around them: one launch where they fit into one, and one op of all their parts.

use super::linear::{self, Around, SKINNY_ROWS, WideCut};
use super::tensor::{CudaLinear, CudaNorm, CudaTensor, check_eights};
use super::{CudaBackend, CudaError, MEETINGS, blas};
use crate::backend::{BackendError, Site};
use crate::llm::{LinearRows, Op, StepShape};

impl CudaBackend {
    /// Whether a product of `rows` is one of a few rows, for which norm and product are one launch. It follows from what a
    /// step is and not from how long its context has become, so that all steps of a stage run the same ops.
    pub(super) fn is_skinny(step: &StepShape, rows: LinearRows) -> bool {
        (rows == LinearRows::Last || step.new_tokens == 1) && step.batch <= SKINNY_ROWS
    }

    pub(super) fn fuses_norm(&self, step: &StepShape, rows: LinearRows, norm: &CudaNorm) -> bool {
        Self::is_skinny(step, rows) && linear::norm_fits(self.dtype, step.batch, norm.width)
    }

    /// A product with what stands around it, as one launch.
    fn product(
        &mut self,
        step: &StepShape,
        rows: LinearRows,
        x: &CudaTensor,
        linear: &CudaLinear,
        around: Around<'_>,
    ) -> Result<CudaTensor, BackendError> {
        let count = around.norm.map_or(x.rows, |(_, every)| x.rows / every);
        let width = if around.gate { linear.outputs / 2 } else { linear.outputs };
        if around.gate {
            check_eights("gated MLPs", width)?;
        }
        let y = self.tensor(count, width)?;
        let (dtype, multiprocessors) = (self.dtype, self.multiprocessors());
        let skinny = Self::is_skinny(step, rows);
        if !skinny && self.by_library(rows == LinearRows::All, x, linear, around, &y)? {
            return Ok(y);
        }
        let launch = if skinny {
            linear::skinny(dtype, multiprocessors, x, count, linear, around, &y)
        } else {
            let cut = WideCut::new(self.tensor_cores(), multiprocessors, count, linear);
            let partial = match cut.partial_bytes() {
                0 => None,
                bytes => Some(self.bytes(bytes)?),
            };
            let partial = partial.as_ref().map_or(0, |block| block.address);
            linear::wide(dtype, (cut, partial, self.counters()), x, linear, around, &y)
        };
        self.queue.launch(launch)?;
        Ok(y)
    }

    /// Asks the library for a product, where there is one that knows a way.
    fn by_library(
        &mut self,
        every_step: bool,
        x: &CudaTensor,
        linear: &CudaLinear,
        around: Around<'_>,
        y: &CudaTensor,
    ) -> Result<bool, CudaError> {
        let Some(blas) = self.queue.blas.clone() else { return Ok(false) };
        let asked = blas::Asked { arena: &self.arena, dtype: self.dtype, every_step };
        let Some(steps) = blas::steps(&blas, asked, x, linear, around, y)? else {
            return Ok(false);
        };
        for step in steps {
            match step {
                blas::Step::Product(product) => self.queue.product(product)?,
                blas::Step::Launch(launch) => self.queue.launch(launch)?,
            }
        }
        Ok(true)
    }

    /// A product with what stands around it, marked as one op of all its parts.
    pub(super) fn product_op(
        &mut self,
        site: Site,
        step: &StepShape,
        x: &CudaTensor,
        linear: &CudaLinear,
        rows: LinearRows,
        around: Around<'_>,
    ) -> Result<CudaTensor, BackendError> {
        let op = |b: &Self| b.op_of(linear, rows, around);
        self.marked(site, op, |b| b.product(step, rows, x, linear, around))
    }

    /// The op that such a product is: its parts in the order they are computed.
    fn op_of(&self, linear: &CudaLinear, rows: LinearRows, around: Around<'_>) -> Op {
        let dtype = self.dtype;
        let norm = around.norm.map(|(norm, _)| self.norm_op(norm, rows));
        let activation = around.activation.map(|activation| match around.gate {
            true => Op::Gate { width: linear.outputs / 2, activation, dtype },
            // The one function that stands behind a linear by itself.
            false => Op::Gelu { width: linear.outputs, dtype },
        });
        let residual = around.residual.map(|x| Op::Residual { hidden: x.width, dtype });
        let product = Some(self.linear_op(linear, rows));
        let mut ops: Vec<Op> = [norm, product, activation, residual].into_iter().flatten().collect();
        if ops.len() == 1 { ops.remove(0) } else { Op::Fused { ops } }
    }

    /// Whether kprof's own kernel for products of many rows is one for tensor cores.
    pub(super) fn tensor_cores(&self) -> bool {
        linear::on_tensor_cores(self.dtype, self.device().capability)
    }

    /// Where blocks of a launch count their arrivals.
    pub(super) fn counters(&self) -> u64 {
        self.meeting.address + MEETINGS as u64 * 8
    }

    fn linear_op(&self, linear: &CudaLinear, rows: LinearRows) -> Op {
        Op::Linear {
            input: linear.inputs,
            output: linear.outputs,
            bias: linear.bias.is_some(),
            rows,
            dtype: self.dtype,
            weights: None,
        }
    }

    pub(super) fn norm_op(&self, norm: &CudaNorm, rows: LinearRows) -> Op {
        Op::Norm { norm: norm.kind, hidden: norm.width, rows, dtype: self.dtype }
    }
}
