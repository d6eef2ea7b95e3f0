//! A [`Diagnosis`] as text and JSON.

use super::wrap::broken;
use crate::profile::{Diagnosis, EnergyAccess, Gpu, Limit, MigInstance, Tool};
use crate::units::{format_iec, format_si};
use std::fmt::Write;

/// The width of the names before the values.
const NAMES: usize = 18;

/// What stands for a fact that is not known.
const UNKNOWN: &str = "n/a";

/// A heading and what stands under it: names and values.
struct Section {
    title: String,
    rows: Vec<(&'static str, String)>,
}

fn section(title: impl Into<String>, rows: Vec<(&'static str, String)>) -> Section {
    Section { title: title.into(), rows }
}

fn known(value: Option<impl ToString>) -> String {
    value.map_or(UNKNOWN.to_string(), |value| value.to_string())
}

fn on_off(value: Option<bool>) -> String {
    known(value.map(|on| if on { "on" } else { "off" }))
}

fn yes_no(value: Option<bool>) -> String {
    known(value.map(|yes| if yes { "yes" } else { "no" }))
}

fn hz(value: Option<f64>) -> String {
    known(value.map(|hz| format_si(hz, "Hz")))
}

fn iec(value: Option<f64>) -> String {
    known(value.map(|bytes| format_iec(bytes, "B")))
}

fn percent(value: Option<f64>) -> String {
    known(value.map(|share| format!("{:.1} %", share * 100.0)))
}

/// The facts by subject, then the advice; lines are broken at `width` columns, if any.
pub fn doctor(d: &Diagnosis, color: bool, width: Option<usize>) -> String {
    let revision = d.kprof.revision.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
    let mut out = format!(
        "kprof doctor  {}{revision}  {}  took {}\n",
        d.kprof.version,
        d.taken,
        format_si(d.took_s, "s")
    );
    for section in sections(d) {
        let _ = writeln!(out, "\n{}", section.title);
        for (name, value) in section.rows {
            let indent = " ".repeat(NAMES + 4);
            let _ = writeln!(out, "  {name:NAMES$}  {}", broken(&value, &indent, width));
        }
    }
    out + "\n" + &advice(d, color, width)
}

fn sections(d: &Diagnosis) -> Vec<Section> {
    let mut all = vec![system(d), processor(d), memory(d), limits(d), nvidia(d)];
    all.extend(d.nvidia.gpus.iter().flatten().map(gpu));
    all.push(tools(d));
    all
}

fn system(d: &Diagnosis) -> Section {
    section(
        "System",
        vec![
            ("host", known(d.host.hostname.as_ref())),
            ("system", known(d.host.os.as_ref())),
            ("virtual machine", yes_no(d.processor.virtual_machine)),
            ("container", d.limits.container.clone().unwrap_or_else(|| "no trace of one".to_string())),
        ],
    )
}

fn processor(d: &Diagnosis) -> Section {
    let (cpu, p) = (&d.host.cpu, &d.processor);
    let load = p.load.map(|l| format!("{:.2} {:.2} {:.2} (1, 5, 15 minutes)", l[0], l[1], l[2]));
    let features = if cpu.features.is_empty() { UNKNOWN.to_string() } else { cpu.features.join(" ") };
    section(
        "Processor",
        vec![
            ("model", known(cpu.name.as_ref())),
            ("cores", format!("{}, {} NUMA nodes", known(cpu.physical_cores), known(p.numa_nodes))),
            ("CPUs", format!("{} online, {} for this process", known(p.online), known(p.allowed))),
            ("SMT", on_off(p.smt_active)),
            ("instructions", features),
            (
                "governor",
                format!(
                    "{}, set by {}",
                    known(p.governors.as_ref().map(|g| g.join(", "))),
                    known(p.scaling_driver.as_ref())
                ),
            ),
            (
                "clock",
                format!("{} now, {} to {}", hz(cpu.clock_hz), hz(p.min_clock_hz), hz(cpu.max_clock_hz)),
            ),
            ("boost", on_off(p.boost)),
            ("load", known(load)),
            ("waiting for a CPU", format!("{} of the last 10 s", percent(p.cpu_pressure))),
            ("stolen", format!("{} since boot", percent(p.steal_share))),
            ("energy counters", energy(p.energy).to_string()),
            ("perf events", format!("perf_event_paranoid {}", known(p.perf_event_paranoid))),
        ],
    )
}

const fn energy(access: EnergyAccess) -> &'static str {
    match access {
        EnergyAccess::Absent => "none",
        EnergyAccess::Denied => "for administrators only",
        EnergyAccess::Readable => "readable",
    }
}

fn memory(d: &Diagnosis) -> Section {
    let m = &d.memory;
    let caches: Vec<String> = d.host.cpu.cache_bytes.iter().map(|bytes| format_iec(*bytes, "B")).collect();
    let modules = m.modules.as_ref().map(|m| {
        let speed = m.transfers_per_s / 1e6;
        format!("{} x {} at {speed:.0} MT/s", m.count, known(m.kind.as_ref()))
    });
    let bound = m
        .modules
        .as_ref()
        .map(|m| format!("at most {} by the modules' data sheet", format_si(m.at_most_byte_per_s, "B/s")));
    section(
        "Memory",
        vec![
            ("size", format!("{}, {} to be had", iec(d.host.memory_bytes), iec(m.available_bytes))),
            ("caches of a core", if caches.is_empty() { UNKNOWN.to_string() } else { caches.join(", ") }),
            ("modules", known(modules)),
            ("bandwidth", format!("{} (measured: kprof ceilings --quick)", known(bound))),
            (
                "huge pages",
                format!(
                    "transparent: {}, reserved: {}",
                    known(m.transparent_huge_pages.as_ref()),
                    known(m.huge_pages)
                ),
            ),
            ("swap in use", iec(m.swap_used_bytes)),
        ],
    )
}

fn limit(value: Limit, write: impl Fn(f64) -> String) -> String {
    match value {
        Limit::Unknown => UNKNOWN.to_string(),
        Limit::Unlimited => "no limit".to_string(),
        Limit::At(value) => write(value),
    }
}

fn limits(d: &Diagnosis) -> Section {
    let l = &d.limits;
    let used =
        l.memory_used_bytes.map(|used| format!(", {} in use", format_iec(used, "B"))).unwrap_or_default();
    section(
        "Limits",
        vec![
            ("control groups", known(l.cgroups.as_ref())),
            ("CPU time", limit(l.cpus, |cpus| format!("{cpus:.2} CPUs"))),
            ("held back", known(l.throttled_s.map(|s| format_si(s, "s")))),
            ("memory", limit(l.memory_bytes, |bytes| format_iec(bytes, "B")) + &used),
        ],
    )
}

fn nvidia(d: &Diagnosis) -> Section {
    let n = &d.nvidia;
    let list = |all: &[String]| if all.is_empty() { "none".to_string() } else { all.join(" ") };
    let driver = match (n.driver_loaded, &n.driver) {
        (true, version) => format!("loaded, {}", known(version.as_ref())),
        (false, _) => "not loaded".to_string(),
    };
    let nvml = match &n.nvml.error {
        Some(error) => error.clone(),
        None => format!(
            "{}, driver {}, CUDA up to {}",
            known(n.nvml.version.as_ref()),
            known(n.nvml.driver.as_ref()),
            known(n.nvml.cuda.as_ref())
        ),
    };
    let allowed = match n.counters.allowed {
        Some(true) => "this process may read them",
        Some(false) => "this process may not read them",
        None => UNKNOWN,
    };
    let counters = format!(
        "{allowed} (for administrators only: {}, CAP_SYS_ADMIN: {})",
        yes_no(n.counters.admin_only),
        yes_no(n.counters.cap_sys_admin)
    );
    let mut rows = vec![
        ("on the bus", n.on_bus.as_deref().map_or(UNKNOWN.to_string(), list)),
        ("driver", driver),
        ("device files", list(&n.device_files)),
        ("NVML", nvml),
        ("counters", counters),
    ];
    if n.libraries.is_empty() {
        rows.push(("CUDA libraries", "none found".to_string()));
    }
    let library =
        |l: &crate::profile::Library| format!("{} {}: {}", l.what, known(l.version.as_ref()), l.path);
    rows.extend(
        n.libraries.iter().enumerate().map(|(i, l)| (if i == 0 { "CUDA libraries" } else { "" }, library(l))),
    );
    section("NVIDIA", rows)
}

fn gpu(g: &Gpu) -> Section {
    let watts = |value: Option<f64>| known(value.map(|w| format!("{w:.0} W")));
    let throttling =
        g.throttle_reasons.as_ref().map(|r| if r.is_empty() { "nothing".to_string() } else { r.join(", ") });
    let processes = g.processes.as_ref().map(|all| {
        let one = |p: &crate::profile::GpuProcess| format!("{} ({})", p.pid, iec(p.memory_bytes));
        if all.is_empty() { "none".to_string() } else { all.iter().map(one).collect::<Vec<_>>().join(", ") }
    });
    let mig = g.mig_instances.map(|n| format!(", {n} instances")).unwrap_or_default();
    let one = |i: &MigInstance| format!("{} ({})", known(i.profile.as_ref()), known(i.uuid.as_ref()));
    let named = g.instances.iter().flatten().map(one).collect::<Vec<_>>().join(", ");
    let mig = if named.is_empty() { mig } else { format!("{mig}: {named}") };
    section(
        format!("GPU {}", g.index),
        vec![
            (
                "model",
                format!(
                    "{}, compute capability {}",
                    known(g.name.as_ref()),
                    known(g.compute_capability.as_ref())
                ),
            ),
            ("identity", format!("{} at {}", known(g.uuid.as_ref()), known(g.pci.as_ref()))),
            ("memory", format!("{}, {} free", iec(g.memory_bytes), iec(g.memory_free_bytes))),
            ("SM clock", format!("{} now, {} at most", hz(g.sm_clock_hz), hz(g.max_sm_clock_hz))),
            ("memory clock", format!("{} now, {} at most", hz(g.memory_clock_hz), hz(g.max_memory_clock_hz))),
            (
                "application clock",
                format!("{}, {} by default", hz(g.application_clock_hz), hz(g.default_application_clock_hz)),
            ),
            ("clocks locked", yes_no(g.clocks_locked)),
            ("held back by", known(throttling)),
            (
                "power",
                format!(
                    "{} now, cap {}, {} by default",
                    watts(g.power_w),
                    watts(g.power_cap_w),
                    watts(g.default_power_cap_w)
                ),
            ),
            ("temperature", known(g.temperature_c.map(|t| format!("{t:.0} °C")))),
            ("ECC", format!("{}, uncorrected errors: {}", on_off(g.ecc), known(g.ecc_uncorrected))),
            ("MIG", on_off(g.mig) + &mig),
            ("persistence mode", on_off(g.persistence)),
            (
                "PCIe",
                format!(
                    "generation {} of {}, {} of {} lanes",
                    known(g.pcie_generation),
                    known(g.max_pcie_generation),
                    known(g.pcie_width),
                    known(g.max_pcie_width)
                ),
            ),
            ("programs", known(processes)),
        ],
    )
}

fn tools(d: &Diagnosis) -> Section {
    let tool = |t: &Tool| match (&t.path, &t.error) {
        (Some(path), _) => format!("{} at {path}", known(t.version.as_ref())),
        // Where it was looked for is in the JSON.
        (None, Some(error)) if error.contains("was not found") => "not found".to_string(),
        (None, error) => known(error.as_ref()),
    };
    section(
        "Profilers",
        vec![
            ("ncu", tool(&d.tools.ncu)),
            ("nsys", tool(&d.tools.nsys)),
            ("attached to this", d.tools.attached.clone().unwrap_or_else(|| "no trace of one".to_string())),
        ],
    )
}

/// What each line of a finding but the first begins with.
const INDENT: &str = "         ";

fn advice(d: &Diagnosis, color: bool, width: Option<usize>) -> String {
    if d.advice.is_empty() {
        return "No findings.\n".to_string();
    }
    let style = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Yellow.into()));
    let (on, off) = if color {
        (style.render().to_string(), style.render_reset().to_string())
    } else {
        Default::default()
    };
    let mut out = String::new();
    for a in &d.advice {
        let text = |text: &str| broken(text, INDENT, width);
        let _ = writeln!(out, "{on}Finding{off}  {}", text(&format!("{}: {}", a.about, a.found)));
        let _ = writeln!(out, "  Cause  {}", text(&a.cause));
        let _ = writeln!(out, "    Fix  {}", text(&a.fix));
        if let Some(command) = &a.command {
            // Whole, so that it can be copied.
            let _ = writeln!(out, "Command  {command}");
        }
    }
    out
}

