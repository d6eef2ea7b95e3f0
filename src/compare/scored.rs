//! What a run of `kprof perplexity` says of each version: perplexity, and how far it is from the reference version's, by
//! the same tokens.

use super::nll;
use crate::llm::{DType, Version};
use crate::profile::{Finding, FindingCode, QualityRecord, Run, TextRecord};
use crate::stats::Interval;
use serde::Serialize;

/// The version of the JSON of `kprof perplexity`.
pub const QUALITY_SCHEMA_VERSION: u32 = 1;

/// Quality by version.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QualityReport {
    /// The text that was scored; `None` where the run does not say.
    pub text: Option<TextRecord>,
    /// Each version that scored anything, in the order of the run's configuration.
    pub versions: Vec<VersionQuality>,
    /// What to know before believing it.
    pub findings: Vec<Finding>,
}

/// What one version's model made of the text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionQuality {
    /// The version.
    pub version: String,
    /// How many tokens were scored.
    pub tokens: usize,
    /// exp of the mean -ln p per token, through the cache, token by token.
    pub perplexity: f64,
    /// The same with each window in one pass (teacher forcing); `None` where that was not computed.
    pub one_pass_perplexity: Option<f64>,
    /// The mean of |difference| of -ln p between the two, in nats; `None` where one is missing.
    pub one_pass_difference_nat: Option<f64>,
    /// -log2 p per byte of text: comparable between tokenizers, as perplexity is not.
    pub bits_per_byte: Option<f64>,
    /// -log2 p per character of text.
    pub bits_per_character: Option<f64>,
    /// Perplexity over the best possible one, less 1; `None` where that is not known.
    pub above_best: Option<f64>,
    /// Against the reference version; `None` for itself.
    pub change: Option<QualityChange>,
}

/// A version against the reference, token by token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QualityChange {
    /// The reference.
    pub reference: String,
    /// This perplexity over the reference's, less 1: positive is worse.
    pub degradation: f64,
    /// Its interval, by a paired bootstrap over blocks of tokens; `None` with too few blocks.
    pub interval: Option<Interval>,
    /// The mean of KL(reference || version), in nats per token.
    pub kl_nat: Option<f64>,
    /// Its interval, by the same blocks.
    pub kl_interval: Option<Interval>,
    /// The largest of any token.
    pub largest_kl_nat: Option<f64>,
    /// The share of tokens whose most likely candidate is the reference's.
    pub same_top1: Option<f64>,
}

impl QualityReport {
    /// The report of a run; no versions where it has no quality records.
    pub fn new(run: &Run) -> Self {
        let config = run.manifest.as_ref().and_then(|m| m.config.as_ref());
        let text = run.texts.first().cloned();
        let mut names: Vec<&str> =
            config.map_or(Vec::new(), |c| c.versions.iter().map(|v| v.name.as_str()).collect());
        for record in &run.qualities {
            if !names.contains(&record.version.as_str()) {
                names.push(&record.version);
            }
        }
        let best = text.as_ref().and_then(|t| t.best_perplexity);
        let versions: Vec<VersionQuality> =
            names.iter().filter_map(|name| version_quality(run, name, best)).collect();
        let mut findings = run.findings.clone();
        if let Some(config) = config {
            findings.extend(mismatches(&versions, &config.versions, config.dtype));
        }
        Self { text, versions, findings }
    }
}

fn version_quality(run: &Run, version: &str, best: Option<f64>) -> Option<VersionQuality> {
    let records = nll::records(run, version);
    let nll_nat = nll::mean_nll(&records)?;
    let one_pass = nll::mean(records.iter().map(|r| (r.teacher_forced_nll_nat.as_slice(), nll::weight(r))));
    let differences: Vec<f64> = records
        .iter()
        .flat_map(|r| r.nll_nat.iter().zip(&r.teacher_forced_nll_nat))
        .map(|(a, b)| (a - b).abs())
        .collect();
    let tokens = records.iter().map(|r| r.nll_nat.len() * nll::weight(r)).sum();
    let per = |units: Option<usize>| {
        units.filter(|n| *n > 0).map(|n| nll_nat * tokens as f64 / std::f64::consts::LN_2 / n as f64)
    };
    let perplexity = nll_nat.exp();
    Some(VersionQuality {
        version: version.to_string(),
        tokens,
        perplexity,
        one_pass_perplexity: one_pass.map(f64::exp),
        one_pass_difference_nat: nll::mean(std::iter::once((differences.as_slice(), 1))),
        bits_per_byte: per(records.iter().map(|r| r.bytes).sum()),
        bits_per_character: per(records.iter().map(|r| r.characters).sum()),
        above_best: best.map(|best| perplexity / best - 1.0),
        change: change(run, &records),
    })
}

