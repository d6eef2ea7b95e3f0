//! `kprof roofline`.

mod explain;
mod flags;
mod read;
mod text;
mod unmatched;

use crate::args::RooflineArgs;
use crate::commands::figures::expanded;
use crate::commands::served;
use crate::device;
use crate::exit::{Strict, usage};
use crate::output::{self, Export};
use anyhow::Context as _;
use explain::result;
use flags::{level, precision_note};
use kprof::host;
use kprof::hw::{self, Ceiling, DeviceMatch};
use kprof::ingest::{Classifier, Rules, is_run};
use kprof::llm::Stage;
use kprof::profile::{Finding, FindingCode, Run, read_run};
use kprof::render;
use kprof::render::plot::{ChartOptions, roofline_chart, to_png};
use kprof::roofline::{Ceilings, Counters, JoinReport, Roofline, analyse_launches};
use read::{Read, read};
use std::collections::BTreeSet;
use std::path::PathBuf;
use text::markdown;
use unmatched::unmatched;

/// What another command knows about the files that it hands over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// Findings of its own.
    pub(crate) findings: Vec<Finding>,
    /// The stage of every launch.
    pub(crate) stage: Option<Stage>,
    /// The stage that launches must be known to be of.
    pub(crate) only_stage: Option<Stage>,
    /// A run that marked the steps that were profiled: counters are checked against it. Its times are a profiler's, so
    /// it is no point.
    pub(crate) marked: Option<PathBuf>,
}

pub(crate) fn run(args: &RooflineArgs) -> anyhow::Result<()> {
    run_with(args, Given::default())
}

/// Finds mistakes in the flags before any file is there to be read.
pub(crate) fn check(args: &RooflineArgs) -> anyhow::Result<()> {
    let export = &args.export;
    let figures = [&export.export_svg, &export.export_png];
    output::check_writable(
        export.tables.paths().into_iter().chain(figures.into_iter().filter_map(|p| p.as_deref())),
    )?;
    chosen(args).map(drop)
}

pub(crate) fn run_with(args: &RooflineArgs, given: Given) -> anyhow::Result<()> {
    if !args.label.is_empty() && args.label.len() != args.files.len() {
        let (labels, files) = (args.label.len(), args.files.len());
        return Err(usage(format!("--label gives {labels} names to {files} files; give one to each")));
    }
    let (files, labels) = expanded(&args.files, &args.label);
    let (mut roofline, runs) = analysed(args, &files, &given)?;
    let ranked = files.len() > args.files.len();
    roofline.set_labels(if ranked { &labels } else { &args.label });
    if args.full_names {
        roofline.use_full_names();
    }
    roofline.findings.extend(ambiguous_devices(&runs));
    roofline.findings.extend(given.findings);
    let mut options = ChartOptions {
        title: args.title.clone(),
        footer: render::footer(&runs, &host::kprof_info()) + &precision_note(args),
        levels: args.levels.iter().map(|l| level(*l)).collect(),
        ..ChartOptions::default()
    };
    if let Some(name) = &args.sim {
        let simulated = &device::named(name)?.name;
        roofline.findings.insert(0, device::simulation(simulated));
        device::mark_simulated(&mut options, simulated);
    }
    write(args, &roofline, &options)?;
    let findings = roofline.findings.len();
    if args.strict && findings > 0 { Err(Strict(findings).into()) } else { Ok(()) }
}

