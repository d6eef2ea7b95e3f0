//! What was said of a run against what its trace shows.

use super::{ClassWork, Counters, PortionReport, Served};
use crate::llm::Stage;
use crate::profile::{Finding, FindingCode, Run, StepMark, TraceInfo};
use std::collections::{BTreeMap, HashSet};

/// One finding each for a batch, a prompt and matrices that contradict what was said.
pub(super) fn against(run: &Run, trace: &TraceInfo, served: &Served<'_>) -> Vec<Finding> {
    let of_file = run.ranges.iter().filter(|r| r.file == trace.file);
    let marks: Vec<&StepMark> = of_file.filter_map(|r| r.step.as_ref()).collect();
    let batch = decode_batch(&marks, trace, served);
    // A prompt that the wrong batch explains is not said again.
    let prompt =
        prompt(&marks, trace, served).filter(|_| batch.is_none() || !fits_usual_batch(&marks, served));
    let checks = [batch, prompt, matrices(trace, served), ranks(trace, served)];
    checks.into_iter().flatten().collect()
}

fn disagreement(trace: &TraceInfo, message: String, remedy: String) -> Finding {
    Finding::new(FindingCode::Disagreement, trace.file.clone(), message).with_remedy(remedy)
}

/// Values with how often they occur, the most frequent first.
fn counted(values: impl Iterator<Item = u64>) -> Vec<(u64, usize)> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    values.for_each(|v| *counts.entry(v).or_default() += 1);
    let mut counts: Vec<(u64, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), *value));
    counts
}

/// `8 (40 of 41 steps), 7 (1 of 41 steps)`.
fn listed(counts: &[(u64, usize)]) -> String {
    let all: usize = counts.iter().map(|(_, n)| n).sum();
    let shown: Vec<String> =
        counts.iter().take(3).map(|(v, n)| format!("{v} ({n} of {all} steps)")).collect();
    shown.join(", ")
}

/// Whether the prompts are as long as said if there are as many as the trace has sequences in decode steps.
fn fits_usual_batch(marks: &[&StepMark], served: &Served<'_>) -> bool {
    let sequences = decode_sequences(marks).first().map(|(count, _)| *count);
    let tokens = prefill_tokens(marks).first().map(|(count, _)| *count);
    sequences.zip(tokens).is_some_and(|(sequences, tokens)| sequences * served.prompt as u64 == tokens)
}

fn decode_sequences(marks: &[&StepMark]) -> Vec<(u64, usize)> {
    counted(marks.iter().filter(|m| m.stage == Some(Stage::Decode)).filter_map(|m| m.decode_sequences))
}

fn prefill_tokens(marks: &[&StepMark]) -> Vec<(u64, usize)> {
    counted(marks.iter().filter(|m| m.stage == Some(Stage::Prefill)).filter_map(|m| m.prefill_tokens))
}

fn decode_batch(marks: &[&StepMark], trace: &TraceInfo, served: &Served<'_>) -> Option<Finding> {
    let counts = decode_sequences(marks);
    let (usual, _) = counts.first()?;
    if counts.len() == 1 && *usual == served.batch as u64 {
        return None;
    }
    let message = format!(
        "--batch {} contradicts the trace, whose decode steps have {} sequences: work per step is of {}",
        served.batch,
        listed(&counts),
        served.batch
    );
    Some(disagreement(trace, message, format!("say --batch {usual}")))
}

fn prompt(marks: &[&StepMark], trace: &TraceInfo, served: &Served<'_>) -> Option<Finding> {
    let counts = prefill_tokens(marks);
    let said = (served.batch * served.prompt) as u64;
    let (usual, _) = counts.first()?;
    if counts.len() == 1 && *usual == said {
        return None;
    }
    let message = format!(
        "--batch {} and --prompt {} are {said} prompt tokens, which contradicts the trace, whose prefill steps have {} \
         tokens",
        served.batch,
        served.prompt,
        listed(&counts)
    );
    Some(disagreement(trace, message, format!("give a batch and a prompt whose product is {usual}")))
}

/// Recorded shapes of matrix products on the model's width must have as many rows as there are tokens.
fn matrices(trace: &TraceInfo, served: &Served<'_>) -> Option<Finding> {
    let hidden = served.model.hidden_size as u64;
    let of_model: Vec<_> = trace.matmuls.iter().filter(|m| m.inner == hidden).collect();
    let (batch, tokens) = (served.batch as u64, (served.batch * served.prompt) as u64);
    if of_model.is_empty() || of_model.iter().any(|m| m.rows == batch || m.rows == tokens) {
        return None;
    }
    let mut rows: Vec<u64> = of_model.iter().map(|m| m.rows).collect();
    rows.dedup();
    let shown: Vec<String> = rows.iter().take(4).map(u64::to_string).collect();
    let message = format!(
        "--batch {batch} with --prompt {} makes matrices of {batch} or {tokens} rows, which contradicts the trace: those \
         on the model's width of {hidden} have {}",
        served.prompt,
        shown.join(", ")
    );
    Some(disagreement(trace, message, "say the batch and prompt that ran".to_string()))
}

