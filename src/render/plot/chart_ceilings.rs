//! Which ceilings a chart draws, and under which names.

use crate::hw::{Ceiling, CeilingKind, MemoryLevel};
use crate::render::footer::file_name;
use crate::roofline::Point;

/// A line of the chart.
#[derive(Clone, Debug)]
pub(in crate::render) struct Line {
    /// E.g. `fp16 / bf16 matrix`.
    pub(in crate::render) name: String,
    /// E.g. `989 TFLOP/s`.
    pub(in crate::render) value_text: String,
    /// Where the value comes from.
    pub(in crate::render) source: String,
    /// In base units.
    pub(in crate::render) value: f64,
    /// Whether it is a bandwidth.
    pub(in crate::render) bandwidth: bool,
    /// Whether it is of main memory, which points are held against.
    pub(in crate::render) dram: bool,
}

/// Compute ceilings of nearly one value share a line.
const SAME: f64 = 0.01;

/// The ceilings of a chart of all levels of memory.
pub(in crate::render) fn ceiling_lines(points: &[&Point]) -> Vec<Line> {
    lines(points, &[])
}

/// The ceilings that the points use, all of them where none is used; of `levels`, where any is given, the bandwidths.
/// The highest first.
pub(super) fn lines(points: &[&Point], levels: &[MemoryLevel]) -> Vec<Line> {
    let mut found: Vec<(&str, &Ceiling)> = Vec::new();
    let any_used = points.iter().any(|p| p.used_ceilings.len() > 1);
    for point in points {
        for ceiling in point.ceilings.distinct() {
            let level = match ceiling.kind {
                CeilingKind::Bandwidth { level } => Some(level),
                CeilingKind::Compute { .. } => None,
            };
            if level.is_some_and(|l| !levels.is_empty() && !levels.contains(&l)) {
                continue;
            }
            if any_used && level.is_none() && !point.used_ceilings.contains(&ceiling.name()) {
                continue;
            }
            // Without a name, another file may be of another device.
            let device = point.device.as_deref().unwrap_or(file_name(&point.file));
            // Launches of one report differ a little in clock: the highest is the bound.
            let same = found.iter_mut().find(|(d, c)| {
                let of_one_device = *d == device && c.source.label() == ceiling.source.label();
                // Named by the user for all files, it is one ceiling.
                let identical = c.source == ceiling.source && c.value == ceiling.value;
                c.kind == ceiling.kind && (of_one_device || identical)
            });
            match same {
                Some(entry) if entry.1.value < ceiling.value => entry.1 = ceiling,
                Some(_) => {}
                None => found.push((device, ceiling)),
            }
        }
    }
    let mut devices: Vec<&str> = found.iter().map(|(d, _)| *d).collect();
    devices.sort_unstable();
    devices.dedup();
    let named = devices.len() > 1;
    found.sort_by(|a, b| b.1.value.total_cmp(&a.1.value));
    found.into_iter().fold(Vec::new(), |lines, (device, c)| add(lines, named.then_some(device), c))
}

fn add(mut lines: Vec<Line>, device: Option<&str>, ceiling: &Ceiling) -> Vec<Line> {
    let bandwidth = ceiling.byte_rate().is_some();
    let device_text = device.map(|d| format!(", {d}")).unwrap_or_default();
    let threads = ceiling.threads.map(|t| format!(", {t} threads")).unwrap_or_default();
    let source = format!("{}{threads}{device_text}", ceiling.source.label());
    let near = |l: &&mut Line| {
        !bandwidth && !l.bandwidth && l.source == source && (l.value / ceiling.value - 1.0).abs() < SAME
    };
    if let Some(line) = lines.iter_mut().find(near) {
        line.name = joined(&line.name, &ceiling.name());
        return lines;
    }
    lines.push(Line {
        name: ceiling.name(),
        value_text: ceiling.value_text(),
        source,
        value: ceiling.value,
        bandwidth,
        dram: ceiling.kind == CeilingKind::Bandwidth { level: MemoryLevel::Dram },
    });
    lines
}

/// `fp16 matrix` and `bf16 matrix` are `fp16 / bf16 matrix`.
fn joined(a: &str, b: &str) -> String {
    match (a.rsplit_once(' '), b.split_once(' ')) {
        (Some((head, tail)), Some((precision, unit))) if tail == unit => {
            format!("{head} / {precision} {tail}")
        }
        _ => format!("{a} / {b}"),
    }
}

/// The intensities where each compute line meets the bandwidth of main memory.
pub(super) fn ridges(lines: &[Line]) -> Vec<(f64, f64)> {
    let Some(dram) = lines.iter().find(|l| l.dram) else { return Vec::new() };
    lines.iter().filter(|l| !l.bandwidth).map(|l| (l.value / dram.value, l.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::Precision;
    use crate::profile::Run;
    use crate::roofline::samples::{bandwidth, kernel, matrix, vector};
    use crate::roofline::{By, Ceilings, analyse, ridge_point};

    fn lines_of(chosen: Vec<Ceiling>, flops: f64) -> Vec<Line> {
        let run = Run { kernels: vec![kernel("k", 1.0, 1e9, flops)], ..Run::default() };
        let points = analyse(&[run], By::Kernel, &Ceilings { chosen, by_device: vec![] }).points;
        lines(&points.iter().collect::<Vec<_>>(), &[])
    }

    #[test]
    fn only_ceilings_in_use_are_drawn_and_equal_ones_share_a_line() {
        let all = vec![
            bandwidth(1e12),
            vector(Precision::Fp32, 10e12),
            matrix(Precision::Fp16, 100e12),
            matrix(Precision::Bf16, 100e12),
        ];
        let names = |flops| lines_of(all.clone(), flops).into_iter().map(|l| l.name).collect::<Vec<_>>();
        assert_eq!(names(1e9), ["fp32 vector", "DRAM bandwidth"]);
        // Without FLOPs none is in use, and all are drawn.
        assert_eq!(names(0.0), ["fp16 / bf16 matrix", "fp32 vector", "DRAM bandwidth"]);
    }

    #[test]
    fn ridges_agree_with_the_ridge_point() {
        let lines = lines_of(vec![bandwidth(1e12), vector(Precision::Fp32, 10e12)], 1e9);
        let expected = ridge_point(&vector(Precision::Fp32, 10e12), &bandwidth(1e12)).unwrap().0;
        assert_eq!(ridges(&lines), [(expected, 10e12)]);
    }
}
