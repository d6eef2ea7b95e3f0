//! `kprof phase --load` of a merged file: each rank by itself, and then all beside each other.

use super::report::{chosen, simulated, table};
use crate::args::PhaseArgs;
use crate::baseline;
use crate::commands::merge;
use crate::exit::usage;
use crate::output::{self, Export};
use anyhow::Context as _;
use kprof::profile::RankRuns;
use kprof::render;
use kprof::roofline::{PhaseReport, RanksReport};

/// Prints and exports; what is of one run alone is refused.
pub(super) fn report(args: &PhaseArgs, ranks: &RankRuns) -> anyhow::Result<()> {
    check(args, &ranks.file)?;
    let report = RanksReport::new(&ranks.runs).context("a merged file has ranks")?;
    if report.imbalances.is_empty() {
        anyhow::bail!("{} has no timed steps: its runs are none of `kprof phase`", ranks.file);
    }
    let ceilings = chosen(args)?;
    let phases: Vec<PhaseReport> = ranks
        .runs
        .iter()
        .map(|run| simulated(args, PhaseReport::new(run, &ceilings)))
        .collect::<Result<_, _>>()?;
    let numbered = || report.launch.ranks.iter().map(|row| row.merged.rank).zip(&phases);
    let text = |text: String| Ok(text.into_bytes());
    let csv = || {
        let of_each: Vec<(usize, String)> =
            numbered().map(|(rank, phases)| (rank, render::phase_csv(phases))).collect();
        render::csv_by_rank(&of_each)
    };
    let tables = &args.tables;
    let exports = [
        Export { path: &tables.export_json, make: &|| text(render::ranks_json(&report, &phases)) },
        Export { path: &tables.export_csv, make: &|| text(csv()) },
        Export { path: &tables.export_markdown, make: &|| text(markdown(&report, &phases)) },
        Export { path: &args.figures.export_trace, make: &|| text(timeline(ranks)) },
    ];
    if !output::takes_stdout(&exports) {
        let each: String =
            phases.iter().map(|phases| table(phases, render::Glyphs::of(args.ascii)) + "\n").collect();
        output::print(&format!("{each}{}", merge::text(&report)))?;
    }
    output::write_exports(&exports)?;
    args.save_baseline.as_deref().map_or(Ok(()), |name| baseline::save_ranks(name, ranks))
}

fn check(args: &PhaseArgs, file: &str) -> anyhow::Result<()> {
    let figures = &args.figures;
    let of_one = [
        ("--export-svg", figures.export_svg.is_some()),
        ("--export-png", figures.export_png.is_some()),
        ("--export-roofline-svg", figures.export_roofline_svg.is_some()),
        ("--export-roofline-png", figures.export_roofline_png.is_some()),
        ("--export-jsonl", args.log.export_jsonl.is_some()),
        ("--add-to-baseline", args.add_to_baseline.is_some()),
    ];
    match of_one.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(usage(format!(
            "{flag} is of one run, and {file} holds several ranks: name one (--load {file}@RANK), or draw all with \
             kprof plot {file}"
        ))),
        None => Ok(()),
    }
}

fn timeline(ranks: &RankRuns) -> String {
    let trace = render::trace_of_ranks(&ranks.runs, render::TRACE_CAP);
    trace.left_out.iter().for_each(|left_out| eprintln!("note: {left_out}"));
    trace.json
}

fn markdown(report: &RanksReport, phases: &[PhaseReport]) -> String {
    let each: String = phases
        .iter()
        .map(|p| {
            let (table, latency) = (render::phase_table(p), render::latency_table(p));
            format!("{}\n\n{}\n{}\n", render::phase_heading(p), table.to_markdown(), latency.to_markdown())
        })
        .collect();
    let notes: String = render::ranks_notes(report).iter().map(|note| format!("- {note}\n")).collect();
    format!(
        "{each}{}\n\n{}\n{}\n{notes}",
        render::ranks_heading(&report.launch),
        render::ranks_table(&report.launch).to_markdown(),
        render::imbalance_table(report).to_markdown()
    )
}
