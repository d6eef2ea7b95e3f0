//! Which tables are known, and how their columns are found; `kinds.toml` says what a kind is.

use serde::Deserialize;
use std::sync::OnceLock;

const BUILTIN: &str = include_str!("kinds.toml");

/// What the rows of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rows {
    /// A kernel each, summed over its launches.
    Kernels,
    /// A launch or copy each.
    Launches,
    /// A kind of copy each, summed.
    Copies,
    /// The bytes of a kind of copy each.
    CopySizes,
    /// An NVTX range each.
    Ranges,
}

/// A known table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kind {
    pub(super) name: String,
    pub(super) format: String,
    pub(super) tool: String,
    pub(super) rows: Rows,
    required: Vec<String>,
    pub(super) rank: u32,
    pub(super) note: Option<String>,
}

#[derive(Debug, Deserialize)]
struct KindsFile {
    table: Vec<Kind>,
}

fn kinds() -> &'static [Kind] {
    static KINDS: OnceLock<Vec<Kind>> = OnceLock::new();
    // OK because a test reads them; without them no table is recognised.
    KINDS.get_or_init(|| toml::from_str::<KindsFile>(BUILTIN).map(|f| f.table).unwrap_or_default())
}

/// The kind of table whose header has these cells.
pub(super) fn kind_of<'a>(cells: impl Iterator<Item = &'a str> + Clone) -> Option<&'static Kind> {
    let has = |column: &String| cells.clone().any(|cell| bare(cell) == column);
    kinds().iter().find(|kind| kind.required.iter().all(has))
}

/// `Total Time (ns)` without its unit.
pub(super) fn bare(cell: &str) -> &str {
    let cell = cell.trim().trim_matches('"').trim_start_matches('\u{feff}');
    match cell.split_once(['(', '[']) {
        Some((name, rest)) if rest.ends_with([')', ']']) => name.trim(),
        _ => cell,
    }
}

/// The unit in parentheses: `ns` of `Total Time (ns)`.
pub(super) fn unit(cell: &str) -> Option<&str> {
    let (_, rest) = cell.trim().trim_matches('"').split_once('(')?;
    rest.strip_suffix(')')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(header: &str) -> Option<&'static str> {
        kind_of(header.split(',')).map(|k| k.name.as_str())
    }

    #[test]
    fn headers_of_real_tables_are_told_apart() {
        let parsed: KindsFile = toml::from_str(BUILTIN).unwrap();
        assert_eq!(parsed.table.len(), kinds().len());
        for (header, expected) in [
            (
                "Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name",
                "cuda_gpu_kern_sum",
            ),
            ("Time(%),Total Time (ns),Instances,Average,Minimum,Maximum,Name", "cuda_gpu_kern_sum"),
            (
                "Start (ns),Duration (ns),CorrId,GrdX,GrdY,GrdZ,BlkX,BlkY,BlkZ,Reg/Trd,StcSMem (MB),DymSMem (MB),Bytes (MB),Throughput (MB/s),SrcMemKd,DstMemKd,Device,Ctx,GreenCtx,Strm,Name",
                "cuda_gpu_trace",
            ),
            (
                "Time (%),Total Time (ns),Count,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Operation",
                "cuda_gpu_mem_time_sum",
            ),
            (
                "Total (MB),Count,Avg (MB),Med (MB),Min (MB),Max (MB),StdDev (MB),Operation",
                "cuda_gpu_mem_size_sum",
            ),
            (
                "\"Kind\",\"Agent_Id\",\"Queue_Id\",\"Kernel_Id\",\"Kernel_Name\",\"Correlation_Id\",\"Start_Timestamp\",\"End_Timestamp\"",
                "kernel_trace",
            ),
            ("\"Name\",\"Calls\",\"TotalDurationNs\",\"AverageNs\",\"Percentage\"", "kernel_stats"),
        ] {
            assert_eq!(name(header), Some(expected), "{header}");
        }
        // API calls, and Nsight Compute's own pages.
        assert_eq!(name("Time (%),Total Time (ns),Num Calls,Avg (ns),Name"), None);
        assert_eq!(name("\"ID\",\"Kernel Name\",\"Metric Name\",\"Metric Unit\",\"Metric Value\""), None);
    }
}
