//! From the flags about the model in a trace or an export to the join of both.

use crate::args::ServedArgs;
use crate::exit::usage;
use crate::spec::spec_of;
use kprof::hw::Ceiling;
use kprof::llm::{Deployment, ModelSpec};
use kprof::profile::{Finding, FindingCode, Run};
use kprof::roofline::{
    CeilingSet, Ceilings, CounterCheck, CounterSums, Counters, Expected, JoinReport, Served, TimelineBuilder,
    check_counters, join,
};

/// The model and how it was served; `None` without `--model`.
pub(crate) struct Model {
    spec: ModelSpec,
    deployment: Deployment,
    batch: usize,
    prompt: usize,
}

impl Model {
    fn served(&self, args: &ServedArgs) -> Served<'_> {
        Served {
            model: &self.spec,
            deployment: self.deployment,
            batch: self.batch,
            prompt: self.prompt,
            steps: args.steps,
        }
    }
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
    let served = model.served(args);
    let of_device = || -> Vec<Ceiling> {
        let names = run.device_names();
        let known = ceilings.by_device.iter().filter(|(name, _)| names.contains(&name.as_str()));
        known.map(|(_, ceilings)| ceilings.clone()).next().unwrap_or_default()
    };
    let set = CeilingSet::new(ceilings.chosen.clone()).or(&of_device());
    run.traces.iter().map(|trace| join(run, trace, timeline, counters, &served, &set)).collect()
}

/// Checks the counters of every export against the steps that one of `runs` marked for a profiler, else against the
/// model.
pub(crate) fn checked<'a>(
    args: &ServedArgs,
    model: Option<&Model>,
    runs: impl Iterator<Item = &'a Run>,
    exports: impl Iterator<Item = (&'a Run, &'a CounterSums)>,
) -> (Vec<CounterCheck>, Vec<Finding>) {
    let (marked, mut findings) = Expected::without_repeats(runs.flat_map(Expected::of_run).collect());
    let mut checks = Vec::new();
    for (run, sums) in exports.filter(|(_, sums)| !sums.is_empty()) {
        let of_model = || match model {
            Some(model) => Expected::of_model(&model.served(args), sums.has_stages()),
            None => Vec::new(),
        };
        let expected = if marked.is_empty() { of_model() } else { marked.clone() };
        if model.is_some() && expected.is_empty() {
            findings.push(no_steps(&run.file));
        }
        let (of_file, found) = check_counters(&run.file, sums, &expected);
        checks.extend(of_file);
        findings.extend(found);
    }
    (checks, findings)
}

/// Launches do not say how many steps they are of.
fn no_steps(file: &str) -> Finding {
    let message = "how many steps its launches are of is not in the file, so counters are not checked against the model";
    Finding::new(FindingCode::MetricMissing, file, message)
        .with_remedy("say it with --steps, e.g. --steps decode=1")
}
