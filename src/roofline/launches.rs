//! Launches on their way to points: added one by one, so that a file of any length need not be kept.

use super::grouping::Place;
use super::kernels::KernelPoints;
use super::point::Point;
use super::{By, Ceilings, Only, Selection, findings};
use crate::hw::Ceiling;
use crate::profile::{Finding, KernelRecord};
use std::collections::{BTreeSet, HashMap};

/// Numbers beyond this are not remembered.
const MOST_ALIKE: usize = 1 << 16;

/// The launches of one file that an analysis keeps, summed into points as they come.
#[derive(Debug, Default)]
pub struct Launches {
    points: KernelPoints,
    findings: findings::OfKernels,
    selection: Selection,
    only: Only,
    /// Kernel names met so far, and whether the selection wants them; filled only when it chooses by name.
    names: HashMap<String, bool>,
    /// NVTX paths met so far; filled only when the selection chooses by range.
    ranges: BTreeSet<String>,
    /// What became of launches by the number that those alike share.
    alike: Vec<Option<Kept>>,
    /// The time of all launches, chosen or not; `None` once one has none.
    total_s: Option<f64>,
}

/// What became of a launch.
#[derive(Clone, Copy, Debug)]
enum Kept {
    /// It is not wanted.
    No,
    /// It is, as part of this point if that is known.
    Yes(Option<usize>),
}

impl Launches {
    /// No launches yet.
    pub fn new(by: By, selection: Selection, only: Only) -> Self {
        let points = KernelPoints::new(by);
        Self { points, selection, only, total_s: Some(0.0), ..Self::default() }
    }

    /// Adds a launch of a run that measured ceilings `of_run` beside it, if the selection wants it.
    pub fn push(&mut self, kernel: &KernelRecord, ceilings: &Ceilings, of_run: &[Ceiling]) {
        self.push_alike(kernel, None, || Place::of(kernel), ceilings, of_run);
    }

    /// The same, of a launch that is for what `place` says. Launches with the same `alike` differ at most in their
    /// measured values and in ID, process, grid, block, context and stream: of them `place` is asked once.
    pub fn push_alike(
        &mut self,
        kernel: &KernelRecord,
        alike: Option<usize>,
        place: impl FnOnce() -> Place,
        ceilings: &Ceilings,
        of_run: &[Ceiling],
    ) {
        self.total_s = self.total_s.and_then(|sum| Some(sum + kernel.time.as_ref()?.value));
        let alike = alike.filter(|number| *number < MOST_ALIKE && self.points.joins_alike());
        let known = alike.and_then(|number| self.alike.get(number).copied().flatten());
        let kept = known.unwrap_or_else(|| if self.wants(kernel) { Kept::Yes(None) } else { Kept::No });
        let Kept::Yes(point) = kept else { return self.remember(alike, kept) };
        self.findings.push(kernel);
        let reduced = (self.only != Only::All).then(|| self.only.of_kernel(kernel));
        let kernel = reduced.as_ref().unwrap_or(kernel);
        let point = point.unwrap_or_else(|| self.points.point_of(kernel, &place()));
        self.points.add(point, kernel, ceilings, of_run);
        if known.is_none() {
            self.remember(alike, Kept::Yes(Some(point)));
        }
    }

    fn remember(&mut self, alike: Option<usize>, kept: Kept) {
        let Some(number) = alike else { return };
        if self.alike.len() <= number {
            self.alike.resize(number + 1, None);
        }
        self.alike[number] = Some(kept);
    }

    fn wants(&mut self, kernel: &KernelRecord) -> bool {
        if self.selection.nvtx.is_some() && !kernel.nvtx.is_empty() {
            self.ranges.insert(kernel.nvtx.join("/"));
        }
        if self.selection.kernel.is_none() {
            return self.selection.is_inside(&kernel.nvtx);
        }
        let named = match self.names.get(&kernel.kernel) {
            Some(known) => *known,
            None => {
                let matches = self.selection.matches(&kernel.kernel);
                self.names.insert(kernel.kernel.clone(), matches);
                matches
            }
        };
        named && self.selection.is_inside(&kernel.nvtx)
    }

    /// The names met, when the selection chooses by name and none of them matched.
    pub fn unmatched_names(&self) -> Option<Vec<&str>> {
        let none = self.selection.kernel.is_some() && self.names.values().all(|matches| !matches);
        none.then(|| self.names.keys().map(String::as_str).collect())
    }

    /// The NVTX paths met, when the selection chooses by range.
    pub fn ranges(&self) -> &BTreeSet<String> {
        &self.ranges
    }

    /// Points, whose shares are of all launches, and the findings of the launches kept.
    pub(super) fn finish(self) -> (Vec<Point>, Vec<Finding>) {
        (self.points.finish(self.total_s), self.findings.finish())
    }

    pub(super) fn selection(&self) -> &Selection {
        &self.selection
    }
}
