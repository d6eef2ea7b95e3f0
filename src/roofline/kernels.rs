//! Points from the kernel launches of a profiler's export.

use super::Ceilings;
use super::Selection;
use super::attainable::{Bound, Demand, Floor, floor};
use super::ceilings::CeilingSet;
use super::point::{FlopCounts, Level, Origin, Point};
use crate::hw::{ComputeUnit, Precision};
use crate::llm::{Phase, Stage};
use crate::profile::{KernelFlops, KernelRecord, Measured, Run, base_name};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

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

/// The points of a run's kernel launches that `selection` keeps; shares are of all launches.
pub fn kernel_points(run: &Run, by: By, selection: &Selection, ceilings: &Ceilings) -> Vec<Point> {
    let kept = selection.of(&run.kernels);
    let mut points: Vec<Point> =
        groups(&kept, by).iter().map(|members| point(members, by, run, ceilings)).collect();
    let times: Option<Vec<f64>> = run.kernels.iter().map(|k| k.time.as_ref().map(|t| t.value)).collect();
    // Without all the times there is no total, and so no share of it.
    let total = times.map(|t| t.iter().sum::<f64>()).filter(|t| *t > 0.0);
    for point in &mut points {
        point.share = total.and_then(|total| Some(point.time.as_ref()?.value / total));
    }
    points
}

/// What launches of one point have in common.
#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    file: &'a str,
    name: Cow<'a, str>,
    device: Option<&'a str>,
    place: Option<(Option<&'a str>, Option<Stage>, Option<Phase>)>,
    shape: Option<(Option<&'a str>, Option<&'a str>)>,
    alone: Option<&'a str>,
}

fn key<'a>(kernel: &'a KernelRecord, by: By) -> Key<'a> {
    let name = match by {
        By::Kernel | By::Launch | By::Grid => Cow::Borrowed(kernel.kernel.as_str()),
        By::NameBase => Cow::Owned(base_name(&kernel.kernel)),
        By::Nvtx => Cow::Owned(kernel.nvtx.join("/")),
        By::Class => Cow::Borrowed(kernel.class.as_deref().unwrap_or_default()),
        By::Phase | By::File => Cow::Borrowed(""),
    };
    let place = (kernel.version.as_deref(), kernel.stage, kernel.phase);
    // Rates of several launches have no sum without their times: each stays a point.
    let alone = kernel.time.is_none() && kernel.rates.is_some();
    Key {
        file: &kernel.file,
        name,
        device: kernel.device.as_deref().filter(|_| by != By::File),
        place: (!matches!(by, By::Nvtx | By::Class | By::File)).then_some(place),
        shape: (by == By::Grid).then_some((kernel.grid.as_deref(), kernel.block.as_deref())),
        alone: kernel.launch.as_deref().filter(|_| alone),
    }
}

fn groups<'a>(kernels: &[&'a KernelRecord], by: By) -> Vec<Vec<&'a KernelRecord>> {
    if by == By::Launch {
        return kernels.iter().map(|k| vec![*k]).collect();
    }
    let mut index = HashMap::new();
    let mut groups: Vec<Vec<&KernelRecord>> = Vec::new();
    for kernel in kernels {
        let at = *index.entry(key(kernel, by)).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[at].push(kernel);
    }
    groups
}

/// What the point is called besides, or instead of, its kernel's name.
fn group_name(first: &KernelRecord, by: By) -> Option<String> {
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
        By::Class => Some(or(first.class.as_deref(), "(no known class)")),
        By::Phase => {
            let parts =
                [first.version.as_deref(), first.stage.map(Stage::name), first.phase.map(Phase::name)];
            let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
            Some(or(Some(&name), "(no known phase)"))
        }
        By::File => Some(or(first.file.rsplit(['/', '\\']).next(), &first.file)),
    }
}

