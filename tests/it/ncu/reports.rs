//! Binary reports of others beside this checkout: against golden values, and against what NVIDIA's own ncu made of them.

use super::golden::{corpus, differs, launch};
use kprof::hw::{CeilingKind, ComputeUnit, MemoryLevel, Precision};
use kprof::ingest::ncu::{self, NcuError};
use kprof::profile::{FindingCode, KernelRecord, Run};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn compute(precision: Precision) -> CeilingKind {
    CeilingKind::Compute { precision, unit: ComputeUnit::Vector, accumulate: None }
}

/// Differences in what the CSV tables do not have: shape, capability, ceilings.
fn more(ours: &KernelRecord, golden: &Value) -> Vec<String> {
    let capability = ours.compute_capability.map(|c| c.to_string());
    let mut wrong = Vec::new();
    for (what, ours, golden) in [
        ("id", &ours.launch, &golden["id"]),
        ("grid", &ours.grid, &golden["grid"]),
        ("block", &ours.block, &golden["block"]),
        ("cc", &capability, &golden["cc"]),
    ] {
        if ours.as_deref() != golden.as_str() {
            wrong.push(format!("{what}: {ours:?}, golden {golden}"));
        }
    }
    let ceiling = |kind: CeilingKind| ours.ceilings.iter().find(|c| c.kind == kind).map(|c| c.value);
    let peaks = &golden["ceilings"];
    wrong.extend(differs("fp64 peak", ceiling(compute(Precision::Fp64)), &peaks["fp64_peak_flops"]));
    wrong.extend(differs("fp32 peak", ceiling(compute(Precision::Fp32)), &peaks["fp32_peak_flops"]));
    // The golden value counts HFMA2 as one lane, as ncu did until 2023; kprof counts its two.
    let one_lane = ceiling(compute(Precision::Fp16)).map(|v| v / 2.0);
    wrong.extend(differs("fp16 peak", one_lane, &peaks["fp16_peak_flops"]));
    let dram = CeilingKind::Bandwidth { level: MemoryLevel::Dram };
    wrong.extend(differs("DRAM peak", ceiling(dram), &peaks["dram_peak_bytes"]));
    wrong
}

