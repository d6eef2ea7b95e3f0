//! Choosing among the ceilings that are known for a point, and ridge points.

use super::attainable::Demand;
use crate::hw::{Ceiling, CeilingKind, CeilingSource, ComputeUnit, MemoryLevel, Precision};
use crate::units::{ArithmeticIntensity, ByteRate, FlopRate};

/// Ceilings in the order of preference: of one kind, the first is taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CeilingSet {
    ceilings: Vec<Ceiling>,
}

impl CeilingSet {
    /// Takes ceilings in the order of preference.
    pub fn new(ceilings: Vec<Ceiling>) -> Self {
        Self { ceilings }
    }

    /// The ceilings measured for `threads` threads where there are any, else those of most threads; a probe of one
    /// core says nothing about a pass on all of them.
    pub fn for_threads(ceilings: &[Ceiling], threads: Option<usize>) -> Self {
        let most = ceilings.iter().filter_map(|c| c.threads).max();
        let exact = threads.filter(|t| ceilings.iter().any(|c| c.threads == Some(*t)));
        let wanted = exact.or(most);
        let keep = |c: &&Ceiling| c.threads.is_none() || c.threads == wanted;
        Self { ceilings: ceilings.iter().filter(keep).cloned().collect() }
    }

    /// This set, and `others` where it has nothing. A simulated device has its own ceilings and no others.
    #[must_use]
    pub fn or(mut self, others: &[Ceiling]) -> Self {
        if self.simulated().is_none() {
            self.ceilings.extend(others.iter().cloned());
        }
        self
    }

    /// The device whose ceilings stand in the place of those of the measurement's, if one does.
    pub fn simulated(&self) -> Option<&str> {
        self.ceilings.iter().find_map(|ceiling| match &ceiling.source {
            CeilingSource::Simulated { device } => Some(device.as_str()),
            _ => None,
        })
    }

    /// Sets the values of the ceilings from `from` on to those of `others`; false, with nothing useful set, when
    /// those are of other kinds or sources.
    pub(super) fn update(&mut self, from: usize, others: &[Ceiling]) -> bool {
        if self.simulated().is_some() {
            return true;
        }
        let Some(own) = self.ceilings.get_mut(from..from + others.len()) else { return false };
        own.iter_mut().zip(others).all(|(own, other)| {
            own.value = other.value;
            own.kind == other.kind && own.source == other.source && own.threads == other.threads
        })
    }

    /// One ceiling of each kind: the first.
    pub fn distinct(&self) -> Vec<&Ceiling> {
        let mut kept: Vec<&Ceiling> = Vec::new();
        for ceiling in &self.ceilings {
            if !kept.iter().any(|k| k.kind == ceiling.kind) {
                kept.push(ceiling);
            }
        }
        kept
    }

    /// The bandwidth of `level`.
    pub fn bandwidth(&self, level: MemoryLevel) -> Option<&Ceiling> {
        self.usable().find(|c| c.kind == CeilingKind::Bandwidth { level })
    }

    /// The bandwidth of device or main memory.
    pub fn dram(&self) -> Option<&Ceiling> {
        self.bandwidth(MemoryLevel::Dram)
    }

    /// The compute ceiling for `demand`: that of its accumulator, else one that names none, else the highest of
    /// its precision, since a bound must not be too low.
    pub fn compute(&self, demand: &Demand) -> Option<&Ceiling> {
        let of = |wanted: Option<Option<Precision>>| {
            self.usable().filter(move |c| match &c.kind {
                CeilingKind::Compute { precision, unit, accumulate } => {
                    *precision == demand.precision
                        && *unit == demand.unit
                        && wanted.is_none_or(|w| *accumulate == w)
                }
                CeilingKind::Bandwidth { .. } => false,
            })
        };
        let highest = || of(None).max_by(|a, b| a.value.total_cmp(&b.value));
        let exact = || demand.accumulate.and_then(|a| of(Some(Some(a))).next());
        exact().or_else(|| of(Some(None)).next()).or_else(highest)
    }

