//! The analytic work of a portion, op by op, and to which class of kernels each op belongs.

use super::super::attainable::{Demand, Floor, floor};
use super::super::ceilings::CeilingSet;
use super::super::demands::precision;
use super::portions::Portion;
use super::{ClassWork, Served};
use crate::hw::{Ceiling, ComputeUnit, Precision};
use crate::llm::{Arithmetic, Cost, Deployment, ModelOp, Op, Stage, Work};

/// The classes that run an op, the likeliest first: what has no kernel of its own is part of another.
pub(in crate::roofline) fn classes(op: &Op) -> &'static [&'static str] {
    match op {
        Op::Linear { .. } => &["gemm", "gemv"],
        Op::ExpertLinear(_) => &["moe", "gemm", "gemv"],
        Op::Attention { .. } | Op::LatentAttention(_) => &["attention", "gemm", "softmax"],
        Op::Norm { .. } | Op::HeadNorm { .. } => &["norm", "reduction", "elementwise"],
        Op::Rope { .. } => &["rope", "elementwise"],
        Op::Gelu { .. } | Op::Gate { .. } => &["activation", "elementwise"],
        Op::Residual { .. } => &["elementwise", "norm"],
        Op::Embed { .. } => &["embedding", "elementwise"],
        Op::CacheAppend { .. } | Op::CacheDequantise { .. } | Op::LatentAppend { .. } => {
            &["cache", "copy", "attention"]
        }
        Op::Route { .. } => &["moe", "sampling"],
        Op::Argmax { .. } => &["sampling", "reduction"],
        Op::Fused { ops } => ops.first().map_or(&[], classes),
    }
}

/// An op of one step on one rank, or its mean over steps.
struct OpCost {
    classes: &'static [&'static str],
    cost: Cost,
    floor: Option<Floor>,
}

/// The ops of a portion's step.
pub(super) struct Costs(Vec<OpCost>);

impl Costs {
    /// The mean over the portion's steps, whose kernels have `classes`; over a whole trace of several stages their sum.
    pub(super) fn of(
        served: &Served<'_>,
        portion: &Portion,
        classes: &[ClassWork],
        ceilings: &CeilingSet,
    ) -> Self {
        let adds_in_norms = adds_in_norms(classes);
        let mut ops = Vec::new();
        let parts = [(Stage::Prefill, portion.counts.prefill), (Stage::Decode, portion.counts.decode)];
        let is_sum = portion.stage.is_none();
        for (stage, steps) in parts.into_iter().filter(|(_, steps)| *steps > 0) {
            let times = if is_sum { 1.0 } else { 1.0 / steps as f64 };
            for op in served.model.ops(&served.deployment, stage) {
                let fused = adds_in_norms && matches!(op.op, Op::Residual { .. });
                ops.push(op_cost(&op, fused, served, stage, steps, times, ceilings));
            }
        }
        Self(ops)
    }

    pub(super) fn total(&self) -> Cost {
        self.0.iter().map(|op| op.cost).sum()
    }

    /// The sum of the ops' floors; `None` where one has none.
    pub(super) fn floor(&self) -> Option<Floor> {
        self.0.iter().map(|op| op.floor).sum()
    }

    /// Gives each op's work to the first of its classes that has kernels.
    pub(super) fn assign(&self, classes: &mut [ClassWork]) {
        for op in &self.0 {
            let position = |name: &&str| classes.iter().position(|c| c.class.as_deref() == Some(*name));
            let Some(at) = op.classes.iter().find_map(position) else { continue };
            let class = &mut classes[at];
            let first = class.flops.is_none();
            let add = |sum: &mut Option<f64>, value: f64| *sum = Some(sum.unwrap_or(0.0) + value);
            add(&mut class.flops, op.cost.work.flops().0);
            add(&mut class.matmul_flops, op.cost.work.matmul_flops.0);
            add(&mut class.bytes, op.cost.work.bytes().0);
            class.floor_s = match (first, class.floor_s, op.floor) {
                (true, _, Some(floor)) => Some(floor.time_s),
                (false, Some(sum), Some(floor)) => Some(sum + floor.time_s),
                _ => None,
            };
        }
    }
}

/// Whether residuals are added by the kernels of the norms that follow, as serving engines do: there is no kernel that
/// could add them alone.
fn adds_in_norms(classes: &[ClassWork]) -> bool {
    let has = |name: &str| classes.iter().any(|c| c.class.as_deref() == Some(name));
    has("norm") && !has("elementwise")
}

/// `steps` steps of `stage`, the sum times `factor`. An op `fused` with the next does not give it its output through
/// memory: of the three tensors of an addition the next then reads the sum that is at hand, one tensor less.
fn op_cost(
    op: &ModelOp,
    fused: bool,
    served: &Served<'_>,
    stage: Stage,
    steps: u64,
    factor: f64,
    ceilings: &CeilingSet,
) -> OpCost {
    let mut sum = Cost::default();
    let mut floors = Some(Floor::default());
    // Only attention differs from step to step.
    let differ = stage == Stage::Decode
        && matches!(op.op, Op::Attention { .. } | Op::LatentAttention(_) | Op::CacheDequantise { .. });
    let (distinct, weight) = if differ { (steps, 1.0) } else { (1, steps as f64) };
    for step in 1..=distinct {
        let mut cost = op.cost(&served.shape(stage, usize::try_from(step).unwrap_or(usize::MAX)));
        if fused {
            cost.work.bytes_read = cost.work.bytes_read * 0.5;
        }
        let demands = demands(op, &cost.work, &served.deployment, ceilings);
        let own = floor(cost.work.bytes().0, &demands, ceilings);
        floors = floors.and_then(|sum| Some(sum + own?.scaled(weight * factor)));
        sum = sum + scaled(cost, weight * factor);
    }
    OpCost { classes: classes(&op.op), cost: sum, floor: floors }
}

