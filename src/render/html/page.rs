//! The whole page: head, verdict, findings, sections, scripts.

use super::sections::{self, Section};
use super::text::{escaped, list};
use super::verdict;
use crate::compare::{PairReport, Subject, compare_pair};
use crate::profile::{Finding, Run};
use crate::render::plot::{FigureInput, Theme};
use crate::roofline::PhaseReport;
use crate::stats::DEFAULT_THRESHOLD;
use std::fmt::Write;

const STYLE: &str = include_str!("style.css");
const DARK: &str = include_str!("dark.css");
const SCRIPTS: [&str; 2] = [include_str!("tables.js"), include_str!("roofline.js")];

/// What the page says besides what is in the runs.
#[derive(Clone, Debug, Default)]
pub struct ReportOptions {
    /// The title; a plain one where there is none.
    pub title: Option<String>,
    /// Provenance: program, device, files, date.
    pub footer: String,
}

/// The page of all runs.
pub fn report_html(input: &FigureInput, options: &ReportOptions) -> String {
    let pairs = pairs(input);
    let sections = sections::all(input, &pairs, options);
    let title = options.title.clone().unwrap_or_else(|| title(input));
    let mut out = String::new();
    // Nothing may be loaded: the page is all there is.
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n<title>{0}</title>\n<style>\n{1}</style>\n</head>\n<body>\n\
         <header><h1>{0}</h1><button id=\"theme\" type=\"button\" hidden></button><p>{2}</p></header>\n{3}<main>\n",
        escaped(&title),
        style(),
        escaped(&subtitle(input)),
        navigation(&sections),
    );
    out.push_str(&verdict_section(input, &pairs));
    for Section { id, title, html } in &sections {
        let _ = write!(out, "<section id=\"{id}\">\n<h2>{title}</h2>\n{html}</section>\n");
    }
    out.push_str(&definitions(input));
    let _ = write!(out, "</main>\n<footer>{}</footer>\n", escaped(&options.footer));
    for script in SCRIPTS {
        let _ = write!(out, "<script>\n{script}</script>\n");
    }
    out + "</body>\n</html>\n"
}

/// The style with the dark theme twice: where the system wants it, and where the reader does; figures are recoloured by
/// the same table that the themes of `kprof plot` are.
fn style() -> String {
    let figures = |scope: &str| -> String {
        let rule = |(light, dark): (String, String)| {
            format!(
                "{scope} figure svg [fill=\"{light}\" i] {{ fill: {dark}; }}\n\
                 {scope} figure svg [stroke=\"{light}\" i] {{ stroke: {dark}; }}\n"
            )
        };
        Theme::Dark.replacements().into_iter().map(rule).collect()
    };
    let (system, reader) = (":root:not([data-theme=light])", ":root[data-theme=dark]");
    format!(
        "{STYLE}@media screen and (prefers-color-scheme: dark) {{\n{system} {{\n{DARK}}}\n{}}}\n\
         @media screen {{\n{reader} {{\n{DARK}}}\n{}}}\n",
        figures(system),
        figures(reader)
    )
}

fn title(input: &FigureInput) -> String {
    let configs = input.runs.iter().filter_map(|r| r.manifest.as_ref()?.config.as_ref());
    let mut names: Vec<String> = configs.map(|c| c.model_and_types()).collect();
    names.dedup();
    match names.as_slice() {
        [] => format!("kprof report: {}", input.labels.join(", ")),
        names => format!("kprof report: {}", names.join(", ")),
    }
}

fn subtitle(input: &FigureInput) -> String {
    let of = |run: &Run| {
        let m = run.manifest.as_ref()?;
        let c = m.config.as_ref()?;
        Some(format!(
            "{} on {}, prompt {}, {} output tokens, batch {}",
            c.implementation_and_instructions(),
            m.device.name,
            c.prompt_length,
            c.tokens,
            c.batch
        ))
    };
    let mut lines: Vec<String> = input.runs.iter().filter_map(of).collect();
    lines.dedup();
    if lines.is_empty() { input.files().join(", ") } else { lines.join("; ") }
}

fn navigation(sections: &[Section]) -> String {
    let entry = |(id, title): (&str, &str)| format!("<li><a href=\"#{id}\">{title}</a></li>");
    let all = [("verdict", "Verdict")].into_iter().chain(sections.iter().map(|s| (s.id, s.title)));
    let entries: String = all.chain([("definitions", "Definitions")]).map(entry).collect();
    format!("<nav aria-label=\"Sections\"><ul>{entries}</ul></nav>\n")
}

