//! Points from the kernel launches of a profiler's export.

use super::group::Group;
use super::grouping::{By, Place, key};
use super::point::Point;
use super::{Ceilings, Launches, Only, Selection};
use crate::hw::Ceiling;
use crate::profile::{KernelRecord, Run};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::hash::BuildHasher as _;

/// The points of a run's kernel launches that `selection` keeps; shares are of all launches.
pub fn kernel_points(run: &Run, by: By, selection: &Selection, ceilings: &Ceilings) -> Vec<Point> {
    let mut launches = Launches::new(by, selection.clone(), Only::All);
    for kernel in &run.kernels {
        launches.push(kernel, ceilings, &run.ceilings);
    }
    launches.finish().0
}

/// Points in the making: launches are added one after the other and need not be kept.
#[derive(Debug, Default)]
pub(super) struct KernelPoints {
    by: By,
    groups: Vec<Group>,
    /// Groups by the hash of their key; several where hashes collide.
    index: HashMap<u64, Vec<usize>>,
    hasher: RandomState,
    last: usize,
}

impl KernelPoints {
    /// No points yet.
    pub(super) fn new(by: By) -> Self {
        Self { by, ..Self::default() }
    }

    /// Whether launches that differ only in measured values, ID, process, grid, block, context and stream are of one
    /// point.
    pub(super) fn joins_alike(&self) -> bool {
        !matches!(self.by, By::Launch | By::Grid)
    }

    /// The point that a launch is part of.
    pub(super) fn point_of(&mut self, kernel: &KernelRecord, place: &Place) -> usize {
        if self.by == By::Launch { self.begin(kernel, place) } else { self.find(kernel, place) }
    }

    /// Adds a launch of a run that measured ceilings `of_run` beside it to its point.
    pub(super) fn add(
        &mut self,
        point: usize,
        kernel: &KernelRecord,
        ceilings: &Ceilings,
        of_run: &[Ceiling],
    ) {
        self.groups[point].add(kernel, ceilings, of_run);
    }

    /// The group of a launch. The one that followed the last launch's group before is tried first: programs repeat
    /// themselves, and comparing is several times as fast as hashing a name of thousands of characters.
    fn find(&mut self, kernel: &KernelRecord, place: &Place) -> usize {
        let guess = self.groups.get(self.last).map(|g| g.next);
        if let Some(at) =
            guess.filter(|at| self.groups.get(*at).is_some_and(|g| g.is_of(kernel, place, self.by)))
        {
            self.last = at;
            return at;
        }
        let hash = self.hasher.hash_one(key(kernel, place, self.by));
        let found = self
            .index
            .get(&hash)
            .into_iter()
            .flatten()
            .find(|at| self.groups[**at].is_of(kernel, place, self.by));
        let at = match found {
            Some(at) => *at,
            None => {
                let at = self.begin(kernel, place);
                self.index.entry(hash).or_default().push(at);
                at
            }
        };
        if let Some(last) = self.groups.get_mut(self.last) {
            last.next = at;
        }
        self.last = at;
        at
    }

    fn begin(&mut self, kernel: &KernelRecord, place: &Place) -> usize {
        self.groups.push(Group::new(kernel, place, self.by));
        self.groups.len() - 1
    }