#[test]
fn real_reports_give_the_golden_values() {
    let Some(root) = corpus() else {
        println!("skipped: real_reports_give_the_golden_values: no ../shared/ncu beside the checkout");
        return;
    };
    let text =
        std::fs::read_to_string(root.join("golden_rep.json")).expect("the corpus has its golden table");
    let golden: serde_json::Map<String, Value> = serde_json::from_str(&text).expect("it is JSON");
    let (mut launches, mut wrong) = (0, Vec::new());
    for (file, entry) in &golden {
        let path = root.join("rep").join(file);
        let Some(expected) = entry.as_array() else {
            let error = ncu::read(&path).expect_err(file);
            assert!(matches!(error, NcuError::NotAReport { .. }), "{error}");
            continue;
        };
        let run = ncu::read(&path).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(run.kernels.len(), expected.len(), "{file}");
        assert!(run.complete, "{file}: {:?}", run.findings);
        for (ours, golden) in run.kernels.iter().zip(expected) {
            launches += 1;
            let all = launch(ours, golden).into_iter().chain(more(ours, golden));
            wrong.extend(all.map(|w| format!("{file}: launch {:?}: {w}", ours.launch)));
        }
        wrong.extend(self_checks(&run).map(|w| format!("{file}: {w}")));
    }
    println!("golden_rep.json: {launches} launches of {} files", golden.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The profiler's own sentence about its peaks is in many reports, and agrees with its counters in all of them.
fn self_checks(run: &Run) -> impl Iterator<Item = String> {
    let all = run.kernels.iter().flat_map(|k| &k.findings);
    all.filter(|f| f.code == FindingCode::Disagreement).map(ToString::to_string)
}

/// The export that NVIDIA's program made of a report.
fn converted(root: &Path, report: &str, page: &str) -> Option<PathBuf> {
    let stem = report.rsplit_once('.')?.0;
    Some(root.join("converted").join(format!("{stem}.{page}.csv"))).filter(|p| p.is_file())
}

/// Differences from an export, whose numbers have fewer digits.
fn against_export(ours: &KernelRecord, export: &KernelRecord, tolerance: f64) -> Vec<String> {
    let close = |a: f64, b: f64| a == b || (a - b).abs() <= tolerance * b.abs();
    let values = [
        ("time", &ours.time, &export.time),
        ("DRAM bytes", &ours.dram_bytes, &export.dram_bytes),
        ("L2 bytes", &ours.l2_bytes, &export.l2_bytes),
        ("L1 bytes", &ours.l1_bytes, &export.l1_bytes),
        ("fp64", &ours.flops.fp64, &export.flops.fp64),
        ("fp32", &ours.flops.fp32, &export.flops.fp32),
        ("fp16", &ours.flops.fp16, &export.flops.fp16),
    ];
    let mut wrong: Vec<String> = values
        .into_iter()
        .filter(|(_, ours, theirs)| match (ours, theirs) {
            (Some(a), Some(b)) => !close(a.value, b.value) || a.source != b.source,
            (a, b) => a.is_some() != b.is_some(),
        })
        .map(|(what, ours, theirs)| format!("{what}: {ours:?}, exported {theirs:?}"))
        .collect();
    for (what, ours, theirs) in [
        ("id", &ours.launch, &export.launch),
        ("process", &ours.process, &export.process),
        ("context", &ours.context, &export.context),
        ("stream", &ours.stream, &export.stream),
        ("device", &ours.device, &export.device),
    ] {
        if ours != theirs {
            wrong.push(format!("{what}: {ours:?}, exported {theirs:?}"));
        }
    }
    if (&ours.kernel, &ours.nvtx, ours.compute_capability)
        != (&export.kernel, &export.nvtx, export.compute_capability)
    {
        wrong.push(format!("{} {:?}, exported {} {:?}", ours.kernel, ours.nvtx, export.kernel, export.nvtx));
    }
    if ours.missing != export.missing {
        wrong.push(format!("missing {:?}, exported {:?}", ours.missing, export.missing));
    }
    wrong
}

#[test]
fn real_reports_mean_what_their_exports_do() {
    let Some(root) = corpus() else {
        println!("skipped: real_reports_mean_what_their_exports_do: no ../shared/ncu beside the checkout");
        return;
    };
    let mut wrong = Vec::new();
    let mut compared = 0;
    let files = std::fs::read_dir(root.join("rep")).expect("the corpus has its reports");
    for report in files.flatten() {
        let name = report.file_name().to_string_lossy().into_owned();
        for (page, tolerance) in [("raw.base", 0.005), ("raw.auto", 0.001)] {
            let Some(export) = converted(&root, &name, page) else { continue };
            let ours = ncu::read(&report.path()).unwrap_or_else(|e| panic!("{e}"));
            let theirs = ncu::read(&export).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(ours.kernels.len(), theirs.kernels.len(), "{name}");
            // Two decimals of a small rate are too few to compare, and the reader of exports says so.
            let coarse = theirs.findings.iter().any(|f| f.message.contains("fewer than three digits"));
            let tolerance = if coarse { f64::INFINITY } else { tolerance };
            for (a, b) in ours.kernels.iter().zip(&theirs.kernels) {
                compared += 1;
                wrong.extend(
                    against_export(a, b, tolerance).into_iter().map(|w| format!("{name} {page}: {w}")),
                );
            }
        }
    }
    println!("{compared} launches agree with their exports");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How many places each report is cut at.
const CUTS: usize = 60;

#[test]
fn real_reports_cut_short_give_no_number_that_the_whole_does_not() {
    let Some(root) = corpus() else {
        println!("skipped: real_reports_cut_short_give_no_number_that_the_whole_does_not: no ../shared/ncu");
        return;
    };
    let files = std::fs::read_dir(root.join("rep")).expect("the corpus has its reports");
    let (mut partial, mut refused) = (0, 0);
    for path in files.flatten().map(|f| f.path()) {
        let bytes = std::fs::read(&path).expect("it can be read");
        let Ok(whole) = ncu::read_bytes("x.ncu-rep", &bytes) else { continue };
        for cut in 1..CUTS {
            let end = (bytes.len() - 1) * cut / CUTS;
            match ncu::read_bytes("x.ncu-rep", &bytes[..end]) {
                Ok(run) => {
                    partial += 1;
                    assert!(run.findings.iter().any(|f| f.code == FindingCode::Partial), "{path:?} at {end}");
                    for (kernel, full) in run.kernels.iter().zip(&whole.kernels) {
                        assert_eq!((&kernel.kernel, &kernel.grid), (&full.kernel, &full.grid));
                        assert!(kernel.time.is_none() || kernel.time == full.time, "{path:?} at {end}");
                        assert!(kernel.dram_bytes.is_none() || kernel.dram_bytes == full.dram_bytes);
                    }
                }
                Err(error) => {
                    refused += 1;
                    assert!(matches!(error, NcuError::DamagedReport { .. }), "{error}");
                }
            }
        }
    }
    println!("{partial} cut reports gave what they had, {refused} had nothing usable");
}
