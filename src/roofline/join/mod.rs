//! A timeline trace joined to the model that ran: the analytic work of each stage beside the time that it took.
//!
//! Per stage and step, on one rank:
//!
//! * work: FLOPs and bytes of [`ModelSpec::ops`], each op's inputs and outputs once; ANALYTIC. An op's floor is
//!   max(bytes / DRAM bandwidth, FLOPs / peak), a class's or stage's the sum of its ops'
//! * MFU = matrix FLOPs / time / matrix peak; MBU = bytes / time / DRAM bandwidth
//! * wall: from the first kernel of a stage to the end of its last before another stage's, gaps included
//! * wall = floor + kernel inefficiency + exposed communication + launch gaps + idle, where busy is the union of
//!   kernels, kernel inefficiency = busy - exposed communication - floor (below zero if a number is wrong), launch gaps
//!   are those of at most [`LAUNCH_GAP_S`], idle is longer ones
//!
//! Where another file has hardware counters of the same kernels (see [`Counters`]), a class's floor, MBU and MFU are by
//! those, and the analytic numbers stand beside them.
//!
//! Decode steps are taken to follow the prompt: the n-th attends to prompt + n tokens.

mod checks;
mod classes;
mod counters;
mod portions;
pub(super) mod work;

pub use counters::Counters;

use super::attainable::{Bound, Floor};
use super::ceilings::CeilingSet;
use super::timeline::TimelineBuilder;
use crate::llm::{Deployment, ModelSpec, Stage, StepShape};
use crate::profile::{Finding, FindingCode, Run, TraceInfo};
use portions::{Portion, Times};
use serde::Serialize;
use std::collections::HashSet;
use work::Costs;

/// A longer gap is not the cost of a launch: launches take some 5 us, an operator of eager PyTorch some 50 us, and a
/// millisecond is far beyond both.
pub const LAUNCH_GAP_S: f64 = 1e-3;

/// What ran: a model, how it was served, and on what.
#[derive(Clone, Debug)]
pub struct Served<'a> {
    /// The model.
    pub model: &'a ModelSpec,
    /// How it was served.
    pub deployment: Deployment,
    /// Sequences side by side.
    pub batch: usize,
    /// Prompt tokens of each.
    pub prompt: usize,
    /// How many steps the trace holds, where its ranges do not tell.
    pub steps: Option<StepCounts>,
}

impl Served<'_> {
    /// The tokens of the `step`-th step of `stage`, from 1: decode steps are taken to follow the prompt.
    pub(super) fn shape(&self, stage: Stage, step: usize) -> StepShape {
        let (batch, prompt) = (self.batch, self.prompt);
        match stage {
            Stage::Prefill => StepShape { batch, new_tokens: prompt, context: prompt },
            Stage::Decode => StepShape { batch, new_tokens: 1, context: prompt + step },
        }
    }
}

/// Numbers of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepCounts {
    /// Steps that compute prompts.
    pub prefill: u64,
    /// Steps that compute one further token of each sequence.
    pub decode: u64,
}

/// Time and work of a class of kernels, or of all, in one step of one rank.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClassWork {
    /// The class; `None` for kernels that no rule knows.
    pub class: Option<String>,
    /// Launches.
    pub launches: f64,
    /// Their time, summed.
    pub time_s: f64,
    /// Its part of the portion's kernel time.
    pub share: Option<f64>,
    /// Analytic FLOPs; `None` where no op of the model is of this class.
    pub flops: Option<f64>,
    /// Of those, of matrix products.
    pub matmul_flops: Option<f64>,
    /// Analytic bytes.
    pub bytes: Option<f64>,
    /// DRAM bytes by hardware counters, where another file has them for these kernels.
    pub counted_bytes: Option<f64>,
    /// FLOPs by hardware counters.
    pub counted_flops: Option<f64>,
    /// counted / analytic - 1.
    pub byte_disagreement: Option<f64>,
    /// counted / analytic - 1.
    pub flop_disagreement: Option<f64>,
    /// The shortest time that the ceilings allow: by counted bytes and FLOPs where there are any, else analytic.
    pub floor_s: Option<f64>,
    /// Whether `floor_s`, `mbu` and `mfu` are of counted numbers.
    pub counted: bool,
    /// floor / time.
    pub fraction_of_ceiling: Option<f64>,
    /// See the module.
    pub mfu: Option<f64>,
    /// See the module.
    pub mbu: Option<f64>,
    /// What bounds it.
    pub bound: Option<Bound>,
}

