//! `--load` of a merged file: each rank's own report, and then the ranks beside each other.

use super::drive::{Benchmark, Shown};
use super::{lines, paragraphs};
use crate::exit::usage;
use crate::output::{self, Export};
use anyhow::Context as _;
use kprof::profile::RankRuns;
use kprof::render::{self, Table};
use kprof::roofline::RankedLaunch;

/// Prints and exports; what is of one run alone is refused.
pub(super) fn report<B: Benchmark>(benchmark: &B, ranks: &RankRuns) -> anyhow::Result<()> {
    let (out, file) = (benchmark.out(), &ranks.file);
    if out.jsonl().is_some() {
        return Err(usage(format!(
            "--export-jsonl is of one run, and {file} holds several ranks: name one (--load {file}@RANK)"
        )));
    }
    let launch = RankedLaunch::new(&ranks.runs).context("a merged file has ranks")?;
    let shown: Vec<Option<Shown>> = ranks.runs.iter().map(|run| benchmark.report(run)).collect();
    if shown.iter().all(Option::is_none) {
        anyhow::bail!("{file} has nothing to report here: its runs are none of `kprof {}`", B::NAME);
    }
    let figures = render::rank_figures(B::OVER_RANKS, &ranks.runs);
    let all = AllRanks {
        heading: render::rank_figures_heading(figures.as_ref(), &launch),
        table: figures.as_ref().map(render::rank_figures_table),
        notes: notes(&launch, &shown)
            .into_iter()
            .chain(figures.iter().flat_map(|figures| render::rank_figures_notes(figures, &launch)))
            .collect(),
        shown: &shown,
    };
    let json = || {
        let reports: Vec<Option<String>> =
            shown.iter().map(|shown| shown.as_ref().map(|s| s.json.clone())).collect();
        render::rank_figures_json(&launch, figures.as_ref(), &reports)
    };
    let csv = || {
        let of_each = launch.ranks.iter().zip(&shown);
        let of_each = of_each.filter_map(|(row, shown)| Some((row.merged.rank, shown.as_ref()?.csv.clone())));
        render::csv_by_rank(&of_each.collect::<Vec<_>>())
    };
    let (json_place, tables) = (out.json(), out.tables());
    let exports = [
        Export { path: &json_place, make: &|| Ok(json().into_bytes()) },
        Export { path: &tables.export_csv, make: &|| Ok(csv().into_bytes()) },
        Export { path: &tables.export_markdown, make: &|| Ok(all.markdown().into_bytes()) },
    ];
    if !output::takes_stdout(&exports) {
        output::print(&all.terminal())?;
    }
    output::write_exports(&exports)
}

/// Says which ranks have no report: their runs ended before there was anything to tell.
fn notes(launch: &RankedLaunch, shown: &[Option<Shown>]) -> Vec<String> {
    let without = launch.ranks.iter().zip(shown).filter(|(_, shown)| shown.is_none());
    without.map(|(row, _)| format!("rank {} has nothing to report", row.merged.rank)).collect()
}

/// Each rank, and all beside each other.
struct AllRanks<'a> {
    shown: &'a [Option<Shown>],
    heading: String,
    table: Option<Table>,
    notes: Vec<String>,
}

impl AllRanks<'_> {
    fn terminal(&self) -> String {
        let each = self.shown.iter().flatten().map(Shown::terminal);
        let table = self.table.iter().map(|table| table.to_terminal(output::width()));
        let beside = [format!("{}\n", self.heading)].into_iter().chain(table);
        paragraphs(each.chain(beside).chain([lines(&self.notes, "note: ")]))
    }

    fn markdown(&self) -> String {
        let each = self.shown.iter().flatten().map(Shown::markdown);
        let beside =
            [format!("{}\n", self.heading)].into_iter().chain(self.table.iter().map(Table::to_markdown));
        paragraphs(each.chain(beside).chain([lines(&self.notes, "- ")]))
    }
}
