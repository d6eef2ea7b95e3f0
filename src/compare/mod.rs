//! Two or more runs, or versions inside one run, held against each other: by how much the time changed, how sure that
//! is, and which phase and op it comes from. Pure arithmetic over [`crate::profile::Run`]s.

mod align;
mod commands;
mod contributions;
mod history;
mod nll;
mod pair;
mod pareto;
mod quality;
mod report;
mod scored;
mod slowest;
mod slowest_history;
mod unlike;

pub use align::{CompareError, Named, Subject, pair_up};
pub use commands::{MeasuredCommand, compare_commands};
pub use history::{Change, Series, history};
pub use pair::{compare_pair, compare_pair_as};
pub use pareto::{ParetoPoint, pareto};
pub use quality::{Perplexity, PerplexityChange};
pub use report::{
    COMPARE_SCHEMA_VERSION, CommandRow, CommandsReport, CompareReport, Contribution, GenerationBlock,
    InferenceBlock, MemoryChange, PairReport, ReferenceBlock, StageChange, TimeChange,
};
pub use scored::{QUALITY_SCHEMA_VERSION, QualityChange, QualityReport, VersionQuality};
pub use slowest::SlowestRank;
pub use slowest_history::{Launch, SlowestChange, SlowestSeries, slowest_history};
pub use unlike::{Aspect, Unlike, unlike};
