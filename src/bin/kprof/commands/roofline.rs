//! `kprof roofline`.

use crate::args::{ByArg, RooflineArgs};
use crate::exit::usage;
use crate::output::{self, Export};
use anyhow::Context as _;
use kprof::hw::{DeviceMatch, DeviceSpec, find_device, known_devices, match_device, read_device_spec};
use kprof::ingest::read_any;
use kprof::llm::nearest_first;
use kprof::profile::Run;
use kprof::render;
use kprof::render::plot::{ChartOptions, roofline_chart, to_png};
use kprof::roofline::{By, Ceilings, Roofline, analyse};

pub(crate) fn run(args: &RooflineArgs) -> anyhow::Result<()> {
    let runs: Vec<Run> = args.files.iter().map(|f| read_any(f)).collect::<Result<_, _>>()?;
    let ceilings = ceilings(args, &runs)?;
    let by = match args.by {
        ByArg::Kernel => By::Kernel,
        ByArg::Launch => By::Launch,
    };
    let roofline = analyse(&runs, by, &ceilings);
    let options = ChartOptions { title: args.title.clone(), footer: render::footer(&runs) };
    write(args, &roofline, &options)
}

/// The ceilings that the user chose, and those of the devices that the files name.
fn ceilings(args: &RooflineArgs, runs: &[Run]) -> anyhow::Result<Ceilings> {
    let chosen = match (&args.device, &args.device_spec) {
        (Some(name), _) => device(name)?.ceilings.clone(),
        (None, Some(path)) => read_device_spec(path)?.ceilings,
        (None, None) => Vec::new(),
    };
    let mut names: Vec<&str> =
        runs.iter().flat_map(|r| &r.kernels).filter_map(|k| k.device.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    let by_device = names
        .into_iter()
        .filter_map(|name| find_device(name).map(|spec| (name.to_string(), spec.ceilings.clone())))
        .collect();
    Ok(Ceilings { chosen, by_device })
}

fn device(name: &str) -> anyhow::Result<&'static DeviceSpec> {
    let list = |names: Vec<&str>| names.join("\n  ");
    match match_device(name) {
        DeviceMatch::Exact(spec) => Ok(spec),
        DeviceMatch::Ambiguous(specs) => {
            let names = list(specs.iter().map(|s| s.name.as_str()).collect());
            Err(usage(format!("device '{name}' is several; name one:\n  {names}")))
        }
        DeviceMatch::Unknown => {
            let names = list(nearest_first(name, known_devices().iter().map(|s| s.name.as_str())));
            Err(usage(format!(
                "unknown device '{name}'; describe it with --device-spec, or name one:\n  {names}"
            )))
        }
    }
}

fn write(args: &RooflineArgs, roofline: &Roofline, options: &ChartOptions) -> anyhow::Result<()> {
    let svg = || roofline_chart(roofline, options).svg;
    let text = |text: String| Ok(text.into_bytes());
    let export = &args.export;
    let exports = [
        Export { path: &export.export_json, make: &|| text(render::roofline_json(roofline)) },
        Export { path: &export.export_csv, make: &|| text(render::roofline_csv(roofline)) },
        Export { path: &export.export_markdown, make: &|| text(markdown(roofline)) },
        Export { path: &export.export_svg, make: &|| text(svg()) },
        Export { path: &export.export_png, make: &|| to_png(&svg()).context("cannot draw the chart") },
    ];
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
