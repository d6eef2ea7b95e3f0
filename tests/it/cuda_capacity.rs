//! `kprof capacity` on a GPU, behind the stand-in for the driver, whose memory ends where a test says.

use crate::cuda::{kprof, text};
use kprof::profile::{CapacityMethod, CapacityRecord, MemoryMethod, Run, read_run};
use std::process::Output;

const MIB: f64 = 1048576.0;

/// `kprof capacity` of tiny in f32 at a context of 128, or another, on a device of 20 MiB, and its run; `None` where there is no stand-in.
fn capacity(environment: &[(&str, &str)], args: &[&str]) -> Option<(Output, Option<Run>)> {
    let mut command = kprof("capacity")?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let base = ["capacity", "--device", "cuda", "--preset", "tiny", "-q", "-o", "run.jsonl"];
    let context = if args.contains(&"-c") { &[][..] } else { &["-c", "128"] };
    command.env("KPROF_STAND_IN_MEMORY", "20971520").envs(environment.iter().copied());
    let output =
        command.current_dir(folder.path()).args(base).args(context).args(args).output().expect("kprof runs");
    let run = output.status.success().then(|| read_run(&folder.path().join("run.jsonl")).expect("a run"));
    Some((output, run))
}

/// The same where it succeeds: what it says, and its capacities.
fn capacities(environment: &[(&str, &str)], args: &[&str]) -> Option<(String, Vec<CapacityRecord>)> {
    let (output, run) = capacity(environment, args)?;
    let run = run.unwrap_or_else(|| panic!("{}", text(&output.stderr)));
    Some((text(&output.stdout), run.capacities))
}

/// The batch and its larger neighbour were tried, and the budget is between what they take.
fn assert_tried(c: &CapacityRecord) {
    assert_eq!((c.method, c.at_least), (CapacityMethod::Ran, false), "{c:?}");
    assert!(c.probes.iter().all(|p| p.peak.method == MemoryMethod::Device && !p.out_of_memory), "{c:?}");
    let probe = |batch| c.probes.iter().find(|p| p.batch == batch);
    assert!(probe(c.batch).is_some_and(|p| p.fits && p.peak.bytes <= c.budget_bytes), "{c:?}");
    assert!(probe(c.batch + 1).is_some_and(|p| !p.fits && p.peak.bytes > c.budget_bytes), "{c:?}");
    assert!(c.theoretical_batch.is_none_or(|theory| c.batch <= theory && c.batch * 10 > theory * 7), "{c:?}");
}

#[test]
fn the_budget_is_what_the_gpu_has_free_less_a_reserve() {
    let Some((said, found)) = capacities(&[], &["--version", "v1"]) else { return };
    let budget = "budget 18.8 MiB (the 20.0 MiB that the GPU has free, less a reserve of 1.25 MiB)";
    assert!(said.contains(budget), "{said}");
    let device = found[0].device_budget.expect("the device's figures");
    assert_eq!((device.free_bytes, device.reserve_bytes), (20.0 * MIB, 1.25 * MIB));
    assert_eq!(found[0].budget_bytes, 18.75 * MIB);
    assert_tried(&found[0]);
    // K and V of 4 layers of 64 channels, 128 tokens, 4 B are 256 KiB a sequence; every one of them is in the peak.
    let probes = &found[0].probes;
    let [least, most] = [probes.iter().min_by_key(|p| p.batch), probes.iter().max_by_key(|p| p.batch)];
    let (least, most) = (least.expect("a try"), most.expect("a try"));
    let caches = 0.25 * MIB * (most.batch - least.batch) as f64;
    let grew = most.peak.bytes - least.peak.bytes;
    assert!(most.batch > least.batch && grew >= caches && grew < 1.2 * caches, "{grew} {caches}");
}

#[test]
fn every_version_has_its_largest_batch_in_a_budget_that_is_asked_for() {
    let Some((said, mut found)) = capacities(&[], &["--version", "v1-v4", "--budget", "3MiB"]) else {
        return;
    };
    assert!(said.contains("budget 3.00 MiB for weights, caches"), "{said}");
    // Without a cache the whole sequences are computed, and their activations are what fills the budget.
    let shorter = ["--version", "v0", "--budget", "2MiB", "-c", "32"];
    let (_, mut without) = capacities(&[], &shorter).expect("as before");
    assert_eq!(without[0].theoretical_batch, None);
    found.append(&mut without);
    found.iter().for_each(assert_tried);
    assert!(found.iter().all(|c| c.device_budget.is_none() && c.batch > 0));
    // Half the layers; codes of one byte and a scale of two per head of 16, which is 4.5 B where K and V have 16.
    let more = |v: usize| found[v - 1].batch as f64 / found[0].batch as f64;
    assert!(more(3) > 1.7 && more(3) <= 2.2 && more(2) > 2.5 && more(2) < 3.7, "{} {}", more(3), more(2));
}

#[test]
fn what_the_driver_refuses_does_not_fit_and_the_search_goes_on() {
    // Others take 13 MiB that were free when the budget was made.
    let others = [("KPROF_STAND_IN_OTHERS", "13631488")];
    let mut batches = Vec::new();
    for exec in ["eager", "graph"] {
        let Some((said, found)) = capacities(&others, &["--version", "v1", "v3", "--exec", exec]) else {
            return;
        };
        assert!(said.contains("out of memory: the driver refused larger batches of v1, v3"), "{said}");
        for c in &found {
            let probe = |batch| c.probes.iter().find(|p| p.batch == batch).expect("it was tried");
            let (fits, refused) = (probe(c.batch), probe(c.batch + 1));
            assert!(fits.fits && fits.peak.bytes < 6.0 * MIB && c.batch > 15, "{c:?}");
            assert!(refused.out_of_memory && !refused.fits, "{c:?}");
            // What was held with what was asked for is more than there was, less what stood there before the model: 1 MiB of
            // counters and some ids.
            assert!(refused.peak.bytes > 5.9 * MIB && refused.peak.bytes < c.budget_bytes, "{c:?}");
            assert!(c.probes.len() < 20, "{c:?}");
        }
        batches.push(found.iter().map(|c| c.batch).collect::<Vec<_>>());
    }
    assert_eq!(batches[0], batches[1], "a graph holds what its launches hold");
}

#[test]
fn a_budget_beyond_the_gpu_is_refused_and_formulas_take_any() {
    let more = ["--budget", "1GiB", "--version", "v1"];
    let Some((output, _)) = capacity(&[], &more) else { return };
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("more than the 21.0 MB that this GPU has left") && error.contains("--search account"),
        "{error}"
    );
    let (said, found) = capacities(&[], &[&more[..], &["--search", "account"]].concat()).expect("as before");
    assert_eq!((found[0].method, found[0].device_budget), (CapacityMethod::Accounted, None));
    // 1 GiB less weights of under 1 MB, by 256 KiB and the activations of a row.
    assert!((3900..4096).contains(&found[0].batch), "{said} {found:?}");
}

#[test]
fn a_model_that_the_gpu_has_no_room_for_is_an_error() {
    let Some((output, _)) = capacity(&[("KPROF_STAND_IN_MEMORY", "1200000")], &["--version", "v1"]) else {
        return;
    };
    let error = text(&output.stderr);
    assert_eq!((output.status.code(), error.contains("out of GPU memory")), (Some(1), true), "{error}");
}