/// Where a step's time goes; see the module. The parts add up to the wall time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GapSplit {
    /// The time floor.
    pub floor_s: f64,
    /// Kernels beyond it.
    pub kernel_inefficiency_s: f64,
    /// Communication with nothing beside it.
    pub communication_s: f64,
    /// Short gaps.
    pub launch_gaps_s: f64,
    /// Long gaps.
    pub idle_s: f64,
}

/// A stage, or what belongs to none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PortionReport {
    /// `prefill`, `decode`, `all`, or `unknown`.
    pub name: &'static str,
    /// The stage; `None` for all, and for what belongs to none.
    pub stage: Option<Stage>,
    /// Steps of one rank, of which times are the mean: 1 for all stages together. `None` where that is unknown, and times
    /// are sums.
    pub steps: Option<f64>,
    /// Wall time per step; `None` where the trace has sums only.
    pub wall_s: Option<f64>,
    /// The union of kernels per step; `None` where the trace has sums only.
    pub busy_s: Option<f64>,
    /// By class, the longest first.
    pub classes: Vec<ClassWork>,
    /// All classes in the wall time, or in the sum of kernels where that is not known; its FLOPs and bytes are those of
    /// all ops, also of those without a kernel of their own.
    pub total: ClassWork,
    /// Where the wall time goes; `None` without a floor.
    pub gap: Option<GapSplit>,
}

/// A trace joined to a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JoinReport {
    /// The trace.
    pub file: String,
    /// The model.
    pub model: String,
    /// How it was served, as said and not as found in the trace.
    pub deployment: Deployment,
    /// Sequences side by side, as said.
    pub batch: usize,
    /// Prompt tokens of each, as said.
    pub prompt: usize,
    /// The device whose ceilings are used.
    pub device: Option<String>,
    /// The ceilings used, by name and source.
    pub ceilings: Vec<String>,
    /// Stages in order, then what belongs to none.
    pub portions: Vec<PortionReport>,
    /// What a reader should know before believing the numbers.
    pub findings: Vec<Finding>,
}

/// Joins a trace of `run`, whose kernels `timeline` has, to a model.
pub fn join(
    run: &Run,
    trace: &TraceInfo,
    timeline: &TimelineBuilder,
    counters: &Counters,
    served: &Served<'_>,
    ceilings: &CeilingSet,
) -> JoinReport {
    let device = trace
        .devices
        .iter()
        .find_map(|d| d.name.clone())
        .filter(|n| run.device_names().contains(&n.as_str()));
    let mut findings = checks::against(run, trace, served);
    let portions = portions::of(run, trace, timeline, served.steps, &mut findings);
    if portions.iter().all(|p| p.steps.is_none()) {
        findings.push(no_steps(&trace.file));
    }
    // Of a trace that is not divided every kernel is of the one stage.
    let divided = portions.len() > 1;
    let several = if divided { classes::in_several_stages(&trace.file, timeline) } else { HashSet::new() };
    let classes_of = |p: &Portion| classes::of(p, &trace.file, timeline, counters, &several);
    let reports: Vec<PortionReport> =
        portions.iter().map(|p| report(p, classes_of(p), served, ceilings)).collect();
    findings.extend(checks::unstaged(&several, counters, &trace.file));
    // What was said wrongly explains impossible times, and another device's ceilings may well be passed.
    let said_wrongly = findings.iter().any(|f| f.code == FindingCode::Disagreement);
    if !said_wrongly && ceilings.simulated().is_none() {
        findings.extend(reports.iter().flat_map(|p| checks::above_ceiling(p, &trace.file)));
    }
    findings.extend(reports.iter().flat_map(|p| checks::against_counters(p, &trace.file)));
    let ceilings = work::names(&served.deployment, ceilings);
    if ceilings.is_empty() {
        findings.push(no_ceilings(device.as_deref(), &trace.file));
    }
    JoinReport {
        file: trace.file.clone(),
        model: served.model.name.clone(),
        deployment: served.deployment,
        batch: served.batch,
        prompt: served.prompt,
        device,
        ceilings,
        portions: reports,
        findings,
    }
}

