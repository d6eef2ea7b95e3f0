//! Where and how runs were measured, and how to measure them again.

use super::text::{escaped, list, table};
use crate::profile::{HostInfo, Manifest, Run};
use crate::render::footer::recorder;
use crate::render::table::{Column, Table};
use crate::units::{format_iec, format_si};

/// The machine, the program and the configuration of a run.
pub(super) fn environment(run: &Run) -> String {
    let Some(m) = &run.manifest else {
        let profiler = run.profiler.as_ref();
        return list(&[
            ("file", Some(run.file.clone())),
            ("recorded by", profiler.map(recorder)),
            ("program", profiler.and_then(|p| p.executable.clone())),
            ("command", profiler.and_then(|p| p.command.clone())),
            ("CUDA of the driver", profiler.and_then(|p| p.cuda.clone())),
            ("devices", (!run.device_names().is_empty()).then(|| run.device_names().join(", "))),
        ]);
    };
    let config = m.config.as_ref();
    let caches: Vec<String> = m.host.cpu.cache_bytes.iter().map(|b| format_iec(*b, "B")).collect();
    list(&[
        ("file", Some(run.file.clone())),
        ("started", Some(m.started.clone())),
        ("kprof", Some(program(m))),
        ("model", config.map(|c| c.model_and_types())),
        ("computed by", config.map(|c| c.implementation_and_instructions())),
        (
            "shape",
            config.map(|c| {
                format!("prompt {}, output {} tokens, batch {}", c.prompt_length, c.tokens, c.batch)
            }),
        ),
        (
            "repetitions",
            config.map(|c| {
                format!("{} asked for, after {} to warm up, seed {}", c.repetitions, c.warmup, c.seed)
            }),
        ),
        ("rank", m.rank.as_ref().map(|rank| format!("{} by {}", rank.name(), rank.launcher))),
        ("device", Some(device(m))),
        ("UUID", m.device.uuid.clone()),
        ("MIG", m.device.mig_profile.clone()),
        ("chosen", m.device.chosen.clone()),
        ("processor", m.host.cpu.name.clone()),
        ("cores", Some(cores(&m.host))),
        ("caches", (!caches.is_empty()).then(|| caches.join(", "))),
        ("instructions", (!m.host.cpu.features.is_empty()).then(|| m.host.cpu.features.join(" "))),
        ("clock", m.host.cpu.clock_hz.map(|hz| format_si(hz, "Hz"))),
        ("memory", m.host.memory_bytes.map(|b| format_iec(b, "B"))),
        ("system", m.host.os.clone()),
        ("host", m.host.hostname.clone()),
        ("complete", Some(if run.complete { "yes" } else { "no: interrupted" }.to_string())),
    ])
}

fn program(m: &Manifest) -> String {
    m.kprof.revision.as_ref().map_or(m.kprof.version.clone(), |r| format!("{} ({r})", m.kprof.version))
}

fn device(m: &Manifest) -> String {
    m.device.threads.map_or(m.device.name.clone(), |t| format!("{}, {t} threads", m.device.name))
}

fn cores(host: &HostInfo) -> String {
    let physical = host.cpu.physical_cores.map(|n| format!("{n} cores, ")).unwrap_or_default();
    format!("{physical}{} hardware threads", host.cpu.logical_cores)
}

/// The ceilings of a run with where they come from.
pub(super) fn ceilings(all: &[crate::hw::Ceiling]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let columns = vec![
        Column::text("ceiling"),
        Column::number("value", ""),
        Column::text("source"),
        Column::number("threads", ""),
    ];
    let mut rows = Table::new(columns);
    for c in all {
        let threads = c.threads.map_or("n/a".to_string(), |t| t.to_string());
        rows.push(vec![c.name(), c.value_text(), c.source.label().to_string(), threads]);
    }
    format!("<h3>Ceilings</h3>\n{}", table(&rows, 0))
}

/// The command that made the run, as a shell takes it; `None` for an import.
pub(super) fn command(run: &Run) -> Option<String> {
    let words = &run.manifest.as_ref()?.command;
    (!words.is_empty()).then(|| words.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(" "))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A block of commands with a button that copies it.
pub(super) fn commands(lines: &[String]) -> String {
    format!("<pre class=\"copy\">{}</pre>\n", escaped(&lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ProfilerInfo;

    #[test]
    fn of_an_import_the_profiler_is_named_with_what_is_known_of_it() {
        let version = Some("2025.1.1.0 (build 42)".to_string());
        let (name, command) = ("Nsight Systems".to_string(), Some("python serve.py".to_string()));
        let profiler = ProfilerInfo { name, version, command, ..ProfilerInfo::default() };
        let html = environment(&Run { profiler: Some(profiler), ..Run::default() });
        assert!(html.contains("Nsight Systems 2025.1.1.0<") && html.contains("python serve.py"), "{html}");
        assert!(!html.contains("None") && !html.contains("CUDA of the driver"), "{html}");
    }

    #[test]
    fn commands_are_quoted_for_a_shell() {
        assert_eq!(quoted("--version"), "--version");
        assert_eq!(quoted("A100 SXM"), "'A100 SXM'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
