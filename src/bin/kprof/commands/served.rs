//! From the flags about the model in a trace to the join of both.

use crate::args::ServedArgs;
use crate::exit::usage;
use anyhow::Context as _;
use kprof::hw::Ceiling;
use kprof::llm::{Deployment, ModelSpec, preset, preset_names};
use kprof::profile::Run;
use kprof::roofline::{CeilingSet, Ceilings, Counters, JoinReport, Served, TimelineBuilder, join};
use std::path::Path;

/// The model and how it was served; `None` without `--model`.
pub(crate) struct Model {
    spec: ModelSpec,
    deployment: Deployment,
    batch: usize,
    prompt: usize,
}

/// Resolves the flags; every mistake in them is found here, before any trace is read.
pub(crate) fn model(args: &ServedArgs) -> anyhow::Result<Option<Model>> {
    let (Some(model), Some(batch), Some(prompt)) = (&args.model, args.batch, args.prompt) else {
        return Ok(None);
    };
    let spec = spec(model)?;
    let plain = Deployment::new(args.dtype);
    let kv = args.kv_dtype.unwrap_or(plain.kv);
    let deployment = Deployment { kv, tensor_parallel: args.tp as usize, ..plain };
    deployment.check(&spec).map_err(usage)?;
    Ok(Some(Model { spec, deployment, batch: batch as usize, prompt: prompt as usize }))
}

/// A preset, or the config.json of a model.
fn spec(model: &str) -> anyhow::Result<ModelSpec> {
    if preset_names().iter().any(|name| name == model) {
        return preset(model).map_err(usage);
    }
    let path = Path::new(model);
    let path = if path.is_dir() { path.join("config.json") } else { path.to_path_buf() };
    if !path.exists() {
        // The message lists the presets, nearest first.
        return preset(model).map_err(|e| usage(format!("{model} is no file; as a preset: {e}")));
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let folder = path.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned());
    let stem = path.file_stem().map(|n| n.to_string_lossy().into_owned()).filter(|n| n != "config");
    let name = stem.or(folder).unwrap_or_else(|| "model".to_string());
    ModelSpec::from_config_json(&name, &text).with_context(|| format!("cannot use {}", path.display()))
}

/// Joins every trace of `run` to the model.
pub(crate) fn joined(
    args: &ServedArgs,
    model: &Model,
    run: &Run,
    timeline: &TimelineBuilder,
    counters: &Counters,
    ceilings: &Ceilings,
) -> Vec<JoinReport> {
    let served = Served {
        model: &model.spec,
        deployment: model.deployment,
        batch: model.batch,
        prompt: model.prompt,
        steps: args.steps,
    };
    let of_device = || -> Vec<Ceiling> {
        let names = run.device_names();
        let known = ceilings.by_device.iter().filter(|(name, _)| names.contains(&name.as_str()));
        known.map(|(_, ceilings)| ceilings.clone()).next().unwrap_or_default()
    };
    let set = CeilingSet::new(ceilings.chosen.clone()).or(&of_device());
    run.traces.iter().map(|trace| join(run, trace, timeline, counters, &served, &set)).collect()
}
