//! Where the time of a trace goes: by class of kernel, busy and idle devices, communication, copies.
//!
//! Definitions, per device:
//!
//! * span: from the start of the first kernel to the end of the last; busy: the union of kernel intervals, so that
//!   kernels side by side on several streams count once; idle = span - busy
//! * a gap is idle time between two kernels. The part before the host called for the kernel that ends it is the host's
//!   (`host_wait`); the rest is launch latency, a dependency or a full queue (`queue_wait`); without a known call it is
//!   neither (`unknown_wait`). The three add up to idle. (HolisticTraceAnalysis splits whole gaps by the same
//!   comparison.)
//! * communication: the union of kernels of the class `communication`; exposed: the part of it during which no other
//!   kernel ran on the device
//! * copies are no kernels: a device that only copies is idle here; `copy_in_idle` says how much of idle that is

use super::Place;
use super::intervals::{Interval, difference, gaps, length, union};
use crate::llm::Stage;
use crate::profile::{CopyKind, CopyRecord, KernelRecord, Run, TraceInfo};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// The class of kernels whose time is communication.
pub const COMMUNICATION: &str = "communication";

/// One kernel on the timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ran {
    pub(super) from: f64,
    pub(super) to: f64,
    /// NaN where the call is not known.
    pub(super) called: f64,
    pub(super) communication: bool,
    /// As ranges around the call say; names of kernels tell too little to divide a timeline by.
    pub(super) stage: Option<Stage>,
}

/// Launches and time of one kernel with one grid in one stage and class.
#[derive(Clone, Debug)]
pub(super) struct OfKernel {
    pub(super) stage: Option<Stage>,
    pub(super) class: Option<String>,
    pub(super) launches: u64,
    pub(super) time_s: f64,
}

/// Sums over the kernels of a class.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClassTime {
    /// The class; `None` for kernels that no rule knows.
    pub class: Option<String>,
    /// Launches.
    pub launches: u64,
    /// Their time on the device, summed: kernels side by side count each.
    pub time_s: f64,
    /// Its part of all kernels' time; `None` where that is zero.
    pub share: Option<f64>,
}

/// A device's time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeviceTime {
    /// Its number in the trace.
    pub device: Option<u32>,
    /// Its name.
    pub name: Option<String>,
    /// Kernels that ran on it.
    pub kernels: u64,
    /// See the module.
    pub span_s: f64,
    /// See the module.
    pub busy_s: f64,
    /// See the module.
    pub idle_s: f64,
    /// How many gaps.
    pub gaps: u64,
    /// The middle one; `None` without gaps.
    pub median_gap_s: Option<f64>,
    /// The longest one.
    pub longest_gap_s: Option<f64>,
    /// See the module; `None` where no call is known.
    pub host_wait_s: Option<f64>,
    /// See the module; `None` where no call is known.
    pub queue_wait_s: Option<f64>,
    /// See the module.
    pub unknown_wait_s: f64,
    /// See the module.
    pub communication_s: f64,
    /// See the module.
    pub exposed_communication_s: f64,
    /// See the module.
    pub copy_in_idle_s: f64,
}

/// Copies of one kind between the same kinds of memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CopyTime {
    /// The direction, or `set`.
    pub kind: CopyKind,
    /// The memory as the trace names it.
    pub memory: Option<String>,
    /// How many.
    pub count: u64,
    /// Bytes; `None` unless all of them have bytes.
    pub bytes: Option<f64>,
    /// Their time, summed.
    pub time_s: f64,
    /// Bytes / time.
    pub bytes_per_s: Option<f64>,
}

/// Where the time of one trace goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TimelineReport {
    /// The file.
    pub file: String,
    /// The kind of trace.
    pub format: String,
    /// The rank whose trace it is.
    pub rank: Option<u32>,
    /// From the first event on a device to the end of the last, copies included.
    pub span_s: Option<f64>,
    /// Launches.
    pub launches: u64,
    /// The time of all kernels, summed.
    pub kernel_time_s: f64,
    /// By class, the longest first.
    pub classes: Vec<ClassTime>,
    /// By device; empty where the trace has sums only.
    pub devices: Vec<DeviceTime>,
    /// By kind and memory, the longest first.
    pub copies: Vec<CopyTime>,
}

/// A file, and a device as its trace tells it from others.
type DeviceKey = (String, Option<u32>, Option<String>);

