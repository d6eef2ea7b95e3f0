//! Which GPU a run is of: by number, UUID and MIG profile, what is visible and what `auto` takes.

use crate::cuda::{PHASE, failure, kprof, ran, text};
use assert_cmd::Command;

#[test]
fn a_device_is_chosen_by_number_and_by_the_beginning_of_its_uuid() {
    for device in ["cuda:1", "cuda:GPU-01112131", "cuda:01112131", "GPU-01112131-4151-6171-8191-a1b1c1d1e1f1"]
    {
        let environment = [("KPROF_STAND_IN_DEVICES", "2")];
        let args = ["logits", "--preset", "tiny", "--ids", "1", "-o", "x", "--device", device];
        let Some((code, error)) = failure(&environment, &args) else { return };
        assert_eq!(code, Some(0), "{device}: {error}");
    }
}

/// `kprof devices --json` with `environment`, and without NVML unless that names one.
fn devices(environment: &[(&str, &str)]) -> Option<serde_json::Value> {
    let mut command = kprof("devices")?;
    command.env("KPROF_NVML", "/nonexistent/libnvidia-ml.so.1").env_remove("CUDA_VISIBLE_DEVICES");
    let output = ran(command.envs(environment.iter().copied()).args(["devices", "--json"]));
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn devices_are_listed_with_what_is_visible_and_what_auto_takes() {
    let Some(list) = devices(&[("KPROF_STAND_IN_DEVICES", "2")]) else { return };
    let gpu = &list["gpus"][1];
    assert_eq!((&gpu["device"], &gpu["compute_capability"]), (&"cuda:1".into(), &"8.0".into()));
    assert_eq!(gpu["uuid"], "GPU-01112131-4151-6171-8191-a1b1c1d1e1f1");
    assert!(gpu["mig_profile"].is_null() && gpu["nvml_index"].is_null() && gpu["refused"].is_null(), "{gpu}");
    assert!(list["hidden"].is_null() && list["visible_devices"].is_null(), "{list}");
    let auto = list["auto"].as_str().expect("what auto takes");
    assert!(auto.starts_with("cuda:0 of 2: kprof stand-in (GPU-00102030-"), "{auto}");
    assert!(auto.ends_with("runs kprof's kernels, on a driver for CUDA 12.0"), "{auto}");

    // What CUDA_VISIBLE_DEVICES leaves is numbered from 0.
    for set in ["1", "GPU-0111", "1,7,0"] {
        let some =
            devices(&[("KPROF_STAND_IN_DEVICES", "2"), ("CUDA_VISIBLE_DEVICES", set)]).expect("as before");
        assert_eq!(some["gpus"].as_array().map(Vec::len), Some(1), "{set}: {some}");
        assert_eq!((&some["gpus"][0]["device"], &some["gpus"][0]["uuid"]), (&"cuda:0".into(), &gpu["uuid"]));
        assert_eq!(some["visible_devices"], set);
    }
    let mut text_of = kprof("devices").expect("as before");
    text_of.env("KPROF_NVML", "/nonexistent/libnvidia-ml.so.1").env("KPROF_STAND_IN_DEVICES", "2");
    let shown = text(&ran(text_of.env("CUDA_VISIBLE_DEVICES", "1").arg("devices")).stdout);
    for words in
        ["CUDA_VISIBLE_DEVICES=1 leaves 1 of n/a devices", "NVML: n/a", "--device auto takes cuda:0 of 1"]
    {
        assert!(shown.contains(words), "{words:?} is not in {shown}");
    }

    // Devices that cannot run the kernels are listed, and not taken.
    let refused = devices(&[("KPROF_STAND_IN_REFUSES", "209")]).expect("as before");
    assert!(refused["gpus"][0]["refused"].as_str().is_some_and(|r| r.contains("cannot run kprof's kernels")));
    assert!(refused["auto"].as_str().is_some_and(|a| a.starts_with("cpu: ")), "{refused}");
    let old = devices(&[("KPROF_STAND_IN_DRIVER", "11080")]).expect("as before");
    assert!(
        old["no_cuda"].as_str().is_some_and(|r| r.contains("too old"))
            && old["gpus"] == serde_json::json!([])
    );
}

#[test]
fn a_uuid_that_could_be_two_is_refused_and_a_hidden_device_explained() {
    let two = ("KPROF_STAND_IN_DEVICES", "2");
    let logits = |device| ["logits", "--preset", "tiny", "--ids", "1", "-o", "x", "--device", device];
    let Some((code, error)) = failure(&[two], &logits("cuda:GPU-0")) else { return };
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("'GPU-0' could be any of: cuda:0 ") && error.contains("cuda:1 "), "{error}");
    let hidden = [two, ("CUDA_VISIBLE_DEVICES", "0")];
    let (code, error) = failure(&hidden, &logits("cuda:1")).expect("as before");
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("CUDA_VISIBLE_DEVICES=0 leaves these of the machine's, numbered from 0"),
        "{error}"
    );
    let (code, error) = failure(&[], &logits("cuda:MIG-91c2")).expect("as before");
    assert_eq!(
        (code, error.contains("CUDA_VISIBLE_DEVICES=MIG-91c2 makes that one")),
        (Some(2), true),
        "{error}"
    );
}

