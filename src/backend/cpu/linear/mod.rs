//! `x W + b` with what stands before and after it: a norm, an activation, a residual sum.
//!
//! Few rows are one pass over the weights each, panel by panel, at the speed of memory ([`skinny`]); many rows are
//! products of blocks ([`blocked`], and [`tiles`] on a matrix unit).

mod blocked;
mod epilogue;
#[cfg(target_arch = "x86_64")]
mod pieces;
mod skinny;
#[cfg(target_arch = "x86_64")]
mod split;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod unpack;

pub(super) use epilogue::Epilogue;

use super::rows::{Convert, Norm, Quantise};
use super::simd::{Element, Grid, Isa, Plain, Pool, dispatch};
use super::tensor::{Arena, CpuTensor, whole};
use super::weights::{CpuLinear, CpuNorm, GROUP, PanelType, Panels};
use crate::backend::BackendError;
use half::bf16;

/// Up to so many rows, the weights are read once per row from the cache that the first row brought them to.
const FEW_ROWS: usize = 4;

/// From so many rows on for each piece but the first, the matrix unit is worth splitting weights for it (measured: f32 at 32
/// rows takes 1.2 times as long that way, at 64 as long).
const MANY_ROWS: usize = 32;

/// The left side of a product, as its kernel wants it.
pub(super) enum Operand {
    F32(CpuTensor),
    Bf16(CpuTensor),
    Int8 {
        codes: CpuTensor,
        scales: CpuTensor,
        sums: CpuTensor,
    },
    /// Sums of bfloat16, in tiles.
    #[cfg(target_arch = "x86_64")]
    Pieces(CpuTensor),
}

/// Where a linear's rows come from.
pub(super) struct Input<'a> {
    pub(super) x: &'a CpuTensor,
    /// The norm they go through first.
    pub(super) norm: Option<&'a CpuNorm>,
    /// Only each `every`-th row of `x`, from the end of each group on; 1 is all.
    pub(super) every: usize,
}

impl Input<'_> {
    /// Rows of the product.
    pub(super) fn rows(&self) -> usize {
        self.x.rows / self.every
    }

    /// Row `i` of the product in `x`.
    fn source(&self, i: usize) -> usize {
        (i + 1) * self.every - 1
    }
}

/// What linears are computed with.
pub(super) struct Engine<'a> {
    pub(super) isa: Isa,
    pub(super) pool: &'a mut Pool,
    pub(super) arena: &'a Arena,
}

/// How a product is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Skinny,
    Blocked,
    Tiles,
    Split,
}

