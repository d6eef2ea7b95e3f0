//! Real traces beside the checkout, against values that SQL and Python computed from the same files.

use kprof::ingest::read_any;
use kprof::profile::{Run, base_name};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn corpus() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traces");
    folder.join("golden.json").exists().then_some(folder)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs().max(1e-6)
}

fn time(run: &Run) -> f64 {
    run.kernels.iter().filter_map(|k| Some(k.time.as_ref()?.value)).sum()
}

/// Launches and time by name: the whole one of a trace; nsys's short one, which has no parameters, by ours.
fn by_name(run: &Run, short: bool) -> BTreeMap<String, (u64, f64)> {
    let mut sums: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    for kernel in &run.kernels {
        let name = if short { base_name(&kernel.kernel) } else { kernel.kernel.clone() };
        let name = if short { name.rsplit("::").next().unwrap_or(&name).to_string() } else { name };
        let sum = sums.entry(name).or_default();
        *sum = (sum.0 + kernel.launches, sum.1 + kernel.time.as_ref().unwrap().value);
    }
    sums
}

fn check(name: &str, path: &Path, golden: &Value) {
    let kernels = golden["kernels"].as_u64().unwrap();
    let run = match read_any(path) {
        Ok(run) => run,
        Err(error) => {
            let message = error.to_string();
            assert_eq!(kernels, 0, "{name}: {message}");
            assert!(message.contains("no GPU kernel in this trace"), "{name}: {message}");
            return;
        }
    };
    assert_eq!(run.kernels.iter().map(|k| k.launches).sum::<u64>(), kernels, "{name}");
    let total = golden["kernel_time_s"].as_f64().unwrap();
    assert!(close(time(&run), total), "{name}: {} s, not {total} s", time(&run));
    let devices: Vec<&str> = run.traces[0].devices.iter().filter_map(|d| d.name.as_deref()).collect();
    let wanted: Vec<&str> = golden["devices"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(devices, wanted, "{name}");
    let is_nsys = name.starts_with("nsys/");
    if is_nsys {
        // The golden values know one of the two tables that a version may stand in.
        let version = run.profiler.as_ref().unwrap().version.as_deref();
        assert!(golden["nsys"].as_str().is_none_or(|v| Some(v) == version), "{name}: {version:?}");
        assert!(version.is_some(), "{name}");
    }
    let sums = by_name(&run, is_nsys);
    for top in golden["top"].as_array().unwrap() {
        let kernel = top["name"].as_str().unwrap();
        let (launches, time) = *sums.get(kernel).unwrap_or_else(|| panic!("{name}: no kernel {kernel}"));
        assert_eq!(launches, top["launches"].as_u64().unwrap(), "{name}: {kernel}");
        assert!(close(time, top["time_s"].as_f64().unwrap()), "{name}: {kernel}: {time}");
    }
}

#[test]
fn real_traces_give_their_golden_values() {
    let Some(folder) = corpus() else {
        eprintln!("skipped: no ../shared/traces beside this checkout");
        return;
    };
    let golden = std::fs::read_to_string(folder.join("golden.json")).unwrap();
    let golden: BTreeMap<String, Value> = serde_json::from_str(&golden).unwrap();
    assert!(golden.len() >= 16);
    for (name, values) in &golden {
        check(name, &folder.join(name), values);
    }
}

/// Launches, registers, static, dynamic and all shared memory, summed over the launches of a file.
type Sums = (usize, u64, u64, u64, u64);

#[test]
fn registers_and_shared_memory_of_real_traces_are_those_of_sql_and_python() {
    let Some(folder) = corpus() else {
        eprintln!("skipped: no ../shared/traces beside this checkout");
        return;
    };
    // nsys: sum() of the columns in SQL; PyTorch: of the events' args in Python, which know no static and dynamic.
    let cases: [(&str, Sums); 4] = [
        ("nsys/nsysai_mfu_2gpu_before.sqlite", (4010, 183_056, 1_425_632, 82_576_988, 84_002_620)),
        ("nsys/pipit_cloverleaf_2024.5.sqlite", (1312, 36_308, 51_200, 0, 51_200)),
        ("kineto/hta_timeline_analysis_sampled_rank-0.json.gz", (1154, 85_940, 0, 0, 34_396_072)),
        ("kineto/hta_trace_diff_control_control.json.gz", (8568, 431_694, 0, 0, 147_385_680)),
    ];
    for (name, expected) in cases {
        let run = read_any(&folder.join(name)).unwrap();
        let sum =
            |of: fn(&kprof::profile::KernelRecord) -> Option<u64>| run.kernels.iter().filter_map(of).sum();
        let found = (
            run.kernels.len(),
            sum(|k| k.registers.map(u64::from)),
            sum(|k| k.static_shared_bytes),
            sum(|k| k.dynamic_shared_bytes),
            sum(|k| k.shared_total()),
        );
        assert_eq!(found, expected, "{name}");
    }
}
