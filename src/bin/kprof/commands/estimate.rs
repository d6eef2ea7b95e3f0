//! `kprof estimate`.

use crate::args::EstimateArgs;
use crate::device;
use crate::exit::usage;
use crate::output::{self, Export};
use crate::spec::spec_of;
use anyhow::Context as _;
use kprof::host;
use kprof::llm::{Deployment, WeightFormat};
use kprof::render;
use kprof::render::plot::{ChartOptions, roofline_chart, to_png};
use kprof::roofline::{Estimate, EstimateRequest, estimate, estimate_points};

/// The context where none is asked for, in models with as many positions.
const CONTEXT: usize = 2048;

pub(crate) fn run(args: &EstimateArgs) -> anyhow::Result<()> {
    let (model, stored) = spec_of(&args.model)?;
    let device = device::chosen(args.device.as_deref(), args.device_spec.as_deref())?
        .context("no device: name one with --device")?;
    let contexts = match &args.context {
        Some(counts) => counts.0.clone(),
        None => vec![CONTEXT.min(model.max_position_embeddings)],
    };
    let deployment = deployment(args, stored);
    deployment.check(&model).map_err(usage)?;
    let estimate = estimate(&EstimateRequest {
        model: &model,
        deployment,
        device: &device,
        batches: &args.batch.0,
        contexts: &contexts,
        prompt: args.prompt,
    })?;
    write(args, &estimate)
}

fn deployment(args: &EstimateArgs, stored: WeightFormat) -> Deployment {
    let mut deployment = Deployment::new(args.dtype.unwrap_or(stored));
    deployment.tensor_parallel = args.tp;
    deployment.kv = args.kv_dtype.unwrap_or(deployment.kv);
    deployment.arithmetic = args.arithmetic.unwrap_or(deployment.arithmetic);
    deployment
}

fn write(args: &EstimateArgs, estimate: &Estimate) -> anyhow::Result<()> {
    let options = ChartOptions {
        title: Some(match &args.title {
            Some(title) => format!("ANALYTIC: {title}"),
            None => format!("ANALYTIC: {} on {}", estimate.model, estimate.device),
        }),
        footer: format!("ANALYTIC, nothing was measured · {}", render::footer(&[], &host::kprof_info())),
        analytic: true,
        ..ChartOptions::default()
    };
    let svg = || roofline_chart(&estimate_points(estimate), &options).svg;
    let text = |text: String| Ok(text.into_bytes());
    let export = &args.export;
    let exports = [
        Export { path: &export.tables.export_json, make: &|| text(render::estimate_json(estimate)) },
        Export { path: &export.tables.export_csv, make: &|| text(render::estimate_csv(estimate)) },
        Export { path: &export.tables.export_markdown, make: &|| text(render::estimate_markdown(estimate)) },
        Export { path: &export.export_svg, make: &|| text(svg()) },
        Export { path: &export.export_png, make: &|| to_png(&svg()).context("cannot draw the chart") },
    ];
    output::check_writable(exports.iter().filter_map(|e| e.path.as_deref()))?;
    if !output::takes_stdout(&exports) {
        output::print(&table(estimate))?;
    }
    output::write_exports(&exports)
}

fn table(estimate: &Estimate) -> String {
    let width = output::width();
    let phases = estimate.points.first().map(|point| {
        let table = render::estimate_phases(point).to_terminal(width);
        format!("{}\n{table}", render::phases_title(point))
    });
    let findings = render::findings(&estimate.findings, output::color(), output::wrap_width());
    let parts = [
        format!("{}\n", render::estimate_heading(estimate)),
        render::estimate_table(estimate).to_terminal(width),
        phases.unwrap_or_default(),
        render::estimate_notes(estimate).iter().map(|n| format!("{n}\n")).collect(),
        findings,
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}
