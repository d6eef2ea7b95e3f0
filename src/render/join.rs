//! A [`JoinReport`] as tables: analytic work beside measured times, and where a step's time goes.

use super::table::{Column, Table, in_scale, or_na, percent};
use crate::roofline::{Bound, ClassWork, JoinReport, PortionReport};
use crate::units::{Bytes, Flops, Scale, Seconds};

/// What was joined to what, in a few lines.
pub fn join_heading(report: &JoinReport) -> String {
    let deployment = &report.deployment;
    let tp = match deployment.tensor_parallel {
        1 => String::new(),
        ranks => format!(", one of {ranks} ranks"),
    };
    // `Bf16` and the like: the names that the command line has, in capitals.
    let kv = format!("{:?}", deployment.kv.element).to_lowercase();
    let ceilings = match report.ceilings.is_empty() {
        true => "n/a".to_string(),
        false => report.ceilings.join(", "),
    };
    format!(
        "{} {} (cache {}), batch {} prompt {}{tp}: FLOPs and bytes are ANALYTIC, times are the trace's\nceilings: {ceilings}",
        report.model, deployment.weights, kv, report.batch, report.prompt,
    )
}

/// Time and work per step: a row per stage and class.
pub fn join_table(report: &JoinReport) -> Table {
    let portions = &report.portions;
    let longest = portions.iter().map(|p| p.total.time_s).fold(0.0, f64::max);
    let time = Scale::for_values([longest], Seconds::UNIT);
    let largest = |value: fn(&ClassWork) -> Option<f64>| {
        portions.iter().filter_map(|p| value(&p.total)).fold(0.0, f64::max)
    };
    let flops = Scale::for_values([largest(|c| c.flops)], Flops::UNIT);
    let bytes = Scale::for_values([largest(|c| c.bytes)], Bytes::UNIT);
    let counted = portions.iter().flat_map(|p| &p.classes).any(|c| c.counted);
    let mut table = Table::new(columns(counted, &time, &flops, &bytes));
    for portion in portions {
        table.space();
        for (i, class) in portion.classes.iter().enumerate() {
            let first = if i == 0 { stage(portion) } else { String::new() };
            let name = class.class.clone().unwrap_or_else(|| "(no known class)".into());
            table.push(cells(first, name, class, counted, [&time, &flops, &bytes]));
        }
        let whole = if portion.wall_s.is_some() { "wall" } else { "all kernels" };
        table.push(cells(String::new(), whole.into(), &portion.total, counted, [&time, &flops, &bytes]));
    }
    table
}

fn stage(portion: &PortionReport) -> String {
    match portion.steps {
        Some(steps) if portion.stage.is_some() => format!("{} x{steps:.0}", portion.name),
        _ => portion.name.to_string(),
    }
}

fn columns(counted: bool, time: &Scale, flops: &Scale, bytes: &Scale) -> Vec<Column> {
    let mut columns = vec![
        Column::text("stage"),
        Column::text("class"),
        Column::number("launches", "").dispensable(3),
        Column::number("time", &time.unit),
        Column::number("share", "%").dispensable(4),
        Column::number("FLOPs", &flops.unit).dispensable(2),
        Column::number("bytes", &bytes.unit).dispensable(2),
    ];
    if counted {
        columns.extend([
            Column::number("counted", &bytes.unit),
            Column::number("differs", "%"),
            Column::number("FLOPs differ", "%").dispensable(5),
        ]);
    }
    columns.extend([
        Column::number("floor", &time.unit),
        Column::number("MBU", "%"),
        Column::number("MFU", "%"),
        Column::number("of ceiling", "%"),
        Column::text("bound").dispensable(1),
    ]);
    columns
}

fn cells(
    stage: String,
    name: String,
    class: &ClassWork,
    counted: bool,
    [time, flops, bytes]: [&Scale; 3],
) -> Vec<String> {
    let signed = |value: Option<f64>| or_na(value.map(|v| format!("{:+.1}", v * 100.0)));
    let mut cells = vec![
        stage,
        name,
        format!("{:.4}", class.launches).trim_end_matches('0').trim_end_matches('.').to_string(),
        in_scale(time, class.time_s),
        class.share.map_or_else(String::new, |s| percent(Some(s))),
        or_na(class.flops.map(|f| in_scale(flops, f))),
        or_na(class.bytes.map(|b| in_scale(bytes, b))),
    ];
    if counted {
        cells.extend([
            or_na(class.counted_bytes.map(|b| in_scale(bytes, b))),
            signed(class.byte_disagreement),
            signed(class.flop_disagreement),
        ]);
    }
    cells.extend([
        or_na(class.floor_s.map(|f| in_scale(time, f))),
        percent(class.mbu),
        percent(class.mfu),
        percent(class.fraction_of_ceiling),
        class.bound.map_or("n/a", Bound::name).to_string(),
    ]);
    cells
}

/// Where the wall time of a step goes: a row per stage. `None` where no stage has a floor.
pub fn gap_table(report: &JoinReport) -> Option<Table> {
    let with_gap = || report.portions.iter().filter_map(|p| Some((p, p.gap.as_ref()?)));
    let time = Scale::for_values(with_gap().map(|(p, _)| p.total.time_s), Seconds::UNIT);
    let part = |name: &str| Column::number(name, &time.unit);
    let mut table = Table::new(vec![
        Column::text("per step"),
        part("wall"),
        part("floor"),
        part("kernel inefficiency"),
        part("communication"),
        part("launch gaps"),
        part("idle"),
    ]);
    for (portion, gap) in with_gap() {
        let parts = [
            portion.total.time_s,
            gap.floor_s,
            gap.kernel_inefficiency_s,
            gap.communication_s,
            gap.launch_gaps_s,
            gap.idle_s,
        ];
        let cells = parts.into_iter().map(|p| in_scale(&time, p));
        table.push(std::iter::once(portion.name.to_string()).chain(cells).collect());
    }
    with_gap().next().is_some().then_some(table)
}

/// What the tables' numbers mean.
pub const JOIN_NOTE: &str = "times and work are per step of one rank; wall counts gaps, classes sum their kernels; bytes are each op's \
     inputs and outputs once, so fused kernels may go below the floor; decode steps are taken to follow the prompt";
