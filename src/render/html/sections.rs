//! The sections of the page: each with what it says, the figures of the table of figures that belong to it, and tables.

use super::benchmarks::Benchmarks;
use super::compared::Compared;
use super::page::ReportOptions;
use super::text::{escaped, table};
use super::{environment, points};
use crate::profile::Run;
use crate::render::plot::{ChartOptions, FIGURES, FigureInput};
use crate::render::table::{Column, Table, in_wide_scale, or_na, percent, significant};
use crate::render::{
    footer, imbalance_table, latency_table, machine_lines, phase_table, rank_figures, rank_figures_heading,
    rank_figures_notes, rank_figures_table, ranks_heading, ranks_notes, ranks_table,
};
use crate::roofline::{Bound, PhaseReport, RanksReport, by_launch};
use crate::scaling::{RankFigures, RankQuantity};
use crate::units::{Scale, Seconds};

/// A part of the page; empty ones are left out.
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) html: String,
}

/// Figures that the page shows besides the roofline, by section.
const FIGURES_OF: &[(&str, &[&str])] = &[
    ("phases", &["phases", "phases-share", "phases-layers", "ops-layers"]),
    ("versions", &["speedup", "throughput", "cache", "roofline-versions", "roofline-changes", "scenarios"]),
    ("kernels", &["kernels", "roofline-levels", "roofline-precision"]),
    ("samples", &["samples", "steps", "itl"]),
    ("machine", &["telemetry"]),
];

pub(super) fn all(
    input: &FigureInput,
    compared: &Compared,
    benchmarks: &[Benchmarks],
    options: &ReportOptions,
) -> Vec<Section> {
    let of = |id: &str| figures(id, input, options);
    let lengths = options.more_figures(FIGURES_OF);
    let sections = [
        Section { id: "roofline", title: "Roofline", html: roofline(input, options) },
        Section { id: "ranks", title: "Ranks", html: ranks(input) },
        Section { id: "phases", title: "Where the time goes", html: of("phases") + &phases(input) },
        Section { id: "versions", title: "Versions and runs", html: of("versions") + &compared.html(input) },
        Section { id: "kernels", title: "Kernels", html: of("kernels") },
        Section {
            id: "lengths",
            title: "Lengths, memory and quality",
            html: drawn(&lengths, input, options) + &tables(input, benchmarks),
        },
        Section { id: "samples", title: "Samples", html: of("samples") },
        Section { id: "machine", title: "The machine", html: of("machine") + &machine(input) },
        Section { id: "again", title: "Measure it again", html: again(input) },
    ];
    sections.into_iter().filter(|s| !s.html.is_empty()).collect()
}

/// The ranks of each launch beside each other; nothing where there are none.
fn ranks(input: &FigureInput) -> String {
    by_launch(&input.runs).filter_map(of_launch).collect()
}

/// The ranks of one launch: where they ran, and whatever they have beside each other.
fn of_launch(runs: &[Run]) -> Option<String> {
    let report = RanksReport::new(runs)?;
    let launch = &report.launch;
    let figures: Vec<RankFigures> =
        RankQuantity::ALL.into_iter().filter_map(|quantity| rank_figures(quantity, runs)).collect();
    let mut all_notes = ranks_notes(&report);
    for note in figures.iter().flat_map(|figures| rank_figures_notes(figures, launch)) {
        if !all_notes.contains(&note) {
            all_notes.push(note);
        }
    }
    let notes: String =
        all_notes.iter().map(|note| format!("<p class=\"note\">{}</p>\n", escaped(note))).collect();
    let heading = format!("<h3>{}: {}</h3>\n", escaped(&launch.file), escaped(&ranks_heading(launch)));
    let steps = (!report.imbalances.is_empty()).then(|| imbalance_table(&report));
    let machines = std::iter::once(ranks_table(launch)).chain(steps).map(|t| table(&t, 0));
    let of_benchmarks = figures.iter().map(|figures| {
        let heading = rank_figures_heading(Some(figures), launch);
        format!("<h4>{}</h4>\n{}", escaped(&heading), table(&rank_figures_table(figures), 0))
    });
    Some(heading + &machines.chain(of_benchmarks).collect::<String>() + &notes)
}

impl ReportOptions {
    /// The figures that no section names: those that later records bring.
    fn more_figures(&self, named: &[(&str, &[&str])]) -> Vec<&'static str> {
        let taken = |name: &str| {
            name.starts_with("roofline")
                || named.iter().any(|(_, names)| names.contains(&name))
                || name == "phases-grouped"
        };
        FIGURES.iter().map(|f| f.name).filter(|name| !taken(name)).collect()
    }
}

fn figures(section: &str, input: &FigureInput, options: &ReportOptions) -> String {
    let names = FIGURES_OF.iter().find(|(id, _)| *id == section).map(|(_, names)| *names);
    drawn(names.unwrap_or_default(), input, options)
}

/// The figures of these names that the runs have the records for.
fn drawn(names: &[&str], input: &FigureInput, options: &ReportOptions) -> String {
    let draw = |name: &&str| {
        let kind = FIGURES.iter().find(|f| f.name == *name)?;
        let footer = footer(kind.runs(input), &options.drawn_by);
        let chart = ChartOptions { footer, ..ChartOptions::default() };
        let figure = kind.draw(input, &chart).ok()?;
        Some(figure_html(kind.name, &figure.svg, kind.shows))
    };
    names.iter().filter_map(draw).collect()
}

fn figure_html(name: &str, svg: &str, shows: &str) -> String {
    // A reader of the page hears what the figure shows, and not each of its labels.
    let named = format!("<svg role=\"img\" aria-label=\"{}\" ", escaped(shows));
    let svg = svg.replacen("<svg ", &named, 1);
    format!("<figure id=\"figure-{name}\">{svg}<figcaption>{}</figcaption></figure>\n", escaped(shows))
}

