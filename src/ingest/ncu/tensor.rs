//! Matrix units: operations counted by `ops_path_tensor` metrics, or estimated from instruction counts.
//!
//! `sm__ops_path_tensor_[op_<instruction>_][src_<types>[_dst_<type>]][_sparsity_off|_on].sum` counts operations,
//! two per multiply-add. The names overlap, so not everything that was collected may be added:
//!
//! - `X` is `X_sparsity_off` plus `X_sparsity_on`: it is used alone where it is there.
//! - `op_*` splits by instruction what `src_*` splits by operand type: `op_*` counts only for types without `src_*`.
//! - `src_T` is all accumulators of `T`; `src_T_dst_U` is one of them.
//! - Turing's `src_fp16_bf16_tf32_dst_U` contains `src_fp16_dst_U`. The fp4/fp6/fp8 mixes of Blackwell are other
//!   instructions than plain fp4 or fp8 and are added (an assumption: NVIDIA's sections list them side by side).
//! - `_realtime` counters sample and are ignored.

use super::evaluate::Context;
use crate::profile::Measured;
use std::collections::BTreeMap;

const OPS: [&str; 2] = ["sm__ops_path_tensor_", "smsp__ops_path_tensor_"];

/// What a metric of this family says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Operations of the launch.
    Count,
    /// Operations per elapsed cycle.
    PerCycle,
    /// Operations per second.
    PerSecond,
    /// The most operations per cycle.
    Peak,
}

/// Which operands a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sparsity {
    /// Both, or the chip has no sparsity.
    Both,
    Off,
    On,
}

/// A parsed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TensorName<'a> {
    pub(super) op: Option<&'a str>,
    /// Operand types, `_` between them; empty when the name has none.
    pub(super) types: &'a str,
    pub(super) accumulate: Option<&'a str>,
    pub(super) sparsity: Sparsity,
    pub(super) form: Form,
}

impl<'a> TensorName<'a> {
    /// Reads a metric's name; `None` when it is no operation count of matrix units.
    pub(super) fn parse(metric: &'a str) -> Option<Self> {
        let rest = OPS.iter().find_map(|prefix| metric.strip_prefix(prefix))?;
        let (stem, suffix) = rest.split_once('.')?;
        let form = match suffix {
            "sum" => Form::Count,
            "sum.per_cycle_elapsed" => Form::PerCycle,
            "sum.per_second" => Form::PerSecond,
            "sum.peak_sustained" => Form::Peak,
            _ => return None,
        };
        if stem.ends_with("_realtime") {
            return None;
        }
        let (stem, sparsity) = match stem.strip_suffix("_sparsity_off") {
            Some(stem) => (stem, Sparsity::Off),
            None => stem.strip_suffix("_sparsity_on").map_or((stem, Sparsity::Both), |s| (s, Sparsity::On)),
        };
        let (op, source) = match stem.strip_prefix("op_") {
            Some(rest) => match rest.split_once("_src_") {
                Some((op, source)) => (Some(op), source),
                None => (Some(rest), ""),
            },
            None => (None, stem.strip_prefix("src_")?),
        };
        let (types, accumulate) = match source.split_once("_dst_") {
            Some((types, accumulate)) => (types, Some(accumulate)),
            None => (source, None),
        };
        Some(Self { op, types, accumulate, sparsity, form })
    }

    /// The key in `tensor_by_type`, e.g. `fp16_dst_fp32`.
    fn label(&self) -> String {
        let types = if self.types.is_empty() { self.op.unwrap_or_default() } else { self.types };
        match self.accumulate {
            Some(accumulate) => format!("{types}_dst_{accumulate}"),
            None => types.to_string(),
        }
    }

    /// Whether this counts everything that `other`, another name of the same instruction, does.
    pub(super) fn covers(&self, other: &TensorName<'_>) -> bool {
        let accumulate = self.accumulate.is_none() || self.accumulate == other.accumulate;
        accumulate && covers_types(self.types, other.types)
    }

    fn same_but_sparsity(&self, other: &TensorName<'_>) -> bool {
        (self.op, self.types, self.accumulate) == (other.op, other.types, other.accumulate)
    }
}

/// Whether operand types `a` contain `b`: equal, none named, or a mix of 16-bit and wider floats with `b` in it.
fn covers_types(a: &str, b: &str) -> bool {
    let narrow = |types: &str| types.split('_').any(|t| matches!(t, "fp4" | "fp6" | "fp8"));
    a == b || a.is_empty() || (!narrow(a) && b.split('_').all(|t| a.split('_').any(|u| u == t)))
}

