//! `kprof memory` and `kprof capacity`.

use super::{json, kprof, refused, run_of, text};
use kprof::profile::{Accounted, CapacityMethod, MemoryMethod, MemoryRecord};

const TINY: [&str; 3] = ["memory", "--preset", "tiny"];

fn bytes(of: Option<Accounted>) -> f64 {
    of.expect("it was measured").bytes
}

#[test]
fn the_ledger_adds_up_and_caches_are_what_theory_says_and_padding() {
    for implementation in ["cpu", "candle"] {
        let more = ["--implementation", implementation, "--version", "v0-v4", "-T", "1,33,65", "-p", "32"];
        let (_folder, output, run) = run_of(&[&TINY[..], &more].concat());
        assert_eq!(run.memory.len(), 5 * 3);
        for m in &run.memory {
            check(m, implementation);
        }
        let stdout = text(&output.stdout);
        for word in ["counted allocations", "formula", "touched", "smaller than v1's in theory", "weights:"] {
            assert!(stdout.contains(word), "{word} is missing:\n{stdout}");
        }
    }
}

fn check(m: &MemoryRecord, implementation: &str) {
    let what = format!("{implementation} {} T={}", m.version, m.tokens);
    let (peak, weights, activations) = (bytes(m.peak), bytes(m.weights), bytes(m.activations));
    let allocated = bytes(m.cache_allocated);
    assert_eq!(peak, weights + allocated + activations, "{what}");
    assert_eq!(bytes(m.above_weights), peak - weights, "{what}");
    assert!(activations > 0.0, "{what}");
    // tiny has 4 x (12 x 64^2 + 13 x 64) + (256 + 128) x 64 + 2 x 64 parameters in f32.
    let parameters = 4.0 * (12.0 * 4096.0 + 13.0 * 64.0) + 384.0 * 64.0 + 128.0;
    assert!(weights >= 4.0 * parameters && weights < 4.0 * parameters * 1.5, "{what}: {weights}");
    let theory = bytes(m.cache_theoretical);
    // 4 layers, K and V of 64 in f32; v2 has one byte and a scale of 2 B per head of 16; v3 half of the layers.
    let per_token = match m.version.as_str() {
        "v0" => 0.0,
        "v1" => 4.0 * 2.0 * 64.0 * 4.0,
        "v2" => 4.0 * 2.0 * (64.0 + 4.0 * 2.0),
        "v3" => 2.0 * 2.0 * 64.0 * 4.0,
        _ => 2.0 * 2.0 * (64.0 + 4.0 * 2.0),
    };
    assert_eq!(theory, per_token * (31.0 + m.tokens as f64), "{what}");
    assert!(allocated >= theory, "{what}: {allocated} {theory}");
    if m.version == "v0" {
        assert_eq!((allocated, m.capacity), (0.0, None), "{what}");
        return;
    }
    // The cpu implementation keeps blocks of 32 tokens: 32, 64 and 96 tokens are whole ones, and so is what is allocated.
    // Beside it stand the descriptions of the caches, some hundred bytes.
    let exact = implementation == "cpu";
    assert!(!exact || allocated - theory < 1024.0, "{what}: {allocated} {theory}");
    assert_eq!(m.capacity, Some(31 + m.tokens), "{what}");
    #[cfg(target_os = "linux")]
    {
        let touched = bytes(m.cache_touched);
        assert!(touched > 0.0 && touched <= allocated, "{what}: {touched} {allocated}");
        assert_eq!(m.cache_touched.map(|t| t.method), Some(MemoryMethod::ResidentPages));
        assert!(m.resident_peak.is_none_or(|r| r.bytes > activations + allocated), "{what}");
    }
}

#[test]
fn a_cache_made_for_more_tokens_is_allocated_and_not_touched() {
    let more = ["--version", "v1", "-T", "2", "-p", "4", "-b", "64", "--capacity", "128"];
    let (_folder, _, run) = run_of(&[&TINY[..], &more].concat());
    let m = &run.memory[0];
    assert_eq!(m.capacity, Some(128));
    // 5 of 128 tokens are cached; blocks of 32 are 4 KiB or more, so that whole pages stay untouched where pages are small.
    let (theory, allocated) = (bytes(m.cache_theoretical), bytes(m.cache_allocated));
    assert!((allocated / theory - 128.0 / 5.0).abs() < 0.5, "{allocated} {theory}");
    assert!(m.cache_touched.is_none_or(|t| t.bytes <= allocated));
}