fn roofline(input: &FigureInput, options: &ReportOptions) -> String {
    let placed = |p: &crate::roofline::Point| p.intensity().is_some() && p.achieved_flop_rate().is_some();
    if input.roofline.points.is_empty() {
        return String::new();
    }
    let fixed = drawn(&["roofline"], input, options);
    let note = "Higher is faster; the lines are what the machine allows at most. A point under the slope waits for \
                memory, one under the level part for arithmetic; one far under both for neither. Bytes of measured \
                phases are the analytic floor, not DRAM traffic.";
    let live = if input.roofline.points.iter().any(placed) {
        format!(
            "<div class=\"live\"><div id=\"filters\" class=\"tools\"></div>\
             <div id=\"chart\"><div id=\"tip\" role=\"tooltip\"></div></div>\
             <ul id=\"keys\" class=\"keys\"></ul>\
             <p class=\"note\">Shape and colour: the version, or of kernels the run; hollow: decode; large: a whole step. \
             Point or tab to a mark for its numbers, arrow keys go to the next, Enter or a click selects it here and in \
             the table. Drag to move, Shift or Ctrl and the wheel to zoom.</p></div>\n\
             <script type=\"application/json\" id=\"roofline-data\">{}</script>\n",
            points::data(&input.roofline)
        )
    } else {
        String::new()
    };
    let fixed_class = if live.is_empty() { "" } else { "static" };
    format!(
        "<p class=\"note\">{note}</p>{live}<div class=\"{fixed_class}\">{fixed}</div>{}",
        points::table(&input.roofline)
    )
}

fn heading(input: &FigureInput, at: usize, what: &str) -> String {
    if input.runs.len() < 2 {
        return format!("<h3>{what}</h3>\n");
    }
    format!("<h3>{what} of {}</h3>\n", escaped(&input.labels[at]))
}

fn phases(input: &FigureInput) -> String {
    let of = |(i, report): (usize, &Option<PhaseReport>)| {
        let report = report.as_ref()?;
        Some(
            heading(input, i, "Latency")
                + &table(&latency_table(report), 0)
                + &heading(input, i, "Phases, per step")
                + &table(&phase_table(report), 2)
                + &heading(input, i, "Ops, per step")
                + &table(&ops(report), 0),
        )
    };
    input.reports.iter().enumerate().filter_map(of).collect()
}

/// Every op of every version and stage.
fn ops(report: &PhaseReport) -> Table {
    let all = || report.stages.iter().flat_map(|s| s.ops.iter().map(move |op| (s, op)));
    let time = Scale::for_values(all().filter_map(|(_, op)| op.time_s), Seconds::UNIT);
    let rate = Scale::for_values(all().filter_map(|(_, op)| op.work.achieved_flop_per_s), "FLOP/s");
    let traffic = Scale::for_values(all().filter_map(|(_, op)| op.work.achieved_byte_per_s), "B/s");
    let mut table = Table::new(vec![
        Column::text("version"),
        Column::text("stage"),
        Column::text("phase"),
        Column::text("op"),
        Column::number("count", ""),
        Column::number("time", &time.unit),
        Column::number("share", "%"),
        Column::number("rate", &rate.unit),
        Column::number("traffic", &traffic.unit),
        Column::number("FLOP/B", ""),
        Column::number("of ceiling", "%"),
        Column::text("bound"),
    ]);
    for (stage, op) in all() {
        table.push(vec![
            stage.version.clone(),
            stage.stage.to_string(),
            op.phase.to_string(),
            op.label.clone(),
            op.count.to_string(),
            or_na(op.time_s.map(|t| in_wide_scale(&time, t))),
            percent(op.share),
            or_na(op.work.achieved_flop_per_s.map(|r| in_wide_scale(&rate, r))),
            or_na(op.work.achieved_byte_per_s.map(|r| in_wide_scale(&traffic, r))),
            significant(op.work.intensity),
            percent(op.work.fraction_of_ceiling),
            op.work.bound.map_or("n/a", Bound::name).to_string(),
        ]);
    }
    table
}

fn tables(input: &FigureInput, benchmarks: &[Benchmarks]) -> String {
    let several = input.runs.len() > 1;
    let label = |i: usize| several.then_some(input.labels[i].as_str());
    benchmarks.iter().enumerate().map(|(i, b)| b.tables(label(i))).collect()
}

fn machine(input: &FigureInput) -> String {
    let of = |(i, run): (usize, &crate::profile::Run)| {
        let lines = input.reports[i].as_ref().map(machine_lines).unwrap_or_default();
        let lines: String = lines.iter().map(|l| format!("<p class=\"note\">{}</p>\n", escaped(l))).collect();
        heading(input, i, "Environment")
            + &environment::environment(run)
            + &lines
            + &environment::ceilings(&run.ceilings)
    };
    input.runs.iter().enumerate().map(of).collect()
}

fn again(input: &FigureInput) -> String {
    let mut lines: Vec<String> = input.runs.iter().filter_map(environment::command).collect();
    let files = input.files().join(" ");
    let recorded = !lines.is_empty();
    lines.push(format!("kprof report {files} -o report.html"));
    let note = if recorded {
        "The commands that recorded these runs and made this page. Times depend on the machine, so another one gives \
         others; the seed gives the same weights, prompt and order."
    } else {
        "These files come from a profiler; this makes the page from them again."
    };
    format!("<p class=\"note\">{note}</p>\n{}", environment::commands(&lines))
}
