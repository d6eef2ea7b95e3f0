//! `kprof convert`.

use crate::args::{ConvertArgs, FormatArg, MetricsArg};
use crate::exit::usage;
use crate::output::{self, Export};
use kprof::ingest::ncu::{RawMetrics, read_report};
use kprof::ingest::read_any;
use kprof::profile::{Finding, Run};
use kprof::render::{self, Launches};
use std::io::IsTerminal;
use std::path::Path;

pub(crate) fn run(args: &ConvertArgs) -> anyhow::Result<()> {
    check(args)?;
    let read = |file| read(file, args.metrics);
    let files: Vec<(Run, Vec<RawMetrics>)> = args.files.iter().map(|f| read(f)).collect::<Result<_, _>>()?;
    let launches: Vec<_> = files.iter().map(|(run, metrics)| Launches { run, metrics }).collect();
    let make = || {
        Ok(match args.to {
            FormatArg::Csv => render::launches_csv(&launches).into_bytes(),
            FormatArg::Json => render::launches_json(&launches).into_bytes(),
            FormatArg::Jsonl => render::launches_jsonl(&launches).into_bytes(),
            FormatArg::Parquet => render::launches_parquet(&launches)?,
        })
    };
    output::write_exports(&[Export { path: &Some(args.output.clone()), make: &make }])?;
    let findings: Vec<Finding> = files.iter().flat_map(|(run, _)| run.findings.clone()).collect();
    if !findings.is_empty() {
        eprint!("{}", render::findings(&findings, false, output::stderr_width()));
    }
    Ok(())
}

/// What clap cannot see.
fn check(args: &ConvertArgs) -> anyhow::Result<()> {
    let rows = matches!(args.to, FormatArg::Csv | FormatArg::Parquet);
    if rows && args.metrics == MetricsArg::All {
        return Err(usage(
            "--metrics all goes with --to json or --to jsonl: launches have different metrics",
        ));
    }
    let to_stdout = args.output == Path::new("-");
    if args.to == FormatArg::Parquet && to_stdout && std::io::stdout().is_terminal() {
        return Err(usage("Parquet is binary: add --output launches.parquet"));
    }
    output::check_writable([args.output.as_path()])
}

fn read(file: &Path, metrics: MetricsArg) -> anyhow::Result<(Run, Vec<RawMetrics>)> {
    let (run, metrics) = match metrics {
        MetricsArg::Meaning => (read_any(file)?, Vec::new()),
        MetricsArg::All => {
            let report = read_report(file)?.ok_or_else(|| {
                usage(format!("{}: --metrics all needs a binary report (.ncu-rep)", file.display()))
            })?;
            (report.run, report.metrics)
        }
    };
    if run.kernels.is_empty() {
        let message = "it has no kernel launches to convert; for the phases of a run, use `kprof roofline \
                       --export-csv -`";
        return Err(usage(format!("{}: {message}", file.display())));
    }
    Ok((run, metrics))
}
