//! What metrics mean, as data: each row says how one quantity follows from metrics. A new metric is a new row.
//!
//! A row is `quantity = (sum of weight x metric) x factor`. Rows of a quantity are tried in order: the first
//! whose metrics are all there gives the value; if none is complete, the largest of the rows that have some of
//! theirs is a lower bound. FLOPs of vector units count thread-level, predicated-on instructions; names are those
//! of compute capability 7.0 to 12.1, and `sm__` and `smsp__` sums are equal.
//!
//! | quantity | from |
//! |---|---|
//! | time | `gpu__time_duration`, `gpu__time_active`, cycles / clock |
//! | fp64, fp32 | add + mul + 2 fma, as counts, per cycle, derived `_x2`, or combined `_ops_` plus fma |
//! | fp16 | the same; packed: twice that, as HFMA2 works on two lanes (NVIDIA's own sections since 2025) |
//! | DRAM bytes | `dram__bytes`, read + write, `_op_` names (2026), `fbpa__`, rate x time, 32 x sectors |
//! | L2 bytes | `lts__t_bytes`, 32 x `lts__t_sectors`, 32 x `lts__lts2xbar_cycles_active` (2025) |
//! | L1 bytes | `l1tex__t_bytes`, 128 x `l1tex__lsu_writeback_active*` (2023) |
//! | ceilings | `.peak_sustained` x clock: what the chip could do at the clock of that launch |
//!
//! Matrix units are in [`super::tensor`]: their names are a grammar, not a list.

use super::{labels, resources, tensor};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::OnceLock;

/// What a row computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    Time,
    Fp64,
    Fp32,
    Fp16,
    Fp16Packed,
    DramBytes,
    L2Bytes,
    L1Bytes,
    DramPercent,
    SmPercent,
    CeilingFp64,
    CeilingFp32,
    CeilingFp16,
    CeilingDram,
    CeilingL2,
    CeilingL1,
}

/// What the weighted sum is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Factor {
    /// Nothing.
    One,
    /// The launch's time: the terms are rates.
    Time,
    /// The launch's elapsed cycles: the terms are per cycle.
    Cycles,
    /// A metric, such as a clock.
    Times(&'static str),
    /// One over a metric.
    Per(&'static str),
}

/// One way to a quantity.
#[derive(Debug)]
pub(super) struct Formula {
    pub(super) quantity: Quantity,
    pub(super) terms: &'static [(f64, &'static str)],
    pub(super) factor: Factor,
}

/// Where elapsed cycles come from: counted, or clock x time.
pub(super) const CYCLES: &[&str] = &["smsp__cycles_elapsed.avg", "sm__cycles_elapsed.avg"];
/// Clocks that give cycles when multiplied by time.
pub(super) const CLOCKS: &[&str] = &[
    "smsp__cycles_elapsed.avg.per_second",
    "sm__cycles_elapsed.avg.per_second",
    "gpc__cycles_elapsed.avg.per_second",
];

macro_rules! row {
    ($quantity:ident = $($weight:literal * $metric:expr),+ ; $factor:expr) => {
        Formula { quantity: Quantity::$quantity, terms: &[$(($weight, $metric)),+], factor: $factor }
    };
}

macro_rules! op {
    ($prefix:literal $op:literal $suffix:literal) => {
        concat!($prefix, "__sass_thread_inst_executed_op_", $op, "_pred_on", $suffix)
    };
}

macro_rules! combined {
    ($prefix:literal $ops:literal) => {
        concat!($prefix, "__sass_thread_inst_executed_ops_", $ops, "_pred_on.sum")
    };
}

/// add + mul + 2 fma of one prefix and precision, `$w1` = 1 and `$w2` = 2 but for packed halves.
macro_rules! arithmetic {
    ($quantity:ident, $prefix:literal, $add:literal $mul:literal $fma:literal, $suffix:literal, $w1:literal $w2:literal, $factor:expr) => {
        row!($quantity = $w1 * op!($prefix $add $suffix), $w1 * op!($prefix $mul $suffix), $w2 * op!($prefix $fma $suffix); $factor)
    };
}

