//! From the flags to what will be measured; every mistake in them is found here.

use crate::args::PhaseArgs;
use crate::exit::usage;
use crate::model::{Chosen, choose};
use kprof::llm::{Stage, Version, builtin_versions, expand_names, find_version};
use kprof::runner::{ProfiledSteps, Scenario};

/// A model and a scenario that fit each other.
pub(super) struct Plan {
    pub(super) chosen: Chosen,
    pub(super) scenario: Scenario,
}

pub(super) fn plan(args: &PhaseArgs) -> anyhow::Result<Plan> {
    let versions = versions(&args.versions)?;
    for (flag, value) in [
        ("--prompt-length", args.prompt_length),
        ("--tokens", args.tokens),
        ("--batch", args.batch),
        ("--repetitions", args.repetitions),
    ] {
        if value == 0 {
            return Err(usage(format!("{flag} is at least 1")));
        }
    }
    let profiled = profiled(args)?;
    let chosen = choose(&args.model)?;
    let scenario = Scenario {
        versions,
        prompt_length: args.prompt_length,
        tokens: args.tokens,
        batch: args.batch,
        seed: args.model.seed,
        warmup: args.warmup,
        repetitions: args.repetitions,
        max_time_s: Some(args.max_time.0),
        profiled,
    };
    let (needed, limit) = (scenario.cached_tokens(), chosen.spec.max_position_embeddings);
    if needed > limit {
        return Err(usage(format!(
            "--prompt-length {} and --tokens {} need {needed} positions; {} has {limit}",
            args.prompt_length, args.tokens, chosen.spec.name
        )));
    }
    Ok(Plan { chosen, scenario })
}

/// The steps for a profiler: they must exist, and be warmed up.
fn profiled(args: &PhaseArgs) -> anyhow::Result<Option<ProfiledSteps>> {
    let Some(stages) = &args.profile_step else { return Ok(None) };
    if args.warmup == 0 {
        return Err(usage("--profile-step marks a step that is warmed up: --warmup is at least 1 with it"));
    }
    if stages.0 == [Stage::Decode] && args.tokens < 2 {
        return Err(usage("--profile-step=decode needs a decode step: --tokens is at least 2 with it"));
    }
    Ok(Some(ProfiledSteps { stages: stages.0.clone() }))
}

fn versions(values: &[String]) -> anyhow::Result<Vec<Version>> {
    let known = builtin_versions();
    expand_names(values)
        .map_err(usage)?
        .iter()
        .map(|name| find_version(&known, name).cloned().map_err(usage))
        .collect()
}