#[test]
fn memory_is_the_same_in_every_repetition_and_vram_is_its_name_too() {
    let (folder, _, run) =
        run_of(&["vram", "--preset", "tiny", "--version", "v1", "v2", "-T", "16", "-r", "3"]);
    assert_eq!(run.memory.len(), 6);
    let report = json(&kprof(folder.path(), &["memory", "--load", "run.jsonl", "--json"]));
    let point = &report["versions"][1]["points"][0];
    assert_eq!((&point["repetitions"], &point["version"]), (&3.into(), &"v2".into()));
    // 256 B against 64 B and 4 scales of 2 B, per token and layer, K and V alike.
    assert!((point["smaller_theoretical"].as_f64().unwrap() - 256.0 / 72.0).abs() < 1e-9);
    assert_eq!(report["cache_baseline"], "v1");
}

#[test]
fn the_largest_batch_fits_and_the_next_one_does_not() {
    let args = ["capacity", "--preset", "tiny", "--version", "v0-v4", "--budget", "16MiB", "-c", "64"];
    let (_folder, output, run) = run_of(&args);
    assert_eq!(run.capacities.len(), 5);
    for c in &run.capacities {
        assert_eq!((c.method, c.at_least), (CapacityMethod::Ran, false), "{c:?}");
        let probe = |batch: usize| c.probes.iter().find(|p| p.batch == batch);
        assert!(probe(c.batch).is_some_and(|p| p.fits && p.peak.bytes <= c.budget_bytes), "{c:?}");
        assert!(probe(c.batch + 1).is_some_and(|p| !p.fits && p.peak.bytes > c.budget_bytes), "{c:?}");
        assert!(c.theoretical_batch.is_none_or(|theory| c.batch <= theory && 2 * c.batch > theory), "{c:?}");
        assert!(c.probes.len() <= 14, "{c:?}");
    }
    let batch = |i: usize| run.capacities[i].batch;
    assert!(batch(1) < batch(2) && batch(3) < batch(4) && batch(1) < batch(3), "{:?}", run.capacities);
    assert!(text(&output.stdout).contains("running"));
}

#[test]
fn formulas_alone_tell_of_models_that_do_not_fit_here_and_small_budgets_hold_nothing() {
    let args = ["capacity", "--search", "account", "--preset", "llama-2-70b", "--dtype", "bf16"];
    let (_folder, output, run) =
        run_of(&[&args[..], &["--version", "v1", "--budget", "160GB", "-c", "4096"]].concat());
    let c = &run.capacities[0];
    assert_eq!(c.method, CapacityMethod::Accounted);
    // 68,976,648,192 parameters in 2 B leave 22.05 GB; a sequence takes 327,680 B x 4096: 16.4.
    assert_eq!(c.theoretical_batch, Some(16));
    assert_eq!(c.batch, 16);
    assert!(text(&output.stdout).contains("accounting (formulas)"));
    let small = ["capacity", "--preset", "tiny", "--version", "v1", "--budget", "100kB", "-c", "64"];
    let (_folder, output, run) = run_of(&small);
    assert_eq!((run.capacities[0].batch, run.capacities[0].theoretical_batch), (0, Some(0)));
    assert!(text(&output.stdout).contains("not even one sequence fits"));
}

#[test]
fn mistakes_are_said_before_anything_is_measured() {
    refused(&[
        (&["memory", "--preset", "tiny", "-T", "100"], "need 131 positions; tiny has 128"),
        (&["memory", "--preset", "tiny", "-T", "8", "--capacity", "200"], "need 200 positions"),
        (&["capacity", "--preset", "tiny", "-c", "1024"], "--context 1024 need 1024 positions; tiny has 128"),
        (&["capacity", "--preset", "tiny", "-c", "64", "--budget", "4GF"], "'4GF' is not a quantity in B"),
        (&["capacity", "--preset", "tiny", "-c", "64", "--budget", "0B"], "no room for anything"),
        (
            &["capacity", "--preset", "tiny", "-c", "64", "--budget", "900TB"],
            "ask the formulas: --search account",
        ),
    ]);
}
