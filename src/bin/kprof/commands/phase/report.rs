//! The reporting half of `kprof phase`: table on stdout, exports, and two figures beside the run file.

use crate::args::PhaseArgs;
use crate::baseline;
use crate::device;
use crate::log;
use crate::output::{self, Export};
use anyhow::Context as _;
use kprof::host;
use kprof::hw::{Ceiling, DeviceSpec};
use kprof::profile::Run;
use kprof::render;
use kprof::render::plot::{ChartOptions, phase_figure, roofline_chart, to_png};
use kprof::roofline::{By, Ceilings, PhaseReport, analyse};
use std::path::{Path, PathBuf};

/// Says what could not be written, before anything is measured.
pub(super) fn check(args: &PhaseArgs) -> anyhow::Result<()> {
    let figures = &args.figures;
    let figures = [
        &figures.export_trace,
        &figures.export_svg,
        &figures.export_png,
        &figures.export_roofline_svg,
        &figures.export_roofline_png,
    ];
    let all = args.tables.paths().into_iter().chain(figures.into_iter().filter_map(|p| p.as_deref()));
    output::check_writable(all.chain(args.log.export_jsonl.as_deref()))?;
    log::check(&args.log)?;
    args.save_baseline.as_deref().map_or(Ok(()), |name| baseline::path(name).map(drop))?;
    args.sim.as_deref().map_or(Ok(()), |name| device::named(name).map(drop))
}

/// Prints and exports; of a `fresh` run, two figures are written beside its file.
pub(super) fn report(args: &PhaseArgs, run: &Run, fresh: bool) -> anyhow::Result<()> {
    if run.steps.is_empty() {
        anyhow::bail!(
            "{} has no timed steps: it is no run of `kprof phase`, or nothing was measured",
            run.file
        );
    }
    let chosen = chosen(args)?;
    let report = simulated(args, PhaseReport::new(run, &chosen))?;
    let footer = render::footer(std::slice::from_ref(run), &host::kprof_info());
    let mut options = ChartOptions { footer, ..ChartOptions::default() };
    if let Some(spec) = device_of(args)? {
        device::mark_simulated(&mut options, &spec.name);
    }
    let phases = || phase_figure(&report, &options).svg;
    let roofline = || {
        let points = analyse(
            std::slice::from_ref(run),
            By::Kernel,
            &Ceilings { chosen: chosen.clone(), by_device: Vec::new() },
        );
        roofline_chart(&points, &options).svg
    };
    let text = |text: String| Ok(text.into_bytes());
    let png = |svg: &str| to_png(svg).context("cannot draw the figure");
    let beside = |kind: &str| -> Option<PathBuf> {
        fresh.then(|| Path::new(&run.file).with_extension(format!("{kind}.svg")))
    };
    let (tables, figures) = (&args.tables, &args.figures);
    let (phases_beside, roofline_beside) = (beside("phases"), beside("roofline"));
    let exports = [
        Export { path: &tables.export_json, make: &|| text(render::phase_json(&report)) },
        Export { path: &tables.export_csv, make: &|| text(render::phase_csv(&report)) },
        Export { path: &tables.export_markdown, make: &|| text(markdown(&report)) },
        Export { path: &figures.export_trace, make: &|| text(timeline(run)) },
        Export { path: &figures.export_svg, make: &|| text(phases()) },
        Export { path: &figures.export_png, make: &|| png(&phases()) },
        Export { path: &figures.export_roofline_svg, make: &|| text(roofline()) },
        Export { path: &figures.export_roofline_png, make: &|| png(&roofline()) },
        Export { path: &args.log.export_jsonl, make: &|| log::jsonl(run) },
        Export { path: &phases_beside, make: &|| text(phases()) },
        Export { path: &roofline_beside, make: &|| text(roofline()) },
    ];
    if !output::takes_stdout(&exports) {
        output::print(&table(&report))?;
    }
    if fresh {
        eprintln!("wrote {}", run.file);
        log::append(&args.log, run)?;
    }
    output::write_exports(&exports)
}

/// The trace; what is not in it is said on stderr.
fn timeline(run: &Run) -> String {
    let trace = render::trace(run, render::TRACE_CAP);
    if let Some(left_out) = &trace.left_out {
        eprintln!("note: {left_out}");
    }
    trace.json
}

fn device_of(args: &PhaseArgs) -> anyhow::Result<Option<&'static DeviceSpec>> {
    args.sim.as_deref().map(device::named).transpose()
}

/// The ceilings that results are held against, where they are another device's.
pub(super) fn chosen(args: &PhaseArgs) -> anyhow::Result<Vec<Ceiling>> {
    Ok(device_of(args)?.map(DeviceSpec::simulated_ceilings).unwrap_or_default())
}

/// The report with a word on whose ceilings they are, where they are another device's.
pub(super) fn simulated(args: &PhaseArgs, mut report: PhaseReport) -> anyhow::Result<PhaseReport> {
    if let Some(spec) = device_of(args)? {
        report.findings.insert(0, device::simulation(&spec.name));
    }
    Ok(report)
}

pub(super) fn table(report: &PhaseReport) -> String {
    let width = output::width();
    let (phases, latency) = (render::phase_table(report), render::latency_table(report));
    let comparisons = lines(&render::comparison_lines(report), "");
    let findings = render::findings(&report.findings, output::color(), output::wrap_width());
    let parts = [
        format!("{}\n", render::phase_heading(report)),
        phases.to_terminal(width),
        latency.to_terminal(width),
        comparisons,
        lines(&render::machine_lines(report), ""),
        findings,
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Each on a line of its own, after `bullet`.
fn lines(all: &[String], bullet: &str) -> String {
    all.iter().map(|line| format!("{bullet}{line}\n")).collect()
}

fn markdown(report: &PhaseReport) -> String {
    let (phases, latency) = (render::phase_table(report), render::latency_table(report));
    let comparisons = lines(&render::comparison_lines(report), "- ");
    let machine = lines(&render::machine_lines(report), "- ");
    format!(
        "{}\n\n{}\n{}\n{comparisons}{machine}",
        render::phase_heading(report),
        phases.to_markdown(),
        latency.to_markdown()
    )
}