fn no_steps(file: &str) -> Finding {
    let message = "no range in the trace says which steps are prefill and which decode, so no work can be set against \
                   its time";
    let remedy = "say what it holds with --steps prefill=1,decode=15; or record with ranges: vLLM's \
                  execute_context_..., or torch.profiler.record_function('prefill') and ('decode') around each step";
    Finding::new(FindingCode::MetricMissing, file, message).with_remedy(remedy)
}

fn no_ceilings(device: Option<&str>, file: &str) -> Finding {
    let device =
        device.map_or("the trace names no device".to_string(), |d| format!("none are known for {d}"));
    let message =
        format!("there are no ceilings to hold it against ({device}): so there is no floor, MBU or MFU");
    let remedy = "name the device with --device, or its ceilings with --device-spec";
    Finding::new(FindingCode::NoCeiling, file, message).with_remedy(remedy)
}

fn report(
    portion: &Portion,
    mut classes: Vec<ClassWork>,
    served: &Served<'_>,
    ceilings: &CeilingSet,
) -> PortionReport {
    let per = portion.steps.unwrap_or(1.0);
    let costs = portion.steps.map(|_| Costs::of(served, portion, &classes, ceilings));
    if let Some(costs) = &costs {
        costs.assign(&mut classes);
    }
    for class in &mut classes {
        work::finish(class, per, served, ceilings);
    }
    classes.sort_by(|a, b| b.time_s.total_cmp(&a.time_s));
    let wall_s = portion.times.map(|t| t.wall_s / per);
    let total = total(&classes, costs.as_ref(), wall_s, served, ceilings);
    let split = |times: &Times| total.floor_s.map(|floor_s| gap_split(times, per, floor_s));
    let gap = portion.times.as_ref().and_then(split);
    PortionReport {
        name: portion.name,
        stage: portion.stage,
        steps: portion.steps.map(|_| portion.steps_of_rank()),
        wall_s,
        busy_s: portion.times.map(|t| t.busy_s / per),
        classes,
        total,
        gap,
    }
}

fn gap_split(times: &Times, per: f64, floor_s: f64) -> GapSplit {
    let communication_s = times.exposed_s / per;
    GapSplit {
        floor_s,
        kernel_inefficiency_s: times.busy_s / per - communication_s - floor_s,
        communication_s,
        launch_gaps_s: times.launch_gaps_s / per,
        idle_s: times.idle_s / per,
    }
}

/// All classes together, against the wall time, or where that is not known against the sum of kernels.
fn total(
    classes: &[ClassWork],
    costs: Option<&Costs>,
    wall_s: Option<f64>,
    served: &Served<'_>,
    ceilings: &CeilingSet,
) -> ClassWork {
    let mut total = ClassWork {
        launches: classes.iter().map(|c| c.launches).sum(),
        time_s: wall_s.unwrap_or_else(|| classes.iter().map(|c| c.time_s).sum()),
        ..ClassWork::default()
    };
    let Some(costs) = costs else { return total };
    let all = costs.total();
    total.flops = Some(all.work.flops().0);
    total.matmul_flops = Some(all.work.matmul_flops.0);
    total.bytes = Some(all.work.bytes().0);
    let floor: Option<Floor> = costs.floor();
    work::rate(&mut total, floor, served, ceilings);
    total
}

#[cfg(test)]
mod tests;
