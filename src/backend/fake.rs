//! A fake device in the real program: candle's tensors with a scripted clock, so that every time is known by hand.
//!
//! An op takes its roofline floor on a device of [`FAKE_FLOP_RATE`] and [`FAKE_BANDWIDTH`], plus
//! [`FAKE_OP_S`]; a step has a further gap of [`FAKE_GAP_S`] that no op covers.

use super::marks::Clock;
use super::{CandleBackend, Marks};
use crate::hw::{Ceiling, CeilingKind, CeilingSource, ComputeUnit, MemoryLevel, Precision};
use crate::llm::{DType, Op, StepShape};

/// The fake device's FLOP/s.
pub const FAKE_FLOP_RATE: f64 = 1e12;
/// The fake device's B/s.
pub const FAKE_BANDWIDTH: f64 = 1e11;
/// What every op takes beyond its floor, in seconds.
pub const FAKE_OP_S: f64 = 1e-6;
/// What every step takes outside its ops, in seconds.
pub const FAKE_GAP_S: f64 = 10e-6;
/// What a mark takes, in seconds: the fake instrumentation overhead.
const FAKE_MARK_S: f64 = 10e-9;

fn op_time_s(op: &Op, step: &StepShape) -> f64 {
    let work = op.work(step);
    (work.flops().0 / FAKE_FLOP_RATE).max(work.bytes().0 / FAKE_BANDWIDTH) + FAKE_OP_S
}

/// A candle backend on the fake device.
pub fn fake_backend(dtype: DType) -> CandleBackend {
    let clock = Clock::Scripted { now_s: 0.0, op_time_s, mark_s: FAKE_MARK_S };
    CandleBackend::with_marks(dtype, Marks::new(clock), FAKE_GAP_S)
}

/// The fake device's ceilings: by definition, not measured.
pub fn fake_ceilings() -> Vec<Ceiling> {
    let ceiling = |kind, value| {
        let source = CeilingSource::Probe { method: "scripted: the fake device's definition".to_string() };
        Ceiling { kind, value, source, threads: None }
    };
    let compute = [Precision::Fp32, Precision::Bf16, Precision::Fp16].map(|precision| {
        let kind = CeilingKind::Compute { precision, unit: ComputeUnit::Vector, accumulate: None };
        ceiling(kind, FAKE_FLOP_RATE)
    });
    let bandwidth = ceiling(CeilingKind::Bandwidth { level: MemoryLevel::Dram }, FAKE_BANDWIDTH);
    compute.into_iter().chain([bandwidth]).collect()
}
