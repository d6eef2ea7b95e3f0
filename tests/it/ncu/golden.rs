//! Real exports beside this checkout, against values that an independent program computed from them.
//!
//! The files belong to their authors and are not part of this repository; without them the test is skipped.

use kprof::ingest::ncu;
use kprof::profile::{KernelRecord, Measured};
use serde_json::Value;
use std::path::{Path, PathBuf};

pub(super) fn corpus() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/ncu");
    path.is_dir().then_some(path)
}

/// Relative; golden values have 12 digits.
const TOLERANCE: f64 = 1e-6;

/// Checks every file of one golden table; gives how many matched, and what did not.
fn check(root: &Path, table: &str) -> (usize, Vec<String>) {
    let text = std::fs::read_to_string(root.join(table)).expect("the corpus has its golden table");
    let golden: serde_json::Map<String, Value> = serde_json::from_str(&text).expect("it is JSON");
    let mut matched = 0;
    let mut differences = Vec::new();
    for entry in golden.values() {
        let file = entry["file"].as_str().expect("every entry names its file");
        let wrong = check_file(&root.join(file), entry);
        if wrong.is_empty() {
            matched += 1;
        }
        differences.extend(wrong.into_iter().map(|w| format!("{file}: {w}")));
    }
    (matched, differences)
}

fn check_file(path: &Path, entry: &Value) -> Vec<String> {
    let launches = entry["per_launch"].as_array().map(Vec::as_slice).unwrap_or_default();
    let run = match ncu::read(path) {
        Ok(run) => run,
        Err(_) if launches.is_empty() => return Vec::new(),
        Err(error) => return vec![format!("refused: {error}")],
    };
    let count = entry["launches"].as_u64().unwrap_or_default();
    if run.kernels.len() as u64 != count {
        return vec![format!("{} launches, golden {count}", run.kernels.len())];
    }
    let pairs = run.kernels.iter().zip(launches).enumerate();
    let mut wrong: Vec<String> = pairs
        .flat_map(|(i, (ours, golden))| {
            launch(ours, golden).into_iter().map(move |w| format!("launch {i}: {w}"))
        })
        .collect();
    wrong.extend(entry["kernels"].as_array().into_iter().flatten().flat_map(|k| sums(&run.kernels, k)));
    wrong.truncate(3);
    wrong
}