/// The diagnosis as JSON: base units, `null` where the system does not say.
///
/// # Errors
/// When it cannot be written as JSON, which no diagnosis is known to do.
pub fn doctor_json(d: &Diagnosis) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(d).map(|text| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{
        Advice, DIAGNOSIS_SCHEMA_VERSION, HostInfo, KprofInfo, Limits, Memory, Nvidia, Processor, Tools,
    };

    fn nothing() -> Diagnosis {
        Diagnosis {
            schema_version: DIAGNOSIS_SCHEMA_VERSION,
            kprof: KprofInfo { version: "0.1.0".into(), revision: None },
            taken: "2026-01-02T03:04:05Z".into(),
            took_s: 0.123,
            host: HostInfo::default(),
            processor: Processor::default(),
            memory: Memory::default(),
            limits: Limits::default(),
            nvidia: Nvidia { gpus: Some(vec![Gpu::default()]), ..Nvidia::default() },
            tools: Tools::default(),
            advice: Vec::new(),
        }
    }

    #[test]
    fn what_is_not_known_is_said_to_be_and_never_zero() {
        let text = doctor(&nothing(), false, Some(80));
        for row in ["clocks locked", "temperature", "CPU time", "load", "swap in use", "SMT"] {
            let line = text.lines().find(|l| l.trim_start().starts_with(row)).unwrap();
            assert!(line.ends_with("  n/a"), "{line}");
        }
        assert!(text.ends_with("No findings.\n"));
        assert!(!text.contains(" 0 ") && !text.contains("0.0"), "{text}");
    }

    #[test]
    fn advice_names_cause_fix_and_a_command_that_stays_whole() {
        let advice = Advice {
            about: "governor".into(),
            found: "the frequency governor is powersave and that is a long sentence".into(),
            cause: "clocks rise late".into(),
            fix: "choose performance".into(),
            command: Some("sudo cpupower frequency-set --governor performance".into()),
        };
        let text = doctor(&Diagnosis { advice: vec![advice], ..nothing() }, false, Some(40));
        let expected = "Finding  governor: the frequency\n         governor is powersave and that\n         is a long sentence\n  Cause  clocks rise late\n    Fix  choose performance\nCommand  sudo cpupower frequency-set --governor performance\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn the_json_has_null_for_what_is_not_known_and_is_read_back() {
        let json = doctor_json(&nothing()).unwrap();
        assert!(json.contains("\"clocks_locked\": null") && json.contains("\"cpus\": \"unknown\""), "{json}");
        assert_eq!(serde_json::from_str::<Diagnosis>(&json).unwrap(), nothing());
    }
}
