//! Charts of made-up runs: they look as they did, and their labels do not collide.

use super::*;
use crate::hw::{Ceiling, CeilingKind, MemoryLevel, Precision};
use crate::profile::{KernelRecord, Run};
use crate::roofline::samples::{bandwidth, kernel, matrix, phase_run, reference_prefill, vector};
use crate::roofline::{By, Ceilings, analyse};
use std::path::PathBuf;

/// Compares with `tests/golden/<name>`; KPROF_BLESS=1 rewrites it.
pub(in super::super) fn check_golden(name: &str, text: &str) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name].iter().collect();
    if std::env::var_os("KPROF_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = expected.lines().zip(text.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or(expected.lines().count().min(text.lines().count())) + 1;
    assert!(expected == text, "{}:{line} differs; KPROF_BLESS=1 rewrites it", path.display());
}

/// The first two texts that overlap, or one that leaves the picture.
pub(in super::super) fn overlapping(figure: &Figure) -> Option<(String, String)> {
    for (i, a) in figure.texts.iter().enumerate() {
        // A turned text has several areas.
        if let Some(b) = figure.texts[i + 1..].iter().find(|b| a.text != b.text && a.area.overlaps(&b.area)) {
            return Some((a.text.clone(), b.text.clone()));
        }
    }
    None
}

fn chart(kernels: Vec<KernelRecord>) -> (Roofline, Figure) {
    let chosen = vec![
        bandwidth(768e9),
        vector(Precision::Fp32, 38.7e12),
        vector(Precision::Fp64, 0.6e12),
        matrix(Precision::Fp16, 154.8e12),
        matrix(Precision::Bf16, 154.8e12),
    ];
    let run = Run { kernels, file: "x.csv".into(), ..Run::default() };
    let roofline = analyse(&[run], By::Kernel, &Ceilings { chosen, by_device: vec![] });
    let options = ChartOptions {
        title: None,
        footer: "kprof 0.1.0 (abc1234), Example GPU, x.csv, 2026-01-02".into(),
        levels: vec![],
        ..ChartOptions::default()
    };
    let figure = roofline_chart(&roofline, &options);
    save(&figure);
    (roofline, figure)
}

/// KPROF_LOOK=FOLDER writes every chart there as PNG, to be looked at.
pub(in super::super) fn save(figure: &Figure) {
    let Some(folder) = std::env::var_os("KPROF_LOOK") else { return };
    let name = std::thread::current().name().unwrap_or("chart").rsplit("::").next().unwrap().to_string();
    let png = super::super::to_png(&figure.svg).unwrap();
    std::fs::write(PathBuf::from(folder).join(name + ".png"), png).unwrap();
}

fn few() -> Vec<KernelRecord> {
    vec![
        kernel("ampere_sgemm_128x64_tn", 2.0e-3, 0.3e9, 34e9),
        kernel("vectorized_elementwise_kernel", 0.8e-3, 0.5e9, 0.12e9),
        kernel("softmax_warp_forward", 0.3e-3, 0.1e9, 0.3e9),
        kernel(
            "void at::native::(anonymous namespace)::layer_norm_kernel<float, 256, true>(int, float)",
            1e-4,
            4e7,
            2e8,
        ),
        reference_prefill(),
    ]
}

#[test]
fn few_points_are_labelled_by_name_and_lower_bounds_marked() {
    let (_, figure) = chart(few());
    assert_eq!(overlapping(&figure), None);
    let has = |part: &str| figure.texts.iter().any(|t| t.text.contains(part));
    assert!(has("ampere_sgemm_128x64_tn") && has("≥ v0_prefill") && has("lower bound"));
    assert!(has("fp32 vector 38.7 TFLOP/s") && has("DRAM bandwidth 768 GB/s") && has("ridge 50.4"));
    assert!(has("(datasheet)") && has("abc1234"));
    check_golden("roofline_few.svg", &figure.svg);
}

#[test]
fn one_point_makes_a_chart() {
    let (_, figure) = chart(vec![kernel("only", 1e-3, 1e8, 1e9)]);
    assert_eq!(overlapping(&figure), None);
}

#[test]
fn no_point_makes_a_chart_that_says_so() {
    let (_, figure) = chart(vec![kernel("copy", 1e-3, 1e8, 0.0)]);
    assert!(figure.texts.iter().any(|t| t.text.starts_with("no point has")));
    assert_eq!(overlapping(&figure), None);
}

#[test]
fn sixty_points_are_labelled_by_number_with_a_table() {
    let kernels = (0..60).map(|i| {
        let x = f64::from(i);
        let intensity = 10f64.powf(-1.0 + 3.0 * (x * 0.37).fract());
        let bytes = 1e8 * (1.0 + (x * 0.61).fract());
        let rate = (intensity * 768e9).min(38.7e12) * (0.05 + 0.9 * (x * 0.73).fract());
        let name = format!("void cutlass::Kernel<cutlass_80_simt_sgemm_{i}x128_8x4_tn_align1>(Params)");
        kernel(&name, intensity * bytes / rate, bytes, intensity * bytes)
    });
    let (_, figure) = chart(kernels.collect());
    assert_eq!(overlapping(&figure), None);
    let numbers = figure.texts.iter().filter(|t| t.text == "1").count();
    assert!(numbers >= 2, "in the chart and in the table");
}