fn point(members: &[&KernelRecord], by: By, run: &Run, ceilings: &Ceilings) -> Point {
    let first = members[0];
    let set = ceilings_of(first, run, ceilings);
    let flops = counts(members);
    let of = |f: fn(&KernelRecord) -> &Option<Measured>| sum(members.iter().map(|m| f(m).as_ref()));
    let (time, bytes) = (of(|m| &m.time), of(|m| &m.dram_bytes));
    let floor: Option<Floor> =
        members.iter().map(|m| member_floor(m, &ceilings_of(m, run, ceilings))).sum::<Option<Floor>>();
    let rates = first.rates.clone().filter(|_| members.len() == 1 && time.is_none());
    let counted = flops.total.is_some() || rates.as_ref().is_some_and(|r| r.flops.total().is_some());
    let flops_complete = counted && members.iter().all(|m| m.flops_complete);
    // What a rate does in a second takes a second.
    let time_s = if rates.is_some() { Some(1.0) } else { time.as_ref().map(|t| t.value) };
    let bound = bound(floor.as_ref(), flops_complete, time_s, bytes.as_ref());
    let one_kernel = matches!(by, By::Kernel | By::Launch | By::Grid);
    let one_place = !matches!(by, By::Nvtx | By::Class | By::File);
    Point {
        level: match by {
            By::Launch => Level::Launch,
            By::Kernel | By::Grid => Level::Kernel,
            By::NameBase | By::Nvtx | By::Phase | By::Class | By::File => Level::Group,
        },
        file: first.file.clone(),
        launch: if members.len() == 1 { first.launch.clone() } else { None },
        kernel: one_kernel.then(|| first.kernel.clone()),
        short_name: None,
        group: group_name(first, by),
        launches: members.iter().map(|m| m.launches).sum(),
        device: first.device.clone(),
        version: first.version.clone().filter(|_| one_place),
        stage: first.stage.filter(|_| one_place),
        phase: first.phase.filter(|_| one_place),
        class: first.class.clone().filter(|_| one_kernel || by == By::Class),
        time,
        share: None,
        bytes,
        byte_origin: Origin::Counter,
        l2_bytes: of(|m| &m.l2_bytes),
        l1_bytes: of(|m| &m.l1_bytes),
        dram_percent: mean_percent(members, |m| &m.dram_percent),
        sm_percent: mean_percent(members, |m| &m.sm_percent),
        rates,
        used_ceilings: used(members, &set),
        flops,
        flop_origin: Origin::Counter,
        flops_complete,
        missing: missing(members),
        floor,
        bound,
        ceilings: set,
    }
}

/// A percentage of a peak over several launches: the mean weighted by time, `None` unless every launch has both.
fn mean_percent(members: &[&KernelRecord], of: fn(&KernelRecord) -> &Option<Measured>) -> Option<f64> {
    if let [one] = members {
        return of(one).as_ref().map(|m| m.value);
    }
    let parts: Option<Vec<(f64, f64)>> =
        members.iter().map(|m| Some((of(m).as_ref()?.value, m.time.as_ref()?.value))).collect();
    let parts = parts?;
    let total: f64 = parts.iter().map(|(_, time)| time).sum();
    (total > 0.0).then(|| parts.iter().map(|(value, time)| value * time).sum::<f64>() / total)
}

fn ceilings_of(kernel: &KernelRecord, run: &Run, ceilings: &Ceilings) -> CeilingSet {
    let of_device = kernel.device.as_deref().and_then(|name| {
        ceilings.by_device.iter().find(|(device, _)| device == name).map(|(_, ceilings)| ceilings.as_slice())
    });
    CeilingSet::new(ceilings.chosen.clone())
        .or(&kernel.ceilings)
        .or(of_device.unwrap_or_default())
        .or(&run.ceilings)
}

/// Extensive quantities add up; a sum with an unknown part is unknown.
fn sum<'a>(parts: impl Iterator<Item = Option<&'a Measured>>) -> Option<Measured> {
    let parts: Vec<&Measured> = parts.collect::<Option<_>>()?;
    known_sum(&parts)
}