/// The difference to the reference over the segments that both scored.
fn change(run: &Run, records: &[&QualityRecord]) -> Option<QualityChange> {
    let reference = records.iter().find_map(|r| r.reference.clone())?;
    let difference = nll::difference(&nll::records(run, &reference), records)?;
    let kl = || records.iter().map(|r| r.kl_nat.as_slice());
    let same: Vec<bool> = records.iter().flat_map(|r| r.same_top1.iter().copied()).collect();
    let agreeing = same.iter().filter(|same| **same).count();
    Some(QualityChange {
        reference,
        degradation: difference.mean.exp_m1(),
        interval: difference.interval.map(|i| Interval {
            low: i.low.exp_m1(),
            high: i.high.exp_m1(),
            confidence: i.confidence,
        }),
        kl_nat: nll::mean(kl().map(|values| (values, 1))),
        kl_interval: nll::interval(&kl().filter(|values| !values.is_empty()).collect::<Vec<_>>()),
        largest_kl_nat: kl().flatten().copied().reduce(f64::max),
        same_top1: (!same.is_empty()).then(|| agreeing as f64 / same.len() as f64),
    })
}

/// How much -ln p of a token may differ on average where the arithmetic is the same but for its order, in nats. On the
/// models inside kprof f32 leaves up to 5e-6, f16 2e-4 and bf16 3e-4; larger logits of larger models leave more. K and V
/// that are off by one position cost tenths of a nat.
fn rounding(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => 5e-4,
        DType::F16 => 5e-3,
        DType::Bf16 => 0.03,
    }
}

/// Caches that give other results than one pass, and plain caches that give other results than none.
fn mismatches(all: &[VersionQuality], versions: &[Version], dtype: DType) -> Vec<Finding> {
    let bound = rounding(dtype);
    let found = |name: &str, what: &str, difference: f64| {
        let message = format!(
            "-ln p differs by {difference:.2e} nat per token on average from {what}; rounding in {dtype} explains at most \
             {bound}"
        );
        Finding::new(FindingCode::CacheMismatch, name, message)
            .with_remedy("the cache of this version is defective: do not trust its times or its quality")
    };
    let mut findings = Vec::new();
    for quality in all {
        if let Some(difference) = quality.one_pass_difference_nat.filter(|d| *d > bound) {
            findings.push(found(&quality.version, "the same tokens in one pass", difference));
        }
        let of = |name: &str| versions.iter().find(|v| v.name == name);
        let Some(change) = &quality.change else { continue };
        let (Some(version), Some(reference)) = (of(&quality.version), of(&change.reference)) else {
            continue;
        };
        // Only where both compute the same: without a cache the layers cannot share, nor is anything quantised.
        let difference = change.degradation.ln_1p().abs();
        if is_exact(version) && is_exact(reference) && difference > bound {
            findings.push(found(&quality.version, &change.reference, difference));
        }
    }
    findings
}

