//! Every dialect of export gives the same kind of launches.

use super::fixtures::{assert_close, find, only, path, read, value};
use kprof::ingest::read_any;
use kprof::llm::{Phase, Stage};
use kprof::profile::{ComputeCapability, FindingCode};

#[test]
fn a_long_export_gives_one_launch_per_id_with_its_sources() {
    let run = read("long.csv");
    assert!(run.complete && run.manifest.is_none());
    let gemm = &run.kernels[0];
    assert_eq!(gemm.kernel, "gemm<float, 64>(const float *, float *)");
    assert_eq!((gemm.launch.as_deref(), gemm.process.as_deref()), (Some("0"), Some("4242")));
    assert_eq!((gemm.grid.as_deref(), gemm.block.as_deref()), (Some("(64, 1, 1)"), Some("(256, 1, 1)")));
    assert_eq!(gemm.compute_capability, Some(ComputeCapability { major: 8, minor: 6 }));
    // 64^3 multiply-adds are 2 x 262,144 FLOP.
    assert_close(&gemm.flops.fp32, 524_288.0);
    assert_close(&gemm.dram_bytes, 49_152.0);
    assert_close(&gemm.time, 2.048e-6);
    assert_eq!(gemm.time.as_ref().unwrap().source, "gpu__time_duration.sum");
    assert!(
        gemm.flops
            .fp32
            .as_ref()
            .unwrap()
            .source
            .ends_with("2 x sm__sass_thread_inst_executed_op_ffma_pred_on.sum")
    );
    assert_eq!(run.kernels[1].flops.total(), Some(1000.0));
}

#[test]
fn an_old_ragged_export_is_read_by_its_labels() {
    let run = read("ragged.csv");
    let kernel = only(&run);
    assert_close(&kernel.time, 8e-6);
    // `Memory Throughput` of the memory section, not the percentage of the same name: 100 GB/s for 8 us.
    assert_close(&kernel.dram_bytes, 800_000.0);
    assert_eq!(kernel.dram_bytes.as_ref().unwrap().source, "'Memory Throughput' x time");
    assert_eq!(kernel.compute_capability, None);
    assert!(!kernel.flops_complete);
}

#[test]
fn a_wide_export_takes_units_from_its_second_row() {
    let run = read("raw.csv");
    assert_eq!(run.kernels.len(), 2);
    assert_close(&run.kernels[0].time, 12.25e-6);
    assert_close(&run.kernels[0].dram_bytes, 1.5e6);
    assert_close(&run.kernels[0].flops.fp32, 2150.0);
    assert_eq!(run.kernels[1].device.as_deref(), Some("Some GPU"));
    assert_eq!(run.kernels[1].grid.as_deref(), Some("(32, 1, 1)"));
}

#[test]
fn where_no_column_says_the_grid_the_metrics_of_the_launch_do() {
    let run = read("raw-old-extents.csv");
    let grids: Vec<_> = run.kernels.iter().map(|k| k.grid.as_deref().unwrap()).collect();
    assert_eq!(grids, ["(4096, 2, 1)", "(2048, 2, 1)"]);
    assert!(run.kernels.iter().all(|k| k.block.as_deref() == Some("(256, 1, 1)")));
    // The details page says only how many there are.
    let run = read("ragged.csv");
    assert_eq!((only(&run).grid.as_deref(), only(&run).block.as_deref()), (Some("16"), Some("128")));
}

#[test]
fn units_are_read_per_row() {
    let bytes: Vec<f64> = read("auto-units.csv").kernels.iter().map(|k| value(&k.dram_bytes)).collect();
    assert_eq!(bytes, [96.0, 2500.0, 3.25e6, 1e9]);
    let run = read("auto-units.csv");
    for (kernel, time) in run.kernels.iter().zip([992e-9, 1.5e-6, 2e-3, 0.25]) {
        assert_close(&kernel.time, time);
    }
}

