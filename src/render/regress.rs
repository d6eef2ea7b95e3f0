//! Verdicts against a baseline for those who wait for them: JUnit, GitHub annotations and lines.

use super::table::signed_percent;
use crate::compare::{CompareReport, PairReport, TimeChange};
use crate::stats::Verdict;
use std::fmt::Write;

/// One line per verdict: what, by how much, how sure.
pub fn regress_lines(report: &CompareReport) -> String {
    report.verdicts().map(|(pair, time)| format!("{}\n", line(pair, time))).collect()
}

fn line(pair: &PairReport, time: &TimeChange) -> String {
    let change = format!("{} % time", signed_percent(1.0 / time.change.speedup - 1.0));
    let interval = time.change.interval.map(|i| {
        let i = i.inverse();
        format!(" [{}, {}]", signed_percent(i.low - 1.0), signed_percent(i.high - 1.0))
    });
    let reason = time.change.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
    format!(
        "{:<8} {} {}: {change}{}{reason}",
        time.change.verdict.to_string(),
        subject(pair),
        time.what,
        interval.unwrap_or_default()
    )
}

/// The version of `run.jsonl:v1`, with the rank of several: `rank 2 v1`.
fn subject(pair: &PairReport) -> String {
    let version = pair.new.rsplit(':').next().unwrap_or(&pair.new);
    pair.rank.map_or(version.to_string(), |rank| format!("rank {rank} {version}"))
}

/// GitHub's workflow commands: an error per regression, a warning per unclear verdict.
pub fn regress_annotations(report: &CompareReport) -> String {
    let mut text = String::new();
    for (pair, time) in report.verdicts() {
        let level = match time.change.verdict {
            Verdict::Slower => "error",
            Verdict::Unclear => "warning",
            Verdict::Same | Verdict::Faster => continue,
        };
        let _ = writeln!(text, "::{level} title=kprof regress::{}", escaped(&line(pair, time), &GITHUB));
    }
    text
}

/// A JUnit report: a case per verdict; a regression is a failure, an unclear one is skipped unless it `fails`.
pub fn regress_junit(report: &CompareReport, unclear_fails: bool) -> String {
    let failed =
        |verdict: Verdict| verdict == Verdict::Slower || (verdict == Verdict::Unclear && unclear_fails);
    let count =
        |is: &dyn Fn(Verdict) -> bool| report.verdicts().filter(|(_, time)| is(time.change.verdict)).count();
    let (all, failures) = (count(&|_| true), count(&failed));
    let skipped = count(&|v| v == Verdict::Unclear && !unclear_fails);
    let counts = format!("tests=\"{all}\" failures=\"{failures}\" skipped=\"{skipped}\"");
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_string();
    let _ = writeln!(text, "<testsuites {counts}>\n  <testsuite name=\"kprof regress\" {counts}>");
    for (pair, time) in report.verdicts() {
        let name = escaped(&format!("{} {}", subject(pair), time.what), &XML);
        let message = escaped(&line(pair, time), &XML);
        let _ = write!(text, "    <testcase classname=\"kprof.regress\" name=\"{name}\"");
        let _ = match time.change.verdict {
            v if failed(v) => writeln!(text, "><failure message=\"{message}\"/></testcase>"),
            Verdict::Unclear => writeln!(text, "><skipped message=\"{message}\"/></testcase>"),
            _ => writeln!(text, "/>"),
        };
    }
    text + "  </testsuite>\n</testsuites>\n"
}

const XML: [(&str, &str); 4] = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;")];
/// What a message of a workflow command escapes.
const GITHUB: [(&str, &str); 3] = [("%", "%25"), ("\r", "%0D"), ("\n", "%0A")];

fn escaped(text: &str, table: &[(&str, &str)]) -> String {
    table.iter().fold(text.to_string(), |text, (from, to)| text.replace(from, to))
}
