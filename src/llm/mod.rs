//! What is being run, as data: models, stages, phases, ops with their analytic work, and KV-cache versions.

mod activation;
mod dtype;
mod kv;
mod model;
mod op;
mod stage;
mod versions;
mod weights;
mod work;

pub use activation::Activation;
pub use dtype::DType;
pub use kv::{KvElement, KvStorage, ScaleGranularity};
pub use model::{Family, ModelSpec, SpecError, preset, preset_names};
pub use op::{LinearRows, NormKind, Op, StepShape};
pub use stage::{Phase, Stage};
pub use versions::{
    KvDType, Version, VersionError, builtin_versions, expand_names, find_version, parse_versions,
};
pub use weights::WeightFormat;
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
