//! `kprof regress`.

use super::compare::{compared, text};
use super::sides::{Side, by_rank, sides};
use crate::args::{FailOn, RegressArgs};
use crate::baseline;
use crate::exit::{Regressed, TooUnclear};
use crate::output::{self, Export};
use kprof::compare::CompareReport;
use kprof::render;
use kprof::stats::Verdict;

pub(crate) fn run(args: &RegressArgs) -> anyhow::Result<()> {
    let exports = args.export.paths().into_iter().chain(args.export_junit.as_deref());
    output::check_writable(exports)?;
    let baseline = sides(&baseline::existing(&args.baseline)?.display().to_string())?;
    let run = sides(&args.run)?;
    let groups = by_rank(vec![of_the_rank(baseline, &run), run])?;
    let report = compared(&groups, &[], &args.allow, args.threshold.0)?;
    let unclear_fails = args.fail_on == FailOn::Unclear;
    let exports = [
        Export { path: &args.export.export_json, make: &|| Ok(render::compare_json(&report).into_bytes()) },
        Export { path: &args.export.export_csv, make: &|| Ok(render::compare_csv(&report).into_bytes()) },
        Export {
            path: &args.export.export_markdown,
            make: &|| Ok(render::compare_markdown(&report).into_bytes()),
        },
        Export {
            path: &args.export_junit,
            make: &|| Ok(render::regress_junit(&report, unclear_fails).into_bytes()),
        },
    ];
    if !output::takes_stdout(&exports) {
        let annotations = if args.github { render::regress_annotations(&report) } else { String::new() };
        output::print(&format!("{}\n{}{annotations}", text(&report), render::regress_lines(&report)))?;
    }
    output::write_exports(&exports)?;
    judge(&report, unclear_fails)
}

/// Of a baseline of several ranks what a run of one of them is held against; all of it for a run of several, or of none of
/// its ranks.
fn of_the_rank(baseline: Vec<Side>, run: &[Side]) -> Vec<Side> {
    let [one] = run else { return baseline };
    let same = |side: &Side| side.rank().is_some() && side.rank() == one.rank();
    match baseline.iter().any(same) {
        true => baseline.into_iter().filter(same).collect(),
        false => baseline,
    }
}

/// The error whose exit code says what was found.
fn judge(report: &CompareReport, unclear_fails: bool) -> anyhow::Result<()> {
    let count = |verdict| report.verdicts().filter(|(_, time)| time.change.verdict == verdict).count();
    match (count(Verdict::Slower), count(Verdict::Unclear)) {
        (0, unclear) if unclear_fails && unclear > 0 => Err(TooUnclear(unclear).into()),
        (0, _) => Ok(()),
        (slower, _) => Err(Regressed(slower).into()),
    }
}
