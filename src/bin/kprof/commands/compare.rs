//! `kprof compare`.

use crate::args::CompareArgs;
use crate::exit::usage;
use crate::output::{self, Export};
use kprof::compare::{Aspect, CompareReport, Named, compare_pair, pair_up};
use kprof::profile::{Finding, read_run};
use kprof::render;
use std::path::Path;

pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    output::check_writable(args.export.paths())?;
    let named = args.runs.iter().map(|text| read(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let report = compared(&named, &args.allow, args.threshold.0)?;
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

/// Reads `run.jsonl` or `run.jsonl:v1`; a file of the whole name comes first, for names with a colon in them.
pub(super) fn read(text: &str) -> anyhow::Result<Named> {
    let (file, version) = match text.rsplit_once(':') {
        Some((file, version)) if !Path::new(text).exists() && !version.contains(['/', '\\']) => {
            (file, Some(version.to_string()))
        }
        _ => (text, None),
    };
    Named::new(read_run(Path::new(file))?, version).map_err(usage)
}

/// Pairs up and compares; the findings are those of the files.
pub(super) fn compared(named: &[Named], allow: &[Aspect], threshold: f64) -> anyhow::Result<CompareReport> {
    let pairs = pair_up(named, allow).map_err(usage)?;
    let pairs = pairs.into_iter().map(|(old, new)| compare_pair(old, new, threshold)).collect();
    let mut findings: Vec<Finding> = Vec::new();
    for finding in named.iter().flat_map(|n| &n.run.findings) {
        if !findings.contains(finding) {
            findings.push(finding.clone());
        }
    }
    Ok(CompareReport::new(pairs, threshold, findings))
}

pub(super) fn text(report: &CompareReport) -> String {
    let width = output::width();
    let mut parts = Vec::new();
    for pair in &report.pairs {
        parts.push(render::compare_heading(pair));
        parts.push(render::compare_table(pair).to_terminal(width));
        parts.push(render::compare_notes(pair, report.threshold));
        parts.push(render::contributions_table(pair).to_terminal(width));
    }
    parts.push(render::findings(&report.findings, output::color(), output::wrap_width()));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}