fn known_sum(parts: &[&Measured]) -> Option<Measured> {
    let first = parts.first()?;
    Some(Measured {
        value: parts.iter().map(|p| p.value).sum(),
        source: first.source.clone(),
        lower_bound: parts.iter().any(|p| p.lower_bound),
        estimated: parts.iter().any(|p| p.estimated),
    })
}

fn counts(members: &[&KernelRecord]) -> FlopCounts {
    let of = |f: fn(&KernelFlops) -> &Option<Measured>| sum(members.iter().map(|m| f(&m.flops).as_ref()));
    FlopCounts {
        fp64: of(|f| &f.fp64),
        fp32: of(|f| &f.fp32),
        fp16: of(|f| &f.fp16),
        fp16_packed: of(|f| &f.fp16_packed),
        tensor: of(|f| &f.tensor),
        tensor_by_type: tensor_by_type(members),
        total: total(members),
    }
}

/// A type that one launch has and another lacks counts where it is: launches of one kernel on one chip are
/// collected with the same metrics, and an absent type has no row rather than a zero.
fn tensor_by_type(members: &[&KernelRecord]) -> BTreeMap<String, Measured> {
    let mut parts: BTreeMap<&str, Vec<&Measured>> = BTreeMap::new();
    for (name, measured) in members.iter().flat_map(|m| &m.flops.tensor_by_type) {
        parts.entry(name).or_default().push(measured);
    }
    parts.into_iter().filter_map(|(name, parts)| Some((name.to_string(), known_sum(&parts)?))).collect()
}

fn total(members: &[&KernelRecord]) -> Option<Measured> {
    let totals: Vec<f64> = members.iter().filter_map(|m| m.flops.total()).collect();
    if totals.is_empty() {
        return None;
    }
    let all: Vec<(&str, &Measured)> = members.iter().flat_map(|m| named_parts(&m.flops)).collect();
    let mut unique: Vec<&str> = Vec::new();
    for (name, _) in &all {
        if !unique.contains(name) {
            unique.push(name);
        }
    }
    Some(Measured {
        value: totals.iter().sum(),
        source: unique.join(" + "),
        lower_bound: totals.len() < members.len()
            || members.iter().any(|m| !m.flops_complete)
            || all.iter().any(|(_, m)| m.lower_bound),
        estimated: all.iter().any(|(_, m)| m.estimated),
    })
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

fn missing(members: &[&KernelRecord]) -> Vec<String> {
    let mut names: Vec<String> = members.iter().flat_map(|m| m.missing.iter().cloned()).collect();
    names.sort();
    names.dedup();
    names
}

/// The floor of one record; of a summary of several launches it is that of their sum, and where there are only
/// rates, that of what they do in a second.
fn member_floor(kernel: &KernelRecord, ceilings: &CeilingSet) -> Option<Floor> {
    if let (None, Some(rates)) = (&kernel.time, &kernel.rates) {
        rates.flops.total()?;
        return floor(rates.dram_bytes.as_ref()?.value, &demands(&rates.flops), ceilings);
    }
    kernel.flops.total()?;
    floor(kernel.dram_bytes.as_ref()?.value, &demands(&kernel.flops), ceilings)
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
    let name = name.split("_sparsity").next().unwrap_or(name);
    let (from, to) = name.split_once("_dst_").map_or((name, None), |(from, to)| (from, Some(to)));
    let parse = |text: &str| Precision::ALL.into_iter().find(|p| p.name() == text);
    let first = from.split('_').find_map(parse).unwrap_or(Precision::Fp16);
    (first, to.and_then(parse))
}

fn used(members: &[&KernelRecord], ceilings: &CeilingSet) -> Vec<String> {
    let mut names: Vec<String> = ceilings.dram().map(|c| c.name()).into_iter().collect();
    for demand in members.iter().flat_map(|m| demands(&m.flops)).filter(|d| d.flops > 0.0) {
        let name = ceilings.compute(&demand).map(|c| c.name());
        names.extend(name.filter(|n| !names.contains(n)));
    }
    names
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
