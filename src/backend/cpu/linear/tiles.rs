//! Many rows of bfloat16 on a matrix unit: 32 x 32 sums in tiles over the whole depth.

use super::epilogue::Finish;
use super::{Engine, Epilogue, Operand};
use crate::backend::cpu::simd::{Element, Grid, LANES, MatrixUnit, amx, cast, dispatch};
use crate::backend::cpu::weights::Panels;
use half::bf16;

/// Rows of a task: as many as share the panels in an L2 cache.
pub(super) const ROWS: usize = 256;
/// Columns of a task.
pub(super) const COLUMNS: usize = 64;
/// Rows and columns of sums held in tiles.
const SIDE: usize = 2 * amx::SIDE;

pub(super) fn run<T: Element>(
    engine: &mut Engine<'_>,
    panels: &Panels,
    x: &Operand,
    after: &Epilogue<'_, T>,
    grid: Grid,
    to: &mut [T],
) {
    let (Operand::Bf16(x), Some(unit)) = (x, MatrixUnit::detect()) else {
        unreachable!("chosen only for bfloat16 where there is a matrix unit")
    };
    let (isa, x, stride) = (engine.isa, x.data::<bf16>(), x.stride);
    let product = Product { panels, x, stride };
    engine.pool.tiles(to, grid, |mut tile| {
        let tiles = unit.tiles();
        let mut sums = [[0f32; SIDE]; SIDE];
        for first_column in (0..tile.columns).step_by(SIDE) {
            for first_row in (0..tile.rows).step_by(SIDE) {
                let rows = tile.row + first_row..tile.row + tile.rows;
                product.run(&tiles, rows, (tile.column + first_column) / LANES, &mut sums);
                let finish = Finish {
                    after,
                    tile: &mut tile,
                    first_row,
                    first_column,
                    sums: sums.as_flattened(),
                    stride: SIDE,
                    shape: (SIDE, SIDE),
                };
                dispatch(isa, finish);
            }
        }
    });
}

struct Product<'a> {
    panels: &'a Panels,
    x: &'a [bf16],
    stride: usize,
}

impl Product<'_> {
    /// The sums of up to 32 rows by two panels; those beyond the matrix are of what stands there in memory, and not
    /// kept.
    fn run(
        &self,
        tiles: &amx::Tiles,
        rows: std::ops::Range<usize>,
        panel: usize,
        sums: &mut [[f32; SIDE]; SIDE],
    ) {
        let depth = self.panels.kind.padded_inputs(self.panels.inputs).min(self.stride) / amx::DEPTH;
        let from = |row: usize| amx::Rows { data: &self.x[row * self.stride..], stride: self.stride };
        let last = self.panels.count() - 1;
        let columns = |panel: usize| amx::Columns {
            data: cast::<u8, bf16>(self.panels.panel(panel.min(last))),
            stride: 2 * LANES,
        };
        let second = if rows.len() > amx::SIDE { rows.start + amx::SIDE } else { rows.start };
        let mut to = amx::Sums { data: sums.as_flattened_mut(), stride: SIDE };
        tiles.product_2x2(
            [from(rows.start), from(second)],
            [columns(panel), columns(panel + 1)],
            depth,
            &mut to,
        );
    }
}
