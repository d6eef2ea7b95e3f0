//! Which metrics to ask for: sets as data (`metrics.toml`), fitted to what the chip has.

use super::error::AttachError;
use super::query::Offer;
use crate::ingest::ncu::tensor_metric;
use crate::profile::{Finding, FindingCode};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::OnceLock;

const SETS: &str = include_str!("metrics.toml");

/// Instructions of matrix units: all that an ncu before 2023 counts of them. What they computed is an estimate.
const TENSOR_INSTRUCTIONS: &str = "sm__inst_executed_pipe_tensor.sum";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetsFile {
    sets: BTreeMap<String, Vec<String>>,
    parts: BTreeMap<String, Vec<String>>,
}

fn file() -> &'static SetsFile {
    static FILE: OnceLock<SetsFile> = OnceLock::new();
    // OK because a test reads it; without it every set is unknown.
    FILE.get_or_init(|| toml::from_str(SETS).unwrap_or_default())
}

/// The names of the sets.
pub fn sets() -> Vec<&'static str> {
    file().sets.keys().map(String::as_str).collect()
}

/// The metrics of a profile, and what is to be known about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Names as ncu takes them, each once.
    pub metrics: Vec<String>,
    /// What the chip does not have, and what that means.
    pub findings: Vec<Finding>,
}

/// Chooses by the names of sets and metrics, separated by commas: `roofline`, `memory,sm__warps_active.avg.per_cycle_active`.
///
/// # Errors
/// When a name is neither, or the chip has none of them.
pub fn choose(wanted: &str, offer: &Offer) -> Result<Choice, AttachError> {
    let mut chosen = Chosen { offer, metrics: Vec::new(), dropped: Vec::new(), findings: Vec::new() };
    for name in wanted.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        match file().sets.get(name) {
            Some(parts) => {
                let of_part = |part: &String| file().parts.get(part).into_iter().flatten();
                parts.iter().flat_map(of_part).for_each(|entry| chosen.entry(entry));
            }
            None if name.contains("__") || name.contains(':') => chosen.entry(name),
            None => {
                let sets = sets().join(", ");
                return Err(AttachError::NoMetric { name: name.to_string(), sets });
            }
        }
    }
    chosen.finish(wanted)
}

struct Chosen<'a> {
    offer: &'a Offer,
    metrics: Vec<String>,
    dropped: Vec<String>,
    findings: Vec<Finding>,
}

