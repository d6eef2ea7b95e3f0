//! The unit grammar of exports: `prefix + base [ / prefix + base ]`, decimal prefixes, read into base units.

/// What a metric's unit must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dimension {
    /// Seconds.
    Time,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    ByteRate,
    /// Bytes per cycle.
    BytesPerCycle,
    /// Bytes of a block of threads.
    BytesPerBlock,
    /// Cycles per second.
    Frequency,
    /// Counts of anything but bytes, plain, per cycle or per second: never scaled.
    Count,
    /// Counts per second.
    CountRate,
    /// A percentage.
    Percent,
}

/// How a unit turns into base units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading {
    /// Multiply by this.
    Factor(f64),
    /// The unit cell is empty: base units are assumed.
    Assumed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Second,
    Byte,
    Cycle,
    Hertz,
    Count,
    Percent,
}

/// Prefixes that ncu writes, decimal in every case: 1 Kbyte is 1000 byte.
const PREFIXES: [(&str, f64); 7] =
    [("n", 1e-9), ("u", 1e-6), ("m", 1e-3), ("K", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)];

/// Words for things counted.
const COUNTS: &[&str] = &[
    "inst",
    "sector",
    "request",
    "warp",
    "thread",
    "block",
    "cluster",
    "pass",
    "SM",
    "register",
    "issue",
    "op",
    "instruction",
    "wavefront",
    "operation",
    "FLOP",
    "flop",
    "ops",
];

/// What each dimension may be written as, for the message about one that is none of these.
pub(super) fn known(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Time => "ns, us, ms, s, nsecond, usecond, msecond, second",
        Dimension::Bytes => "byte, Kbyte, Mbyte, Gbyte, Tbyte",
        Dimension::ByteRate => "byte/s, Kbyte/s, Mbyte/s, Gbyte/s, Tbyte/s, byte/second ... Tbyte/second",
        Dimension::BytesPerCycle => "byte/cycle, Kbyte/cycle",
        Dimension::BytesPerBlock => "byte/block, Kbyte/block",
        Dimension::Frequency => "hz, Khz, Mhz, Ghz, cycle/second, cycle/usecond, cycle/nsecond",
        Dimension::Count => "inst, thread, sector, cycle, inst/cycle, none",
        Dimension::CountRate => "1/second as a bare time unit, inst/second, inst/nsecond, none",
        Dimension::Percent => "%",
    }
}

fn base(word: &str) -> Option<(Base, f64)> {
    let singular = word.strip_suffix('s').filter(|w| w.len() > 1).unwrap_or(word);
    if word == "%" {
        return Some((Base::Percent, 1.0));
    }
    if word == "cycle" || singular == "cycle" {
        return Some((Base::Cycle, 1.0));
    }
    if COUNTS.contains(&word) || COUNTS.contains(&singular) {
        return Some((Base::Count, 1.0));
    }
    let stems: [(&str, Base); 7] = [
        ("second", Base::Second),
        ("s", Base::Second),
        ("byte", Base::Byte),
        ("bytes", Base::Byte),
        ("hz", Base::Hertz),
        ("Hz", Base::Hertz),
        ("seconds", Base::Second),
    ];
    stems.iter().find_map(|(stem, base)| {
        let prefix = word.strip_suffix(stem)?;
        let factor = if prefix.is_empty() {
            Some(1.0)
        } else {
            PREFIXES.iter().find(|(p, _)| *p == prefix).map(|(_, factor)| *factor)
        };
        factor.map(|f| (*base, f))
    })
}

/// How a value with `unit` is read as `dimension`; `None` when the unit is unknown or measures something else.
pub(super) fn reading(unit: &str, dimension: Dimension) -> Option<Reading> {
    let unit = unit.trim();
    if unit.is_empty() {
        return Some(match dimension {
            Dimension::Count | Dimension::CountRate | Dimension::Percent => Reading::Factor(1.0),
            _ => Reading::Assumed,
        });
    }
    let (numerator, denominator) = match unit.split_once('/') {
        Some((over, under)) => (base(over)?, Some(base(under)?)),
        None => (base(unit)?, None),
    };
    factor(dimension, numerator, denominator).map(Reading::Factor)
}

fn factor(dimension: Dimension, over: (Base, f64), under: Option<(Base, f64)>) -> Option<f64> {
    let per = under.map(|(base, _)| base);
    let ratio = over.1 / under.map_or(1.0, |(_, f)| f);
    let fits = match (dimension, over.0, per) {
        (Dimension::Time, Base::Second, None)
        | (Dimension::Bytes, Base::Byte, None)
        // Derived metrics keep their numerator's unit: `Gbyte` for a rate in Gbyte/s.
        | (Dimension::ByteRate, Base::Byte, Some(Base::Second) | None)
        | (Dimension::BytesPerCycle, Base::Byte, Some(Base::Cycle) | None)
        | (Dimension::BytesPerBlock, Base::Byte, Some(Base::Count) | None)
        | (Dimension::Frequency, Base::Cycle, Some(Base::Second))
        | (Dimension::Frequency, Base::Hertz, None)
        | (Dimension::Count, Base::Count | Base::Cycle, None | Some(Base::Cycle | Base::Count))
        | (Dimension::CountRate, Base::Count, None | Some(Base::Second))
        | (Dimension::Percent, Base::Percent, _) => true,
        // The rate of something without a unit prints its bare time unit: `nsecond` means 1/nsecond.
        (Dimension::CountRate, Base::Second, None) => return Some(1.0 / over.1),
        _ => false,
    };
    fits.then_some(ratio)
}

