//! What the reports of all benchmarks begin with.

use crate::profile::Manifest;
use crate::stats::Interval;

/// What was measured, in two lines: model, types and shape; device.
pub(super) fn benchmark_heading(command: &str, manifest: Option<&Manifest>) -> String {
    let Some(manifest) = manifest else { return format!("kprof {command}") };
    let device = manifest.device_lines();
    let tool = manifest.profiled.as_ref().and_then(|p| p.tool.as_ref());
    let device = tool.map_or(device.clone(), |tool| format!("{device}\nPROFILED: measured under {tool}"));
    let Some(c) = &manifest.config else { return format!("kprof {command}  {device}") };
    let what = format!("{} on {}", c.model_and_types(), c.implementation_and_instructions());
    format!("kprof {command}  {what}  batch {} prompt {}\n{device}", c.batch, c.prompt_length)
}

/// `[low, high]`.
pub(super) fn bracketed(interval: Interval, format: impl Fn(f64) -> String) -> String {
    format!("[{}, {}]", format(interval.low), format(interval.high))
}
