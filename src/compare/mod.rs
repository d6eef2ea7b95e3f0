//! Two or more runs, or versions inside one run, held against each other: by how much the time changed, how sure that
//! is, and which phase and op it comes from. Pure arithmetic over [`crate::profile::Run`]s.

mod align;
mod contributions;
mod pair;
mod report;
mod unlike;

pub use align::{CompareError, Named, Subject, pair_up};
pub use pair::compare_pair;
pub use report::{
    COMPARE_SCHEMA_VERSION, CompareReport, Contribution, GenerationBlock, InferenceBlock, MemoryChange,
    PairReport, ReferenceBlock, StageChange, TimeChange,
};
pub use unlike::{Aspect, Unlike, unlike};
