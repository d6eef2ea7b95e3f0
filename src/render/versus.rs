//! Changes between files and possible savings, as text.

use super::table::{Column, Table, elide, or_na, significant};
use crate::roofline::{Change, Point, Roofline, Saving};
use crate::units::{Seconds, format_si};
use std::fmt::Write;

/// Kernels and phases of later files against the first, one row each.
pub fn changes_table(roofline: &Roofline, changes: &[Change]) -> Table {
    let several = roofline.files.len() > 2;
    let mut columns = vec![Column::text("kernel or phase").shrinks_to(30)];
    if several {
        columns.push(Column::text("against the first").shrinks_to(12));
    }
    columns.extend([
        Column::number("old time", "").dispensable(1),
        Column::number("new time", "").dispensable(1),
        Column::number("time", "new/old"),
        Column::number("FLOPs", "new/old"),
        Column::number("bytes", "new/old"),
        Column::number("intensity", "new/old"),
    ]);
    let mut table = Table::new(columns);
    for change in changes {
        let time = |t: Option<f64>| or_na(t.map(|t| format_si(t, Seconds::UNIT)));
        let mut row = vec![change.short_name.clone()];
        if several {
            row.push(roofline.label_of(&change.new_file));
        }
        row.extend([time(change.old_time_s), time(change.new_time_s)]);
        let ratios = [change.time_ratio, change.flop_ratio, change.byte_ratio, change.intensity_ratio];
        row.extend(ratios.map(significant));
        table.push(row);
    }
    table
}

/// One line per file about its points that the other side lacks, the longest named.
pub fn one_sided_notes(roofline: &Roofline, alone: &[&Point]) -> String {
    const NAMED: usize = 3;
    let mut out = String::new();
    for file in &roofline.files {
        let names: Vec<String> =
            alone.iter().filter(|p| p.file == *file).map(|p| elide(&p.label(), 40)).collect();
        if names.is_empty() {
            continue;
        }
        let more = if names.len() > NAMED { ", …" } else { "" };
        let shown = names[..names.len().min(NAMED)].join(", ");
        let label = roofline.label_of(file);
        let _ = writeln!(
            out,
            "only in {label}: {} ({shown}{more}); --by name-base or class may pair them",
            names.len()
        );
    }
    out
}

/// The first `count` savings as a list; empty where none is known.
pub fn savings_list(roofline: &Roofline, savings: &[Saving], count: usize) -> String {
    if savings.is_empty() {
        return String::new();
    }
    let mut out = "Where to look first: what reaching its ceiling would save\n".to_string();
    for saving in savings.iter().take(count) {
        let share = saving.share.map(|s| format!(" ({:.1} % of all)", s * 100.0)).unwrap_or_default();
        let file = match roofline.files.len() {
            0 | 1 => String::new(),
            _ => format!(" [{}]", roofline.label_of(&saving.file)),
        };
        let bound = roofline.points.get(saving.point).map(|p| p.bound.name()).unwrap_or_default();
        let _ = writeln!(
            out,
            "  #{:<3} {:>8}{share}  {}{file}: at {:.1} % of its ceiling, {bound}-bound",
            saving.point + 1,
            format_si(saving.saving_s, Seconds::UNIT),
            elide(&saving.short_name, 40),
            saving.fraction_of_ceiling * 100.0,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::Precision;
    use crate::profile::{KernelRecord, Run};
    use crate::roofline::samples::{bandwidth, kernel, vector};
    use crate::roofline::{By, Ceilings, analyse, changes, savings};

    fn two_files() -> Roofline {
        let run = |file: &str, time| Run {
            file: file.into(),
            kernels: vec![KernelRecord { file: file.into(), ..kernel("gemm", time, 1e8, 1e9) }],
            ..Run::default()
        };
        let chosen = vec![bandwidth(100e9), vector(Precision::Fp32, 1e12)];
        let runs = [run("a/v0.csv", 0.004), run("b/v1.csv", 0.002)];
        analyse(&runs, By::Kernel, &Ceilings { chosen, by_device: vec![] })
    }

    #[test]
    fn a_change_is_a_row_of_ratios() {
        let roofline = two_files();
        let text = changes_table(&roofline, &changes(&roofline)).to_terminal(100);
        assert!(text.contains("gemm") && text.contains("4.00 ms") && text.contains("0.50"), "{text}");
    }

    #[test]
    fn what_only_one_file_has_is_said() {
        let roofline = two_files();
        let all: Vec<&Point> = roofline.points.iter().collect();
        let text = one_sided_notes(&roofline, &all[..1]);
        assert_eq!(text, "only in v0.csv: 1 (gemm); --by name-base or class may pair them\n");
        assert!(one_sided_notes(&roofline, &[]).is_empty());
    }

    #[test]
    fn savings_name_the_point_its_file_and_how_far_it_is() {
        let mut roofline = two_files();
        roofline.set_labels(&["old".into(), "new".into()]);
        let text = savings_list(&roofline, &savings(&roofline), 1);
        let expected = "Where to look first: what reaching its ceiling would save\n  \
                        #1    3.00 ms (75.0 % of all)  gemm [old]: at 25.0 % of its ceiling, memory-bound\n";
        assert_eq!(text, expected);
    }
}
