//! Which launches an analysis keeps: by name, by NVTX range, by share of time.

use super::point::Point;
use crate::profile::short_name;
use regex::Regex;

/// What to keep; everything by default.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Kernels whose whole or shortened name this matches.
    pub kernel: Option<Regex>,
    /// Launches inside a range whose path begins so: `kprof/v1/decode`.
    pub nvtx: Option<String>,
    /// Points with at least this part of their file's time, from 0 to 1; those without a share are kept.
    pub min_share: f64,
}

impl Selection {
    /// Whether a name is one of those to keep.
    pub fn matches(&self, name: &str) -> bool {
        self.kernel.as_ref().is_none_or(|r| r.is_match(name) || r.is_match(&short_name(name)))
    }

    /// Whether a measured phase is kept: it has a name, and is in no range.
    pub(super) fn keeps_phase(&self, point: &Point) -> bool {
        self.nvtx.is_none() && self.matches(&point.name())
    }

    /// Whether a point's share is large enough.
    pub(super) fn is_large(&self, point: &Point) -> bool {
        point.share.is_none_or(|share| share >= self.min_share)
    }

    /// Ranges are nested, and kprof's own have whole paths as names: either may begin with what is wanted.
    pub(super) fn is_inside(&self, ranges: &[String]) -> bool {
        let Some(wanted) = self.nvtx.as_deref().map(|w| w.trim_end_matches('/')) else { return true };
        let begins = |path: &str| {
            path.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        begins(&ranges.join("/")) || ranges.iter().any(|r| begins(r))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::kernel;
    use super::*;
    use crate::profile::KernelRecord;

    fn launch(name: &str, ranges: &[&str]) -> KernelRecord {
        KernelRecord { nvtx: ranges.iter().map(ToString::to_string).collect(), ..kernel(name, 1.0, 1.0, 1.0) }
    }

    fn kept(selection: &Selection, launches: &[KernelRecord]) -> Vec<String> {
        let wanted = |k: &&KernelRecord| selection.matches(&k.kernel) && selection.is_inside(&k.nvtx);
        launches.iter().filter(wanted).map(|k| k.kernel.clone()).collect()
    }

    #[test]
    fn a_kernel_is_found_by_its_whole_or_its_shortened_name() {
        let launches = [launch("void at::native::f<(int)4>(int)", &[]), launch("gemm", &[])];
        let by = |pattern| Selection { kernel: Some(Regex::new(pattern).unwrap()), ..Selection::default() };
        assert_eq!(kept(&by("^gemm$"), &launches), ["gemm"]);
        assert_eq!(kept(&by("^f<4>"), &launches).len(), 1);
        assert_eq!(kept(&by("at::native"), &launches).len(), 1);
        assert!(kept(&by("sgemm"), &launches).is_empty());
    }

    #[test]
    fn a_range_is_found_by_the_beginning_of_its_path() {
        let launches = [
            launch("a", &["kprof/v1/decode", "kprof/v1/decode/mlp"]),
            launch("b", &["step", "mlp"]),
            launch("c", &["kprof/v10/decode"]),
            launch("d", &[]),
        ];
        let by = |path: &str| Selection { nvtx: Some(path.into()), ..Selection::default() };
        assert_eq!(kept(&by("kprof/v1"), &launches), ["a"]);
        assert_eq!(kept(&by("kprof/v1/decode/mlp"), &launches), ["a"]);
        assert_eq!(kept(&by("step/mlp"), &launches), ["b"]);
        assert_eq!(kept(&by("mlp/"), &launches), ["b"]);
    }
}
