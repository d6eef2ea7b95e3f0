//! From the flags to what will be measured; every mistake in them is found here.

use crate::args::PhaseArgs;
use crate::exit::usage;
use crate::gpu::Device;
use crate::model::{Chosen, choose};
use crate::versions::named;
use kprof::llm::{Stage, expand_names};
use kprof::profile::CacheState;
use kprof::runner::{MemoryShape, ProfiledSteps, Scenario};

/// A model and a scenario that fit each other.
pub(super) struct Plan {
    pub(super) chosen: Chosen,
    pub(super) scenario: Scenario,
}

pub(super) fn plan(args: &PhaseArgs) -> anyhow::Result<Plan> {
    let names = expand_names(&args.versions).map_err(usage)?;
    let versions = named(&args.versions_file, &names)?;
    for (flag, value) in [
        ("--prompt-length", args.prompt_length),
        ("--tokens", args.tokens),
        ("--batch", args.batch),
        ("--processes", args.processes),
    ] {
        if value == 0 {
            return Err(usage(format!("{flag} is at least 1")));
        }
    }
    if args.processes > 1 && args.profile_step.is_some() {
        return Err(usage("--profile-step is for one process: leave --processes out"));
    }
    let profiled = profiled(args)?;
    let chosen = choose(&args.model)?;
    if args.cache == CacheState::Cold && chosen.device == Device::Fake {
        return Err(usage("the fake device has no caches to flush: leave --cache cold out"));
    }
    if args.cache == CacheState::Cold && chosen.device.is_cuda() && chosen.is_reference() {
        return Err(usage(
            "--cache cold flushes a GPU's caches by kprof's own kernels: leave it out with --implementation candle",
        ));
    }
    versions.iter().try_for_each(|version| version.check_model(&chosen.spec)).map_err(usage)?;
    let scenario = Scenario {
        versions,
        prompt_length: args.prompt_length,
        tokens: args.tokens,
        batch: args.batch,
        cache: args.cache,
        schedule: args.schedule.schedule(args.model.seed),
        profiled,
    };
    let (needed, limit) = (scenario.cached_tokens(), chosen.spec.max_position_embeddings);
    if needed > limit {
        return Err(usage(format!(
            "--prompt-length {} and --tokens {} need {needed} positions; {} has {limit}",
            args.prompt_length, args.tokens, chosen.spec.name
        )));
    }
    let shape = MemoryShape {
        batch: scenario.batch,
        new_tokens: scenario.prompt_length,
        capacity: scenario.cached_tokens(),
        all_logits: false,
        is_reference: chosen.is_reference(),
        on_gpu: chosen.device.is_cuda(),
        weights: args.model.weights,
    };
    chosen.check_memory(&args.model, &scenario.versions, &shape)?;
    Ok(Plan { chosen, scenario })
}

/// The steps for a profiler: they must exist, and be warmed up.
fn profiled(args: &PhaseArgs) -> anyhow::Result<Option<ProfiledSteps>> {
    let Some(stages) = &args.profile_step else { return Ok(None) };
    if args.schedule.warmup == 0 {
        return Err(usage("--profile-step marks a step that is warmed up: --warmup is at least 1 with it"));
    }
    if stages.0 == [Stage::Decode] && args.tokens < 2 {
        return Err(usage("--profile-step=decode needs a decode step: --tokens is at least 2 with it"));
    }
    Ok(Some(ProfiledSteps { stages: stages.0.clone() }))
}