/// Whether a metric is one that this module reads.
pub(super) fn is_needed(metric: &str) -> bool {
    TensorName::parse(metric).is_some() || super::tensor_estimate::is_needed(metric)
}

/// Operations of matrix units.
#[derive(Clone, Debug, Default)]
pub(super) struct TensorFlops<'a> {
    pub(super) total: Option<Measured>,
    pub(super) by_type: BTreeMap<String, Measured>,
    /// The metrics that are added for each type, and what they say.
    pub(super) terms: BTreeMap<String, Vec<Vec<&'a str>>>,
    pub(super) form: Option<Form>,
}

/// One metric with its operations.
#[derive(Clone, Debug)]
struct Entry<'a> {
    name: TensorName<'a>,
    value: f64,
    source: String,
    lower_bound: bool,
    /// The metrics that were added.
    terms: Vec<&'a str>,
}

/// What the operation counters say; nothing when none was collected.
pub(super) fn counted<'a>(context: &Context<'_, 'a>) -> TensorFlops<'a> {
    let forms = [Form::Count, Form::PerCycle, Form::PerSecond];
    let entries = forms.into_iter().map(|form| entries(context, form)).find(|e| !e.is_empty());
    let parts = without_overlap(entries.unwrap_or_default());
    if parts.is_empty() {
        return TensorFlops::default();
    }
    let mut by_type: BTreeMap<String, Measured> = BTreeMap::new();
    let mut terms: BTreeMap<String, Vec<Vec<&str>>> = BTreeMap::new();
    for part in &parts {
        terms.entry(part.name.label()).or_default().push(part.terms.clone());
        let sum = by_type.entry(part.name.label()).or_insert_with(|| Measured::new(0.0, ""));
        sum.value += part.value;
        sum.lower_bound |= part.lower_bound;
        sum.source = if sum.source.is_empty() {
            part.source.clone()
        } else {
            format!("{} + {}", sum.source, part.source)
        };
    }
    let types: Vec<&str> = by_type.keys().map(String::as_str).collect();
    let mut total = Measured::new(
        by_type.values().map(|m| m.value).sum(),
        format!("sum of sm__ops_path_tensor over {}", types.join(", ")),
    );
    total.lower_bound = by_type.values().any(|m| m.lower_bound);
    TensorFlops { total: Some(total), by_type, terms, form: parts.first().map(|p| p.name.form) }
}

fn entries<'a>(context: &Context<'_, 'a>, form: Form) -> Vec<Entry<'a>> {
    let by = match form {
        Form::Count if context.per_second => None,
        Form::PerCycle => context.cycles(),
        Form::PerSecond => context.seconds(),
        _ => Some((1.0, String::new())),
    };
    let Some((factor, by)) = by else { return Vec::new() };
    let mut out: Vec<Entry<'a>> = Vec::new();
    for reading in context.readings.available() {
        let Some(name) = TensorName::parse(reading.metric).filter(|n| n.form == form) else { continue };
        // `sm__` and `smsp__` count the same.
        if out.iter().any(|e| e.name == name) {
            continue;
        }
        let value = reading.value.unwrap_or_default() * factor;
        let source = format!("{}{by}", reading.metric);
        out.push(Entry { name, value, source, lower_bound: false, terms: vec![reading.metric] });
    }
    out
}

/// The entries that may be added.
fn without_overlap(entries: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    let merged = merge_sparsity(entries);
    let kept = merged.iter().enumerate().filter(|(i, entry)| {
        !merged.iter().enumerate().any(|(j, other)| i != &j && replaces(&other.name, &entry.name))
    });
    kept.map(|(_, entry)| entry.clone()).collect()
}

/// Whether `entry` counts nothing that `other` does not.
fn replaces(other: &TensorName<'_>, entry: &TensorName<'_>) -> bool {
    match (other.op, entry.op) {
        (None, Some(_)) => entry.types.is_empty() || covers_types(other.types, entry.types),
        (Some(_), None) => false,
        (a, b) => a == b && other != entry && other.covers(entry),
    }
}

