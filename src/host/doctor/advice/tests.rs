//! What is advised of which facts.

use super::*;
use crate::profile::{
    DIAGNOSIS_SCHEMA_VERSION, GpuProcess, HostInfo, KprofInfo, Library, Limit, Limits, Memory, Nvidia, Nvml,
    Processor, Tool, Tools,
};

fn nothing() -> Diagnosis {
    Diagnosis {
        schema_version: DIAGNOSIS_SCHEMA_VERSION,
        kprof: KprofInfo { version: "0.1.0".into(), revision: None },
        taken: "2026-01-02T03:04:05Z".into(),
        took_s: 0.1,
        host: HostInfo::default(),
        processor: Processor::default(),
        memory: Memory::default(),
        limits: Limits::default(),
        nvidia: Nvidia::default(),
        tools: Tools::default(),
        advice: Vec::new(),
    }
}

fn subjects(d: &Diagnosis) -> Vec<String> {
    advice(d, &Permission::default()).into_iter().map(|a| a.about).collect()
}

#[test]
fn what_is_not_known_gives_no_advice() {
    assert_eq!(subjects(&nothing()), [""; 0]);
    let gpu = Gpu::default();
    let d = Diagnosis { nvidia: Nvidia { gpus: Some(vec![gpu]), ..Nvidia::default() }, ..nothing() };
    assert_eq!(subjects(&d), [""; 0]);
    // Without a trace of NVIDIA, that ncu and NVML are missing is nobody's problem.
    let error = Some("not found".to_string());
    let tools = Tools { ncu: Tool { error: error.clone(), ..Tool::default() }, ..Tools::default() };
    let nvidia = Nvidia { nvml: Nvml { error, ..Nvml::default() }, ..Nvidia::default() };
    assert_eq!(subjects(&Diagnosis { tools, nvidia, ..nothing() }), [""; 0]);
}

#[test]
fn a_machine_set_up_badly_is_told_each_thing() {
    let processor = Processor {
        online: Some(8),
        allowed: Some(8),
        governors: Some(vec!["performance".into(), "powersave".into()]),
        load: Some([1.0, 0.0, 0.0]),
        steal_share: Some(0.02),
        energy: EnergyAccess::Denied,
        ..Processor::default()
    };
    let memory = Memory {
        available_bytes: Some(5e8),
        transparent_huge_pages: Some("never".into()),
        swap_used_bytes: Some(1.0),
        ..Memory::default()
    };
    let limits = Limits { cpus: Limit::At(2.5), throttled_s: Some(1.0), ..Limits::default() };
    let tools = Tools { attached: Some("Nsight Compute".into()), ..Tools::default() };
    let d = Diagnosis { processor, memory, limits, tools, ..nothing() };
    let expected = [
        "profiler",
        "governor",
        "load",
        "steal",
        "CPU limit",
        "CPU limit",
        "memory",
        "swap",
        "huge pages",
        "energy",
    ];
    assert_eq!(subjects(&d), expected);
    let found = advice(&d, &Permission::default());
    assert_eq!(found[4].command.as_deref(), Some("kprof phase --threads 2"));
}

#[test]
fn a_machine_set_up_well_is_told_nothing() {
    let processor = Processor {
        online: Some(8),
        allowed: Some(8),
        governors: Some(vec!["performance".into()]),
        load: Some([0.7, 5.0, 5.0]),
        steal_share: Some(0.0),
        energy: EnergyAccess::Readable,
        ..Processor::default()
    };
    let limits = Limits { cpus: Limit::At(8.0), throttled_s: Some(0.0), ..Limits::default() };
    let gpu = Gpu {
        persistence: Some(true),
        max_sm_clock_hz: Some(1.98e9),
        clocks_locked: Some(true),
        throttle_reasons: Some(vec!["gpu_idle".into(), "applications_clocks_setting".into()]),
        ecc: Some(true),
        ecc_pending: Some(true),
        ecc_uncorrected: Some(0),
        power_cap_w: Some(700.0),
        default_power_cap_w: Some(700.0),
        processes: Some(vec![GpuProcess { pid: std::process::id(), memory_bytes: None }]),
        mig: Some(false),
        pcie_width: Some(16),
        max_pcie_width: Some(16),
        ..Gpu::default()
    };
    let nvidia = Nvidia { gpus: Some(vec![gpu]), ..Nvidia::default() };
    assert_eq!(subjects(&Diagnosis { processor, limits, nvidia, ..nothing() }), [""; 0]);
}

#[test]
fn each_trouble_of_a_gpu_is_named_with_a_command_for_that_gpu() {
    let gpu = Gpu {
        index: 3,
        persistence: Some(false),
        max_sm_clock_hz: Some(1.98e9),
        throttle_reasons: Some(vec!["sw_power_cap".into()]),
        ecc: Some(true),
        ecc_pending: Some(false),
        power_cap_w: Some(500.0),
        default_power_cap_w: Some(700.0),
        processes: Some(vec![GpuProcess { pid: 0, memory_bytes: None }]),
        mig: Some(true),
        pcie_width: Some(8),
        max_pcie_width: Some(16),
        ..Gpu::default()
    };
    let nvidia = Nvidia { gpus: Some(vec![gpu]), ..Nvidia::default() };
    let found = advice(&Diagnosis { nvidia, ..nothing() }, &Permission::default());
    assert_eq!(found.len(), 8, "{found:#?}");
    assert!(found.iter().all(|a| a.about == "GPU 3" && a.command.is_some()));
    assert!(found[4].command.as_ref().unwrap().contains("-i 3 -pl 700"));
    assert!(found[6].found.contains("instances: n/a"));
}

#[test]
fn a_driver_without_its_libraries_or_of_two_versions_is_found() {
    let nvidia = Nvidia {
        driver_loaded: true,
        driver: Some("535.104.05".into()),
        nvml: Nvml { error: Some("library and driver are of different versions".into()), ..Nvml::default() },
        ..Nvidia::default()
    };
    let found = advice(&Diagnosis { nvidia: nvidia.clone(), ..nothing() }, &Permission::default());
    assert_eq!(found.iter().map(|a| a.about.as_str()).collect::<Vec<_>>(), ["NVML", "CUDA"]);
    assert_eq!(found[0].command.as_deref(), Some("sudo reboot"));
    let library = |path: &str| Library {
        what: "CUDA driver API".into(),
        path: path.into(),
        version: Some("550.1".into()),
    };
    let of = |path: &str| {
        let nvidia = Nvidia { libraries: vec![library(path)], nvml: Nvml::default(), ..nvidia.clone() };
        subjects(&Diagnosis { nvidia, ..nothing() })
    };
    assert_eq!(of("/usr/lib/libcuda.so.550.1"), ["NVIDIA driver"]);
    assert_eq!(of("/usr/local/cuda/compat/libcuda.so.550.1"), [""; 0]);
    let bus = Nvidia { on_bus: Some(vec!["0000:65:00.0".into()]), ..Nvidia::default() };
    assert_eq!(subjects(&Diagnosis { nvidia: bus, ..nothing() }), ["NVIDIA driver"]);
}

#[test]
fn forbidden_counters_are_explained_as_the_launcher_explains_them() {
    let permission = Permission { restricted: Some(true), admin: Some(false), ..Permission::default() };
    let found = advice(&nothing(), &permission);
    assert!(found[0].fix.contains("NVreg_RestrictProfilingToAdminUsers=0"), "{found:?}");
    assert!(found[0].command.as_ref().unwrap().starts_with("sudo"));
    let inside = Permission { container: Some("Docker".into()), ..permission };
    assert_eq!(advice(&nothing(), &inside)[0].command, None);
}
