//! `kprof roofline`.

use crate::args::{ByArg, RooflineArgs};
use crate::output::{self, Export};
use anyhow::Context as _;
use kprof::profile::{Run, read_run};
use kprof::render;
use kprof::render::plot::{ChartOptions, roofline_chart, to_png};
use kprof::roofline::{By, Ceilings, Roofline, analyse};
use std::path::Path;

pub(crate) fn run(args: &RooflineArgs) -> anyhow::Result<()> {
    let runs: Vec<Run> = args.files.iter().map(|f| read(f)).collect::<anyhow::Result<_>>()?;
    let ceilings = ceilings(args, &runs)?;
    let by = match args.by {
        ByArg::Kernel => By::Kernel,
        ByArg::Launch => By::Launch,
    };
    let roofline = analyse(&runs, by, &ceilings);
    let options = ChartOptions { title: args.title.clone(), footer: render::footer(&runs) };
    write(args, &roofline, &options)
}

/// Reads a run file, or an export of another profiler.
fn read(path: &Path) -> anyhow::Result<Run> {
    // SEAM: `kprof::ingest::read_any(path)` reads both, and replaces this.
    Ok(read_run(path)?)
}

/// The ceilings that the user chose, and those of the devices that the files name.
fn ceilings(args: &RooflineArgs, _runs: &[Run]) -> anyhow::Result<Ceilings> {
    // SEAM: `chosen` from `hw::match_device(--device)` (Unknown or Ambiguous -> exit::usage with the nearest names)
    // or `hw::read_device_spec(--device-spec)`; `by_device` from `hw::match_device` of every `kernel.device`.
    if args.device.is_some() || args.device_spec.is_some() {
        anyhow::bail!("--device and --device-spec are not connected yet");
    }
    Ok(Ceilings::default())
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
