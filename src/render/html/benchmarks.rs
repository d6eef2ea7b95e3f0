//! What the benchmarks besides `kprof phase` found: sentences for the verdict, tables, and findings.

use super::text::{escaped, table};
use crate::compare::{QualityReport, VersionQuality};
use crate::hw::Ceiling;
use crate::profile::{Finding, Run};
use crate::render::table::{Table, significant};
use crate::render::{
    capacity_lines, capacity_table, crossover_lines, crossover_table, growth_lines, growth_table,
    latency_by_length_table, memory_lines, memory_table, quality_lines, quality_table, stage_table,
};
use crate::scaling::{
    CapacityReport, CrossoverReport, LatencyReport, MemoryReport, VersionCapacity, VersionLatency,
    VersionMemory,
};
use crate::stats::Order;
use crate::units::{Seconds, format_iec};

/// The reports of one run; `None` where it lacks the records.
pub(super) struct Benchmarks {
    latency: Option<LatencyReport>,
    memory: Option<MemoryReport>,
    capacity: Option<CapacityReport>,
    crossover: Option<CrossoverReport>,
    quality: Option<QualityReport>,
}

impl Benchmarks {
    pub(super) fn of(run: &Run, chosen: &[Ceiling]) -> Self {
        Self {
            latency: LatencyReport::new(run),
            memory: MemoryReport::new(run),
            capacity: CapacityReport::new(run),
            crossover: CrossoverReport::new(run, chosen),
            quality: (!run.qualities.is_empty()).then(|| QualityReport::new(run)),
        }
    }

    /// What a reader should know before believing the numbers.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let of: [Option<&Vec<Finding>>; 5] = [
            self.latency.as_ref().map(|r| &r.findings),
            self.memory.as_ref().map(|r| &r.findings),
            self.capacity.as_ref().map(|r| &r.findings),
            self.crossover.as_ref().map(|r| &r.findings),
            self.quality.as_ref().map(|r| &r.findings),
        ];
        of.into_iter().flatten().flatten().cloned().collect()
    }

    /// What was found, in plain words.
    pub(super) fn sentences(&self) -> Vec<String> {
        let latency = self.latency.iter().flat_map(|r| r.versions.iter().filter_map(|v| grows(r, v)));
        let memory = self.memory.iter().flat_map(|r| r.versions.iter().filter_map(|v| holds(r, v)));
        let capacity = self.capacity.iter().flat_map(|r| r.versions.iter().map(|v| fits(r, v)));
        let crossover = self.crossover.iter().flat_map(|r| crossover_lines(r).into_iter().map(sentence));
        let quality = self.quality.iter().flat_map(|r| r.versions.iter().map(|v| scores(r, v)));
        latency.chain(memory).chain(capacity).chain(crossover).chain(quality).collect()
    }

    /// Every table with what it is of.
    pub(super) fn tables(&self, label: Option<&str>) -> String {
        let of = label.map_or(String::new(), |label| format!(" of {}", escaped(label)));
        let one = |name: &str, tables: Vec<(Table, usize)>, notes: Vec<String>| {
            let tables: String = tables.iter().map(|(t, filled)| table(t, *filled)).collect();
            let notes: String =
                notes.iter().map(|n| format!("<p class=\"note\">{}</p>\n", escaped(n))).collect();
            format!("<h3>{name}{of}</h3>\n{tables}{notes}")
        };
        let latency = self.latency.as_ref().map(|r| {
            let tables = vec![(latency_by_length_table(r), 1), (growth_table(r), 0)];
            one("Time against length", tables, growth_lines(r))
        });
        let memory = self
            .memory
            .as_ref()
            .map(|r| one("Memory against length", vec![(memory_table(r), 1)], memory_lines(r)));
        let capacity =
            self.capacity.as_ref().map(|r| one("Capacity", vec![(capacity_table(r), 0)], capacity_lines(r)));
        let crossover = self.crossover.as_ref().map(|r| {
            let name = format!("Crossover of {} and {}", escaped(&r.old), escaped(&r.new));
            one(&name, vec![(crossover_table(r), 1), (stage_table(r), 0)], Vec::new())
        });
        let quality =
            self.quality.as_ref().map(|r| one("Quality", vec![(quality_table(r), 0)], quality_lines(r)));
        [latency, memory, capacity, crossover, quality].into_iter().flatten().collect()
    }
}

/// A line as a sentence; a version's name stays as it is.
fn sentence(line: String) -> String {
    let plain = ["batch ", "no ", "above "].iter().any(|word| line.starts_with(word));
    let head = if plain { line[..1].to_uppercase() } else { line[..1].to_string() };
    format!("{head}{}.", &line[1..])
}

