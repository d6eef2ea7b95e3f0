//! The launches of one point, summed as they come.

use super::Ceilings;
use super::attainable::{Bound, Demand, Floor, floor};
use super::ceilings::CeilingSet;
use super::demands::demands;
use super::grouping::{By, Key, Place, group_name, has_rates_only, key, key_name};
use super::launched::LaunchedAs;
use super::point::{Origin, Point};
use super::sums::{FlopSums, Percent, Sum};
use crate::hw::{Ceiling, ComputeUnit, Precision};
use crate::profile::{KernelFlops, KernelRates, KernelRecord, Measured};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The launches of one point, summed as they come.
#[derive(Debug, Default)]
pub(super) struct Group {
    file: String,
    launch: Option<String>,
    kernel: String,
    /// The name that its launches share: the kernel's, or another by which they are grouped.
    name: String,
    group: Option<String>,
    grid: Option<String>,
    block: Option<String>,
    device: Option<String>,
    place: Place,
    /// Rates of a launch without a time, which stays alone.
    rates: Option<KernelRates>,
    members: u64,
    launches: u64,
    launched: LaunchedAs,
    time: Sum,
    bytes: Sum,
    l2_bytes: Sum,
    l1_bytes: Sum,
    dram_percent: Percent,
    sm_percent: Percent,
    flops: FlopSums,
    flops_complete: bool,
    /// Whether all its members are of a timeline trace.
    traced: bool,
    missing: BTreeSet<String>,
    last_missing: Vec<String>,
    /// The sum of the members' floors; `None` once one has none.
    floor: Option<Floor>,
    /// The ceilings of the first member, and of the last.
    ceilings: CeilingSet,
    last_ceilings: CeilingSet,
    /// How many of them the last member itself had.
    last_own: usize,
    used: Vec<String>,
    seen: Vec<(ComputeUnit, Precision, Option<Precision>)>,
    /// The group whose launch came after one of this last time.
    pub(super) next: usize,
}

impl Group {
    pub(super) fn new(first: &KernelRecord, place: &Place, by: By) -> Self {
        Self {
            file: first.file.clone(),
            launch: first.launch.clone(),
            kernel: first.kernel.clone(),
            name: key_name(first, place, by).into_owned(),
            group: group_name(first, place, by),
            grid: first.grid.clone(),
            block: first.block.clone(),
            device: first.device.clone(),
            place: place.clone(),
            rates: first.rates.clone().filter(|_| first.time.is_none()),
            flops_complete: true,
            traced: true,
            floor: Some(Floor::default()),
            next: usize::MAX,
            ..Self::default()
        }
    }

    pub(super) fn is_of(&self, kernel: &KernelRecord, place: &Place, by: By) -> bool {
        let own = Key {
            name: Cow::Borrowed(&self.name),
            file: &self.file,
            device: self.device.as_deref().filter(|_| by != By::File),
            place: by.is_one_place().then_some((
                self.place.version.as_deref(),
                self.place.stage,
                self.place.phase,
            )),
            shape: (by == By::Grid).then_some((self.grid.as_deref(), self.block.as_deref())),
            alone: self.rates.is_some().then_some(self.launch.as_deref()),
        };
        own == key(kernel, place, by)
    }

    pub(super) fn add(&mut self, kernel: &KernelRecord, ceilings: &Ceilings, of_run: &[Ceiling]) {
        self.set_ceilings(kernel, ceilings, of_run);
        self.launched.add(kernel, self.members == 0);
        self.members += 1;
        self.launches += kernel.launches;
        self.time.add(kernel.time.as_ref());
        self.bytes.add(kernel.dram_bytes.as_ref());
        self.l2_bytes.add(kernel.l2_bytes.as_ref());
        self.l1_bytes.add(kernel.l1_bytes.as_ref());
        self.dram_percent.add(kernel.dram_percent.as_ref(), kernel.time.as_ref());
        self.sm_percent.add(kernel.sm_percent.as_ref(), kernel.time.as_ref());
        self.flops.add(&kernel.flops);
        self.flops_complete &= kernel.flops_complete;
        self.traced &= kernel.timeline.is_some();
        if self.last_missing != kernel.missing {
            self.missing.extend(kernel.missing.iter().cloned());
            self.last_missing.clone_from(&kernel.missing);
        }
        let rates = kernel.rates.as_ref().filter(|_| has_rates_only(kernel));
        let (flops, bytes) =
            rates.map_or((&kernel.flops, &kernel.dram_bytes), |rates| (&rates.flops, &rates.dram_bytes));
        let demands = demands(flops);
        for demand in demands.iter().filter(|d| d.flops > 0.0 && rates.is_none()) {
            let kind = (demand.unit, demand.precision, demand.accumulate);
            if !self.seen.contains(&kind) {
                self.seen.push(kind);
                let name = self.ceilings.compute(demand).map(Ceiling::name);
                self.used.extend(name.filter(|n| !self.used.contains(n)));
            }
        }
        let floor = member_floor(flops, bytes.as_ref(), &demands, &self.last_ceilings);
        self.floor = self.floor.and_then(|sum| Some(sum + floor?));
    }

