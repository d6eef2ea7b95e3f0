//! Points from the kernel launches of a profiler's export.

use super::attainable::{Bound, Demand, Floor, floor};
use super::ceilings::CeilingSet;
use super::point::{FlopCounts, Level, Origin, Point};
use super::{Ceilings, Launches, Only, Selection};
use crate::hw::{Ceiling, ComputeUnit, Precision};
use crate::llm::{Phase, Stage};
use crate::profile::{KernelFlops, KernelRates, KernelRecord, Measured, Run, base_name};
use foldhash::fast::RandomState;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher as _;

/// What becomes one point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// All launches of one kernel, by its byte-exact name, in one file, on one device, in one phase.
    #[default]
    Kernel,
    /// Every launch.
    Launch,
    /// All instances of one template: the name without template arguments and parameters.
    NameBase,
    /// All launches of one kernel with one grid and block.
    Grid,
    /// All launches inside one NVTX range.
    Nvtx,
    /// All launches of one version, stage and phase.
    Phase,
    /// All launches of one class, such as gemm or norm.
    Class,
    /// All launches of a file.
    File,
}

impl By {
    /// Whether a point's launches are all of one kernel.
    fn is_one_kernel(self) -> bool {
        matches!(self, Self::Kernel | Self::Launch | Self::Grid)
    }

    /// Whether a point's launches are all of one version, stage and phase.
    fn is_one_place(self) -> bool {
        !matches!(self, Self::Nvtx | Self::Class | Self::File)
    }

    fn level(self) -> Level {
        match self {
            Self::Launch => Level::Launch,
            Self::Kernel | Self::Grid => Level::Kernel,
            Self::NameBase | Self::Nvtx | Self::Phase | Self::Class | Self::File => Level::Group,
        }
    }
}

/// What a launch is for: as its record says, or as rules say.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The KV-cache version.
    pub version: Option<String>,
    /// The stage.
    pub stage: Option<Stage>,
    /// The phase.
    pub phase: Option<Phase>,
    /// The model's op, e.g. `attn.qkv`.
    pub op: Option<String>,
    /// The kind of work, e.g. `gemm`.
    pub class: Option<String>,
}

impl Place {
    /// What the record itself says.
    pub fn of(kernel: &KernelRecord) -> Self {
        let (version, class) = (kernel.version.clone(), kernel.class.clone());
        Self { version, stage: kernel.stage, phase: kernel.phase, op: None, class }
    }
}

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

/// What launches of one point have in common.
#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    name: Cow<'a, str>,
    file: &'a str,
    device: Option<&'a str>,
    place: Option<(Option<&'a str>, Option<Stage>, Option<Phase>)>,
    shape: Option<(Option<&'a str>, Option<&'a str>)>,
    alone: Option<Option<&'a str>>,
}

fn key<'a>(kernel: &'a KernelRecord, place: &'a Place, by: By) -> Key<'a> {
    Key {
        name: key_name(kernel, place, by),
        file: &kernel.file,
        device: kernel.device.as_deref().filter(|_| by != By::File),
        place: by.is_one_place().then_some((place.version.as_deref(), place.stage, place.phase)),
        shape: (by == By::Grid).then_some((kernel.grid.as_deref(), kernel.block.as_deref())),
        // Rates of several launches have no sum without their times: each stays a point.
        alone: has_rates_only(kernel).then_some(kernel.launch.as_deref()),
    }
}

fn key_name<'a>(kernel: &'a KernelRecord, place: &'a Place, by: By) -> Cow<'a, str> {
    match by {
        By::Kernel | By::Launch | By::Grid => Cow::Borrowed(&kernel.kernel),
        By::NameBase => Cow::Owned(base_name(&kernel.kernel)),
        By::Nvtx => Cow::Owned(kernel.nvtx.join("/")),
        By::Class => Cow::Borrowed(place.class.as_deref().unwrap_or_default()),
        By::Phase | By::File => Cow::Borrowed(""),
    }
}

