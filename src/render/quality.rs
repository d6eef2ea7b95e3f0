//! A [`QualityReport`] as a table, lines, Markdown, CSV and JSON.

use super::roofline_export::{to_csv, to_json};
use super::table::{Column, Table, or_na, significant};
use crate::compare::{QUALITY_SCHEMA_VERSION, QualityReport, VersionQuality};
use crate::profile::{Finding, Run, TextRecord};
use crate::stats::Interval;
use serde::Serialize;

/// What was scored, by what, on what.
pub fn quality_heading(report: &QualityReport, run: &Run) -> String {
    let config = run.manifest.as_ref().and_then(|m| m.config.as_ref());
    let what = config.map_or("an import".to_string(), |c| {
        format!("{} on {}", c.model_and_types(), c.implementation_and_instructions())
    });
    let text = report.text.as_ref().map(|text| format!("\n{}", describe(text))).unwrap_or_default();
    let rank = run.manifest.as_ref().and_then(|m| m.rank_line()).map(|rank| format!("\n{rank}"));
    format!("kprof perplexity  {what}{text}{}", rank.unwrap_or_default())
}

fn describe(text: &TextRecord) -> String {
    let windows = match (text.context, text.stride) {
        (Some(context), Some(stride)) => format!(", windows of {context} every {stride}"),
        _ => String::new(),
    };
    let best = text.best_perplexity.map(|p| format!("; best possible perplexity {p:.4}")).unwrap_or_default();
    let (name, bytes, tokens, tokenizer) = (&text.name, text.bytes, text.tokens, &text.tokenizer);
    format!("{name}: {bytes} bytes, {tokens} tokens ({tokenizer}){windows}{best}")
}

/// A row per version.
pub fn quality_table(report: &QualityReport) -> Table {
    let reference = report.versions.iter().find_map(|v| v.change.as_ref()).map(|c| c.reference.as_str());
    let against = reference.map_or("change".to_string(), |reference| format!("vs {reference}"));
    let mut table = Table::new(vec![
        Column::text("version"),
        Column::number("perplexity", ""),
        Column::number("one pass", "").dispensable(2),
        Column::number(against, "%"),
        Column::text("95 % interval"),
        Column::number("KL", "nat"),
        Column::number("top-1 same", "%"),
        Column::number("bits/byte", "").dispensable(1),
        Column::number("bits/char", "").dispensable(4),
        Column::number("above best", "%").dispensable(3),
        Column::number("tokens", "").dispensable(2),
    ]);
    for version in &report.versions {
        table.push(cells(version));
    }
    table
}

fn cells(version: &VersionQuality) -> Vec<String> {
    let change = version.change.as_ref();
    vec![
        version.version.clone(),
        format!("{:.4}", version.perplexity),
        or_na(version.one_pass_perplexity.map(|p| format!("{p:.4}"))),
        or_na(change.map(|c| percent(c.degradation))),
        or_na(change.and_then(|c| c.interval).map(range)),
        significant(change.and_then(|c| c.kl_nat).map(noise_free)),
        or_na(change.and_then(|c| c.same_top1).map(|share| format!("{:.2}", 100.0 * share))),
        or_na(version.bits_per_byte.map(|bits| format!("{bits:.4}"))),
        or_na(version.bits_per_character.map(|bits| format!("{bits:.4}"))),
        or_na(version.above_best.map(percent)),
        version.tokens.to_string(),
    ]
}

/// What rounding leaves of a divergence of 0 is no number worth digits: it is written as 0.
fn noise_free(kl: f64) -> f64 {
    if kl.abs() < 1e-9 { 0.0 } else { kl }
}

/// A fraction as signed per cent: three decimals where it is small, none of it written as 0 that is not.
pub(super) fn percent(fraction: f64) -> String {
    match fraction * 100.0 {
        p if p.abs() >= 99.5 => format!("{p:+.0}"),
        p if p.abs() >= 9.95 => format!("{p:+.1}"),
        p if p.abs() >= 0.9995 => format!("{p:+.2}"),
        p if p.abs() >= 5e-4 => format!("{p:+.3}"),
        p if p.abs() > 1e-9 => "<0.001".to_string(),
        _ => "0".to_string(),
    }
}

