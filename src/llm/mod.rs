//! What is being run, as data: models, stages, phases, ops with their analytic work, and KV-cache versions.

mod activation;
mod cache_size;
mod communication;
mod config;
mod deployment;
mod dtype;
mod experts;
mod family;
mod kv;
mod latent;
mod layout;
mod model;
mod model_ops;
mod op;
mod parameters;
mod presets;
mod slice;
mod stage;
mod step;
mod version_file;
mod versions;
mod weights;
mod work;

pub use activation::Activation;
pub use cache_size::{CacheSize, cache_sizes};
pub use communication::Collective;
pub use config::stored_weights;
pub use deployment::{Arithmetic, Deployment, DeploymentError};
pub use dtype::DType;
pub use experts::{ExpertLinear, expected_experts};
pub use family::Family;
pub use kv::{KvElement, KvStorage, ScaleGranularity};
pub use latent::LatentAttention;
pub use model::{BlockLayout, Mla, ModelSpec, Moe, Rope, RopeScaling, SlidingWindow, SpecError};
pub use model_ops::{Cost, ModelOp};
pub use op::{NormKind, Op};
pub use parameters::Parameters;
pub use presets::{preset, preset_names};
pub use stage::{Phase, Stage};
pub use step::{LinearRows, StepShape};
pub use version_file::{KnownVersion, VersionSource, known_versions, parse_versions, read_versions};
pub use versions::{KvDType, Version, VersionError, builtin_versions, expand_names, find_version};
pub use weights::{WeightElement, WeightFormat, WeightScales};
pub use work::Work;

/// The names in `known`, nearest to `given` first, for "did you mean" messages.
pub fn nearest_first<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = known.into_iter().collect();
    names.sort_by(|a, b| {
        let distance = |name: &str| strsim::damerau_levenshtein(given, name);
        distance(a).cmp(&distance(b))
    });
    names
}
