//! What the chip is, and which metrics the profiler offers for it.

use super::error::AttachError;
use super::find::Ncu;
use super::version::NcuVersion;
use crate::ingest::ncu::{Chip, chip_named, chip_of, chips, parse_capability};
use std::collections::HashSet;
use std::process::{Command, Stdio};

/// What can be asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offer {
    /// The chip's family; `None` when the chip is not known.
    pub chip: Option<&'static Chip>,
    /// What the chip is called in messages.
    pub name: Option<String>,
    /// The base names (without `.sum` and the like) that the profiler lists; `None` when it could not be asked.
    pub names: Option<HashSet<String>>,
}

impl Offer {
    /// Whether a metric is there, or may be as far as is known.
    pub fn may_have(&self, metric: &str) -> bool {
        // `breakdown:…`, `regex:…` and `group:…` are for ncu to expand.
        if metric.contains(':') {
            return true;
        }
        let base = metric.split('.').next().unwrap_or(metric);
        match (&self.names, self.chip) {
            // Names with a dot before the underscores are listed whole; launch and device attributes are not listed.
            (Some(names), _) => {
                names.contains(base)
                    || names.contains(metric)
                    || base.starts_with("launch__")
                    || base.starts_with("device__")
            }
            (None, Some(chip)) => chip.dram || !base.starts_with("dram__"),
            (None, None) => true,
        }
    }
}

/// The chip that the user named, by capability (`9.0`) or the profiler's name (`gh100`).
///
/// # Errors
/// When it is neither.
pub fn chip_from(text: &str) -> Result<&'static Chip, AttachError> {
    let found = parse_capability(text).and_then(chip_of).or_else(|| chip_named(text));
    found.ok_or_else(|| {
        let known: Vec<&str> = chips().iter().flat_map(|c| &c.chips).map(String::as_str).collect();
        AttachError::NoChip { name: text.to_string(), known: known.join(", ") }
    })
}

/// The chip of this machine's first GPU, as nvidia-smi says; `None` without it.
pub fn chip_of_machine() -> Option<&'static Chip> {
    let mut command = Command::new("nvidia-smi");
    command.args(["--query-gpu=compute_cap", "--format=csv,noheader"]).stdin(Stdio::null());
    let output = command.output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(parse_capability).and_then(chip_of)
}

/// Asks the profiler for its metrics, by the name of the chip where it is known, else for this machine's GPUs.
///
/// # Errors
/// When the profiler is too old for the chip.
pub fn ask(ncu: &Ncu, chip: Option<&'static Chip>) -> Result<Offer, AttachError> {
    let name = chip.and_then(|c| c.chips.first());
    let mut command = Command::new(&ncu.path);
    command.arg("--query-metrics").stdin(Stdio::null());
    if let Some(name) = name {
        command.args(["--chips", name]);
    }
    let Ok(output) = command.output() else { return Ok(Offer { chip, name: name.cloned(), names: None }) };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if let (Some(chip), Some(name)) = (chip, name)
        && [&output.stdout, &output.stderr]
            .iter()
            .any(|o| String::from_utf8_lossy(o).contains("Invalid chip"))
    {
        return Err(unknown(ncu.version, name, &chip.ncu));
    }
    let (heading, names) = listed(&text);
    let chip = chip.or_else(|| heading.as_deref().and_then(chip_named));
    let name =
        name.cloned().or(heading).or_else(|| chip.map(|c| format!("compute capability {}", c.capability)));
    Ok(Offer { chip, name, names: (!names.is_empty()).then_some(names) })
}

/// A chip that is too new for a version, or that later versions have dropped.
fn unknown(version: NcuVersion, chip: &str, first: &str) -> AttachError {
    let (chip, first) = (chip.to_string(), first.to_string());
    let was_known = NcuVersion::parse(&format!("Version {first}")).is_some_and(|first| first <= version);
    if was_known {
        AttachError::DroppedChip { version, chip, first }
    } else {
        AttachError::UnknownChip { version, chip, needed: first }
    }
}

/// The chip in the heading (`Chip gh100`, `Device NVIDIA H100 (GH100)`), and the names in the first column.
fn listed(text: &str) -> (Option<String>, HashSet<String>) {
    let heading = text.lines().find_map(|line| {
        let of_chip = line.strip_prefix("Chip ").map(str::trim);
        let of_device = || {
            line.strip_prefix("Device ")
                .and_then(|d| d.rsplit_once('('))
                .map(|(_, c)| c.trim_end().trim_end_matches(')'))
        };
        of_chip.or_else(of_device).map(str::to_lowercase)
    });
    let first = |line: &str| line.split_whitespace().next().filter(|w| w.contains("__")).map(str::to_string);
    (heading, text.lines().filter_map(first).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
Chip gh100
------------- ------- ----
Metric Name   Type    Unit
------------- ------- ----
FE_A.TriageCompute.gr__cycles_active   Counter  cycle  # of cycles
dram__bytes                            Counter  byte   # of bytes accessed in DRAM
sm__ops_path_tensor_src_fp16           Counter         # of ops
";

    #[test]
    fn a_list_gives_the_chip_and_the_base_names() {
        let (heading, names) = listed(LIST);
        assert_eq!(heading.as_deref(), Some("gh100"));
        assert_eq!(names.len(), 3);
        let offer = Offer { chip: chip_named("gh100"), name: heading, names: Some(names) };
        assert!(offer.may_have("dram__bytes.sum") && offer.may_have("dram__bytes.sum.peak_sustained"));
        assert!(!offer.may_have("dram__sectors.sum") && offer.may_have("regex:sm__.*"));
        assert!(offer.may_have("launch__registers_per_thread"));
        assert_eq!(listed("Device NVIDIA H100 80GB HBM3 (GH100)\n").0.as_deref(), Some("gh100"));
        assert_eq!(listed("==ERROR== x\n"), (None, HashSet::new()));
    }

    #[test]
    fn a_chip_that_is_refused_is_too_new_or_was_dropped() {
        let message = |version: &str| {
            let version = NcuVersion::parse(&format!("Version {version}")).unwrap();
            unknown(version, "gv100", "2022.3").to_string()
        };
        assert!(message("2022.2.0").contains("needs 2022.3 or newer"));
        assert!(message("2025.3.1").contains("no longer knows the chip gv100"), "{}", message("2025.3.1"));
    }

    #[test]
    fn without_a_list_the_row_of_the_chip_decides() {
        let offer = |name: &str| Offer { chip: Some(chip_from(name).unwrap()), ..Offer::default() };
        assert!(offer("9.0").may_have("dram__bytes.sum") && !offer("gb20b").may_have("dram__bytes.sum"));
        assert!(chip_from("h100").unwrap_err().to_string().contains("gh100"));
    }
}
