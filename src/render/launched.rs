//! How the launches of points were launched, as a table: grid, block, registers and shared memory.

use super::table::{Column, Table, or_na};
use crate::roofline::{Alike, Point, Roofline};
use std::fmt::Display;

/// What stands for a value that differs between the launches of a point.
const VARIES: &str = "varies";

/// The first `top` points that are of kernels, by the numbers of [`super::roofline_table`]; `None` where registers and shared
/// memory of none are known.
pub fn launched_table(roofline: &Roofline, top: usize) -> Option<Table> {
    let points = &roofline.points[..top.min(roofline.points.len())];
    if !points.iter().any(|p| p.kernel.is_some() && p.launched.has_resources()) {
        return None;
    }
    let several = roofline.files.len() > 1;
    let mut columns = vec![Column::number("#", ""), Column::text("kernel").shrinks_to(15)];
    if several {
        columns.push(Column::text("file").shrinks_to(12).dispensable(5));
    }
    columns.extend([
        Column::text("grid").dispensable(1),
        Column::text("block"),
        Column::number("registers", "/thread"),
        Column::number("static", "B").dispensable(2),
        Column::number("dynamic", "B").dispensable(3),
        Column::number("shared", "B/block").dispensable(4),
    ]);
    let mut table = Table::new(columns);
    for (i, point) in points.iter().enumerate().filter(|(_, p)| p.kernel.is_some()) {
        let mut row = vec![(i + 1).to_string(), point.label()];
        row.extend(several.then(|| roofline.label_of(&point.file)));
        row.extend(launched_cells(point));
        table.push(row);
    }
    Some(table)
}

/// The same of one point in a line; `None` where registers and shared memory are not known.
pub fn launched_line(point: &Point) -> Option<String> {
    let [grid, block, registers, own, asked, all] = launched_cells(point);
    point.launched.has_resources().then(|| {
        format!(
            "launch grid {grid}, block {block}, {registers} registers per thread, shared memory {all} B per block (static {own}, \
             dynamic {asked})"
        )
    })
}

/// Grid, block, registers, and static, dynamic and all shared memory in bytes: no such number is rounded.
pub(super) fn launched_cells(point: &Point) -> [String; 6] {
    let launched = &point.launched;
    [
        cell(&launched.grid),
        cell(&launched.block),
        cell(&launched.registers),
        cell(&launched.static_shared_bytes),
        cell(&launched.dynamic_shared_bytes),
        cell(&launched.shared_bytes),
    ]
}

fn cell<T: Display>(of: &Alike<T>) -> String {
    match of {
        Alike::Varies => VARIES.to_string(),
        other => or_na(other.same().map(ToString::to_string)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{KernelRecord, Run};
    use crate::roofline::samples::kernel;
    use crate::roofline::{By, Ceilings, analyse};

    fn launch(name: &str, grid: &str, registers: Option<u32>, shared: [Option<u64>; 2]) -> KernelRecord {
        KernelRecord {
            grid: Some(grid.into()),
            block: Some("(128, 1, 1)".into()),
            registers,
            static_shared_bytes: shared[0],
            dynamic_shared_bytes: shared[1],
            ..kernel(name, 1.0, 10.0, 100.0)
        }
    }

    fn of(kernels: Vec<KernelRecord>) -> Roofline {
        analyse(&[Run { kernels, file: "x.csv".into(), ..Run::default() }], By::Kernel, &Ceilings::default())
    }

    #[test]
    fn the_table_fits_80_columns_and_tells_unknown_from_varying() {
        let attention =
            "void flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<128, 64, 128, 4, false>>(Params)";
        let roofline = of(vec![
            launch("gemm", "(1200, 12, 16)", Some(168), [Some(1024), Some(98_304)]),
            launch(attention, "(1, 8, 12)", Some(255), [Some(0), Some(65_536)]),
            launch(attention, "(1, 9, 12)", Some(255), [Some(0), Some(65_536)]),
            launch("copy", "(8, 1, 1)", None, [None, None]),
        ]);
        let table = launched_table(&roofline, 10).unwrap();
        let text = table.to_terminal(80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_string();
        assert!(line("gemm").contains("(1200, 12, 16)") && line("gemm").contains("168"), "{text}");
        assert!(line("flash").contains("varies") && line("flash").contains("255"), "{text}");
        assert_eq!(line("copy").matches("n/a").count(), 3, "registers, static, dynamic: {text}");
        let wide = table.to_terminal(160);
        // 1024 B of its own and 98304 B asked for.
        assert!(wide.contains("99328") && wide.contains("B/block"), "{wide}");
        assert!(launched_table(&of(vec![kernel("a", 1.0, 1.0, 1.0)]), 10).is_none());
    }

    #[test]
    fn what_is_only_known_as_a_sum_has_no_columns_of_its_parts() {
        let of_trace =
            KernelRecord { shared_bytes: Some(49_152), registers: Some(32), ..kernel("k", 1.0, 1.0, 1.0) };
        let text = launched_table(&of(vec![of_trace]), 10).unwrap().to_terminal(80);
        assert!(text.contains("49152") && !text.contains("static") && !text.contains("dynamic"), "{text}");
    }
}
