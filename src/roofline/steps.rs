//! The analytic work of measured steps, and the points of a measured run.

use super::attainable::{Bound, Demand, Floor, floor};
use super::ceilings::CeilingSet;
use super::launched::LaunchedAs;
use super::point::{FlopCounts, Level, Origin, Point};
use super::report::{PhaseReport, PhaseRow, StageReport};
use crate::hw::{Ceiling, ComputeUnit, Precision};
use crate::llm::{DType, Phase, Stage, StepShape, Work};
use crate::profile::{Measured, PlanRecord, PlannedOp, Run, StepRecord};

/// The mean work and floor per step of every op of a plan.
pub(super) struct StageWork<'a> {
    plan: &'a PlanRecord,
    work: Vec<Work>,
    floors: Vec<Option<Floor>>,
}

impl<'a> StageWork<'a> {
    pub(super) fn new(plan: &'a PlanRecord, steps: &[&StepRecord], ceilings: &CeilingSet) -> Self {
        let shapes: Vec<StepShape> = steps.iter().map(|s| s.shape).collect();
        let per_step = 1.0 / shapes.len().max(1) as f64;
        let work = |op: &PlannedOp| shapes.iter().map(|s| op.op.work(s)).sum::<Work>().scaled(per_step);
        let floor = |op: &PlannedOp| {
            let floors = shapes.iter().map(|s| op_floor(op, s, ceilings));
            floors.sum::<Option<Floor>>().map(|f| f.scaled(per_step))
        };
        Self { plan, work: plan.ops.iter().map(work).collect(), floors: plan.ops.iter().map(floor).collect() }
    }

    /// The positions in the plan of the ops that `keep` keeps.
    pub(super) fn indices(&self, keep: impl Fn(&PlannedOp) -> bool) -> Vec<usize> {
        (0..self.plan.ops.len()).filter(|i| keep(&self.plan.ops[*i])).collect()
    }

    pub(super) fn work(&self, indices: &[usize]) -> Work {
        indices.iter().map(|i| self.work[*i]).sum()
    }

    pub(super) fn floor(&self, indices: &[usize]) -> Option<Floor> {
        indices.iter().map(|i| self.floors[*i]).sum()
    }

    /// Ops that differ in their layer only, in the order of the first of each kind.
    pub(super) fn kinds(&self) -> Vec<(&'a PlannedOp, Vec<usize>)> {
        let mut kinds: Vec<(&PlannedOp, Vec<usize>)> = Vec::new();
        for (i, op) in self.plan.ops.iter().enumerate() {
            let same = |k: &&mut (&PlannedOp, Vec<usize>)| {
                k.0.label == op.label && k.0.phase == op.phase && k.0.op == op.op
            };
            match kinds.iter_mut().find(same) {
                Some((_, indices)) => indices.push(i),
                None => kinds.push((op, vec![i])),
            }
        }
        kinds
    }
}

/// The floor of one step of shape `shape`: the sum of its ops', each max(bytes / bandwidth, FLOPs / peak). `None` where a
/// ceiling that matters is missing.
pub fn step_floor(plan: &PlanRecord, shape: &StepShape, ceilings: &CeilingSet) -> Option<Floor> {
    plan.ops.iter().map(|op| op_floor(op, shape, ceilings)).sum()
}

fn op_floor(op: &PlannedOp, shape: &StepShape, ceilings: &CeilingSet) -> Option<Floor> {
    let work = op.op.work(shape);
    floor(work.bytes().0, &demands(&work, op.op.dtype(), ceilings), ceilings)
}

