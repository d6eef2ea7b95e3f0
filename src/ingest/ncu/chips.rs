//! NVIDIA's chips as data: which metrics say all FLOPs and bytes of each. `chips.toml` says what a row is.

use crate::profile::ComputeCapability;
use serde::Deserialize;
use std::sync::OnceLock;

const ROWS: &str = include_str!("chips.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChipsFile {
    chip: Vec<Chip>,
}

/// A family of chips that are counted alike.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chip {
    /// The first compute capability that it is of.
    #[serde(deserialize_with = "capability")]
    pub capability: ComputeCapability,
    /// What the profiler calls them, in small letters.
    pub chips: Vec<String>,
    /// Floating-point operand types of its matrix units, in `sm__ops_path_tensor_src_<type>.sum`.
    pub tensor: Vec<String>,
    /// Whether traffic with DRAM is counted; integrated GPUs have no such counters.
    #[serde(default = "yes")]
    pub dram: bool,
    /// The first Nsight Compute that knows it, `year.release`.
    pub ncu: String,
}

fn yes() -> bool {
    true
}

fn capability<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ComputeCapability, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_capability(&text)
        .ok_or_else(|| serde::de::Error::custom(format!("'{text}' is no capability such as 9.0")))
}

/// Reads `9.0`; `None` for anything else.
pub fn parse_capability(text: &str) -> Option<ComputeCapability> {
    let (major, minor) = text.trim().split_once('.')?;
    Some(ComputeCapability { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

/// Every row, oldest first.
pub fn chips() -> &'static [Chip] {
    static CHIPS: OnceLock<Vec<Chip>> = OnceLock::new();
    // OK because a test reads them; without them nothing is claimed.
    CHIPS.get_or_init(|| toml::from_str(ROWS).map(|file: ChipsFile| file.chip).unwrap_or_default())
}

/// The newest row that is not newer than `capability`; the first of all for older chips.
pub fn chip_of(capability: ComputeCapability) -> Option<&'static Chip> {
    let rows = chips();
    rows.iter().rev().find(|row| row.capability <= capability).or(rows.first())
}

/// The row that has a chip by the profiler's name, e.g. `gh100`.
pub fn chip_named(name: &str) -> Option<&'static Chip> {
    chips().iter().find(|row| row.chips.iter().any(|c| c.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_and_each_counts_what_is_not_an_integer() {
        assert!(chips().len() > 10, "{ROWS}");
        assert!(chips().windows(2).all(|w| w[0].capability < w[1].capability));
        for chip in chips() {
            assert!(!chip.tensor.is_empty() && chip.tensor.iter().all(|t| !t.contains("int")), "{chip:?}");
            let year: u32 = chip.ncu.split('.').next().unwrap().parse().unwrap();
            assert!((2019..2030).contains(&year));
        }
    }

    #[test]
    fn a_chip_is_found_by_capability_or_name() {
        let of = |text| chip_of(parse_capability(text).unwrap()).unwrap();
        assert_eq!(of("9.0"), chip_named("GH100").unwrap());
        assert_eq!(of("8.8").chips[0], "ga10b");
        assert_eq!(of("13.0"), of("12.1"));
        assert_eq!(of("6.1").chips[0], "gv100");
        assert!(!of("12.1").dram && of("12.0").dram);
        assert!(chip_named("gh101").is_none() && parse_capability("9").is_none());
    }
}