#[test]
fn a_cluster_of_points_has_no_colliding_labels() {
    let kernels =
        (0..14).map(|i| kernel(&format!("kernel_number_{i}"), 1e-3, 1e8, 1e9 * (1.0 + 0.02 * f64::from(i))));
    let (_, figure) = chart(kernels.collect());
    assert_eq!(overlapping(&figure), None);
}

#[test]
fn an_absurd_point_stands_at_the_edge_and_does_not_squeeze_the_others() {
    let (_, figure) = chart(vec![kernel("in cache", 1e-3, 128.0, 1e10), kernel("normal", 1e-3, 1e8, 1e9)]);
    assert_eq!(overlapping(&figure), None);
    assert!(!figure.texts.iter().any(|t| t.text == "1e8"));
}

#[test]
fn phases_show_version_stage_and_phase() {
    let mut run = phase_run();
    run.ceilings = vec![bandwidth(30e6), vector(Precision::Fp32, 100e6)];
    let roofline = analyse(&[run], By::Kernel, &Ceilings::default());
    let figure = roofline_chart(
        &roofline,
        &ChartOptions {
            title: None,
            footer: "kprof, run.jsonl".into(),
            levels: vec![],
            ..ChartOptions::default()
        },
    );
    save(&figure);
    assert_eq!(overlapping(&figure), None);
    let has = |part: &str| figure.texts.iter().any(|t| t.text == part);
    assert!(has("Version (shape)") && has("Stage (fill)") && has("whole stage") && has("decode"));
    check_golden("roofline_phases.svg", &figure.svg);
}

#[test]
fn levels_of_memory_are_joined_by_a_line() {
    let bytes = |value| Some(crate::profile::Measured::new(value, "lts__t_bytes.sum"));
    let hierarchical = |name: &str, time, dram, flops| KernelRecord {
        l2_bytes: bytes(3.0 * dram),
        l1_bytes: bytes(12.0 * dram),
        ..kernel(name, time, dram, flops)
    };
    let kernels =
        vec![hierarchical("gemm", 2.0e-3, 0.3e9, 34e9), hierarchical("softmax", 0.3e-3, 0.1e9, 0.3e9)];
    let level = |level, value| Ceiling { kind: CeilingKind::Bandwidth { level }, ..bandwidth(value) };
    let chosen = vec![
        bandwidth(768e9),
        level(MemoryLevel::L2, 2.5e12),
        level(MemoryLevel::L1, 14e12),
        vector(Precision::Fp32, 38.7e12),
    ];
    let run = Run { kernels, file: "x.csv".into(), ..Run::default() };
    let roofline = analyse(&[run], By::Kernel, &Ceilings { chosen, by_device: vec![] });
    let levels = vec![MemoryLevel::Dram, MemoryLevel::L2, MemoryLevel::L1];
    let figure = roofline_chart(
        &roofline,
        &ChartOptions { title: None, footer: "kprof, x.csv".into(), levels, ..ChartOptions::default() },
    );
    save(&figure);
    assert_eq!(overlapping(&figure), None);
    let has = |part: &str| figure.texts.iter().any(|t| t.text.contains(part));
    assert!(has("bytes of L2, L1") && has("L1 bandwidth 14.0 TB/s"));
    check_golden("roofline_levels.svg", &figure.svg);
}

#[test]
fn arrows_lead_from_a_kernel_s_old_point_to_its_new_one() {
    let run = |file: &str, factor: f64| {
        let of = |name: &str, time, bytes, flops| KernelRecord {
            file: file.into(),
            ..kernel(name, time * factor, bytes * factor, flops)
        };
        let kernels = vec![of("gemm", 2.0e-3, 0.3e9, 34e9), of("softmax", 0.3e-3, 0.1e9, 0.3e9)];
        Run { kernels, file: file.into(), ..Run::default() }
    };
    let chosen = vec![bandwidth(768e9), vector(Precision::Fp32, 38.7e12)];
    let runs = [run("v0.csv", 2.0), run("v1.csv", 0.6)];
    let mut roofline = analyse(&runs, By::Kernel, &Ceilings { chosen, by_device: vec![] });
    roofline.set_labels(&["before".into(), "after".into()]);
    let options = ChartOptions {
        title: None,
        footer: "kprof, v0.csv, v1.csv".into(),
        levels: vec![],
        ..ChartOptions::default()
    };
    let figure = roofline_chart(&roofline, &options);
    save(&figure);
    assert_eq!(overlapping(&figure), None);
    assert!(figure.texts.iter().any(|t| t.text == "arrows: from before to a later file"));
    check_golden("roofline_changes.svg", &figure.svg);
}

#[test]
fn drawing_twice_gives_the_same_bytes() {
    assert_eq!(chart(few()).1, chart(few()).1);
}
