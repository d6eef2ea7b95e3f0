//! `kprof roofline`.

use crate::args::{ByArg, LevelArg, PrecisionArg, RooflineArgs};
use crate::commands::served;
use crate::device;
use crate::exit::{Strict, usage};
use crate::output::{self, Export};
use anyhow::Context as _;
use kprof::host;
use kprof::hw::{self, Ceiling, DeviceMatch, MemoryLevel};
use kprof::ingest::ncu::{MetricValues, metric_values};
use kprof::ingest::{Classifier, IngestError, Meaning, Rules, Seen, fold_any, is_run};
use kprof::llm::Stage;
use kprof::profile::{Finding, FindingCode, KernelRecord, Run, read_run, short_name};
use kprof::render::plot::{ChartOptions, roofline_chart, to_png};
use kprof::render::{self, MetricRow};
use kprof::roofline::{
    By, Ceilings, CounterCheck, CounterSums, Counters, JoinReport, Launches, Only, Place, Point, Roofline,
    Selection, TimelineBuilder, TimelineReport, analyse_launches, changes, grid_name, one_sided, savings,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
    let model = served::model(&args.served)?;
    let mut ceilings = Ceilings { chosen: chosen(args)?, by_device: Vec::new() };
    let mut rules = Classifier::new(args.rules.as_deref().map(Rules::read).transpose()?);
    // To say of every launch what it is for takes longer than to read it, so that is done where it is asked for.
    let marked = given.marked.as_deref().map(read_run).transpose()?;
    let checked = model.is_some() || marked.is_some() || args.files.iter().any(|file| is_run(file));
    let read = |file: &PathBuf| read(args, &given, checked, file, &mut ceilings, &mut rules);
    let read: Vec<Read> = args.files.iter().map(read).collect::<Result<_, _>>()?;
    let runs_marked = read.iter().map(|r| &r.run).chain(&marked);
    let exports = read.iter().map(|r| (&r.run, &r.taken.sums));
    let (checks, check_findings) = served::checked(&args.served, model.as_ref(), runs_marked, exports);
    let (mut runs, mut launches, mut timelines) = (Vec::new(), Vec::new(), Vec::new());
    let mut counters = Counters::default();
    read.iter().for_each(|read| counters.merge(&read.taken.counters));
    let mut joins = Vec::new();
    for read in read {
        if let Some(model) = &model {
            let (run, timeline) = (&read.run, &read.taken.timeline);
            joins.extend(served::joined(&args.served, model, run, timeline, &counters, &ceilings));
        }
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
    roofline.set_labels(&args.label);
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

/// A file that was read.
struct Read {
    run: Run,
    taken: Taken,
}

/// What is taken from a file's launches as they go by.
struct Taken {
    launches: Launches,
    timeline: TimelineBuilder,
    counters: Counters,
    sums: CounterSums,
}

/// Reads a file; the ceilings of the devices that it names are added.
fn read(
    args: &RooflineArgs,
    given: &Given,
    checked: bool,
    file: &Path,
    ceilings: &mut Ceilings,
    rules: &mut Classifier,
) -> Result<Read, IngestError> {
    let empty = || Taken {
        launches: Launches::new(by(args.by), selection(args), only(args.precision)),
        timeline: TimelineBuilder::default(),
        counters: Counters::default(),
        sums: CounterSums::default(),
    };
    let joined = args.served.model.is_some();
    let mut add = |taken: &mut Taken, seen: Seen<'_>, of_run: &[Ceiling]| {
        let kernel = seen.record;
        kernel.device.iter().for_each(|name| add_device(ceilings, name));
        let mut place = || {
            let Meaning { stage, phase, op, version, class } = rules.meaning(kernel);
            Place { version, stage: given.stage.or(stage), phase, op, class }
        };
        if kernel.timeline.is_none() && given.only_stage.is_none() && !checked {
            return taken.launches.push_alike(kernel, seen.alike, place, ceilings, of_run);
        }
        let place = place();
        if given.only_stage.is_some_and(|only| place.stage != Some(only)) {
            return;
        }
        if joined {
            taken.counters.push(kernel, place.stage);
        }
        if checked {
            taken.sums.push(kernel, &place);
        }
        taken.timeline.push(kernel, &place);
        taken.launches.push_alike(kernel, seen.alike, || place, ceilings, of_run);
    };
    let (mut run, mut taken) = fold_any(file, empty, |taken, seen| add(taken, seen, &[]))?;
    let kept = std::mem::take(&mut run.kernels);
    kept.iter().for_each(|record| add(&mut taken, Seen { record, alike: None }, &run.ceilings));
    run.devices.extend(kept.into_iter().filter_map(|k| k.device));
    run.devices.dedup();
    run.device_names().into_iter().for_each(|name| add_device(ceilings, name));
    Ok(Read { run, taken })
}

fn add_device(ceilings: &mut Ceilings, name: &str) {
    if !ceilings.by_device.iter().any(|(known, _)| known == name) {
        let of_device = hw::find_device(name).map(|spec| spec.ceilings.clone());
        ceilings.by_device.push((name.to_string(), of_device.unwrap_or_default()));
    }
}

fn by(arg: ByArg) -> By {
    match arg {
        ByArg::Kernel => By::Kernel,
        ByArg::Launch => By::Launch,
        ByArg::NameBase => By::NameBase,
        ByArg::Grid => By::Grid,
        ByArg::Nvtx => By::Nvtx,
        ByArg::Phase => By::Phase,
        ByArg::Class => By::Class,
        ByArg::File => By::File,
    }
}

fn only(arg: PrecisionArg) -> Only {
    match arg {
        PrecisionArg::Auto => Only::All,
        PrecisionArg::Fp64 => Only::Fp64,
        PrecisionArg::Fp32 => Only::Fp32,
        PrecisionArg::Fp16 => Only::Fp16,
        PrecisionArg::Tensor => Only::Tensor,
    }
}

/// Under a chart of one precision it has to say so.
fn precision_note(args: &RooflineArgs) -> String {
    only(args.precision).name().map(|name| format!(" · {name} FLOPs only")).unwrap_or_default()
}

fn level(arg: LevelArg) -> MemoryLevel {
    match arg {
        LevelArg::Dram => MemoryLevel::Dram,
        LevelArg::L2 => MemoryLevel::L2,
        LevelArg::L1 => MemoryLevel::L1,
    }
}

fn selection(args: &RooflineArgs) -> Selection {
    Selection { kernel: args.kernel.clone(), nvtx: args.nvtx.clone(), min_share: args.min_share / 100.0 }
}

/// How many names a message lists.
const NAMES: usize = 40;

/// Names, one per line.
fn listed(names: BTreeSet<String>) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES).map(String::as_str).collect();
    let more = names.len() - shown.len();
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    if shown.is_empty() { " none".to_string() } else { format!("\n  {}{more}", shown.join("\n  ")) }
}

