//! Which version of which run the page holds against which, and what they trade for each other.

use super::text::{escaped, table};
use crate::compare::{Aspect, CompareReport, PairReport, ParetoPoint, Subject, Unlike, compare_pair, unlike};
use crate::profile::Run;
use crate::render::plot::FigureInput;
use crate::render::{compare_heading, compare_notes, compare_table, contributions_table, pareto_table};
use crate::stats::DEFAULT_THRESHOLD;

/// What differs between runs that are still compared: what they were measured with.
const ALLOWED: [Aspect; 3] = [Aspect::Device, Aspect::Threads, Aspect::Weights];

/// The comparisons of a page.
pub(super) struct Compared {
    pub(super) pairs: Vec<PairReport>,
    pareto: Vec<ParetoPoint>,
    /// Runs that are of something else than the first one, in what.
    refused: Vec<(String, Vec<Unlike>)>,
}

impl Compared {
    /// Each later run's versions against the first run's, where both are of one model and shape; then each version against
    /// the first of its run.
    pub(super) fn of(input: &FigureInput) -> Self {
        let rank = |run: &Run| run.rank().map(|rank| rank.rank);
        let (mut across, mut inside) = (Vec::new(), Vec::new());
        let mut refused = Vec::new();
        let first_run = input.runs.iter().find(|r| !input.versions(r).is_empty());
        for (i, run) in input.runs.iter().enumerate() {
            let versions = input.versions(run);
            let named = |v: &&str| input.against.as_deref().is_none_or(|a| a == *v);
            let against = versions.iter().copied().find(|v| named(v)).or(versions.first().copied());
            let Some(against) = against else { continue };
            let of = |version| Subject { run, version };
            inside.extend(versions.iter().filter(|v| **v != against).map(|v| (of(against), of(v))));
            // Ranks of one launch are no changes of each other: each is held against the same rank of an earlier launch.
            let same_rank = |r: &&Run| !input.versions(r).is_empty() && rank(r) == rank(run);
            let earlier = input.runs.iter().find(same_rank);
            let Some(first) = earlier.filter(|f| !std::ptr::eq(*f, run)) else { continue };
            let differing: Vec<Unlike> =
                unlike(first, run).into_iter().filter(|u| !ALLOWED.contains(&u.aspect)).collect();
            if !differing.is_empty() {
                refused.push((input.labels[i].clone(), differing));
                continue;
            }
            let common = versions.iter().copied().filter(|v| input.versions(first).contains(v));
            across.extend(common.map(|version| (Subject { run: first, version }, of(version))));
        }
        // What changed between runs is what two of them are laid side by side for.
        let subjects: Vec<(Subject<'_>, Subject<'_>)> = across.into_iter().chain(inside).collect();
        // A perplexity of another model says nothing about these.
        let other_model = |run: &Run| {
            first_run.is_some_and(|first| unlike(first, run).iter().any(|u| u.aspect == Aspect::Model))
        };
        let has_quality = |run: &&Run| !run.qualities.is_empty() && !other_model(run);
        let scored: Vec<&Run> = input.runs.iter().filter(has_quality).collect();
        let compare = |(old, new): &(Subject<'_>, Subject<'_>)| {
            let pair = compare_pair(*old, *new, DEFAULT_THRESHOLD);
            PairReport { old: name(input, *old), new: name(input, *new), ..pair }
        };
        let report =
            CompareReport::new(subjects.iter().map(compare).collect(), DEFAULT_THRESHOLD, Vec::new())
                .with_quality(&subjects, &scored);
        let called = |full: &str| {
            let all = subjects.iter().flat_map(|(old, new)| [*old, *new]);
            let found = all.into_iter().find(|s| s.name() == full);
            found.map_or(full.to_string(), |s| name(input, s))
        };
        let plain = |point: ParetoPoint| ParetoPoint {
            name: called(&point.name),
            beaten_by: point.beaten_by.as_deref().map(called),
            ..point
        };
        let pareto = report.pareto.into_iter().map(plain).collect();
        Self { pairs: report.pairs, pareto, refused }
    }

    /// The comparisons as tables.
    pub(super) fn html(&self, input: &FigureInput) -> String {
        let of = |pair: &PairReport| {
            let notes = compare_notes(pair, DEFAULT_THRESHOLD);
            let notes: String =
                notes.lines().map(|l| format!("<p class=\"note\">{}</p>\n", escaped(l))).collect();
            format!(
                "<h3>{}</h3>\n{}{notes}<p class=\"note\">What the change is made of: the parts add up to it.</p>\n{}",
                escaped(compare_heading(pair).trim()),
                table(&compare_table(pair), 0),
                table(&contributions_table(pair), 1)
            )
        };
        let mut out: String = self.pairs.iter().map(of).collect();
        if self.pareto.len() > 1 {
            out += "<h3>Trade-off</h3>\n<p class=\"note\">A version is beaten by one that is better in TPOT, cache bytes or \
                    perplexity for certain, and worse in none.</p>\n";
            out += &table(&pareto_table(&self.pareto), 0);
        }
        let first = input.labels.first().map(String::as_str).unwrap_or_default();
        for (label, differing) in &self.refused {
            let what: Vec<String> = differing.iter().map(ToString::to_string).collect();
            let text =
                format!("{label} is not compared with {first}: they are unlike in {}.", what.join(", "));
            out += &format!("<p class=\"note\">{}</p>\n", escaped(&text));
        }
        out
    }
}

/// `v1`, or `v1 of main` where there are several runs.
fn name(input: &FigureInput, subject: Subject<'_>) -> String {
    let label = input.runs.iter().position(|r| std::ptr::eq(r, subject.run)).map(|i| &input.labels[i]);
    let label = label.filter(|_| input.runs.len() > 1);
    label.map_or(subject.version.to_string(), |label| format!("{} of {label}", subject.version))
}