/// A timeline in the making: some 32 bytes are kept of each kernel.
#[derive(Debug, Default)]
pub struct TimelineBuilder {
    devices: BTreeMap<DeviceKey, Vec<Ran>>,
    /// By file and kernel, then by grid.
    kernels: HashMap<(String, String), HashMap<Option<String>, Vec<OfKernel>>>,
    /// By file and class: launches and time.
    classes: HashMap<(String, Option<String>), (u64, f64)>,
}

impl TimelineBuilder {
    /// Adds a kernel that is for what `place` says; one of no timeline counts for nothing.
    pub fn push(&mut self, kernel: &KernelRecord, place: &Place) {
        let (Some(timeline), Some(time)) = (&kernel.timeline, &kernel.time) else { return };
        let sum = self.classes.entry((kernel.file.clone(), place.class.clone())).or_default();
        *sum = (sum.0 + kernel.launches, sum.1 + time.value);
        self.push_kernel(kernel, place, time.value);
        let Some(from) = timeline.start_s else { return };
        let ran = Ran {
            stage: kernel.stage,
            from,
            to: from + time.value,
            called: timeline.launch_start_s.unwrap_or(f64::NAN),
            communication: place.class.as_deref() == Some(COMMUNICATION),
        };
        let key = (kernel.file.clone(), timeline.device, kernel.device.clone());
        self.devices.entry(key).or_default().push(ran);
    }

    fn push_kernel(&mut self, kernel: &KernelRecord, place: &Place, time_s: f64) {
        let of_name = self.kernels.entry((kernel.file.clone(), kernel.kernel.clone())).or_default();
        if !of_name.contains_key(&kernel.grid) {
            of_name.insert(kernel.grid.clone(), Vec::new());
        }
        let of_grid = of_name.get_mut(&kernel.grid).expect("it was inserted where it was missing");
        let same = |k: &&mut OfKernel| k.stage == kernel.stage && k.class == place.class;
        match of_grid.iter_mut().find(same) {
            Some(of) => (of.launches, of.time_s) = (of.launches + kernel.launches, of.time_s + time_s),
            None => of_grid.push(OfKernel {
                stage: kernel.stage,
                class: place.class.clone(),
                launches: kernel.launches,
                time_s,
            }),
        }
    }

    /// The kernels of each device in a file, in the order they began.
    pub(super) fn devices(&self, file: &str) -> Vec<Vec<Ran>> {
        let of_file = self.devices.iter().filter(|((of, ..), _)| of == file);
        let sorted = of_file.map(|(_, ran)| {
            let mut ran = ran.clone();
            ran.sort_by(|a, b| a.from.total_cmp(&b.from));
            ran
        });
        sorted.collect()
    }

    /// Kernels by name and grid in a file.
    pub(super) fn kernels(&self, file: &str) -> impl Iterator<Item = (&str, Option<&str>, &OfKernel)> {
        let of_file = self.kernels.iter().filter(move |((of, _), _)| of == file);
        of_file.flat_map(|((_, name), grids)| {
            let of_grid = grids.iter().flat_map(|(grid, of)| of.iter().map(move |o| (grid.as_deref(), o)));
            of_grid.map(move |(grid, o)| (name.as_str(), grid, o))
        })
    }

    /// What became of the time in each trace of `run`, whose kernels were added.
    pub fn finish(mut self, run: &Run) -> Vec<TimelineReport> {
        run.traces.iter().map(|trace| self.report(run, trace)).collect()
    }

