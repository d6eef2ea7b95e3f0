//! The tables, notes and findings, for a terminal and as Markdown.

use super::flags::only;
use crate::args::RooflineArgs;
use crate::output;
use kprof::render;
use kprof::roofline::{CounterCheck, JoinReport, Roofline, TimelineReport, changes, one_sided, savings};
use std::collections::BTreeSet;

/// Text that is no table, broken at the terminal's width.
fn prose(text: &str) -> String {
    render::wrap_lines(text, output::wrap_width())
}

/// How many points the list of where to look first has.
const SAVINGS: usize = 5;

pub(super) fn table(args: &RooflineArgs, roofline: &Roofline) -> String {
    let mut out = render::roofline_table(roofline, args.top).to_terminal(output::width());
    let mut notes = render::roofline_notes(roofline, args.top);
    if let Some(name) = only(args.precision).name() {
        notes.insert(0, format!("FLOPs, intensities and bounds are those of {name} only (--precision)"));
    }
    if !notes.is_empty() {
        out += &format!("\n{}\n", prose(&notes.join("\n")));
    }
    if let Some(launched) = render::launched_table(roofline, args.top) {
        out += &format!("\n{}", launched.to_terminal(output::width()));
    }
    for timeline in &roofline.timelines {
        out += &format!("\n{}", timeline_text(roofline, timeline));
    }
    for join in &roofline.joins {
        out += &format!("\n{}{}", of_file(roofline, roofline.joins.len(), &join.file), join_text(join));
    }
    for check in &roofline.counter_checks {
        out += &format!("\n{}", check_text(roofline, check));
    }
    if !roofline.counter_checks.is_empty() {
        out += &format!("{}\n", prose(render::CHECK_NOTE));
    }
    let changes = changes(roofline);
    if !changes.is_empty() {
        let first = roofline.label_of(&roofline.files[0]);
        let shown = &changes[..changes.len().min(args.top)];
        let table = render::changes_table(roofline, shown).to_terminal(output::width());
        out += &format!("\nChanges against {first}\n{table}");
    }
    let alone = render::one_sided_notes(roofline, &one_sided(roofline, &changes));
    // An export and the run that it is of have no kernels in common, and are compared above.
    if !alone.is_empty() && roofline.counter_checks.is_empty() {
        out += &format!("\n{}", prose(&alone));
    }
    let savings = render::savings_list(roofline, &savings(roofline), SAVINGS);
    if !savings.is_empty() {
        out += &format!("\n{}", prose(&savings));
    }
    let findings = render::findings(&roofline.labelled_findings(), output::color(), output::wrap_width());
    if !findings.is_empty() {
        out += &format!("\n{findings}");
    }
    out
}

/// What a part begins with that is one of `parts` of several files.
fn of_file(roofline: &Roofline, parts: usize, file: &str) -> String {
    if parts > 1 { format!("{}: ", roofline.label_of(file)) } else { String::new() }
}

/// Where a trace's time goes: classes, devices, copies.
fn timeline_text(roofline: &Roofline, timeline: &TimelineReport) -> String {
    let file = of_file(roofline, roofline.timelines.len(), &timeline.file);
    let mut out = format!("{file}{}\n", render::timeline_heading(timeline));
    out += &render::class_table(timeline).to_terminal(output::width());
    if let Some(devices) = render::device_table(timeline) {
        out += &format!("\n{}{}\n", devices.to_terminal(output::width()), prose(render::DEVICE_NOTE));
    }
    if let Some(copies) = render::copy_table(timeline) {
        out += &format!("\n{}", copies.to_terminal(output::width()));
    }
    out
}

/// A trace's times beside the model's work.
fn join_text(join: &JoinReport) -> String {
    let table = |table: render::Table| table.to_terminal(output::width());
    let mut out = format!("{}\n{}", render::join_heading(join), table(render::join_table(join)));
    if let Some(gaps) = render::gap_table(join) {
        out += &format!("\n{}", table(gaps));
    }
    out + &prose(render::JOIN_NOTE) + "\n"
}

/// An export's counters beside the model's work.
fn check_text(roofline: &Roofline, check: &CounterCheck) -> String {
    let files: BTreeSet<&str> = roofline.counter_checks.iter().map(|c| c.file.as_str()).collect();
    let of = if files.len() > 1 { format!("{}: ", roofline.label_of(&check.file)) } else { String::new() };
    let table = render::check_table(check).to_terminal(output::width());
    format!("{of}{}\n{table}", render::check_heading(check))
}

pub(super) fn markdown(roofline: &Roofline) -> String {
    let all = roofline.points.len();
    let notes = render::roofline_notes(roofline, all).iter().map(|n| format!("\n{n}.\n")).collect::<String>();
    let mut out = render::roofline_table(roofline, all).to_markdown() + &notes;
    if let Some(launched) = render::launched_table(roofline, all) {
        out += &format!("\n{}", launched.to_markdown());
    }
    let mut add = |title: &str, tables: Vec<render::Table>, note: &str| {
        let tables = tables.iter().map(|t| format!("\n{}", t.to_markdown())).collect::<String>();
        out += &format!("\n{title}:\n{tables}\n{note}.\n");
    };
    for timeline in &roofline.timelines {
        let tables = [
            Some(render::class_table(timeline)),
            render::device_table(timeline),
            render::copy_table(timeline),
        ];
        let title = format!("{}, {}", roofline.label_of(&timeline.file), render::timeline_heading(timeline));
        add(&title, tables.into_iter().flatten().collect(), render::DEVICE_NOTE);
    }
    for join in &roofline.joins {
        let tables = [Some(render::join_table(join)), render::gap_table(join)];
        add(&render::join_heading(join), tables.into_iter().flatten().collect(), render::JOIN_NOTE);
    }
    out
}
