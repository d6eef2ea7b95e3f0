//! From the flags about the model in a trace to the join of both.

use crate::args::ServedArgs;
use crate::exit::usage;
use crate::spec::spec_of;
use kprof::hw::Ceiling;
use kprof::llm::{Deployment, ModelSpec};
use kprof::profile::Run;
use kprof::roofline::{CeilingSet, Ceilings, Counters, JoinReport, Served, TimelineBuilder, join};

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
    let (spec, stored) = spec_of(model)?;
    let plain = Deployment::new(args.dtype.unwrap_or(stored));
    let kv = args.kv_dtype.unwrap_or(plain.kv);
    let arithmetic = args.arithmetic.unwrap_or(plain.arithmetic);
    let deployment = Deployment { kv, arithmetic, tensor_parallel: args.tp as usize, ..plain };
    deployment.check(&spec).map_err(usage)?;
    Ok(Some(Model { spec, deployment, batch: batch as usize, prompt: prompt as usize }))
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
