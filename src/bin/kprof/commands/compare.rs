//! `kprof compare`.

use super::sides::{Side, by_rank, sides};
use crate::args::CompareArgs;
use crate::exit::{Interrupted, usage};
use crate::interrupt;
use crate::output::{self, Export};
use crate::progress::Line;
use kprof::compare::{
    Aspect, CommandRow, CommandsReport, CompareReport, MeasuredCommand, Named, compare_commands,
    compare_pair, pair_up,
};
use kprof::profile::{Finding, Run};
use kprof::render;
use kprof::runner::{CommandError, Commands, Turn, measure_commands};
use kprof::stats::Sample;

pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    output::check_writable(args.export.paths())?;
    if args.commands.is_empty() && (args.prepare.is_some() || args.ignore_failure) {
        return Err(usage("--prepare and --ignore-failure are of commands: name them with --command"));
    }
    let report = match args.commands.is_empty() {
        true => {
            let sides = args.runs.iter().map(|text| sides(text)).collect::<anyhow::Result<Vec<_>>>()?;
            if sides.iter().any(|of_file| of_file.len() > 1) {
                compared(&by_rank(sides)?, &[], &args.allow, args.threshold.0)?
            } else {
                let (scored, timed): (Vec<Side>, Vec<Side>) =
                    sides.into_iter().flatten().partition(Side::is_scored_only);
                let named = timed.into_iter().map(Side::named).collect::<anyhow::Result<Vec<_>>>()?;
                let scored: Vec<&Run> = scored.iter().map(|side| &side.run).collect();
                compared(&[named], &scored, &args.allow, args.threshold.0)?
            }
        }
        false => measured(args)?,
    };
    let exports = [
        Export { path: &args.export.export_json, make: &|| Ok(render::compare_json(&report).into_bytes()) },
        Export { path: &args.export.export_csv, make: &|| Ok(render::compare_csv(&report).into_bytes()) },
        Export {
            path: &args.export.export_markdown,
            make: &|| Ok(render::compare_markdown(&report).into_bytes()),
        },
    ];
    if !output::takes_stdout(&exports) {
        output::print(&text(&report))?;
    }
    output::write_exports(&exports)
}

/// Pairs up each group by itself and compares; the findings are those of the files.
pub(super) fn compared(
    groups: &[Vec<Named>],
    scored: &[&Run],
    allow: &[Aspect],
    threshold: f64,
) -> anyhow::Result<CompareReport> {
    let pairs = groups.iter().map(|named| pair_up(named, allow)).collect::<Result<Vec<_>, _>>();
    let subjects: Vec<_> = pairs.map_err(usage)?.into_iter().flatten().collect();
    let pairs = subjects.iter().map(|(old, new)| compare_pair(*old, *new, threshold)).collect();
    let mut findings: Vec<Finding> = Vec::new();
    for finding in groups.iter().flatten().flat_map(|n| &n.run.findings) {
        if !findings.contains(finding) {
            findings.push(finding.clone());
        }
    }
    Ok(CompareReport::new(pairs, threshold, findings).with_quality(&subjects, scored))
}

/// Runs the commands and compares what they took.
fn measured(args: &CompareArgs) -> anyhow::Result<CompareReport> {
    if args.commands.len() < 2 {
        return Err(usage("one --command has nothing to be held against: name a second one"));
    }
    let what = Commands {
        commands: args.commands.clone(),
        prepare: args.prepare.clone(),
        failures_count: args.ignore_failure,
        schedule: args.schedule.schedule(args.seed),
    };
    let mut line = Line::new(args.quiet);
    let mut progress = |command: &str, turn: Turn| {
        let round = turn.repetition.map_or("warm-up".to_string(), |r| format!("round {}", r + 1));
        line.update(&format!("{round}  {}/{}  {command}", turn.done + 1, turn.total));
    };
    let outcome = measure_commands(&what, interrupt::flag(), &mut progress);
    line.clear();
    let outcome = outcome.map_err(|error| match error {
        CommandError::Interrupted => Interrupted("a comparison needs all its rounds".to_string()).into(),
        other => anyhow::Error::from(other),
    })?;
    let mut rows = Vec::new();
    let mut commands = Vec::new();
    for (i, c) in outcome.commands.into_iter().enumerate() {
        let name = format!("command {}", i + 1);
        let time = Sample::new(c.times_s.clone())?.summary(args.seed);
        rows.push(CommandRow { name: name.clone(), command: c.command, time, times_s: c.times_s.clone() });
        commands.push(MeasuredCommand { name, times_s: c.times_s, run: c.run });
    }
    let pairs = compare_commands(&commands, &args.allow, args.threshold.0).map_err(usage)?;
    let mut report = CompareReport::new(pairs, args.threshold.0, outcome.findings);
    report.commands = Some(CommandsReport { commands: rows, schedule: outcome.schedule });
    Ok(report)
}

pub(super) fn text(report: &CompareReport) -> String {
    let width = output::width();
    let mut parts = vec![render::compare_commands(report)];
    for pair in &report.pairs {
        parts.push(render::compare_heading(pair));
        parts.push(render::compare_table(pair).to_terminal(width));
        parts.push(render::compare_notes(pair, report.threshold));
        if !pair.stages.is_empty() {
            parts.push(render::contributions_table(pair).to_terminal(width));
        }
    }
    parts.push(render::slowest_lines(&report.slowest_ranks));
    if !report.pareto.is_empty() {
        parts.push(render::pareto_table(&report.pareto).to_terminal(width));
    }
    parts.push(render::findings(&report.findings, output::color(), output::wrap_width()));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}