/// Every row: those of a quantity together, in order of preference.
#[rustfmt::skip]
const FORMULAS: &[Formula] = &[
    row!(Time = 1.0 * "gpu__time_duration.sum"; Factor::One),
    row!(Time = 1.0 * "gpu__time_duration.avg"; Factor::One),
    row!(Time = 1.0 * "gpu__time_duration.max"; Factor::One),
    // Pascal has names without a suffix.
    row!(Time = 1.0 * "gpu__time_duration"; Factor::One),
    row!(Time = 1.0 * "gpu__time_active.avg"; Factor::One),
    row!(Time = 1.0 * "gpu__time_active.sum"; Factor::One),
    row!(Time = 1.0 * "sm__cycles_elapsed.avg"; Factor::Per("sm__cycles_elapsed.avg.per_second")),
    row!(Time = 1.0 * "smsp__cycles_elapsed.avg"; Factor::Per("smsp__cycles_elapsed.avg.per_second")),
    row!(Time = 1.0 * "sm__cycles_elapsed.max"; Factor::Per("sm__cycles_elapsed.max.per_second")),
    row!(Time = 1.0 * "gpc__cycles_elapsed.max"; Factor::Per("gpc__cycles_elapsed.max.per_second")),
    row!(Time = 1.0 * "gpc__cycles_elapsed.max"; Factor::Per("gpc__cycles_elapsed.avg.per_second")),

    arithmetic!(Fp64, "sm", "dadd" "dmul" "dfma", ".sum", 1.0 2.0, Factor::One),
    arithmetic!(Fp64, "smsp", "dadd" "dmul" "dfma", ".sum", 1.0 2.0, Factor::One),
    row!(Fp64 = 1.0 * combined!("sm" "dadd_dmul_dfma"), 1.0 * op!("sm" "dfma" ".sum"); Factor::One),
    row!(Fp64 = 1.0 * combined!("smsp" "dadd_dmul_dfma"), 1.0 * op!("smsp" "dfma" ".sum"); Factor::One),
    arithmetic!(Fp64, "smsp", "dadd" "dmul" "dfma", ".sum.per_cycle_elapsed", 1.0 2.0, Factor::Cycles),
    arithmetic!(Fp64, "sm", "dadd" "dmul" "dfma", ".sum.per_cycle_elapsed", 1.0 2.0, Factor::Cycles),
    row!(Fp64 = 1.0 * op!("smsp" "dadd" ".sum.per_cycle_elapsed"), 1.0 * op!("smsp" "dmul" ".sum.per_cycle_elapsed"),
        1.0 * op!("derived__smsp" "dfma" "_x2"); Factor::Cycles),
    arithmetic!(Fp64, "smsp", "dadd" "dmul" "dfma", ".sum.per_second", 1.0 2.0, Factor::Time),
    arithmetic!(Fp64, "sm", "dadd" "dmul" "dfma", ".sum.per_second", 1.0 2.0, Factor::Time),

    arithmetic!(Fp32, "sm", "fadd" "fmul" "ffma", ".sum", 1.0 2.0, Factor::One),
    arithmetic!(Fp32, "smsp", "fadd" "fmul" "ffma", ".sum", 1.0 2.0, Factor::One),
    row!(Fp32 = 1.0 * combined!("sm" "fadd_fmul_ffma"), 1.0 * op!("sm" "ffma" ".sum"); Factor::One),
    row!(Fp32 = 1.0 * combined!("smsp" "fadd_fmul_ffma"), 1.0 * op!("smsp" "ffma" ".sum"); Factor::One),
    arithmetic!(Fp32, "smsp", "fadd" "fmul" "ffma", ".sum.per_cycle_elapsed", 1.0 2.0, Factor::Cycles),
    arithmetic!(Fp32, "sm", "fadd" "fmul" "ffma", ".sum.per_cycle_elapsed", 1.0 2.0, Factor::Cycles),
    row!(Fp32 = 1.0 * op!("smsp" "fadd" ".sum.per_cycle_elapsed"), 1.0 * op!("smsp" "fmul" ".sum.per_cycle_elapsed"),
        1.0 * op!("derived__smsp" "ffma" "_x2"); Factor::Cycles),
    arithmetic!(Fp32, "smsp", "fadd" "fmul" "ffma", ".sum.per_second", 1.0 2.0, Factor::Time),
    arithmetic!(Fp32, "sm", "fadd" "fmul" "ffma", ".sum.per_second", 1.0 2.0, Factor::Time),

    arithmetic!(Fp16, "sm", "hadd" "hmul" "hfma", ".sum", 1.0 2.0, Factor::One),
    arithmetic!(Fp16, "smsp", "hadd" "hmul" "hfma", ".sum", 1.0 2.0, Factor::One),
    row!(Fp16 = 1.0 * combined!("sm" "hadd_hmul_hfma"), 1.0 * op!("sm" "hfma" ".sum"); Factor::One),
    row!(Fp16 = 1.0 * combined!("smsp" "hadd_hmul_hfma"), 1.0 * op!("smsp" "hfma" ".sum"); Factor::One),
    arithmetic!(Fp16, "smsp", "hadd" "hmul" "hfma", ".sum.per_cycle_elapsed", 1.0 2.0, Factor::Cycles),
    arithmetic!(Fp16, "sm", "hadd" "hmul" "hfma", ".sum.per_cycle_elapsed", 1.0 2.0, Factor::Cycles),
    row!(Fp16 = 1.0 * op!("smsp" "hadd" ".sum.per_cycle_elapsed"), 1.0 * op!("smsp" "hmul" ".sum.per_cycle_elapsed"),
        1.0 * op!("derived__smsp" "hfma" "_x2"); Factor::Cycles),
    row!(Fp16 = 0.5 * op!("derived__smsp" "hadd" "_x2"), 0.5 * op!("derived__smsp" "hmul" "_x2"),
        0.5 * op!("derived__smsp" "hfma" "_x4"); Factor::Cycles),
    arithmetic!(Fp16, "smsp", "hadd" "hmul" "hfma", ".sum.per_second", 1.0 2.0, Factor::Time),

    arithmetic!(Fp16Packed, "sm", "hadd" "hmul" "hfma", ".sum", 2.0 4.0, Factor::One),
    arithmetic!(Fp16Packed, "smsp", "hadd" "hmul" "hfma", ".sum", 2.0 4.0, Factor::One),
    row!(Fp16Packed = 2.0 * combined!("sm" "hadd_hmul_hfma"), 2.0 * op!("sm" "hfma" ".sum"); Factor::One),
    row!(Fp16Packed = 2.0 * combined!("smsp" "hadd_hmul_hfma"), 2.0 * op!("smsp" "hfma" ".sum"); Factor::One),
    arithmetic!(Fp16Packed, "smsp", "hadd" "hmul" "hfma", ".sum.per_cycle_elapsed", 2.0 4.0, Factor::Cycles),
    arithmetic!(Fp16Packed, "sm", "hadd" "hmul" "hfma", ".sum.per_cycle_elapsed", 2.0 4.0, Factor::Cycles),
    row!(Fp16Packed = 2.0 * op!("smsp" "hadd" ".sum.per_cycle_elapsed"), 2.0 * op!("smsp" "hmul" ".sum.per_cycle_elapsed"),
        2.0 * op!("derived__smsp" "hfma" "_x2"); Factor::Cycles),
    row!(Fp16Packed = 1.0 * op!("derived__smsp" "hadd" "_x2"), 1.0 * op!("derived__smsp" "hmul" "_x2"),
        1.0 * op!("derived__smsp" "hfma" "_x4"); Factor::Cycles),
    arithmetic!(Fp16Packed, "smsp", "hadd" "hmul" "hfma", ".sum.per_second", 2.0 4.0, Factor::Time),

    row!(DramBytes = 1.0 * "dram__bytes.sum"; Factor::One),
    row!(DramBytes = 1.0 * "dram__bytes_read.sum", 1.0 * "dram__bytes_write.sum"; Factor::One),
    row!(DramBytes = 1.0 * "dram__bytes_op_read.sum", 1.0 * "dram__bytes_op_write.sum"; Factor::One),
    row!(DramBytes = 1.0 * "dram__read_bytes", 1.0 * "dram__write_bytes"; Factor::One),
    row!(DramBytes = 1.0 * "fbpa__dram_read_bytes.sum", 1.0 * "fbpa__dram_write_bytes.sum"; Factor::One),
    row!(DramBytes = 1.0 * "dram__bytes.sum.per_second"; Factor::Time),
    row!(DramBytes = 1.0 * "dram__bytes_read.sum.per_second", 1.0 * "dram__bytes_write.sum.per_second"; Factor::Time),
    row!(DramBytes = 32.0 * "dram__sectors.sum"; Factor::One),
    row!(DramBytes = 32.0 * "dram__sectors_read.sum", 32.0 * "dram__sectors_write.sum"; Factor::One),
    row!(DramBytes = 32.0 * "fbpa__dram_read_sectors.sum", 32.0 * "fbpa__dram_write_sectors.sum"; Factor::One),

    row!(L2Bytes = 1.0 * "lts__t_bytes.sum"; Factor::One),
    row!(L2Bytes = 32.0 * "lts__t_sectors.sum"; Factor::One),
    row!(L2Bytes = 1.0 * "derived__lts__lts2xbar_bytes.sum.per_second"; Factor::Time),
    row!(L2Bytes = 32.0 * "lts__lts2xbar_cycles_active.sum"; Factor::One),
    row!(L1Bytes = 1.0 * "l1tex__t_bytes.sum"; Factor::One),
    row!(L1Bytes = 1.0 * "derived__l1tex__lsu_writeback_bytes_mem_lg.sum.per_second"; Factor::Time),
    row!(L1Bytes = 128.0 * "l1tex__lsu_writeback_active_mem_lgds.sum"; Factor::One),
    row!(L1Bytes = 128.0 * "l1tex__lsu_writeback_active_mem_lg.sum"; Factor::One),
    row!(L1Bytes = 128.0 * "l1tex__lsu_writeback_active.sum"; Factor::One),

    row!(DramPercent = 1.0 * "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed"; Factor::One),
    row!(DramPercent = 1.0 * "dram__throughput.avg.pct_of_peak_sustained_elapsed"; Factor::One),
    row!(SmPercent = 1.0 * "sm__throughput.avg.pct_of_peak_sustained_elapsed"; Factor::One),

    row!(CeilingFp64 = 2.0 * op!("sm" "dfma" ".sum.peak_sustained"); Factor::Times(CLOCKS[1])),
    row!(CeilingFp64 = 1.0 * op!("derived__sm" "dfma" "_x2"); Factor::Times(CLOCKS[1])),
    row!(CeilingFp32 = 2.0 * op!("sm" "ffma" ".sum.peak_sustained"); Factor::Times(CLOCKS[1])),
    row!(CeilingFp32 = 1.0 * op!("derived__sm" "ffma" "_x2"); Factor::Times(CLOCKS[1])),
    row!(CeilingFp16 = 4.0 * op!("sm" "hfma" ".sum.peak_sustained"); Factor::Times(CLOCKS[1])),
    row!(CeilingFp16 = 1.0 * op!("derived__sm" "hfma" "_x4"); Factor::Times(CLOCKS[1])),
    row!(CeilingFp16 = 2.0 * op!("derived__sm" "hfma" "_x2"); Factor::Times(CLOCKS[1])),
    row!(CeilingDram = 1.0 * "dram__bytes.sum.peak_sustained"; Factor::Times("dram__cycles_elapsed.avg.per_second")),
    row!(CeilingL2 = 1.0 * "lts__t_bytes.sum.peak_sustained"; Factor::Times("lts__cycles_elapsed.avg.per_second")),
    row!(CeilingL2 = 1.0 * "derived__lts__lts2xbar_bytes.sum.peak_sustained"; Factor::Times("lts__cycles_elapsed.avg.per_second")),
    row!(CeilingL1 = 1.0 * "l1tex__t_bytes.sum.peak_sustained"; Factor::Times("l1tex__cycles_elapsed.avg.per_second")),
    row!(CeilingL1 = 1.0 * "derived__l1tex__lsu_writeback_bytes_mem_lg.sum.peak_sustained"; Factor::Times("l1tex__cycles_elapsed.avg.per_second")),
];

