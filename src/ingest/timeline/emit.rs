//! From what was collected to records: kernels in the order they ran, one at a time.

use super::paths::{PathId, Paths, Question, attribute};
use super::{Activity, Call, Collected, Kernel, Name};
use crate::ingest::rules::Rules;
use crate::ingest::steps::step_mark;
use crate::llm::Stage;
use crate::profile::{
    CopyRecord, Finding, FindingCode, KernelRecord, Measured, RangeRecord, Run, StepMark, Timeline,
};
use std::collections::HashMap;

/// What takes the kernels.
pub(in crate::ingest) type Sink<'a> = &'a mut dyn FnMut(&KernelRecord);

/// The stage that ranges tell: of the innermost that encloses a step, or by the built-in rules for ranges. A step of
/// both stages has none, whatever else its ranges are called.
fn with_stage(ranges: Vec<String>) -> (Vec<String>, Option<Stage>) {
    let stage = match ranges.iter().rev().find_map(|range| step_mark(range)) {
        Some(mark) => mark.stage,
        None => Rules::builtin().meaning("", &ranges).stage,
    };
    (ranges, stage)
}

/// Nanoseconds in seconds.
fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

impl Collected {
    /// Gives the kernels to `push` in the order they began, and everything else as a run of `file`.
    pub(in crate::ingest) fn emit(mut self, file: &str, push: Sink<'_>) -> Run {
        self.kernels.sort_by_key(|k| k.at.start_ns);
        self.copies.sort_by_key(|c| c.at.start_ns);
        self.info.file = file.to_string();
        let origin_ns = self.origin();
        let (paths, of_kernel) = self.paths();
        self.info.span_s = self.span();
        self.info.matmuls = self.matmul_shapes();
        let run = Run {
            profiler: Some(self.profiler.clone()),
            file: file.to_string(),
            traces: vec![self.info.clone()],
            ranges: self.range_records(file, origin_ns),
            copies: self.copy_records(file, origin_ns),
            devices: self.device_names(),
            findings: self.all_findings(file),
            complete: true,
            ..Run::default()
        };
        let mut nvtx: HashMap<PathId, (Vec<String>, Option<Stage>)> = HashMap::new();
        for (kernel, path) in self.kernels.iter().zip(of_kernel) {
            let texts = || paths.of(path).iter().map(|n| self.names.text(*n).to_string()).collect();
            let (nvtx, stage) = nvtx.entry(path).or_insert_with(|| with_stage(texts()));
            push(&self.kernel_record(kernel, file, origin_ns, nvtx.clone(), *stage));
        }
        run
    }

    /// The first moment of anything that is kept: what records count from.
    fn origin(&self) -> i64 {
        let of = |a: &Activity| a.start_ns.min(self.call_of(a).map_or(i64::MAX, |c| c.start_ns));
        let starts = self.kernels.iter().map(|k| of(&k.at)).chain(self.copies.iter().map(|c| of(&c.at)));
        starts.chain(self.ranges.iter().filter(|r| r.recorded).map(|r| r.start_ns)).min().unwrap_or(0)
    }

    fn span(&self) -> Option<f64> {
        let all = || self.kernels.iter().map(|k| &k.at).chain(self.copies.iter().map(|c| &c.at));
        let start = all().map(|a| a.start_ns).min()?;
        let end = all().map(|a| a.start_ns.saturating_add(a.time_ns)).max()?;
        Some(seconds(end.saturating_sub(start)))
    }

    fn call_of(&self, at: &Activity) -> Option<&Call> {
        self.calls.get(&at.call?)
    }

    /// The path of each kernel: of ranges around the call that launched it, or around itself on the device where
    /// there is no call.
    fn paths(&mut self) -> (Paths, Vec<PathId>) {
        let mut paths = Paths::default();
        let mut answers = [vec![0; self.kernels.len()], vec![0; self.kernels.len()]];
        let (mut of_thread, mut of_process) = (Vec::new(), Vec::new());
        for (index, kernel) in self.kernels.iter().enumerate() {
            match self.call_of(&kernel.at) {
                Some(call) => {
                    let question = |lane| Question { lane, at_ns: call.start_ns, index };
                    of_thread.push(question(call.lane));
                    of_process.extend(call.process.map(question));
                }
                None => {
                    let question = |lane| Question { lane, at_ns: kernel.at.start_ns, index };
                    of_thread.extend(kernel.at.lane.map(question));
                }
            }
        }
        let [inner, outer] = &mut answers;
        attribute(&mut self.ranges, &mut of_thread, &mut paths, inner);
        attribute(&mut self.ranges, &mut of_process, &mut paths, outer);
        let joined = outer.iter().zip(inner.iter()).map(|(o, i)| paths.joined(*o, *i)).collect();
        (paths, joined)
    }