/// Sums over the launches of a kernel; the golden table lists at most 64 launches, but sums all.
fn sums(ours: &[KernelRecord], golden: &Value) -> Vec<String> {
    let name = golden["name"].as_str().unwrap_or_default();
    let of = || ours.iter().filter(|k| k.kernel == name && k.launches == 1);
    let sum = |get: fn(&KernelRecord) -> Option<&Measured>| {
        let values: Vec<f64> = of().filter_map(get).map(|m| m.value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    };
    if of().count() as u64 != golden["invocations"].as_u64().unwrap_or_default() {
        return Vec::new();
    }
    [
        ("sum of time", sum(|k| k.time.as_ref()), &golden["duration_s"]),
        ("sum of DRAM bytes", sum(|k| k.dram_bytes.as_ref()), &golden["dram_bytes"]),
        ("sum of fp64", sum(|k| k.flops.fp64.as_ref()), &golden["flops"]["fp64"]),
        ("sum of fp32", sum(|k| k.flops.fp32.as_ref()), &golden["flops"]["fp32"]),
        ("sum of fp16", sum(|k| k.flops.fp16.as_ref()), &golden["flops"]["fp16"]),
    ]
    .into_iter()
    .filter_map(|(what, ours, golden)| differs(what, ours, golden))
    .map(|w| format!("{name}: {w}"))
    .collect()
}

pub(super) fn launch(ours: &KernelRecord, golden: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if golden["name"].as_str() != Some(&ours.kernel) {
        wrong.push(format!("name {}", ours.kernel));
    }
    let flops = &ours.flops;
    let rows: [(&str, &Option<Measured>, &Value); 8] = [
        ("time", &ours.time, &golden["duration_s"]),
        ("DRAM bytes", &ours.dram_bytes, &golden["dram_bytes"]),
        ("L2 bytes", &ours.l2_bytes, &golden["l2_bytes"]),
        ("fp64", &flops.fp64, &golden["flops"]["fp64"]),
        ("fp32", &flops.fp32, &golden["flops"]["fp32"]),
        ("fp16", &flops.fp16, &golden["flops"]["fp16"]),
        ("fp16 packed", &flops.fp16_packed, &golden["flops"]["fp16_packed"]),
        ("tensor", &flops.tensor, &golden["flops"]["tensor_ops"]),
    ];
    for (what, ours_value, golden_value) in rows {
        // Golden values of a summary are means per launch; ours are sums.
        let value = ours_value.as_ref().map(|m| m.value / ours.launches as f64);
        wrong.extend(differs(what, value, golden_value));
    }
    wrong.extend(rates(ours, &golden["roofline_section"]));
    wrong
}

/// Files whose roofline section has rates and no time.
fn rates(ours: &KernelRecord, section: &Value) -> Vec<String> {
    let Some(section) = section.as_object() else { return Vec::new() };
    let rates = ours.rates.clone().unwrap_or_default();
    let mut wrong = Vec::new();
    for (name, value) in [("fp32", rates.flops.fp32), ("fp64", rates.flops.fp64)] {
        let golden = section.get(name).unwrap_or(&Value::Null);
        if ours.rates.is_some() || golden.is_null() {
            wrong.extend(differs(name, value.map(|m| m.value), &golden["flops_per_s"]));
            wrong.extend(differs(
                "B/s",
                rates.dram_bytes.as_ref().map(|m| m.value),
                &golden["dram_bytes_per_s"],
            ));
        }
    }
    wrong
}

/// A difference where golden has a value; what only kprof has is more, not wrong.
pub(super) fn differs(what: &str, ours: Option<f64>, golden: &Value) -> Option<String> {
    let golden = golden.as_f64()?;
    match ours {
        Some(ours) if (ours - golden).abs() <= TOLERANCE * golden.abs() => None,
        ours => Some(format!("{what}: {ours:?}, golden {golden}")),
    }
}

#[test]
fn real_exports_give_the_golden_values() {
    let Some(root) = corpus() else {
        println!("skipped: real_exports_give_the_golden_values: no ../shared/ncu beside the checkout");
        return;
    };
    let mut unexpected = Vec::new();
    for table in ["golden_csv.json", "golden_converted.json"] {
        let (matched, differences) = check(&root, table);
        println!("{table}: {matched} files match");
        unexpected.extend(differences);
    }
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
}

/// The same export as other programs would have written it again.
fn rewritten(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let crlf = text.replace('\n', "\r\n");
    let utf16: Vec<u8> =
        std::iter::once(0xFEFF).chain(crlf.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let log = "epoch 1, loss \"2.5\nID, Kernel Name, nothing\n==PROF== Connected to process 1\n";
    vec![
        ("CRLF", crlf.into_bytes()),
        ("UTF-16", utf16),
        ("byte-order mark", [b"\xEF\xBB\xBF", text.as_bytes()].concat()),
        ("program output before it", format!("{log}{text}").into_bytes()),
        ("minimal quoting", resaved(text, b',')),
        ("semicolons", resaved(text, b';')),
    ]
}

/// As a spreadsheet saves it: quotes only where they are needed.
fn resaved(text: &str, delimiter: u8) -> Vec<u8> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(text.as_bytes());
    let mut writer = csv::WriterBuilder::new().flexible(true).delimiter(delimiter).from_writer(Vec::new());
    for record in reader.records() {
        writer.write_record(&record.expect("the text is UTF-8")).expect("memory does not fail");
    }
    writer.into_inner().expect("memory does not fail")
}

#[test]
fn real_exports_mean_the_same_when_they_are_written_again() {
    let Some(root) = corpus() else {
        println!("skipped: real_exports_mean_the_same_when_they_are_written_again: no ../shared/ncu");
        return;
    };
    for table in ["golden_csv.json", "golden_converted.json"] {
        let text = std::fs::read_to_string(root.join(table)).expect("the corpus has its golden table");
        let golden: serde_json::Map<String, Value> = serde_json::from_str(&text).expect("it is JSON");
        // The transposed export is told by its first line, so nothing may stand before it.
        let clean = |entry: &Value| {
            entry["preamble_lines"] == 0 && entry["kind"].is_string() && entry["kind"] != "gui-transposed"
        };
        for file in golden.values().filter(|e| clean(e)).filter_map(|e| e["file"].as_str()) {
            let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
            let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
            if text.len() > 400_000 {
                continue;
            }
            let Ok(expected) = ncu::read_bytes(file, text.as_bytes()) else { continue };
            for (how, bytes) in rewritten(&text) {
                let run = ncu::read_bytes(file, &bytes).unwrap_or_else(|e| panic!("{how}: {e}"));
                assert!(without_places(&run) == without_places(&expected), "{file}: {how}");
            }
        }
    }
}

/// The launches without what names a line of the file.
fn without_places(run: &kprof::profile::Run) -> Vec<KernelRecord> {
    let mut kernels = run.kernels.clone();
    kernels.iter_mut().for_each(|k| k.findings.clear());
    kernels
}