/// What the point is called besides, or instead of, its kernel's name.
fn group_name(first: &KernelRecord, place: &Place, by: By) -> Option<String> {
    let or = |text: Option<&str>, absent: &str| text.filter(|t| !t.is_empty()).unwrap_or(absent).to_string();
    match by {
        By::Kernel | By::Launch => None,
        By::NameBase => Some(base_name(&first.kernel)),
        By::Grid => {
            let of = |what, extent: Option<&str>| extent.map(|e| format!("{what} {e}"));
            let known = [of("grid", first.grid.as_deref()), of("block", first.block.as_deref())];
            Some(or(
                Some(&known.into_iter().flatten().collect::<Vec<_>>().join(" ")),
                "(no grid in the file)",
            ))
        }
        By::Nvtx => Some(or(Some(&first.nvtx.join("/")), "(no NVTX range)")),
        By::Class => Some(or(place.class.as_deref(), "(no known class)")),
        By::Phase => {
            let parts =
                [place.version.as_deref(), place.stage.map(Stage::name), place.phase.map(Phase::name)];
            let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
            Some(or(Some(&name), "(no known phase)"))
        }
        By::File => Some(or(first.file.rsplit(['/', '\\']).next(), &first.file)),
    }
}

fn has_rates_only(kernel: &KernelRecord) -> bool {
    kernel.time.is_none() && kernel.rates.is_some()
}

/// The launches of one point, summed as they come.
#[derive(Debug, Default)]
struct Group {
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
    next: usize,
}

