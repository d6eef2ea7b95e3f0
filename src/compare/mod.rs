//! Two or more runs, or versions inside one run, held against each other: by how much the time changed, how sure that
//! is, and which phase and op it comes from. Pure arithmetic over [`crate::profile::Run`]s.

mod align;
mod contributions;
mod history;
mod pair;
mod quality;
mod report;
mod unlike;

pub use align::{CompareError, Named, Subject, pair_up};
pub use history::{Change, Series, history};
pub use pair::compare_pair;
pub use quality::{QUALITY_SCHEMA_VERSION, QualityChange, QualityReport, VersionQuality};
pub use report::{
    COMPARE_SCHEMA_VERSION, CompareReport, Contribution, GenerationBlock, InferenceBlock, MemoryChange,
    PairReport, ReferenceBlock, StageChange, TimeChange,
};
pub use unlike::{Aspect, Unlike, unlike};
