//! What every measuring command does around its measurement: the run file, the manifest, the ceilings, the end.

use crate::args::ModelArgs;
use crate::gpu::{self, Device};
use crate::interrupt;
use crate::live::Live;
use crate::model::{Chosen, Task};
use crate::progress::Line;
use crate::rank;
use kprof::alloc;
use kprof::attach::Presence;
use kprof::backend::{Backend, cuda_visible_devices, fake_ceilings};
use kprof::host::{self, System, Watch, WatchOptions};
use kprof::hw::Ceiling;
use kprof::llm::{DType, Version};
use kprof::pass::Model;
use kprof::probe::{Depth, GpuDepth, ProbeOptions, bounds, gpu_bounds, measure_cpu, measure_gpu};
use kprof::profile::{
    DeviceInfo, FORMAT_VERSION, Finding, FindingCode, HostInfo, Manifest, ProfileError, Profiled, Record,
    Run, RunConfig, RunWriter,
};
use kprof::runner::{Progress, RunnerError, Sink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the name of a run file says.
pub(crate) struct Place<'a> {
    pub(crate) benchmark: &'a str,
    pub(crate) device: &'a Device,
    pub(crate) model: &'a str,
    pub(crate) dtype: DType,
}

/// The run file: the place asked for, or a new one under profiles/runs/ whose name says what it is.
pub(crate) fn create(
    output: Option<&Path>,
    place: &Place<'_>,
    started: &str,
) -> Result<RunWriter, ProfileError> {
    if let Some(path) = output {
        return RunWriter::create(&rank::file(path));
    }
    let stamp: String = started.chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    let Place { benchmark, device, model, dtype } = place;
    let (device, model) = (device.kind(), file_part(model));
    let rank = rank::one_of_several().map(|rank| format!(".{}", rank.file_tag())).unwrap_or_default();
    let name = |suffix: &str| format!("{stamp}-{benchmark}-{model}-{dtype}-{device}{suffix}{rank}.jsonl");
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

/// The command line, with the program by its name: where it is installed matters to nobody else.
pub(crate) fn command() -> Vec<String> {
    std::iter::once("kprof".to_string()).chain(std::env::args().skip(1)).collect()
}

pub(crate) fn device_info(chosen: &Chosen, host: &HostInfo, threads: Option<usize>) -> DeviceInfo {
    let (kind, chosen, device) = (chosen.device.kind().to_string(), chosen.why.clone(), &chosen.device);
    let name = match device {
        Device::Cpu => host.cpu.name.clone().unwrap_or_else(|| format!("{} CPU", host.cpu.arch)),
        Device::Fake => "fake device (scripted clock)".to_string(),
        Device::Cuda(gpu) => gpu.name.clone(),
    };
    let plain = DeviceInfo { kind, name, threads, chosen, ..DeviceInfo::default() };
    match device {
        Device::Cuda(gpu) => DeviceInfo {
            uuid: Some(gpu.uuid.clone()),
            mig_profile: gpu.mig_profile.clone(),
            ordinal: Some(gpu.ordinal),
            visible: Some(gpu.visible),
            visible_devices: cuda_visible_devices(),
            ..plain
        },
        Device::Cpu | Device::Fake => plain,
    }
}

/// The device's ceilings, probed beside the run (the CPU's on as many threads as compute); the fake device's by definition.
pub(crate) fn ceilings(
    device: &Device,
    threads: Option<usize>,
    line: &mut Line,
) -> anyhow::Result<Vec<Ceiling>> {
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

/// What is measured, on a model that the session loads.
pub(crate) trait Measure {
    /// Whether nothing is run, so that no model is needed.
    fn only_accounts(&self) -> bool {
        false
    }

    /// What can be said without a model, where nothing is run.
    fn account<B: Backend>(&mut self, backend: &B, sink: &mut Sink<'_>) -> Result<(), RunnerError> {
        let _ = (backend, sink);
        Ok(())
    }

    /// Measures; everything goes into the sink.
    fn measure<B: Backend>(
        &mut self,
        backend: &mut B,
        model: &Model<B>,
        sink: &mut Sink<'_>,
    ) -> Result<(), RunnerError>;
}

/// The measurement of one benchmark.
pub(crate) struct Session<'a> {
    pub(crate) model: &'a ModelArgs,
    pub(crate) chosen: &'a Chosen,
    pub(crate) settings: Settings,
    /// Where the run goes; `None` for a new file under profiles/runs/.
    pub(crate) output: Option<&'a Path>,
    /// Whether ceilings are probed beside the run.
    pub(crate) ceilings: bool,
    /// Whether the machine is watched.
    pub(crate) telemetry: bool,
    /// Whether allocations are counted, from before the weights are loaded.
    pub(crate) ledger: bool,
}

/// What a manifest says of the benchmark.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) benchmark: &'static str,
    pub(crate) prompt_length: usize,
    pub(crate) tokens: usize,
    pub(crate) lengths: Vec<usize>,
    pub(crate) batch: usize,
    pub(crate) warmup: usize,
    pub(crate) repetitions: usize,
    pub(crate) max_time_s: Option<f64>,
    pub(crate) versions: Vec<Version>,
}

/// How often the machine is looked at.
const TELEMETRY_INTERVAL: Duration = Duration::from_millis(100);

