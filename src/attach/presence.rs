//! Whether this process is being profiled, told by what profilers leave in its environment.
//!
//! A profiler costs time, so whatever is timed under one is marked. It also sees no kernel inside a CUDA graph unless
//! asked to: a backend that captures graphs asks [`Presence::of_process`] first, and runs eagerly if anything is there.

/// A variable that a profiler sets in the programs that it starts, what its value has in it, and who that is.
struct Trace {
    variable: &'static str,
    part: &'static str,
    tool: &'static str,
}

const fn trace(variable: &'static str, part: &'static str, tool: &'static str) -> Trace {
    Trace { variable, part, tool }
}

const NCU: &str = "Nsight Compute";
const NSYS: &str = "Nsight Systems";
const ROCPROF: &str = "rocprof";

/// As seen in the programs that the profilers start: ncu 2022.3, nsys 2022.4; rocprofv3's documentation.
const TRACES: &[Trace] = &[
    trace("NV_TPS_LAUNCH_TOKEN", "", NCU),
    trace("NV_NSIGHT_INJECTION_TRANSPORT_TYPE", "", NCU),
    trace("LD_PRELOAD", "nsight-compute", NCU),
    trace("NVTX_INJECTION64_PATH", "nsight-compute", NCU),
    trace("NSYS_PROFILING_SESSION_ID", "", NSYS),
    trace("QUADD_INJECTION_PROXY", "", NSYS),
    trace("LD_PRELOAD", "libToolsInjection", NSYS),
    trace("NVTX_INJECTION64_PATH", "nsight-systems", NSYS),
    trace("ROCP_TOOL_LIBRARIES", "", ROCPROF),
    trace("HSA_TOOLS_LIB", "", ROCPROF),
    trace("LD_PRELOAD", "rocprofiler", ROCPROF),
    trace("LD_PRELOAD", "compute-sanitizer", "compute-sanitizer"),
    trace("CUDA_INJECTION64_PATH", "", "a CUDA tool (CUDA_INJECTION64_PATH)"),
    trace("NVTX_INJECTION64_PATH", "", "an NVTX tool (NVTX_INJECTION64_PATH)"),
];

/// Who is profiling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// The profiler, as far as it can be told.
    pub tool: Option<String>,
}

impl Presence {
    /// Of this process.
    pub fn of_process() -> Self {
        Self::of(|name| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned()))
    }

    /// Of a process with these variables: the first trace that is known names the tool.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_there = |t: &&Trace| variable(t.variable).is_some_and(|v| !v.is_empty() && v.contains(t.part));
        Self { tool: TRACES.iter().find(is_there).map(|t| t.tool.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(variables: &[(&str, &str)]) -> Option<String> {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        Presence::of(find).tool
    }

    #[test]
    fn each_profiler_is_known_by_what_it_leaves() {
        assert_eq!(tool(&[]), None);
        assert_eq!(tool(&[("LD_PRELOAD", "/usr/lib/libjemalloc.so"), ("NVTX_INJECTION64_PATH", "")]), None);
        assert_eq!(tool(&[("NV_TPS_LAUNCH_TOKEN", "1")]).as_deref(), Some(NCU));
        let nsys = ("LD_PRELOAD", "/opt/nsight-systems/target-linux-x64/libToolsInjectionProxy64.so");
        assert_eq!(tool(&[nsys]).as_deref(), Some(NSYS));
        // ncu sets both; the more telling one comes first.
        let both = [("NVTX_INJECTION64_PATH", "/opt/ncu/libcuda-injection.so"), ("NV_TPS_LAUNCH_TOKEN", "1")];
        assert_eq!(tool(&both).as_deref(), Some(NCU));
        assert!(tool(&both[..1]).unwrap().contains("NVTX tool"));
    }
}