/// Matrix products are held against the matrix units where the device has them for the type, everything else against vector
/// units. In f32 the vector units may be the faster ones (a matrix unit of bfloat16 takes six products for one): products
/// are held against the higher peak then, as a bound must not be too low. A half type without a vector ceiling of its own is
/// computed in single precision after widening.
fn demands(work: &Work, dtype: DType, ceilings: &CeilingSet) -> [Demand; 2] {
    let precision = precision(dtype);
    let demand = |unit, precision, flops| Demand { unit, precision, accumulate: None, flops };
    let own = demand(ComputeUnit::Vector, precision, work.elementwise_flops.0);
    let vector = if ceilings.compute(&own).is_some() { precision } else { Precision::Fp32 };
    let matmul = work.matmul_flops.0;
    let on = [demand(ComputeUnit::Matrix, precision, matmul), demand(ComputeUnit::Vector, vector, matmul)];
    let peak = |demand: &Demand| ceilings.compute(demand).map(|ceiling| ceiling.value);
    let [matrix_peak, vector_peak] = [peak(&on[0]), peak(&on[1])];
    let products = if matrix_peak.is_some() && matrix_peak >= vector_peak { on[0] } else { on[1] };
    [products, demand(ComputeUnit::Vector, vector, work.elementwise_flops.0)]
}

fn precision(dtype: DType) -> Precision {
    match dtype {
        DType::F32 => Precision::Fp32,
        DType::Bf16 => Precision::Bf16,
        DType::F16 => Precision::Fp16,
    }
}

/// The points of a measured run: each phase of each version and stage, and each stage as a whole, per step.
/// `chosen` ceilings come before the run's own.
pub fn phase_points(run: &Run, chosen: &[Ceiling]) -> Vec<Point> {
    let report = PhaseReport::new(run, chosen);
    let context = Context::of(run, CeilingSet::new(report.ceilings.clone()));
    report.stages.iter().flat_map(|stage| stage_points(stage, &context)).collect()
}

pub(super) struct Context<'a> {
    pub(super) file: &'a str,
    pub(super) device: Option<String>,
    pub(super) dtype: Option<DType>,
    pub(super) ceilings: CeilingSet,
}

impl<'a> Context<'a> {
    pub(super) fn of(run: &'a Run, ceilings: CeilingSet) -> Self {
        let dtype = run.manifest.as_ref().and_then(|m| m.config.as_ref()).map(|c| c.dtype);
        let device = run.manifest.as_ref().map(|m| m.device.name.clone());
        Self { file: &run.file, device, dtype, ceilings }
    }

