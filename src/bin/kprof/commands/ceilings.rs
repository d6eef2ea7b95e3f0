//! `kprof ceilings`.

use crate::args::CeilingsArgs;
use crate::exit::usage;
use crate::gpu;
use crate::output::{self, Export};
use crate::progress::Line;
use kprof::hw::{LaunchCost, MeasuredCeiling};
use kprof::probe::{Depth, GpuDepth, ProbeOptions, gpu_launch_cost, measure_cpu, measure_gpu};
use kprof::{host, render};

pub(crate) fn run(args: &CeilingsArgs) -> anyhow::Result<()> {
    output::check_writable(args.export.paths())?;
    let mut line = Line::new(false);
    let (measured, device) = if args.device == "cpu" {
        (on_cpu(args, &mut line), None)
    } else {
        let (measured, device) = on_gpu(args, &mut line)?;
        (measured, Some(device))
    };
    line.clear();
    let launch = device.as_ref().map(|(name, cost)| (name.as_str(), cost));
    let json = || render::ceilings::json(&measured, launch, &host::environment(), &host::kprof_info());
    let export = &args.export;
    let exports = [
        Export { path: &export.export_json, make: &|| Ok(json()?.into_bytes()) },
        Export { path: &export.export_csv, make: &|| Ok(render::ceilings::csv(&measured)?.into_bytes()) },
        Export {
            path: &export.export_markdown,
            make: &|| Ok(render::ceilings::markdown(&measured).into_bytes()),
        },
    ];
    if !output::takes_stdout(&exports) {
        let launch = device.as_ref().map(|(_, cost)| render::ceilings::launch_text(cost)).unwrap_or_default();
        output::print(&format!("{}{launch}", render::ceilings::text(&measured)))?;
    }
    if let Some(warning) = render::ceilings::warning(&measured) {
        eprintln!("{warning}");
    }
    output::write_exports(&exports)
}

fn on_cpu(args: &CeilingsArgs, line: &mut Line) -> Vec<MeasuredCeiling> {
    let mut options = ProbeOptions::new(if args.quick { Depth::Quick } else { Depth::Thorough });
    options.threads = args.threads.map_or(options.threads, usize::from);
    measure_cpu(&options, &mut |p| {
        line.update(&format!("ceilings, round {}: {}/{} {}", p.round, p.done + 1, p.of, p.what));
    })
}

/// The ceilings of a GPU, its name, and what a launch takes.
fn on_gpu(
    args: &CeilingsArgs,
    line: &mut Line,
) -> anyhow::Result<(Vec<MeasuredCeiling>, (String, LaunchCost))> {
    if args.threads.is_some() {
        return Err(usage("--threads is for --device cpu"));
    }
    let gpu = gpu::open(&gpu::named(&args.device)?)?;
    let depth = if args.quick { GpuDepth::Quick } else { GpuDepth::Thorough };
    let measured =
        measure_gpu(&gpu, gpu::depth(depth), &mut |what| line.update(&format!("ceilings: {what}")))?;
    Ok((measured, (gpu.device.name.clone(), gpu_launch_cost(&gpu)?)))
}
