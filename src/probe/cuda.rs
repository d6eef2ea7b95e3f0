//! Measured ceilings of a GPU: bandwidth of memory and of L2, and FLOP rates by type, each the best of several runs.

use crate::backend::{BackendError, Gpu, GpuProbe, GpuRate};
use crate::hw::{
    Ceiling, CeilingKind, CeilingSource, ComputeUnit, LaunchCost, MeasuredCeiling, MemoryLevel, Operation,
    Precision,
};
use crate::llm::DType;
use std::rc::Rc;

/// How much time a measurement of a GPU may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuDepth {
    /// What bounds inference, a few runs of 5 ms each.
    Quick,
    /// Everything, more runs of 50 ms each: long enough for clocks to settle where power limits them.
    Thorough,
    /// Everything once, with as little work as counts: for trying the path out.
    Least,
}

impl GpuDepth {
    /// Runs of each probe, and seconds of a run.
    fn runs(self) -> (usize, f64) {
        match self {
            Self::Quick => (5, 5e-3),
            Self::Thorough => (15, 50e-3),
            Self::Least => (1, 0.0),
        }
    }

    /// Bytes of a buffer: many times any L2, so that reading one does not find what reading it before left there.
    fn most_bytes(self) -> usize {
        if self == Self::Least { 64 << 10 } else { 1 << 30 }
    }
}

/// What is measured, and as which ceiling.
struct Probe {
    rate: GpuRate,
    kind: CeilingKind,
    operation: Operation,
    method: &'static str,
}

fn probes() -> Vec<Probe> {
    let bandwidth = |rate, level, operation, method| Probe {
        rate,
        kind: CeilingKind::Bandwidth { level },
        operation,
        method,
    };
    let compute = |rate, precision, unit, method| {
        let accumulate = (unit == ComputeUnit::Matrix).then_some(Precision::Fp32);
        let operation = if accumulate.is_some() { Operation::Dot } else { Operation::Fma };
        Probe { rate, kind: CeilingKind::Compute { precision, unit, accumulate }, operation, method }
    };
    let (vector, matrix) = (ComputeUnit::Vector, ComputeUnit::Matrix);
    let pairs = "FMAs of pairs in registers, 8 chains per thread";
    // On Hopper mma.sync reaches some two thirds of what wgmma does: said, so that nobody takes it for the chip's peak.
    let tensor = "mma.sync m16n8k16 in registers, 8 chains per warp";
    // What the kernels for f32 give an FMA for: as on a CPU's matrix unit.
    let pieces = "mma.sync m16n8k16 in registers, 8 chains per warp, 6 products of bf16 pieces for one";
    vec![
        bandwidth(GpuRate::Read, MemoryLevel::Dram, Operation::Read, "reads of 16 B per thread"),
        bandwidth(GpuRate::Copy, MemoryLevel::Dram, Operation::Copy, "copies of 16 B per thread"),
        bandwidth(GpuRate::Triad, MemoryLevel::Dram, Operation::Triad, "a = b + 3 c, 16 B per thread"),
        bandwidth(
            GpuRate::L2Read,
            MemoryLevel::L2,
            Operation::Read,
            "reads of a quarter of L2 again and again",
        ),
        compute(GpuRate::Fma(DType::F32), Precision::Fp32, vector, "FMAs in registers, 8 chains per thread"),
        compute(GpuRate::Fma(DType::Bf16), Precision::Bf16, vector, pairs),
        compute(GpuRate::Fma(DType::F16), Precision::Fp16, vector, pairs),
        compute(GpuRate::Tensor(DType::Bf16), Precision::Bf16, matrix, tensor),
        compute(GpuRate::Tensor(DType::F16), Precision::Fp16, matrix, tensor),
        compute(GpuRate::Tensor(DType::F32), Precision::Fp32, matrix, pieces),
    ]
}

/// Measures `gpu`; `progress` is told what comes next.
///
/// # Errors
/// When the device fails or has no room for the buffers.
pub fn measure_gpu(
    gpu: &Rc<Gpu>,
    depth: GpuDepth,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<MeasuredCeiling>, BackendError> {
    let device = GpuProbe::new(gpu, depth.most_bytes())?;
    let (runs, seconds) = depth.runs();
    let mut measured = Vec::new();
    for Probe { rate, kind, operation, method } in probes() {
        let is_bound = !matches!(operation, Operation::Triad | Operation::Copy);
        if depth == GpuDepth::Quick && !is_bound {
            continue;
        }
        progress(method);
        let samples: Vec<f64> =
            (0..runs).map(|_| device.rate(rate, seconds)).collect::<Result<_, BackendError>>()?;
        let value = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let source = CeilingSource::Probe { method: format!("{method}, device events") };
        measured.push(MeasuredCeiling {
            ceiling: Ceiling { kind, value, source, threads: None },
            operation,
            samples,
        });
    }
    Ok(measured)
}

/// Those that bound inference.
pub fn gpu_bounds(measured: &[MeasuredCeiling]) -> Vec<Ceiling> {
    measured.iter().filter(|m| m.is_bound()).map(|m| m.ceiling.clone()).collect()
}

/// What a launch takes on `gpu`: the least of a few runs.
///
/// # Errors
/// When the device fails.
pub fn gpu_launch_cost(gpu: &Rc<Gpu>) -> Result<LaunchCost, BackendError> {
    let device = GpuProbe::new(gpu, 4096)?;
    let mut best = LaunchCost { host_s: f64::INFINITY, device_s: f64::INFINITY, graph_s: f64::INFINITY };
    for _ in 0..5 {
        let [host_s, device_s] = device.launch_seconds()?;
        best.host_s = best.host_s.min(host_s);
        best.device_s = best.device_s.min(device_s);
        best.graph_s = best.graph_s.min(device.graph_seconds()?);
    }
    Ok(best)
}
