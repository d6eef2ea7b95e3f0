//! Which version, stage and phase launched a kernel: told by NVTX ranges, or by the file's name.
//!
//! kprof marks its passes `kprof/<version>/<stage>/.../<phase>`, and any of the parts may be a range of its own.

use crate::llm::{Phase, Stage};
use std::path::Path;

/// What is known about where a launch came from.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Attribution {
    pub(super) version: Option<String>,
    pub(super) stage: Option<Stage>,
    pub(super) phase: Option<Phase>,
}

/// How many fields follow the name of a range: payload type and value, colour type and value, message type and
/// message.
const RANGE_FIELDS: usize = 6;

/// The range names in a cell, outermost first.
///
/// A cell holds the thread's ID and each range in quotes, `<domain>:name:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg`;
/// summaries leave out the domain.
pub(super) fn range_names(cell: &str) -> Vec<String> {
    if !cell.contains('"') {
        let name = range_name(cell.trim());
        return if name.is_empty() { Vec::new() } else { vec![name] };
    }
    cell.split('"').skip(1).step_by(2).map(range_name).filter(|n| !n.is_empty()).collect()
}

fn range_name(range: &str) -> String {
    let mut fields: Vec<&str> = range.split(':').collect();
    let domain = |field: &str| field.starts_with('<') && field.ends_with('>');
    if fields.len() > RANGE_FIELDS {
        fields.truncate(fields.len() - RANGE_FIELDS);
    }
    // The first field is a domain unless it is the only one, or the name itself begins there.
    if fields.len() > 1 && (domain(fields[0]) || !fields[0].contains('/')) {
        fields.remove(0);
    }
    fields.join(":").trim().to_string()
}

/// What the ranges around a launch say; an inner one overrides an outer.
pub(super) fn from_ranges(ranges: &[String]) -> Attribution {
    let mut out = Attribution::default();
    for range in ranges {
        if let Some(rest) = range.strip_prefix("kprof/") {
            read_path(rest, &mut out);
        }
    }
    out
}

/// `v1/decode/layer 3/attention`.
fn read_path(path: &str, out: &mut Attribution) {
    for (index, part) in path.split('/').enumerate() {
        if let Some(stage) = stage_named(part) {
            out.stage = Some(stage);
        } else if let Some(phase) = Phase::ALL.into_iter().find(|p| p.name() == part) {
            out.phase = Some(phase);
        } else if index == 0 && !part.is_empty() {
            out.version = Some(part.to_string());
        }
    }
}

/// `kprof/v1/decode/attention/foo`: a kernel renamed by `--print-nvtx-rename`.
pub(super) fn from_kernel_name(kernel: &str) -> Attribution {
    let ranges = kernel.rsplit_once('/').map(|(range, _)| range.to_string());
    from_ranges(ranges.as_slice())
}

/// `v1_decode.csv` and `v0_prefill_2.csv`, as the reference system names its exports.
pub(super) fn from_file_name(file: &str) -> Attribution {
    let stem = Path::new(file).file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let mut parts = stem.split(['_', '-']);
    let version = parts.next().filter(|v| {
        v.strip_prefix('v').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    let stage = parts.next().and_then(stage_named);
    match (version, stage) {
        (Some(version), Some(stage)) => {
            Attribution { version: Some(version.to_string()), stage: Some(stage), phase: None }
        }
        _ => Attribution::default(),
    }
}

fn stage_named(name: &str) -> Option<Stage> {
    Stage::ALL.into_iter().find(|s| s.name() == name)
}

impl Attribution {
    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_out_of_their_cell_in_order() {
        let cell = "1186047  \"<default domain>:kprof/v1/decode:none:none:none:none:none:none\"  \
                    \"<default domain>:layer: 3:none:none:RGB:0xff00ff00:ASCII:layer\" ";
        assert_eq!(range_names(cell), ["kprof/v1/decode", "layer: 3"]);
        let summary = " \"run_test:none:none:RGB:0xff00ff00:ASCII:run_test\" ";
        assert_eq!(range_names(summary), ["run_test"]);
        assert!(range_names("").is_empty());
    }

    #[test]
    fn a_range_path_names_version_stage_and_phase() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let at = from_ranges(&names(&["kprof/v1/decode/layer 3/attention"]));
        assert_eq!(at.version.as_deref(), Some("v1"));
        assert_eq!((at.stage, at.phase), (Some(Stage::Decode), Some(Phase::Attention)));
        let nested = from_ranges(&names(&["kprof/v2/prefill", "kprof/v2/prefill/mlp"]));
        assert_eq!((nested.stage, nested.phase), (Some(Stage::Prefill), Some(Phase::Mlp)));
        assert!(from_ranges(&names(&["other/v1/decode"])).is_empty());
        assert_eq!(from_kernel_name("kprof/v1/decode/mlp/gemm").phase, Some(Phase::Mlp));
    }

    #[test]
    fn a_file_name_counts_only_in_the_known_form() {
        let at = from_file_name("runs/v1_decode_ncu.csv");
        assert_eq!((at.version.as_deref(), at.stage), (Some("v1"), Some(Stage::Decode)));
        assert_eq!(from_file_name("v0_prefill.csv").stage, Some(Stage::Prefill));
        assert!(from_file_name("native_v0_raw.csv").is_empty());
        assert!(from_file_name("v2_raw.csv").is_empty());
    }
}
