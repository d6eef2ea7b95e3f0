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