/// Each version against the first of its run, and each later run's versions against the first run's.
fn pairs(input: &FigureInput) -> Vec<PairReport> {
    let mut found = Vec::new();
    let several = input.runs.len() > 1;
    let name = |s: Subject<'_>| {
        let label = input.runs.iter().position(|r| std::ptr::eq(r, s.run)).map(|i| &input.labels[i]);
        label.filter(|_| several).map_or(s.version.to_string(), |label| format!("{} of {label}", s.version))
    };
    let compare = |old: Subject<'_>, new: Subject<'_>| {
        let pair = compare_pair(old, new, DEFAULT_THRESHOLD);
        PairReport { old: name(old), new: name(new), ..pair }
    };
    // Ranks of one launch are no changes of each other: each is held against the same rank of an earlier launch.
    let rank = |run: &Run| run.rank().map(|rank| rank.rank);
    for run in &input.runs {
        let versions = run.versions();
        let against = versions.iter().copied().find(|v| input.against.as_deref().is_none_or(|a| a == *v));
        let Some(against) = against.or(versions.first().copied()) else { continue };
        for version in versions.iter().copied().filter(|v| *v != against) {
            found.push(compare(Subject { run, version: against }, Subject { run, version }));
        }
        let first_run = input.runs.iter().find(|r| !r.steps.is_empty() && rank(r) == rank(run));
        let Some(first) = first_run.filter(|f| !std::ptr::eq(*f, run)) else { continue };
        for version in versions.iter().copied().filter(|v| first.versions().contains(v)) {
            found.push(compare(Subject { run: first, version }, Subject { run, version }));
        }
    }
    found
}

fn verdict_section(input: &FigureInput, pairs: &[PairReport]) -> String {
    let several = input.runs.len() > 1;
    let named: Vec<(Option<&str>, &Run, Option<&PhaseReport>)> = input
        .runs
        .iter()
        .enumerate()
        .map(|(i, run)| (several.then_some(input.labels[i].as_str()), run, input.reports[i].as_ref()))
        .collect();
    let sentences = verdict::sentences(&named, &input.roofline, pairs);
    let items: String = sentences.iter().map(|s| format!("<li>{}</li>\n", escaped(s))).collect();
    let findings = input.findings();
    let told = if findings.is_empty() {
        "<p class=\"note\">No finding: nothing that the reader has to know before believing the numbers.</p>\n".to_string()
    } else {
        let heading = "<h3>What to know before believing the numbers</h3>\n".to_string();
        heading + &findings.iter().map(finding).collect::<String>()
    };
    format!(
        "<section id=\"verdict\">\n<h2>Verdict</h2>\n<ul class=\"verdict\">\n{items}</ul>\n{told}</section>\n"
    )
}

fn finding(finding: &Finding) -> String {
    let remedy =
        finding.remedy.as_ref().map(|r| format!("<div class=\"remedy\">Remedy: {}</div>", escaped(r)));
    format!(
        "<div class=\"finding\"><b>{}</b>: {}{}</div>\n",
        escaped(&finding.about),
        escaped(&finding.message),
        remedy.unwrap_or_default()
    )
}

fn definitions(input: &FigureInput) -> String {
    let text = |t: &str| Some(t.to_string());
    let mut entries = vec![
        (
            "FLOP/B",
            text(
                "arithmetic intensity: FLOPs per byte; of measured phases both by formula, of kernels as counted",
            ),
        ),
        (
            "of ceiling",
            text(
                "the shortest time that the ceilings allow over the time taken; not clamped, so over 100 % a ceiling or a count is wrong",
            ),
        ),
        (
            "bound",
            text(
                "memory or compute, whichever floor is longer; latency under 10 % of both; unknown where something was not counted",
            ),
        ),
        ("n/a", text("not measured or not known; never 0")),
    ];
    if let Some(report) = input.reports.iter().flatten().next() {
        let d = &report.definitions;
        entries.extend([
            ("time per step", text(d.stage)),
            ("bytes", text(d.bytes)),
            ("TTFT", text(d.ttft_s)),
            ("TPOT", text(d.tpot_s)),
            ("tokens/s", text(d.tokens_per_s)),
            ("coverage", text(d.coverage)),
            ("overhead", text(d.instrumentation_overhead)),
            ("other", text(d.other)),
            ("energy", text(d.energy)),
        ]);
    }
    format!("<section id=\"definitions\">\n<h2>Definitions</h2>\n{}</section>\n", list(&entries))
}
