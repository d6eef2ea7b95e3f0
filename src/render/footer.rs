//! The line of provenance under every figure.

use crate::profile::{KprofInfo, ProfilerInfo, Run};

/// Which kprof drew it (`drawn_by`) and which measured, where that differs; devices, files and dates.
pub fn footer<'a>(runs: impl IntoIterator<Item = &'a Run>, drawn_by: &KprofInfo) -> String {
    let mut parts = vec![format!("kprof {}", program(drawn_by))];
    let mut add = |part: String| {
        if !part.is_empty() && !parts.contains(&part) {
            parts.push(part);
        }
    };
    for run in runs {
        if let Some(manifest) = &run.manifest {
            if manifest.kprof != *drawn_by {
                add(format!("measured by {}", program(&manifest.kprof)));
            }
            if manifest.device.kind != "import" {
                add(manifest.device.name.clone());
            }
            if let Some(config) = &manifest.config {
                add(format!("{} on {}", config.model_and_types(), config.implementation_and_instructions()));
            }
            add(manifest.started.clone());
            if let Some(tool) = manifest.profiled.as_ref().and_then(|p| p.tool.as_ref()) {
                add(format!("timed under {tool}"));
            }
        }
        if let Some(profiler) = &run.profiler {
            add(recorder(profiler));
        }
        run.device_names().into_iter().for_each(|device| add(device.to_string()));
        add(file_name(&run.file).to_string());
    }
    parts.join(" · ")
}

fn program(kprof: &KprofInfo) -> String {
    match &kprof.revision {
        Some(revision) => format!("{} ({revision})", kprof.version),
        None => kprof.version.clone(),
    }
}

/// The profiler with its version, whose build number says nothing here.
pub(in crate::render) fn recorder(profiler: &ProfilerInfo) -> String {
    let version = profiler.version.as_deref().and_then(|v| v.split_whitespace().next());
    [Some(profiler.name.as_str()), version].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A path without its folders.
pub(in crate::render) fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roofline::samples::phase_run;

    #[test]
    fn the_footer_names_program_device_model_date_and_file_once_each() {
        let drawn_by = KprofInfo { version: "0.2.0".into(), revision: None };
        let text = footer(&[phase_run(), phase_run()], &drawn_by);
        let expected = "kprof 0.2.0 · measured by 0.1.0 (abc1234) · Example CPU · tiny f32 on candle · \
                        2026-01-02T03:04:05Z · run.jsonl";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_import_names_its_profiler() {
        let version = Some("2025.1.0.0 (build 35237751)".to_string());
        let profiler = ProfilerInfo { name: "Nsight Compute".into(), version, ..ProfilerInfo::default() };
        let run = Run { file: "a/x.ncu-rep".into(), profiler: Some(profiler), ..Run::default() };
        let drawn_by = KprofInfo { version: "0.2.0".into(), revision: None };
        assert!(footer(&[run], &drawn_by).ends_with("· Nsight Compute 2025.1.0.0 · x.ncu-rep"));
    }
}
