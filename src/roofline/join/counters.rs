//! Hardware counters that another file has of a trace's kernels.

use crate::llm::Stage;
use crate::profile::{KernelRecord, short_name};
use std::collections::HashMap;

/// Hardware counters by kernel: by whole name, and by shortened name because profilers spell template arguments
/// differently.
///
/// One kernel moves more in one launch than in another: launches count for each other only if grid and stage agree
/// where both are known, and of kernels that the trace has in several stages only with the stage. What still differs, such as the inner size of a matrix product, is in the mean as often as in
/// the launches that were counted.
#[derive(Clone, Debug, Default)]
pub struct Counters(HashMap<String, Vec<Counted>>);

/// Launches of a kernel with one grid in one stage.
#[derive(Clone, Debug)]
struct Counted {
    grid: Option<String>,
    stage: Option<Stage>,
    sum: CounterSum,
}

/// Sums over launches.
#[derive(Clone, Copy, Debug)]
pub(super) struct CounterSum {
    pub(super) launches: u64,
    /// `None` unless all launches have them.
    pub(super) bytes: Option<f64>,
    /// `None` unless all launches have all of them.
    pub(super) flops: Option<f64>,
}

impl CounterSum {
    const NOTHING: Self = Self { launches: 0, bytes: Some(0.0), flops: Some(0.0) };

    fn add(&mut self, other: &Self) {
        let sum = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a + b);
        self.launches += other.launches;
        (self.bytes, self.flops) = (sum(self.bytes, other.bytes), sum(self.flops, other.flops));
    }
}

impl Counters {
    /// Adds what another file has.
    pub fn merge(&mut self, other: &Self) {
        for (name, all) in &other.0 {
            all.iter().for_each(|counted| self.add(name, &counted.grid, counted.stage, &counted.sum));
        }
    }

    /// Adds a launch of `stage`, if it has counters.
    pub fn push(&mut self, kernel: &KernelRecord, stage: Option<Stage>) {
        let Some(bytes) = kernel.dram_bytes.as_ref().filter(|_| kernel.timeline.is_none()) else { return };
        let flops = kernel.flops.total().filter(|_| kernel.flops_complete);
        let sum = CounterSum { launches: kernel.launches, bytes: Some(bytes.value), flops };
        let grid = kernel.grid.as_deref().map(without_spaces);
        self.add(&kernel.kernel, &grid, stage, &sum);
        let short = short_name(&kernel.kernel);
        if short != kernel.kernel {
            self.add(&short, &grid, stage, &sum);
        }
    }

    fn add(&mut self, name: &str, grid: &Option<String>, stage: Option<Stage>, sum: &CounterSum) {
        if !self.0.contains_key(name) {
            self.0.insert(name.to_string(), Vec::new());
        }
        let all = self.0.get_mut(name).expect("it was inserted where it was missing");
        match all.iter_mut().find(|c| c.grid == *grid && c.stage == stage) {
            Some(counted) => counted.sum.add(sum),
            None => all.push(Counted { grid: grid.clone(), stage, sum: *sum }),
        }
    }

    /// What there is of launches like these; `None` where nothing is. Of a kernel of `several_stages` the stage has to
    /// be known.
    pub(super) fn of(
        &self,
        name: &str,
        grid: Option<&str>,
        stage: Option<Stage>,
        several_stages: bool,
    ) -> Option<CounterSum> {
        let grid = grid.map(without_spaces);
        let fits = |c: &&Counted| {
            let same_grid = c.grid.is_none() || grid.is_none() || c.grid == grid;
            let any_stage = !several_stages && (c.stage.is_none() || stage.is_none());
            same_grid && (any_stage || c.stage == stage)
        };
        let sum_of = |name: &str| {
            let mut sum = CounterSum::NOTHING;
            self.0.get(name)?.iter().filter(fits).for_each(|c| sum.add(&c.sum));
            (sum.launches > 0).then_some(sum)
        };
        sum_of(name).or_else(|| sum_of(&short_name(name)))
    }
}

fn without_spaces(grid: &str) -> String {
    grid.replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Measured;

    fn launch(name: &str, grid: Option<&str>, bytes: f64) -> KernelRecord {
        KernelRecord {
            kernel: name.into(),
            grid: grid.map(Into::into),
            launches: 1,
            dram_bytes: Some(Measured::new(bytes, "x")),
            ..KernelRecord::default()
        }
    }

    #[test]
    fn launches_count_for_others_with_the_same_grid_and_stage() {
        let mut counters = Counters::default();
        let (small, large) = (Some("(1, 1, 1)"), Some("(64, 1, 1)"));
        counters.push(&launch("gemm", small, 10.0), Some(Stage::Decode));
        counters.push(&launch("gemm", large, 100.0), None);
        counters.push(&launch("gemm", large, 300.0), None);
        let bytes =
            |grid, stage| counters.of("gemm", grid, stage, false).map(|c| (c.launches, c.bytes.unwrap()));
        assert_eq!(bytes(Some("(64,1,1)"), Some(Stage::Prefill)), Some((2, 400.0)));
        assert_eq!(bytes(small, Some(Stage::Decode)), Some((1, 10.0)));
        assert_eq!(bytes(small, Some(Stage::Prefill)), None);
        assert_eq!(bytes(None, None), Some((3, 410.0)));
        assert_eq!(bytes(Some("(2,1,1)"), None), None);
        let of_several = |grid, stage| counters.of("gemm", grid, stage, true).map(|c| c.launches);
        assert_eq!(
            (of_several(small, Some(Stage::Decode)), of_several(large, Some(Stage::Decode))),
            (Some(1), None)
        );
    }

    #[test]
    fn another_spelling_of_the_same_name_is_found_and_an_equal_one_goes_first() {
        let mut counters = Counters::default();
        counters.push(&launch("void norm<float, 8>(float const*)", None, 1.0), None);
        let found = counters.of("void norm<float, 8>(const float*)", None, None, false);
        assert_eq!(found.unwrap().bytes, Some(1.0));
        counters.push(&launch("void norm<float, 8>(float *)", None, 5.0), None);
        assert_eq!(counters.of("void norm<float, 8>(float *)", None, None, false).unwrap().bytes, Some(5.0));
    }

    #[test]
    fn a_launch_without_all_counters_leaves_its_kernel_without() {
        let mut counters = Counters::default();
        let flops = |value| KernelRecord {
            flops: crate::profile::KernelFlops {
                tensor: Some(Measured::new(value, "x")),
                ..crate::profile::KernelFlops::default()
            },
            flops_complete: true,
            ..launch("gemm", None, 1.0)
        };
        counters.push(&flops(7.0), None);
        assert_eq!(counters.of("gemm", None, None, false).unwrap().flops, Some(7.0));
        counters.push(&launch("gemm", None, 1.0), None);
        let sum = counters.of("gemm", None, None, false).unwrap();
        assert_eq!((sum.launches, sum.bytes, sum.flops), (2, Some(2.0), None));
    }
}