/// Reads the files and holds what they have against the ceilings and, where one is given, a model.
fn analysed(args: &RooflineArgs, files: &[PathBuf], given: &Given) -> anyhow::Result<(Roofline, Vec<Run>)> {
    let model = served::model(&args.served)?;
    let mut ceilings = Ceilings { chosen: chosen(args)?, by_device: Vec::new() };
    let mut rules = Classifier::new(args.rules.as_deref().map(Rules::read).transpose()?);
    let marked = given.marked.as_deref().map(read_run).transpose()?;
    // To say of every launch what it is for takes longer than to read it, so that is done where it is asked for.
    let checked = model.is_some() || marked.is_some() || files.iter().any(|file| is_run(file));
    let read = |file: &PathBuf| read(args, given, checked, file, &mut ceilings, &mut rules);
    let read: Vec<Read> = files.iter().map(read).collect::<Result<_, _>>()?;
    let runs_marked = read.iter().map(|r| &r.run).chain(&marked);
    let exports = read.iter().map(|r| (&r.run, &r.taken.sums));
    let (checks, check_findings) = served::checked(&args.served, model.as_ref(), runs_marked, exports);
    let mut counters = Counters::default();
    read.iter().for_each(|read| counters.merge(&read.taken.counters));
    let joined = |read: &Read| {
        let (run, timeline) = (&read.run, &read.taken.timeline);
        model.as_ref().map(|model| served::joined(&args.served, model, run, timeline, &counters, &ceilings))
    };
    let joins: Vec<JoinReport> = read.iter().filter_map(joined).flatten().collect();
    let (mut runs, mut launches, mut timelines) = (Vec::new(), Vec::new(), Vec::new());
    for read in read {
        timelines.extend(read.taken.timeline.finish(&read.run));
        runs.push(read.run);
        launches.push(read.taken.launches);
    }
    let unmatched = unmatched(args, &launches);
    let mut roofline = analyse_launches(runs.iter().zip(launches), &ceilings);
    if roofline.points.is_empty() && roofline.too_small == 0 {
        unmatched.map_or(Ok(()), |message| Err(anyhow::anyhow!(message)))?;
    }
    if let Some(stage) = given.only_stage.filter(|_| roofline.points.is_empty()) {
        anyhow::bail!(
            "no launch is known to be of the stage {stage}: name the NVTX range that it runs in, with --nvtx, or its \
             kernels, with --rules"
        );
    }
    roofline.findings.extend(joins.iter().flat_map(|j| j.findings.clone()));
    roofline.findings.extend(check_findings);
    roofline.counter_checks = checks;
    roofline.timelines = timelines;
    roofline.joins = joins;
    Ok((roofline, runs))
}

/// The ceilings that the user chose.
fn chosen(args: &RooflineArgs) -> anyhow::Result<Vec<Ceiling>> {
    if let Some(name) = &args.sim {
        return Ok(device::named(name)?.simulated_ceilings());
    }
    let device = device::chosen(args.device.as_deref(), args.device_spec.as_deref())?;
    Ok(device.map(|spec| spec.ceilings).unwrap_or_default())
}

fn device_names(runs: &[Run]) -> BTreeSet<&str> {
    runs.iter().flat_map(Run::device_names).collect()
}

/// A name in a file that fits several devices gives no ceilings, and says so.
fn ambiguous_devices(runs: &[Run]) -> impl Iterator<Item = Finding> {
    device_names(runs).into_iter().filter_map(|name| {
        let DeviceMatch::Ambiguous(specs) = hw::match_device(name) else { return None };
        let which = specs.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
        let message = format!("the name fits several devices, so no datasheet is used: {which}");
        Some(Finding::new(FindingCode::NoCeiling, name, message).with_remedy("say which with --device"))
    })
}

fn write(args: &RooflineArgs, roofline: &Roofline, options: &ChartOptions) -> anyhow::Result<()> {
    let svg = || roofline_chart(roofline, options).svg;
    let text = |text: String| Ok(text.into_bytes());
    let export = &args.export;
    let exports = [
        Export { path: &export.tables.export_json, make: &|| text(render::roofline_json(roofline)) },
        Export { path: &export.tables.export_csv, make: &|| text(render::roofline_csv(roofline)) },
        Export { path: &export.tables.export_markdown, make: &|| text(markdown(roofline)) },
        Export { path: &export.export_svg, make: &|| text(svg()) },
        Export { path: &export.export_png, make: &|| to_png(&svg()).context("cannot draw the chart") },
    ];
    output::check_writable(exports.iter().filter_map(|e| e.path.as_deref()))?;
    if !output::takes_stdout(&exports) {
        output::print(&result(args, roofline)?)?;
    }
    if exports.iter().all(|e| e.path.is_none()) {
        eprintln!("for the chart, add --export-svg roofline.svg or --export-png roofline.png");
    }
    output::write_exports(&exports)
}