    fn text(&self, name: Option<Name>) -> Option<String> {
        name.map(|n| self.names.text(n).to_string())
    }

    fn timeline(&self, at: &Activity, origin_ns: i64) -> Timeline {
        let call = self.call_of(at);
        Timeline {
            start_s: Some(seconds(at.start_ns.saturating_sub(origin_ns))),
            device: at.device,
            rank: self.info.rank,
            correlation: at.call.map(|(_, id)| id),
            launch_start_s: call.map(|c| seconds(c.start_ns.saturating_sub(origin_ns))),
            launch_time_s: call.map(|c| seconds(c.time_ns)),
        }
    }

    fn kernel_record(
        &self,
        kernel: &Kernel,
        file: &str,
        origin_ns: i64,
        nvtx: Vec<String>,
        stage: Option<Stage>,
    ) -> KernelRecord {
        let at = &kernel.at;
        KernelRecord {
            file: file.to_string(),
            kernel: self.names.text(kernel.name).to_string(),
            launches: 1,
            process: self.text(at.process),
            device: self.device_name(at.device),
            grid: self.text(kernel.grid),
            block: self.text(kernel.block),
            registers: kernel.resources.registers,
            static_shared_bytes: kernel.resources.static_shared.map(u64::from),
            dynamic_shared_bytes: kernel.resources.dynamic_shared.map(u64::from),
            shared_bytes: kernel.resources.shared.map(u64::from),
            context: self.text(at.context),
            stream: self.text(at.stream),
            nvtx,
            stage,
            timeline: Some(self.timeline(at, origin_ns)),
            time: Some(Measured::new(seconds(at.time_ns), self.time_source)),
            ..KernelRecord::default()
        }
    }

    fn copy_records(&self, file: &str, origin_ns: i64) -> Vec<CopyRecord> {
        let record = |c: &super::Copy| CopyRecord {
            file: file.to_string(),
            kind: c.kind,
            memory: self.text(c.memory),
            count: 1,
            bytes: c.bytes.or_else(|| self.call_of(&c.at)?.bytes),
            time_s: seconds(c.at.time_ns),
            stream: self.text(c.at.stream),
            timeline: self.timeline(&c.at, origin_ns),
        };
        self.copies.iter().map(record).collect()
    }

    fn range_records(&self, file: &str, origin_ns: i64) -> Vec<RangeRecord> {
        let mut marks: HashMap<Name, Option<StepMark>> = HashMap::new();
        let mut records: Vec<RangeRecord> = Vec::new();
        for range in self.ranges.iter().filter(|r| r.recorded) {
            let name = self.names.text(range.name);
            let ends = range.end_ns < i64::MAX;
            records.push(RangeRecord {
                file: file.to_string(),
                name: name.to_string(),
                start_s: seconds(range.start_ns.saturating_sub(origin_ns)),
                time_s: ends.then(|| seconds(range.end_ns.saturating_sub(range.start_ns))),
                thread: Some(self.names.text(range.lane).to_string()),
                rank: self.info.rank,
                step: marks.entry(range.name).or_insert_with(|| step_mark(name)).clone(),
            });
        }
        records.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
        records
    }

    fn device_name(&self, number: Option<u32>) -> Option<String> {
        self.info.devices.iter().find(|d| Some(d.number) == number)?.name.clone()
    }

    /// The names of devices that something ran on, each once.
    fn device_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let mut numbers: Vec<u32> = self.kernels.iter().filter_map(|k| k.at.device).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for name in numbers.into_iter().filter_map(|n| self.device_name(Some(n))) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn all_findings(&self, file: &str) -> Vec<Finding> {
        let mut findings = self.findings.clone();
        let backwards = |a: &Activity| a.time_ns < 0;
        let all = self.kernels.iter().map(|k| &k.at).chain(self.copies.iter().map(|c| &c.at));
        let count = all.filter(|a| backwards(a)).count();
        if count > 0 {
            let message =
                format!("{count} events end before they begin: their times are as the file has them");
            findings.push(Finding::new(FindingCode::LaunchInvalid, file, message));
        }
        findings
    }
}