fn ranks(trace: &TraceInfo, served: &Served<'_>) -> Option<Finding> {
    let world = trace.world_size?;
    let said = served.deployment.tensor_parallel as u64;
    if u64::from(world).is_multiple_of(said.max(1)) {
        return None;
    }
    let message = format!("--tp {said} contradicts the trace, which is of a group of {world} ranks");
    Some(disagreement(trace, message, format!("say --tp {world}, or a divisor of it")))
}

/// A step, or a class of it, that is faster than its floor: something that was said, or a ceiling, is wrong.
pub(super) fn above_ceiling(portion: &PortionReport, file: &str) -> Option<Finding> {
    let rows = std::iter::once(&portion.total).chain(&portion.classes);
    let (name, fraction) = rows
        .filter_map(|row| Some((row.class.as_deref().unwrap_or("the whole step"), row.fraction_of_ceiling?)))
        .find(|(_, fraction)| *fraction > 1.0)?;
    let message = format!(
        "{name} in {} takes {:.0} % of the time that its ceilings allow it at least, which cannot be: less ran than was \
         said, or on another device",
        portion.name,
        100.0 / fraction
    );
    let about = format!("{file}: {}", portion.name);
    let remedy = "check --model, --batch, --prompt, --tp, --dtype and --steps against what ran; name the device with --device";
    Some(Finding::new(FindingCode::AboveCeiling, about, message).with_remedy(remedy))
}

/// Counted FLOPs are as many as the shapes ask for, but for what tiles pad; this is beyond padding.
const FLOPS_DIFFER: f64 = 0.1;
/// Fewer bytes than analytic mean that inputs came from a cache, or that less ran.
const FEWER_BYTES: f64 = -0.1;
/// More mean that inputs were read several times over.
const MORE_BYTES: f64 = 0.5;

/// Counters that contradict the analytic work.
pub(super) fn against_counters(portion: &PortionReport, file: &str) -> Vec<Finding> {
    portion.classes.iter().filter_map(|class| disagrees(portion, class, file)).collect()
}

fn disagrees(portion: &PortionReport, class: &ClassWork, file: &str) -> Option<Finding> {
    let flops = class.flop_disagreement.filter(|d| d.abs() > FLOPS_DIFFER);
    let bytes = class.byte_disagreement.filter(|d| !(FEWER_BYTES..=MORE_BYTES).contains(d));
    let named = [(flops, "FLOPs"), (bytes, "bytes")];
    let parts: Vec<String> = named
        .into_iter()
        .filter_map(|(difference, what)| {
            let percent = difference? * 100.0;
            let side = if percent > 0.0 { "more" } else { "fewer" };
            Some(format!("{:.0} % {side} {what}", percent.abs()))
        })
        .collect();
    let name = class.class.as_deref().unwrap_or("kernels of no known class");
    let (first, rest) = parts.split_first()?;
    let all = rest.iter().fold(first.clone(), |all, part| format!("{all} and {part}"));
    let message = format!("{name} in {}: hardware counters have {all} than the analytic work", portion.name);
    let remedy = "fewer: inputs in the L2 cache, or less ran than was said; more: operands read again, padding, or \
                  launches counted that are of another shape";
    let about = format!("{file}: {}", portion.name);
    Some(Finding::new(FindingCode::Disagreement, about, message).with_remedy(remedy))
}

/// Counters that are of kernels of several stages, and do not say of which: they are not used.
pub(super) fn unstaged(
    several: &HashSet<(&str, Option<&str>)>,
    counters: &Counters,
    file: &str,
) -> Option<Finding> {
    let counted = |stage| {
        move |(name, grid): &&(&str, Option<&str>)| counters.of(name, *grid, stage, stage.is_some()).is_some()
    };
    let staged =
        |kernel: &&(&str, Option<&str>)| Stage::ALL.into_iter().any(|stage| counted(Some(stage))(kernel));
    let mut names: Vec<&str> =
        several.iter().filter(counted(None)).filter(|k| !staged(k)).map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    let first = names.first()?;
    let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
    let message = format!(
        "hardware counters of {}{more} are not used: the trace runs it in more than one stage, and the counters do not \
         say of which they are",
        crate::profile::short_name(first)
    );
    let remedy = "profile one stage at a time (`kprof ncu --stage decode`), inside NVTX ranges, or name the stage by \
                  kernel or range with --rules";
    Some(Finding::new(FindingCode::MetricMissing, file, message).with_remedy(remedy))
}
