//! A [`MemoryReport`] as a table, lines, JSON and CSV.

use super::benchmark::benchmark_heading;
use super::roofline_export::{to_csv, to_json};
use super::table::{Column, Table, in_wide_scale, or_na, significant};
use crate::profile::{Accounted, MemoryMethod, MemoryRecord};
use crate::scaling::{MemoryReport, VersionMemory};
use crate::units::{Bytes, Scale, format_iec};
use serde::Serialize;

/// What was measured.
pub fn memory_heading(report: &MemoryReport) -> String {
    benchmark_heading("memory", report.manifest.as_ref())
}

/// A row per version and T.
pub fn memory_table(report: &MemoryReport) -> Table {
    let points = || report.versions.iter().flat_map(|v| &v.points);
    let scale = |of: &dyn Fn(&MemoryRecord) -> Option<Accounted>| {
        Scale::iec_for_values(points().filter_map(|p| of(&p.record)).map(|a| a.bytes), Bytes::UNIT)
    };
    let total = scale(&|m| m.peak.or(m.resident_peak));
    let cache = scale(&|m| m.cache_theoretical);
    let activations = scale(&|m| m.activations.or(m.above_weights));
    let mut table = Table::new(vec![
        Column::text("version"),
        Column::number("T", "tokens"),
        Column::number("peak", &total.unit),
        Column::number("weights", &total.unit).dispensable(2),
        Column::number("activations", &activations.unit).dispensable(1),
        Column::number("cache: theory", &cache.unit),
        Column::number("allocated", &cache.unit),
        Column::number("touched", &cache.unit).dispensable(1),
        Column::number("smaller: theory", "x").dispensable(3),
        Column::number("allocated", "x").dispensable(1),
        Column::number("resident", &total.unit).dispensable(4),
    ]);
    for version in &report.versions {
        table.space();
        for (i, point) in version.points.iter().enumerate() {
            let m = &point.record;
            let bytes = |scale: &Scale, a: Option<Accounted>| or_na(a.map(|a| in_wide_scale(scale, a.bytes)));
            let ratio = |r: Option<f64>| r.map_or(String::new(), |r| significant(Some(r)));
            table.push(vec![
                if i == 0 { version.version.clone() } else { String::new() },
                m.tokens.to_string(),
                bytes(&total, m.peak),
                bytes(&total, m.weights),
                bytes(&activations, m.activations),
                bytes(&cache, m.cache_theoretical),
                bytes(&cache, m.cache_allocated),
                bytes(&cache, m.cache_touched),
                ratio(point.smaller_theoretical),
                ratio(point.smaller_allocated),
                bytes(&total, m.resident_peak),
            ]);
        }
    }
    table
}

/// How each kind of figure was come by, how caches grow, and how much smaller each is.
pub fn memory_lines(report: &MemoryReport) -> Vec<String> {
    let mut lines = vec![accounting(report)];
    if let (Some(theory), Some(found)) = (
        report.theoretical_weight_bytes,
        report.versions.iter().flat_map(|v| &v.points).find_map(|p| p.record.weights),
    ) {
        let share = 100.0 * (found.bytes / theory - 1.0);
        let (found, theory) = (format_iec(found.bytes, "B"), format_iec(theory, "B"));
        lines.push(format!("weights: {found} held, {theory} by the shapes ({share:+.1} %)"));
    }
    lines.extend(report.versions.iter().filter_map(|v| version_line(report, v)));
    lines
}

fn version_line(report: &MemoryReport, version: &VersionMemory) -> Option<String> {
    let per_token = &version.cache_per_token;
    let name = &version.version;
    let bytes = |b: f64| format_iec(b, "B");
    let theory = per_token.theoretical_bytes?;
    if theory == 0.0 {
        let peak = per_token.peak_bytes.map_or("n/a".to_string(), bytes);
        return Some(format!(
            "{name}: no cache; a further token adds {peak} to the peak (activations of the whole sequence)"
        ));
    }
    let allocated = per_token.allocated_bytes.map_or("n/a".to_string(), bytes);
    let grown = format!(
        "{name}: a further token adds {} to the cache in theory, {allocated} as allocated",
        bytes(theory)
    );
    let last = version.points.last()?;
    let Some(smaller) = last.smaller_theoretical else { return Some(grown) };
    let baseline = report.cache_baseline.as_deref().unwrap_or("v1");
    let as_allocated =
        last.smaller_allocated.map_or(String::new(), |s| format!(", {}x as allocated", significant(Some(s))));
    let t = last.record.tokens;
    Some(format!(
        "{grown}; {}x smaller than {baseline}'s in theory{as_allocated} at T = {t}",
        significant(Some(smaller))
    ))
}

