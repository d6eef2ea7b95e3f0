//! `kprof roofline`.

use crate::args::{ByArg, RooflineArgs};
use crate::exit::usage;
use crate::output::{self, Export};
use anyhow::Context as _;
use kprof::host;
use kprof::hw::{self, Ceiling, DeviceMatch, DeviceSpec};
use kprof::ingest::{IngestError, fold_any};
use kprof::profile::{Finding, FindingCode, KernelRecord, Run};
use kprof::render;
use kprof::render::plot::{ChartOptions, roofline_chart, to_png};
use kprof::roofline::{By, Ceilings, Launches, Roofline, analyse_launches};
use std::collections::BTreeSet;
use std::path::Path;

pub(crate) fn run(args: &RooflineArgs) -> anyhow::Result<()> {
    let mut ceilings = Ceilings { chosen: chosen(args)?, by_device: Vec::new() };
    let (runs, launches): (Vec<Run>, Vec<Launches>) =
        args.files.iter().map(|file| read(file, args.by, &mut ceilings)).collect::<Result<_, _>>()?;
    let mut roofline = analyse_launches(runs.iter().zip(launches), &ceilings);
    roofline.findings.extend(ambiguous_devices(&runs));
    let options =
        ChartOptions { title: args.title.clone(), footer: render::footer(&runs, &host::kprof_info()) };
    write(args, &roofline, &options)
}

/// Reads a file; the ceilings of the devices that it names are added.
fn read(file: &Path, by: ByArg, ceilings: &mut Ceilings) -> Result<(Run, Launches), IngestError> {
    let by = match by {
        ByArg::Kernel => By::Kernel,
        ByArg::Launch => By::Launch,
    };
    let push = |launches: &mut Launches, kernel: &KernelRecord| {
        kernel.device.iter().for_each(|name| add_device(ceilings, name));
        launches.push(kernel, ceilings, &[]);
    };
    let (run, launches) = fold_any(file, || Launches::new(by), push)?;
    run.device_names().into_iter().for_each(|name| add_device(ceilings, name));
    Ok((run, launches))
}

fn add_device(ceilings: &mut Ceilings, name: &str) {
    if !ceilings.by_device.iter().any(|(known, _)| known == name) {
        let of_device = hw::find_device(name).map(|spec| spec.ceilings.clone());
        ceilings.by_device.push((name.to_string(), of_device.unwrap_or_default()));
    }
}

/// The ceilings that the user chose.
fn chosen(args: &RooflineArgs) -> anyhow::Result<Vec<Ceiling>> {
    Ok(match (&args.device, &args.device_spec) {
        (Some(name), _) => device_named(name)?.ceilings.clone(),
        (None, Some(file)) => hw::read_device_spec(file)?.ceilings,
        (None, None) => Vec::new(),
    })
}

fn device_names(runs: &[Run]) -> BTreeSet<&str> {
    runs.iter().flat_map(Run::device_names).collect()
}

fn device_named(name: &str) -> anyhow::Result<&'static DeviceSpec> {
    let quoted = |names: Vec<&str>| names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ");
    match hw::match_device(name) {
        DeviceMatch::Exact(spec) => Ok(spec),
        DeviceMatch::Ambiguous(specs) => {
            let which = quoted(specs.iter().map(|s| s.name.as_str()).collect());
            Err(usage(format!("device '{name}' could be any of: {which}")))
        }
        DeviceMatch::Unknown => {
            let known = quoted(nearest_devices(name));
            Err(usage(format!(
                "unknown device '{name}'; known: {known}; or describe it with --device-spec FILE"
            )))
        }
    }
}

/// The known devices, those first that have a word like one of `name`: whole names differ mostly in length.
fn nearest_devices(name: &str) -> Vec<&'static str> {
    let distance = |device: &str| -> usize {
        let like = |word: &str| {
            let words = device.split_whitespace().map(str::to_lowercase);
            words.map(|w| strsim::damerau_levenshtein(&w, &word.to_lowercase())).min().unwrap_or(usize::MAX)
        };
        name.split_whitespace().map(like).sum()
    };
    let mut names: Vec<&str> = hw::known_devices().iter().map(|s| s.name.as_str()).collect();
    names.sort_by_key(|n| distance(n));
    names
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
        output::print(&table(args, roofline))?;
    }
    if exports.iter().all(|e| e.path.is_none()) {
        eprintln!("for the chart, add --export-svg roofline.svg or --export-png roofline.png");
    }
    output::write_exports(&exports)
}

fn table(args: &RooflineArgs, roofline: &Roofline) -> String {
    let mut out = render::roofline_table(roofline, args.top).to_terminal(output::width());
    let notes = render::roofline_notes(roofline, args.top);
    if !notes.is_empty() {
        out += &format!("\n{}\n", notes.join("\n"));
    }
    let findings = render::findings(&roofline.findings, output::color());
    if !findings.is_empty() {
        out += &format!("\n{findings}");
    }
    out
}

fn markdown(roofline: &Roofline) -> String {
    let all = roofline.points.len();
    let notes = render::roofline_notes(roofline, all).iter().map(|n| format!("\n{n}.\n")).collect::<String>();
    render::roofline_table(roofline, all).to_markdown() + &notes
}