/// The rows of a quantity.
pub(super) fn formulas(quantity: Quantity) -> &'static [Formula] {
    static RANGES: OnceLock<Vec<(Quantity, Range<usize>)>> = OnceLock::new();
    let ranges = RANGES.get_or_init(|| {
        let mut start = 0;
        let groups = FORMULAS.chunk_by(|a, b| a.quantity == b.quantity);
        groups
            .map(|group| {
                let range = start..start + group.len();
                start = range.end;
                (group[0].quantity, range)
            })
            .collect()
    });
    let range = ranges.iter().find(|(q, _)| *q == quantity).map(|(_, range)| range.clone());
    &FORMULAS[range.unwrap_or_default()]
}

/// Metrics that no formula has and that are needed all the same.
const ATTRIBUTES: &[&str] = &[
    "device__attribute_display_name",
    "device__attribute_compute_capability_major",
    "device__attribute_compute_capability_minor",
];

/// Whether a metric of this name matters.
pub(super) fn is_needed(metric: &str) -> bool {
    static NAMES: OnceLock<HashSet<&'static str>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let factors = FORMULAS.iter().filter_map(|f| match f.factor {
            Factor::Times(metric) | Factor::Per(metric) => Some(metric),
            _ => None,
        });
        let terms = FORMULAS.iter().flat_map(|f| f.terms).map(|(_, metric)| *metric);
        let others = [CYCLES, CLOCKS, ATTRIBUTES, &resources::METRICS].into_iter().flatten().copied();
        terms.chain(factors).chain(others).collect()
    });
    names.contains(metric) || tensor::is_needed(metric)
}