/// `v1 takes 1.20 s for 256 tokens, 3.1x as fast as v0; its time grows linearly with the length.`
fn grows(report: &LatencyReport, version: &VersionLatency) -> Option<String> {
    let last = version.points.last()?;
    let time = |t: f64| Seconds(t).to_string();
    let interval = last
        .time
        .interval
        .map_or(String::new(), |i| format!(" (95 % interval {} to {})", time(i.low), time(i.high)));
    let first = &report.versions.first()?.version;
    let speedup = last.speedup.map_or(String::new(), |s| {
        let range = last.speedup_interval.map_or(String::new(), |i| {
            format!(" [{}, {}]", significant(Some(i.low)), significant(Some(i.high)))
        });
        format!(", {}x as fast as {first}{range}", significant(Some(s)))
    });
    let growth = match version.growth.better {
        Order::Linear => "its time grows linearly with the length",
        Order::Quadratic => "its time grows with the square of the length",
        Order::Unclear => "whether its time grows linearly or faster cannot be told from these lengths",
    };
    let (name, tokens) = (&version.version, last.tokens);
    Some(format!(
        "{name} takes {} for {tokens} output tokens{interval}{speedup}; {growth}.",
        time(last.time.median)
    ))
}

/// `v2 holds 480 MiB at most with 256 output tokens, 1.1 MiB of it in caches, 1.94x smaller than v1's.`
fn holds(report: &MemoryReport, version: &VersionMemory) -> Option<String> {
    let last = version.points.last()?;
    let m = &last.record;
    let bytes = |b: f64| format_iec(b, "B");
    let whole = match (m.peak, m.resident_peak) {
        (Some(peak), _) => format!("holds {} at most", bytes(peak.bytes)),
        (None, Some(resident)) => format!("has {} resident at most", bytes(resident.bytes)),
        (None, None) => return None,
    };
    let baseline = report.cache_baseline.as_deref().unwrap_or("v1");
    let smaller = last.smaller_allocated.filter(|_| version.version != baseline);
    let smaller =
        smaller.map_or(String::new(), |s| format!(", {}x smaller than {baseline}'s", significant(Some(s))));
    let cache = match m.cache_allocated.map(|a| a.bytes) {
        Some(allocated) if allocated > 0.0 => {
            let theory = m.cache_theoretical.map(|t| format!(" ({} in theory)", bytes(t.bytes)));
            format!(", {} of it in caches{}{smaller}", bytes(allocated), theory.unwrap_or_default())
        }
        Some(_) => ", without a cache".to_string(),
        None => String::new(),
    };
    Some(format!("{} {whole} with {} output tokens{cache}.", version.version, m.tokens))
}

/// `Of v2, 94 sequences of 1024 tokens fit into 4.00 GiB, 2.0x as many as of v1; theory says 100.`
fn fits(report: &CapacityReport, version: &VersionCapacity) -> String {
    let r = &version.record;
    let least = if r.at_least { "at least " } else { "" };
    let theory = r.theoretical_batch.map_or(String::new(), |t| format!("; theory says {t}"));
    let against = report.versions.iter().find(|v| v.record.theoretical_batch.is_some() && v.more.is_none());
    let more = version.more.zip(against).map_or(String::new(), |(more, against)| {
        format!(", {}x as many as of {}", significant(Some(more)), against.record.version)
    });
    let budget = format_iec(r.budget_bytes, "B");
    format!(
        "Of {}, {least}{} sequences of {} tokens fit into {budget}{more}{theory}.",
        r.version, r.batch, r.context
    )
}

/// `v2 vs v1: perplexity +0.070 % [+0.010, +0.130]: worse.`, or of the reference what it is.
fn scores(report: &QualityReport, version: &VersionQuality) -> String {
    let changed =
        quality_lines(report).into_iter().find(|l| l.starts_with(&format!("{} vs ", version.version)));
    let best = version.above_best.map_or(String::new(), |above| {
        format!(", {:.1} % above the best that any model could have", 100.0 * above)
    });
    let value = format!("{:.4}", version.perplexity);
    changed.map(sentence).unwrap_or_else(|| {
        format!("{} has a perplexity of {value} on {} tokens{best}.", version.version, version.tokens)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::tests::{capacity_run, crossover_run};

    #[test]
    fn benchmarks_are_told_in_sentences() {
        let run = Run { decode_points: crossover_run().decode_points, ..capacity_run() };
        let found = Benchmarks::of(&run, &[]);
        let said = found.sentences();
        let has = |text: &str| assert!(said.iter().any(|s| s.contains(text)), "{text}: {said:#?}");
        has("Of v2, 94 sequences of 1024 tokens fit into 954 MiB, 2.00x as many as of v1; theory says 100.");
        has("Of v1, 47 sequences of 1024 tokens fit into 954 MiB; theory says 50.");
        has("Batch 1: v2 pays from a context of 500 tokens on");
        assert!(found.tables(Some("a<b")).contains("<h3>Capacity of a&lt;b</h3>"));
        assert!(Benchmarks::of(&Run::default(), &[]).sentences().is_empty());
    }
}
