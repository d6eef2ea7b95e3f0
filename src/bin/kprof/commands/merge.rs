//! `kprof merge`.

use crate::args::MergeArgs;
use crate::exit::usage;
use crate::output;
use crate::session;
use anyhow::Context as _;
use kprof::host;
use kprof::profile::{
    FORMAT_VERSION, MergedRecord, Record, Run, check_ranks, merged_lines, merged_ranks, read_run,
    write_atomically,
};
use kprof::render;
use kprof::roofline::RanksReport;
use std::path::Path;

pub(crate) fn run(args: &MergeArgs) -> anyhow::Result<()> {
    if args.output.exists() {
        return Err(usage(format!("{} exists: name a new file with --output", args.output.display())));
    }
    output::check_writable([args.output.as_path()])?;
    let mut runs = args.runs.iter().map(|file| read_run(file)).collect::<Result<Vec<Run>, _>>()?;
    let missing = check_ranks(&mut runs, args.partial).map_err(usage)?;
    let head = MergedRecord {
        format_version: FORMAT_VERSION,
        kprof: host::kprof_info(),
        command: session::command(),
        merged: host::now_rfc3339(),
        world_size: runs.first().and_then(|run| run.rank()?.world_size),
        ranks: merged_ranks(&runs),
        missing,
    };
    let mut lines = vec![serde_json::to_string(&Record::Merged(Box::new(head)))?];
    for run in &runs {
        let rank = run.rank().context("a run that was checked has a rank")?.rank;
        lines.extend(merged_lines(Path::new(&run.file), rank)?);
    }
    write_atomically(&args.output, (lines.join("\n") + "\n").as_bytes())
        .context("the ranks are not merged")?;
    let report = RanksReport::new(&runs).context("runs that were checked have ranks")?;
    if args.json {
        let mut named = report;
        named.launch.file = args.output.display().to_string();
        output::print_as_is(&render::ranks_json(&named, &[]))?;
    } else {
        output::print(&text(&report))?;
    }
    eprintln!("wrote {}", args.output.display());
    Ok(())
}

/// What is said of the ranks of a launch before each of them, or instead.
pub(super) fn text(report: &RanksReport) -> String {
    let width = output::width();
    let notes: String = render::ranks_notes(report).iter().map(|note| format!("note: {note}\n")).collect();
    let machines = render::ranks_table(&report.launch).to_terminal(width);
    let steps = (!report.imbalances.is_empty()).then(|| render::imbalance_table(report).to_terminal(width));
    let tables: Vec<String> = std::iter::once(machines).chain(steps).collect();
    format!("{}\n\n{}\n{notes}", render::ranks_heading(&report.launch), tables.join("\n"))
}