/// Which figures come from where.
fn accounting(report: &MemoryReport) -> String {
    let of = |get: fn(&MemoryRecord) -> Option<Accounted>| -> Option<MemoryMethod> {
        report
            .versions
            .iter()
            .flat_map(|v| &v.points)
            .find_map(|p| get(&p.record).filter(|a| a.bytes > 0.0))
            .map(|a| a.method)
    };
    let figures: [(&str, Option<MemoryMethod>); 6] = [
        ("peak, weights and activations", of(|m| m.peak)),
        ("theory", of(|m| m.cache_theoretical)),
        ("allocated", of(|m| m.cache_allocated)),
        ("touched", of(|m| m.cache_touched)),
        ("above weights", of(|m| m.above_weights).filter(|_| of(|m| m.peak).is_none())),
        ("resident", of(|m| m.resident_peak)),
    ];
    let said = figures.iter().filter_map(|(name, method)| method.map(|m| format!("{name} by {}", m.name())));
    format!("accounting: {}", said.collect::<Vec<_>>().join("; "))
}

/// The report as JSON: bytes, `null` where unknown.
pub fn memory_json(report: &MemoryReport) -> String {
    to_json(report)
}

/// A row of the CSV, in bytes; an empty cell is unknown.
#[derive(Debug, Serialize)]
struct CsvRow<'a> {
    version: &'a str,
    tokens: usize,
    peak_bytes: Option<f64>,
    weight_bytes: Option<f64>,
    activation_bytes: Option<f64>,
    above_weight_bytes: Option<f64>,
    cache_theoretical_bytes: Option<f64>,
    cache_allocated_bytes: Option<f64>,
    cache_touched_bytes: Option<f64>,
    smaller_theoretical: Option<f64>,
    smaller_allocated: Option<f64>,
    resident_peak_bytes: Option<f64>,
}

/// The points as CSV.
pub fn memory_csv(report: &MemoryReport) -> String {
    to_csv(report.versions.iter().flat_map(|version| {
        version.points.iter().map(|point| {
            let m = &point.record;
            let bytes = |a: Option<Accounted>| a.map(|a| a.bytes);
            CsvRow {
                version: &version.version,
                tokens: m.tokens,
                peak_bytes: bytes(m.peak),
                weight_bytes: bytes(m.weights),
                activation_bytes: bytes(m.activations),
                above_weight_bytes: bytes(m.above_weights),
                cache_theoretical_bytes: bytes(m.cache_theoretical),
                cache_allocated_bytes: bytes(m.cache_allocated),
                cache_touched_bytes: bytes(m.cache_touched),
                smaller_theoretical: point.smaller_theoretical,
                smaller_allocated: point.smaller_allocated,
                resident_peak_bytes: bytes(m.resident_peak),
            }
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::tests::memory_run;

    #[test]
    fn the_table_fits_80_columns_and_unknown_bytes_are_not_0() {
        let report = MemoryReport::new(&memory_run()).unwrap();
        let text = memory_table(&report).to_terminal(80);
        assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
        // Nothing was found out about touched pages: the column says so in files, and is left out of a terminal.
        assert!(
            memory_table(&report).to_markdown().contains("| n/a |") && !text.contains("touched"),
            "{text}"
        );
    }

    #[test]
    fn lines_say_how_figures_were_come_by_and_how_much_smaller_caches_are() {
        let lines = memory_lines(&MemoryReport::new(&memory_run()).unwrap());
        assert_eq!(
            lines[0],
            "accounting: peak, weights and activations by counted allocations; theory by formula; allocated by \
             counted allocations"
        );
        assert!(lines[1].starts_with("v0: no cache; a further token adds"), "{}", lines[1]);
        assert!(
            lines[3].ends_with("4.00x smaller than v1's in theory, 2.00x as allocated at T = 32"),
            "{}",
            lines[3]
        );
    }

    #[test]
    fn the_csv_has_a_row_per_point() {
        let csv = memory_csv(&MemoryReport::new(&memory_run()).unwrap());
        assert_eq!(csv.lines().count(), 10);
        assert_eq!(csv.lines().nth(9).unwrap(), "v2,32,2900.0,1000.0,300.0,1900.0,800.0,1600.0,,4.0,2.0,");
    }
}
