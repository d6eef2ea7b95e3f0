//! Finding the device that a flag names.

use crate::exit::usage;
use kprof::hw::{self, DeviceMatch, DeviceSpec};
use kprof::profile::{Finding, FindingCode};
use kprof::render::plot::ChartOptions;
use std::path::Path;

/// The device called `name`, or the one described in `file`.
pub(crate) fn chosen(name: Option<&str>, file: Option<&Path>) -> anyhow::Result<Option<DeviceSpec>> {
    Ok(match (name, file) {
        (Some(name), _) => Some(named(name)?.clone()),
        (None, Some(file)) => Some(hw::read_device_spec(file)?),
        (None, None) => None,
    })
}

/// The known device called `name`; a mistake lists the known ones, nearest first.
pub(crate) fn named(name: &str) -> anyhow::Result<&'static DeviceSpec> {
    let quoted = |names: Vec<&str>| names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ");
    match hw::match_device(name) {
        DeviceMatch::Exact(spec) => Ok(spec),
        DeviceMatch::Ambiguous(specs) => {
            let which = quoted(specs.iter().map(|s| s.name.as_str()).collect());
            Err(usage(format!("device '{name}' could be any of: {which}")))
        }
        DeviceMatch::Unknown => {
            let known = quoted(nearest(name));
            Err(usage(format!(
                "unknown device '{name}'; known: {known}; or describe it with --device-spec FILE"
            )))
        }
    }
}

/// The known devices, those first that have a word like one of `name`: whole names differ mostly in length.
fn nearest(name: &str) -> Vec<&'static str> {
    let separator = |c: char| !c.is_alphanumeric();
    let distance = |device: &str| -> usize {
        let like = |word: &str| {
            let words = device.split(separator).map(str::to_lowercase);
            words.map(|w| strsim::damerau_levenshtein(&w, &word.to_lowercase())).min().unwrap_or(usize::MAX)
        };
        name.split(separator).filter(|word| !word.is_empty()).map(like).sum()
    };
    let mut names: Vec<&str> = hw::known_devices().iter().map(|s| s.name.as_str()).collect();
    names.sort_by_key(|n| distance(n));
    names
}

/// What a reader has to know of results that are held against the ceilings of `device` (`--sim`).
pub(crate) fn simulation(device: &str) -> Finding {
    let message = "SIMULATED: the ceilings are those of this device and the times were measured on another, so shares of \
                   a ceiling compare what this device could do with what the other one did";
    Finding::new(FindingCode::Simulated, device, message)
}

/// Says on a chart that its ceilings are those of `device`.
pub(crate) fn mark_simulated(options: &mut ChartOptions, device: &str) {
    let title = options.title.as_ref().map(|title| format!(": {title}")).unwrap_or_default();
    options.title = Some(format!("SIMULATED ceilings of {device}{title}"));
    options.footer = format!("SIMULATED · {}", options.footer);
}