/// `X` alone where it is there, else `X_sparsity_off` + `X_sparsity_on`; one of them alone is a lower bound.
fn merge_sparsity(entries: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    let mut out: Vec<Entry<'_>> =
        entries.iter().filter(|e| e.name.sparsity == Sparsity::Both).cloned().collect();
    let plain = out.len();
    for entry in entries.into_iter().filter(|e| e.name.sparsity != Sparsity::Both) {
        if out[..plain].iter().any(|e| e.name.same_but_sparsity(&entry.name)) {
            continue;
        }
        match out[plain..].iter_mut().find(|e| e.name.same_but_sparsity(&entry.name)) {
            Some(half) => {
                half.value += entry.value;
                half.terms.extend(entry.terms);
                half.source = format!("{} + {}", half.source, entry.source);
                half.lower_bound = false;
            }
            None => out.push(Entry {
                name: TensorName { sparsity: Sparsity::Both, ..entry.name },
                lower_bound: true,
                ..entry
            }),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(metrics: &[(&str, f64)]) -> f64 {
        let entries = metrics.iter().map(|(metric, value)| Entry {
            name: TensorName::parse(metric).unwrap_or_else(|| panic!("{metric}")),
            value: *value,
            source: (*metric).to_string(),
            lower_bound: false,
            terms: vec![metric],
        });
        without_overlap(entries.collect()).iter().map(|e| e.value).sum()
    }

    #[test]
    fn names_are_taken_apart() {
        let name =
            TensorName::parse("sm__ops_path_tensor_op_hgmma_src_fp16_dst_fp32_sparsity_off.sum").unwrap();
        assert_eq!((name.op, name.types, name.accumulate), (Some("hgmma"), "fp16", Some("fp32")));
        assert_eq!((name.sparsity, name.form), (Sparsity::Off, Form::Count));
        assert!(TensorName::parse("sm__ops_path_tensor_src_fp16_realtime.sum").is_none());
        assert!(
            TensorName::parse("sm__ops_path_tensor_src_fp16.sum.pct_of_peak_sustained_elapsed").is_none()
        );
    }

    #[test]
    fn a_total_is_not_added_to_its_halves() {
        let x = "sm__ops_path_tensor_src_fp16_dst_fp32.sum";
        let off = "sm__ops_path_tensor_src_fp16_dst_fp32_sparsity_off.sum";
        let on = "sm__ops_path_tensor_src_fp16_dst_fp32_sparsity_on.sum";
        assert_eq!(sum(&[(x, 10.0), (off, 7.0), (on, 3.0)]), 10.0);
        assert_eq!(sum(&[(off, 7.0), (on, 3.0)]), 10.0);
    }

    #[test]
    fn instructions_and_operand_types_are_two_views_of_one_count() {
        let src = "sm__ops_path_tensor_src_fp16.sum";
        let hgmma = "sm__ops_path_tensor_op_hgmma_src_fp16_sparsity_off.sum";
        let hmma = "sm__ops_path_tensor_op_hmma_src_fp16.sum";
        assert_eq!(sum(&[(src, 10.0), (hgmma, 8.0), (hmma, 2.0)]), 10.0);
        assert_eq!(sum(&[(hgmma, 8.0), (hmma, 2.0)]), 10.0);
        assert_eq!(sum(&[(src, 10.0), ("sm__ops_path_tensor_op_imma_src_int8.sum", 5.0)]), 15.0);
        assert_eq!(sum(&[("sm__ops_path_tensor_op_hmma.sum", 2.0), (hmma, 2.0)]), 2.0);
    }

    #[test]
    fn a_type_without_accumulator_contains_those_with_one() {
        let all = "sm__ops_path_tensor_src_fp16.sum";
        let one = "sm__ops_path_tensor_src_fp16_dst_fp32.sum";
        assert_eq!(sum(&[(all, 10.0), (one, 10.0)]), 10.0);
        let turing = "sm__ops_path_tensor_src_fp16_bf16_tf32_dst_fp32.sum";
        assert_eq!(sum(&[(turing, 10.0), (one, 10.0)]), 10.0);
        let fp16 = "sm__ops_path_tensor_src_fp16_dst_fp16.sum";
        assert_eq!(sum(&[(turing, 10.0), (fp16, 4.0)]), 14.0);
    }

    #[test]
    fn mixes_of_narrow_floats_are_added() {
        let mix = "sm__ops_path_tensor_src_fp4_fp6_fp8_dst_fp32.sum";
        assert_eq!(sum(&[(mix, 3.0), ("sm__ops_path_tensor_src_fp4_dst_fp32.sum", 4.0)]), 7.0);
    }
}
