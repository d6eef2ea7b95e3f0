//! Metrics that kprof collected itself, in this process, by the same formulas as those of exports.

use super::launches::Launch;
use super::readings::Readings;
use super::record;
use crate::profile::{Finding, FindingCode, KernelRecord};

/// Adds what metrics say to a record that has its identity; values are in the profiler's base units (ns, byte, Hz). A time that
/// the record has already stays: it was taken without the cost of counting.
pub fn counted(mut record: KernelRecord, values: &[(&str, Option<f64>)]) -> KernelRecord {
    let about = record::about(&record);
    let mut findings = Vec::new();
    let readings = Readings::from_values(&about, values.to_vec(), &mut findings);
    if readings.available().next().is_none() {
        let message = "no counter has a value: the op was not counted";
        record.findings.push(Finding::new(FindingCode::LaunchInvalid, about, message));
        return record;
    }
    let time = record.time.take();
    record::measure(&mut record, &Launch::default(), &readings);
    record.time = time.or(record.time);
    record.findings.extend(findings);
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{ComputeCapability, Measured};

    fn identity() -> KernelRecord {
        KernelRecord {
            file: "run.jsonl".into(),
            kernel: "k".into(),
            launches: 1,
            compute_capability: Some(ComputeCapability { major: 9, minor: 0 }),
            time: Some(Measured::new(2e-6, "CUPTI")),
            ..KernelRecord::default()
        }
    }

    #[test]
    fn formulas_are_those_of_exports_and_the_time_is_the_traced_one() {
        let op = |name: &str| format!("sm__sass_thread_inst_executed_op_{name}_pred_on.sum");
        let names = ["fadd", "fmul", "ffma"].map(op);
        let mut values = vec![("dram__bytes.sum", Some(4096.0)), ("gpu__time_duration.sum", Some(3000.0))];
        values.extend(names.iter().map(String::as_str).zip([Some(10.0), Some(20.0), Some(30.0)]));
        values.push(("sm__ops_path_tensor_src_fp16.sum", Some(512.0)));
        let record = counted(identity(), &values);
        assert_eq!(record.dram_bytes.unwrap().value, 4096.0);
        // add + mul + 2 fma.
        assert_eq!(record.flops.fp32.unwrap().value, 90.0);
        assert_eq!(record.flops.tensor.unwrap().value, 512.0);
        assert_eq!(record.time.unwrap(), Measured::new(2e-6, "CUPTI"));
        // Half and double precision were not collected, nor the other matrix types.
        assert!(record.flops.fp64.is_none() && !record.flops_complete);
    }

    #[test]
    fn what_was_not_counted_is_missing_and_said() {
        let record = counted(identity(), &[("dram__bytes.sum", None)]);
        assert!(record.dram_bytes.is_none() && record.flops.total().is_none());
        assert_eq!(record.findings[0].code, FindingCode::LaunchInvalid);
        assert!(record.time.is_some());
    }
}
