//! FLOPs of matrix units: known products 2MNK, the ways their counters overlap, and what is said without them.

use super::fixtures::{assert_close, find, only, read, value};
use kprof::hw::{CeilingKind, ComputeUnit, Precision};
use kprof::llm::Stage;
use kprof::profile::FindingCode;

/// 2 x 512 x 512 x 512.
const PRODUCT: f64 = 268_435_456.0;

#[test]
fn overlapping_counters_of_ampere_count_a_product_once() {
    let run = read("tensor-ampere-overlap.csv");
    let kernel = only(&run);
    assert_eq!(value(&kernel.flops.tensor), PRODUCT);
    assert_eq!(value(&kernel.flops.tensor_by_type.get("fp16_dst_fp32").cloned()), PRODUCT);
    assert_eq!(kernel.flops.total(), Some(PRODUCT + 512.0));
    assert!(kernel.flops_complete, "{:?}", kernel.missing);
}

#[test]
fn overlapping_counters_of_hopper_count_a_product_once_and_its_roof_is_dense() {
    let run = read("tensor-hopper-overlap.csv");
    let kernel = only(&run);
    assert_eq!(value(&kernel.flops.tensor), PRODUCT);
    assert!(kernel.flops_complete, "{:?}", kernel.missing);
    let matrix =
        CeilingKind::Compute { precision: Precision::Fp16, unit: ComputeUnit::Matrix, accumulate: None };
    let ceiling = kernel.ceilings.iter().find(|c| c.kind == matrix).unwrap();
    // wgmma without sparsity: 466,944 per cycle at 1.1 GHz; 933,888 would be the sparse rate.
    assert_eq!(ceiling.value, 466_944.0 * 1.1e9);
}

#[test]
fn instruction_splits_are_added_where_they_are_all_there_is() {
    let run = read("tensor-op-only.csv");
    let kernel = only(&run);
    assert_eq!(value(&kernel.flops.tensor), PRODUCT + 1000.0);
    assert!(!kernel.flops_complete);
    assert!(kernel.missing.contains(&"sm__ops_path_tensor_src_bf16_dst_fp32.sum".to_string()));
    assert!(!kernel.missing.contains(&"sm__ops_path_tensor_src_fp16.sum".to_string()));
}

#[test]
fn instruction_counts_are_estimates_and_refused_from_hopper_on() {
    let run = read("tensor-instructions.csv");
    // GA100 counts HFMA2 on the tensor pipe: 3200 threads / 32 are exactly its 100 instructions.
    assert_eq!(value(&run.kernels[0].flops.tensor), 0.0);
    let estimate = run.kernels[1].flops.tensor.as_ref().unwrap();
    assert!(estimate.estimated);
    // 16 x 8 x 16 multiply-adds each: 65,536 x 4096 is the product of 512^3.
    assert_eq!(estimate.value, PRODUCT);
    assert!(find(&run.kernels[1].findings, FindingCode::Estimated).is_some());
    assert_eq!(run.kernels[2].flops.tensor, None);
    assert!(!run.kernels[2].flops_complete);
}

#[test]
fn the_reference_prefill_is_not_the_memory_bound_kernel_it_looks_like() {
    let run = read("v0_prefill.csv");
    let kernel = only(&run);
    assert_close(&kernel.time, 6.158e-3);
    assert_eq!(value(&kernel.dram_bytes), 1_482_320_640.0);
    assert_eq!(kernel.flops.total(), Some(2_321_619_757.0));
    assert!(!kernel.flops_complete);
    for name in
        ["sm__ops_path_tensor_src_fp16_dst_fp32.sum", "sm__sass_thread_inst_executed_op_hfma_pred_on.sum"]
    {
        assert!(kernel.missing.iter().any(|m| m == name), "{name} in {:?}", kernel.missing);
    }
    assert!(!kernel.missing.iter().any(|m| m.contains("_op_f")), "fp32 was collected");
    let finding = find(&kernel.findings, FindingCode::FlopsIncomplete).unwrap().to_string();
    assert!(
        finding.contains("suggests that it computes on tensor cores") && finding.contains("--metrics"),
        "{finding}"
    );
    assert_eq!((kernel.version.as_deref(), kernel.stage), (Some("v0"), Some(Stage::Prefill)));
}