    /// The points, in the order in which their first launches came. Their shares are of `total_s`: without it there
    /// are none.
    pub(super) fn finish(self, total_s: Option<f64>) -> Vec<Point> {
        let by = self.by;
        let mut points: Vec<Point> = self.groups.into_iter().map(|group| group.point(by)).collect();
        let total = total_s.filter(|t| *t > 0.0);
        for point in &mut points {
            point.share = total.and_then(|total| Some(point.time.as_ref()?.value / total));
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bandwidth, kernel, matrix, reference_prefill, vector};
    use super::*;
    use crate::hw::Precision;
    use crate::llm::Phase;
    use crate::profile::{KernelFlops, KernelRates, Measured};
    use crate::roofline::Bound;

    fn points(kernels: Vec<KernelRecord>, by: By) -> Vec<Point> {
        let run = Run { kernels, file: "x.csv".into(), ..Run::default() };
        let chosen = vec![
            bandwidth(100e9),
            vector(Precision::Fp32, 1e12),
            vector(Precision::Fp64, 1e12),
            matrix(Precision::Fp16, 10e12),
        ];
        kernel_points(&run, by, &Selection::default(), &Ceilings { chosen, by_device: vec![] })
    }

    #[test]
    fn rates_without_a_time_give_a_point_per_launch_and_no_flops_or_bytes() {
        let flops = kernel("k", 1.0, 0.0, 2e11).flops;
        let rates = KernelRates { flops, dram_bytes: Some(Measured::new(50e9, "DRAM Bandwidth")) };
        let launch = |id: &str| KernelRecord {
            launch: Some(id.into()),
            time: None,
            dram_bytes: None,
            flops: KernelFlops::default(),
            rates: Some(rates.clone()),
            ..kernel("k", 1.0, 1.0, 1.0)
        };
        let points = points(vec![launch("0"), launch("1")], By::Kernel);
        assert_eq!(points.len(), 2);
        let point = &points[0];
        assert_eq!((point.total_flops(), point.dram_bytes(), point.time.as_ref()), (None, None, None));
        // 200 GFLOP/s and 50 GB/s of 1 TFLOP/s and 100 GB/s: half of what memory allows, at 4 FLOP/B.
        assert_eq!((point.intensity_dram(), point.achieved_flop_rate()), (Some(4.0), Some(2e11)));
        assert_eq!((point.fraction_of_ceiling(), point.bound), (Some(0.5), Bound::Memory));
        assert_eq!(point.attainable_flop_rate(), Some(4e11));
    }

    #[test]
    fn launches_are_grouped_by_what_was_asked_for() {
        let launch = |name: &str, grid: &str, ranges: &[&str], phase| KernelRecord {
            grid: Some(grid.into()),
            nvtx: ranges.iter().map(ToString::to_string).collect(),
            phase,
            class: Some("gemm".into()),
            ..kernel(name, 1.0, 10.0, 100.0)
        };
        let kernels = vec![
            launch("void f<4>(int)", "(1, 1, 1)", &["step", "mlp"], Some(Phase::Mlp)),
            launch("void f<8>(int)", "(2, 1, 1)", &["step", "mlp"], Some(Phase::Mlp)),
            launch("void f<8>(int)", "(1, 1, 1)", &[], None),
        ];
        let names = |by| {
            let found =
                points(kernels.clone(), by).iter().map(|p| (p.name(), p.launches)).collect::<Vec<_>>();
            found.into_iter().map(|(name, launches)| format!("{name}: {launches}")).collect::<Vec<_>>()
        };
        assert_eq!(names(By::Kernel).len(), 3, "one name in two phases is two points");
        assert_eq!(names(By::NameBase), ["f: 2", "f: 1"]);
        assert_eq!(names(By::Grid)[1], "void f<8>(int) grid (2, 1, 1): 1");
        assert_eq!(names(By::Nvtx), ["step/mlp: 2", "(no NVTX range): 1"]);
        assert_eq!(names(By::Phase), ["mlp: 2", "(no known phase): 1"]);
        assert_eq!(names(By::Class), ["gemm: 3"]);
        assert_eq!(names(By::File), ["x.csv: 3"]);
    }

    #[test]
    fn launches_of_one_name_are_summed_and_others_kept_apart() {
        let kernels =
            vec![kernel("a", 1.0, 10.0, 100.0), kernel("b", 2.0, 1.0, 1.0), kernel("a", 3.0, 20.0, 300.0)];
        let by_kernel = points(kernels.clone(), By::Kernel);
        assert_eq!(by_kernel.len(), 2);
        let a = &by_kernel[0];
        assert_eq!((a.launches, a.launch.as_deref()), (2, None));
        assert_eq!(a.time.as_ref().unwrap().value, 4.0);
        assert_eq!((a.total_flops(), a.dram_bytes().unwrap().value), (Some(400.0), 30.0));
        // 400 FLOP / 30 B; 400 FLOP / 4 s; 4 of 6 seconds.
        assert_eq!(a.intensity_dram(), Some(400.0 / 30.0));
        assert_eq!(a.achieved_flop_rate(), Some(100.0));
        assert_eq!(a.share, Some(4.0 / 6.0));
        let by_launch = points(kernels, By::Launch);
        assert_eq!(by_launch.len(), 3);
        assert_eq!(by_launch[2].launch.as_deref(), Some("0"));
    }

    #[test]
    fn a_sum_with_an_unknown_part_is_unknown_and_a_partial_total_is_a_lower_bound() {
        let mut second = kernel("a", 1.0, 1.0, 1.0);
        second.dram_bytes = None;
        second.flops = KernelFlops::default();
        second.flops_complete = false;
        let points = points(vec![kernel("a", 1.0, 10.0, 100.0), second], By::Kernel);
        let a = &points[0];
        assert!(a.bytes.is_none() && a.flops.fp32.is_none() && a.intensity().is_none());
        assert!(a.flops.total.as_ref().unwrap().lower_bound);
        assert_eq!((a.total_flops(), a.bound), (Some(100.0), Bound::Unknown));
    }

    #[test]
    fn the_reference_system_s_prefill_is_a_lower_bound_of_unknown_bound() {
        // Counted by fadd, fmul and ffma only: 2.32 GFLOP where the analytic count is about 335 GFLOP, 144x.
        let points = points(vec![reference_prefill()], By::Kernel);
        let p = &points[0];
        assert!(!p.flops_complete && p.is_lower_bound());
        assert_eq!(
            (p.bound, p.fraction_of_ceiling(), p.attainable_flop_rate()),
            (Bound::Unknown, None, None)
        );
        assert_eq!(p.total_flops(), Some(2_321_619_757.0));
        assert!(p.flops.total.as_ref().unwrap().lower_bound);
        assert!(p.flops.tensor.is_none(), "not collected is not zero");
        assert!(p.missing.iter().any(|m| m.starts_with("sm__ops_path_tensor")));
    }

    #[test]
    fn the_floor_of_a_kernel_sums_over_its_launches() {
        // 1 GB, few FLOPs: 10 ms. 20 GFLOP fp32, no bytes to speak of: 20 ms. Together 30 ms of 50 ms.
        let points = points(vec![kernel("a", 0.02, 1e9, 1e9), kernel("a", 0.03, 1.0, 20e9)], By::Kernel);
        assert!((points[0].fraction_of_ceiling().unwrap() - 0.6).abs() < 1e-12);
        assert_eq!(points[0].bound, Bound::Compute);
        assert_eq!(points[0].used_ceilings, ["DRAM bandwidth", "fp32 vector"]);
    }

    #[test]
    fn no_ceiling_gives_no_bound() {
        let run = Run { kernels: vec![kernel("a", 1.0, 1.0, 1.0)], ..Run::default() };
        let points = kernel_points(&run, By::Kernel, &Selection::default(), &Ceilings::default());
        assert_eq!((points[0].bound, points[0].floor), (Bound::Unknown, None));
    }
}