/// What to say, with the names there are, if a filter left nothing.
fn unmatched(args: &RooflineArgs, launches: &[Launches]) -> Option<String> {
    let names: Option<Vec<Vec<&str>>> = launches.iter().map(Launches::unmatched_names).collect();
    if let (Some(pattern), Some(names)) = (&args.kernel, names) {
        let names = listed(names.into_iter().flatten().map(short_name).collect());
        return Some(format!("no kernel matches '{pattern}'; the files have:{names}"));
    }
    let path = args.nvtx.as_ref()?;
    let ranges = listed(launches.iter().flat_map(|l| l.ranges().iter().cloned()).collect());
    Some(format!("no launch is inside an NVTX range '{path}'; the files have:{ranges}"))
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

/// What goes to stdout: the table, or how its numbers came about.
fn result(args: &RooflineArgs, roofline: &Roofline) -> anyhow::Result<String> {
    let Some(pattern) = &args.explain else { return Ok(table(args, roofline)) };
    let named = |p: &&Point| pattern.is_match(&p.name()) || pattern.is_match(&p.label());
    let points: Vec<&Point> = roofline.points.iter().filter(named).take(args.top).collect();
    if points.is_empty() {
        let names = listed(roofline.points.iter().map(Point::label).collect());
        anyhow::bail!("nothing to explain matches '{pattern}'; there are:{names}");
    }
    let explained: anyhow::Result<Vec<_>> =
        points.into_iter().map(|p| Ok((p, metrics_of(args, p)?))).collect();
    Ok(render::explain(&explained?))
}

/// The metrics behind a point of one kernel, out of its file; none for what is no export of Nsight Compute.
fn metrics_of(args: &RooflineArgs, point: &Point) -> anyhow::Result<Vec<MetricRow>> {
    let Some(kernel) = &point.kernel else { return Ok(Vec::new()) };
    let mut rules = Classifier::new(args.rules.as_deref().map(Rules::read).transpose()?);
    let is_one = |own: &Option<String>, found: &Option<String>| own.is_none() || own == found;
    let wanted = |record: &KernelRecord| {
        let place = rules.meaning(record);
        record.kernel == *kernel
            && is_one(&point.launch, &record.launch)
            && (args.by != ByArg::Grid || point.group.as_ref() == Some(&grid_name(record)))
            && (&point.version, point.phase) == (&place.version, place.phase)
    };
    let Ok(values) = metric_values(Path::new(&point.file), wanted) else { return Ok(Vec::new()) };
    let row = |v: MetricValues| MetricRow {
        metric: v.metric,
        unit: v.unit.to_string(),
        launches: v.launches,
        min: v.min,
        max: v.max,
        sum: v.sum,
    };
    Ok(values.into_iter().map(row).collect())
}

/// How many points the list of where to look first has.
const SAVINGS: usize = 5;

fn table(args: &RooflineArgs, roofline: &Roofline) -> String {
    let mut out = render::roofline_table(roofline, args.top).to_terminal(output::width());
    let mut notes = render::roofline_notes(roofline, args.top);
    if let Some(name) = only(args.precision).name() {
        notes.insert(0, format!("FLOPs, intensities and bounds are those of {name} only (--precision)"));
    }
    if !notes.is_empty() {
        out += &format!("\n{}\n", notes.join("\n"));
    }
    for timeline in &roofline.timelines {
        out += &format!("\n{}", timeline_text(roofline, timeline));
    }
    for join in &roofline.joins {
        out += &format!("\n{}{}", of_file(roofline, roofline.joins.len(), &join.file), join_text(join));
    }
    for check in &roofline.counter_checks {
        out += &format!("\n{}", check_text(roofline, check));
    }
    if !roofline.counter_checks.is_empty() {
        out += &format!("{}\n", render::CHECK_NOTE);
    }
    let changes = changes(roofline);
    if !changes.is_empty() {
        let first = roofline.label_of(&roofline.files[0]);
        let shown = &changes[..changes.len().min(args.top)];
        let table = render::changes_table(roofline, shown).to_terminal(output::width());
        out += &format!("\nChanges against {first}\n{table}");
    }
    let alone = render::one_sided_notes(roofline, &one_sided(roofline, &changes));
    // An export and the run that it is of have no kernels in common, and are compared above.
    if !alone.is_empty() && roofline.counter_checks.is_empty() {
        out += &format!("\n{alone}");
    }
    let savings = render::savings_list(roofline, &savings(roofline), SAVINGS);
    if !savings.is_empty() {
        out += &format!("\n{savings}");
    }
    let findings = render::findings(&roofline.labelled_findings(), output::color(), output::wrap_width());
    if !findings.is_empty() {
        out += &format!("\n{findings}");
    }
    out
}

/// What a part begins with that is one of `parts` of several files.
fn of_file(roofline: &Roofline, parts: usize, file: &str) -> String {
    if parts > 1 { format!("{}: ", roofline.label_of(file)) } else { String::new() }
}

/// Where a trace's time goes: classes, devices, copies.
fn timeline_text(roofline: &Roofline, timeline: &TimelineReport) -> String {
    let file = of_file(roofline, roofline.timelines.len(), &timeline.file);
    let mut out = format!("{file}{}\n", render::timeline_heading(timeline));
    out += &render::class_table(timeline).to_terminal(output::width());
    if let Some(devices) = render::device_table(timeline) {
        out += &format!("\n{}{}\n", devices.to_terminal(output::width()), render::DEVICE_NOTE);
    }
    if let Some(copies) = render::copy_table(timeline) {
        out += &format!("\n{}", copies.to_terminal(output::width()));
    }
    out
}

/// A trace's times beside the model's work.
fn join_text(join: &JoinReport) -> String {
    let table = |table: render::Table| table.to_terminal(output::width());
    let mut out = format!("{}\n{}", render::join_heading(join), table(render::join_table(join)));
    if let Some(gaps) = render::gap_table(join) {
        out += &format!("\n{}", table(gaps));
    }
    out + render::JOIN_NOTE + "\n"
}

/// An export's counters beside the model's work.
fn check_text(roofline: &Roofline, check: &CounterCheck) -> String {
    let files: BTreeSet<&str> = roofline.counter_checks.iter().map(|c| c.file.as_str()).collect();
    let of = if files.len() > 1 { format!("{}: ", roofline.label_of(&check.file)) } else { String::new() };
    let table = render::check_table(check).to_terminal(output::width());
    format!("{of}{}\n{table}", render::check_heading(check))
}

fn markdown(roofline: &Roofline) -> String {
    let all = roofline.points.len();
    let notes = render::roofline_notes(roofline, all).iter().map(|n| format!("\n{n}.\n")).collect::<String>();
    let mut out = render::roofline_table(roofline, all).to_markdown() + &notes;
    let mut add = |title: &str, tables: Vec<render::Table>, note: &str| {
        let tables = tables.iter().map(|t| format!("\n{}", t.to_markdown())).collect::<String>();
        out += &format!("\n{title}:\n{tables}\n{note}.\n");
    };
    for timeline in &roofline.timelines {
        let tables = [
            Some(render::class_table(timeline)),
            render::device_table(timeline),
            render::copy_table(timeline),
        ];
        let title = format!("{}, {}", roofline.label_of(&timeline.file), render::timeline_heading(timeline));
        add(&title, tables.into_iter().flatten().collect(), render::DEVICE_NOTE);
    }
    for join in &roofline.joins {
        let tables = [Some(render::join_table(join)), render::gap_table(join)];
        add(&render::join_heading(join), tables.into_iter().flatten().collect(), render::JOIN_NOTE);
    }
    out
}