    fn report(&mut self, run: &Run, trace: &TraceInfo) -> TimelineReport {
        let of_file = |file: &str| file == trace.file;
        let mut classes: Vec<ClassTime> = Vec::new();
        for ((file, class), (launches, time_s)) in &self.classes {
            if of_file(file) {
                classes.push(ClassTime {
                    class: class.clone(),
                    launches: *launches,
                    time_s: *time_s,
                    share: None,
                });
            }
        }
        classes.sort_by(|a, b| b.time_s.total_cmp(&a.time_s).then_with(|| a.class.cmp(&b.class)));
        let kernel_time_s = classes.iter().fold(0.0, |sum, c| sum + c.time_s);
        for class in &mut classes {
            class.share = (kernel_time_s > 0.0).then(|| class.time_s / kernel_time_s);
        }
        let copies: Vec<&CopyRecord> = run.copies.iter().filter(|c| of_file(&c.file)).collect();
        let copies_of = |device: Option<u32>| {
            let copies = copies.iter().filter(move |c| c.timeline.device == device);
            union(
                copies.filter_map(|c| Some((c.timeline.start_s?, c.timeline.start_s? + c.time_s))).collect(),
            )
        };
        let mut devices = Vec::new();
        for ((file, number, name), ran) in &mut self.devices {
            if of_file(file) {
                devices.push(device_time(*number, name.clone(), std::mem::take(ran), &copies_of(*number)));
            }
        }
        TimelineReport {
            file: trace.file.clone(),
            format: trace.format.clone(),
            rank: trace.rank,
            span_s: trace.span_s,
            launches: classes.iter().map(|c| c.launches).sum(),
            kernel_time_s,
            classes,
            devices,
            copies: copy_times(&copies),
        }
    }
}

fn device_time(
    device: Option<u32>,
    name: Option<String>,
    mut ran: Vec<Ran>,
    copies: &[Interval],
) -> DeviceTime {
    ran.sort_by(|a, b| a.from.total_cmp(&b.from));
    let of = |communication: bool| {
        let chosen = ran.iter().filter(|r| r.communication == communication);
        union(chosen.map(|r| (r.from, r.to)).collect())
    };
    let busy = union(ran.iter().map(|r| (r.from, r.to)).collect());
    let (communication, compute) = (of(true), of(false));
    let span_s = busy.first().zip(busy.last()).map_or(0.0, |(first, last)| last.1 - first.0);
    let idle = gaps(&busy);
    let mut lengths: Vec<f64> = idle.iter().map(|(from, to)| to - from).collect();
    lengths.sort_by(f64::total_cmp);
    let waits = waits(&idle, &ran);
    let calls_known = ran.iter().any(|r| !r.called.is_nan());
    DeviceTime {
        device,
        name,
        kernels: ran.len() as u64,
        span_s,
        busy_s: length(&busy),
        idle_s: length(&idle),
        gaps: idle.len() as u64,
        median_gap_s: lengths.get(lengths.len() / 2).copied(),
        longest_gap_s: lengths.last().copied(),
        host_wait_s: calls_known.then_some(waits.host),
        queue_wait_s: calls_known.then_some(waits.queue),
        unknown_wait_s: waits.unknown,
        communication_s: length(&communication),
        exposed_communication_s: length(&difference(&communication, &compute)),
        copy_in_idle_s: length(&idle) - length(&difference(&idle, copies)),
    }
}

#[derive(Debug, Default)]
struct Waits {
    host: f64,
    queue: f64,
    unknown: f64,
}

/// Splits each gap at the moment when the kernel that ends it was called for; `ran` is in order.
fn waits(idle: &[Interval], ran: &[Ran]) -> Waits {
    let mut waits = Waits::default();
    for &(from, to) in idle {
        // Of several that begin together the one called for first.
        let first = ran.partition_point(|r| r.from < to);
        let enders = ran[first..].iter().take_while(|r| r.from <= to);
        let called = enders.map(|r| r.called).filter(|c| !c.is_nan()).min_by(f64::total_cmp);
        match called {
            None => waits.unknown += to - from,
            Some(called) => {
                let called = called.max(from).min(to);
                waits.host += called - from;
                waits.queue += to - called;
            }
        }
    }
    waits
}