fn scaled(cost: Cost, factor: f64) -> Cost {
    Cost {
        work: cost.work.scaled(factor),
        weight_bytes: cost.weight_bytes * factor,
        cache_bytes: cost.cache_bytes * factor,
    }
}

/// Matrix products of a precision: on matrix units where the device has them, else on vector units, else in the
/// activations' type, else in single precision.
fn product(arithmetic: Arithmetic, deployment: &Deployment, ceilings: &CeilingSet) -> Demand {
    let wanted = [precision(arithmetic), precision(deployment.activations.into()), Precision::Fp32];
    let of = |unit, precision| {
        let accumulate = if precision == Precision::Int8 { Precision::Int32 } else { Precision::Fp32 };
        Demand { unit, precision, accumulate: Some(accumulate), flops: 0.0 }
    };
    let options = wanted.into_iter().flat_map(|p| [of(ComputeUnit::Matrix, p), of(ComputeUnit::Vector, p)]);
    let known = options.into_iter().find(|d| ceilings.compute(d).is_some());
    known.unwrap_or_else(|| of(ComputeUnit::Matrix, wanted[0]))
}

fn demands(op: &ModelOp, work: &Work, deployment: &Deployment, ceilings: &CeilingSet) -> [Demand; 2] {
    let arithmetic = if op.weights.is_some() { deployment.arithmetic } else { deployment.activations.into() };
    let matmul = Demand { flops: work.matmul_flops.0, ..product(arithmetic, deployment, ceilings) };
    let vector = |precision| Demand {
        unit: ComputeUnit::Vector,
        precision,
        accumulate: None,
        flops: work.elementwise_flops.0,
    };
    // Kernels widen to single precision to compute elementwise; where its peak is not known, nothing is claimed of it.
    let single = vector(Precision::Fp32);
    let known = ceilings.compute(&single).is_some();
    [matmul, if known { single } else { Demand { flops: 0.0, ..single } }]
}

/// The ceilings that floors, MFU and MBU are held against; empty where there is no bandwidth or no peak.
pub(super) fn names(deployment: &Deployment, ceilings: &CeilingSet) -> Vec<String> {
    let product = ceilings.compute(&product(deployment.arithmetic, deployment, ceilings));
    let (Some(dram), Some(product)) = (ceilings.dram(), product) else { return Vec::new() };
    let name = |c: &Ceiling| format!("{} {} ({})", c.name(), c.value_text(), c.source.label());
    vec![name(dram), name(product)]
}

/// Turns a class's sums over `per` steps into means, and rates them.
pub(super) fn finish(class: &mut ClassWork, per: f64, served: &Served<'_>, ceilings: &CeilingSet) {
    class.launches /= per;
    class.time_s /= per;
    class.counted_bytes = class.counted_bytes.map(|b| b / per);
    class.counted_flops = class.counted_flops.map(|f| f / per);
    let disagreement = |counted: Option<f64>, analytic: Option<f64>| {
        counted.zip(analytic.filter(|a| *a > 0.0)).map(|(c, a)| c / a - 1.0)
    };
    class.byte_disagreement = disagreement(class.counted_bytes, class.bytes);
    class.flop_disagreement = disagreement(class.counted_flops, class.flops);
    class.counted = class.counted_bytes.is_some();
    let floor = if let Some(bytes) = class.counted_bytes {
        let flops = class.counted_flops.or(class.flops).unwrap_or(0.0);
        let demand = Demand { flops, ..product(served.deployment.arithmetic, &served.deployment, ceilings) };
        floor(bytes, &[demand], ceilings)
    } else {
        class.floor_s.map(|time_s| analytic_floor(class, time_s, ceilings))
    };
    rate(class, floor, served, ceilings);
}

/// A sum of ops' floors whose parts were not kept: bound by what its own bytes would take most of.
fn analytic_floor(class: &ClassWork, time_s: f64, ceilings: &CeilingSet) -> Floor {
    let memory = class.bytes.zip(ceilings.dram()).map_or(0.0, |(bytes, dram)| bytes / dram.value);
    let memory_bound_s = if memory >= 0.5 * time_s { time_s } else { 0.0 };
    Floor { time_s, memory_bound_s, compute_bound_s: time_s - memory_bound_s }
}

/// Floor, MFU, MBU and bound from time and work.
pub(super) fn rate(class: &mut ClassWork, floor: Option<Floor>, served: &Served<'_>, ceilings: &CeilingSet) {
    class.floor_s = floor.map(|f| f.time_s);
    let time_s = class.time_s;
    if time_s <= 0.0 {
        return;
    }
    let peak = ceilings.compute(&product(served.deployment.arithmetic, &served.deployment, ceilings));
    let matmul = class.matmul_flops.filter(|f| *f > 0.0);
    let flops = class.counted_flops.filter(|_| class.counted).or(matmul);
    class.mfu = flops.zip(peak).map(|(flops, peak)| flops / time_s / peak.value);
    let bytes = class.counted_bytes.or(class.bytes);
    class.mbu = bytes.zip(ceilings.dram()).map(|(bytes, dram)| bytes / time_s / dram.value);
    class.fraction_of_ceiling = class.floor_s.map(|floor| floor / time_s);
    class.bound = floor.map(|f| f.bound(Some(time_s)));
}