#[test]
fn digits_are_grouped_as_the_file_groups_them() {
    for file in ["thousands.csv", "indian-grouping.csv"] {
        let run = read(file);
        let kernel = only(&run);
        assert_close(&kernel.dram_bytes, 47_911_631_699.0);
        assert_close(&kernel.time, 149_152e-9);
        // 1,000,000 + 2,000 + 2 x 3,000,000,001, to the last digit.
        assert_eq!(value(&kernel.flops.fp32), 6_001_002_002.0, "{file}");
    }
    let run = read("german.csv");
    assert_close(&only(&run).dram_bytes, 47_911_631_699.0);
    assert_close(&only(&run).time, 149_152e-9);
}

#[test]
fn what_is_not_available_is_absent_and_never_zero() {
    let run = read("not-available.csv");
    let kernel = only(&run);
    assert_eq!(kernel.dram_bytes, None);
    assert_eq!(kernel.flops.tensor, None, "an instruction count says nothing on cc 12.1");
    assert_eq!(value(&kernel.flops.fp32), 0.0);
    assert_close(&kernel.l2_bytes, 64_000.0);
    assert!(!kernel.flops_complete);
    let message = find(&run.findings, FindingCode::MetricMissing).unwrap().to_string();
    assert!(message.contains("integrated GPUs"), "{message}");
}

#[test]
fn a_launch_of_nan_is_invalid_and_its_neighbour_is_not() {
    let run = read("failed-launch.csv");
    assert!(find(&run.kernels[0].findings, FindingCode::LaunchInvalid).is_none());
    assert_eq!(value(&run.kernels[0].dram_bytes), 64.0);
    let bad = &run.kernels[1];
    assert!(find(&bad.findings, FindingCode::LaunchInvalid).is_some());
    assert_eq!((&bad.time, &bad.dram_bytes), (&None, &None));
    let message = find(&run.findings, FindingCode::ProfilerMessage).unwrap();
    assert!(message.about.ends_with(":2") && message.message.contains("LaunchFailed"), "{message}");
}

#[test]
fn tables_are_found_among_program_output_and_two_runs_stay_two() {
    let run = read("preamble.csv");
    let bytes: Vec<f64> = run.kernels.iter().map(|k| value(&k.dram_bytes)).collect();
    assert_eq!(bytes, [1200.0, 2400.0], "one table each, both with launch 0");
    let cut = find(&run.findings, FindingCode::Partial).unwrap();
    assert!(cut.message.starts_with("1 lines"), "{cut}");
    assert!(find(&run.findings, FindingCode::ProfilerMessage).unwrap().message.contains("twice"));
}

#[test]
fn an_absent_unit_is_the_base_unit_and_said() {
    let run = read("empty-unit.csv");
    assert_close(&only(&run).time, 60_896e-9);
    let finding = find(&run.findings, FindingCode::ReadingAssumption).unwrap();
    assert!(finding.message.contains("Duration"), "{finding}");
}

#[test]
fn half_of_the_traffic_is_a_lower_bound() {
    let run = read("read-only.csv");
    let bytes = only(&run).dram_bytes.clone().unwrap();
    assert!(bytes.lower_bound);
    assert_eq!(bytes.value, 4096.0);
}

#[test]
fn a_counter_below_zero_is_left_out() {
    let run = read("negative.csv");
    let kernel = only(&run);
    assert!(kernel.dram_bytes.as_ref().unwrap().lower_bound);
    assert!(find(&kernel.findings, FindingCode::MetricMissing).unwrap().message.contains("-3792"));
}

#[test]
fn total_and_parts_that_disagree_are_found() {
    let run = read("disagreement.csv");
    assert!(find(&only(&run).findings, FindingCode::Disagreement).is_some());
}

#[test]
fn a_roofline_section_without_a_time_gives_rates() {
    let run = read("roofline-section.csv");
    let kernel = only(&run);
    assert_eq!(kernel.time, None);
    assert_eq!(kernel.flops.fp32, None);
    let rates = kernel.rates.as_ref().unwrap();
    // (800.5 + 150 + 49.5) per cycle x 1.5 GHz.
    assert_close(&rates.flops.fp32, 1.5e12);
    assert_close(&rates.dram_bytes, 60.5e9);
    let ceilings: Vec<f64> = kernel.ceilings.iter().map(|c| c.value).collect();
    assert_eq!(ceilings, [15e12, 608e9]);
}

