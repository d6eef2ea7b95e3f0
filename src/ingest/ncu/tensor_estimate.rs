//! Matrix operations estimated from instruction counts, where operations were not counted.
//!
//! How many operations an instruction does depends on its shape, which the count does not tell: the most common
//! shape of the chip is taken, and every value is marked as an estimate. From compute capability 9.0 on (wgmma,
//! tcgen05) one instruction does anything from 2^13 to 2^20 operations, and none is made.

use super::readings::Readings;
use crate::profile::{ComputeCapability, Measured};

const PREFIXES: [&str; 2] = ["sm__inst_executed_pipe_tensor", "smsp__inst_executed_pipe_tensor"];

/// The counters, by how much they tell: those of one kind of instruction first.
const KINDS: [(&str, Kind); 4] = [
    ("_op_hmma.sum", Kind::Hmma),
    ("_op_imma.sum", Kind::Imma),
    ("_op_dmma.sum", Kind::Dmma),
    (".sum", Kind::Any),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Hmma,
    Imma,
    Dmma,
    Any,
}

/// Whether a metric is an instruction count that this module reads.
pub(super) fn is_needed(metric: &str) -> bool {
    let rest = PREFIXES.iter().find_map(|p| metric.strip_prefix(p));
    rest.is_some_and(|rest| KINDS.iter().any(|(suffix, _)| *suffix == rest))
}

/// The estimate, or `None` without a count or on a chip where none can be made.
pub(super) fn estimated(
    readings: &Readings<'_>,
    capability: Option<ComputeCapability>,
    kernel: &str,
) -> Option<Measured> {
    let capability = capability.filter(|c| (7..9).contains(&c.major))?;
    let counts = counts(readings);
    let by_kind: Vec<_> = counts.iter().filter(|(kind, ..)| *kind != Kind::Any).collect();
    let total = counts.iter().find(|(kind, ..)| *kind == Kind::Any);
    let parts = match total {
        // A zero for one kind says nothing about the others; the total says all.
        Some((_, count, name)) => {
            vec![(Kind::Any, without_phantom(*count, readings, capability), name.clone())]
        }
        None => by_kind.into_iter().cloned().collect(),
    };
    if parts.is_empty() {
        return None;
    }
    let only_zero = parts.iter().all(|(_, count, _)| *count == 0.0);
    let value = parts.iter().map(|(kind, count, _)| count * operations(*kind, capability, kernel)).sum();
    let terms: Vec<String> = parts
        .iter()
        .map(|(kind, _, name)| format!("{name} x {}", operations(*kind, capability, kernel)))
        .collect();
    let measured = Measured::new(value, terms.join(" + "));
    Some(if only_zero { measured } else { measured.as_estimate() })
}

fn counts(readings: &Readings<'_>) -> Vec<(Kind, f64, String)> {
    let find = |suffix: &str| {
        PREFIXES.iter().find_map(|p| {
            let name = format!("{p}{suffix}");
            readings.value(&name).map(|v| (v, name))
        })
    };
    KINDS.iter().filter_map(|(suffix, kind)| find(suffix).map(|(count, name)| (*kind, count, name))).collect()
}

/// On GA100 packed half arithmetic issues on the tensor pipe and is counted there, one warp instruction for
/// 32 threads: pure fp32 kernels show counts of exactly hfma / 32, because HFMA2 also moves constants.
fn without_phantom(count: f64, readings: &Readings<'_>, capability: ComputeCapability) -> f64 {
    if (capability.major, capability.minor) != (8, 0) {
        return count;
    }
    let half = |op: &str| {
        ["sm", "smsp"]
            .iter()
            .find_map(|p| readings.value(&format!("{p}__sass_thread_inst_executed_op_{op}_pred_on.sum")))
    };
    let threads: f64 = ["hadd", "hmul", "hfma"].iter().filter_map(|op| half(op)).sum();
    (count - threads / 32.0).max(0.0)
}

/// Operations per warp instruction: 2 x M x N x K of the shape most used on the chip.
fn operations(kind: Kind, capability: ComputeCapability, kernel: &str) -> f64 {
    let ampere = capability.major >= 8;
    match kind {
        // 8x8x4 in double precision.
        Kind::Dmma => 512.0,
        // 16x8x32 on Ampere, 8x8x16 on Turing.
        Kind::Imma => {
            if ampere {
                8192.0
            } else {
                2048.0
            }
        }
        // 16x8x16; tf32 works on 16x8x8.
        _ if ampere => {
            if is_tf32(kernel) {
                2048.0
            } else {
                4096.0
            }
        }
        // 16x8x8 on Turing; Volta's 8x8x4 takes four steps per four quads: 512 each, as NVIDIA's sections have it.
        _ => {
            if capability.minor >= 5 {
                2048.0
            } else {
                512.0
            }
        }
    }
}

fn is_tf32(kernel: &str) -> bool {
    ["tf32", "s1688", "tensor16x8x8", "16816_f32f32"].iter().any(|hint| kernel.contains(hint))
}