fn copy_times(copies: &[&CopyRecord]) -> Vec<CopyTime> {
    let mut sums: BTreeMap<(CopyKind, Option<&str>), CopyTime> = BTreeMap::new();
    for copy in copies {
        let key = (copy.kind, copy.memory.as_deref());
        let sum = sums.entry(key).or_insert_with(|| CopyTime {
            kind: copy.kind,
            memory: copy.memory.clone(),
            count: 0,
            bytes: Some(0.0),
            time_s: 0.0,
            bytes_per_s: None,
        });
        sum.count += copy.count;
        sum.time_s += copy.time_s;
        sum.bytes = sum.bytes.and_then(|bytes| Some(bytes + copy.bytes?));
    }
    let mut times: Vec<CopyTime> = sums.into_values().collect();
    for time in &mut times {
        time.bytes_per_s = time.bytes.filter(|_| time.time_s > 0.0).map(|bytes| bytes / time.time_s);
    }
    times.sort_by(|a, b| b.time_s.total_cmp(&a.time_s));
    times
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Measured, Timeline, TraceInfo};

    fn kernel(class: &str, start: f64, time: f64, called: Option<f64>) -> (KernelRecord, Place) {
        let timeline =
            Timeline { start_s: Some(start), device: Some(0), launch_start_s: called, ..Timeline::default() };
        let kernel = KernelRecord {
            launches: 1,
            time: Some(Measured::new(time, "x")),
            timeline: Some(timeline),
            ..KernelRecord::default()
        };
        (kernel, Place { class: Some(class.into()), ..Place::default() })
    }

    fn copy(kind: CopyKind, start: f64, time_s: f64, bytes: Option<f64>) -> CopyRecord {
        CopyRecord {
            file: String::new(),
            kind,
            memory: None,
            count: 1,
            bytes,
            time_s,
            stream: None,
            timeline: Timeline { start_s: Some(start), device: Some(0), ..Timeline::default() },
        }
    }

    fn report(kernels: &[(KernelRecord, Place)], copies: Vec<CopyRecord>) -> TimelineReport {
        let mut builder = TimelineBuilder::default();
        kernels.iter().for_each(|(k, p)| builder.push(k, p));
        let run = Run { traces: vec![TraceInfo::default()], copies, ..Run::default() };
        builder.finish(&run).remove(0)
    }

    #[test]
    fn idle_time_is_split_at_the_call_of_the_kernel_that_ends_it() {
        // Kernels at [0, 2), [1, 3), [5, 6), [8, 9): busy 3 + 1 + 1 = 5 of 9, gaps [3, 5) and [6, 8).
        // The third was called for at 4.5: 1.5 s of the host, 0.5 s of the queue. The fourth already at 5: 2 s of it.
        let kernels = [
            kernel("gemm", 0.0, 2.0, Some(0.0)),
            kernel("norm", 1.0, 2.0, Some(0.1)),
            kernel("gemm", 5.0, 1.0, Some(4.5)),
            kernel("gemm", 8.0, 1.0, Some(5.0)),
        ];
        let report = report(&kernels, vec![copy(CopyKind::HostToDevice, 3.5, 1.0, Some(8.0))]);
        let device = &report.devices[0];
        assert_eq!((device.span_s, device.busy_s, device.idle_s), (9.0, 5.0, 4.0));
        assert_eq!(
            (device.host_wait_s, device.queue_wait_s, device.unknown_wait_s),
            (Some(1.5), Some(2.5), 0.0)
        );
        assert_eq!((device.gaps, device.longest_gap_s, device.copy_in_idle_s), (2, Some(2.0), 1.0));
        assert_eq!((report.kernel_time_s, report.launches), (6.0, 4));
        assert_eq!((report.classes[0].class.as_deref(), report.classes[0].time_s), (Some("gemm"), 4.0));
        assert_eq!(report.classes[0].share, Some(4.0 / 6.0));
    }

    #[test]
    fn communication_is_exposed_where_nothing_else_runs() {
        let kernels = [
            kernel("gemm", 0.0, 3.0, None),
            kernel(COMMUNICATION, 2.0, 3.0, None),
            kernel("gemm", 6.0, 1.0, None),
        ];
        let device = &report(&kernels, vec![]).devices[0];
        assert_eq!((device.communication_s, device.exposed_communication_s), (3.0, 2.0));
        assert_eq!((device.host_wait_s, device.unknown_wait_s), (None, 1.0));
    }

    #[test]
    fn copies_have_a_rate_only_where_all_have_bytes() {
        let copies = vec![
            copy(CopyKind::HostToDevice, 0.0, 1.0, Some(10.0)),
            copy(CopyKind::HostToDevice, 2.0, 1.0, Some(30.0)),
            copy(CopyKind::DeviceToHost, 3.0, 1.0, None),
            copy(CopyKind::DeviceToHost, 4.0, 0.5, Some(1.0)),
        ];
        let report = report(&[], copies);
        let rates: Vec<_> = report.copies.iter().map(|c| (c.kind, c.count, c.bytes_per_s)).collect();
        assert_eq!(rates, [(CopyKind::HostToDevice, 2, Some(20.0)), (CopyKind::DeviceToHost, 2, None)]);
    }
}
