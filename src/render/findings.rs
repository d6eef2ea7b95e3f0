//! Findings as text: what, and what to do; the same finding about many kernels is told once.

use super::table::elide;
use super::wrap::broken;
use crate::profile::{Finding, FindingCode};
use std::fmt::Write;

/// Names of at most this many characters are given in a finding.
const NAME: usize = 90;

/// Writes each finding with its remedy under it; `color` marks the word, and lines are broken at `width` columns, if any.
pub fn findings(findings: &[Finding], color: bool, width: Option<usize>) -> String {
    let mut groups: Vec<(&Finding, Vec<&str>)> = Vec::new();
    for finding in findings {
        let same = |g: &&mut (&Finding, Vec<&str>)| same(g.0, finding);
        match groups.iter_mut().find(same) {
            Some((_, about)) => about.push(&finding.about),
            None => groups.push((finding, vec![&finding.about])),
        }
    }
    let style = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Yellow.into()));
    let (on, off) = if color {
        (style.render().to_string(), style.render_reset().to_string())
    } else {
        Default::default()
    };
    let mut out = String::new();
    for (finding, about) in groups {
        let message = broken(&format!("{}: {}", subject(&about), finding.message), INDENT, width);
        let _ = writeln!(out, "{on}Finding{off}  {message}");
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(out, " Remedy  {}", broken(&shortened(remedy), INDENT, width));
        }
    }
    out
}

/// What every line of a finding but the first begins with.
const INDENT: &str = "         ";

/// Lists of metrics longer than this are cut: `--explain` and the JSON have them whole.
const LISTED: usize = 3;

/// `collect a.sum,b.sum and 12 more (--explain KERNEL lists them)`.
fn shortened(remedy: &str) -> String {
    let is_list = |word: &&str| word.matches("__").count() > LISTED && word.contains(',');
    let Some(list) = remedy.split_whitespace().find(is_list) else { return remedy.to_string() };
    let (before, after) = remedy.split_once(list).unwrap_or((remedy, ""));
    let names: Vec<&str> = list.split(',').collect();
    let (shown, rest) = names.split_at(LISTED.min(names.len()));
    format!("{before}{},… ({} more: --explain KERNEL lists them){after}", shown.join(","), rest.len())
}

fn same(a: &Finding, b: &Finding) -> bool {
    let percent_differs = a.code == FindingCode::AboveCeiling;
    a.code == b.code && a.remedy == b.remedy && a.message == b.message && !percent_differs
}

fn subject(about: &[&str]) -> String {
    let mut distinct: Vec<&str> = Vec::new();
    for name in about {
        if !distinct.contains(name) {
            distinct.push(name);
        }
    }
    match distinct.as_slice() {
        [one] => elide(one, NAME),
        [first, rest @ ..] => format!("{} and {} more", elide(first, NAME), rest.len()),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_metrics_is_cut() {
        let remedy = "collect --metrics a__a.sum,b__b.sum,c__c.sum,d__d.sum,e__e.sum ./app";
        let expected =
            "collect --metrics a__a.sum,b__b.sum,c__c.sum,… (2 more: --explain KERNEL lists them) ./app";
        assert_eq!(shortened(remedy), expected);
        assert_eq!(shortened("collect a__a.sum,b__b.sum"), "collect a__a.sum,b__b.sum");
    }

    #[test]
    fn one_finding_about_many_kernels_is_told_once() {
        let of = |about: &str| {
            Finding::new(FindingCode::FlopsIncomplete, about, "FLOPs are a lower bound")
                .with_remedy("collect x")
        };
        let text = findings(&[of("a"), of("b"), of("c")], false, None);
        assert_eq!(text, "Finding  a and 2 more: FLOPs are a lower bound\n Remedy  collect x\n");
    }

    #[test]
    fn long_lines_are_broken_at_spaces_under_their_beginning() {
        let finding = Finding::new(FindingCode::FlopsIncomplete, "k", "FLOPs are a lower bound here")
            .with_remedy("collect --metrics a__a.sum,b__b.sum,c__c.sum");
        let text = findings(&[finding], false, Some(32));
        let expected = "Finding  k: FLOPs are a lower\n         bound here\n Remedy  collect --metrics\n         a__a.sum,b__b.sum,c__c.sum\n";
        assert_eq!(text, expected);
    }
}
