//! The whole page: head, verdict, findings, sections, scripts.

use super::benchmarks::Benchmarks;
use super::compared::Compared;
use super::sections::{self, Section};
use super::text::{escaped, list};
use super::verdict::{self, Told};
use crate::compare::PairReport;
use crate::profile::{Finding, KprofInfo, Run};
use crate::render::footer;
use crate::render::plot::{FigureInput, Theme};
use std::fmt::Write;

const STYLE: &str = include_str!("style.css");
const DARK: &str = include_str!("dark.css");
const SCRIPTS: [&str; 2] = [include_str!("tables.js"), include_str!("roofline.js")];

/// What the page says besides what is in the runs.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// The title; a plain one where there is none.
    pub title: Option<String>,
    /// The kprof that makes the page: every figure names it, the runs that it is drawn from, and where those are from.
    pub drawn_by: KprofInfo,
}

/// The page of all runs.
pub fn report_html(input: &FigureInput, options: &ReportOptions) -> String {
    let compared = Compared::of(input);
    let benchmarks: Vec<Benchmarks> =
        input.runs.iter().map(|run| Benchmarks::of(run, &input.ceilings.chosen)).collect();
    let sections = sections::all(input, &compared, &benchmarks, options);
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
    out.push_str(&verdict_section(input, &compared.pairs, &benchmarks));
    for Section { id, title, html } in &sections {
        let _ = write!(out, "<section id=\"{id}\">\n<h2>{title}</h2>\n{html}</section>\n");
    }
    out.push_str(&definitions(input));
    let _ = write!(out, "</main>\n<footer>{}</footer>\n", escaped(&footer(&input.runs, &options.drawn_by)));
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
        // Of searches and sweeps, shapes are what is varied.
        let shape = match c.benchmark.as_str() {
            "phase" => format!(", prompt {}, {} output tokens, batch {}", c.prompt_length, c.tokens, c.batch),
            _ => String::new(),
        };
        let (how, device) = (c.implementation_and_instructions(), &m.device.name);
        Some(format!("kprof {}: {how} on {device}{shape}", c.benchmark))
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

fn verdict_section(input: &FigureInput, pairs: &[PairReport], benchmarks: &[Benchmarks]) -> String {
    let several = input.runs.len() > 1;
    let told = |(i, run): (usize, _)| Told {
        name: several.then_some(input.labels[i].as_str()),
        run,
        report: input.reports[i].as_ref(),
        benchmarks: &benchmarks[i],
    };
    let named: Vec<Told<'_>> = input.runs.iter().enumerate().map(told).collect();
    let sentences = verdict::sentences(&named, &input.roofline, pairs);
    let items: String = sentences.iter().map(|s| format!("<li>{}</li>\n", escaped(s))).collect();
    let findings = input.findings(benchmarks.iter().flat_map(Benchmarks::findings).collect());
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