    /// Whether there is a compute ceiling of this precision on matrix units.
    pub fn has_matrix(&self, precision: Precision) -> bool {
        let demand = Demand { unit: ComputeUnit::Matrix, precision, accumulate: None, flops: 0.0 };
        self.compute(&demand).is_some()
    }

    fn usable(&self) -> impl Iterator<Item = &Ceiling> {
        self.ceilings.iter().filter(|c| c.value.is_finite() && c.value > 0.0)
    }
}

/// Where a compute ceiling meets a bandwidth: peak / bandwidth in FLOP/B.
pub fn ridge_point(compute: &Ceiling, bandwidth: &Ceiling) -> Option<ArithmeticIntensity> {
    let (peak, rate): (FlopRate, ByteRate) = (compute.flop_rate()?, bandwidth.byte_rate()?);
    (rate.0 > 0.0).then(|| peak / rate)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bandwidth, matrix, vector};
    use super::*;

    #[test]
    fn the_first_ceiling_of_a_kind_is_taken_and_others_fill_the_gaps() {
        let report = vec![bandwidth(90e9)];
        let sheet = vec![bandwidth(100e9), vector(Precision::Fp32, 1e12)];
        let set = CeilingSet::new(report).or(&sheet);
        assert_eq!(set.dram().unwrap().value, 90e9);
        assert_eq!(set.distinct().len(), 2);
    }

    #[test]
    fn a_simulated_device_has_its_own_ceilings_and_no_others() {
        let source = CeilingSource::Simulated { device: "other".into() };
        let mut set = CeilingSet::new(vec![Ceiling { source, ..bandwidth(500e9) }])
            .or(&[bandwidth(90e9), vector(Precision::Fp32, 1e12)]);
        assert_eq!((set.distinct().len(), set.dram().unwrap().value), (1, 500e9));
        assert_eq!(set.simulated(), Some("other"));
        assert!(set.update(1, &[bandwidth(80e9)]) && set.dram().unwrap().value == 500e9);
        assert_eq!(CeilingSet::new(vec![bandwidth(1.0)]).simulated(), None);
    }

    #[test]
    fn a_probe_of_the_run_s_own_thread_count_is_preferred() {
        let probe = |threads, value| Ceiling { threads: Some(threads), ..bandwidth(value) };
        let all = [probe(1, 10e9), probe(4, 30e9)];
        let dram = |threads| CeilingSet::for_threads(&all, threads).dram().unwrap().value;
        assert_eq!((dram(Some(1)), dram(Some(4)), dram(Some(3)), dram(None)), (10e9, 30e9, 30e9, 30e9));
    }

    #[test]
    fn the_accumulator_decides_where_the_rate_depends_on_it() {
        let with = |accumulate, value| Ceiling {
            kind: CeilingKind::Compute { precision: Precision::Fp16, unit: ComputeUnit::Matrix, accumulate },
            ..matrix(Precision::Fp16, value)
        };
        let set = CeilingSet::new(vec![with(Some(Precision::Fp16), 2e12), with(Some(Precision::Fp32), 1e12)]);
        let peak = |accumulate| {
            let demand =
                Demand { unit: ComputeUnit::Matrix, precision: Precision::Fp16, accumulate, flops: 1.0 };
            set.compute(&demand).unwrap().value
        };
        assert_eq!(
            (peak(Some(Precision::Fp32)), peak(Some(Precision::Fp16)), peak(None)),
            (1e12, 2e12, 2e12)
        );
    }

    #[test]
    fn the_ridge_point_is_peak_over_bandwidth() {
        // H100 SXM, datasheet: 989.4 TFLOP/s dense bf16 over 3.35 TB/s = 295 FLOP/B.
        let ridge = ridge_point(&matrix(Precision::Bf16, 989.4e12), &bandwidth(3.35e12)).unwrap();
        assert!((ridge.0 - 295.34).abs() < 0.01);
        assert_eq!(ridge_point(&bandwidth(1.0), &bandwidth(1.0)), None);
    }
}
