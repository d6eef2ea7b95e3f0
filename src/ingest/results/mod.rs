//! The results of the nanoGPT KV-cache benchmark: one JSON object per line, its medians in milliseconds and its memory in
//! bytes, each line with the whole environment.
//!
//! Lines are grouped by what they were measured with (model, type, device, prompt, batch, seed): each group is a run. A line
//! that cannot be used is a finding with its number, and the rest is kept.

mod groups;
mod line;

use super::IngestError;
use crate::profile::{Finding, FindingCode, ForeignRecord, Record, RunConfig};
use line::Line;
use std::path::Path;

/// What one set of settings gave.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultsGroup {
    /// A short name: model and type.
    pub name: String,
    /// The device, as the file names it.
    pub device: Option<String>,
    /// What was measured; `None` where the file's model has no shape that can be read.
    pub config: Option<RunConfig>,
    /// The environment.
    pub foreign: ForeignRecord,
    /// What was measured.
    pub records: Vec<Record>,
}

/// A file of results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// One per set of settings, in the order that they begin in the file.
    pub groups: Vec<ResultsGroup>,
    /// Lines that were left out, each with its number.
    pub skipped: Vec<Finding>,
}

/// Whether `head`, the beginning of a file, is that of such results: one of its whole lines is an object with a
/// `benchmark_name`.
pub fn looks_like_results(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    let named = |line: &str| {
        line.trim_start().starts_with('{')
            && line.contains("\"benchmark_name\"")
            && serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line).is_ok()
    };
    text.lines().any(named)
}

/// Reads a file of results.
///
/// # Errors
/// When it cannot be read, or has no line that can be used.
pub fn read_results(path: &Path) -> Result<Results, IngestError> {
    let bytes =
        std::fs::read(path).map_err(|source| IngestError::Read { path: path.to_path_buf(), source })?;
    let file = path.display().to_string();
    let results = parse(&file, &String::from_utf8_lossy(&bytes));
    if results.groups.is_empty() {
        let first = results.skipped.first().map_or("it is empty".to_string(), ToString::to_string);
        return Err(IngestError::Results { file, first });
    }
    Ok(results)
}

/// The results in `text`; `file` is what findings call it.
fn parse(file: &str, text: &str) -> Results {
    let mut results = Results::default();
    let mut groups = groups::Groups::default();
    for (index, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        if let Err(why) = Line::parse(line).and_then(|line| groups.add(&line)) {
            let about = format!("{file}:{}", index + 1);
            results.skipped.push(Finding::new(FindingCode::LineSkipped, about, format!("left out: {why}")));
        }
    }
    results.groups = groups.finish();
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: &str = r#"{"implementation_name":"baseline","dtype":"bfloat16","model_config":{"n_layer":2,"n_head":2,"n_embd":8,"block_size":16,"vocab_size":9},"prompt_length":4,"batch_size":1,"seed":1,"benchmark_name":"latency_vs_T","T":2,"time_total_ms_median":1.5}"#;

    #[test]
    fn settings_make_runs_and_repeats_of_a_length_are_repetitions() {
        let other = LATENCY.replace("\"batch_size\":1", "\"batch_size\":4");
        let results = parse("r.jsonl", &[LATENCY, &other, "", LATENCY].join("\n"));
        assert_eq!((results.groups.len(), results.skipped.len()), (2, 0));
        let repetitions: Vec<usize> = results.groups[0]
            .records
            .iter()
            .map(|r| match r {
                Record::Latency(l) => l.repetition,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(repetitions, [0, 1]);
        let config = results.groups[0].config.as_ref().unwrap();
        // Results from before there were versions carry their implementation's name, and had no cache.
        assert_eq!((config.versions[0].name.as_str(), config.versions[0].use_cache), ("baseline", false));
        assert_eq!(results.groups[1].config.as_ref().unwrap().batch, 4);
    }

    #[test]
    fn a_line_that_lacks_what_its_benchmark_needs_is_left_out() {
        let without = |field: &str| LATENCY.replace(&format!("\"{field}\""), "\"other\"");
        let text = [without("T"), without("time_total_ms_median"), without("benchmark_name"), "[1]".into()]
            .join("\n");
        let results = parse("r.jsonl", &text);
        assert!(results.groups.is_empty());
        let said: Vec<String> = results.skipped.iter().map(ToString::to_string).collect();
        for (at, expected) in [
            (0, "it has no T"),
            (1, "it has no time_total_ms_median"),
            (2, "no benchmark_name"),
            (3, "not JSON"),
        ] {
            assert!(
                said[at].starts_with(&format!("r.jsonl:{}: ", at + 1)) && said[at].contains(expected),
                "{said:?}"
            );
        }
    }

    #[test]
    fn results_are_known_by_their_content() {
        assert!(looks_like_results(LATENCY.as_bytes()));
        assert!(looks_like_results(format!("not json\n{LATENCY}\n").as_bytes()));
        assert!(!looks_like_results(b"{\"type\":\"manifest\"}\n"));
        assert!(!looks_like_results(b"benchmark_name,T\n"));
    }
}
