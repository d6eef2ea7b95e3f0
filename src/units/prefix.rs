//! The one table of prefixes, and what reads and writes numbers with them.

use std::fmt;

/// Decimal prefixes, largest first (SI brochure, 9th edition, table 7).
const SI: [(&str, f64); 9] = [
    ("P", 1e15),
    ("T", 1e12),
    ("G", 1e9),
    ("M", 1e6),
    ("k", 1e3),
    ("", 1.0),
    ("m", 1e-3),
    ("µ", 1e-6),
    ("n", 1e-9),
];

/// Binary prefixes, largest first (IEC 80000-13).
const IEC: [(&str, f64); 6] = [
    ("Pi", 1024.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0),
    ("Ti", 1024.0 * 1024.0 * 1024.0 * 1024.0),
    ("Gi", 1024.0 * 1024.0 * 1024.0),
    ("Mi", 1024.0 * 1024.0),
    ("Ki", 1024.0),
    ("", 1.0),
];

/// Why a text is not a quantity of the unit asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a quantity in {unit} (a number, a prefix from n to P or Ki to Pi, then {unit})")]
pub struct ParseQuantityError {
    /// The text as given.
    pub text: String,
    /// The unit that was expected.
    pub unit: &'static str,
}

/// Writes `value` with three significant digits and the decimal prefix that suits it.
///
/// Infinite and NaN values are written as such; zero has no prefix.
pub fn format_si(value: f64, unit: &str) -> String {
    with_prefix(value, unit, &SI)
}

/// Writes `value` with three significant digits and the binary prefix that suits it (`KiB` = 1024 bytes).
pub fn format_iec(value: f64, unit: &str) -> String {
    with_prefix(value, unit, &IEC)
}

fn with_prefix(value: f64, unit: &str, table: &[(&'static str, f64)]) -> String {
    let (prefix, factor) = choose(value, table);
    format!("{} {prefix}{unit}", three_digits(value / factor))
}

fn choose(value: f64, table: &[(&'static str, f64)]) -> (&'static str, f64) {
    // 0.9995 and more rounds to 1.00 of the larger prefix: without this, 999.7 MB prints as "1000 MB".
    let magnitude = value.abs() * 1.000_5;
    if value == 0.0 || !value.is_finite() {
        return ("", 1.0);
    }
    *table.iter().find(|(_, factor)| magnitude >= *factor).unwrap_or(&table[table.len() - 1])
}

/// Three significant digits, without an exponent for values that a prefix has brought near 1.
fn three_digits(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() {
        return value.to_string();
    }
    let decimals = match magnitude {
        m if m >= 99.95 => 0,
        m if m >= 9.995 => 1,
        m if m >= 0.9995 || m == 0.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// Reads `text` as a number with an optional prefix and `unit` in base units; the unit itself may be left out.
pub(super) fn parse(text: &str, unit: &'static str) -> Result<f64, ParseQuantityError> {
    let error = || ParseQuantityError { text: text.to_string(), unit };
    let trimmed = text.trim();
    let split = trimmed
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | 'e' | 'E')))
        .unwrap_or(trimmed.len());
    let number: f64 = trimmed[..split].parse().map_err(|_| error())?;
    let rest = trimmed[split..].trim();
    let prefix = rest.strip_suffix(unit).unwrap_or(rest).trim();
    let prefix = if prefix == "u" { "µ" } else { prefix };
    let prefix = if prefix == "K" { "k" } else { prefix };
    SI.iter()
        .chain(IEC.iter())
        .find(|(name, _)| *name == prefix)
        .map(|(_, factor)| number * factor)
        .ok_or_else(error)
}

/// One prefix for a whole column or axis, chosen by a typical value.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The prefixed unit for the header, e.g. `GB/s`.
    pub unit: String,
    /// What one of that unit is in base units.
    pub factor: f64,
}

impl Scale {
    /// Chooses the decimal prefix for the median magnitude of `values`; zeros and non-finite values have no say.
    pub fn for_values(values: impl IntoIterator<Item = f64>, unit: &str) -> Self {
        Self::from_table(values, unit, &SI)
    }

    /// Chooses the binary prefix (`MiB`) for the median magnitude of `values`.
    pub fn iec_for_values(values: impl IntoIterator<Item = f64>, unit: &str) -> Self {
        Self::from_table(values, unit, &IEC)
    }

    fn from_table(values: impl IntoIterator<Item = f64>, unit: &str, table: &[(&'static str, f64)]) -> Self {
        let mut magnitudes: Vec<f64> =
            values.into_iter().map(f64::abs).filter(|v| v.is_finite() && *v > 0.0).collect();
        magnitudes.sort_by(f64::total_cmp);
        let typical = magnitudes.get(magnitudes.len() / 2).copied().unwrap_or(1.0);
        let (prefix, factor) = choose(typical, table);
        Self { unit: format!("{prefix}{unit}"), factor }
    }

    /// The value in this scale's unit.
    pub fn apply(&self, value: f64) -> f64 {
        value / self.factor
    }

    /// The value in this scale's unit with three significant digits, without the unit.
    pub fn format(&self, value: f64) -> String {
        three_digits(self.apply(value))
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prefix_is_a_thousand_times_the_next() {
        for pair in SI.windows(2) {
            let ratio = pair[0].1 / pair[1].1;
            assert!((ratio - 1000.0).abs() < 1e-6, "{} / {}", pair[0].0, pair[1].0);
        }
        for pair in IEC.windows(2) {
            assert_eq!(pair[0].1 / pair[1].1, 1024.0, "{}", pair[0].0);
        }
    }

    #[test]
    fn a_value_just_under_a_prefix_rounds_into_it() {
        assert_eq!(format_si(999.7e6, "B"), "1.00 GB");
        assert_eq!(format_si(999.4e6, "B"), "999 MB");
    }

    #[test]
    fn zero_and_non_finite_values_are_written_plainly() {
        assert_eq!(format_si(0.0, "B"), "0.00 B");
        assert_eq!(format_si(f64::INFINITY, "B"), "inf B");
    }

    #[test]
    fn a_scale_is_chosen_by_the_median_and_ignores_zeros() {
        let scale = Scale::for_values([0.0, 1.2e9, 3.4e9, 900.0], "B/s");
        assert_eq!(scale.unit, "GB/s");
        assert_eq!(scale.format(3.4e9), "3.40");
    }
}
