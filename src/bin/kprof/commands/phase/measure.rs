//! The measuring half of `kprof phase`: manifest, ceilings, passes, end, all appended to the run file as they come.

use super::plan::Plan;
use crate::args::PhaseArgs;
use crate::gpu::{self, Device};
use crate::interrupt;
use crate::model::Task;
use crate::progress::Line;
use kprof::attach::Presence;
use kprof::backend::{Backend, fake_ceilings};
use kprof::host::{self, System, Watch, WatchOptions};
use kprof::hw::Ceiling;
use kprof::llm::Stage;
use kprof::probe::{Depth, GpuDepth, ProbeOptions, bounds, gpu_bounds, measure_cpu, measure_gpu};
use kprof::profile::{
    DeviceInfo, FORMAT_VERSION, Finding, FindingCode, HostInfo, Manifest, ProfileError, Profiled, Record,
    Run, RunConfig, RunWriter, Twin,
};
use kprof::runner::{Progress, RunnerError, Scenario, Sink, measure_phases};
use std::path::{Path, PathBuf};
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
        let mut writer = create(args, plan, &started)?;
        let stop = interrupt::flag();
        let model = plan.chosen.load(&backend, line)?;
        let mut run = Run { file: writer.path().display().to_string(), ..Run::default() };
        let mut record = |record: Record| -> Result<(), ProfileError> {
            writer.append(&record)?;
            run.push(record);
            Ok(())
        };
        record(Record::Manifest(Box::new(manifest(args, plan, &backend, started))))?;
        if let Some(tool) = Presence::of_process().tool {
            record(Record::Finding(under(&tool)))?;
        }
        for ceiling in ceilings(&plan.chosen.device, backend.threads(), line)? {
            record(Record::Ceiling(ceiling))?;
        }
        let mut progress = |p: Progress<'_>| line.update(&describe(p));
        let mut watch = watch(args, &plan.chosen.device);
        let mut sink = Sink { record: &mut record, progress: &mut progress, stop, watch: watch.as_ref() };
        let outcome = measure_phases(&mut backend, &model, &plan.scenario, &mut sink);
        if let Some(cost) = watch.as_mut().and_then(Watch::stop) {
            record(Record::TelemetryCost(cost))?;
        }
        match outcome {
            Ok(_) => record(Record::End { wall_s: began.elapsed().as_secs_f64() })?,
            Err(RunnerError::Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(run)
    }
}

/// Watches the machine, unless told not to; a scripted clock has no machine under it.
fn watch(args: &PhaseArgs, device: &Device) -> Option<Watch> {
    if args.no_telemetry || *device == Device::Fake {
        return None;
    }
    let interval = Duration::from_secs_f64(args.telemetry_interval.0);
    // GPUs do nothing in a run on the CPU, and asking them wakes them up.
    Some(Watch::start(System::this(), WatchOptions { interval, gpus: *device != Device::Cpu }))
}

/// The run file: the place asked for, or a new one under profiles/runs/ whose name says what it is.
fn create(args: &PhaseArgs, plan: &Plan, started: &str) -> Result<RunWriter, ProfileError> {
    if let Some(path) = &args.output {
        return RunWriter::create(path);
    }
    let stamp: String = started.chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    let (device, model) = (plan.chosen.device.kind(), file_part(&plan.chosen.spec.name));
    let name = |suffix: &str| format!("{stamp}-phase-{model}-{}-{device}{suffix}.jsonl", args.model.dtype);
    let folder = Path::new("profiles").join("runs");
    // Two runs may begin in one second: the second takes the next free name.
    let mut candidates = std::iter::once(String::new()).chain((2..).map(|n| format!("-{n}")));
    let free: PathBuf = candidates
        .by_ref()
        .map(|suffix| folder.join(name(&suffix)))
        .find(|path| !path.exists())
        .unwrap_or_else(|| folder.join(name("")));
    RunWriter::create(&free)
}

/// A name as a part of a file's name: what is no letter, digit, dot or underscore becomes a dash.
fn file_part(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || c == '.' || c == '_';
    let words = name.split(|c| !plain(c)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

fn manifest(args: &PhaseArgs, plan: &Plan, backend: &impl Backend, started: String) -> Manifest {
    let environment = host::environment();
    let scenario = &plan.scenario;
    Manifest {
        format_version: FORMAT_VERSION,
        kprof: host::kprof_info(),
        command: command(),
        started,
        device: device_info(&plan.chosen.device, &environment, backend.threads()),
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

/// The command line, with the program by its name: where it is installed matters to nobody else.
fn command() -> Vec<String> {
    std::iter::once("kprof".to_string()).chain(std::env::args().skip(1)).collect()
}

fn device_info(device: &Device, host: &HostInfo, threads: Option<usize>) -> DeviceInfo {
    let name = match device {
        Device::Cpu => host.cpu.name.clone().unwrap_or_else(|| format!("{} CPU", host.cpu.arch)),
        Device::Fake => "fake device (scripted clock)".to_string(),
        Device::Cuda(gpu) => gpu.name.clone(),
    };
    DeviceInfo { kind: device.kind().to_string(), name, threads }
}

/// The device's ceilings, probed beside the run (the CPU's on as many threads as compute); the fake device's by definition.
fn ceilings(device: &Device, threads: Option<usize>, line: &mut Line) -> anyhow::Result<Vec<Ceiling>> {
    match device {
        Device::Fake => return Ok(fake_ceilings()),
        Device::Cuda(device) => {
            let gpu = gpu::open(device)?;
            let mut progress = |what: &str| line.update(&format!("probing ceilings: {what}"));
            return Ok(gpu_bounds(&measure_gpu(&gpu, gpu::depth(GpuDepth::Quick), &mut progress)?));
        }
        Device::Cpu => {}
    }
    let mut options = ProbeOptions::new(Depth::Quick);
    options.threads = threads.unwrap_or(options.threads);
    let measured = measure_cpu(&options, &mut |p| line.update(&format!("probing ceilings: {}", p.what)));
    Ok(bounds(&measured, options.threads))
}

fn describe(p: Progress<'_>) -> String {
    let what = match p.twin {
        None => "warm-up",
        Some(Twin::Plain) => "plain",
        Some(Twin::Instrumented) => "instrumented",
    };
    let left = if p.done > 0 {
        format!("  about {:.0} s left", p.elapsed_s / p.done as f64 * (p.total - p.done) as f64)
    } else {
        String::new()
    };
    format!("{} {what}  {}/{}  {:.0} s{left}", p.version, p.done + 1, p.total, p.elapsed_s)
}