/// Whether a version computes what the model is: nothing shared, quantised or hidden.
fn is_exact(version: &Version) -> bool {
    let plain = Version { share_layers: 1, window: None, ..Version::default() };
    let stored = !version.use_cache || version.kv_dtype == plain.kv_dtype;
    stored && version.window.is_none() && (!version.use_cache || version.share_layers == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: &str, segment: usize, nll: &[f64]) -> QualityRecord {
        QualityRecord {
            version: version.into(),
            segment,
            first_token: 1,
            bytes: Some(2 * nll.len()),
            characters: None,
            nll_nat: nll.to_vec(),
            teacher_forced_nll_nat: nll.to_vec(),
            reference: (version != "v1").then(|| "v1".to_string()),
            kl_nat: if version == "v1" { Vec::new() } else { vec![0.25; nll.len()] },
            same_top1: if version == "v1" { Vec::new() } else { nll.iter().map(|x| *x < 1.5).collect() },
            mean_of: None,
        }
    }

    fn run(qualities: Vec<QualityRecord>) -> Run {
        Run { qualities, ..Run::default() }
    }

    #[test]
    fn the_figures_are_those_of_the_arithmetic_by_hand() {
        let report = QualityReport::new(&run(vec![
            record("v1", 0, &[1.0, 2.0]),
            record("v2", 0, &[1.1, 2.1]),
            record("v2", 1, &[1.3, 2.3]),
            record("v1", 1, &[1.0, 2.0]),
        ]));
        let [v1, v2] = &report.versions[..] else { panic!("{report:?}") };
        assert!((v1.perplexity - 1.5f64.exp()).abs() < 1e-12 && v1.change.is_none());
        // 6 nats over 4 tokens, 2 bytes each.
        assert!((v1.bits_per_byte.unwrap() - 6.0 / 2f64.ln() / 8.0).abs() < 1e-12);
        assert_eq!(v1.bits_per_character, None);
        let change = v2.change.as_ref().unwrap();
        // Differences .1 .1 .3 .3: their mean is .2.
        assert!((change.degradation - (0.2f64.exp() - 1.0)).abs() < 1e-12);
        assert_eq!((change.kl_nat, change.same_top1), (Some(0.25), Some(0.5)));
        assert_eq!(change.interval, None, "two blocks");
    }

    #[test]
    fn only_segments_that_both_scored_are_compared() {
        let report = QualityReport::new(&run(vec![
            record("v1", 0, &[1.0; 40]),
            record("v2", 0, &[1.0; 40]),
            record("v2", 1, &[9.0; 40]),
        ]));
        assert_eq!(report.versions[1].change.as_ref().unwrap().degradation, 0.0);
    }

    #[test]
    fn an_import_that_has_means_alone_counts_its_tokens() {
        let mean_of = |version: &str, segment, nll: f64, tokens| QualityRecord {
            bytes: None,
            kl_nat: Vec::new(),
            same_top1: Vec::new(),
            mean_of: Some(tokens),
            teacher_forced_nll_nat: Vec::new(),
            ..record(version, segment, &[nll])
        };
        let report = QualityReport::new(&run(vec![
            mean_of("v1", 0, 3.0, 100),
            mean_of("v1", 1, 2.0, 300),
            mean_of("v3", 0, 7.0, 100),
        ]));
        assert!((report.versions[0].perplexity - 2.25f64.exp()).abs() < 1e-12);
        assert_eq!(report.versions[0].tokens, 400);
        let change = report.versions[1].change.as_ref().unwrap();
        assert!((change.degradation - (4f64.exp() - 1.0)).abs() < 1e-9 && change.interval.is_none());
    }

    #[test]
    fn a_cache_that_differs_from_one_pass_is_found_and_rounding_is_not() {
        let off = |difference: f64| {
            let v1 = record("v1", 0, &[1.0; 64]);
            let forced = vec![1.0 + difference; 64];
            let records =
                QualityReport::new(&run(vec![QualityRecord { teacher_forced_nll_nat: forced, ..v1 }]));
            mismatches(&records.versions, &crate::llm::builtin_versions(), DType::F32)
        };
        assert_eq!(off(1e-4), []);
        let found = off(0.3);
        assert_eq!(found[0].code, FindingCode::CacheMismatch);
        assert!(found[0].message.contains("3.00e-1 nat per token"), "{}", found[0].message);
    }

    #[test]
    fn a_cache_that_differs_from_no_cache_is_found_unless_it_is_meant_to() {
        let versions = crate::llm::builtin_versions();
        let found = |version: &str| {
            let records = vec![record("v1", 0, &[1.0; 64]), record(version, 0, &[1.4; 64])];
            let all = QualityReport::new(&run(records)).versions;
            mismatches(&all, &versions, DType::F32).len()
        };
        assert_eq!(["v0", "v2", "v3", "v4"].map(found), [1, 0, 0, 0]);
    }
}