/// What a metric measures, told by its name: the suffix decides before the stem.
pub(super) fn dimension_of(metric: &str) -> Dimension {
    let bytes = metric.contains("bytes");
    if metric.contains(".pct") || metric.ends_with("_pct") {
        Dimension::Percent
    } else if metric.ends_with(".per_second") {
        match (bytes, metric.contains("cycles_")) {
            (true, _) => Dimension::ByteRate,
            (_, true) => Dimension::Frequency,
            _ => Dimension::CountRate,
        }
    } else if metric.contains(".peak_sustained") || metric.contains(".per_cycle") {
        if bytes { Dimension::BytesPerCycle } else { Dimension::Count }
    } else if metric.starts_with("gpu__time") {
        Dimension::Time
    } else if metric.starts_with("launch__shared_mem") {
        Dimension::BytesPerBlock
    } else if bytes {
        Dimension::Bytes
    } else {
        Dimension::Count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor_of(unit: &str, dimension: Dimension) -> f64 {
        match reading(unit, dimension) {
            Some(Reading::Factor(f)) => f,
            other => panic!("{unit} as {dimension:?}: {other:?}"),
        }
    }

    #[test]
    fn prefixes_are_decimal_and_spellings_agree() {
        for (unit, factor) in [("ns", 1e-9), ("nsecond", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("second", 1.0)] {
            assert_eq!(factor_of(unit, Dimension::Time), factor, "{unit}");
        }
        for (unit, factor) in
            [("byte", 1.0), ("bytes", 1.0), ("Kbyte", 1e3), ("Gbytes", 1e9), ("Tbyte", 1e12)]
        {
            assert_eq!(factor_of(unit, Dimension::Bytes), factor, "{unit}");
        }
        for (unit, factor) in
            [("hz", 1.0), ("Ghz", 1e9), ("cycle/second", 1.0), ("cycle/nsecond", 1e9), ("cycle/usecond", 1e6)]
        {
            assert!((factor_of(unit, Dimension::Frequency) / factor - 1.0).abs() < 1e-12, "{unit}");
        }
        assert_eq!(factor_of("Gbyte/s", Dimension::ByteRate), 1e9);
        assert_eq!(factor_of("Gbyte", Dimension::ByteRate), 1e9);
        assert_eq!(factor_of("Kbyte/cycle", Dimension::BytesPerCycle), 1e3);
        assert_eq!(factor_of("Kbyte/block", Dimension::BytesPerBlock), 1e3);
        assert_eq!(factor_of("register/thread", Dimension::Count), 1.0);
        assert_eq!(factor_of("inst/cycle", Dimension::Count), 1.0);
    }

    #[test]
    fn a_bare_time_unit_of_a_count_rate_is_inverted() {
        assert!((factor_of("nsecond", Dimension::CountRate) - 1e9).abs() < 1.0);
    }

    #[test]
    fn an_unknown_or_unfit_unit_is_refused_and_an_empty_one_assumed() {
        assert_eq!(reading("Qbyte", Dimension::Bytes), None);
        assert_eq!(reading("inst", Dimension::Time), None);
        assert_eq!(reading("byte/s", Dimension::Bytes), None);
        assert_eq!(reading("", Dimension::Time), Some(Reading::Assumed));
        assert_eq!(reading("", Dimension::Count), Some(Reading::Factor(1.0)));
    }

    #[test]
    fn a_name_tells_its_dimension() {
        for (metric, dimension) in [
            ("gpu__time_duration.sum", Dimension::Time),
            ("dram__bytes_read.sum", Dimension::Bytes),
            ("dram__bytes.sum.per_second", Dimension::ByteRate),
            ("dram__bytes.sum.peak_sustained", Dimension::BytesPerCycle),
            ("launch__shared_mem_per_block_static", Dimension::BytesPerBlock),
            ("launch__registers_per_thread", Dimension::Count),
            ("sm__cycles_elapsed.avg.per_second", Dimension::Frequency),
            ("sm__cycles_elapsed.avg", Dimension::Count),
            ("gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed", Dimension::Percent),
            ("sm__ops_path_tensor_src_fp16.sum.per_second", Dimension::CountRate),
            ("smsp__sass_thread_inst_executed_op_ffma_pred_on.sum.per_cycle_elapsed", Dimension::Count),
        ] {
            assert_eq!(dimension_of(metric), dimension, "{metric}");
        }
    }
}