impl Session<'_> {
    /// Measures into a new run file and gives the run; `complete` is false when the user stopped it.
    pub(crate) fn run(&self, what: &mut impl Measure, line: &mut Line) -> anyhow::Result<Run> {
        self.chosen.on_backend(self.model, At { session: self, what, line })
    }

    fn watch(&self) -> Option<Watch> {
        // A scripted clock has no machine under it; GPUs do nothing in a run on the CPU, and asking them wakes them up.
        let watched = self.telemetry && self.chosen.device != Device::Fake;
        let options = WatchOptions { interval: TELEMETRY_INTERVAL, gpus: self.chosen.device != Device::Cpu };
        watched.then(|| Watch::start(System::this(), options))
    }

    fn manifest(&self, backend: &impl Backend, started: &str) -> Manifest {
        let environment = host::environment();
        let settings = self.settings.clone();
        Manifest {
            format_version: FORMAT_VERSION,
            kprof: host::kprof_info(),
            command: command(),
            started: started.to_string(),
            device: device_info(self.chosen, &environment, backend.threads()),
            host: environment,
            config: Some(RunConfig {
                benchmark: settings.benchmark.to_string(),
                implementation: backend.name().to_string(),
                model: self.chosen.spec.clone(),
                weights: self.chosen.source.clone(),
                dtype: self.model.dtype,
                weight_format: self.model.weights,
                instructions: backend.instructions().map(str::to_string),
                exec: self.chosen.device.is_cuda().then(|| gpu::exec(self.model).name().to_string()),
                gemm: backend.gemm(),
                counters: None,
                prompt_length: settings.prompt_length,
                tokens: settings.tokens,
                lengths: settings.lengths,
                batch: settings.batch,
                seed: self.model.seed,
                warmup: settings.warmup,
                repetitions: settings.repetitions,
                max_time_s: settings.max_time_s,
                versions: settings.versions,
            }),
            profiled: Presence::of_process()
                .tool
                .map(|tool| Profiled { tool: Some(tool), ..Profiled::default() }),
            rank: rank::rank().ok().flatten().cloned(),
        }
    }
}

/// A session that meets its backend.
struct At<'a, M> {
    session: &'a Session<'a>,
    what: &'a mut M,
    line: &'a mut Line,
}

impl<M: Measure> Task for At<'_, M> {
    type Output = Run;

    fn run<B: Backend>(self, mut backend: B) -> anyhow::Result<Run> {
        let Self { session, what, line } = self;
        let (began, started) = (Instant::now(), host::now_rfc3339());
        let place = Place {
            benchmark: session.settings.benchmark,
            device: &session.chosen.device,
            model: &session.chosen.spec.name,
            dtype: session.model.dtype,
        };
        let mut writer = create(session.output, &place, &started)?;
        let stop = interrupt::flag();
        let mut run = Run { file: writer.path().display().to_string(), ..Run::default() };
        let live = Live::default();
        let mut record = |record: Record| -> Result<(), ProfileError> {
            writer.append(&record)?;
            live.see(&record);
            run.push(record);
            Ok(())
        };
        let manifest = session.manifest(&backend, &started);
        let tool = manifest.profiled.as_ref().and_then(|p| p.tool.clone());
        record(Record::Manifest(Box::new(manifest)))?;
        if let Some(tool) = tool {
            record(Record::Finding(under(&tool)))?;
        }
        if session.ceilings {
            for ceiling in ceilings(&session.chosen.device, backend.threads(), line)? {
                record(Record::Ceiling(ceiling))?;
            }
        }
        if session.ledger {
            alloc::start();
        }
        let model = if what.only_accounts() { None } else { Some(session.chosen.load(&backend, line)?) };
        let mut watch = session.watch();
        clock(watch.as_ref(), &mut record)?;
        let max_time_s = session.settings.max_time_s;
        let mut progress = |p: Progress<'_>| line.update(&live.describe(&p, max_time_s));
        let mut sink = Sink { record: &mut record, progress: &mut progress, stop, watch: watch.as_ref() };
        let outcome = match &model {
            Some(model) => what.measure(&mut backend, model, &mut sink),
            None => what.account(&backend, &mut sink),
        };
        alloc::stop();
        clock(watch.as_ref(), &mut record)?;
        if let Some(cost) = watch.as_mut().and_then(Watch::stop) {
            record(Record::TelemetryCost(cost))?;
        }
        for finding in fallbacks(&mut backend) {
            record(Record::Finding(finding))?;
        }
        match outcome {
            Ok(()) => record(Record::End { wall_s: began.elapsed().as_secs_f64() })?,
            Err(RunnerError::Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(run)
    }
}

/// Notes of an implementation that are findings of their own: of a version without a cache every step has another shape.
const MOST_NOTES: usize = 5;

/// What an implementation did otherwise than asked for.
pub(crate) fn fallbacks(backend: &mut impl Backend) -> Vec<Finding> {
    let about = backend.name();
    let notes = backend.take_notes();
    let more = notes.len().saturating_sub(MOST_NOTES);
    let finding = |note: String| Finding::new(FindingCode::Fallback, about, note);
    let last = (more > 0).then(|| finding(format!("and {more} more of this kind")));
    let remedy = |note| finding(note).with_remedy("kprof's own kernel computed it");
    notes.into_iter().take(MOST_NOTES).map(remedy).chain(last).collect()
}

/// Records a moment on the run's clock and on the machine's, of one rank of several: that is what tells when ranks did what.
pub(crate) fn clock(
    watch: Option<&Watch>,
    record: &mut dyn FnMut(Record) -> Result<(), ProfileError>,
) -> Result<(), ProfileError> {
    let moment = rank::one_of_several().and(watch).map(Watch::moment);
    moment.map_or(Ok(()), |moment| record(Record::Clock(moment)))
}

/// Times under a profiler are not those without it.
fn under(tool: &str) -> Finding {
    let message = format!("{tool} was attached while this was measured: its cost is in every time");
    Finding::new(FindingCode::ProfilerAttached, "kprof", message).with_remedy("measure without it")
}