impl Chosen<'_> {
    fn entry(&mut self, entry: &str) {
        match entry {
            "TENSOR" => self.tensor(),
            "TENSOR-PEAK" => self.tensor_peaks(),
            _ => {
                let mut alternatives = entry.split('|').map(str::trim);
                match alternatives.clone().find(|m| self.offer.may_have(m)) {
                    Some(metric) => self.add(metric.to_string()),
                    None => self.dropped.extend(alternatives.next().map(str::to_string)),
                }
            }
        }
    }

    fn add(&mut self, metric: String) {
        if !self.metrics.contains(&metric) {
            self.metrics.push(metric);
        }
    }

    /// The types that the chip's row has; what the profiler does not offer of them is left out.
    fn tensor(&mut self) {
        let Some(chip) = self.offer.chip else {
            self.findings.push(
                Finding::new(
                    FindingCode::FlopsIncomplete,
                    "kprof ncu",
                    "the chip is not known, so no metric of matrix units is asked for: FLOPs will be a lower bound",
                )
                .with_remedy("say which it is with --device-chip, e.g. --device-chip 9.0"),
            );
            return;
        };
        let names: Vec<String> = chip.tensor.iter().map(|kind| tensor_metric(kind)).collect();
        let (there, absent): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|m| self.offer.may_have(m));
        if there.is_empty() {
            self.instructions_instead();
        } else {
            there.into_iter().for_each(|m| self.add(m));
            self.dropped.extend(absent);
        }
    }

    fn instructions_instead(&mut self) {
        if self.offer.may_have(TENSOR_INSTRUCTIONS) {
            self.add(TENSOR_INSTRUCTIONS.to_string());
        }
        let message = "this ncu counts no operations of matrix units (sm__ops_path_tensor_*), only their instructions: \
                       FLOPs of tensor cores are an estimate up to compute capability 8.9, and unknown above";
        self.findings.push(
            Finding::new(FindingCode::Estimated, "kprof ncu", message)
                .with_remedy("use Nsight Compute 2024.1 or newer (--ncu PATH)"),
        );
    }

    /// Dense peaks: where there is sparsity, a name without `_sparsity_off` has the sparse one.
    fn tensor_peaks(&mut self) {
        let Some(names) = &self.offer.names else { return };
        let peak = |name: &&String| {
            name.starts_with("sm__ops_path_tensor_")
                && name.ends_with("_sparsity_off")
                && !name.contains("int")
        };
        let mut peaks: Vec<String> =
            names.iter().filter(peak).map(|name| format!("{name}.sum.peak_sustained")).collect();
        peaks.sort();
        peaks.into_iter().for_each(|p| self.add(p));
    }

    fn finish(mut self, wanted: &str) -> Result<Choice, AttachError> {
        let chip = self.offer.name.clone().unwrap_or_else(|| "the chip".to_string());
        if self.metrics.is_empty() {
            return Err(AttachError::NoneLeft { chip, metrics: wanted.to_string() });
        }
        if !self.dropped.is_empty() {
            let message = format!("{chip} has no {}: left out", self.dropped.join(", "));
            self.findings.push(Finding::new(FindingCode::MetricMissing, "kprof ncu", message));
        }
        Ok(Choice { metrics: self.metrics, findings: self.findings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::ncu::{chip_named, chips};

    fn offer(chip: &str, names: Option<&[&str]>) -> Offer {
        Offer {
            chip: chip_named(chip),
            name: Some(chip.to_string()),
            names: names.map(|n| n.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn every_part_of_every_set_is_there_and_every_part_is_used() {
        let file = file();
        assert_eq!(sets(), ["full", "memory", "roofline"]);
        let used: Vec<&String> = file.sets.values().flatten().collect();
        assert!(used.iter().all(|part| file.parts.contains_key(*part)));
        assert!(file.parts.keys().all(|part| used.contains(&part)));
    }

    #[test]
    fn a_roofline_of_each_chip_counts_every_type_that_it_computes_in() {
        for chip in chips() {
            let offer = Offer { chip: Some(chip), name: None, names: None };
            let metrics = choose("roofline", &offer).unwrap().metrics;
            let tensor = metrics.iter().filter(|m| m.contains("tensor")).count();
            assert_eq!(tensor, chip.tensor.len());
            // Nine kinds of instruction, and the peak of one.
            assert_eq!(metrics.iter().filter(|m| m.contains("_pred_on")).count(), 10);
            assert_eq!(metrics.contains(&"dram__bytes.sum".to_string()), chip.dram);
            assert_eq!(metrics.contains(&"lts__t_bytes.sum".to_string()), !chip.dram);
        }
    }

    #[test]
    fn what_the_profiler_does_not_offer_is_left_out_and_said() {
        let names = ["gpu__time_duration", "dram__bytes", "dram__bytes_op_read", "dram__bytes_op_write"];
        let choice = choose("memory", &offer("gb202", Some(&names))).unwrap();
        let (metrics, findings) = (choice.metrics, choice.findings);
        assert!(metrics.contains(&"dram__bytes_op_read.sum".to_string()), "{metrics:?}");
        assert!(!metrics.iter().any(|m| m.starts_with("lts")));
        assert!(findings[0].message.contains("gb202 has no lts__t_bytes.sum"), "{findings:?}");
    }

    #[test]
    fn an_ncu_without_operation_counts_gives_instructions_and_says_that_they_are_an_estimate() {
        let names = ["gpu__time_duration", "dram__bytes", "sm__inst_executed_pipe_tensor"];
        let choice = choose("roofline", &offer("ga100", Some(&names))).unwrap();
        assert!(choice.metrics.contains(&TENSOR_INSTRUCTIONS.to_string()));
        assert!(choice.findings.iter().any(|f| f.code == FindingCode::Estimated));
    }

    #[test]
    fn lists_are_taken_as_they_are_and_a_wrong_word_names_the_sets() {
        let choice = choose("memory, sm__warps_active.avg.per_cycle_active", &offer("gh100", None)).unwrap();
        assert_eq!(choice.metrics.last().unwrap(), "sm__warps_active.avg.per_cycle_active");
        let error = choose("rofline", &offer("gh100", None)).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("full, memory, roofline"), "{error}");
        let error = choose("a__b.sum", &offer("gh100", Some(&["c__d"]))).unwrap_err();
        assert!(error.to_string().contains("none of the metrics"), "{error}");
    }
}