fn range(interval: Interval) -> String {
    format!("[{}, {}]", percent(interval.low), percent(interval.high))
}

/// One line on each version against the reference.
pub fn quality_lines(report: &QualityReport) -> Vec<String> {
    let line = |version: &VersionQuality| {
        let change = version.change.as_ref()?;
        let words = match change.interval {
            None => "too few blocks of tokens for an interval".to_string(),
            Some(i) if i.low > NEGLIGIBLE => "worse".to_string(),
            Some(i) if i.high < -NEGLIGIBLE => "better".to_string(),
            Some(i) if i.low >= -NEGLIGIBLE && i.high <= NEGLIGIBLE => "the same within 0.01 %".to_string(),
            Some(_) => "no difference shown on this text".to_string(),
        };
        let interval = change.interval.map(|i| format!(" {}", range(i))).unwrap_or_default();
        Some(format!(
            "{} vs {}: perplexity {} %{interval}: {words}",
            version.version,
            change.reference,
            percent(change.degradation)
        ))
    };
    report.versions.iter().filter_map(line).collect()
}

/// Changes of perplexity under this fraction are called the same.
const NEGLIGIBLE: f64 = 1e-4;

#[derive(Serialize)]
struct CsvRow<'a> {
    version: &'a str,
    tokens: usize,
    perplexity: f64,
    one_pass_perplexity: Option<f64>,
    bits_per_byte: Option<f64>,
    bits_per_character: Option<f64>,
    above_best: Option<f64>,
    reference: Option<&'a str>,
    degradation: Option<f64>,
    degradation_low: Option<f64>,
    degradation_high: Option<f64>,
    kl_nat: Option<f64>,
    largest_kl_nat: Option<f64>,
    same_top1: Option<f64>,
}

/// The report as CSV: a row per version; changes and shares are fractions.
pub fn quality_csv(report: &QualityReport) -> String {
    to_csv(report.versions.iter().map(|v| {
        let change = v.change.as_ref();
        CsvRow {
            version: &v.version,
            tokens: v.tokens,
            perplexity: v.perplexity,
            one_pass_perplexity: v.one_pass_perplexity,
            bits_per_byte: v.bits_per_byte,
            bits_per_character: v.bits_per_character,
            above_best: v.above_best,
            reference: change.map(|c| c.reference.as_str()),
            degradation: change.map(|c| c.degradation),
            degradation_low: change.and_then(|c| c.interval).map(|i| i.low),
            degradation_high: change.and_then(|c| c.interval).map(|i| i.high),
            kl_nat: change.and_then(|c| c.kl_nat),
            largest_kl_nat: change.and_then(|c| c.largest_kl_nat),
            same_top1: change.and_then(|c| c.same_top1),
        }
    }))
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    kprof_version: &'static str,
    file: &'a str,
    model: Option<&'a str>,
    text: Option<&'a TextRecord>,
    complete: bool,
    versions: &'a [VersionQuality],
    findings: &'a [Finding],
}

/// The report as JSON; changes and shares are fractions, logarithms natural where the name ends in `_nat`.
pub fn quality_json(report: &QualityReport, run: &Run) -> String {
    let config = run.manifest.as_ref().and_then(|m| m.config.as_ref());
    to_json(&Document {
        schema_version: QUALITY_SCHEMA_VERSION,
        kprof_version: env!("CARGO_PKG_VERSION"),
        file: &run.file,
        model: config.map(|c| c.model.name.as_str()),
        text: report.text.as_ref(),
        complete: run.complete,
        versions: &report.versions,
        findings: &report.findings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_changes_are_not_written_as_none() {
        let written = [0.0, 4e-7, 6.6e-6, 7e-4, 0.012, 0.345, 42.9, -0.02].map(percent);
        assert_eq!(written, ["0", "<0.001", "+0.001", "+0.070", "+1.20", "+34.5", "+4290", "-2.00"]);
        assert_eq!((noise_free(-3e-12), noise_free(2e-4)), (0.0, 2e-4));
    }
}