/// Whether a metric says the grid or the block, which matters where no column does: each dimension, or all in one.
pub(super) fn is_extent(metric: &str) -> bool {
    let known = |part: &str| matches!(part, "dim_x" | "dim_y" | "dim_z" | "size");
    let of = |what: &str| metric.strip_prefix(what).is_some_and(known);
    of("launch__grid_") || of("launch__block_")
}

/// The needed metric that a row stands for, or `None`; `extents` where no column says the grid and the block.
pub(super) fn needed<'a>(section: &str, body: &str, name: &'a str, extents: bool) -> Option<&'a str> {
    let metric = labels::metric_of(section, body, name);
    (is_needed(metric) || (extents && is_extent(metric))).then_some(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quantity_has_a_row_and_every_row_its_terms() {
        assert!(FORMULAS.iter().all(|f| !f.terms.is_empty()));
        for name in ["gpu__time_duration.sum", "dram__bytes.sum", "sm__ops_path_tensor_src_fp16.sum"] {
            assert!(is_needed(name), "{name}");
        }
        assert!(!is_needed("sm__warps_active.avg"));
    }

    #[test]
    fn the_rows_of_a_quantity_stand_together() {
        for formula in FORMULAS {
            let rows = formulas(formula.quantity);
            assert!(rows.iter().all(|f| f.quantity == formula.quantity));
            assert_eq!(rows.len(), FORMULAS.iter().filter(|f| f.quantity == formula.quantity).count());
        }
    }

    #[test]
    fn packed_halves_weigh_twice_the_plain_ones() {
        let terms = |quantity| formulas(quantity).iter().map(|f| f.terms).collect::<Vec<_>>();
        for (plain, packed) in terms(Quantity::Fp16).iter().zip(terms(Quantity::Fp16Packed)) {
            for ((w, name), (w2, name2)) in plain.iter().zip(packed) {
                assert_eq!((2.0 * w, name), (*w2, name2));
            }
        }
    }
}