impl Engine<'_> {
    /// The linear of `input` followed by `after`, in activations of type `T`.
    pub(super) fn linear<T: Element>(
        &mut self,
        input: &Input<'_>,
        linear: &CpuLinear,
        after: &Epilogue<'_, T>,
    ) -> Result<CpuTensor, BackendError> {
        let method = self.method(input.rows(), linear.panels.kind, T::PIECES);
        let operand = self.operand::<T>(input, &linear.panels, method)?;
        let rows = input.rows();
        let mut y = self.arena.tensor::<T>(rows, linear.panels.outputs)?;
        let unpacked = self.unpacked::<T>(&linear.panels, method)?;
        let panels = unpacked.as_ref().unwrap_or(&linear.panels);
        let grid = |tile_rows, tile_columns| Grid {
            rows,
            group: rows,
            tile_rows,
            columns: whole(linear.panels.outputs),
            tile_columns,
            stride: y.stride,
        };
        match method {
            Method::Skinny => {
                let grid = grid(rows, skinny::columns_per_task(panels));
                skinny::run(self, panels, &operand, after, grid, y.data_mut());
            }
            Method::Blocked => {
                let (tile_rows, tile_columns) = blocked::tile(self.isa);
                let grid = grid(tile_rows, tile_columns);
                blocked::run(self, panels, &operand, after, grid, y.data_mut());
            }
            #[cfg(target_arch = "x86_64")]
            Method::Tiles => {
                let (tile_rows, tile_columns) = tiles::task(panels, rows, self.pool.threads());
                let grid = grid(tile_rows, tile_columns);
                tiles::run(self, panels, &operand, after, grid, y.data_mut());
            }
            #[cfg(target_arch = "x86_64")]
            Method::Split => {
                let (tile_rows, tile_columns) = split::task(panels, rows, T::PIECES, self.pool.threads());
                let grid = grid(tile_rows, tile_columns);
                split::run(self, panels, &operand, after, grid, y.data_mut())?;
            }
            #[cfg(not(target_arch = "x86_64"))]
            Method::Tiles | Method::Split => unreachable!("chosen only where there is a matrix unit"),
        }
        Ok(y)
    }

    /// For rows of numbers in so many pieces of bfloat16.
    fn method(&self, rows: usize, kind: PanelType, pieces: usize) -> Method {
        let tiles = self.isa == Isa::Amx
            && pieces == 1
            && matches!(kind, PanelType::Bf16 | PanelType::Int8 | PanelType::Int8Channel);
        match rows {
            ..=FEW_ROWS => Method::Skinny,
            _ if tiles => Method::Tiles,
            _ if self.isa == Isa::Amx && pieces > 1 && rows >= (pieces - 1) * MANY_ROWS => Method::Split,
            _ => Method::Blocked,
        }
    }

    /// INT8 weights in the type of a product of blocks; `None` where they are used as they are.
    fn unpacked<T: Element>(
        &mut self,
        panels: &Panels,
        method: Method,
    ) -> Result<Option<Panels>, BackendError> {
        if !panels.kind.is_int8() || method == Method::Skinny {
            return Ok(None);
        }
        let kind = if self.multiplies_bf16::<T>() { PanelType::Bf16 } else { PanelType::F32 };
        unpack::run(self, panels, kind).map(Some)
    }

    /// Whether products of blocks take bfloat16 as it is.
    fn multiplies_bf16<T: Element>(&self) -> bool {
        is_bf16::<T>() && self.isa.multiplies_pairs()
    }

    /// The rows in the type that the method multiplies, normed where there is a norm.
    fn operand<T: Element>(
        &mut self,
        input: &Input<'_>,
        panels: &Panels,
        method: Method,
    ) -> Result<Operand, BackendError> {
        let int8 = panels.kind.is_int8() && method == Method::Skinny;
        let bf16 = !int8 && is_bf16::<T>() && (method == Method::Skinny || self.multiplies_bf16::<T>());
        let as_it_is = input.norm.is_none() && input.every == 1;
        if bf16 {
            let x = if as_it_is { input.x.clone() } else { self.prepared::<T, bf16>(input)? };
            return Ok(Operand::Bf16(x));
        }
        #[cfg(target_arch = "x86_64")]
        if method == Method::Split {
            let x = if as_it_is {
                pieces::rows::<T>(self, input.x, T::PIECES)?
            } else {
                let x = self.prepared::<T, f32>(input)?;
                pieces::rows::<f32>(self, &x, T::PIECES)?
            };
            return Ok(Operand::Pieces(x));
        }
        let x = if as_it_is && is_f32::<T>() { input.x.clone() } else { self.prepared::<T, f32>(input)? };
        if int8 { self.quantised(&x, panels) } else { Ok(Operand::F32(x)) }
    }

    /// The rows, normed where there is a norm, as `U`.
    pub(super) fn prepared<T: Element, U: Element>(
        &mut self,
        input: &Input<'_>,
    ) -> Result<CpuTensor, BackendError> {
        let rows = input.rows();
        let mut to = self.arena.tensor::<U>(rows, input.x.width)?;
        let (isa, stride) = (self.isa, to.stride);
        let x = input.x.data::<T>();
        // About 16 KiB of rows to a task: long against claiming it.
        let tile_rows = (8192 / stride).clamp(1, rows);
        let grid = Grid { rows, group: rows, tile_rows, columns: stride, tile_columns: stride, stride };
        self.pool.tiles(to.data_mut::<U>(), grid, |mut tile| {
            for i in 0..tile.rows {
                let from = input.source(tile.row + i) * stride;
                let (x, to) = (&x[from..from + stride], tile.row_mut(i));
                match input.norm {
                    Some(norm) => dispatch(isa, Norm { x, norm, to }),
                    None => dispatch(isa, Convert { x, to }),
                }
            }
        });
        Ok(to)
    }

    fn quantised(&mut self, x: &CpuTensor, panels: &Panels) -> Result<Operand, BackendError> {
        let inputs = panels.kind.padded_inputs(panels.inputs);
        let blocks = inputs / GROUP;
        let mut codes = self.arena.tensor::<i8>(x.rows, inputs)?;
        let mut scales = self.arena.tensor::<f32>(x.rows, blocks)?;
        let mut sums = self.arena.tensor::<f32>(x.rows, blocks)?;
        for row in 0..x.rows {
            let (at, at_block) = (row * codes.stride, row * scales.stride);
            let quantise = Quantise {
                x: x.row(row),
                codes: &mut codes.data_mut()[at..at + inputs],
                scales: &mut scales.data_mut()[at_block..at_block + blocks],
                sums: &mut sums.data_mut()[at_block..at_block + blocks],
            };
            dispatch(self.isa, quantise);
        }
        Ok(Operand::Int8 { codes, scales, sums })
    }
}

fn is_bf16<T: Plain>() -> bool {
    std::any::TypeId::of::<T>() == std::any::TypeId::of::<bf16>()
}

fn is_f32<T: Plain>() -> bool {
    std::any::TypeId::of::<T>() == std::any::TypeId::of::<f32>()
}
