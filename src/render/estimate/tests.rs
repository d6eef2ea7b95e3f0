//! Estimates as text: marked, in columns that fit, with exports that hold every number.

use super::*;
use crate::hw::find_device;
use crate::llm::{Deployment, preset};
use crate::roofline::{EstimateRequest, estimate};

fn sample(batches: &[usize], ranks: usize) -> Estimate {
    let model = preset("llama-2-7b").unwrap();
    let deployment = Deployment { tensor_parallel: ranks, ..Deployment::new("bf16".parse().unwrap()) };
    let device = find_device("H100 SXM").unwrap();
    let (model, contexts, prompt) = (&model, &[4096], Some(512));
    estimate(&EstimateRequest { model, deployment, device, batches, contexts, prompt }).unwrap()
}

#[test]
fn every_form_is_marked_analytic() {
    let e = sample(&[1], 1);
    assert!(estimate_heading(&e).lines().next().unwrap().contains("ANALYTIC"));
    assert!(estimate_markdown(&e).contains("ANALYTIC"));
    assert!(estimate_csv(&e).lines().skip(1).all(|line| line.starts_with("ANALYTIC,")));
    let json: serde_json::Value = serde_json::from_str(&estimate_json(&e)).unwrap();
    assert_eq!((json["kind"].as_str(), json["schema_version"].as_u64()), (Some("ANALYTIC"), Some(1)));
}

#[test]
fn the_table_has_a_row_per_batch_and_fits_80_columns() {
    let e = sample(&[1, 8, 64], 1);
    let text = estimate_table(&e).to_terminal(80);
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    assert_eq!(text.lines().count(), 2 + 3, "{text}");
    // Batch 1: (13,214,695,424 + 4097 * 524,288) / 3.35e12 = 4.59 ms, 218 tokens/s; 13.5 + 2.1 GB; (80 GiB - 13.5 GB)
    // / 2.147 GB = 33.
    let row: Vec<&str> = text.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!(row[..2], ["4096", "1"], "{text}");
    assert!(row.contains(&"4.59") && row.contains(&"218") && row.contains(&"15.6"), "{text}");
    assert_eq!(text.lines().nth(4).unwrap().split_whitespace().filter(|c| *c == "no").count(), 1, "{text}");
}

#[test]
fn the_heading_says_what_was_assumed() {
    let text = estimate_heading(&sample(&[1], 2));
    assert!(
        text.contains("6,738,415,616 parameters\nweights bf16  KV cache bf16  tensor parallel 2"),
        "{text}"
    );
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    assert!(text.contains("3.35 TB/s") && text.contains("989 TFLOP/s (datasheet)"), "{text}");
    assert!(text.contains("ridge: 295 FLOP/B; linears of a decode step are compute-bound from batch 296 on"));
    let notes = estimate_notes(&sample(&[1], 2)).join("\n");
    assert!(notes.contains("each rank sends at least"), "{notes}");
}

#[test]
fn the_phases_of_both_stages_add_up() {
    let e = sample(&[1], 1);
    assert!(estimate_phases(&e.points[0]).to_terminal(80).lines().all(|l| l.chars().count() <= 80));
    let text = estimate_phases(&e.points[0]).to_terminal(100);
    assert_eq!(text.lines().count(), 2 + 5 + 1 + 5, "{text}");
    assert!(text.lines().filter(|l| l.contains("total")).all(|l| l.contains("100.0")), "{text}");
}

#[test]
fn the_json_goes_down_to_ops_and_the_csv_to_phases() {
    let e = sample(&[1, 8], 1);
    let json: serde_json::Value = serde_json::from_str(&estimate_json(&e)).unwrap();
    let attention = &json["points"][1]["decode"]["phases"][1];
    assert_eq!(
        (attention["phase"].as_str(), attention["bound"].as_str()),
        (Some("attention"), Some("memory"))
    );
    let labels: Vec<&str> =
        attention["ops"].as_array().unwrap().iter().map(|op| op["label"].as_str().unwrap()).collect();
    assert!(labels.contains(&"attn.qkv") && labels.contains(&"cache_append"), "{labels:?}");
    // Two points, two stages, four phases and the total.
    assert_eq!(estimate_csv(&e).lines().count(), 1 + 2 * 2 * 5);
}
