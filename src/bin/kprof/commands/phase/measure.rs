//! The measuring half of `kprof phase`: manifest, ceilings, passes, end, all appended to the run file as they come.

use super::counters;
use super::plan::Plan;
use crate::args::PhaseArgs;
use crate::gpu::{self, Device};
use crate::interrupt;
use crate::live::Live;
use crate::model::Task;
use crate::progress::Line;
use crate::rank;
use crate::session;
use kprof::attach::Presence;
use kprof::backend::Backend;
use kprof::host::{self, System, Watch, WatchOptions};
use kprof::llm::Stage;
use kprof::profile::{
    FORMAT_VERSION, Finding, FindingCode, Manifest, ProfileError, Profiled, Record, Run, RunConfig, RunWriter,
};
use kprof::runner::{Progress, RunnerError, Scenario, Sink, measure_phases};
use std::time::{Duration, Instant};

/// Measures into a new run file and gives the run; `complete` is false when the user stopped it.
pub(super) fn measure(args: &PhaseArgs, plan: &Plan, line: &mut Line) -> anyhow::Result<Run> {
    plan.chosen.on_backend(&args.model, Measurement { args, plan, line })
}

struct Measurement<'a> {
    args: &'a PhaseArgs,
    plan: &'a Plan,
    line: &'a mut Line,
}

impl Task for Measurement<'_> {
    type Output = Run;

    fn run<B: Backend>(self, mut backend: B) -> anyhow::Result<Run> {
        let Self { args, plan, line } = self;
        let began = Instant::now();
        let started = host::now_rfc3339();
        // What cannot be counted is better known before anything is measured.
        let mut counting = counters::prepare(args, &plan.chosen.device)?;
        let mut writer = create(args, plan, &started)?;
        let stop = interrupt::flag();
        let model = plan.chosen.load(&backend, line)?;
        if let Some(counting) = &mut counting {
            counting.kernels.file = writer.path().display().to_string();
        }
        let mut run = Run { file: writer.path().display().to_string(), ..Run::default() };
        let live = Live::default();
        let mut record = |record: Record| -> Result<(), ProfileError> {
            writer.append(&record)?;
            live.see(&record);
            run.push(record);
            Ok(())
        };
        let counters = counting.as_ref().map(|counting| counting.described.clone());
        for first in first_records(args, plan, &backend, started, counters) {
            record(first)?;
        }
        let before = match args.no_ceilings {
            true => Vec::new(),
            false => session::ceilings(&plan.chosen.device, backend.threads(), line)?,
        };
        for ceiling in &before {
            record(Record::Ceiling(ceiling.clone()))?;
        }
        let measuring = Instant::now();
        let max_time_s = plan.scenario.schedule.max_time_s;
        let mut progress = |p: Progress<'_>| line.update(&live.describe(&p, max_time_s));
        let mut watch = watch(args, &plan.chosen.device);
        session::clock(watch.as_ref(), &mut record)?;
        let mut sink = Sink { record: &mut record, progress: &mut progress, stop, watch: watch.as_ref() };
        let mut outcome = measure_phases(&mut backend, &model, &plan.scenario, &mut sink);
        if let (Ok(_), Some(counting)) = (&outcome, &mut counting) {
            let counted = counting.run(&mut backend, &model, &plan.scenario, &mut sink);
            outcome = counted.and(outcome);
        }
        session::clock(watch.as_ref(), &mut record)?;
        if let Some(cost) = watch.as_mut().and_then(Watch::stop) {
            record(Record::TelemetryCost(cost))?;
        }
        if outcome.is_ok() && measuring.elapsed() >= WORTH_PROBING_AGAIN && !before.is_empty() {
            let after = session::ceilings(&plan.chosen.device, backend.threads(), line)?;
            if let Some(finding) = host::ceilings_moved(&before, &after) {
                record(Record::Finding(finding))?;
            }
        }
        for finding in session::fallbacks(&mut backend) {
            record(Record::Finding(finding))?;
        }
        match outcome {
            Ok(_) => record(Record::End { wall_s: began.elapsed().as_secs_f64() })?,
            Err(RunnerError::Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(run)
    }
}

/// A probe takes about a second: after shorter measurements the first one is near enough.
const WORTH_PROBING_AGAIN: Duration = Duration::from_secs(5);

/// Watches the machine, unless told not to; a scripted clock has no machine under it.
fn watch(args: &PhaseArgs, device: &Device) -> Option<Watch> {
    if args.no_telemetry || *device == Device::Fake {
        return None;
    }
    let interval = Duration::from_secs_f64(args.telemetry_interval.0);
    // GPUs do nothing in a run on the CPU, and asking them wakes them up.
    Some(Watch::start(System::this(), WatchOptions { interval, gpus: *device != Device::Cpu }))
}

/// The run file of this measurement.
pub(super) fn create(args: &PhaseArgs, plan: &Plan, started: &str) -> Result<RunWriter, ProfileError> {
    // One process of several writes where the one that started it looks.
    match &args.part {
        Some(part) => RunWriter::create(part),
        None => session::create(args.output.as_deref(), &place(args, plan), started),
    }
}

fn place<'a>(args: &PhaseArgs, plan: &'a Plan) -> session::Place<'a> {
    let (device, model) = (&plan.chosen.device, plan.chosen.spec.name.as_str());
    session::Place { benchmark: "phase", device, model, dtype: args.model.dtype }
}

