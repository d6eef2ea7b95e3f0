//! `kprof report`: one HTML file about runs.

use super::figures;
use crate::args::ReportArgs;
use crate::output::{self, Export};
use kprof::host;
use kprof::render::{ReportOptions, report_html};

pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<()> {
    output::check_writable([args.output.as_path()])?;
    let mut input = figures::read(&args.runs, &args.label, args.device.as_deref())?;
    input.against = figures::against(args.against.as_deref(), &input)?;
    let options = ReportOptions { title: args.title.clone(), drawn_by: host::kprof_info() };
    let path = Some(args.output.clone());
    let html = || Ok(report_html(&input, &options).into_bytes());
    output::write_exports(&[Export { path: &path, make: &html }])
}