impl Group {
    fn new(first: &KernelRecord, place: &Place, by: By) -> Self {
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

    fn is_of(&self, kernel: &KernelRecord, place: &Place, by: By) -> bool {
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

    fn add(&mut self, kernel: &KernelRecord, ceilings: &Ceilings, of_run: &[Ceiling]) {
        self.set_ceilings(kernel, ceilings, of_run);
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

    fn point(self, by: By) -> Point {
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

/// Extensive quantities add up; a sum with an unknown part is unknown.
#[derive(Debug, Default)]
struct Sum {
    known: Option<Measured>,
    unknown: bool,
}

impl Sum {
    fn add(&mut self, part: Option<&Measured>) {
        match (part, &mut self.known) {
            (None, _) => self.unknown = true,
            (Some(part), None) => self.known = Some(part.clone()),
            (Some(part), Some(sum)) => {
                sum.value += part.value;
                sum.lower_bound |= part.lower_bound;
                sum.estimated |= part.estimated;
            }
        }
    }

    fn measured(self) -> Option<Measured> {
        self.known.filter(|_| !self.unknown)
    }
}

/// A percentage of a peak over several launches: the mean weighted by time, `None` unless every launch has both.
/// A single launch needs no time.
#[derive(Debug, Default)]
struct Percent {
    members: u64,
    last: Option<f64>,
    weighted: f64,
    time: f64,
    unknown: bool,
}

impl Percent {
    fn add(&mut self, percent: Option<&Measured>, time: Option<&Measured>) {
        self.members += 1;
        self.last = percent.map(|p| p.value);
        match (percent, time) {
            (Some(percent), Some(time)) => {
                self.weighted += percent.value * time.value;
                self.time += time.value;
            }
            _ => self.unknown = true,
        }
    }

    fn mean(&self) -> Option<f64> {
        if self.members == 1 {
            return self.last;
        }
        (!self.unknown && self.time > 0.0).then(|| self.weighted / self.time)
    }
}

#[derive(Debug, Default)]
struct FlopSums {
    fp64: Sum,
    fp32: Sum,
    fp16: Sum,
    fp16_packed: Sum,
    tensor: Sum,
    /// A type that one launch has and another lacks counts where it is: launches of one kernel on one chip are
    /// collected with the same metrics, and an absent type has no row rather than a zero.
    tensor_by_type: BTreeMap<String, Sum>,
    total: f64,
    /// How many launches have any.
    with_total: u64,
    parts: Vec<&'static str>,
    lower_bound: bool,
    estimated: bool,
}

impl FlopSums {
    fn add(&mut self, flops: &KernelFlops) {
        self.fp64.add(flops.fp64.as_ref());
        self.fp32.add(flops.fp32.as_ref());
        self.fp16.add(flops.fp16.as_ref());
        self.fp16_packed.add(flops.fp16_packed.as_ref());
        self.tensor.add(flops.tensor.as_ref());
        for (name, measured) in &flops.tensor_by_type {
            match self.tensor_by_type.get_mut(name) {
                Some(sum) => sum.add(Some(measured)),
                None => self.tensor_by_type.entry(name.clone()).or_default().add(Some(measured)),
            }
        }
        if let Some(total) = flops.total() {
            self.total += total;
            self.with_total += 1;
        }
        for (name, part) in named_parts(flops) {
            if !self.parts.contains(&name) {
                self.parts.push(name);
            }
            self.lower_bound |= part.lower_bound;
            self.estimated |= part.estimated;
        }
    }

    fn counts(self, members: u64, complete: bool) -> FlopCounts {
        let total = (self.with_total > 0).then(|| Measured {
            value: self.total,
            source: self.parts.join(" + "),
            lower_bound: self.with_total < members || !complete || self.lower_bound,
            estimated: self.estimated,
        });
        let by_type = self.tensor_by_type.into_iter();
        FlopCounts {
            fp64: self.fp64.measured(),
            fp32: self.fp32.measured(),
            fp16: self.fp16.measured(),
            fp16_packed: self.fp16_packed.measured(),
            tensor: self.tensor.measured(),
            tensor_by_type: by_type.filter_map(|(name, sum)| Some((name, sum.measured()?))).collect(),
            total,
        }
    }
}

/// The parts that [`KernelFlops::total`] adds, with their names.
fn named_parts(flops: &KernelFlops) -> impl Iterator<Item = (&'static str, &Measured)> {
    let parts = [
        ("fp64", &flops.fp64),
        ("fp32", &flops.fp32),
        ("fp16_packed", &flops.fp16_packed),
        ("tensor", &flops.tensor),
    ];
    parts.into_iter().filter_map(|(name, part)| Some((name, part.as_ref()?)))
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

fn demands(flops: &KernelFlops) -> Vec<Demand> {
    let vector = |part: &Option<Measured>, precision| {
        let flops = part.as_ref()?.value;
        Some(Demand { unit: ComputeUnit::Vector, precision, accumulate: None, flops })
    };
    let mut demands: Vec<Demand> = [
        vector(&flops.fp64, Precision::Fp64),
        vector(&flops.fp32, Precision::Fp32),
        vector(&flops.fp16_packed, Precision::Fp16),
    ]
    .into_iter()
    .flatten()
    .collect();
    let typed: f64 = flops.tensor_by_type.values().map(|m| m.value).sum();
    for (name, measured) in &flops.tensor_by_type {
        let (precision, accumulate) = operand_type(name);
        demands.push(Demand { unit: ComputeUnit::Matrix, precision, accumulate, flops: measured.value });
    }
    // Counted by instruction, whose operands are not known: fp16, the commonest, at its highest rate.
    let untyped = flops.tensor.as_ref().map_or(0.0, |t| t.value) - typed;
    if untyped > 1e-6 * typed.max(1.0) {
        let unit = ComputeUnit::Matrix;
        demands.push(Demand { unit, precision: Precision::Fp16, accumulate: None, flops: untyped });
    }
    demands
}

/// Reads `fp16_dst_fp32`. Where a metric covers several operand types (`fp16_bf16_tf32_dst_fp32`), the first is
/// the fastest or as fast as the others, as a bound needs it.
fn operand_type(name: &str) -> (Precision, Option<Precision>) {
    // Names are a few bytes long and read once per launch: comparing at each place beats preparing a search.
    let find =
        |name: &str, part: &str| name.as_bytes().windows(part.len()).position(|w| w == part.as_bytes());
    let name = find(name, "_sparsity").map_or(name, |at| &name[..at]);
    let (from, to) = find(name, "_dst_").map_or((name, None), |at| (&name[..at], Some(&name[at + 5..])));
    let parse = |text: &str| Precision::ALL.into_iter().find(|p| p.name() == text);
    let first = from.split('_').find_map(parse).unwrap_or(Precision::Fp16);
    (first, to.and_then(parse))
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

#[cfg(test)]
mod tests {
    use super::super::samples::{bandwidth, kernel, matrix, reference_prefill, vector};
    use super::*;
    use crate::profile::KernelRates;

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
    fn tensor_types_are_read_from_their_metric_names() {
        assert_eq!(operand_type("fp16_dst_fp32"), (Precision::Fp16, Some(Precision::Fp32)));
        assert_eq!(operand_type("fp16_bf16_tf32_dst_fp32"), (Precision::Fp16, Some(Precision::Fp32)));
        assert_eq!(operand_type("int8_sparsity_off"), (Precision::Int8, None));
        assert_eq!(operand_type("fp4_fp6_fp8_dst_fp16"), (Precision::Fp4, Some(Precision::Fp16)));
    }

    #[test]
    fn no_ceiling_gives_no_bound() {
        let run = Run { kernels: vec![kernel("a", 1.0, 1.0, 1.0)], ..Run::default() };
        let points = kernel_points(&run, By::Kernel, &Selection::default(), &Ceilings::default());
        assert_eq!((points[0].bound, points[0].floor), (Bound::Unknown, None));
    }
}