/// The manifest of a short measurement, and what was said on stderr.
fn manifest(environment: &[(&str, &str)], args: &[&str]) -> Option<(serde_json::Value, String)> {
    let mut command = kprof("manifest")?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    command.current_dir(folder.path()).envs(environment.iter().copied()).env_remove("CUDA_VISIBLE_DEVICES");
    let short =
        ["phase", "--preset", "tiny", "--version", "v1", "-p", "2", "-n", "2", "-r", "1", "--warmup", "0"];
    let quiet = ["--no-ceilings", "--no-telemetry", "-q", "--export-json", "-"];
    let output = ran(command.args(short).args(quiet).args(args));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    Some((report["manifest"].clone(), text(&output.stderr)))
}

#[test]
fn a_run_says_which_gpu_it_is_of_and_why_auto_took_it() {
    let two = ("KPROF_STAND_IN_DEVICES", "2");
    let Some((found, said)) = manifest(&[two], &[]) else { return };
    let device = &found["device"];
    assert_eq!(
        (&device["kind"], &device["ordinal"], &device["visible"]),
        (&"cuda".into(), &0.into(), &2.into())
    );
    assert_eq!(device["uuid"], "GPU-00102030-4050-6070-8090-a0b0c0d0e0f0");
    let chosen = device["chosen"].as_str().expect("why");
    assert!(
        chosen.contains("runs kprof's kernels")
            && said.contains(&format!("note: --device auto takes {chosen}"))
    );

    // A rank takes the GPU of its local rank; one that has none of its own is told so.
    for (local, ordinal, words) in [("1", 1, "by its local rank: "), ("3", 1, "shared: there are fewer GPUs")]
    {
        let rank = [two, ("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", local)];
        for args in [&[][..], &["--device", "cuda"]] {
            let (found, _) = manifest(&rank, args).expect("as before");
            assert_eq!(found["device"]["ordinal"], ordinal, "{local} {args:?}");
            assert_eq!(found["rank"]["rank"], 5);
            let chosen = found["device"]["chosen"].as_str().unwrap_or(words);
            assert!(chosen.contains(words), "{chosen}");
        }
    }
    let unknown = [two, ("PMI_RANK", "1"), ("PMI_SIZE", "2")];
    let (code, error) = failure(&unknown, &PHASE[..]).expect("as before");
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("rank 1 of 2 sees 2 GPUs, and pmi does not say which rank of its machine"),
        "{error}"
    );

    // One that cannot run the kernels is not taken, and neither is any where a flag is for the CPU.
    let (found, said) = manifest(&[("KPROF_STAND_IN_REFUSES", "209")], &[]).expect("as before");
    assert_eq!(found["device"]["kind"], "cpu");
    assert!(
        said.contains("note: --device auto takes cpu: ") && said.contains("cannot run kprof's kernels"),
        "{said}"
    );
    let (found, said) = manifest(&[two], &["--threads", "1"]).expect("as before");
    assert_eq!(found["device"]["chosen"], "cpu: --threads is for it");
    assert!(!said.contains("note:"), "{said}");
}

#[test]
fn a_mig_instance_is_chosen_by_its_uuid_and_named_by_its_profile() {
    let mig = ("KPROF_STAND_IN_MIG", "1g.10gb");
    let Some((found, _)) = manifest(&[mig], &["--device", "cuda:MIG-0010"]) else { return };
    let device = &found["device"];
    assert_eq!(
        (&device["mig_profile"], &device["name"]),
        (&"1g.10gb".into(), &"kprof stand-in MIG 1g.10gb".into())
    );
    assert_eq!(device["uuid"], "MIG-00102030-4050-6070-8090-a0b0c0d0e0f0");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(library) = super::doctor::nvml(folder.path()) else { return };
    let library = library.display().to_string();
    let list = devices(&[mig, ("KPROF_NVML", &library), ("STAND_IN_MIG", "1")]).expect("as before");
    assert_eq!(
        (&list["gpus"][0]["mig_profile"], &list["gpus"][0]["nvml_index"]),
        (&"1g.10gb".into(), &0.into())
    );
    let hidden = list["hidden"].as_array().expect("NVML knows");
    assert_eq!(hidden.len(), 1, "{list}");
    assert_eq!(
        (&hidden[0]["uuid"], &hidden[0]["mig_profile"]),
        (&"MIG-01112131-4151-6171-8191-a1b1c1d1e1f1".into(), &"1g.10gb".into())
    );
}

#[test]
fn without_a_driver_cuda_is_refused_and_auto_takes_the_cpu() {
    // Not even the stand-in: only where the machine has no driver of its own.
    let run = |args: &[&str]| {
        let mut command = Command::cargo_bin("kprof").expect("the binary is built with the tests");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = command.current_dir(folder.path()).args(args).output().expect("kprof runs");
        (output.status.code(), text(&output.stderr))
    };
    let (code, error) = run(&["ceilings", "--device", "cuda"]);
    if code == Some(0) {
        println!("skipped: this machine has a GPU");
        return;
    }
    assert_eq!(code, Some(5), "{error}");
    assert!(error.contains("CUDA driver"), "{error}");
    assert_eq!(run(&["logits", "--preset", "tiny", "--ids", "1", "-o", "x"]).0, Some(0));
    let (code, error) = run(&["logits", "--preset", "tiny", "--ids", "1", "-o", "x", "--exec", "graph"]);
    assert_eq!(code, Some(5), "{error}");
    let (code, error) =
        run(&["logits", "--preset", "tiny", "--ids", "1", "-o", "x", "--exec", "graph", "--device", "cpu"]);
    assert_eq!((code, error.contains("--exec graph is for --device cuda")), (Some(2), true), "{error}");
}