#[test]
fn the_profilers_own_percentage_is_checked() {
    let run = read("roofline-rule-disagrees.csv");
    let message = find(&only(&run).findings, FindingCode::Disagreement).unwrap().to_string();
    assert!(message.contains("36 % of the fp32 peak") && message.contains("10.0 %"), "{message}");
}

#[test]
fn nvtx_ranges_say_where_a_launch_belongs() {
    let run = read("nvtx.csv");
    let kernel = only(&run);
    assert_eq!(kernel.nvtx, ["kprof/v1/decode", "kprof/v1/decode/layer 3/attention"]);
    assert_eq!(kernel.version.as_deref(), Some("v1"));
    assert_eq!((kernel.stage, kernel.phase), (Some(Stage::Decode), Some(Phase::Attention)));
}

#[test]
fn a_summary_sums_its_launches() {
    let run = read("summary.csv");
    assert_eq!(run.kernels.len(), 2, "one kernel at two grid sizes");
    assert_eq!(run.kernels[0].launches, 100);
    assert_close(&run.kernels[0].time, 100.0 * 1000e-9);
    assert_close(&run.kernels[0].dram_bytes, 3250.0);
    assert_close(&run.kernels[1].time, 1000e-9);
}

#[test]
fn exports_of_the_graphical_program_are_read() {
    let run = read("transposed.csv");
    assert_eq!(run.kernels[0].kernel, "matmul(float *, int)");
    assert_eq!(run.kernels[0].grid.as_deref(), Some("(64, 64, 1)"));
    assert_eq!(run.kernels[0].compute_capability, Some(ComputeCapability { major: 8, minor: 9 }));
    assert_close(&run.kernels[0].time, 3.66e-3);
    assert_close(&run.kernels[1].dram_bytes, 1024e6 + 4096.0);
    let run = read("gui-wide.csv");
    assert_eq!(only(&run).kernel, "add(int)");
    assert_close(&only(&run).time, 1.5e-6);
    assert_close(&only(&run).dram_bytes, 250_000.0);
    assert_eq!(only(&run).device.as_deref(), Some("Some GPU"));
}

#[test]
fn utf16_is_read_as_written_by_powershell() {
    assert_eq!(value(&only(&read("utf16.csv")).dram_bytes), 1200.0);
}

#[test]
fn any_file_is_told_by_its_content() {
    assert_eq!(read_any(&path("long.csv")).unwrap().kernels.len(), 2);
    let missing = read_any(&path("no such file")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read "), "{missing}");
}

#[test]
fn a_time_that_its_unit_rounds_away_is_absent_and_said() {
    let text = "ID,Kernel Name,Context,gpu__time_duration.sum\n,,,second\n0,long,1,1.500000\n1,short,1,0.000006\n2,shorter,1,0.000000\n";
    let run = kprof::ingest::ncu::read_bytes("x.csv", text.as_bytes()).unwrap();
    assert_close(&run.kernels[1].time, 6e-6);
    assert_eq!(run.kernels[2].time, None);
    assert!(
        find(&run.findings, FindingCode::ReadingAssumption)
            .unwrap()
            .message
            .contains("fewer than three digits")
    );
}

#[test]
fn tables_of_different_layouts_in_one_file_are_all_read() {
    let long = std::fs::read_to_string(path("long.csv")).unwrap();
    let both = format!("{long}{}", std::fs::read_to_string(path("summary.csv")).unwrap());
    let run = kprof::ingest::ncu::read_bytes("x.csv", both.as_bytes()).unwrap();
    assert_eq!(run.kernels.iter().map(|k| k.launches).collect::<Vec<_>>(), [1, 1, 100, 2]);
}

#[test]
fn a_ratio_with_one_digit_is_said_to_be_uncertain() {
    let name = "smsp__sass_thread_inst_executed_op_ffma_pred_on.sum.per_cycle_elapsed";
    let text = format!("ID,Kernel Name,Context,{name}\n,,,inst/cycle\n0,k,1,0.07\n");
    let run = kprof::ingest::ncu::read_bytes("x.csv", text.as_bytes()).unwrap();
    assert!(find(&run.findings, FindingCode::ReadingAssumption).unwrap().message.contains(name));
}