    /// The names of the ceilings that `work` is held against; without it, or without a type, bandwidth alone.
    pub(super) fn used(&self, work: Option<&Work>) -> Vec<String> {
        let mut names: Vec<String> = self.ceilings.dram().map(|c| c.name()).into_iter().collect();
        let (Some(dtype), Some(work)) = (self.dtype, work) else { return names };
        let peaks = demands(work, dtype, &self.ceilings)
            .into_iter()
            .filter(|d| d.flops > 0.0)
            .filter_map(|d| Some(self.ceilings.compute(&d)?.name()));
        for name in peaks {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// A whole step of analytic work, held against nothing yet.
    pub(super) fn step(
        &self,
        version: &str,
        stage: Stage,
        flops: Option<Measured>,
        bytes: Option<Measured>,
    ) -> Point {
        let of = |dtype| if self.dtype == Some(dtype) { flops.clone() } else { None };
        Point {
            level: Level::Stage,
            file: self.file.to_string(),
            launch: None,
            kernel: None,
            short_name: None,
            group: None,
            launches: 1,
            launched: LaunchedAs::default(),
            device: self.device.clone(),
            version: Some(version.to_string()),
            stage: Some(stage),
            phase: None,
            class: None,
            time: None,
            share: None,
            bytes,
            byte_origin: Origin::Analytic,
            l2_bytes: None,
            l1_bytes: None,
            dram_percent: None,
            sm_percent: None,
            rates: None,
            flops: FlopCounts {
                fp32: of(DType::F32),
                fp16: of(DType::F16),
                fp16_packed: of(DType::F16),
                total: flops.clone(),
                ..FlopCounts::default()
            },
            flop_origin: Origin::Analytic,
            flops_complete: flops.is_some(),
            traced: false,
            missing: Vec::new(),
            floor: None,
            bound: Bound::Unknown,
            used_ceilings: Vec::new(),
            ceilings: self.ceilings.clone(),
        }
    }
}

fn stage_points(stage: &StageReport, context: &Context<'_>) -> Vec<Point> {
    let phases = Phase::ALL.map(|p| (Some(p), stage.phases.get(p)));
    let rows = phases.into_iter().chain([(None, &stage.phases.total)]);
    // A phase in which nothing was planned is no point.
    rows.filter(|(_, row)| row.work.bytes.is_some_and(|b| b > 0.0))
        .map(|(phase, row)| point(stage, phase, row, context))
        .collect()
}

fn point(stage: &StageReport, phase: Option<Phase>, row: &PhaseRow, context: &Context<'_>) -> Point {
    let analytic = |value: Option<f64>| Some(Measured::new(value?, "analytic: Op::work, mean over steps"));
    Point {
        level: if phase.is_some() { Level::Phase } else { Level::Stage },
        phase,
        time: row
            .time_s
            .map(|t| Measured::new(t, "instrumented twin: mean over steps, median over repetitions")),
        share: row.share,
        floor: row.work.floor,
        bound: row.work.bound.unwrap_or(Bound::Unknown),
        used_ceilings: used(row, context),
        ..context.step(&stage.version, stage.stage, analytic(row.work.flops), analytic(row.work.bytes))
    }
}

fn used(row: &PhaseRow, context: &Context<'_>) -> Vec<String> {
    let work = row.work.flops.zip(row.work.matmul_flops).map(|(flops, matmul)| Work {
        matmul_flops: crate::units::Flops(matmul),
        elementwise_flops: crate::units::Flops(flops - matmul),
        ..Work::default()
    });
    context.used(work.as_ref())
}
#[cfg(test)]
mod tests {
    use super::super::samples::phase_run;
    use super::*;

    #[test]
    fn a_run_gives_its_phases_and_stages_as_points_of_analytic_work() {
        let points = phase_points(&phase_run(), &[]);
        // Two versions, two stages: four phases and the whole.
        assert_eq!(points.len(), 20);
        let qkv = points
            .iter()
            .find(|p| {
                p.phase == Some(Phase::Attention)
                    && p.stage == Some(Stage::Decode)
                    && p.version.as_deref() == Some("v1")
            })
            .unwrap();
        assert_eq!(qkv.name(), "v1 decode attention");
        assert!(
            qkv.dram_bytes().is_none() && qkv.intensity_dram().is_none(),
            "analytic bytes are no DRAM bytes"
        );
        assert_eq!(qkv.intensity(), Some(384.0 / 896.0));
        // Floor: 896 B / 10 GB/s = 89.6 ns of 1.03 ms: far under.
        assert!((qkv.floor.unwrap().time_s - 89.6e-9).abs() < 1e-15);
        assert_eq!(qkv.bound, Bound::Latency);
        assert_eq!(qkv.used_ceilings, ["DRAM bandwidth", "fp32 vector"]);
    }

    #[test]
    fn a_half_type_without_ceilings_of_its_own_is_held_against_single_precision() {
        let run = phase_run();
        let set = CeilingSet::new(run.ceilings);
        let work = Work { matmul_flops: crate::units::Flops(1.0), ..Work::default() };
        let [products, _] = demands(&work, DType::Bf16, &set);
        assert_eq!((products.unit, products.precision), (ComputeUnit::Vector, Precision::Fp32));
    }

    #[test]
    fn products_of_f32_are_held_against_the_higher_of_the_two_peaks() {
        use super::super::samples::{matrix, vector};
        let work = Work { matmul_flops: crate::units::Flops(1.0), ..Work::default() };
        // A100 and RTX 4090, data sheets: bfloat16 on tensor cores over 6, and FMAs.
        for (pieces, fma, unit) in
            [(52e12, 19.5e12, ComputeUnit::Matrix), (27.5e12, 82.6e12, ComputeUnit::Vector)]
        {
            let set = CeilingSet::new(vec![vector(Precision::Fp32, fma), matrix(Precision::Fp32, pieces)]);
            let [products, _] = demands(&work, DType::F32, &set);
            assert_eq!((products.unit, products.precision), (unit, Precision::Fp32));
        }
    }
}
