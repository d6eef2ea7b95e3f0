//! A [`TimelineReport`] as tables: classes, devices, copies.

use super::table::{Column, Table, in_scale, or_na, percent};
use crate::roofline::{DeviceTime, TimelineReport};
use crate::units::{ByteRate, Bytes, Scale, Seconds};

/// What the tables are of, in a line.
pub fn timeline_heading(report: &TimelineReport) -> String {
    let scale = Scale::for_values([report.kernel_time_s], Seconds::UNIT);
    let rank = report.rank.map(|r| format!(", rank {r}")).unwrap_or_default();
    let time = scale.format(report.kernel_time_s);
    format!("{} trace{rank}: {} kernels, {time} {} in all", report.format, report.launches, scale.unit)
}

/// Time by class of kernel, the longest first.
pub fn class_table(report: &TimelineReport) -> Table {
    let time = Scale::for_values(report.classes.first().map(|c| c.time_s), Seconds::UNIT);
    let mut table = Table::new(vec![
        Column::text("class"),
        Column::number("launches", ""),
        Column::number("time", &time.unit),
        Column::number("share", "%"),
    ]);
    for class in &report.classes {
        table.push(vec![
            class.class.clone().unwrap_or_else(|| "(no known class)".into()),
            class.launches.to_string(),
            in_scale(&time, class.time_s),
            percent(class.share),
        ]);
    }
    table
}

/// How busy each device was, and with what it waited. `None` where the trace has sums only.
pub fn device_table(report: &TimelineReport) -> Option<Table> {
    let time = Scale::for_values(report.devices.iter().map(|d| d.span_s), Seconds::UNIT);
    let gap = Scale::for_values(report.devices.iter().filter_map(|d| d.median_gap_s), Seconds::UNIT);
    let mut table = Table::new(vec![
        Column::text("device").shrinks_to(16),
        Column::number("span", &time.unit),
        Column::number("busy", "%"),
        Column::number("idle", "%"),
        Column::number("host wait", "%"),
        Column::number("queue wait", "%").dispensable(2),
        Column::number("unknown", "%").dispensable(3),
        Column::number("gaps", "").dispensable(5),
        Column::number("median gap", &gap.unit).dispensable(4),
        Column::number("communication", "%").dispensable(1),
        Column::number("exposed", "%"),
    ]);
    for device in &report.devices {
        table.push(device_cells(device, &time, &gap));
    }
    (!report.devices.is_empty()).then_some(table)
}

fn device_cells(d: &DeviceTime, time: &Scale, gap: &Scale) -> Vec<String> {
    let of_span = |part: f64| percent((d.span_s > 0.0).then(|| part / d.span_s));
    let known = |part: Option<f64>| part.map_or_else(|| "n/a".to_string(), of_span);
    let number = d.device.map(|n| n.to_string());
    let name = [number.as_deref(), d.name.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    vec![
        if name.is_empty() { "(not named)".to_string() } else { name },
        in_scale(time, d.span_s),
        of_span(d.busy_s),
        of_span(d.idle_s),
        known(d.host_wait_s),
        known(d.queue_wait_s),
        of_span(d.unknown_wait_s),
        d.gaps.to_string(),
        or_na(d.median_gap_s.map(|g| in_scale(gap, g))),
        of_span(d.communication_s),
        of_span(d.exposed_communication_s),
    ]
}

/// Copies with what they achieved. `None` where there are none.
pub fn copy_table(report: &TimelineReport) -> Option<Table> {
    let copies = &report.copies;
    let time = Scale::for_values(copies.first().map(|c| c.time_s), Seconds::UNIT);
    let bytes = Scale::for_values(copies.iter().find_map(|c| c.bytes), Bytes::UNIT);
    let rate = Scale::for_values(copies.iter().find_map(|c| c.bytes_per_s), ByteRate::UNIT);
    let mut table = Table::new(vec![
        Column::text("copies"),
        Column::text("memory").dispensable(1),
        Column::number("count", ""),
        Column::number("bytes", &bytes.unit),
        Column::number("time", &time.unit),
        Column::number("achieved", &rate.unit),
    ]);
    for copy in copies {
        table.push(vec![
            copy.kind.name().to_string(),
            copy.memory.clone().unwrap_or_default(),
            copy.count.to_string(),
            or_na(copy.bytes.map(|b| in_scale(&bytes, b))),
            in_scale(&time, copy.time_s),
            or_na(copy.bytes_per_s.map(|r| in_scale(&rate, r))),
        ]);
    }
    (!copies.is_empty()).then_some(table)
}

/// What the columns of the device table mean.
pub const DEVICE_NOTE: &str = "per cent of the span, first kernel to last; busy is the union of kernels; host wait: idle \
     before the host called for the next kernel; queue wait: idle after; exposed: communication with nothing beside it";
