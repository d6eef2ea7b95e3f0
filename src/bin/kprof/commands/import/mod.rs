//! `kprof import`.

mod results;

use crate::args::ImportArgs;
use crate::exit::usage;
use crate::output;
use anyhow::Context as _;
use kprof::host;
use kprof::ingest::{Classifier, Rules, Seen, fold_any, is_results};
use kprof::profile::{DeviceInfo, FORMAT_VERSION, HostInfo, Manifest, ProfileError, Record, Run, RunWriter};
use kprof::render;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub(crate) fn run(args: &ImportArgs) -> anyhow::Result<()> {
    if args.files.iter().any(|file| is_results(file)) {
        return results::run(args);
    }
    let begun = std::time::Instant::now();
    let output = args.output.clone().unwrap_or_else(|| beside(&args.files[0]));
    if args.files.contains(&output) {
        return Err(usage(format!("{} is both read and written", output.display())));
    }
    output::check_writable([output.as_path()])?;
    let folder = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The run appears whole or not at all.
    let draft =
        tempfile::Builder::new().prefix(".kprof-").tempdir_in(folder).context("cannot write the run")?;
    let path = draft.path().join("run.jsonl");
    let mut writer = RunWriter::create(&path)?;
    let mut rules = Classifier::new(args.rules.as_deref().map(Rules::read).transpose()?);
    writer.append(&Record::Manifest(Box::new(manifest())))?;
    let mut kernels = 0;
    let mut findings = Vec::new();
    for file in &args.files {
        let (run, count) = import(file, &mut rules, &mut writer)?;
        kernels += count;
        findings.extend(run.findings);
    }
    writer.append(&Record::End { wall_s: begun.elapsed().as_secs_f64() })?;
    drop(writer);
    std::fs::rename(&path, &output).with_context(|| format!("cannot write {}", output.display()))?;
    if !findings.is_empty() {
        eprint!("{}", render::findings(&findings, false, output::stderr_width()));
    }
    eprintln!("wrote {}: {kernels} kernel launches", output.display());
    Ok(())
}

/// `folder/trace.json.gz` becomes `trace.run.jsonl` in the current folder: traces often lie where nobody may write.
fn beside(file: &Path) -> PathBuf {
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = [".gz", ".json", ".sqlite", ".csv", ".ncu-rep"]
        .iter()
        .fold(name.as_str(), |name, end| name.strip_suffix(end).unwrap_or(name));
    PathBuf::from(format!("{stem}.run.jsonl"))
}

/// Reads one file and appends what it has; kernels go straight from one to the other.
fn import(file: &Path, rules: &mut Classifier, writer: &mut RunWriter) -> anyhow::Result<(Run, u64)> {
    let begin = writer.length()?;
    let writing = Mutex::new(&mut *writer);
    let writer_of = || writing.lock().unwrap_or_else(PoisonError::into_inner);
    // A reading that starts over gives its kernels again.
    let new = || (0, writer_of().take_back(begin));
    let push = |(count, result): &mut (u64, Result<(), ProfileError>), seen: Seen<'_>| {
        let mut kernel = seen.record.clone();
        // What names of kernels tell of a stage is told again when the run is read; it is no fact of the trace.
        let stage = kernel.stage;
        rules.apply(&mut kernel);
        kernel.stage = stage;
        *count += 1;
        if result.is_ok() {
            *result = writer_of().append(&Record::Kernel(Box::new(kernel)));
        }
    };
    let (run, (count, result)) = fold_any(file, new, push)?;
    result?;
    if run.manifest.is_some() {
        return Err(usage(format!("{}: it is a run file already", file.display())));
    }
    append(&run, writer)?;
    Ok((run, count))
}

fn append(run: &Run, writer: &mut RunWriter) -> Result<(), ProfileError> {
    let records = run
        .profiler
        .iter()
        .map(|p| Record::Profiler(p.clone()))
        .chain(run.traces.iter().map(|t| Record::Trace(t.clone())))
        .chain(run.ranges.iter().map(|r| Record::Range(r.clone())))
        .chain(run.copies.iter().map(|c| Record::Copy(c.clone())))
        .chain(run.findings.iter().map(|f| Record::Finding(f.clone())));
    records.into_iter().try_for_each(|record| writer.append(&record))
}

/// The machine that recorded a trace is not known, and this one did not.
fn manifest() -> Manifest {
    Manifest {
        format_version: FORMAT_VERSION,
        kprof: host::kprof_info(),
        command: std::iter::once("kprof".to_string()).chain(std::env::args().skip(1)).collect(),
        started: host::now_rfc3339(),
        host: HostInfo::default(),
        device: DeviceInfo { kind: "import".to_string(), name: "n/a".to_string(), ..DeviceInfo::default() },
        config: None,
        profiled: None,
        rank: None,
    }
}
