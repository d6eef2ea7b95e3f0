//! From the flags to what will be measured; every mistake in them is found here.

use crate::args::PhaseArgs;
use crate::exit::usage;
use crate::model::{Chosen, choose};
use crate::versions::named;
use kprof::llm::expand_names;
use kprof::runner::{MemoryShape, Scenario};

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
        ("--repetitions", args.repetitions),
    ] {
        if value == 0 {
            return Err(usage(format!("{flag} is at least 1")));
        }
    }
    let chosen = choose(&args.model)?;
    versions.iter().try_for_each(|version| version.check_model(&chosen.spec)).map_err(usage)?;
    let scenario = Scenario {
        versions,
        prompt_length: args.prompt_length,
        tokens: args.tokens,
        batch: args.batch,
        seed: args.model.seed,
        warmup: args.warmup,
        repetitions: args.repetitions,
        max_time_s: Some(args.max_time.0),
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
        keeps_scores: chosen.keeps_scores(),
    };
    chosen.check_memory(&args.model, &scenario.versions, &shape)?;
    Ok(Plan { chosen, scenario })
}
