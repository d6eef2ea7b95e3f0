//! `kprof ceilings`.

use crate::args::CeilingsArgs;
use crate::output::{self, Export};
use crate::progress::Line;
use kprof::probe::{Depth, ProbeOptions, measure_cpu};
use kprof::{host, render};

pub(crate) fn run(args: &CeilingsArgs) -> anyhow::Result<()> {
    output::check_writable(args.export.paths())?;
    let mut options = ProbeOptions::new(if args.quick { Depth::Quick } else { Depth::Thorough });
    options.threads = args.threads.map_or(options.threads, usize::from);
    let mut line = Line::new(false);
    let measured = measure_cpu(&options, &mut |p| {
        line.update(&format!("ceilings, round {}: {}/{} {}", p.round, p.done + 1, p.of, p.what));
    });
    line.clear();
    let json = || render::ceilings::json(&measured, &host::environment(), &host::kprof_info());
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
        output::print(&render::ceilings::text(&measured))?;
    }
    if let Some(warning) = render::ceilings::warning(&measured) {
        eprintln!("{warning}");
    }
    output::write_exports(&exports)
}
