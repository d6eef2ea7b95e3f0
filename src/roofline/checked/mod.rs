//! Counters of a profiler's export checked against the analytic work of the steps that were profiled.
//!
//! The work is that of a run's plan, for the one step per stage that the run marked for the profiler, or that of a
//! model as `--model` and `--steps` say it ran. Kernels are matched to it by the finest of op, phase and class that
//! nearly all of their time is known by.
//!
//! Disagreement = counted / analytic - 1. What it does and does not mean:
//!
//! * analytic FLOPs of matrix products are exact, of all else estimates ([`crate::llm::Op::work`]); counters see the
//!   padding of matrix-unit tiles, and no transcendental functions
//! * analytic bytes are each op's inputs and outputs once; counted ones are DRAM's. More is re-reading; less is data
//!   that stayed in a cache, as an output may that nothing wrote back before the kernel ended

mod expected;
mod findings;
mod rows;
mod sums;
#[cfg(test)]
mod tests;

pub use expected::Expected;
pub use sums::CounterSums;

use crate::llm::Stage;
use crate::profile::Finding;
use serde::Serialize;

/// What kernels are matched to the analytic work by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckLevel {
    /// The model's ops.
    Op,
    /// The phases.
    Phase,
    /// Classes of kernels; each op belongs to the likeliest of its classes that has kernels.
    Class,
}

impl CheckLevel {
    /// From the finest.
    pub const ALL: [Self; 3] = [Self::Op, Self::Phase, Self::Class];

    /// The name used in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Op => "op",
            Self::Phase => "phase",
            Self::Class => "class",
        }
    }
}

/// Counted beside analytic, per step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CheckRow {
    /// The op, phase or class; `None` for kernels that are known by none, and for the total.
    pub name: Option<String>,
    /// Launches; 0 where the work has no kernel of its own.
    pub launches: f64,
    /// Their time.
    pub time_s: Option<f64>,
    /// FLOPs by counters.
    pub counted_flops: Option<f64>,
    /// Whether a precision was not counted, so that there are at least so many.
    pub counted_flops_at_least: bool,
    /// Analytic FLOPs.
    pub flops: Option<f64>,
    /// counted / analytic - 1; `None` too where the counted are a lower bound that is below.
    pub flop_disagreement: Option<f64>,
    /// DRAM bytes by counters.
    pub counted_bytes: Option<f64>,
    /// Whether part of them was not counted.
    pub counted_bytes_at_least: bool,
    /// Analytic bytes.
    pub bytes: Option<f64>,
    /// counted / analytic - 1; `None` too where the counted are a lower bound that is below.
    pub byte_disagreement: Option<f64>,
}

/// The kernels of an export that belong to one version and stage, against that stage's work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CounterCheck {
    /// The export.
    pub file: String,
    /// Where the analytic work comes from: a run file, or a model with how it was served.
    pub against: String,
    /// The version.
    pub version: Option<String>,
    /// The stage; `None` where prefill and decode cannot be told apart, and rows are sums over both.
    pub stage: Option<Stage>,
    /// Steps that rows are means over; 1 where they are sums.
    pub steps: f64,
    /// What kernels are known by.
    pub level: CheckLevel,
    /// The rows, in the order of the model; then what is known by nothing.
    pub rows: Vec<CheckRow>,
    /// All kernels and all work.
    pub total: CheckRow,
}

/// Checks an export's sums against what was expected of it; work that no kernel is of gives nothing.
pub fn check_counters(
    file: &str,
    sums: &CounterSums,
    expected: &[Expected],
) -> (Vec<CounterCheck>, Vec<Finding>) {
    let mut checks = Vec::new();
    let mut findings = Vec::new();
    if sums.is_empty() {
        return (checks, findings);
    }
    for one in expected {
        for (version, chosen) in sums.of(one, expected.len() == 1) {
            checks.push(rows::check(file, version, &chosen, one));
        }
    }
    findings.extend(findings::unmatched(file, sums, expected, &checks));
    // That nothing was counted is said once, beside the points.
    checks.retain(|check| check.rows.iter().any(|r| r.counted_flops.is_some() || r.counted_bytes.is_some()));
    findings.extend(checks.iter().flat_map(findings::disagreements));
    (checks, findings)
}