/// What a run file begins with: the manifest, and who else profiles this process.
fn first_records(
    args: &PhaseArgs,
    plan: &Plan,
    backend: &impl Backend,
    started: String,
    counters: Option<String>,
) -> Vec<Record> {
    let mut manifest = manifest(args, plan, backend, started);
    if let Some(config) = &mut manifest.config {
        config.counters = counters;
    }
    let profiler = Presence::of_process().tool.map(|tool| Record::Finding(under(&tool)));
    [Record::Manifest(Box::new(manifest))].into_iter().chain(profiler).collect()
}

fn manifest(args: &PhaseArgs, plan: &Plan, backend: &impl Backend, started: String) -> Manifest {
    let environment = host::environment();
    let scenario = &plan.scenario;
    Manifest {
        format_version: FORMAT_VERSION,
        kprof: host::kprof_info(),
        command: session::command(),
        started,
        device: session::device_info(&plan.chosen, &environment, backend.threads()),
        host: environment,
        config: Some(RunConfig {
            benchmark: "phase".to_string(),
            implementation: backend.name().to_string(),
            model: plan.chosen.spec.clone(),
            weights: plan.chosen.source.clone(),
            dtype: args.model.dtype,
            weight_format: args.model.weights,
            instructions: backend.instructions().map(str::to_string),
            exec: plan.chosen.device.is_cuda().then(|| gpu::exec(&args.model).name().to_string()),
            gemm: backend.gemm(),
            counters: None,
            prompt_length: scenario.prompt_length,
            tokens: scenario.tokens,
            lengths: Vec::new(),
            batch: scenario.batch,
            seed: scenario.schedule.seed,
            warmup: scenario.schedule.warmup,
            repetitions: scenario.schedule.least,
            max_time_s: scenario.schedule.max_time_s,
            versions: scenario.versions.clone(),
        }),
        profiled: profiled(scenario),
        rank: rank::rank().ok().flatten().cloned(),
    }
}

/// Who looks on, and at what.
fn profiled(scenario: &Scenario) -> Option<Profiled> {
    let tool = Presence::of_process().tool;
    let stages = scenario.profiled.as_ref().map(|p| p.stages.clone()).unwrap_or_default();
    if tool.is_none() && stages.is_empty() {
        return None;
    }
    let decode = scenario.tokens > 1 && stages.contains(&Stage::Decode);
    Some(Profiled { tool, decode_step: decode.then(|| scenario.tokens - 1), stages })
}

/// Times under a profiler are not those without it.
fn under(tool: &str) -> Finding {
    let message = format!("{tool} was attached while this was timed: its cost is in every time");
    Finding::new(FindingCode::ProfilerAttached, "kprof phase", message)
        .with_remedy("take times from a run without it, and kernels from its own report")
}