    /// Brings the ceilings up to those of `kernel`: mostly the same kinds at another clock, which copies nothing.
    fn set_ceilings(&mut self, kernel: &KernelRecord, ceilings: &Ceilings, of_run: &[Ceiling]) {
        if self.members == 0 {
            self.ceilings = ceilings_of(kernel, ceilings, of_run);
            self.used.extend(self.ceilings.dram().map(Ceiling::name));
            self.last_ceilings = self.ceilings.clone();
        } else if self.last_own != kernel.ceilings.len()
            || !self.last_ceilings.update(ceilings.chosen.len(), &kernel.ceilings)
        {
            self.last_ceilings = ceilings_of(kernel, ceilings, of_run);
        }
        self.last_own = kernel.ceilings.len();
    }

    pub(super) fn point(self, by: By) -> Point {
        let flops = self.flops.counts(self.members, self.flops_complete);
        let (time, bytes) = (self.time.measured(), self.bytes.measured());
        let rates = self.rates.filter(|_| self.members == 1 && time.is_none());
        let counted = flops.total.is_some() || rates.as_ref().is_some_and(|r| r.flops.total().is_some());
        let flops_complete = counted && self.flops_complete;
        // What a rate does in a second takes a second.
        let time_s = if rates.is_some() { Some(1.0) } else { time.as_ref().map(|t| t.value) };
        let bound = bound(self.floor.as_ref(), flops_complete, time_s, bytes.as_ref());
        Point {
            level: by.level(),
            file: self.file,
            launch: if self.members == 1 { self.launch } else { None },
            kernel: by.is_one_kernel().then_some(self.kernel),
            short_name: None,
            group: self.group,
            launches: self.launches,
            launched: self.launched,
            device: self.device,
            version: self.place.version.filter(|_| by.is_one_place()),
            stage: self.place.stage.filter(|_| by.is_one_place()),
            phase: self.place.phase.filter(|_| by.is_one_place()),
            class: self.place.class.filter(|_| by.is_one_kernel() || by == By::Class),
            time,
            share: None,
            bytes,
            byte_origin: Origin::Counter,
            l2_bytes: self.l2_bytes.measured(),
            l1_bytes: self.l1_bytes.measured(),
            dram_percent: self.dram_percent.mean(),
            sm_percent: self.sm_percent.mean(),
            rates,
            used_ceilings: self.used,
            flops,
            flop_origin: Origin::Counter,
            flops_complete,
            traced: self.traced,
            missing: self.missing.into_iter().collect(),
            floor: self.floor,
            bound,
            ceilings: self.ceilings,
        }
    }
}

fn ceilings_of(kernel: &KernelRecord, ceilings: &Ceilings, of_run: &[Ceiling]) -> CeilingSet {
    let of_device = kernel.device.as_deref().and_then(|name| {
        ceilings.by_device.iter().find(|(device, _)| device == name).map(|(_, ceilings)| ceilings.as_slice())
    });
    CeilingSet::new(ceilings.chosen.clone()).or(&kernel.ceilings).or(of_device.unwrap_or_default()).or(of_run)
}

/// The floor of one record; of a summary of several launches it is that of their sum, and where there are only
/// rates, that of what they do in a second.
fn member_floor(
    flops: &KernelFlops,
    bytes: Option<&Measured>,
    demands: &[Demand],
    ceilings: &CeilingSet,
) -> Option<Floor> {
    flops.total()?;
    floor(bytes?.value, demands, ceilings)
}

fn bound(
    floor: Option<&Floor>,
    flops_complete: bool,
    time_s: Option<f64>,
    bytes: Option<&Measured>,
) -> Bound {
    match floor {
        Some(floor) if flops_complete => {
            let bound = floor.bound(time_s);
            // With bytes that are at least so many, more of them could turn the verdict, except to memory.
            let open = bytes.is_some_and(|b| b.lower_bound) && bound != Bound::Memory;
            if open { Bound::Unknown } else { bound }
        }
        _ => Bound::Unknown,
    }
}
